//! The checks before the link: each is a small function, in the order of a reader's questions.

mod checks;
mod place;

use esplice_chip::{Addr, Chip};
use std::sync::Arc;

use self::checks::{
    check_align, check_name, check_symbols, check_words, not_for_base, past_region, unused,
};
use self::place::{choose_addresses, data_room, find_room, holds_stack, others, taken};
use crate::{
    Amount, Arena, ArenaSpec, At, Base, Cause, Contents, Extent, Heap, HeapSpec, Layout,
    LayoutError, Place, Reserved, Room, Section, SectionSpec, Size, Spec, region::rooms,
};

/// Default alignment of heap and arenas in bytes: that of any C type.
const ALIGN: u32 = 16;
/// Default size of the main stack in bytes: the minimum that esp-hal requires by default
/// (esp-hal 1.2.2, esp_config.yml, ensure-main-stack-minimum).
const MAIN_STACK: u32 = 8 << 10;
/// The same for TinyGo, which runs its scheduler on it (TinyGo, targets/esp32c3.ld, _stack_size).
const TINYGO_STACK: u32 = 4 << 10;
/// Minimum size of a stack in bytes, required by start-up code.
const LEAST_STACK: u32 = 1 << 10;

pub(crate) fn settle(spec: &Spec, chip: &Arc<Chip>) -> Result<Layout, LayoutError> {
    let base = spec.base();
    let base_place = spec.base.as_ref().map(|base| base.place.clone());
    let nowhere = base_place.clone().unwrap_or_else(|| first_place(spec));
    let rooms = rooms(chip, base).map_err(|cause| LayoutError::new(&nowhere, cause))?;
    let mut layout = Layout {
        chip: chip.clone(),
        base,
        linker: spec.linker.as_ref().map(|linker| linker.value),
        rooms,
        code: 0,
        heap: None,
        arenas: Vec::new(),
        sections: Vec::new(),
        reserved: Vec::new(),
        stack: Amount::of(if base == Base::TinyGo { TINYGO_STACK } else { MAIN_STACK }),
        stack_place: None,
        goroutine_stack: None,
    };
    settle_code(spec, &mut layout)?;
    settle_stack(spec, &mut layout)?;
    for reserve in &spec.reserves {
        settle_reserve(reserve, &mut layout)?;
    }
    for section in &spec.sections {
        let settled = settle_section(section, &layout)?;
        layout.sections.push(settled);
    }
    for arena in &spec.arenas {
        let settled = settle_arena(arena, &layout)?;
        layout.arenas.push(settled);
    }
    if let Some(heap) = &spec.heap {
        let settled = settle_heap(heap, &layout)?;
        layout.heap = Some(settled);
    }
    if matches!(base, Base::TinyGo | Base::EspIdf) {
        choose_addresses(&mut layout)?;
    }
    if let Some(heap) = &spec.heap {
        check_limit(heap, &mut layout)?;
    }
    Ok(layout)
}

/// Returns the start of the layout, for errors that concern all of it.
pub(crate) fn first_place(spec: &Spec) -> Place {
    let heap = spec.heap.iter().map(|heap| &heap.place);
    let arenas = spec.arenas.iter().map(|arena| &arena.place);
    let sections = spec.sections.iter().map(|section| &section.place);
    let reserves = spec.reserves.iter().map(|reserve| &reserve.place);
    heap.chain(arenas)
        .chain(sections)
        .chain(reserves)
        .min_by_key(|place| place.line)
        .cloned()
        .unwrap_or_default()
}

