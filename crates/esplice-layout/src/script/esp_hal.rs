//! Generates the script that extends esp-hal's `linkall.x`.
//!
//! Source of its sections and symbols: esp-hal 1.2.2, ld/sections and ld/riscv.

use std::fmt::Write as _;

use super::{
    Assertion, Room, Text, arena, assertions, heap, section, section_name, sizes_and_names,
    stack_error, write_assertions,
};
use crate::{Layout, Linker, region::iram_shadows_dram};

/// The place in esp-hal's script for the blocks of a region: the section that precedes them, the
/// region's alias, and the symbol at its end, if there is one.
struct Anchor {
    key: &'static str,
    after: &'static str,
    alias: &'static str,
    end: Option<&'static str>,
}

const ANCHORS: &[Anchor] = &[
    // The stack follows and takes the rest, so its start is the end of the region.
    Anchor { key: "dram", after: ".noinit", alias: "RWDATA", end: Some("_stack_start") },
    Anchor { key: "dram2", after: ".dram2_uninit", alias: "dram2_seg", end: None },
    Anchor { key: "iram", after: ".rwtext.wifi", alias: "RWTEXT", end: None },
    Anchor { key: "rtc-fast", after: ".rtc_fast.persistent", alias: "RTC_FAST_RWDATA", end: None },
    Anchor { key: "rtc-slow", after: ".rtc_slow.persistent", alias: "rtc_slow_seg", end: None },
];

/// lld repeats the script until nothing moves, and checks assertions each time; up to version 19 it
/// also reports those that fail on the way. Assertions are only valid once the end of RAM is known,
/// and those on dram only once its sections were placed with the final end.
const SEEN: &str = "    __esplice_seen = _stack_start;\n";
const GUARD: &str = "_stack_start == 0 || ";
const GUARD_DRAM: &str = "_stack_start == 0 || __esplice_seen != _stack_start || ";

pub(crate) fn script(layout: &Layout, linker: Linker) -> Text {
    let mut text = Text::new();
    let chip = &layout.chip.display_name;
    let _ =
        writeln!(text, "/* Memory layout for {chip}, written by esplice; changes here are lost.");
    match linker {
        Linker::Lld => text.push_str(
            " * For lld, together with esp-hal's linkall.x, in any order.\n */\n",
        ),
        Linker::Gnu => text.push_str(
            " * For GNU ld, before esp-hal's linkall.x: GNU ld requires regions and insertions before the sections\n \
             * that they are inserted at, and reads memory.x twice with a warning.\n \
             */\nINCLUDE \"memory.x\"\n",
        ),
    }
    for anchor in ANCHORS {
        insertions(&mut text, layout, linker, anchor);
    }
    text.push('\n');
    sizes_and_names(&mut text, layout);
    text.push('\n');
    write_assertions(&mut text, &all_assertions(layout, linker));
    text
}

fn insertions(text: &mut Text, layout: &Layout, linker: Linker, anchor: &Anchor) {
    let Some(region) = layout.room(anchor.key) else { return };
    let free = match anchor.key {
        "dram" => layout.stack.bytes,
        _ => layout.reserved_tail(region),
    };
    let room = match linker {
        Linker::Lld => Room {
            name: anchor.alias.to_owned(),
            end: anchor.end.map_or_else(|| format!("{:#010x}", region.end()), str::to_owned),
            free,
            first: if anchor.key == "dram" { SEEN } else { "" },
        },
        Linker::Gnu => Room {
            name: region.esp_hal.clone(),
            end: format!("ORIGIN({0}) + LENGTH({0})", region.esp_hal),
            free,
            first: "",
        },
    };
    let mut content = Text::new();
    for each in layout.sections.iter().filter(|section| section.region == anchor.key) {
        section(&mut content, each, &room);
    }
    for each in layout.arenas.iter().filter(|arena| arena.region == anchor.key) {
        arena(&mut content, each, &room);
    }
    for each in layout.heap.iter().filter(|heap| heap.region == anchor.key) {
        heap(&mut content, each, &room);
    }
    if content.is_empty() {
        return;
    }
    let _ = write!(text, "\nSECTIONS\n{{\n{content}}}\nINSERT AFTER {};\n", anchor.after);
    if anchor.key == "iram" && iram_shadows_dram(&layout.chip) {
        shadow(text, layout, linker);
    }
}

/// Reserves on the data bus the bytes that code in RAM takes, as esp-hal's `.rwdata_dummy` does for
/// its own code.
fn shadow(text: &mut Text, layout: &Layout, linker: Linker) {
    let dram = layout.room("dram").map_or("", |room| room.esp_hal.as_str());
    let region = if linker == Linker::Gnu { dram } else { "RWDATA" };
    text.push_str("\n/* The same bytes on the data bus. */\nSECTIONS\n{\n  .esplice.shadow (NOLOAD) : ALIGN(4)\n  {\n");
    for section in layout.sections.iter().filter(|section| section.region == "iram") {
        // The gap that aligning it may have left is repeated here.
        let slack = section.align - 4;
        let _ = writeln!(text, "    . = . + SIZEOF({}) + {slack};", section_name(&section.name));
    }
    let _ = write!(text, "  }} > {region}\n}}\nINSERT BEFORE .rwtext;\n");
}

fn all_assertions(layout: &Layout, linker: Linker) -> Vec<Assertion> {
    let mut all = assertions(layout);
    all.push(Assertion {
        region: "dram".into(),
        condition: format!("_stack_start - _stack_end >= {}", layout.stack.bytes),
        error: stack_error(layout),
    });
    let regions = layout.arenas.iter().map(|arena| &arena.region);
    let mut regions = regions.chain(layout.heap.iter().map(|heap| &heap.region));
    let dram = regions.any(|region| region == "dram");
    for assertion in all.iter_mut().filter(|_| linker == Linker::Lld) {
        let guard = if dram && assertion.region == "dram" { GUARD_DRAM } else { GUARD };
        assertion.condition.insert_str(0, guard);
    }
    all
}
