//! Linker scripts as lld reads them, as far as it matters which input section goes where.
//!
//! A script is flattened first (`INCLUDE` replaced by what it names) and then searched for the
//! *zones*: runs of input patterns in one output section with nothing between them. Sections may
//! change places within a zone and no symbol of the script notices. `KEEP` and sorted patterns are
//! no part of a zone: what they place stays where the linker puts it.

use std::ops::Range;

use super::{StableError, glob::Glob};

/// Scripts that include each other come to an end here.
const MAX_DEPTH: usize = 16;
/// More text than this is no linker script.
const MAX_LEN: usize = 16 << 20;

/// A flattened script.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub text: String,
    /// In the order in which the linker gives them their input sections.
    outputs: Vec<Vec<Statement>>,
    pub zones: Vec<Zone>,
}

/// An input section description.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    file: Files,
    groups: Vec<Group>,
    /// The zone that it is part of.
    pub zone: Option<usize>,
    range: Range<usize>,
}

/// A run of input section descriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zone {
    /// Name of the output section.
    pub output: String,
    /// Which zone of the output section it is.
    pub number: u32,
    /// From the first pattern to the end of the last, in the text.
    pub range: Range<usize>,
}

/// Sections by name, save those of some files.
#[derive(Debug, Clone)]
struct Group {
    exclude: Vec<Files>,
    names: Vec<Glob>,
}

/// Files by name, as lld takes the patterns: `*`, `*lib.a:` for all of an archive, `:*x.o` for
/// files outside of archives, and else the name with `archive:member` for a member.
#[derive(Debug, Clone)]
enum Files {
    Every,
    Archive(Glob),
    Alone(Glob),
    Named(Glob),
}

impl Files {
    fn new(pattern: &str) -> Files {
        if pattern == "*" {
            Files::Every
        } else if let Some(archive) = pattern.strip_suffix(':') {
            Files::Archive(Glob::new(archive))
        } else if let Some(file) = pattern.strip_prefix(':') {
            Files::Alone(Glob::new(file))
        } else {
            Files::Named(Glob::new(pattern))
        }
    }

    fn matches(&self, file: &FileName<'_>) -> bool {
        match self {
            Files::Every => true,
            Files::Archive(glob) => file.member.is_some() && glob.matches(file.path),
            Files::Alone(glob) => file.member.is_none() && glob.matches(file.path),
            Files::Named(glob) => match file.member {
                Some(member) => glob.matches(&format!("{}:{member}", file.path)),
                None => glob.matches(file.path),
            },
        }
    }
}

/// A file that the linker reads: its path, and the member where that is an archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileName<'a> {
    pub path: &'a str,
    pub member: Option<&'a str>,
}

/// Where an input section goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into a zone.
    Zone(usize),
    /// Where the script fixes it, or where the linker pleases.
    Fixed,
}

/// What of a script is open to a file.
pub(crate) struct Openings<'a> {
    open: Vec<(&'a Statement, Vec<&'a Group>)>,
}

impl Script {
    /// Whether the linker script has something to pin sections in.
    pub fn has_zones(&self) -> bool {
        !self.zones.is_empty()
    }

    /// The statements that take sections of `file`.
    pub fn openings(&self, file: &FileName<'_>) -> Openings<'_> {
        let statements = self.outputs.iter().flatten();
        let open = statements.filter(|statement| statement.file.matches(file)).map(|statement| {
            let taken = |group: &&Group| !group.exclude.iter().any(|files| files.matches(file));
            (statement, statement.groups.iter().filter(taken).collect())
        });
        Openings { open: open.collect() }
    }
}

impl Openings<'_> {
    /// Where a section of the file goes: to the first statement that takes it.
    pub fn place(&self, section: &str) -> Place {
        let takes = |groups: &Vec<&Group>| {
            groups.iter().any(|group| group.names.iter().any(|name| name.matches(section)))
        };
        let first = self.open.iter().find(|(_, groups)| takes(groups));
        first.and_then(|(statement, _)| statement.zone).map_or(Place::Fixed, Place::Zone)
    }
}

