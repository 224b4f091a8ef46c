//! Chooses addresses in a region, and finds the space that is left.

use super::checks::{past_region, supports_psram};
use crate::{
    Amount, At, Base, Cause, Extent, Layout, LayoutError, Place, Reserved, Room, region::KEYS,
};

/// Assigns addresses from the top of each region downwards, around reserved ranges.
pub(super) fn choose_addresses(layout: &mut Layout) -> Result<(), LayoutError> {
    for room in layout.rooms.clone() {
        let mut top = room.end();
        let reserved = layout.reserved.clone();
        let ranges = reserved.iter().filter(|range| range.region == room.key);
        let mut place_block = |size: u32, align: u32| -> Option<u32> {
            loop {
                let addr = top.checked_sub(size)? & !(align - 1);
                if addr < room.addr {
                    return None;
                }
                let hit =
                    |r: &&Reserved| addr < r.addr.saturating_add(r.len) && r.addr < addr + size;
                match ranges.clone().find(hit) {
                    Some(range) => top = range.addr,
                    None => {
                        top = addr;
                        return Some(addr);
                    }
                }
            }
        };
        for arena in layout.arenas.iter_mut().filter(|arena| arena.region == room.key) {
            arena.addr = place_block(arena.size.bytes, arena.align);
            if arena.addr.is_none() {
                let what = format!("arena {}", arena.name);
                let left = Amount::of(0);
                let cause = past_region(&what, &arena.size, &room.key, left.bytes, room.len, &[]);
                return Err(cause.at(&arena.place));
            }
        }
        if layout.base == Base::EspIdf
            && let Some(heap) = layout.heap.as_mut().filter(|heap| heap.region == room.key)
            && let Extent::Size(size) = &heap.extent
        {
            heap.addr = place_block(size.bytes, heap.align);
            if heap.addr.is_none() {
                let cause = past_region("the heap", size, &room.key, 0, room.len, &[]);
                return Err(cause.at(&heap.place));
            }
        }
    }
    Ok(())
}

/// Returns the number of bytes of `room` that are already taken.
pub(super) fn taken(layout: &Layout, room: &Room) -> u32 {
    let stack = if holds_stack(layout, room) { layout.stack.bytes } else { 0 };
    let arenas = layout.arenas.iter().filter(|arena| arena.region == room.key);
    let ranges = layout.reserved.iter().filter(|range| range.region == room.key);
    let lens = arenas.map(|arena| arena.size.bytes).chain(ranges.map(|range| range.len));
    lens.fold(stack, u32::saturating_add)
}

/// Returns the blocks that [`taken`] counts, with their sizes.
pub(super) fn others(layout: &Layout, room: &Room) -> Vec<String> {
    let stack = holds_stack(layout, room).then(|| format!("the stack of {}", layout.stack.written));
    let arenas = layout.arenas.iter().filter(|arena| arena.region == room.key);
    let arenas = arenas.map(|arena| format!("arena {} of {}", arena.name, arena.size.written));
    let ranges = layout.reserved.iter().filter(|range| range.region == room.key);
    let ranges = ranges
        .map(|range| format!("reserved range {} of {}", range.name, Amount::of(range.len).written));
    stack.into_iter().chain(arenas).chain(ranges).collect()
}

pub(super) fn holds_stack(layout: &Layout, room: &Room) -> bool {
    room.key == "dram" && layout.base != Base::EspIdf
}

pub(super) fn find_room<'a>(
    key: &str,
    layout: &'a Layout,
    place: &Place,
) -> Result<&'a Room, LayoutError> {
    if let Some(room) = layout.room(key) {
        return Ok(room);
    }
    let known: Vec<String> = layout.rooms.iter().map(|room| room.key.clone()).collect();
    let cause = if key == "psram" && supports_psram(&layout.chip) {
        Cause::PsramAtRunTime {
            chip: layout.chip.display_name.clone(),
            esp_hal: layout.base == Base::EspHal,
        }
    } else if KEYS.contains(&key) {
        Cause::NoSuchRegion {
            chip: layout.chip.display_name.clone(),
            region: key.to_owned(),
            for_base: format!("for base {:?}", layout.base.name()),
            known,
        }
    } else {
        Cause::UnknownWord { key: "region".into(), word: key.to_owned(), known }
    };
    Err(cause.at(place))
}

/// Returns a region for the heap or an arena.
pub(super) fn data_room<'a>(
    what: &str,
    region: &Option<At<String>>,
    layout: &'a Layout,
    place: &Place,
) -> Result<&'a Room, LayoutError> {
    let (key, place) = match region {
        Some(region) => (region.value.as_str(), &region.place),
        None => ("dram", place),
    };
    let refuse = |why| {
        Err(Cause::WrongRegion { what: what.to_owned(), region: key.to_owned(), why }.at(place))
    };
    match key {
        "irom" | "drom" => refuse("it is flash, which cannot be written like RAM"),
        "iram" => refuse("it is for code, and data there would share its bytes with dram"),
        "rtc-fast" | "rtc-slow" if layout.base == Base::Ram => {
            refuse("the script for programs in RAM has only dram")
        }
        _ => find_room(key, layout, place),
    }
}
