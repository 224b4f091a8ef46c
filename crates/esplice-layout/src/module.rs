//! Generates the Rust module with the arenas and the heap.

use std::fmt::Write as _;

use derive_setters::Setters;

use crate::{Arena, Contents, Extent, Layout};

/// File name of the module in `OUT_DIR`.
pub const MODULE_FILE: &str = "esplice_layout.rs";

/// Bytes of a heap on the host if the layout gives it the rest, which has no limit on a host.
const HOST_HEAP: u32 = 64 << 10;

/// Options for generating the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Setters)]
#[non_exhaustive]
pub struct ModuleOptions {
    /// True if blocks come from the linker's symbols. Otherwise they are statics of the same sizes,
    /// for tests on the host.
    pub device: bool,
    /// True if the unsafe code is in the crate `esplice-rt`, so that the including crate may forbid
    /// it.
    pub safe: bool,
}

/// Returns the module with a function for each arena and the heap that returns it once.
pub fn rust_module(layout: &Layout, options: ModuleOptions) -> String {
    let device = options.device;
    let mut text =
        String::from("// Written by esplice from the memory layout; changes here are lost.\n");
    let blocks = layout.arenas.iter().map(|arena| arena_function(arena, device));
    let heap = layout.heap.as_ref().map(|heap| {
        let size = match &heap.extent {
            Extent::Size(size) => Some(size.bytes),
            Extent::Rest => None,
        };
        let shown = match size {
            Some(size) => format!("{size} bytes"),
            None => "the rest".to_owned(),
        };
        Function {
            name: "heap".into(),
            about: format!("The heap: {shown} in `{}`, aligned to {}.", heap.region, heap.align),
            start: "__esplice_heap_start".into(),
            end: "__esplice_heap_end".into(),
            size: size.unwrap_or(HOST_HEAP),
            align: heap.align,
            fill: None,
            section: None,
        }
    });
    let functions: Vec<Function> = blocks.chain(heap).collect();
    if options.safe {
        for function in &functions {
            function.write_safe(&mut text, device);
        }
        if layout.heap.is_some() {
            text.push_str(SAFE_ESP_ALLOC);
        }
        return text;
    }
    for function in &functions {
        function.write(&mut text, device);
    }
    if layout.heap.is_some() {
        text.push_str(ESP_ALLOC);
    }
    if !functions.is_empty() {
        text.push_str(if device { TAKE_ON_DEVICE } else { TAKE_ON_HOST });
    }
    text
}

fn arena_function(arena: &Arena, device: bool) -> Function {
    let symbol = format!("__esplice_arena_{}", arena.name);
    let state = match arena.contents {
        Contents::NoLoad => "Its contents are undefined.".to_owned(),
        Contents::Kept => {
            "Its contents outlive a reset; after power-on they are undefined.".to_owned()
        }
        Contents::Fill(byte) => format!("Filled with {byte:#04x}."),
    };
    Function {
        name: arena.name.clone(),
        about: format!(
            "Arena `{}`: {} bytes in `{}`, aligned to {}. {state}",
            arena.name, arena.size.bytes, arena.region, arena.align
        ),
        // The part that the program's statics use belongs to them.
        start: if device { format!("{symbol}_free") } else { format!("{symbol}_start") },
        end: format!("{symbol}_end"),
        size: arena.size.bytes,
        align: arena.align,
        fill: match arena.contents {
            Contents::Fill(byte) => Some(byte),
            Contents::NoLoad | Contents::Kept => None,
        },
        section: Some(crate::arena_section(&arena.name)),
    }
}

struct Function {
    name: String,
    about: String,
    start: String,
    end: String,
    size: u32,
    align: u32,
    fill: Option<u8>,
    section: Option<String>,
}