fn settle_code(spec: &Spec, layout: &mut Layout) -> Result<(), LayoutError> {
    if layout.base != Base::Ram {
        let Some(code) = &spec.code else { return Ok(()) };
        let instead = "the base's own scripts divide memory between code and data";
        return Err(not_for_base("code", layout.base, instead).at(&code.place));
    }
    let len = layout.room("dram").map_or(0, |dram| dram.len);
    let (size, place) = match &spec.code {
        Some(code) => (code.value, code.place.clone()),
        None => (Size::Percent(25), first_place(spec)),
    };
    let bytes = match size {
        Size::Rest => {
            let why = "nothing would be left for data";
            return Err(Cause::RestRefused { what: "code".into(), why }.at(&place));
        }
        Size::Bytes(bytes) => bytes,
        Size::Percent(percent) => share(len, percent),
    };
    let bytes = bytes & !(ALIGN - 1);
    if bytes >= len {
        return Err(past_region("code", &Amount::of(bytes), "dram", len, len, &[]).at(&place));
    }
    layout.code = bytes;
    // Code comes first on either bus; the rest is for data.
    if let Some(dram) = layout.rooms.iter_mut().find(|room| room.key == "dram") {
        dram.addr += bytes;
        dram.len -= bytes;
    }
    Ok(())
}

fn settle_stack(spec: &Spec, layout: &mut Layout) -> Result<(), LayoutError> {
    let dram = layout.room("dram").map_or(0, |dram| dram.len);
    if let Some((size, written)) = &spec.stack.main {
        if layout.base == Base::EspIdf {
            let instead = "set CONFIG_ESP_MAIN_TASK_STACK_SIZE in sdkconfig";
            return Err(not_for_base("stack.main", layout.base, instead).at(&size.place));
        }
        layout.stack = stack_size("the main stack", size, written, dram)?;
        layout.stack_place = Some(size.place.clone());
    }
    if let Some((size, written)) = &spec.stack.goroutine {
        if layout.base != Base::TinyGo {
            let instead = "only TinyGo has goroutines: set base = \"tinygo\"";
            return Err(not_for_base("stack.goroutine", layout.base, instead).at(&size.place));
        }
        layout.goroutine_stack = Some(stack_size("a goroutine's stack", size, written, dram)?);
    }
    Ok(())
}

fn stack_size(
    what: &str,
    size: &At<Size>,
    written: &str,
    region_len: u32,
) -> Result<Amount, LayoutError> {
    let refuse = |cause: Cause| Err(cause.at(&size.place));
    let bytes = match size.value {
        Size::Rest => {
            let why = "a stack gets what heap and arenas leave; set the minimum that it needs";
            return refuse(Cause::RestRefused { what: what.to_owned(), why });
        }
        Size::Bytes(bytes) => bytes,
        Size::Percent(percent) => share(region_len, percent),
    };
    let amount = Amount { written: written.to_owned(), bytes };
    if !bytes.is_multiple_of(4) && !matches!(size.value, Size::Percent(_)) {
        return refuse(Cause::SizeNotWords { what: what.to_owned(), size: amount });
    }
    if bytes < LEAST_STACK {
        return refuse(Cause::StackTooSmall { size: amount, least: Amount::of(LEAST_STACK) });
    }
    if bytes > region_len {
        return refuse(past_region(what, &amount, "dram", region_len, region_len, &[]));
    }
    Ok(Amount { bytes: bytes & !3, ..amount })
}

