//! Where sections are pinned: at their former places if they still fit, else where there is room.

use std::collections::BTreeMap;

use super::{
    items::Item,
    matching::match_up,
    record::{Entry, Record},
    settings::Settings,
};

/// A section at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin {
    pub item: usize,
    /// From the start of the output section.
    pub offset: u32,
    /// The longest that it may become.
    pub size: u32,
    pub slack: u32,
    /// Its former place, if it was matched.
    pub former: Option<u32>,
}

impl Pin {
    fn end(&self) -> u32 {
        self.offset.saturating_add(self.size)
    }
}

/// A zone's pins by offset, and where it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ZonePlan {
    pub pins: Vec<Pin>,
    pub start: u32,
    pub end: u32,
}

/// Plans for zones with something in them, by zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub zones: BTreeMap<usize, ZonePlan>,
    /// Sections of the record that are nowhere any more.
    pub gone: usize,
}

/// Plans a link by the record of the last; `zones` tells the zone of each of the record's.
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
    // From the end: how much room there is depends on the next that stays.
    let mut order: Vec<(&Entry, Option<usize>)> = record.entries.iter().zip(matched).collect();
    order.sort_by_key(|(entry, _)| (entry.zone, entry.offset));
    let mut next: Option<(usize, u32)> = None;
    for (entry, item) in order.into_iter().rev() {
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
            // What the linker saved before it will about save again; it says so if not.
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
        };
        let aligned = entry.offset % item.align.max(1) == 0;
        pinned[number] = true;
        if aligned && entry.offset >= extent.start && pin.end() <= end {
            next = Some((zone, entry.offset));
            extent.pins.push(pin);
        } else {
            homeless.push(Pin { size: item.size, ..pin });
        }
    }
    for extent in plan.zones.values_mut() {
        extent.pins.reverse();
    }
    homeless.reverse();
    // What is new in the program's own objects is taken to be needed; of archives the linker takes
    // what it needs, and puts it behind all pins.
    for (number, item) in items.iter().enumerate() {
        if !pinned[number] && item.file == 0 && plan.zones.contains_key(&item.zone) {
            let (size, slack) = (item.size, settings.slack(item));
            homeless.push(Pin { item: number, offset: 0, size, slack, former: None });
        }
    }
    for pin in homeless {
        let Some(item) = items.get(pin.item) else { continue };
        if let Some(extent) = plan.zones.get_mut(&item.zone) {
            house(extent, pin, item.align);
        }
    }
    plan
}

/// Puts a section at the end if it fits before the zone's end, else into the smallest gap that has
/// room for it, else behind the end.
pub(crate) fn house(extent: &mut ZonePlan, pin: Pin, align: u32) {
    let align = align.max(1);
    let last = extent.pins.last().map_or(extent.start, |pin| pin.end().saturating_add(pin.slack));
    let tail = up(last, align);
    let needed = pin.size.saturating_add(pin.slack);
    let fits_tail = tail.saturating_add(needed) <= extent.end;
    let mut best: Option<(u32, usize, u32)> = None;
    if !fits_tail {
        let mut from = extent.start;
        for (number, each) in extent.pins.iter().enumerate() {
            let at = up(from, align);
            let room = each.offset.saturating_sub(from);
            if at.saturating_add(needed) <= each.offset && best.is_none_or(|(r, _, _)| room < r) {
                best = Some((room, number, at));
            }
            from = from.max(each.end().saturating_add(each.slack));
        }
    }
    let (number, offset) = match best {
        Some((_, number, at)) => (number, at),
        None => (extent.pins.len(), tail),
    };
    extent.pins.insert(number, Pin { offset, ..pin });
}

/// Takes pin `number` from its place, which it does not fit, to another.
pub(crate) fn evict(extent: &mut ZonePlan, number: usize, items: &[Item]) -> bool {
    if number >= extent.pins.len() {
        return false;
    }
    let pin = extent.pins.remove(number);
    let Some(item) = items.get(pin.item) else { return false };
    house(extent, Pin { size: item.size, ..pin }, item.align);
    true
}

pub(crate) fn up(value: u32, align: u32) -> u32 {
    value.checked_next_multiple_of(align.max(1)).unwrap_or(value)
}