impl Function {
    fn item(&self) -> &'static str {
        match self.fill {
            Some(_) => "u8",
            None => "::core::mem::MaybeUninit<u8>",
        }
    }

    /// Returns the initial value of each element on the host.
    fn host_value(&self) -> String {
        match self.fill {
            Some(byte) => byte.to_string(),
            None => "::core::mem::MaybeUninit::uninit()".to_owned(),
        }
    }

    fn write_docs(&self, text: &mut String) {
        let about = &self.about;
        let _ = write!(
            text,
            "\n/// {about}\n///\n/// Returned once: `None` from the second call on.\n"
        );
        if let Some(section) = &self.section {
            let _ = writeln!(
                text,
                "///\n/// Statics with `#[unsafe(link_section = \"{section}\")]` are also in it, but not\n/// part of the returned slice."
            );
        }
    }

    /// Writes the function with esplice-rt's macros.
    fn write_safe(&self, text: &mut String, device: bool) {
        let Function { name, start, end, size, align, .. } = self;
        let _ =
            writeln!(text, "::esplice_rt::{} {{", if device { "block!" } else { "host_block!" });
        let mut docs = String::new();
        self.write_docs(&mut docs);
        for line in docs.trim_start().lines() {
            let _ = writeln!(text, "    {line}");
        }
        let _ = match device {
            true => writeln!(text, "    r#{name}: {}, {start}, {end}\n}}", self.item()),
            false => writeln!(
                text,
                "    r#{name}: {}, {size}, {align}, {}\n}}",
                self.item(),
                self.host_value()
            ),
        };
    }

    fn write(&self, text: &mut String, device: bool) {
        let Function { name, start, end, size, align, .. } = self;
        let item = self.item();
        self.write_docs(text);
        let _ = writeln!(text, "#[allow(dead_code, unsafe_code)]");
        let _ = writeln!(text, "pub fn r#{name}() -> Option<&'static mut [{item}]> {{");
        text.push_str("    static TAKEN: Once = Once::new();\n");
        if device {
            let _ = writeln!(
                text,
                "    unsafe extern \"C\" {{\n        static mut {start}: u8;\n        static mut {end}: u8;\n    }}"
            );
            text.push_str("    if !TAKEN.take() {\n        return None;\n    }\n");
            let _ = writeln!(text, "    let start = &raw mut {start};");
            let _ = writeln!(
                text,
                "    let len = (&raw mut {end} as usize).saturating_sub(start as usize);"
            );
            text.push_str("    // SAFETY: the linker reserves these bytes for this slice, and it is returned only once.\n");
            let _ = writeln!(
                text,
                "    Some(unsafe {{ ::core::slice::from_raw_parts_mut(start.cast::<{item}>(), len) }})"
            );
        } else {
            let fill = self.host_value();
            let _ =
                writeln!(text, "    #[repr(align({align}))]\n    struct Block([{item}; {size}]);");
            let _ = writeln!(text, "    static mut BLOCK: Block = Block([{fill}; {size}]);");
            text.push_str("    if !TAKEN.take() {\n        return None;\n    }\n");
            text.push_str(TAKE_BLOCK);
        }
        text.push_str("}\n");
    }
}

/// A macro, so that the crate is only named where it is used.
const ESP_ALLOC: &str = "
/// Adds the result of [`heap`] to esp-alloc's heap:
/// `layout::add_heap_to_esp_alloc!(layout::heap())`. Returns its length in bytes, or `None` if the
/// heap was already taken.
#[allow(unused_macros)]
macro_rules! add_heap_to_esp_alloc {
    ($heap:expr) => {
        $heap.map(|heap| {
            let len = heap.len();
            let region = unsafe {
                // SAFETY: the heap is returned once, for good.
                ::esp_alloc::HeapRegion::new(
                    heap.as_mut_ptr().cast(),
                    len,
                    ::esp_alloc::MemoryCapability::Internal.into(),
                )
            };
            // SAFETY: as above.
            unsafe { ::esp_alloc::HEAP.add_region(region) };
            len
        })
    };
}
#[allow(unused_imports)]
pub(crate) use add_heap_to_esp_alloc;
";

const TAKE_BLOCK: &str = "    let block = &raw mut BLOCK;
    // SAFETY: no other code names this static, and it is returned only once.
    let block: &'static mut Block = unsafe { &mut *block };
    Some(&mut block.0)
";

const SAFE_ESP_ALLOC: &str = "
#[allow(unused_imports)]
pub(crate) use ::esplice_rt::add_heap_to_esp_alloc;
";

const TAKE_ON_HOST: &str = "
/// Returns true once.
struct Once(::core::sync::atomic::AtomicBool);

impl Once {
    const fn new() -> Once {
        Once(::core::sync::atomic::AtomicBool::new(false))
    }

    #[allow(dead_code)]
    fn take(&self) -> bool {
        !self.0.swap(true, ::core::sync::atomic::Ordering::AcqRel)
    }
}
";

/// Code that returns true once. Chips whose instructions can't exchange a value with memory have
/// one core, so nothing intervenes while interrupts are off (RISC-V Privileged Architecture,
/// mstatus: MIE is bit 3).
const TAKE_ON_DEVICE: &str = "
/// Returns true once.
struct Once(::core::sync::atomic::AtomicBool);

impl Once {
    const fn new() -> Once {
        Once(::core::sync::atomic::AtomicBool::new(false))
    }

    #[allow(dead_code, unsafe_code)]
    #[cfg(target_has_atomic = \"8\")]
    fn take(&self) -> bool {
        !self.0.swap(true, ::core::sync::atomic::Ordering::AcqRel)
    }

    #[allow(dead_code, unsafe_code)]
    #[cfg(not(target_has_atomic = \"8\"))]
    fn take(&self) -> bool {
        use ::core::sync::atomic::Ordering::Relaxed;
        let status: usize;
        // SAFETY: disables interrupts; they are enabled again below if they were enabled.
        unsafe { ::core::arch::asm!(\"csrrci {0}, mstatus, 8\", out(reg) status) };
        let free = !self.0.load(Relaxed);
        self.0.store(true, Relaxed);
        if status & 8 != 0 {
            unsafe { ::core::arch::asm!(\"csrsi mstatus, 8\") };
        }
        free
    }
}
";