fn settle_reserve(spec: &crate::ReserveSpec, layout: &mut Layout) -> Result<(), LayoutError> {
    check_name(&spec.name)?;
    let name = &spec.name.value;
    let same = layout.reserved.iter().find(|other| other.name == *name);
    unused("reserved range", &spec.name, same.map(|other| &other.place))?;
    let start = spec.start.value;
    let at_start = |cause: Cause| Err(cause.at(&spec.start.place));
    let chip = || layout.chip.display_name.clone();
    let len = match spec.size.value {
        Size::Bytes(bytes) => bytes,
        Size::Percent(_) | Size::Rest => {
            let what = format!("reserved range {name}");
            let why = "give it a size in bytes, such as 4K";
            return Err(Cause::RestRefused { what, why }.at(&spec.size.place));
        }
    };
    let end = start.saturating_add(len);
    let overlap = |other: &str| Cause::ReserveOverlap {
        name: name.clone(),
        start: Addr(start),
        end: Addr(end),
        other: other.to_owned(),
    };
    let taken = layout.chip.layout.iter().flat_map(|layout| &layout.reserved);
    if let Some(range) = taken.clone().find(|r| start < r.end() && r.addr.0 < end) {
        return at_start(overlap(&range.name));
    }
    let same_bytes = |r: &&Reserved| start < r.addr.saturating_add(r.len) && r.addr < end;
    if let Some(range) = layout.reserved.iter().find(same_bytes) {
        return at_start(overlap(&format!("reserved range {}", range.name)));
    }
    let Some(room) = layout.rooms.iter().find(|room| room.contains(start)) else {
        return at_start(Cause::ReserveOutside {
            name: name.clone(),
            start: Addr(start),
            chip: chip(),
        });
    };
    if end > room.end() {
        let what = format!("reserved range {name}");
        let asked = Amount { written: spec.written.clone(), bytes: len };
        let cause = past_region(&what, &asked, &room.key, room.end() - start, room.len, &[]);
        return Err(cause.at(&spec.size.place));
    }
    // Linker scripts fill regions from their start, and the stack takes the rest of dram.
    let fixed = matches!(layout.base, Base::TinyGo | Base::EspIdf);
    let reserved = Reserved {
        place: spec.place.clone(),
        name: name.clone(),
        region: room.key.clone(),
        addr: start,
        len,
    };
    let region = room.key.clone();
    let at_end = end == room.end() - layout.reserved_tail(room);
    layout.reserved.push(reserved);
    let why = match (fixed, region.as_str()) {
        (true, _) => return Ok(()),
        (false, "dram" | "iram") => "the base's script uses all of it for data and the stack",
        _ if !at_end => "the linker fills a region from its start: only the end can stay free",
        _ => return Ok(()),
    };
    at_start(Cause::ReserveNotFree { name: name.clone(), region, why })
}

fn settle_section(spec: &SectionSpec, layout: &Layout) -> Result<Section, LayoutError> {
    check_name(&spec.name)?;
    let name = spec.name.value.clone();
    let same = layout.sections.iter().find(|other| other.name == name);
    unused("section", &spec.name, same.map(|other| &other.place))?;
    if matches!(layout.base, Base::TinyGo | Base::EspIdf) {
        let instead = match layout.base {
            Base::EspIdf => "write an ESP-IDF linker fragment",
            _ => "Go has no way to name sections",
        };
        return Err(not_for_base("layout.section", layout.base, instead).at(&spec.place));
    }
    let pattern = &spec.pattern.value;
    let at_pattern = |cause: Cause| Err(cause.at(&spec.pattern.place));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-*?$".contains(c);
    if pattern.is_empty() || pattern == "*" || !pattern.chars().all(plain) {
        return at_pattern(Cause::BadPattern { pattern: pattern.clone() });
    }
    let what = format!("section {name}");
    let room = find_room(&spec.region.value, layout, &spec.region.place)?;
    let no_load = spec.no_load.as_ref().is_some_and(|no_load| no_load.value);
    if layout.base == Base::Ram && !matches!(room.key.as_str(), "dram" | "iram") {
        let why = "the script for programs in RAM has only dram and iram";
        let cause = Cause::WrongRegion { what, region: room.key.clone(), why };
        return Err(cause.at(&spec.region.place));
    }
    if room.bootloader && !no_load {
        let cause = Cause::LoadedOverBootloader { what, region: room.key.clone() };
        return Err(cause.at(&spec.region.place));
    }
    if room.key == "iram" && no_load {
        let why = "code must be loaded";
        let cause = Cause::WrongRegion { what, region: room.key.clone(), why };
        return Err(cause.at(&spec.region.place));
    }
    // RAM for code is filled first; all other patterns of the script come before the layout's.
    let first: &[&str] = match room.key.as_str() {
        "iram" => &[".rwtext", ".trap", ".iram1"],
        _ => &[
            ".text",
            ".rodata",
            ".data",
            ".bss",
            ".sdata",
            ".sbss",
            ".noinit",
            ".uninit",
            ".rwtext",
            ".trap",
            ".rtc_fast",
            ".rtc_slow",
            ".dram2_uninit",
            ".iram1",
        ],
    };
    if first.iter().any(|taken| pattern.starts_with(taken)) {
        let by = if layout.base == Base::EspHal { "esp-hal's script" } else { "the script" };
        return at_pattern(Cause::PatternTaken { pattern: pattern.clone(), by });
    }
    if pattern.starts_with(".esplice") {
        return at_pattern(Cause::PatternTaken { pattern: pattern.clone(), by: "the layout" });
    }
    Ok(Section {
        align: check_align(&spec.align, 4, &what, room)?,
        place: spec.place.clone(),
        name,
        pattern: pattern.clone(),
        region: room.key.clone(),
        no_load,
    })
}

