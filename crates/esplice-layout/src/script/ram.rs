//! Generates the whole script of a program in RAM: regions and layout before
//! `linker-scripts/ram.x`.

use std::fmt::Write as _;

use super::{Room, Text, arena, assertions, heap, section, sizes_and_names, write_assertions};
use crate::{Layout, Linker};

/// The fixed sections.
const SECTIONS: &str = esplice_linker_scripts::RAM;

/// The statement in it that the regions replace.
const INCLUDE: &str = "INCLUDE regions.x";

pub(crate) fn script(layout: &Layout, _linker: Linker) -> Text {
    let mut text = Text::new();
    let chip = &layout.chip.display_name;
    let _ =
        writeln!(text, "/* Memory layout for {chip}, written by esplice; changes here are lost.");
    text.push_str(" * A program in RAM, for lld and GNU ld: code takes the start of SRAM, data the rest.\n */\n");
    regions(&mut text, layout);

    let room = |name: &str, free: u32| Room {
        name: name.to_owned(),
        end: format!("ORIGIN({name}) + LENGTH({name})"),
        free,
        first: "",
    };
    let mut code = Text::new();
    let mut data = Text::new();
    for each in &layout.sections {
        match each.region.as_str() {
            "iram" => section(&mut code, each, &room("IRAM", 0)),
            _ => section(&mut data, each, &room("DRAM", layout.stack.bytes)),
        }
    }
    let dram = room("DRAM", layout.stack.bytes);
    for each in &layout.arenas {
        arena(&mut data, each, &dram);
    }
    if let Some(each) = &layout.heap {
        heap(&mut data, each, &dram);
    }
    for (content, place) in [(code, "BEFORE .text"), (data, "AFTER .bss")] {
        if !content.is_empty() {
            let _ = write!(text, "\nSECTIONS\n{{\n{content}}}\nINSERT {place};\n");
        }
    }
    let _ = write!(text, "\n{}\n", SECTIONS.replace(INCLUDE, "/* MEMORY: see above. */"));
    sizes_and_names(&mut text, layout);
    text.push('\n');
    write_assertions(&mut text, &assertions(layout));
    text
}

fn regions(text: &mut Text, layout: &Layout) {
    let data = layout.room("dram");
    let (addr, len) = data.map_or((0, 0), |dram| (dram.addr, dram.len));
    // If code's bus has other addresses than data's, both have the same offset in the region.
    let chip = layout.chip.layout.as_ref();
    let code = match chip.and_then(|chip| chip.region("iram").zip(chip.region("dram"))) {
        Some((iram, dram)) if iram.addr != dram.addr => iram.addr.0,
        _ => addr - layout.code,
    };
    let _ = write!(
        text,
        "MEMORY\n{{\n  IRAM (rwx) : ORIGIN = {code:#010x}, LENGTH = {}\n  \
         DRAM (rw)  : ORIGIN = {addr:#010x}, LENGTH = {len}\n}}\n",
        layout.code
    );
}
