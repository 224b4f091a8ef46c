//! Names of projects.

use crate::TemplateError;

/// Longest name, in bytes.
const LONGEST: usize = 64;

/// Names that Rust reserves: its keywords, and crates that come with the compiler.
const RESERVED: [&str; 46] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
];
/// More of them.
const RESERVED_TOO: [&str; 9] =
    ["gen", "typeof", "union", "unsafe", "unsized", "use", "virtual", "where", "while"];

/// Checks a project's name, which becomes that of a package.
pub(crate) fn check(name: &str) -> Result<(), TemplateError> {
    let bad = |reason: String| Err(TemplateError::BadName { name: name.to_owned(), reason });
    if let Some(odd) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'))
    {
        return bad(format!("it contains {odd:?}"));
    }
    match name.len() {
        0 => return bad("it is empty".into()),
        len if len > LONGEST => {
            return bad(format!("it has {len} characters, {LONGEST} is the most"));
        }
        _ => {}
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return bad("it does not begin with a letter".into());
    }
    let identifier = name.replace('-', "_");
    if RESERVED.contains(&identifier.as_str()) || RESERVED_TOO.contains(&identifier.as_str()) {
        return bad("Rust reserves it".into());
    }
    Ok(())
}
