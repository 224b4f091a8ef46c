//! `esplice layout`: shows and checks the memory layout.

pub mod check;
pub mod diff;
pub mod emit;
pub mod show;

use std::{path::Path, sync::Arc};

use clap::Subcommand;
use esplice_chip::Chip;
use esplice_layout::{Layout, Spec};
use esplice_link::{Item, MemoryMap};
use serde_json::{Value, json};

use crate::{
    config::project::{Flags, Project},
    files::of_file,
    firmware::{chip_of_cargo, elf_chip, source::Source},
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the memory map of an ELF
    Show(show::Args),
    /// Check the memory layout of a project, and an ELF against it
    Check(check::Args),
    /// Write memory layout files for other build systems
    Emit(emit::Args),
    /// Show the differences in placement between two ELFs
    Diff(diff::Args),
}

pub fn run(command: &Command, shell: &mut Shell) -> Result<(), Failure> {
    match command {
        Command::Show(args) => show::run(args, shell),
        Command::Check(args) => check::run(args, shell),
        Command::Emit(args) => emit::run(args, shell),
        Command::Diff(args) => diff::run(args, shell),
    }
}

/// Resolves the project in a directory and its chip: the requested or set one, else that of an ELF.
fn settle(
    path: &Path,
    flags: Flags,
    elf: Option<(&Path, &[u8])>,
) -> Result<(Project, Arc<Chip>), Failure> {
    if !path.is_dir() {
        return Err(Failure::input(format!("{} is not a directory", path.display())));
    }
    let project = Project::settle(path, flags)?;
    let chip = match (&project.target, elf) {
        (Some(target), _) => target.value.clone(),
        (None, Some((path, elf))) => chip_of(&project, path, elf)?,
        (None, None) => {
            let chip = match Source::of_directory(path) {
                Some(Source::Project { directory, main }) => {
                    chip_of_cargo(&directory, main.as_deref(), &project)?
                }
                _ => None,
            };
            chip.ok_or_else(|| crate::firmware::no_chip(path))?
        }
    };
    Ok((project, chip))
}

/// Resolves the project's layout as its build does: a Go package uses TinyGo as its base.
fn layout(project: &Project, path: &Path, chip: &Arc<Chip>) -> Result<Layout, Failure> {
    spec(project, path)?;
    let settled = match Source::of_directory(path) {
        Some(Source::Go(_)) => crate::firmware::layout::of_go(project, chip)?,
        _ => None,
    };
    match settled {
        Some(layout) => Ok(layout),
        None => Ok(spec(project, path)?.settle(chip)?),
    }
}

/// Returns the layout of a project, or an error if it has none. A layout that only enables stable
/// links leaves all memory to the program.
fn spec(project: &Project, path: &Path) -> Result<Spec, Failure> {
    let stable_alone = project.build.only_stable.then(Spec::default);
    project.build.layout.clone().or(stable_alone).ok_or_else(|| {
        let message = format!("{} has no [layout] in esplice.toml", path.display());
        Failure::usage(message).hint("write a [layout.heap] or an [[layout.arena]]")
    })
}

/// Returns the chip of an ELF: the requested one, else the one that the ELF names.
fn chip_of(project: &Project, path: &Path, elf: &[u8]) -> Result<Arc<Chip>, Failure> {
    if let Some(target) = &project.target {
        return Ok(target.value.clone());
    }
    elf_chip(path, elf, &project.chips)?.ok_or_else(|| crate::firmware::no_chip(path))
}

fn map_of(project: &Project, path: &Path) -> Result<(MemoryMap, Arc<Chip>), Failure> {
    let elf = crate::files::read::read(path)?;
    let chip = chip_of(project, path, &elf)?;
    let map = esplice_link::map(&elf, &chip).map_err(|e| of_file(path, e.into()))?;
    Ok((map, chip))
}

/// Maximum number of items per region in JSON, which is many times as large as the items.
const MOST_LISTED: usize = 10_000;

fn value(map: &MemoryMap) -> Value {
    let regions = map.regions.iter().map(|region| {
        json!({
            "region": region.key,
            "addr": region.addr,
            "len": region.len,
            "used": region.used(),
            "free": region.free(),
            "free_ranges": region.free_ranges().iter()
                .map(|(addr, len)| json!({ "addr": addr, "len": len }))
                .collect::<Vec<_>>(),
            "items": region.items.iter().take(MOST_LISTED).map(item).collect::<Vec<_>>(),
            "left_out": region.items.len().saturating_sub(MOST_LISTED),
        })
    });
    let overlaps = map.overlaps.iter().map(|overlap| {
        json!({
            "first": item(&overlap.first),
            "second": item(&overlap.second),
            "memory": overlap.memory,
            "len": overlap.len,
        })
    });
    json!({
        "chip": map.chip,
        "regions": regions.collect::<Vec<_>>(),
        "overlaps": overlaps.collect::<Vec<_>>(),
    })
}

fn item(item: &Item) -> Value {
    json!({
        "kind": item.kind.name(),
        "name": item.name,
        "addr": item.addr,
        "len": item.len,
        "loaded": item.loaded,
    })
}
