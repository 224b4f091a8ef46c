//! A link: from its files and the record of the last one to the files, the script and the record of
//! this one. Whoever calls it has the linker.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use super::{
    InputFile, StableError,
    archive::{Member, Unit, units, write_archive},
    digest::{Digests, digests, plain_name, text_digest},
    map,
    object::{Object, Rewriter, SHF_WRITE, Section},
    plan::{Plan, ZonePlan, evict, plan, up},
    record::{Entry, Record, ZoneRecord},
    script::{FileName, Place, Script, flatten, parse},
    settings::Settings,
};

/// Names of pinned sections begin so; no compiler makes such.
const PIN: &str = ".~esplice.";
/// A link is tried this often before it is given up.
const MAX_TRIES: u32 = 12;

/// A section that can be pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub unit: usize,
    pub section: usize,
    pub name: String,
    pub zone: usize,
    pub size: u32,
    pub align: u32,
    pub digests: Digests,
    pub anonymous: bool,
    pub piece: bool,
    pub writable: bool,
    /// Of a crate that is edited, or used by one alone.
    pub own: bool,
    pub file: u64,
}

/// What a link is made of.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// Objects and archives in the order of the command line.
    pub inputs: Vec<InputFile>,
    /// The linker scripts, in order, flattened or not.
    pub script: String,
    /// Symbols that are asked for beside those of the objects: the entry, and those of `-u`.
    pub asked: Vec<String>,
    /// What else a record must have been made with: compiler, linker, profile, by name.
    pub contexts: Vec<(String, String)>,
    /// Room to give.
    pub settings: Settings,
}

/// How the record of the last link was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// Sections are pinned to their former places.
    Record,
    /// Nothing is: the first link, or one that was asked for.
    Fresh,
    /// The record is of other circumstances, named here.
    Stale(Vec<String>),
    /// More than the bound of what is linked, in percent, is lost in gaps.
    Fragmented(u32),
}

/// A link under way.
#[derive(Debug)]
pub struct Link {
    job: Job,
    script: Script,
    units: Vec<Unit>,
    items: Vec<Item>,
    contexts: Vec<(String, u64)>,
    basis: Basis,
    plan: Plan,
    waste_base: u64,
    /// The item of each pinned name.
    names: Vec<usize>,
    /// Lines of pins in the script as it was last given: zone and number of the pin before.
    lines: HashMap<usize, (usize, usize)>,
    tries: u32,
    evicted: usize,
}

/// A file that stands for one of the job's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Number of the input.
    pub input: usize,
    /// What is linked in its place, or before it where it is an archive: of an archive only the
    /// members that are needed are written, the others are still taken from the original.
    pub bytes: Vec<u8>,
    /// Whether the original stays behind it.
    pub before: bool,
}

/// What to do after a link that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The script has changed: link again.
    Again,
    /// The failure has other causes, or never ends: link without this.
    GiveUp,
}

/// What became of the sections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The record for the next link.
    pub record: Record,
    /// Sections at their former places.
    pub kept: usize,
    /// Sections elsewhere than before: name, former and new offset in their output section.
    pub moved: Vec<(String, u32, u32)>,
    /// Sections that were not there before.
    pub new: usize,
    /// Sections that are no longer there.
    pub gone: usize,
    /// Sections that the linker found too long for their places.
    pub evicted: usize,
}

impl Link {
    /// Prepares a link, by the record of the last where there is one. `include` gives the scripts
    /// that others include.
    ///
    /// # Errors
    /// [`StableError`] where the script is not understood, or has nothing to pin sections in.
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

    /// What it starts from.
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

    /// Settles which items get a name of their own: those that are pinned, or have slack.
    fn name(&mut self) {
        if self.basis == Basis::Record {
            self.names = self
                .plan
                .zones
                .values()
                .flat_map(|zone| zone.pins.iter().map(|p| p.item))
                .collect();
            self.names.sort_unstable();
        } else {
            let roomy = |(_, item): &(usize, &Item)| self.job.settings.slack(item) > 0;
            self.names = self.items.iter().enumerate().filter(roomy).map(|(n, _)| n).collect();
        }
    }

