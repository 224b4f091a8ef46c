//! The sections of a link that can be pinned.

use std::collections::HashMap;

use super::{
    archive::Unit,
    digest::{Digests, digests, plain_name, text_digest},
    link::Job,
    object::{Object, Rewriter, SHF_WRITE, Section},
    script::{FileName, Place, Script},
    settings::Settings,
};

/// A section that can be pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub unit: usize,
    pub section: usize,
    pub name: String,
    pub zone: usize,
    /// Start of the input section description in the script that places it.
    pub statement: usize,
    pub size: u32,
    pub align: u32,
    pub digests: Digests,
    pub anonymous: bool,
    pub piece: bool,
    pub writable: bool,
    /// True if it belongs to a crate being edited, or is used only by such a crate.
    pub own: bool,
    pub file: u64,
    /// True if no other file has the same name as its file.
    pub sole: bool,
}

/// Returns the sections that can be pinned.
pub(crate) fn items(job: &Job, script: &Script, units: &[Unit]) -> Vec<Item> {
    let mut items = Vec::new();
    let mut named: HashMap<(usize, Option<&str>), u32> = HashMap::new();
    for unit in units {
        *named.entry((unit.input, unit.member.as_deref())).or_default() += 1;
    }
    for (number, unit) in units.iter().enumerate() {
        let Ok(object) = Object::read(&unit.bytes) else { continue };
        // Sections that can't be renamed are left to the linker.
        if Rewriter::new(&object).is_none() {
            continue;
        }
        let Some(input) = job.inputs.get(unit.input) else { continue };
        let name = FileName { path: &input.name, member: unit.member.as_deref() };
        let openings = script.openings(&name);
        let digests = digests(&object);
        let own = own_sections(&object, &job.settings, unit.member.is_none());
        let file = unit.member.as_ref().map_or(0, |member| {
            text_digest(format!("{}:{}", plain_file(&input.name), plain_file(member)).as_bytes())
        });
        for (index, section) in object.sections.iter().enumerate() {
            if !section.can_be_renamed() {
                continue;
            }
            let Some(Some(digests)) = digests.get(index) else { continue };
            let Place::Zone(zone, statement) = openings.place(section.name) else { continue };
            items.push(Item {
                unit: number,
                section: index,
                name: section.name.to_owned(),
                zone,
                statement,
                size: section.size,
                align: section.align,
                digests: *digests,
                anonymous: section.is_anonymous(),
                piece: is_piece(section.name),
                writable: section.flags & SHF_WRITE != 0,
                own: own.get(index).copied().unwrap_or(false),
                file,
                sole: named.get(&(unit.input, unit.member.as_deref())) == Some(&1),
            });
        }
    }
    items
}

/// Returns whether `name` was made by the split, such as `.rodata.str1.1.p0123456789abcdef`.
fn is_piece(name: &str) -> bool {
    let hash = name.rsplit_once(".p").map(|(_, hash)| hash);
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Returns which sections belong to the project's crates: by their names, and the constants that
/// these use. In the program's own objects these include functions with unmangled names, such as
/// `main`, because such a name does not show a crate, and library functions that were made for the
/// project's types ([`mark_made_for_own`]).
fn own_sections(object: &Object<'_>, settings: &Settings, is_program: bool) -> Vec<bool> {
    let bare = |name: &str| {
        let function = name.strip_prefix(".text.");
        is_program && function.is_some_and(|name| !name.contains("_R") && !name.contains("_ZN"))
    };
    let is_own = |section: &Section<'_>| settings.is_own(section.name) || bare(section.name);
    let mut own: Vec<bool> = object.sections.iter().map(is_own).collect();
    if is_program {
        mark_made_for_own(object, settings, &mut own);
    }
    let mut open: Vec<usize> =
        own.iter().enumerate().filter(|(_, own)| **own).map(|(n, _)| n).collect();
    while let Some(number) = open.pop() {
        let Some(section) = object.sections.get(number) else { continue };
        for relocation in &section.relocations {
            let Some((_, Some(target))) = object.target(relocation) else { continue };
            let Some(read) = object.sections.get(target) else { continue };
            let constant =
                (read.is_anonymous() || is_piece(read.name)) && read.flags & SHF_WRITE == 0;
            if constant && let Some(mark) = own.get_mut(target).filter(|mark| !**mark) {
                *mark = true;
                open.push(target);
            }
        }
    }
    own
}

/// Marks library functions that were instantiated for types of the project, such as an executor's
/// `poll` with a task compiled into it. The v0 mangling names these types; the legacy mangling
/// omits them. With the latter, such a function is recognised by the symbols it refers to, or by
/// being generic and referred to only by the project's code.
fn mark_made_for_own(object: &Object<'_>, settings: &Settings, own: &mut [bool]) {
    let is_function = |section: &Section<'_>| section.name.starts_with(".text.");
    let marked = |own: &[bool], number: usize| own.get(number).copied().unwrap_or(false);
    let symbols: Vec<bool> = object
        .symbols
        .iter()
        .map(|symbol| {
            symbol.section.is_some_and(|at| marked(own, at)) || settings.is_own(symbol.name)
        })
        .collect();
    for (mark, section) in own.iter_mut().zip(&object.sections) {
        let mut relocations = section.relocations.iter();
        let refers = |symbol: u32| symbols.get(symbol as usize).copied().unwrap_or(false);
        *mark |= is_function(section) && relocations.any(|relocation| refers(relocation.symbol));
    }
    // For each section: whether own sections refer to it, and whether others do. Its own jump
    // tables and the unwind tables are not callers.
    let refers = |section: &Section<'_>| is_function(section) || section.is_anonymous();
    let mut by = vec![(false, false); object.sections.len()];
    for (number, section) in object.sections.iter().enumerate().filter(|(_, s)| refers(s)) {
        for relocation in &section.relocations {
            let Some((_, Some(target))) = object.target(relocation) else { continue };
            let Some((by_own, by_others)) = by.get_mut(target).filter(|_| target != number) else {
                continue;
            };
            *by_own |= marked(own, number);
            *by_others |= !marked(own, number);
        }
    }
    for ((mark, section), by) in own.iter_mut().zip(&object.sections).zip(by) {
        *mark |= by == (true, false) && is_function(section) && section.name.contains("$LT$");
    }
}

/// Returns a file's name without the hashes that cargo and rustc add.
fn plain_file(name: &str) -> String {
    let is_hash = |part: &&str| part.len() >= 16 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = name.split(['-', '.']).filter(|part| !is_hash(part)).collect();
    plain_name(&parts.join("."))
}
