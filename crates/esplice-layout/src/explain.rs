//! Traces a linker's errors back to the lines of the layout that caused them.

use crate::{
    Base, Cause, HEAP_SECTION, Layout, LayoutError, Place, arena_section,
    script::{assertions, section_name, stack_error},
};

/// Returns the errors of `layout` that caused `output`, the text of compiler and linker. The result
/// is empty if the layout is not the cause.
pub fn explain(layout: &Layout, output: &str) -> Vec<LayoutError> {
    let mut found: Vec<LayoutError> = Vec::new();
    // esplice's own assertions come first, because they are exact.
    for assertion in assertions(layout) {
        if output.contains(&assertion.message()) {
            found.push(assertion.error);
        }
    }
    let arenas = layout.arenas.iter().map(|arena| (format!("arena {}", arena.name), &arena.place));
    let named =
        layout.sections.iter().map(|section| (format!("section {}", section.name), &section.place));
    for (what, place) in arenas.chain(named) {
        let start = initialised_message(&what, "");
        let rest = output.lines().find_map(|line| line.split_once(&start));
        if let Some((_, statics)) = rest {
            let statics = statics.trim().to_owned();
            found.push(Cause::DataInNoLoad { what, statics }.at(place));
        }
    }
    if !found.is_empty() {
        return found;
    }
    for line in output.lines() {
        for (section, error) in sections(layout) {
            let of_it = line.contains(&format!("'{section}'"))
                || line.contains(&format!("`{section}'"))
                || line.contains(&format!("section {section} "));
            let past = line.contains("will not fit in region")
                || line.contains("virtual address range overlaps")
                || line.contains("unable to move location counter");
            if of_it && past && !found.contains(&error) {
                found.push(error);
            }
        }
    }
    if !found.is_empty() {
        return found;
    }
    let stack = stack_error(layout);
    let shown = script_text(&stack);
    let short = output.contains("Main stack is smaller than")
        || output.contains(&shown)
        || output.lines().any(|l| l.contains("location counter") && l.contains("stack"));
    if short {
        return vec![stack];
    }
    base_errors(layout, output)
}

/// Returns the linker script that a program on esp-hal lacks, judging by the linker's output:
/// without the script each of its symbols is undefined, which takes hundreds of lines.
pub fn missing_script(output: &str) -> Option<&'static str> {
    // A symbol of esp-hal's own scripts that the start code of every program uses (esp-hal 1.2.2,
    // ld/sections/rtc_fast.x).
    let undefined = |line: &str| {
        line.contains("_rtc_fast_bss_start")
            && (line.contains("undefined symbol") || line.contains("undefined reference"))
    };
    output.lines().any(undefined).then_some(ESP_HAL_SCRIPT)
}

const ESP_HAL_SCRIPT: &str = "linkall.x";

/// Returns the message for `statics` with initial values in `what`, such as `arena dma`, which
/// nothing is loaded into.
pub fn initialised_message(what: &str, statics: &str) -> String {
    format!("initialised data in no-load {what}: {statics}")
}

fn script_text(error: &LayoutError) -> String {
    error.to_string().replace(['"', '\\', '\n'], "'")
}

/// Returns the output sections of the layout, each with the error if it does not fit.
fn sections(layout: &Layout) -> Vec<(String, LayoutError)> {
    let mut all = Vec::new();
    for arena in &layout.arenas {
        let cause = Cause::NoRoomAtLink {
            what: format!("arena {}", arena.name),
            asked: arena.size.clone(),
            region: arena.region.clone(),
        };
        all.push((arena_section(&arena.name), cause.at(&arena.place)));
    }
    for section in &layout.sections {
        let (name, region) = (section.name.clone(), section.region.clone());
        let error = Cause::SectionAtLink { name, region }.at(&section.place);
        all.push((section_name(&section.name), error));
    }
    if let Some(heap) = &layout.heap {
        let asked = match &heap.extent {
            crate::Extent::Size(size) => size.clone(),
            crate::Extent::Rest => crate::Amount { written: "the rest".into(), bytes: heap.align },
        };
        let what = "the heap".to_owned();
        let cause = Cause::NoRoomAtLink { what, asked, region: heap.region.clone() };
        all.push((HEAP_SECTION.to_owned(), cause.at(&heap.place)));
    }
    all
}

/// Returns the errors of combining the layout with the scripts that it extends.
fn base_errors(layout: &Layout, output: &str) -> Vec<LayoutError> {
    if layout.base != Base::EspHal {
        return Vec::new();
    }
    let place = first_place(layout);
    if output.contains("not found for insert") {
        return vec![Cause::BaseScriptNotBehind { script: ESP_HAL_SCRIPT }.at(&place)];
    }
    let missing = missing_script(output).is_some()
        || output.contains("unable to insert .esplice")
        || output.contains("memory region") && output.contains("RWDATA") && !twice(output);
    if missing {
        return vec![Cause::BaseScriptMissing { script: ESP_HAL_SCRIPT }.at(&place)];
    }
    if twice(output) {
        return vec![Cause::BaseScriptTwice { script: ESP_HAL_SCRIPT }.at(&place)];
    }
    Vec::new()
}

fn twice(output: &str) -> bool {
    output.contains("redefinition of memory region alias")
        || output.lines().any(|line| line.contains("region '") && line.contains("already defined"))
}

fn first_place(layout: &Layout) -> Place {
    let heap = layout.heap.iter().map(|heap| &heap.place);
    let arenas = layout.arenas.iter().map(|arena| &arena.place);
    let sections = layout.sections.iter().map(|section| &section.place);
    heap.chain(arenas).chain(sections).min_by_key(|place| place.line).cloned().unwrap_or_default()
}
