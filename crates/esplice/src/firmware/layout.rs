//! Links firmware with the project's memory layout: resolves it before compiling, traces linker
//! errors back to its lines, and checks the ELF afterwards.

use std::{path::Path, sync::Arc};

use esplice_chip::Chip;
use esplice_layout::{Amount, Base, Layout, LayoutError, explain, missing_script};
use esplice_toolchain::{Artifact, CargoOptions, Diagnostic, build_cargo_with_diagnostics};

use crate::{
    config::project::Project,
    ui::{
        event::{Event, Place},
        exit::{Exit, Failure},
        shell::Shell,
    },
};

/// Returns the layout of a cargo project, if it has one.
pub fn of_cargo(project: &Project, chip: &Arc<Chip>) -> Result<Option<Layout>, Failure> {
    let Some(spec) = &project.build.layout else { return Ok(None) };
    let layout = spec.settle(chip)?;
    match (layout.base, &spec.base) {
        (Base::TinyGo | Base::EspIdf, Some(base)) => {
            let message =
                format!("{}: base {:?} is not for a cargo project", base.place, layout.base.name());
            Err(Failure::new(Exit::PlanRefused, message)
                .hint("a cargo project is built on \"esp-hal\", or is a program in \"ram\""))
        }
        _ => Ok(Some(layout)),
    }
}

/// Returns the layout of a Go package, if it has one.
pub fn of_go(project: &Project, chip: &Arc<Chip>) -> Result<Option<Layout>, Failure> {
    let Some(spec) = &project.build.layout else { return Ok(None) };
    let spec = spec.clone().or_base(Base::TinyGo);
    match &spec.base {
        Some(base) if base.value != Base::TinyGo => {
            let (place, name) = (&base.place, base.value.name());
            let message = format!("{place}: base {name:?} is not for a Go package");
            Err(Failure::new(Exit::PlanRefused, message).hint("Go is built on \"tinygo\""))
        }
        _ => Ok(Some(spec.settle(chip)?)),
    }
}

/// Compiles a cargo project. If the linker fails because of the layout, the failure names the line
/// of the layout. If a linker script is missing, the failure reports only that.
pub fn compile(
    directory: &Path,
    chip: &Chip,
    options: &CargoOptions,
    shell: &mut Shell,
) -> Result<Artifact, Failure> {
    let mut said = String::new();
    // In JSON, the text is part of an event and must not contain colours.
    let colors = shell.has_colors() && !shell.is_json();
    let built = build_cargo_with_diagnostics(directory, chip, options, colors, &mut |diagnostic| {
        shell.event(&event(diagnostic));
        said.push_str(&diagnostic.rendered);
        // The failure reports in one line what the linker reports in hundreds.
        if missing_script(&diagnostic.rendered).is_none() {
            shell.compiler(&diagnostic.rendered);
        }
    });
    built.map_err(|error| {
        let failure = Failure::from(error);
        if failure.exit != Exit::BuildFailed {
            return failure;
        }
        let Some(layout) = &options.layout else {
            return match missing_script(&said) {
                Some(script) => without_script(script),
                None => failure,
            };
        };
        let errors = explain(layout, &said);
        let room = errors.first().and_then(|error| room_for(error, directory, chip, options));
        let mut causes: Vec<Failure> = errors.into_iter().map(Failure::from).collect();
        if let (Some(cause), Some(room)) = (causes.first_mut(), room) {
            cause.hint = Some(format!("the largest that fits is {room}"));
        }
        first(causes, shell).unwrap_or(failure)
    })
}

fn without_script(script: &str) -> Failure {
    let message = format!("the program is not linked with {script}, esp-hal's linker script");
    Failure::new(Exit::BuildFailed, message).hint(format!(
        "add it to .cargo/config.toml: rustflags = [\"-C\", \"link-arg=-T{script}\"]"
    ))
}

/// Converts a compiler message into an event.
fn event(diagnostic: &Diagnostic) -> Event {
    let place = diagnostic.place.clone();
    Event::Diagnostic {
        level: diagnostic.level.clone(),
        message: diagnostic.message.clone(),
        code: diagnostic.code.clone(),
        place: place.map(|(file, line, column)| Place { file, line, column }),
        rendered: diagnostic.rendered.clone(),
    }
}

/// Returns the largest size that would fit, if the linker ran out of space. Links once more with a
/// size that takes all the rest; that ELF is deleted.
fn room_for(
    error: &LayoutError,
    directory: &Path,
    chip: &Chip,
    options: &CargoOptions,
) -> Option<Amount> {
    let (layout, taken) = options.layout.as_ref()?.measuring(error)?;
    let options = options.clone().layout(Some(layout)).stable(None);
    let built = build_cargo_with_diagnostics(directory, chip, &options, false, &mut |_| {}).ok()?;
    let elf = std::fs::read(&built.elf);
    std::fs::remove_file(&built.elf).ok()?;
    let map = esplice_link::map(&elf.ok()?, chip).ok()?;
    let mut items = map.regions.iter().flat_map(|region| &region.items);
    let heap = items.find(|item| item.kind == esplice_link::Kind::Heap)?;
    let room = heap.len.checked_sub(taken).filter(|room| *room > 0)?;
    Some(Amount::of(room & !15))
}

/// Checks an ELF against the layout that it was linked with.
pub fn hold(elf: &[u8], layout: &Layout, shell: &mut Shell) -> Result<(), Failure> {
    let defects = esplice_link::check(elf, layout)?;
    match first(defects.into_iter().map(Failure::from).collect(), shell) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Returns the first of several failures, and prints the others as warnings.
fn first(failures: Vec<Failure>, shell: &mut Shell) -> Option<Failure> {
    let mut failures = failures.into_iter();
    let first = failures.next();
    for other in failures {
        shell.warning(&other.message);
    }
    first
}
