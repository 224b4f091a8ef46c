//! Generates a custom target for TinyGo.
//!
//! TinyGo's script divides the start of DRAM between stack, data, code's alias and heap. So arenas
//! get addresses from the region's top downwards, below the ROM's own data, and the heap ends where
//! they begin. Source: TinyGo 0.33, targets/esp32c3.ld and src/runtime/baremetal.go.

use std::fmt::Write as _;

use super::{Assertion, Text, heap_names};
use crate::{Amount, Cause, Extent, Layout};

/// The files of a TinyGo target.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TinyGoFiles {
    /// The target, for `tinygo build -target`.
    pub target: String,
    /// The linker script that it names.
    pub script: String,
    /// Stack of each goroutine in bytes, for `-stack-size`; none if the layout does not set it.
    pub stack_size: Option<u32>,
}

/// Section by which TinyGo's scripts reserve room for data where code follows on another bus.
/// Scripts with it need [`TINYGO_APART`].
pub const TINYGO_DUMMY: &str = ".iram_dummy";

/// Addition to TinyGo's script that makes code in RAM begin after the data.
///
/// TinyGo's scripts reserve room for the lengths of stack, zeroed and initialised data, but not for
/// the alignment of the latter, so code and data may share some bytes. The section is empty if they
/// do not, and such programs do not change.
pub const TINYGO_APART: &str = "
/* Code in RAM begins after the data, which their alignment may have moved up. */
SECTIONS
{
    .esplice.shadow (NOLOAD) :
    {
        . += _edata - ORIGIN(DRAM) > ADDR(.iram_dummy) + SIZEOF(.iram_dummy) - ORIGIN(IRAM)
            ? (_edata - ORIGIN(DRAM)) - (ADDR(.iram_dummy) + SIZEOF(.iram_dummy) - ORIGIN(IRAM))
            : 0;
    } > IRAM
}
INSERT AFTER .iram_dummy;
";

/// Returns the target that only adds [`TINYGO_APART`] to TinyGo's own; otherwise as [`tinygo`].
pub fn tinygo_apart(inherits: &str, script: &str, own_script: &str) -> TinyGoFiles {
    let script = format!(
        "/* Written by esplice; changes here are lost. TinyGo's own script, and what it lacks. */\n\
         INCLUDE {script}\n{TINYGO_APART}"
    );
    TinyGoFiles { target: target(inherits, own_script), script, stack_size: None }
}

/// Returns the target that adds `layout` to TinyGo's own target `inherits`, whose linker script is
/// `script` (`tinygo info -json` prints it: `targets/esp32c3.ld`). `own_script` is the absolute
/// path that [`TinyGoFiles::script`] will be written to: TinyGo resolves relative paths against the
/// current directory.
pub fn tinygo(layout: &Layout, inherits: &str, script: &str, own_script: &str) -> TinyGoFiles {
    let stack_size = layout.goroutine_stack.as_ref().map(|stack| stack.bytes);
    let target = target(inherits, own_script);
    TinyGoFiles { target, script: own(layout, script), stack_size }
}

fn target(inherits: &str, own_script: &str) -> String {
    format!(
        "{{\n  \"inherits\": [{}],\n  \"linkerscript\": {}\n}}\n",
        json(inherits),
        json(own_script)
    )
}

fn own(layout: &Layout, script: &str) -> Text {
    let mut text = Text::new();
    let chip = &layout.chip.display_name;
    let _ =
        writeln!(text, "/* Memory layout for {chip}, written by esplice; changes here are lost.");
    text.push_str(" * Replaces TinyGo's own script, which it includes and then overrides.\n */\n");
    let _ = writeln!(text, "INCLUDE {script}\n");
    let _ = writeln!(text, "_stack_size = {};", layout.stack.bytes);

    let mut assertions = Vec::new();
    let dram = layout.room("dram");
    let mut top = dram.map_or(0, |room| room.end() - layout.reserved_tail(room));
    for arena in &layout.arenas {
        let Some(addr) = arena.addr else { continue };
        let symbol = format!("__esplice_arena_{}", arena.name);
        let size = arena.size.bytes;
        let _ = write!(text, "\n/* {} */\n", arena.place);
        let _ = writeln!(text, "{symbol}_start = {addr:#010x};");
        let _ = writeln!(text, "{symbol}_end = {:#010x};", addr.saturating_add(size));
        let _ = writeln!(text, "{symbol}_size = {size};");
        if arena.region == "dram" {
            top = top.min(addr);
        }
    }
    for range in layout.reserved.iter().filter(|range| range.region == "dram") {
        top = top.min(range.addr);
    }
    match &layout.heap {
        Some(heap) => {
            let _ = write!(text, "\n/* {} */\n", heap.place);
            let asked = match &heap.extent {
                Extent::Size(size) => {
                    let _ = writeln!(text, "_heap_end = _heap_start + {};", size.bytes);
                    size.clone()
                }
                Extent::Rest => {
                    let _ = writeln!(text, "_heap_end = {top:#010x};");
                    Amount { written: "the rest".into(), bytes: heap.align }
                }
            };
            text.push_str("__esplice_heap_start = _heap_start;\n__esplice_heap_end = _heap_end;\n");
            text.push_str("__esplice_heap_size = _heap_end - _heap_start;\n");
            heap_names(&mut text, layout);
            let cause =
                Cause::NoRoomAtLink { what: "the heap".into(), asked, region: "dram".into() };
            assertions.push(Assertion {
                region: "dram".into(),
                condition: format!(
                    "_heap_start + {} <= _heap_end && _heap_end <= {top:#010x}",
                    heap.align
                ),
                error: cause.at(&heap.place),
            });
        }
        // Even without a heap in the layout, TinyGo's must not grow into the arenas.
        None => {
            let _ = writeln!(text, "\n_heap_end = {top:#010x};");
        }
    }
    text.push('\n');
    super::write_assertions(&mut text, &assertions);
    text
}

/// Formats `text` as a JSON string.
fn json(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if (c as u32) < 0x20 => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
