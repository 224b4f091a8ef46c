//! Plans where to pin sections: at their former places if they still fit, else where there is room.

use std::{collections::BTreeMap, ops::Range};

use super::{
    items::Item,
    matching::match_up,
    record::{Entry, Record},
    settings::Settings,
};

/// A section at a fixed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin {
    pub item: usize,
    /// Offset from the start of the output section.
    pub offset: u32,
    /// Maximum size that it may reach.
    pub size: u32,
    pub slack: u32,
    /// Former offset, if it was matched.
    pub former: Option<u32>,
    /// True if it is pinned together with the one before: the linker places both unchanged and one
    /// after the other by itself, so one line of the script is enough for both.
    pub joined: bool,
}

impl Pin {
    fn end(&self) -> u32 {
        self.offset.saturating_add(self.size)
    }
}

/// Pins of a zone by offset, and its extent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ZonePlan {
    pub pins: Vec<Pin>,
    pub start: u32,
    pub end: u32,
}

impl ZonePlan {
    /// Returns the range of joined pins that contains `number`.
    pub fn joined(&self, number: usize) -> Range<usize> {
        let head = |at: &usize| !self.pins.get(*at).is_some_and(|pin| pin.joined);
        let start = (0..=number).rev().find(head).unwrap_or(number);
        let end = (number + 1..self.pins.len()).find(head).unwrap_or(self.pins.len());
        start..end
    }

    /// Separates the pins that are joined with pin `number`.
    pub fn separate(&mut self, number: usize) {
        let range = self.joined(number);
        self.pins.get_mut(range).into_iter().flatten().for_each(|pin| pin.joined = false);
    }
}

/// Plans of the zones that have contents, by zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub zones: BTreeMap<usize, ZonePlan>,
    /// Number of sections of the record that no longer exist.
    pub gone: usize,
}

/// Plans a link from the record of the last one. `zones` maps the record's zones to the script's.
pub(crate) fn plan(
    record: &Record,
    zones: &[Option<usize>],
    items: &[Item],
    settings: &Settings,
) -> Plan {
    let matched = match_up(record, zones, items);
    let mut plan = Plan::default();
    for (zone, read) in zones.iter().zip(&record.zones) {
        if let Some(zone) = zone {
            let extent = ZonePlan { pins: Vec::new(), start: read.start, end: read.end };
            plan.zones.insert(*zone, extent);
        }
    }
    let mut homeless = Vec::new();
    let mut pinned = vec![false; items.len()];
    // From the end, because the room of a section depends on the next one that stays.
    let mut order: Vec<(&Entry, Option<usize>)> = record.entries.iter().zip(matched).collect();
    order.sort_by_key(|(entry, _)| (entry.zone, entry.offset));
    let mut next: Option<(usize, u32)> = None;
    // The pin after the current entry, if it might be joined to it.
    let mut follower: Option<(u32, &Item)> = None;
    for (entry, item) in order.into_iter().rev() {
        let followed = follower.take();
        let zone = zones.get(entry.zone as usize).copied().flatten();
        let (Some(number), Some(zone)) = (item, zone) else {
            plan.gone += 1;
            continue;
        };
        let Some((extent, item)) = plan.zones.get_mut(&zone).zip(items.get(number)) else {
            continue;
        };
        let changed = entry.digests.content != item.digests.content;
        let size = if changed {
            // The linker will save about as much as before, and reports an error if it does not.
            let saved = entry.input_size.saturating_sub(entry.size);
            item.size.saturating_sub(saved)
        } else {
            entry.size
        };
        let end = match next {
            Some((of, offset)) if of == zone => offset,
            _ => extent.end,
        };
        let pin = Pin {
            item: number,
            offset: entry.offset,
            size,
            slack: settings.slack(item),
            former: Some(entry.offset),
            joined: false,
        };
        let aligned = entry.offset % item.align.max(1) == 0;
        pinned[number] = true;
        let in_place = aligned && entry.offset >= extent.start;
        let mut fits = in_place && pin.end() <= end;
        if in_place
            && changed
            && !fits
            && let Some(first) = first_blocking_pin(extent, &pin, items)
        {
            let displaced = extent.pins.drain(first..).map(|pin| {
                let size = items.get(pin.item).map_or(pin.size, |item| item.size);
                Pin { size, joined: false, ..pin }
            });
            homeless.extend(displaced);
            if let Some(behind) = extent.pins.last_mut() {
                behind.joined = false;
            }
            fits = true;
        }
        if fits {
            next = Some((zone, entry.offset));
            if let Some((offset, behind)) = followed
                && !changed
                && can_be_joined(item, behind)
                && offset == up(pin.end(), behind.align)
                && let Some(last) = extent.pins.last_mut()
            {
                last.joined = true;
            }
            follower = (!changed && entry.chained).then_some((entry.offset, item));
            extent.pins.push(pin);
        } else {
            homeless.push(Pin { size: item.size, ..pin });
        }
    }
    for extent in plan.zones.values_mut() {
        extent.pins.reverse();
    }
    homeless.reverse();
    // New sections of the program's own objects are assumed to be needed. From archives the linker
    // takes what it needs and places it after all pins.
    for (number, item) in items.iter().enumerate() {
        if !pinned[number] && item.file == 0 && plan.zones.contains_key(&item.zone) {
            let (size, slack) = (item.size, settings.slack(item));
            homeless.push(Pin {
                item: number,
                offset: 0,
                size,
                slack,
                former: None,
                joined: false,
            });
        }
    }
    for pin in homeless {
        let Some(item) = items.get(pin.item) else { continue };
        if let Some(extent) = plan.zones.get_mut(&item.zone) {
            place_pin(extent, pin, items);
        }
    }
    plan
}