/// `text` with every `INCLUDE` replaced by what `include` gives for its name.
///
/// # Errors
/// [`StableError::NoInclude`] where that is nothing; [`StableError::Script`] where it never ends.
pub(crate) fn flatten(
    text: &str,
    include: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<String, StableError> {
    let mut flat = String::new();
    flatten_into(&mut flat, text, include, 0)?;
    Ok(flat)
}

fn flatten_into(
    flat: &mut String,
    text: &str,
    include: &mut dyn FnMut(&str) -> Option<String>,
    depth: usize,
) -> Result<(), StableError> {
    if depth > MAX_DEPTH || flat.len().saturating_add(text.len()) > MAX_LEN {
        return Err(unclear("scripts that include each other"));
    }
    let tokens = tokens(text)?;
    let mut copied = 0;
    for pair in tokens.windows(2) {
        let [token, name] = pair else { continue };
        if token.quoted || token.text != "INCLUDE" {
            continue;
        }
        let included = include(name.text)
            .ok_or_else(|| StableError::NoInclude { name: name.text.to_owned() })?;
        flat.push_str(text.get(copied..token.range.start).unwrap_or_default());
        flatten_into(flat, &included, include, depth + 1)?;
        flat.push('\n');
        copied = name.range.end;
    }
    flat.push_str(text.get(copied..).unwrap_or_default());
    Ok(())
}

/// Reads a flattened script.
///
/// # Errors
/// [`StableError::Script`] for what is not understood: nothing is pinned on a guess.
pub(crate) fn parse(text: String) -> Result<Script, StableError> {
    let (mut outputs, inserts) = Parser { tokens: tokens(&text)?, at: 0 }.script()?;
    reorder(&mut outputs, &inserts)?;
    for (at, output) in outputs.iter().enumerate() {
        if outputs.iter().skip(at + 1).any(|other| other.name == output.name) {
            return Err(unclear(&format!("output section {} twice", output.name)));
        }
    }
    let zones = find_zones(&mut outputs);
    Ok(Script { text, outputs: outputs.into_iter().map(|read| read.statements).collect(), zones })
}

/// An output section as read: which of its statements stand side by side.
struct ReadOutput {
    name: String,
    statements: Vec<Statement>,
    /// For each statement, the number of its run; none for what is kept or sorted.
    runs: Vec<Option<u32>>,
}

/// Names that are moved, whether behind, and the name that they are moved to.
type Insert = (Vec<String>, bool, String);

/// Carries out `INSERT`, in order, as lld does before it places anything.
fn reorder(outputs: &mut Vec<ReadOutput>, inserts: &[Insert]) -> Result<(), StableError> {
    for (names, after, to) in inserts {
        let (moved, mut kept): (Vec<_>, Vec<_>) =
            outputs.drain(..).partition(|output| names.contains(&output.name));
        let at = kept.iter().position(|output| output.name == *to);
        let at = at.ok_or_else(|| unclear(&format!("INSERT beside {to}, which is nowhere")))?;
        let at = if *after { at + 1 } else { at };
        let rest = kept.split_off(at.min(kept.len()));
        kept.extend(moved);
        kept.extend(rest);
        *outputs = kept;
    }
    Ok(())
}

fn find_zones(outputs: &mut [ReadOutput]) -> Vec<Zone> {
    let mut zones: Vec<Zone> = Vec::new();
    for read in outputs.iter_mut().filter(|read| read.name != "/DISCARD/") {
        let mut number = 0;
        let mut last: Option<u32> = None;
        for (statement, run) in read.statements.iter_mut().zip(&read.runs) {
            let Some(run) = run else {
                last = None;
                continue;
            };
            if last != Some(*run) {
                let range = statement.range.clone();
                zones.push(Zone { output: read.name.clone(), number, range });
                number += 1;
                last = Some(*run);
            } else if let Some(zone) = zones.last_mut() {
                zone.range.end = statement.range.end;
            }
            statement.zone = Some(zones.len() - 1);
        }
    }
    zones
}

fn unclear(what: &str) -> StableError {
    StableError::Script { what: what.to_owned() }
}

#[derive(Debug, Clone)]
struct Token<'a> {
    text: &'a str,
    quoted: bool,
    range: Range<usize>,
}

