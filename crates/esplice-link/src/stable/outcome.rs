//! Reads from the linker's map where the sections of a link went.

use std::collections::{HashMap, VecDeque};

use super::{
    StableError,
    link::{Basis, Link, PIN},
    map,
    pinned::MAX_TRIES,
    plan::{Pin, ZonePlan, up},
    record::{Entry, Record, ZoneRecord},
};

/// Result of a layout-stable link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// The record for the next link.
    pub record: Record,
    /// Number of sections at their former places.
    pub kept: usize,
    /// Sections that moved: name, former and new offset in their output section.
    pub moved: Vec<(String, u32, u32)>,
    /// Number of sections that did not exist before.
    pub new: usize,
    /// Number of sections that no longer exist.
    pub gone: usize,
    /// Number of sections that the linker found too long for their places.
    pub evicted: usize,
}

/// The part of the script that placed a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Pin(usize),
    /// The input section description that begins at this position.
    Of(usize),
}

impl Link {
    /// Reads the map of a successful link. Returns none if the linker placed joined sections other
    /// than planned. They have then been separated: write files and script again, and link again.
    ///
    /// # Errors
    /// [`StableError::Misplaced`] if a section went elsewhere than the script says; the output must
    /// not be used.
    pub(crate) fn linked(
        &mut self,
        map: &str,
        path: &dyn Fn(&str) -> Option<usize>,
    ) -> Result<Option<Outcome>, StableError> {
        let found = self.found(map, path)?;
        self.tries += 1;
        if self.tries < MAX_TRIES && self.part_displaced(&found) {
            self.name();
            return Ok(None);
        }
        Ok(Some(self.outcome(&found)))
    }

    /// Separates joined pins that are not at their planned places: those after a missing one, or
    /// all of them if none is missing. Returns whether there were any.
    fn part_displaced(&mut self, found: &[(usize, u32, u32)]) -> bool {
        let offsets: HashMap<usize, u32> =
            found.iter().map(|(item, offset, _)| (*item, *offset)).collect();
        let mut any = false;
        for extent in self.plan.zones.values_mut() {
            let mut at = 0;
            while at < extent.pins.len() {
                let range = extent.joined(at);
                at = range.end;
                if range.len() == 1 {
                    continue;
                }
                let members = extent.pins.get(range.clone()).unwrap_or_default();
                let of = |pin: &Pin| offsets.get(&pin.item);
                if members.iter().all(|pin| of(pin).is_none_or(|at| *at == pin.offset)) {
                    continue;
                }
                any = true;
                let gone: Vec<bool> = members.iter().map(|pin| of(pin).is_none()).collect();
                if !gone.contains(&true) {
                    extent.separate(range.start);
                    continue;
                }
                let members = extent.pins.get_mut(range).into_iter().flatten();
                let mut behind_gone = false;
                for (pin, gone) in members.zip(gone) {
                    pin.joined &= !gone && !behind_gone;
                    behind_gone = gone;
                }
            }
        }
        any
    }

    /// Returns the places of items in the map: number, offset, size.
    fn found(
        &self,
        map: &str,
        path: &dyn Fn(&str) -> Option<usize>,
    ) -> Result<Vec<(usize, u32, u32)>, StableError> {
        // A name that only one item has identifies it.
        let mut pinned: HashMap<usize, (usize, bool)> = HashMap::new();
        for (number, name) in self.names.iter().enumerate() {
            let Some(name) = name else { continue };
            pinned.entry(*name).and_modify(|(_, alone)| *alone = false).or_insert((number, true));
        }
        let mut joined: HashMap<(usize, Option<&str>, usize), VecDeque<usize>> = HashMap::new();
        let mut files: HashMap<(usize, Option<&str>, &str), VecDeque<usize>> = HashMap::new();
        for (number, item) in self.items.iter().enumerate() {
            let Some(unit) = self.units.get(item.unit) else { continue };
            let (input, member) = (unit.input, unit.member.as_deref());
            match self.names.get(number).copied().flatten() {
                Some(name) => joined.entry((input, member, name)).or_default().push_back(number),
                None => {
                    let key = (input, member, item.name.as_str());
                    files.entry(key).or_default().push_back(number);
                }
            }
        }
        let mut found: Vec<(usize, u32, u32)> = Vec::new();
        for line in map::lines(map).into_iter().filter(|line| line.size > 0) {
            let number = match line.section.strip_prefix(PIN) {
                Some(name) => {
                    name.parse().ok().and_then(|name: usize| match pinned.get(&name)? {
                        (number, true) => Some(*number),
                        _ => joined.get_mut(&(path(line.file)?, line.member, name))?.pop_front(),
                    })
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
        Ok(found)
    }

    /// Returns the outcome for items at these places: number, offset, size.
    fn outcome(&self, found: &[(usize, u32, u32)]) -> Outcome {
        let mut outcome = Outcome { evicted: self.evicted, ..Outcome::default() };
        let mut former: HashMap<usize, u32> = HashMap::new();
        for pin in self.plan.zones.values().flat_map(|zone| &zone.pins) {
            former.extend(pin.former.map(|former| (pin.item, former)));
        }
        let mut extents: Vec<Option<(u32, u32)>> = vec![None; self.script.zones.len()];
        let nurseries: Vec<u32> =
            (0..self.script.zones.len()).map(|zone| self.nursery(zone)).collect();
        for (number, offset, size) in found {
            let Some(item) = self.items.get(*number) else { continue };
            match former.remove(number) {
                Some(former) if former == *offset => outcome.kept += 1,
                Some(former) => outcome.moved.push((item.name.clone(), former, *offset)),
                None => outcome.new += 1,
            }
            // Slack follows its section only in a fresh link, with the additional room after the
            // last section that has slack. Later the zone's end takes care of it.
            let fresh = self.basis != Basis::Record;
            let slack = match self.names.get(*number).copied().flatten() {
                Some(_) if fresh => self
                    .job
                    .settings
                    .slack(item)
                    .saturating_add(nurseries.get(item.zone).copied().unwrap_or(0)),
                _ => 0,
            };
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
                Some((first, last)) => {
                    let more = if end > last { self.tail(number).part_of(last, 1) } else { 0 };
                    (start.min(first), up(end.saturating_add(more), 4).max(last))
                }
                None => {
                    let tail =
                        if fresh { self.tail(number).part_of(end, self.parts(number)) } else { 0 };
                    (start, up(end.saturating_add(tail), 4))
                }
            };
            numbers[number] = u32::try_from(outcome.record.zones.len()).ok();
            let output = zone.output.clone();
            outcome.record.zones.push(ZoneRecord { output, number: zone.number, start, end });
            room += u64::from(end.saturating_sub(start));
        }
        let mut linked = 0_u64;
        // For each zone, the last item's pin or description, and its end.
        let mut last: HashMap<u32, (Pattern, u32)> = HashMap::new();
        for (number, offset, size) in found {
            let Some(item) = self.items.get(*number) else { continue };
            let Some(zone) = numbers.get(item.zone).copied().flatten() else { continue };
            linked += u64::from(*size);
            let pattern = match self.names.get(*number).copied().flatten() {
                Some(name) => Pattern::Pin(name),
                None => Pattern::Of(item.statement),
            };
            let before = last.insert(zone, (pattern, offset.saturating_add(*size)));
            let chained =
                before.is_some_and(|(of, end)| of == pattern && up(end, item.align) == *offset);
            outcome.record.entries.push(Entry {
                zone,
                offset: *offset,
                size: *size,
                input_size: item.size,
                slack: self.job.settings.slack(item),
                anonymous: item.anonymous,
                chained,
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