fn settle_arena(spec: &ArenaSpec, layout: &Layout) -> Result<Arena, LayoutError> {
    check_name(&spec.name)?;
    let name = spec.name.value.clone();
    let same = layout.arenas.iter().find(|other| other.name == name);
    unused("arena", &spec.name, same.map(|other| &other.place))?;
    let what = format!("arena {name}");
    let room = data_room(&what, &spec.region, layout, &spec.place)?;
    let contents = settle_contents(spec, room, layout.base)?;
    let align = check_align(&spec.align, ALIGN, &what, room)?;
    let at_size = |cause: Cause| Err(cause.at(&spec.size.place));
    let bytes = match spec.size.value {
        Size::Rest => {
            let why = "only the heap takes what is left; give the arena a size";
            return at_size(Cause::RestRefused { what, why });
        }
        Size::Bytes(bytes) => bytes,
        Size::Percent(percent) => share(room.len, percent),
    };
    let size = Amount { written: spec.written.clone(), bytes };
    check_words(&what, &size, &spec.size)?;
    let size = Amount { bytes: bytes & !3, ..size };
    let taken = taken(layout, room);
    let available = room.len.saturating_sub(taken);
    if size.bytes > available {
        return at_size(past_region(
            &what,
            &size,
            &room.key,
            available,
            room.len,
            &others(layout, room),
        ));
    }
    Ok(Arena {
        place: spec.place.clone(),
        name,
        region: room.key.clone(),
        size,
        align,
        contents,
        addr: None,
    })
}

fn settle_contents(spec: &ArenaSpec, room: &Room, base: Base) -> Result<Contents, LayoutError> {
    let name = || spec.name.value.clone();
    let set = |switch: &Option<At<bool>>| switch.as_ref().is_some_and(|switch| switch.value);
    if let Some(fill) = &spec.fill {
        let at_fill = |cause: Cause| Err(cause.at(&fill.place));
        if set(&spec.no_load) {
            return at_fill(Cause::FillAndNoLoad { name: name() });
        }
        if set(&spec.keep) {
            return at_fill(Cause::FillAndKeep { name: name() });
        }
        let Ok(byte) = u8::try_from(fill.value) else {
            return at_fill(Cause::BadFill { fill: fill.value });
        };
        if matches!(base, Base::TinyGo | Base::EspIdf) {
            let instead = "let the program fill the arena when it starts";
            return at_fill(not_for_base("fill", base, instead));
        }
        if room.bootloader {
            let (what, region) = (format!("arena {}", name()), room.key.clone());
            return at_fill(Cause::LoadedOverBootloader { what, region });
        }
        return Ok(Contents::Fill(byte));
    }
    if let Some(no_load) = spec.no_load.as_ref().filter(|no_load| !no_load.value) {
        return Err(Cause::LoadWithoutFill { name: name() }.at(&no_load.place));
    }
    match spec.keep.as_ref().filter(|keep| keep.value) {
        Some(keep) if room.bootloader => {
            let region = room.key.clone();
            Err(Cause::KeptUnderBootloader { name: name(), region }.at(&keep.place))
        }
        Some(_) => Ok(Contents::Kept),
        None => Ok(Contents::NoLoad),
    }
}

