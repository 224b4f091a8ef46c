//! A layout-stable link: takes its files and the record of the last link, and produces files,
//! script and record for this one. The caller runs the linker.

use std::collections::HashMap;

use super::{
    InputFile, StableError,
    archive::{Member, Unit, units, write_archive},
    digest::text_digest,
    items::{Item, items},
    object::{Object, Rewriter},
    plan::{Plan, plan},
    record::{Record, ZoneRecord},
    script::{Script, parse},
    settings::Settings,
    tokens::flatten,
};

/// Prefix of the names of pinned sections; no compiler produces it.
pub(crate) const PIN: &str = ".~esplice.";

/// Inputs of a link.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// Objects and archives in the order of the command line.
    pub inputs: Vec<InputFile>,
    /// The linker scripts, in order, flattened or not.
    pub script: String,
    /// Symbols that are required in addition to those of the objects: the entry, and those of `-u`.
    pub asked: Vec<String>,
    /// Other properties that a record must share, by name: compiler, linker, profile.
    pub contexts: Vec<(String, String)>,
    /// Amount of room to leave.
    pub settings: Settings,
}

/// How the record of the last link was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// Sections are pinned to their former places.
    Record,
    /// Nothing is pinned: the first link, or a fresh link was requested.
    Fresh,
    /// The record was made with other properties, named here.
    Stale(Vec<String>),
    /// More of the linked bytes than this limit, in percent, is lost in gaps.
    Fragmented(u32),
}

/// A link in progress.
#[derive(Debug)]
pub struct Link {
    pub(super) job: Job,
    pub(super) script: Script,
    pub(super) units: Vec<Unit>,
    pub(super) items: Vec<Item>,
    pub(super) contexts: Vec<(String, u64)>,
    pub(super) basis: Basis,
    pub(super) plan: Plan,
    pub(super) waste_base: u64,
    /// For each item, the number of the name that it is pinned by; joined items share a number.
    pub(super) names: Vec<Option<usize>>,
    /// Lines of pins in the script last returned: zone and number of the pin before.
    pub(super) lines: HashMap<usize, (usize, usize)>,
    pub(super) tries: u32,
    pub(super) evicted: usize,
}

/// A file that replaces one of the job's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Index of the input.
    pub input: usize,
    /// The file to link instead of the input, or before it if that is an archive: only the members
    /// that are needed are written, and the others are still taken from the original.
    pub bytes: Vec<u8>,
    /// True if the original is linked after it.
    pub before: bool,
}

/// Action to take after a failed link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Link again: the script has changed.
    Again,
    /// Write the files again and link again: the files have changed, too.
    Files,
    /// Link normally: the failure has other causes, or retries do not end.
    GiveUp,
}

impl Link {
    /// Prepares a link, using the record of the last one if there is one. `include` returns the
    /// scripts that others include.
    ///
    /// # Errors
    /// [`StableError`] if the script is not supported, or has no patterns to pin sections in.
    pub fn new(
        job: Job,
        record: Option<&Record>,
        include: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<Link, StableError> {
        let script = parse(flatten(&job.script, include)?)?;
        if !script.has_zones() {
            return Err(StableError::NothingToPin);
        }
        let mut asked = job.asked.clone();
        let is_symbol = |c: char| c.is_alphanumeric() || c == '_' || c == '.' || c == '$';
        asked.extend(
            script.text.split(|c| !is_symbol(c)).filter(|w| !w.is_empty()).map(str::to_owned),
        );
        let units = units(&job.inputs, &asked);
        let items = items(&job, &script, &units);
        let contexts = contexts(&job, &script);
        let mut link = Link {
            waste_base: 0,
            names: Vec::new(),
            lines: HashMap::new(),
            tries: 0,
            evicted: 0,
            basis: Basis::Fresh,
            plan: Plan::default(),
            job,
            script,
            units,
            items,
            contexts,
        };
        if let Some(record) = record {
            link.take(record);
        }
        link.name();
        Ok(link)
    }

    /// Returns the basis of the link.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    fn take(&mut self, record: &Record) {
        let differs = |(name, digest): &&(String, u64)| {
            !record.contexts.iter().any(|(n, d)| n == name && d == digest)
        };
        let stale: Vec<_> =
            self.contexts.iter().filter(differs).map(|(name, _)| name.clone()).collect();
        if !stale.is_empty() {
            self.basis = Basis::Stale(stale);
            return;
        }
        let linked: u64 = record.entries.iter().map(|entry| u64::from(entry.size)).sum();
        let grown = record.waste.1.saturating_sub(record.waste.0);
        if grown * 100 > linked * u64::from(self.job.settings.waste) {
            self.basis = Basis::Fragmented(self.job.settings.waste);
            return;
        }
        let zone = |read: &ZoneRecord| {
            let same = |zone: &super::script::Zone| {
                zone.output == read.output && zone.number == read.number
            };
            self.script.zones.iter().position(same)
        };
        let zones: Vec<Option<usize>> = record.zones.iter().map(zone).collect();
        self.plan = plan(record, &zones, &self.items, &self.job.settings);
        self.waste_base = record.waste.0;
        self.basis = Basis::Record;
    }

