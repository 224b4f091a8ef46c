//! Completion in shells: the scripts that register esplice, and the answers to them.
//!
//! A shell's script starts esplice with [`VARIABLE`] and the words of the command line, so that the
//! candidates always belong to the installed version, and can depend on what is connected.

use std::{
    ffi::OsString,
    io::{self, Write as _},
};

use clap_complete::{
    engine::{ArgValueCandidates, CompletionCandidate},
    env::Shells,
};
use esplice_chip::ChipDb;
use esplice_flash::list_ports;

use crate::ui::exit::Failure;

/// Variable with the name of the shell that requests candidates.
pub const VARIABLE: &str = "ESPLICE_COMPLETE";

/// A shell that can complete esplice's command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CompletingShell {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell", alias = "pwsh")]
    PowerShell,
    Zsh,
}

impl CompletingShell {
    /// Returns the shell's name in the script and in [`VARIABLE`].
    pub const fn name(self) -> &'static str {
        match self {
            CompletingShell::Bash => "bash",
            CompletingShell::Elvish => "elvish",
            CompletingShell::Fish => "fish",
            CompletingShell::PowerShell => "powershell",
            CompletingShell::Zsh => "zsh",
        }
    }

    /// Returns the script that makes the shell ask esplice for candidates.
    pub fn script(self) -> Result<String, Failure> {
        let shells = Shells::builtins();
        let completer = shells.completer(self.name()).ok_or_else(|| unknown(self.name()))?;
        let mut script = Vec::new();
        completer
            .write_registration(VARIABLE, "esplice", "esplice", "esplice", &mut script)
            .map_err(failed)?;
        Ok(String::from_utf8_lossy(&script).into_owned())
    }
}

/// Prints the candidates for the words after `--` if a shell's script has started esplice.
///
/// Returns `None` if it has not: the variable is unset, or the words of the script are missing.
pub fn answer(args: &[OsString], command: clap::Command) -> Option<Result<(), Failure>> {
    let name = std::env::var_os(VARIABLE)?;
    let [_, separator, words @ ..] = args else { return None };
    if separator != "--" || words.is_empty() {
        return None;
    }
    Some(candidates(&name.to_string_lossy(), words, command))
}

fn candidates(shell: &str, words: &[OsString], mut command: clap::Command) -> Result<(), Failure> {
    let shells = Shells::builtins();
    let completer = shells.completer(shell).ok_or_else(|| unknown(shell))?;
    command.build();
    let directory = std::env::current_dir().ok();
    let mut text = Vec::new();
    completer
        .write_complete(&mut command, words.to_vec(), directory.as_deref(), &mut text)
        .map_err(failed)?;
    // A shell that no longer waits for the candidates is not an error.
    let _ = io::stdout().lock().write_all(&text);
    Ok(())
}

fn unknown(shell: &str) -> Failure {
    let names: Vec<&str> = Shells::builtins().names().collect();
    Failure::usage(format!("{VARIABLE} is {shell:?}, not one of {}", names.join(", ")))
}

fn failed(error: io::Error) -> Failure {
    Failure::usage(format!("cannot complete the command line: {error}"))
}

/// Completes the names of chips and boards.
pub fn targets() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let known = ChipDb::embedded();
        let chips = known.chips().map(|chip| candidate(&chip.name, &chip.display_name));
        let boards = known.boards().map(|board| candidate(&board.name, &board.display_name));
        chips.chain(boards).collect()
    })
}

/// Completes the names of chips.
pub fn chips() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let chips = ChipDb::embedded().chips();
        chips.map(|chip| candidate(&chip.name, &chip.display_name)).collect()
    })
}

/// Completes serial ports of this machine and virtual boards.
pub fn ports() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let mut found: Vec<CompletionCandidate> = list_ports()
            .iter()
            .map(|port| candidate(&port.name, port.product().unwrap_or("serial port")))
            .collect();
        let chips = ChipDb::embedded().chips().filter(|chip| chip.sim.is_some());
        found.extend(chips.map(|chip| {
            candidate(&format!("sim:{}", chip.name), &format!("virtual {}", chip.display_name))
        }));
        found
    })
}

/// Completes a fixed set of words.
pub fn words(words: &'static [&'static str]) -> ArgValueCandidates {
    ArgValueCandidates::new(|| words.iter().map(CompletionCandidate::new).collect::<Vec<_>>())
}

pub const BOOT: &[&str] = &["idf", "rom", "direct"];
pub const FLASH_MODE: &[&str] = &["qio", "qout", "dio", "dout"];
pub const SECURE_PAD: &[&str] = &["v1", "v2"];
pub const IMAGE_SOURCE: &[&str] = &["auto", "sections", "segments"];
pub const ADDRESSES: &[&str] = &["reports", "all", "none"];
pub const RESET: &[&str] =
    &["tight", "classic", "classic-slow", "usb-serial-jtag", "watchdog", "none"];

fn candidate(value: &str, help: &str) -> CompletionCandidate {
    // A USB device names itself; only plain text reaches the terminal.
    let help = crate::ui::printable::printable_message(help).into_owned();
    CompletionCandidate::new(value).help(Some(help.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::value;

    /// A word that the parser refuses would be a bad suggestion.
    #[test]
    fn suggested_words_are_valid_values() {
        assert!(BOOT.iter().all(|word| value::boot(word).is_ok()));
        assert!(SECURE_PAD.iter().all(|word| value::secure_pad(word).is_ok()));
        assert!(IMAGE_SOURCE.iter().all(|word| value::image_source(word).is_ok()));
        assert!(ADDRESSES.iter().all(|word| value::addresses(word).is_ok()));
        assert!(RESET.iter().all(|word| value::reset(word).is_ok()));
        assert!(FLASH_MODE.iter().all(|word| word.parse::<esplice_image::FlashMode>().is_ok()));
    }

    #[test]
    fn each_shell_has_a_script_that_starts_esplice() {
        use clap::ValueEnum as _;
        for shell in CompletingShell::value_variants() {
            let script = shell.script().unwrap();
            assert!(script.contains(VARIABLE), "{shell:?}: {script}");
            assert!(script.contains("esplice"), "{shell:?}: {script}");
        }
    }
}
