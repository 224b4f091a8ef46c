//! Generates a CMake fragment for ESP-IDF projects.
//!
//! ESP-IDF's heap takes all RAM that the program leaves, except for ranges that the program
//! reserves. Each block becomes such a range, with its symbols. Source: ESP-IDF, "Heap Memory
//! Allocation" and components/heap/include/heap_memory_layout.h; "Linker Script Generation" and
//! tools/cmake/utilities.cmake for target_linker_script.

use std::fmt::Write as _;

use crate::{Extent, File, Layout};

/// Returns the files for a component: `esplice-layout.cmake`, to be included after
/// `idf_component_register`, and the files that it names.
pub fn esp_idf(layout: &Layout) -> Vec<File> {
    let chip = &layout.chip.display_name;
    let head = format!("Memory layout for {chip}, written by esplice; changes here are lost.");
    let mut script = format!("/* {head} */\n");
    let mut source = format!(
        "/* {head}\n * Keeps ESP-IDF's heap off the ranges. */\n#include \"heap_memory_layout.h\"\n\n\
         /* A linker option requires this symbol, so that the file is linked. */\nvoid esplice_layout_linked(void) {{}}\n"
    );
    let mut block = |symbol: &str, name: &str, place: &str, addr: u32, size: u32| {
        let end = addr.saturating_add(size);
        let _ = write!(script, "\n/* {place} */\n");
        let _ = writeln!(script, "{symbol}_start = {addr:#010x};");
        let _ = writeln!(script, "{symbol}_end = {end:#010x};");
        let _ = writeln!(script, "{symbol}_size = {size};");
        let _ = write!(source, "\n/* {place} */\n");
        let _ = writeln!(
            source,
            "SOC_RESERVE_MEMORY_REGION({addr:#010x}, {end:#010x}, esplice_{name});"
        );
    };
    for arena in &layout.arenas {
        let Some(addr) = arena.addr else { continue };
        let symbol = format!("__esplice_arena_{}", arena.name);
        let name = format!("arena_{}", arena.name);
        block(&symbol, &name, &arena.place.to_string(), addr, arena.size.bytes);
    }
    if let Some(heap) = &layout.heap
        && let (Some(addr), Extent::Size(size)) = (heap.addr, &heap.extent)
    {
        block("__esplice_heap", "heap", &heap.place.to_string(), addr, size.bytes);
    }
    for range in &layout.reserved {
        let symbol = format!("__esplice_reserved_{}", range.name);
        let name = format!("reserved_{}", range.name);
        block(&symbol, &name, &range.place.to_string(), range.addr, range.len);
    }
    super::heap_names(&mut script, layout);
    // Static data ends where ESP-IDF's heap starts.
    if let Some(lowest) = lowest_in_dram(layout) {
        let _ = write!(
            script,
            "\nASSERT(_heap_low_start <= {lowest:#010x}, \"static data reaches into the layout's blocks in dram\")\n"
        );
    }
    let cmake = format!(
        "# {head}\n# Include it in a component's CMakeLists.txt, after idf_component_register.\n\
         target_sources(${{COMPONENT_LIB}} PRIVATE \"${{CMAKE_CURRENT_LIST_DIR}}/esplice-layout.c\")\n\
         target_link_libraries(${{COMPONENT_LIB}} INTERFACE \"-u esplice_layout_linked\")\n\
         target_linker_script(${{COMPONENT_LIB}} INTERFACE \"${{CMAKE_CURRENT_LIST_DIR}}/esplice-layout.ld\")\n"
    );
    vec![
        File { name: "esplice-layout.cmake", bytes: cmake.into_bytes() },
        File { name: "esplice-layout.c", bytes: source.into_bytes() },
        File { name: "esplice-layout.ld", bytes: script.into_bytes() },
    ]
}

fn lowest_in_dram(layout: &Layout) -> Option<u32> {
    let arenas = layout.arenas.iter().filter(|arena| arena.region == "dram");
    let heap = layout.heap.iter().filter(|heap| heap.region == "dram");
    arenas.filter_map(|arena| arena.addr).chain(heap.filter_map(|heap| heap.addr)).min()
}