fn settle_heap(spec: &HeapSpec, layout: &Layout) -> Result<Heap, LayoutError> {
    let what = "the heap";
    let room = data_room(what, &spec.region, layout, &spec.place)?;
    let at_size = |cause: Cause| Err(cause.at(&spec.size.place));
    if layout.base == Base::TinyGo && room.key != "dram" {
        let why = "TinyGo's heap follows its data in dram";
        let cause = Cause::WrongRegion { what: what.into(), region: room.key.clone(), why };
        return Err(cause.at(spec.region.as_ref().map_or(&spec.place, |region| &region.place)));
    }
    let align = check_align(&spec.align, ALIGN, what, room)?;
    check_symbols(&spec.symbols)?;
    let taken = taken(layout, room);
    let available = room.len.saturating_sub(taken);
    let extent = match spec.size.value {
        Size::Rest if layout.base == Base::EspIdf => {
            let why = "ESP-IDF's own heap takes the rest; give this one a size";
            return at_size(Cause::RestRefused { what: what.into(), why });
        }
        Size::Rest => Extent::Rest,
        size => {
            let bytes = match size {
                Size::Percent(percent) => share(room.len, percent),
                Size::Bytes(bytes) => bytes,
                Size::Rest => 0,
            };
            let asked = Amount { written: spec.written.clone(), bytes };
            check_words(what, &asked, &spec.size)?;
            if bytes > available {
                let stack = if holds_stack(layout, room) { layout.stack.bytes } else { 0 };
                let others_take = taken - stack;
                return at_size(if bytes <= room.len - others_take.min(room.len) {
                    Cause::HeapAgainstStack {
                        asked,
                        stack: layout.stack.clone(),
                        region: room.key.clone(),
                        available: Amount::of(available),
                    }
                } else {
                    past_region(what, &asked, &room.key, available, room.len, &others(layout, room))
                });
            }
            Extent::Size(Amount { bytes: bytes & !3, ..asked })
        }
    };
    Ok(Heap {
        place: spec.place.clone(),
        region: room.key.clone(),
        extent,
        align,
        symbols: spec.symbols.iter().map(|symbol| symbol.value.clone()).collect(),
        limit: None,
        addr: None,
    })
}

fn check_limit(spec: &HeapSpec, layout: &mut Layout) -> Result<(), LayoutError> {
    let Some(limit) = &spec.limit else { return Ok(()) };
    let Some(heap) = &mut layout.heap else { return Ok(()) };
    let room_len = layout.rooms.iter().find(|r| r.key == heap.region).map_or(0, |room| room.len);
    let bytes = match (limit.value, &heap.extent) {
        (Size::Rest, _) => {
            let why = "a limit is a number of bytes, or a share of the heap such as 80%";
            return Err(Cause::RestRefused { what: "limit".into(), why }.at(&limit.place));
        }
        (Size::Bytes(bytes), _) => bytes,
        (Size::Percent(percent), Extent::Size(size)) => share(size.bytes, percent),
        (Size::Percent(_), Extent::Rest) => {
            let why = "the size of the rest is only known after the link; write the limit in bytes";
            return Err(Cause::RestRefused { what: "a limit in %".into(), why }.at(&limit.place));
        }
    };
    let amount = Amount { written: spec.limit_written.clone(), bytes };
    let most = match &heap.extent {
        Extent::Size(size) => size.clone(),
        // The rest is at most the whole region.
        Extent::Rest => Amount::of(room_len),
    };
    if bytes > most.bytes {
        return Err(Cause::LimitAboveHeap { limit: amount, heap: most }.at(&limit.place));
    }
    heap.limit = Some((amount, limit.place.clone()));
    Ok(())
}

fn share(len: u32, percent: u32) -> u32 {
    let bytes = u64::from(len) * u64::from(percent) / 100;
    u32::try_from(bytes).unwrap_or(u32::MAX) & !(ALIGN - 1)
}