    /// Decides which items get a name of their own: those that are pinned, or have slack.
    pub(super) fn name(&mut self) {
        self.names = vec![None; self.items.len()];
        let mut next = 0;
        if self.basis == Basis::Record {
            for pin in self.plan.zones.values().flat_map(|zone| &zone.pins) {
                next += usize::from(!pin.joined);
                if let Some(name) = self.names.get_mut(pin.item) {
                    *name = Some(next);
                }
            }
        } else {
            for (item, name) in self.items.iter().zip(&mut self.names) {
                if self.job.settings.slack(item) > 0 {
                    *name = Some(next);
                    next += 1;
                }
            }
        }
    }

    /// Returns the files to link instead of others. Each must have the name of the input, in a
    /// separate directory.
    ///
    /// # Errors
    /// [`StableError::Object`] if a file can't be written.
    pub(crate) fn replacements(&self) -> Result<Vec<Replacement>, StableError> {
        let mut renames: HashMap<usize, Vec<(usize, String)>> = HashMap::new();
        for (item, name) in self.items.iter().zip(&self.names) {
            let Some(name) = name else { continue };
            renames.entry(item.unit).or_default().push((item.section, format!("{PIN}{name}")));
        }
        let mut replacements = Vec::new();
        let mut members: Vec<(usize, Vec<Member<'_>>)> = Vec::new();
        for (number, unit) in self.units.iter().enumerate() {
            let renames = renames.get(&number).map(Vec::as_slice).unwrap_or_default();
            let bytes = renamed(&unit.bytes, renames)?;
            match &unit.member {
                None => {
                    replacements.push(Replacement { input: unit.input, bytes, before: false });
                }
                Some(name) => match members.last_mut() {
                    Some((input, members)) if *input == unit.input => members.push((name, bytes)),
                    _ => members.push((unit.input, vec![(name, bytes)])),
                },
            }
        }
        for (input, members) in members {
            let bytes = write_archive(&members)?;
            replacements.push(Replacement { input, bytes, before: true });
        }
        replacements.sort_by_key(|replacement| replacement.input);
        Ok(replacements)
    }
}

fn renamed(bytes: &[u8], renames: &[(usize, String)]) -> Result<Vec<u8>, StableError> {
    if renames.is_empty() {
        return Ok(bytes.to_vec());
    }
    let object = Object::read(bytes)?;
    let failed = || StableError::Object { message: "its tables are full".into() };
    let mut rewriter = Rewriter::new(&object).ok_or_else(failed)?;
    for (section, name) in renames {
        rewriter.rename(*section, name);
    }
    rewriter.write().ok_or_else(failed)
}

fn contexts(job: &Job, script: &Script) -> Vec<(String, u64)> {
    let mut contexts: Vec<(String, u64)> = job
        .contexts
        .iter()
        .map(|(name, text)| (name.clone(), text_digest(text.as_bytes())))
        .collect();
    contexts.push(("linker script".into(), text_digest(script.text.as_bytes())));
    contexts.push(("settings".into(), text_digest(job.settings.text().as_bytes())));
    contexts
}
