//! Parses output sections and input section descriptions of a linker script.

use super::{
    StableError,
    glob::Glob,
    script::{Files, Group, Statement},
    tokens::{Token, tokens, unsupported},
};

/// An output section as parsed, with the runs of its statements.
pub(crate) struct ReadOutput {
    pub name: String,
    pub statements: Vec<Statement>,
    /// For each statement, the number of its run; none if it is kept or sorted.
    pub runs: Vec<Option<u32>>,
}

/// An `INSERT`: the names to move, whether after the target, and the target's name.
pub(crate) type Insert = (Vec<String>, bool, String);

/// Returns the output sections of a flattened script, in order, and its `INSERT`s.
///
/// # Errors
/// [`StableError::Script`] if the script is not supported.
pub(crate) fn read(text: &str) -> Result<(Vec<ReadOutput>, Vec<Insert>), StableError> {
    Parser { tokens: tokens(text)?, at: 0 }.script()
}

/// Commands with arguments in parentheses that place no input section.
const CALLS: &[&str] = &[
    "ASSERT",
    "PROVIDE",
    "PROVIDE_HIDDEN",
    "HIDDEN",
    "BYTE",
    "SHORT",
    "LONG",
    "QUAD",
    "FILL",
    "ENTRY",
    "EXTERN",
    "OUTPUT_FORMAT",
    "OUTPUT_ARCH",
    "REGION_ALIAS",
    "GROUP",
    "INPUT",
    "AS_NEEDED",
    "TARGET",
    "SEARCH_DIR",
    "OUTPUT",
    "STARTUP",
    "NOCROSSREFS",
];
const SORTS: &[&str] =
    &["SORT", "SORT_BY_NAME", "SORT_BY_ALIGNMENT", "SORT_BY_INIT_PRIORITY", "SORT_NONE"];

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn script(&mut self) -> Result<(Vec<ReadOutput>, Vec<Insert>), StableError> {
        let (mut outputs, mut inserts) = (Vec::new(), Vec::new());
        while let Some(token) = self.next() {
            match token.text {
                "SECTIONS" => {
                    self.expect("{")?;
                    let first = outputs.len();
                    self.sections(&mut outputs)?;
                    if self.take("INSERT") {
                        let after = match self.next().map(|token| token.text) {
                            Some("AFTER") => true,
                            Some("BEFORE") => false,
                            _ => return Err(unsupported("INSERT")),
                        };
                        let to = self.next().ok_or_else(|| unsupported("INSERT"))?.text.to_owned();
                        let new = outputs.iter().skip(first);
                        let names = new.map(|output: &ReadOutput| output.name.clone()).collect();
                        inserts.push((names, after, to));
                    }
                }
                "OVERWRITE_SECTIONS" => return Err(unsupported("OVERWRITE_SECTIONS")),
                "MEMORY" | "PHDRS" | "VERSION" => {
                    self.expect("{")?;
                    self.skip("{", "}")?;
                }
                call if CALLS.contains(&call) => self.call()?,
                ";" => {}
                _ => self.assignment()?,
            }
        }
        Ok((outputs, inserts))
    }

    /// Parses after the `{` of `SECTIONS`.
    fn sections(&mut self, outputs: &mut Vec<ReadOutput>) -> Result<(), StableError> {
        loop {
            let token = self.next().ok_or_else(|| unsupported("SECTIONS without end"))?;
            match token.text {
                "}" if !token.quoted => return Ok(()),
                ";" => {}
                "OVERLAY" => return Err(unsupported("OVERLAY")),
                call if CALLS.contains(&call) => self.call()?,
                name => {
                    if self.is_assignment(&token) {
                        self.assignment()?;
                    } else {
                        let name = name.strip_suffix(':').unwrap_or(name).to_owned();
                        outputs.push(self.output(name)?);
                    }
                }
            }
        }
    }

    /// Parses after the name of an output section.
    fn output(&mut self, name: String) -> Result<ReadOutput, StableError> {
        loop {
            let token = self.next().ok_or_else(|| unsupported("an output section without end"))?;
            match token.text {
                "{" => break,
                "ONLY_IF_RO" | "ONLY_IF_RW" | "SUBALIGN" => return Err(unsupported(token.text)),
                ";" | "}" => return Err(unsupported(&format!("output section {name}"))),
                _ => {}
            }
        }
        let (mut statements, mut runs, mut run) = (Vec::new(), Vec::new(), 0);
        loop {
            let token = self.next().ok_or_else(|| unsupported("an output section without end"))?;
            match token.text {
                "}" if !token.quoted => break,
                ";" => {}
                "KEEP" => {
                    self.expect("(")?;
                    let file = self.next().ok_or_else(|| unsupported("KEEP"))?;
                    let (statement, _) = self.description(&file)?;
                    self.expect(")")?;
                    statements.push(statement);
                    runs.push(None);
                }
                "INPUT_SECTION_FLAGS" | "EXCLUDE_FILE" => return Err(unsupported(token.text)),
                "CONSTRUCTORS" | "CREATE_OBJECT_SYMBOLS" => run += 1,
                call if CALLS.contains(&call) => {
                    self.call()?;
                    run += 1;
                }
                _ if self.is_assignment(&token) => {
                    self.assignment()?;
                    run += 1;
                }
                _ if self.peek() == Some("(") => {
                    let (statement, sorted) = self.description(&token)?;
                    statements.push(statement);
                    runs.push((!sorted).then_some(run));
                }
                other => return Err(unsupported(&format!("{other} in {name}"))),
            }
        }
        self.tail()?;
        Ok(ReadOutput { name, statements, runs })
    }

    /// Parses after the `}` of an output section: regions, headers and the fill.
    fn tail(&mut self) -> Result<(), StableError> {
        loop {
            match self.peek() {
                Some(">") => self.at += 2,
                Some("AT") => self.at += 3,
                Some(",") => self.at += 1,
                Some(header) if header.starts_with(':') => {
                    self.at += 1 + usize::from(header == ":")
                }
                Some(fill) if fill.starts_with('=') => {
                    self.at += 1;
                    if fill == "=" {
                        if self.take("(") {
                            self.skip("(", ")")?;
                        } else {
                            self.at += 1;
                        }
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// Parses an input section description after its file. Also returns whether it sorts.
    fn description(&mut self, file: &Token<'_>) -> Result<(Statement, bool), StableError> {
        let mut statement = Statement {
            file: Files::new(file.text),
            groups: Vec::new(),
            zone: None,
            range: file.range.clone(),
        };
        self.expect("(")?;
        let mut sorted = false;
        let mut group = Group { exclude: Vec::new(), names: Vec::new() };
        let mut depth = 1;
        while depth > 0 {
            let token = self.next().ok_or_else(|| unsupported("a pattern without end"))?;
            statement.range.end = token.range.end;
            match token.text {
                ")" => depth -= 1,
                sort if SORTS.contains(&sort) => {
                    self.expect("(")?;
                    sorted = true;
                    depth += 1;
                }
                "EXCLUDE_FILE" => {
                    self.expect("(")?;
                    let new = Group { exclude: Vec::new(), names: Vec::new() };
                    statement.groups.push(std::mem::replace(&mut group, new));
                    while let Some(token) = self.next().filter(|token| token.text != ")") {
                        group.exclude.push(Files::new(token.text));
                    }
                }
                "(" | "{" | "}" | ";" => {
                    return Err(unsupported(&format!("pattern of {}", file.text)));
                }
                "," => {}
                name => group.names.push(Glob::new(name)),
            }
        }
        statement.groups.push(group);
        Ok((statement, sorted))
    }

    /// Returns whether the tokens after `token` make it an assignment.
    fn is_assignment(&self, token: &Token<'_>) -> bool {
        let next = self.tokens.get(self.at);
        let operator = |text: &str| text.trim_start_matches(['+', '-', '*', '/']).starts_with('=');
        !token.quoted && token.text.contains('=')
            || next.is_some_and(|next| {
                let then = self.tokens.get(self.at + 1).map_or("", |token| token.text);
                let then2 = self.tokens.get(self.at + 2).map_or("", |token| token.text);
                !next.quoted
                    && (operator(next.text)
                        || matches!(next.text, "|" | "&") && then.starts_with('=')
                        || matches!(next.text, "<" | ">")
                            && then == next.text
                            && then2.starts_with('='))
            })
    }

    /// Skips to the end of an assignment.
    fn assignment(&mut self) -> Result<(), StableError> {
        while let Some(token) = self.next() {
            match token.text {
                ";" => return Ok(()),
                "(" => self.skip("(", ")")?,
                "{" | "}" if !token.quoted => return Err(unsupported("an assignment without end")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Skips arguments in parentheses.
    fn call(&mut self) -> Result<(), StableError> {
        self.expect("(")?;
        self.skip("(", ")")
    }

    /// Skips to the `close` that matches an `open` already consumed.
    fn skip(&mut self, open: &str, close: &str) -> Result<(), StableError> {
        let mut depth = 1_usize;
        while depth > 0 {
            let token = self.next().ok_or_else(|| unsupported(&format!("no {close}")))?;
            match token.text {
                _ if token.quoted => {}
                text if text == open => depth += 1,
                text if text == close => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn expect(&mut self, text: &str) -> Result<(), StableError> {
        if self.take(text) { Ok(()) } else { Err(unsupported(&format!("{text} expected"))) }
    }

    fn take(&mut self, text: &str) -> bool {
        let is = self.peek() == Some(text);
        self.at += usize::from(is);
        is
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).filter(|token| !token.quoted).map(|token| token.text)
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        Some(token)
    }
}
