//! Search of the sources for statics with an initial value in a no-load arena.
//!
//! A plain `cargo build` links without esplice, and the linker silently drops initial values. A
//! build script can look only at the sources, so only certain cases count: literals other than
//! zero, bare, in arrays, tuples and structs, or passed to a constructor in [`CELLS`]. `esplice
//! build` checks the compiled objects instead and so finds every case.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A static with an initial value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub path: PathBuf,
    pub line: u32,
    pub name: String,
    pub arena: String,
}

/// Types of `core` whose `new` stores its argument.
const CELLS: &[&str] = &[
    "AtomicBool",
    "AtomicI16",
    "AtomicI32",
    "AtomicI64",
    "AtomicI8",
    "AtomicIsize",
    "AtomicU16",
    "AtomicU32",
    "AtomicU64",
    "AtomicU8",
    "AtomicUsize",
    "Cell",
    "MaybeUninit",
    "RefCell",
    "SyncUnsafeCell",
    "UnsafeCell",
];

/// Maximum file size in bytes. Larger files are generated tables.
const LARGEST_FILE: u64 = 4 << 20;

/// Returns the first such static in the Rust files below `folder`, in path order.
pub(crate) fn first_below(folder: &Path, arenas: &[&str]) -> Option<Found> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().find_map(|path| {
        // Links could form loops.
        let kind = fs::symlink_metadata(path).ok()?;
        if kind.is_dir() {
            return first_below(path, arenas);
        }
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if !is_source || kind.len() > LARGEST_FILE {
            return None;
        }
        // The compiler reports files that are not text.
        let text = fs::read_to_string(path).ok()?;
        let (line, name, arena) = first_in(&text, arenas)?;
        Some(Found { path: path.clone(), line, name, arena })
    })
}

/// Returns line, name and arena of the first such static in a source text.
fn first_in(text: &str, arenas: &[&str]) -> Option<(u32, String, String)> {
    if !text.contains(".esplice.arena.") {
        return None;
    }
    let tokens = tokens(text);
    (0..tokens.len()).find_map(|at| {
        let [Token::Word(word), Token::Char('='), Token::Text(section)] =
            [kind(&tokens, at)?, kind(&tokens, at + 1)?, kind(&tokens, at + 2)?]
        else {
            return None;
        };
        let arena = section.strip_prefix(".esplice.arena.").filter(|_| word == "link_section")?;
        let arena = arena.split('.').next().unwrap_or_default();
        if !arenas.contains(&arena) {
            return None;
        }
        let (line, name, value) = static_after(&tokens, at + 3)?;
        is_initialised(value).then(|| (line, name, arena.to_owned()))
    })
}

fn kind(tokens: &[(Token, u32)], at: usize) -> Option<&Token> {
    tokens.get(at).map(|(token, _)| token)
}

/// A static's line, its name, and the tokens of its value.
type Static<'a> = (u32, String, &'a [(Token, u32)]);

/// Returns the static that an attribute applies to.
fn static_after(tokens: &[(Token, u32)], from: usize) -> Option<Static<'_>> {
    let rest = tokens.get(from..)?;
    let keyword = rest.iter().position(|(token, _)| match token {
        Token::Word(word) => word == "static" || word == "fn",
        token => *token == Token::Char(';'),
    })?;
    let is = |at: usize, word: &str| kind(rest, at) == Some(&Token::Word(word.to_owned()));
    if !is(keyword, "static") {
        return None;
    }
    let name_at = keyword + if is(keyword + 1, "mut") { 2 } else { 1 };
    let (Token::Word(name), line) = rest.get(name_at)? else { return None };
    // The type may hold an `=` in angle brackets, and a `;` in square ones.
    let mut depth = 0_i32;
    let mut start = None;
    for (at, (token, _)) in rest.iter().enumerate().skip(name_at + 1) {
        match token {
            Token::Char('<' | '(' | '[' | '{') => depth += 1,
            Token::Char('>' | ')' | ']' | '}') => depth -= 1,
            Token::Char('=') if depth == 0 && start.is_none() => start = Some(at + 1),
            Token::Char(';')
                if depth <= 0 || start.is_some_and(|_| level(rest, start, at) == 0) =>
            {
                return Some((*line, name.clone(), rest.get(start?..at)?));
            }
            _ => {}
        }
    }
    None
}