/// The characters of a word, as in lld's lexer (lld/ELF/ScriptLexer.cpp).
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.$/\\~=+[]*?-!^:".contains(&byte)
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, StableError> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    let from = |at: usize| bytes.get(at..).unwrap_or_default();
    while let Some(byte) = bytes.get(at) {
        let rest = from(at);
        if byte.is_ascii_whitespace() {
            at += 1;
        } else if rest.starts_with(b"/*") {
            let end = from(at + 2).windows(2).position(|pair| pair == b"*/");
            at += end.ok_or_else(|| unclear("a comment without end"))? + 4;
        } else if *byte == b'#' {
            at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        } else if *byte == b'"' {
            let len = from(at + 1).iter().position(|byte| *byte == b'"');
            let len = len.ok_or_else(|| unclear("a quotation without end"))?;
            let inside = text.get(at + 1..at + 1 + len).unwrap_or_default();
            tokens.push(Token { text: inside, quoted: true, range: at..at + len + 2 });
            at += len + 2;
        } else {
            let len = match rest.iter().take_while(|byte| is_word(**byte)).count() {
                0 => text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8),
                len => len,
            };
            let word = text.get(at..at + len).ok_or_else(|| unclear("broken text"))?;
            tokens.push(Token { text: word, quoted: false, range: at..at + len });
            at += len;
        }
    }
    Ok(tokens)
}

/// Commands with something in parentheses that place no input section.
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
                            _ => return Err(unclear("INSERT")),
                        };
                        let to = self.next().ok_or_else(|| unclear("INSERT"))?.text.to_owned();
                        let new = outputs.iter().skip(first);
                        let names = new.map(|output: &ReadOutput| output.name.clone()).collect();
                        inserts.push((names, after, to));
                    }
                }
                "OVERWRITE_SECTIONS" => return Err(unclear("OVERWRITE_SECTIONS")),
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

    /// Behind the `{` of `SECTIONS`.
    fn sections(&mut self, outputs: &mut Vec<ReadOutput>) -> Result<(), StableError> {
        loop {
            let token = self.next().ok_or_else(|| unclear("SECTIONS without end"))?;
            match token.text {
                "}" if !token.quoted => return Ok(()),
                ";" => {}
                "OVERLAY" => return Err(unclear("OVERLAY")),
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

    /// Behind the name of an output section.
    fn output(&mut self, name: String) -> Result<ReadOutput, StableError> {
        loop {
            let token = self.next().ok_or_else(|| unclear("an output section without end"))?;
            match token.text {
                "{" => break,
                "ONLY_IF_RO" | "ONLY_IF_RW" | "SUBALIGN" => return Err(unclear(token.text)),
                ";" | "}" => return Err(unclear(&format!("output section {name}"))),
                _ => {}
            }
        }
        let (mut statements, mut runs, mut run) = (Vec::new(), Vec::new(), 0);
        loop {
            let token = self.next().ok_or_else(|| unclear("an output section without end"))?;
            match token.text {
                "}" if !token.quoted => break,
                ";" => {}
                "KEEP" => {
                    self.expect("(")?;
                    let file = self.next().ok_or_else(|| unclear("KEEP"))?;
                    let (statement, _) = self.description(&file)?;
                    self.expect(")")?;
                    statements.push(statement);
                    runs.push(None);
                }
                "INPUT_SECTION_FLAGS" | "EXCLUDE_FILE" => return Err(unclear(token.text)),
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
                other => return Err(unclear(&format!("{other} in {name}"))),
            }
        }
        self.tail()?;
        Ok(ReadOutput { name, statements, runs })
    }

    /// Behind the `}` of an output section: regions, headers and the fill.
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

    /// Behind the file of an input section description, and whether it sorts.
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
            let token = self.next().ok_or_else(|| unclear("a pattern without end"))?;
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
                "(" | "{" | "}" | ";" => return Err(unclear(&format!("pattern of {}", file.text))),
                "," => {}
                name => group.names.push(Glob::new(name)),
            }
        }
        statement.groups.push(group);
        Ok((statement, sorted))
    }

    /// Whether what follows `token` makes it an assignment.
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

    /// To the end of an assignment.
    fn assignment(&mut self) -> Result<(), StableError> {
        while let Some(token) = self.next() {
            match token.text {
                ";" => return Ok(()),
                "(" => self.skip("(", ")")?,
                "{" | "}" if !token.quoted => return Err(unclear("an assignment without end")),
                _ => {}
            }
        }
        Ok(())
    }

    /// What stands in parentheses.
    fn call(&mut self) -> Result<(), StableError> {
        self.expect("(")?;
        self.skip("(", ")")
    }

    /// Behind `open`, past the `close` that belongs to it.
    fn skip(&mut self, open: &str, close: &str) -> Result<(), StableError> {
        let mut depth = 1_usize;
        while depth > 0 {
            let token = self.next().ok_or_else(|| unclear(&format!("no {close}")))?;
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
        if self.take(text) { Ok(()) } else { Err(unclear(&format!("{text} expected"))) }
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
