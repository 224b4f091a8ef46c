//! Choice of the target: the one set by the project, if its code runs on the chip.

use crate::{ToolchainError, config::BuildTarget};
use esplice_chip::{Chip, ChipDb};

/// A target in the form that cargo takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// A triple, or the path of a target file.
    pub name: String,
    /// True if programs use the standard library, on ESP-IDF.
    pub is_std: bool,
    /// The file or variable that sets the target, if it is not simply the chip's.
    pub place: Option<String>,
}

/// Returns the target of `chip`, one of `chips`, in a project that sets `asked`. A target for systems other than
/// boards does not concern the firmware, so the chip's own is used.
///
/// # Errors
/// Returns [`ToolchainError::OtherTarget`] if the project sets a target whose code does not run on
/// the chip.
pub(crate) fn choose(
    chip: &Chip,
    chips: &ChipDb,
    asked: Option<&BuildTarget>,
) -> Result<Target, ToolchainError> {
    let own = &chip.toolchain.rust_target;
    let of_chip = Target { name: own.clone(), is_std: false, place: None };
    let Some(asked) = asked else { return Ok(of_chip) };
    if asked.names.contains(own) {
        return Ok(of_chip);
    }
    // If this is another chip's own target, the project supports several chips and the chosen chip
    // decides.
    let of_another =
        |name: &String| chips.chips().any(|other| other.toolchain.rust_target == *name);
    let runs =
        |name: &&String| name.ends_with(".json") || (runs_on(name, own) && !of_another(name));
    if let Some(name) = asked.names.iter().find(runs) {
        return Ok(Target {
            name: name.clone(),
            is_std: is_std(name),
            place: Some(asked.place.clone()),
        });
    }
    let for_boards =
        |name: &String| Processor::of(name).is_some() && !(of_another(name) && runs_on(name, own));
    if !asked.names.iter().any(for_boards) {
        return Ok(of_chip);
    }
    Err(ToolchainError::OtherTarget {
        place: asked.place.clone(),
        asked: asked.names.clone(),
        chip: chip.display_name.clone(),
        target: own.clone(),
    })
}

/// Returns the triple for programs with the standard library, derived from the chip's bare-metal
/// one.
pub(crate) fn std_triple(own: &str) -> String {
    match Processor::of(own) {
        Some(Processor::Xtensa(core)) => format!("xtensa-{core}-espidf"),
        _ => format!("{}-esp-espidf", own.split('-').next().unwrap_or(own)),
    }
}

/// Returns whether programs for this target use the standard library, on ESP-IDF.
fn is_std(name: &str) -> bool {
    name.ends_with("-espidf")
}

/// Returns whether code for the target `name` runs on a chip whose target is `own`.
fn runs_on(name: &str, own: &str) -> bool {
    match (Processor::of(name), Processor::of(own)) {
        (Some(Processor::Riscv(needs)), Some(Processor::Riscv(has))) => {
            needs.chars().all(|extension| has.contains(extension))
        }
        (Some(Processor::Xtensa(one)), Some(Processor::Xtensa(other))) => one == other,
        _ => false,
    }
}

/// The processor at the start of a triple.
#[derive(Debug, PartialEq, Eq)]
enum Processor<'a> {
    /// The letters of the extensions.
    Riscv(&'a str),
    /// The name of the core.
    Xtensa(&'a str),
}

impl Processor<'_> {
    fn of(triple: &str) -> Option<Processor<'_>> {
        let (processor, rest) = triple.split_once('-')?;
        if let Some(extensions) = processor.strip_prefix("riscv32") {
            return Some(Processor::Riscv(extensions));
        }
        (processor == "xtensa").then(|| Processor::Xtensa(rest.split('-').next().unwrap_or(rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `asked` is a list of words. `expected` is the target, followed by `std` if it has it, or the
    /// error.
    #[track_caller]
    fn check(chip: &str, asked: &str, expected: &str) {
        let chip = esplice_chip::ChipDb::embedded().find(chip).unwrap();
        let names: Vec<String> = asked.split_whitespace().map(str::to_owned).collect();
        let asked = BuildTarget { names, place: "config.toml".into() };
        let asked = (!asked.names.is_empty()).then_some(asked);
        let said = match choose(chip, ChipDb::embedded(), asked.as_ref()) {
            Ok(Target { name, is_std, .. }) => {
                format!("{name}{}", if is_std { " std" } else { "" })
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected);
    }

    const C3: &str = "riscv32imc-unknown-none-elf";
    const C6: &str = "riscv32imac-unknown-none-elf";

    #[test]
    fn what_the_project_asks_for_is_respected() {
        check("esp32c3", "", C3);
        check("esp32c3", C3, C3);
        check("esp32c6", C3, C6);
        check("esp32p4", C6, "riscv32imafc-unknown-none-elf");
        check("esp32c3", "riscv32i-unknown-none-elf", "riscv32i-unknown-none-elf");
        check("esp32c3", "riscv32imc-esp-espidf", "riscv32imc-esp-espidf std");
        check("esp32s3", "xtensa-esp32s3-espidf", "xtensa-esp32s3-espidf std");
        check("esp32c3", "/p/mine.json", "/p/mine.json");
        check("esp32c3", &format!("x86_64-unknown-linux-gnu {C3}"), C3);
        check("esp32c6", &format!("{C3} {C6}"), C6);
    }

    #[test]
    fn the_hosts_target_says_nothing_of_the_firmware() {
        check("esp32c3", "x86_64-unknown-linux-gnu", C3);
        check("esp32c3", "aarch64-apple-darwin x86_64-pc-windows-msvc", C3);
    }

    #[test]
    fn code_that_the_chip_does_not_run_is_refused() {
        check(
            "esp32c3",
            C6,
            "config.toml builds for riscv32imac-unknown-none-elf, and the ESP32-C3 runs \
             riscv32imc-unknown-none-elf",
        );
        for (chip, other) in [
            ("esp32c3", "riscv32imac-esp-espidf"),
            ("esp32s3", "xtensa-esp32-none-elf"),
            ("esp32s3", C3),
            ("esp32c3", "xtensa-esp32-espidf"),
            ("esp32c6", "riscv32imafc-unknown-none-elf"),
        ] {
            let chip = esplice_chip::ChipDb::embedded().find(chip).unwrap();
            let asked = BuildTarget { names: vec![other.into()], place: "p".into() };
            assert!(
                choose(chip, ChipDb::embedded(), Some(&asked)).is_err(),
                "{} {other}",
                chip.name
            );
        }
    }

    #[test]
    fn the_triple_with_std_is_that_of_the_same_processor() {
        assert_eq!(std_triple(C3), "riscv32imc-esp-espidf");
        assert_eq!(std_triple("xtensa-esp32s3-none-elf"), "xtensa-esp32s3-espidf");
    }
}