/// Returns the bracket depth of `at`, counted from `start`. Angle brackets may be comparisons
/// there.
fn level(tokens: &[(Token, u32)], start: Option<usize>, at: usize) -> i32 {
    let value = tokens.get(start.unwrap_or(at)..at).unwrap_or_default();
    value.iter().fold(0, |depth, (token, _)| match token {
        Token::Char('(' | '[' | '{') => depth + 1,
        Token::Char(')' | ']' | '}') => depth - 1,
        _ => depth,
    })
}

/// Returns true if a value certainly has non-zero bytes.
fn is_initialised(value: &[(Token, u32)]) -> bool {
    // For each open bracket: whether literals in it are stored in the static unchanged.
    let mut open: Vec<bool> = Vec::new();
    let trusted = |open: &[bool]| open.iter().all(|trusted| *trusted);
    for (at, (token, _)) in value.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).and_then(|at| kind(value, at));
        match token {
            Token::Char(bracket @ ('(' | '[' | '{')) => open.push(match (bracket, before(1)) {
                ('(', Some(Token::Word(function))) => {
                    function == "new" && is_cell(value, at.saturating_sub(2))
                }
                ('[', Some(Token::Word(_) | Token::Char(')' | ']'))) => false,
                // A struct's fields, or a `const` block; other blocks hold statements.
                ('{', Some(Token::Word(word))) => word != "unsafe",
                ('{', _) | (_, Some(Token::Char('!' | '>'))) => false,
                _ => true,
            }),
            Token::Char(')' | ']' | '}') => drop(open.pop()),
            // In `[0; 16]` a length follows; statements in a block are not analysed.
            Token::Char(';') => open.iter_mut().last().into_iter().for_each(|last| *last = false),
            // Operators and function calls turn literals into other values.
            Token::Literal if trusted(&open) && !is_operand(value, at) => return true,
            Token::Text(_) if trusted(&open) && !is_operand(value, at) => return true,
            _ => {}
        }
    }
    false
}

/// Returns whether an operator or a method applies to the literal at `at`.
fn is_operand(value: &[(Token, u32)], at: usize) -> bool {
    let back = |back: usize| at.checked_sub(back).and_then(|at| kind(value, at));
    let operator = |token: Option<&Token>| matches!(token, Some(Token::Char(c)) if "+-*/%^&|<>.!".contains(*c));
    // A leading one applies only to the operand after it: a sign or a reference.
    let is_first = matches!(back(2), None | Some(Token::Char('(' | '[' | '{' | ',' | ':')));
    operator(kind(value, at + 1)) || operator(back(1)) && !is_first
}

/// Returns whether the path before `::new`, whose last colon is at `at`, names one of [`CELLS`].
fn is_cell(value: &[(Token, u32)], at: usize) -> bool {
    let colon = |at: usize| kind(value, at) == Some(&Token::Char(':'));
    let Some(name) = at.checked_sub(2).filter(|_| colon(at) && colon(at - 1)) else { return false };
    matches!(kind(value, name), Some(Token::Word(word)) if CELLS.contains(&word.as_str()))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// A string as written.
    Text(String),
    /// A number or character that is not zero.
    Literal,
    /// A number or character that is zero.
    Zero,
    Char(char),
}

/// Returns the tokens of Rust source with their lines, without comments.
fn tokens(text: &str) -> Vec<(Token, u32)> {
    let mut lexer = Lexer { rest: text, line: 1 };
    let mut all = Vec::new();
    while let Some(token) = lexer.next() {
        all.push(token);
    }
    all
}