/// Returns the number of the first of the pins (which are in reverse order) that are moved so that
/// a function that has grown can stay. This pays if they are smaller: a moved function changes the
/// sectors that it leaves, those that it goes to, and those of its callers. Only functions of the
/// project are moved; others have callers everywhere.
fn first_blocking_pin(extent: &ZonePlan, pin: &Pin, items: &[Item]) -> Option<usize> {
    let is_function = |item: &Item| !item.anonymous && !item.piece && !item.writable;
    if pin.end() > extent.end || !is_function(items.get(pin.item)?) {
        return None;
    }
    let mut moved = 0_u32;
    for (number, other) in extent.pins.iter().enumerate().rev() {
        if other.offset >= pin.end() {
            return Some(number + 1);
        }
        let item = items.get(other.item)?;
        moved = moved.saturating_add(other.size);
        if !item.own || !is_function(item) || moved > pin.size / 2 {
            return None;
        }
    }
    Some(0)
}

/// Returns whether the linker by itself places `behind` after `item`, and both can be recognised in
/// its map.
fn can_be_joined(item: &Item, behind: &Item) -> bool {
    let in_order = item.unit != behind.unit || item.section < behind.section;
    item.zone == behind.zone && item.sole && behind.sole && in_order
}

/// Places a section. A section of an own crate goes into the smallest sufficient gap after another
/// one of them. Otherwise, and for all other sections, the choices in order are: at the end, if
/// that is before the zone's end; the smallest sufficient gap; after the end.
pub(crate) fn place_pin(extent: &mut ZonePlan, pin: Pin, items: &[Item]) {
    let is_own = |pin: &Pin| items.get(pin.item).is_some_and(|item| item.own);
    let align = items.get(pin.item).map_or(1, |item| item.align.max(1));
    let needed = pin.size.saturating_add(pin.slack);
    let mut nearby: Option<(u32, usize, u32)> = None;
    let mut anywhere: Option<(u32, usize, u32)> = None;
    let mut from = extent.start;
    let mut follows_own = false;
    for (number, each) in extent.pins.iter().enumerate() {
        let at = up(from, align);
        let room = each.offset.saturating_sub(from);
        if !each.joined && at.saturating_add(needed) <= each.offset {
            let smaller = |best: &Option<(u32, usize, u32)>| best.is_none_or(|(r, _, _)| room < r);
            if smaller(&anywhere) {
                anywhere = Some((room, number, at));
            }
            if follows_own && smaller(&nearby) {
                nearby = Some((room, number, at));
            }
        }
        from = from.max(each.end().saturating_add(each.slack));
        follows_own = is_own(each);
    }
    let tail = up(from, align);
    let at_end = (0, extent.pins.len(), tail);
    let best = match (nearby.filter(|_| is_own(&pin)), anywhere) {
        (Some(nearby), _) => nearby,
        (None, Some(gap)) if tail.saturating_add(needed) > extent.end => gap,
        _ => at_end,
    };
    let (_, number, offset) = best;
    extent.pins.insert(number, Pin { offset, ..pin });
}

/// Moves pin `number`, which does not fit its place, to another.
pub(crate) fn evict(extent: &mut ZonePlan, number: usize, items: &[Item]) -> bool {
    if number >= extent.pins.len() {
        return false;
    }
    let pin = extent.pins.remove(number);
    let Some(item) = items.get(pin.item) else { return false };
    place_pin(extent, Pin { size: item.size, ..pin }, items);
    true
}

pub(crate) fn up(value: u32, align: u32) -> u32 {
    value.checked_next_multiple_of(align.max(1)).unwrap_or(value)
}
