//! Generates linker scripts.
//!
//! lld and GNU ld read the same statements but differ in when they know what. lld accepts `ORIGIN`
//! and `LENGTH` of a region only after its `MEMORY`. GNU ld accepts an `INSERT`, and the regions it
//! uses, only before the section it names. So lld's scripts use a symbol or a number for a region's
//! end, and GNU ld's scripts include what comes after them.

pub(crate) mod esp_hal;
pub(crate) mod esp_idf;
pub(crate) mod ram;
pub(crate) mod tinygo;

use std::fmt::Write as _;

use crate::{Amount, Arena, Cause, Contents, Extent, Heap, Layout, LayoutError, Place, Section};

/// The text of a script; writing to it never fails.
pub(crate) type Text = String;

/// A check by the linker, with its condition and the error if it fails.
pub(crate) struct Assertion {
    /// The region that the check concerns.
    pub region: String,
    pub condition: String,
    pub error: LayoutError,
}

impl Assertion {
    /// Returns the message in the script. A quotation mark would end it.
    pub fn message(&self) -> String {
        self.error.to_string().replace(['"', '\\', '\n'], "'")
    }
}

/// Returns all checks that the linker makes for `layout`.
pub(crate) fn assertions(layout: &Layout) -> Vec<Assertion> {
    let mut all = Vec::new();
    for arena in &layout.arenas {
        let size = format!("__esplice_arena_{}_size", arena.name);
        let what = format!("arena {}", arena.name);
        if arena.addr.is_none() {
            all.push(no_room(&size, &what, &arena.size, &arena.region, &arena.place));
        }
        let cause = Cause::StaticsPastArena { name: arena.name.clone(), size: arena.size.clone() };
        all.push(Assertion {
            region: arena.region.clone(),
            condition: format!("{size} <= {}", arena.size.bytes),
            error: cause.at(&arena.place),
        });
    }
    if let Some(heap) = &layout.heap {
        let what = "the heap";
        match &heap.extent {
            Extent::Size(size) if heap.addr.is_none() => {
                all.push(no_room("__esplice_heap_size", what, size, &heap.region, &heap.place));
            }
            Extent::Size(_) => {}
            Extent::Rest => {
                // An empty heap is an error.
                let asked = Amount { written: "the rest".into(), bytes: heap.align };
                all.push(no_room("__esplice_heap_size", what, &asked, &heap.region, &heap.place));
            }
        }
    }
    all
}

fn no_room(size: &str, what: &str, asked: &Amount, region: &str, place: &Place) -> Assertion {
    let cause = Cause::NoRoomAtLink {
        what: what.to_owned(),
        asked: asked.clone(),
        region: region.to_owned(),
    };
    Assertion {
        region: region.to_owned(),
        condition: format!("{size} >= {}", asked.bytes),
        error: cause.at(place),
    }
}

pub(crate) fn write_assertions(text: &mut Text, assertions: &[Assertion]) {
    for assertion in assertions {
        let _ = writeln!(text, "ASSERT({}, \"{}\")", assertion.condition, assertion.message());
    }
}

/// A region while it is filled: its name for `>`, its end as a linker expression, and the bytes
/// before the end that stay free.
pub(crate) struct Room {
    pub name: String,
    pub end: String,
    pub free: u32,
    /// A statement for the start of each section, or an empty string.
    pub first: &'static str,
}

impl Room {
    /// Returns the highest address for the next byte. It is never below `.`, so that the linker
    /// only reports the assertion, which has a clear message.
    fn limit(&self) -> String {
        match self.free {
            0 => format!("MAX(., {})", self.end),
            free => format!("MAX(. + {free}, {}) - {free}", self.end),
        }
    }
}