    /// The files to link in the place of others. Each is to have the name of the input, in a
    /// directory of its own.
    ///
    /// # Errors
    /// [`StableError::Object`] where a file cannot be written.
    pub fn replacements(&self) -> Result<Vec<Replacement>, StableError> {
        let mut renames: HashMap<usize, Vec<(usize, String)>> = HashMap::new();
        for (number, item) in self.names.iter().enumerate() {
            let Some(item) = self.items.get(*item) else { continue };
            renames.entry(item.unit).or_default().push((item.section, format!("{PIN}{number}")));
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

    /// The script to link with, in the place of all others.
    pub fn script(&mut self) -> String {
        let position: HashMap<usize, usize> =
            self.names.iter().enumerate().map(|(name, item)| (*item, name)).collect();
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.script.zones.len()];
        for &item in &self.names {
            if let Some(list) = self.items.get(item).and_then(|item| before.get_mut(item.zone)) {
                list.push(item);
            }
        }
        let mut order: Vec<usize> = (0..self.script.zones.len()).collect();
        order.sort_by_key(|zone| self.script.zones[*zone].range.start);
        let mut text = String::with_capacity(self.script.text.len() + self.names.len() * 64);
        let mut copied = 0;
        let mut newlines = 1;
        self.lines.clear();
        for number in order {
            let zone = &self.script.zones[number];
            let used = self.items.iter().any(|item| item.zone == number);
            if !used {
                continue;
            }
            let head = self.script.text.get(copied..zone.range.start).unwrap_or_default();
            text.push_str(head);
            text.push('\n');
            newlines += count_lines(head) + 1;
            let output = &zone.output;
            if self.basis == Basis::Record {
                let Some(extent) = self.plan.zones.get(&number) else {
                    copied = zone.range.start;
                    continue;
                };
                let at = |offset: u32| format!("ADDR({output}) + {offset:#x}");
                let mut end = extent.start;
                for (index, pin) in extent.pins.iter().enumerate() {
                    let name = position.get(&pin.item).copied().unwrap_or(usize::MAX);
                    let _ = writeln!(text, "    . = {}; *({PIN}{name})", at(pin.offset));
                    self.lines.insert(newlines, (number, index));
                    newlines += 1;
                    end = pin.offset.saturating_add(pin.size).saturating_add(pin.slack);
                }
                // What is not pinned goes behind the room of the last that is.
                let _ = writeln!(text, "    . = MAX(ABSOLUTE(.), {});", at(end.min(extent.end)));
                newlines += 1;
                let body = self.script.text.get(zone.range.clone()).unwrap_or_default();
                let _ = writeln!(text, "{body}\n    . = MAX(ABSOLUTE(.), {});", at(extent.end));
                newlines += count_lines(body) + 2;
            } else {
                for item in before.get(number).into_iter().flatten() {
                    let name = position.get(item).copied().unwrap_or(usize::MAX);
                    let slack = self.items.get(*item).map_or(0, |i| self.job.settings.slack(i));
                    let _ = writeln!(text, "    *({PIN}{name}) . = . + {slack};");
                    newlines += 1;
                }
                let body = self.script.text.get(zone.range.clone()).unwrap_or_default();
                let tail = if zone.number == 0 { self.job.settings.tail(output) } else { 0 };
                let _ = writeln!(text, "{body}\n    . = . + {tail};\n    . = ALIGN(4);");
                newlines += count_lines(body) + 3;
            }
            copied = zone.range.end;
        }
        text.push_str(self.script.text.get(copied..).unwrap_or_default());
        text
    }

    /// Judges what the linker said when it failed with the script: the sections before the lines
    /// that it complains of have outgrown their places and get others.
    pub fn failed(&mut self, said: &str) -> Retry {
        self.tries += 1;
        if self.basis != Basis::Record || self.tries >= MAX_TRIES {
            return Retry::GiveUp;
        }
        let mut evicted: Vec<(usize, usize)> = Vec::new();
        for line in said.lines().filter(|line| line.contains("error:")) {
            let Some(number) = backward_line(line) else { return Retry::GiveUp };
            match self.lines.get(&number) {
                Some(&(zone, pin)) if pin > 0 => evicted.push((zone, pin - 1)),
                _ => return Retry::GiveUp,
            }
        }
        evicted.sort_unstable();
        evicted.dedup();
        // From behind, so that numbers stay true: one that moves goes behind most others.
        let mut moved = false;
        let mut by_item = Vec::new();
        for (zone, pin) in &evicted {
            let extent = self.plan.zones.get(zone);
            by_item.extend(extent.and_then(|e| e.pins.get(*pin)).map(|pin| (*zone, pin.item)));
        }
        for (zone, item) in by_item {
            let Some(extent) = self.plan.zones.get_mut(&zone) else { continue };
            let Some(at) = extent.pins.iter().position(|pin| pin.item == item) else { continue };
            moved |= evict(extent, at, &self.items);
            self.evicted += 1;
        }
        if moved { Retry::Again } else { Retry::GiveUp }
    }

    /// Reads the map of a link that went well.
    ///
    /// # Errors
    /// [`StableError::Misplaced`] where a section went elsewhere than the script says: the result
    /// is not to be used.
    pub fn linked(
        &self,
        map: &str,
        path: &dyn Fn(&str) -> Option<usize>,
    ) -> Result<Outcome, StableError> {
        let mut files: HashMap<(usize, Option<&str>, &str), VecDeque<usize>> = HashMap::new();
        for (number, item) in self.items.iter().enumerate() {
            let Some(unit) = self.units.get(item.unit) else { continue };
            let key = (unit.input, unit.member.as_deref(), item.name.as_str());
            files.entry(key).or_default().push_back(number);
        }
        let mut found: Vec<(usize, u32, u32)> = Vec::new();
        for line in map::lines(map).into_iter().filter(|line| line.size > 0) {
            let number = match line.section.strip_prefix(PIN) {
                Some(name) => {
                    name.parse().ok().and_then(|name: usize| self.names.get(name)).copied()
                }
                None => path(line.file)
                    .and_then(|input| files.get_mut(&(input, line.member, line.section)))
                    .and_then(VecDeque::pop_front),
            };
            let Some((number, item)) = number.and_then(|n| Some((n, self.items.get(n)?))) else {
                continue;
            };
            let output = self.script.zones.get(item.zone).map(|zone| zone.output.as_str());
            if output != Some(line.output) {
                return Err(StableError::Misplaced {
                    section: item.name.clone(),
                    output: line.output.to_owned(),
                });
            }
            found.push((number, line.offset, line.size));
        }
        Ok(self.outcome(&found))
    }

    /// The outcome with items at places: number, offset, size.
    fn outcome(&self, found: &[(usize, u32, u32)]) -> Outcome {
        let mut outcome = Outcome { evicted: self.evicted, ..Outcome::default() };
        let mut former: HashMap<usize, u32> = HashMap::new();
        for pin in self.plan.zones.values().flat_map(|zone| &zone.pins) {
            former.extend(pin.former.map(|former| (pin.item, former)));
        }
        let mut extents: Vec<Option<(u32, u32)>> = vec![None; self.script.zones.len()];
        for (number, offset, size) in found {
            let Some(item) = self.items.get(*number) else { continue };
            match former.remove(number) {
                Some(former) if former == *offset => outcome.kept += 1,
                Some(former) => outcome.moved.push((item.name.clone(), former, *offset)),
                None => outcome.new += 1,
            }
            // Slack is written behind its section only in a fresh link; later the zone's end holds.
            let fresh = self.basis != Basis::Record;
            let slack = if fresh { self.job.settings.slack(item) } else { 0 };
            let end = offset.saturating_add(*size).saturating_add(slack);
            if let Some(extent) = extents.get_mut(item.zone) {
                let (start, last) = extent.unwrap_or((*offset, end));
                *extent = Some((start.min(*offset), last.max(end)));
            }
        }
        outcome.gone = self.plan.gone + former.len();
        let fresh = self.basis != Basis::Record;
        let mut numbers: Vec<Option<u32>> = vec![None; self.script.zones.len()];
        let mut room = 0_u64;
        for (number, zone) in self.script.zones.iter().enumerate() {
            let planned =
                self.plan.zones.get(&number).map(|ZonePlan { start, end, .. }| (*start, *end));
            let Some((start, end)) = extents.get(number).copied().flatten().or(planned) else {
                continue;
            };
            let (start, end) = match planned {
                Some((first, last)) => (start.min(first), up(end, 4).max(last)),
                None => {
                    let tail =
                        if zone.number == 0 { self.job.settings.tail(&zone.output) } else { 0 };
                    (start, up(end.saturating_add(if fresh { tail } else { 0 }), 4))
                }
            };
            numbers[number] = u32::try_from(outcome.record.zones.len()).ok();
            let output = zone.output.clone();
            outcome.record.zones.push(ZoneRecord { output, number: zone.number, start, end });
            room += u64::from(end.saturating_sub(start));
        }
        let mut linked = 0_u64;
        for (number, offset, size) in found {
            let Some(item) = self.items.get(*number) else { continue };
            let Some(zone) = numbers.get(item.zone).copied().flatten() else { continue };
            linked += u64::from(*size);
            outcome.record.entries.push(Entry {
                zone,
                offset: *offset,
                size: *size,
                input_size: item.size,
                slack: self.job.settings.slack(item),
                anonymous: item.anonymous,
                file: item.file,
                digests: item.digests,
            });
        }
        outcome.record.entries.sort_by_key(|e| (e.zone, e.offset, e.digests.exact));
        outcome.record.contexts = self.contexts.clone();
        let waste = room.saturating_sub(linked);
        outcome.record.waste = (if fresh { waste } else { self.waste_base }, waste);
        outcome
    }
}

fn count_lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// The line of the script in `…/link.x:123: unable to move location counter backward …`
/// (lld/ELF/LinkerScript.cpp, `setDot`).
fn backward_line(said: &str) -> Option<usize> {
    let (head, _) = said.split_once(": unable to move location counter backward")?;
    head.rsplit_once(':')?.1.parse().ok()
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

/// The sections that can be pinned.
fn items(job: &Job, script: &Script, units: &[Unit]) -> Vec<Item> {
    let mut items = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        let Ok(object) = Object::read(&unit.bytes) else { continue };
        // What cannot be renamed is left to the linker.
        if Rewriter::new(&object).is_none() {
            continue;
        }
        let Some(input) = job.inputs.get(unit.input) else { continue };
        let name = FileName { path: &input.name, member: unit.member.as_deref() };
        let openings = script.openings(&name);
        let digests = digests(&object);
        let own = own_sections(&object, &job.settings, unit.member.is_none());
        let file = unit.member.as_ref().map_or(0, |member| {
            text_digest(format!("{}:{}", plain_file(&input.name), plain_file(member)).as_bytes())
        });
        for (index, section) in object.sections.iter().enumerate() {
            if !section.can_be_renamed() {
                continue;
            }
            let Some(Some(digests)) = digests.get(index) else { continue };
            let Place::Zone(zone) = openings.place(section.name) else { continue };
            items.push(Item {
                unit: number,
                section: index,
                name: section.name.to_owned(),
                zone,
                size: section.size,
                align: section.align,
                digests: *digests,
                anonymous: section.is_anonymous(),
                piece: is_piece(section.name),
                writable: section.flags & SHF_WRITE != 0,
                own: own.get(index).copied().unwrap_or(false),
                file,
            });
        }
    }
    items
}

/// `.rodata.str1.1.p0123456789abcdef`, as the split names them.
fn is_piece(name: &str) -> bool {
    let hash = name.rsplit_once(".p").map(|(_, hash)| hash);
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Sections of own crates: by name, and the constants that these use. In the program's own objects
/// also functions whose names are not mangled, such as `main`: no crate can be told from them.
fn own_sections(object: &Object<'_>, settings: &Settings, is_program: bool) -> Vec<bool> {
    let bare = |name: &str| {
        let function = name.strip_prefix(".text.");
        is_program && function.is_some_and(|name| !name.contains("_R") && !name.contains("_ZN"))
    };
    let is_own = |section: &Section<'_>| settings.is_own(section.name) || bare(section.name);
    let mut own: Vec<bool> = object.sections.iter().map(is_own).collect();
    let mut open: Vec<usize> =
        own.iter().enumerate().filter(|(_, own)| **own).map(|(n, _)| n).collect();
    while let Some(number) = open.pop() {
        let Some(section) = object.sections.get(number) else { continue };
        for relocation in &section.relocations {
            let Some((_, Some(target))) = object.target(relocation) else { continue };
            let Some(read) = object.sections.get(target) else { continue };
            let constant =
                (read.is_anonymous() || is_piece(read.name)) && read.flags & SHF_WRITE == 0;
            if constant && let Some(mark) = own.get_mut(target).filter(|mark| !**mark) {
                *mark = true;
                open.push(target);
            }
        }
    }
    own
}

/// A file's name without the hashes that cargo and rustc put there.
fn plain_file(name: &str) -> String {
    let is_hash = |part: &&str| part.len() >= 16 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = name.split(['-', '.']).filter(|part| !is_hash(part)).collect();
    plain_name(&parts.join("."))
}
