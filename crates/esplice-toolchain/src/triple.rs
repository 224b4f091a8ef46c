//! Which target a project is built for: the one it asks cargo for, if its code runs on the chip.

use crate::{ToolchainError, config::BuildTarget};
use esplice_chip::Chip;

/// A target, as cargo is to be given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// A triple, or the path of a target file.
    pub name: String,
    /// The program has the standard library, on ESP-IDF.
    pub is_std: bool,
    /// The project asks for it, and it is not simply the chip's.
    pub place: Option<String>,
}

/// The target that `chip` is built for in a project that asks for `asked`. A target for other systems
/// than boards says nothing about the firmware, and the chip's own is taken.
///
/// # Errors
/// [`ToolchainError::OtherTarget`] where the project asks for code that the chip does not run.
pub(crate) fn choose(chip: &Chip, asked: Option<&BuildTarget>) -> Result<Target, ToolchainError> {
    let own = &chip.toolchain.rust_target;
    let of_chip = Target { name: own.clone(), is_std: false, place: None };
    let Some(asked) = asked else { return Ok(of_chip) };
    if asked.names.contains(own) {
        return Ok(of_chip);
    }
    // Another chip's own target: the project is for several chips, and the one that was chosen decides.
    let of_another = |name: &String| {
        esplice_chip::all().iter().any(|other| other.toolchain.rust_target == *name)
    };
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

/// The triple of a chip's programs with the standard library, from that without.
pub(crate) fn std_triple(own: &str) -> String {
    match Processor::of(own) {
        Some(Processor::Xtensa(core)) => format!("xtensa-{core}-espidf"),
        _ => format!("{}-esp-espidf", own.split('-').next().unwrap_or(own)),
    }
}

/// Whether programs for this target have the standard library, on ESP-IDF.
fn is_std(name: &str) -> bool {
    name.ends_with("-espidf")
}

/// Whether code for the target `name` runs on a chip whose target is `own`.
fn runs_on(name: &str, own: &str) -> bool {
    match (Processor::of(name), Processor::of(own)) {
        (Some(Processor::Riscv(needs)), Some(Processor::Riscv(has))) => {
            needs.chars().all(|extension| has.contains(extension))
        }
        (Some(Processor::Xtensa(one)), Some(Processor::Xtensa(other))) => one == other,
        _ => false,
    }
}

/// The processor that a triple begins with.
#[derive(Debug, PartialEq, Eq)]
enum Processor<'a> {
    /// The letters of its extensions.
    Riscv(&'a str),
    /// The name of its core.
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

    /// `asked` in words; `expected` is the target, with `std` behind it, or the error.
    #[track_caller]
    fn check(chip: &str, asked: &str, expected: &str) {
        let chip = esplice_chip::find(chip).unwrap();
        let names: Vec<String> = asked.split_whitespace().map(str::to_owned).collect();
        let asked = BuildTarget { names, place: "config.toml".into() };
        let asked = (!asked.names.is_empty()).then_some(asked);
        let said = match choose(chip, asked.as_ref()) {
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
            let chip = esplice_chip::find(chip).unwrap();
            let asked = BuildTarget { names: vec![other.into()], place: "p".into() };
            assert!(choose(chip, Some(&asked)).is_err(), "{} {other}", chip.name);
        }
    }

    #[test]
    fn the_triple_with_std_is_that_of_the_same_processor() {
        assert_eq!(std_triple(C3), "riscv32imc-esp-espidf");
        assert_eq!(std_triple("xtensa-esp32s3-none-elf"), "xtensa-esp32s3-espidf");
    }
}