/// Writes an arena as an output section.
///
/// rustc marks every static in a custom section as loaded, even `MaybeUninit` ones. `NOLOAD` keeps
/// such statics out of the image. Data that does have initial values would be lost here, so it is
/// searched for in the linker's inputs (`esplice_link::initialised`) and in the sources
/// (`esplice_build`).
pub(crate) fn arena(text: &mut Text, arena: &Arena, room: &Room) {
    let Arena { name, align, .. } = arena;
    let size = arena.size.bytes;
    let symbol = format!("__esplice_arena_{name}");
    let section = crate::arena_section(name);
    let _ = writeln!(text, "  /* {} */", arena.place);
    let no_load = if arena.is_loaded() { "" } else { " (NOLOAD)" };
    let _ = writeln!(text, "  {section}{no_load} : ALIGN({align})\n  {{");
    text.push_str(room.first);
    let _ = writeln!(text, "    {symbol}_start = .;");
    let _ = writeln!(text, "    KEEP(*({section} {section}.*))");
    let _ = writeln!(text, "    . = ALIGN(4);");
    let _ = writeln!(text, "    {symbol}_free = .;");
    let end = format!("MIN({symbol}_start + {size}, {})", room.limit());
    let fill = match arena.contents {
        Contents::Fill(byte) => {
            // The last byte is written out, because a section of gaps only would not be loaded.
            let _ = writeln!(text, "    . = MAX(., {end} - 1);\n    BYTE({byte:#04x})");
            format!(" ={:#010x}", u32::from_ne_bytes([byte; 4]))
        }
        Contents::NoLoad | Contents::Kept => {
            let _ = writeln!(text, "    . = MAX(., {end});");
            String::new()
        }
    };
    let _ = writeln!(text, "    {symbol}_end = .;\n  }} > {}{fill}", room.name);
}

/// Writes the heap as an output section.
pub(crate) fn heap(text: &mut Text, heap: &Heap, room: &Room) {
    let _ = writeln!(text, "  /* {} */", heap.place);
    let _ = writeln!(text, "  {} (NOLOAD) : ALIGN({})\n  {{", crate::HEAP_SECTION, heap.align);
    text.push_str(room.first);
    let _ = writeln!(text, "    __esplice_heap_start = .;");
    let end = match &heap.extent {
        Extent::Size(size) => format!("MIN(. + {}, {})", size.bytes, room.limit()),
        Extent::Rest => room.limit(),
    };
    let _ = writeln!(text, "    . = {end};");
    let _ = writeln!(text, "    __esplice_heap_end = .;\n  }} > {}", room.name);
}

/// Writes input sections by pattern as an output section.
pub(crate) fn section(text: &mut Text, section: &Section, room: &Room) {
    let Section { name, pattern, align, .. } = section;
    let symbol = format!("__esplice_section_{name}");
    let no_load = if section.no_load { " (NOLOAD)" } else { "" };
    let _ = writeln!(text, "  /* {} */", section.place);
    let _ = writeln!(text, "  {}{no_load} : ALIGN({align})\n  {{", section_name(name));
    let _ = writeln!(text, "    {symbol}_start = .;\n    KEEP(*({pattern}))\n    . = ALIGN(4);");
    let _ = writeln!(text, "    {symbol}_end = .;\n  }} > {}", room.name);
}

pub(crate) fn section_name(name: &str) -> String {
    format!(".esplice.section.{name}")
}

/// Writes the symbols for sizes, and the other names of the heap.
pub(crate) fn sizes_and_names(text: &mut Text, layout: &Layout) {
    let mut size = |symbol: &str| {
        let _ = writeln!(text, "{symbol}_size = {symbol}_end - {symbol}_start;");
    };
    for arena in &layout.arenas {
        size(&format!("__esplice_arena_{}", arena.name));
    }
    for section in &layout.sections {
        size(&format!("__esplice_section_{}", section.name));
    }
    if layout.heap.is_some() {
        size("__esplice_heap");
    }
    heap_names(text, layout);
}

/// Writes the names that other software uses for the heap.
pub(crate) fn heap_names(text: &mut Text, layout: &Layout) {
    let Some(heap) = &layout.heap else { return };
    let _ = writeln!(text, "__go_heap_start = __esplice_heap_start;");
    let _ = writeln!(text, "__go_heap_end = __esplice_heap_end;");
    for symbol in &heap.symbols {
        for part in ["start", "end", "size"] {
            let _ = writeln!(text, "{symbol}_{part} = __esplice_heap_{part};");
        }
    }
}

/// Returns the error for too little room for the main stack.
pub(crate) fn stack_error(layout: &Layout) -> LayoutError {
    let place =
        layout.stack_place.clone().or_else(|| layout.heap.as_ref().map(|h| h.place.clone()));
    let place =
        place.or_else(|| layout.arenas.first().map(|a| a.place.clone())).unwrap_or_default();
    Cause::StackAtLink { asked: layout.stack.clone(), region: "dram".into() }.at(&place)
}