struct Lexer<'a> {
    rest: &'a str,
    line: u32,
}

impl<'a> Lexer<'a> {
    /// Takes `len` bytes, which must end at a character boundary.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        let lines = taken.bytes().filter(|byte| *byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        self.take(self.rest.find(|c| !is(c)).unwrap_or(self.rest.len()))
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest.starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if self.rest.starts_with("/*") {
                let mut depth = 0_u32;
                loop {
                    match self.rest.as_bytes() {
                        [b'/', b'*', ..] => depth += 1,
                        [b'*', b'/', ..] => depth -= 1,
                        [] => return,
                        _ => {
                            self.take(self.rest.chars().next().map_or(1, char::len_utf8));
                            continue;
                        }
                    }
                    self.take(2);
                    if depth == 0 {
                        break;
                    }
                }
            } else {
                return;
            }
        }
    }

    fn next(&mut self) -> Option<(Token, u32)> {
        self.skip_blanks();
        let line = self.line;
        let first = self.rest.chars().next()?;
        let token = if first.is_ascii_digit() {
            self.number()
        } else if let Some(text) = self.string() {
            Token::Text(text)
        } else if first == '\'' {
            self.quote()
        } else if first.is_alphanumeric() || first == '_' {
            match self.take_while(|c| c.is_alphanumeric() || c == '_') {
                "true" => Token::Literal,
                "false" => Token::Zero,
                word => Token::Word(word.to_owned()),
            }
        } else {
            self.take(first.len_utf8());
            Token::Char(first)
        };
        Some((token, line))
    }

    fn number(&mut self) -> Token {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let text = self.take_while(is_part);
        let hex = text.starts_with("0x");
        let digits = match hex || text.starts_with("0b") || text.starts_with("0o") {
            true => &text[2..],
            false => text,
        };
        // After the zeros only a type suffix such as `u8` may remain.
        let digits = digits.trim_start_matches(['0', '_']);
        let digit = |c: char| if hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        let mut set = digits.starts_with(digit);
        let fraction = self.rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(digit));
        if fraction {
            self.take(1);
            let decimals = self.take_while(is_part);
            set |= decimals.trim_start_matches(['0', '_']).starts_with(digit);
        }
        if set { Token::Literal } else { Token::Zero }
    }

    /// Reads a string of any kind: plain, byte, C or raw.
    fn string(&mut self) -> Option<String> {
        let prefix = self.rest.find(['"', '#']).filter(|at| *at <= 2)?;
        if !matches!(&self.rest[..prefix], "" | "b" | "c" | "r" | "br" | "cr") {
            return None;
        }
        let raw = self.rest[..prefix].ends_with('r');
        let hashes = self.rest[prefix..].bytes().take_while(|byte| *byte == b'#').count();
        if hashes > 0 && !raw || !self.rest[prefix + hashes..].starts_with('"') {
            return None;
        }
        self.take(prefix + hashes + 1);
        let end = format!("\"{}", "#".repeat(hashes));
        let mut escaped = false;
        let closes = self.rest.char_indices().find(|(at, c)| {
            let closes = !escaped && self.rest[*at..].starts_with(&end);
            escaped = !raw && *c == '\\' && !escaped;
            closes
        });
        let len = closes.map_or(self.rest.len(), |(at, _)| at);
        let text = self.take(len).to_owned();
        self.take(end.len());
        Some(text)
    }

    /// Reads a character, or the quote of a lifetime.
    fn quote(&mut self) -> Token {
        self.take(1);
        let mut chars = self.rest.chars();
        match (chars.next(), chars.next()) {
            (Some('\\'), Some(escape)) => {
                self.take(1 + escape.len_utf8());
                self.take_while(|c| c != '\'' && c != '\n');
                self.take(1);
                if escape == '0' { Token::Zero } else { Token::Literal }
            }
            (Some(c), Some('\'')) => {
                self.take(c.len_utf8() + 1);
                Token::Literal
            }
            _ => Token::Char('\''),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &str) -> bool {
        let text = format!(
            "// a comment with \" and '\n#[used]\n#[unsafe(link_section = \
             \".esplice.arena.dma\")]\n\
             pub static mut IT: Wrap<[u8; 4], A = B> = {value};\nstatic NEXT: u8 = 7;\n"
        );
        match first_in(&text, &["dma", "log"]) {
            Some(found) => {
                assert_eq!(found, (4, "IT".into(), "dma".into()), "{value}");
                true
            }
            None => false,
        }
    }

    #[test]
    fn literals_that_are_stored_as_they_are_count() {
        for value in [
            "7",
            "-1",
            "0x10",
            "1.5",
            "0.5f32",
            "true",
            "'a'",
            "[1, 2, 3, 4]",
            "[0, 0, 1]",
            "[7; 64]",
            "(0, 5)",
            "AtomicU32::new(7)",
            "core::sync::atomic::AtomicU32::new(0x80)",
            "Cell::new([0, 1])",
            "MaybeUninit::new(3)",
            "Point { x: 0, y: 9 }",
            "*b\"text\"",
            "\"text\"",
            "[const { MaybeUninit::new(1) }; 8]",
            "/* a */ 0b0001_0000u8",
        ] {
            assert!(found(value), "{value}");
        }
    }

    #[test]
    fn all_else_passes() {
        for value in [
            "MaybeUninit::uninit()",
            "MaybeUninit::<[u8; 64]>::uninit()",
            "[const { MaybeUninit::uninit() }; 64]",
            "[MaybeUninit::uninit(); 64]",
            "0",
            "0u8",
            "0.0",
            "0x0_u32",
            "[0; 16]",
            "AtomicU32::new(0)",
            "Cell::new(false)",
            "Ring::new(64)",
            "Ring::<64>::new()",
            "ring!(64)",
            "LEN",
            "{ let x = 5; MaybeUninit::uninit() }",
            "unsafe { core::mem::zeroed() }",
            "64 - 64",
            "TABLE[3]",
            "'\\0'",
        ] {
            assert!(!found(value), "{value}");
        }
    }

    #[test]
    fn other_sections_and_arenas_and_comments_pass() {
        let attribute = "#[link_section = \".esplice.arena.table\"] static A: u8 = 1;";
        assert_eq!(first_in(attribute, &["dma"]), None);
        let commented = "/* /* */ #[link_section = \".esplice.arena.dma\"] static A: u8 = 1; */";
        assert_eq!(first_in(commented, &["dma"]), None);
        let quoted =
            "const T: &str = r#\"#[link_section = \".esplice.arena.dma\"] static A: u8 = 1;\"#;";
        assert_eq!(first_in(quoted, &["dma"]), None);
        let function = "#[link_section = \".esplice.arena.dma\"] fn f() { static A: u8 = 1; }";
        assert_eq!(first_in(function, &["dma"]), None);
        let part = "#[link_section = \".esplice.arena.dma.x\"]\n\nstatic A: u8 = 1;";
        assert_eq!(first_in(part, &["dma"]), Some((3, "A".into(), "dma".into())));
    }

    /// Any text is read to its end.
    #[test]
    fn broken_sources_are_read_to_their_end() {
        let text = "#[link_section = \".esplice.arena.dma\"] static mut Ä: [u8; 2] = ['\\u{1}', \
                    b'x']; r#\"/* \
                    '\\'' \"a\\\"b\" ";
        for end in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            for start in (0..end).filter(|at| text.is_char_boundary(*at)) {
                let _ = first_in(&text[start..end], &["dma"]);
                let _ = tokens(&text[start..end]);
            }
        }
    }
}
