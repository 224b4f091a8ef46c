//! Linker scripts as lld reads them, as far as they determine where input sections go.
//!
//! A script is flattened first (`INCLUDE` replaced by the included script) and then searched for
//! *zones*: runs of input patterns in one output section with nothing in between. Sections may
//! change places within a zone without an effect on any symbol of the script. `KEEP` and sorted
//! patterns are not part of a zone: the linker decides where their sections go.

use std::ops::Range;

use super::{
    StableError,
    glob::Glob,
    parser::{Insert, ReadOutput, read},
    tokens::unsupported,
};

/// A flattened script.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub text: String,
    /// Statements of the output sections, in the order in which the linker assigns input sections.
    outputs: Vec<Vec<Statement>>,
    pub zones: Vec<Zone>,
}

/// An input section description.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub file: Files,
    pub groups: Vec<Group>,
    /// The zone that it belongs to.
    pub zone: Option<usize>,
    pub range: Range<usize>,
}

/// A run of input section descriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zone {
    /// Name of the output section.
    pub output: String,
    /// Index of the zone in its output section.
    pub number: u32,
    /// Range in the text, from the first pattern to the end of the last.
    pub range: Range<usize>,
}

/// Sections by name, except those of some files.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub exclude: Vec<Files>,
    pub names: Vec<Glob>,
}

/// Files by name, in the forms of lld's patterns: `*`, `*lib.a:` for a whole archive, `:*x.o` for
/// files outside archives, and otherwise the name, with `archive:member` for a member.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    Every,
    Archive(Glob),
    Alone(Glob),
    Named(Glob),
}

impl Files {
    pub fn new(pattern: &str) -> Files {
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

/// A file that the linker reads: its path, and the member if it is an archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileName<'a> {
    pub path: &'a str,
    pub member: Option<&'a str>,
}

/// Destination of an input section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a zone, by the description that begins at this position in the text.
    Zone(usize, usize),
    /// Fixed by the script or chosen by the linker.
    Fixed,
}

/// The statements of a script that apply to a file.
pub(crate) struct Openings<'a> {
    open: Vec<(&'a Statement, Vec<&'a Group>)>,
}

impl Script {
    /// Returns whether the linker script has zones in which sections can be pinned.
    pub fn has_zones(&self) -> bool {
        !self.zones.is_empty()
    }

    /// Returns the statements that take sections of `file`.
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
    /// Returns the destination of a section of the file: the first statement that takes it.
    pub fn place(&self, section: &str) -> Place {
        let takes = |groups: &Vec<&Group>| {
            groups.iter().any(|group| group.names.iter().any(|name| name.matches(section)))
        };
        let first = self.open.iter().find(|(_, groups)| takes(groups));
        first
            .and_then(|(statement, _)| Some(Place::Zone(statement.zone?, statement.range.start)))
            .unwrap_or(Place::Fixed)
    }
}

/// Parses a flattened script.
///
/// # Errors
/// [`StableError::Script`] if the script is not supported: nothing is pinned on a guess.
pub(crate) fn parse(text: String) -> Result<Script, StableError> {
    let (mut outputs, inserts) = read(&text)?;
    reorder(&mut outputs, &inserts)?;
    for (at, output) in outputs.iter().enumerate() {
        if outputs.iter().skip(at + 1).any(|other| other.name == output.name) {
            return Err(unsupported(&format!("output section {} twice", output.name)));
        }
    }
    let zones = find_zones(&mut outputs);
    Ok(Script { text, outputs: outputs.into_iter().map(|read| read.statements).collect(), zones })
}

/// Applies each `INSERT`, in order, as lld does before it places anything.
fn reorder(outputs: &mut Vec<ReadOutput>, inserts: &[Insert]) -> Result<(), StableError> {
    for (names, after, to) in inserts {
        let (moved, mut kept): (Vec<_>, Vec<_>) =
            outputs.drain(..).partition(|output| names.contains(&output.name));
        let at = kept.iter().position(|output| output.name == *to);
        let at = at.ok_or_else(|| unsupported(&format!("INSERT at {to}, which does not exist")))?;
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
