//! Options of other tools: each becomes words of esplice, is dropped, or is refused with advice.

use esplice_chip::ChipDb;

use super::Group;
use crate::ui::exit::Failure;

/// Translation of an option.
#[derive(Debug)]
pub enum Turn {
    /// These words replace the option; they include its value if it is needed.
    Words(Vec<String>),
    /// The option is dropped: esplice does this anyway, or the option concerns only the other tool.
    Dropped,
    /// The option is dropped, with a note for the user.
    Noted(&'static str),
    /// The option is refused: without it, the command would not do what was requested.
    Refused(&'static str),
    /// The option starts the monitor after flashing.
    Monitors,
}

/// An option, with the next word or the value after `=`.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Name of the option with its hyphens; underscores are replaced by hyphens.
    pub name: &'a str,
    /// The value, if the option takes one.
    pub value: Option<&'a str>,
    /// True if the option is before the command.
    pub leading: bool,
}

impl Given<'_> {
    fn value(&self) -> &str {
        self.value.unwrap_or_default()
    }

    /// Returns whether there is a value that is not an option.
    fn has_value(&self) -> bool {
        self.value.is_some_and(|value| !value.starts_with('-'))
    }

    fn is_number(&self) -> bool {
        self.value.and_then(esplice_chip::parse_size).is_some()
    }
}

/// Returns the translation of an option and whether it takes its value along; `None` for esplice's
/// own options.
pub fn turn(
    group: Group,
    command: &str,
    given: Given<'_>,
) -> Result<Option<(Turn, bool)>, Failure> {
    if let Some(turned) = of_connection(group, given)? {
        return Ok(Some(turned));
    }
    let turned = match group {
        // The length to read is that of the board's flash.
        Group::Read if of_header(given).is_some() => Some((Turn::Dropped, true)),
        Group::Write | Group::Read => of_write(given),
        Group::Flash | Group::Build => {
            of_firmware(group, command, given)?.or_else(|| of_tinygo(given))
        }
        Group::Monitor => of_monitor(given),
        Group::Merge => of_header(given).or_else(|| match given.name {
            "--format" | "-f" if ["raw", "hex", "uf2"].contains(&given.value()) => {
                Some(renamed("--as", given))
            }
            _ => None,
        }),
        Group::Info => match given.name {
            "--version" if given.is_number() => Some((Turn::Dropped, true)),
            _ => None,
        },
        Group::Ports => match given.name {
            "--list-all-ports" => Some((words(&["--all"]), false)),
            "-n" | "--name-only" => Some((
                Turn::Refused("each line of `esplice ports` begins with the port's name"),
                false,
            )),
            _ => None,
        },
        Group::Board => match given.name {
            "--partition-table" => Some((
                Turn::Refused("partitions are looked up in the board's own partition table"),
                true,
            )),
            "--force" => {
                Some((Turn::Refused("esplice does not erase what it cannot write again"), false))
            }
            _ => None,
        },
        Group::Bare | Group::Other => None,
    };
    Ok(turned)
}

fn words(words: &[&str]) -> Turn {
    Turn::Words(words.iter().map(|word| (*word).to_owned()).collect())
}

/// Renames an option.
fn renamed(name: &str, given: Given<'_>) -> (Turn, bool) {
    (words(&[name, given.value()]), true)
}

/// Returns whether a word is a port's name and cannot be the name of a cargo package.
fn is_port(word: &str) -> bool {
    let com = word.strip_prefix("COM").or_else(|| word.strip_prefix("com"));
    word.contains(['/', ':', '\\'])
        || com
            .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()))
        || ["ttyUSB", "ttyACM", "ttyS", "cu.", "tty."].iter().any(|start| word.starts_with(start))
}

/// Translates options of port and connection, which esptool takes before its command and espflash
/// after it.
fn of_connection(group: Group, given: Given<'_>) -> Result<Option<(Turn, bool)>, Failure> {
    let has_port = group.has_port();
    let if_port = |turn: Turn| if has_port { turn } else { Turn::Dropped };
    let turned = match given.name {
        "-p" if is_port(given.value()) || given.leading => {
            (if_port(words(&["--port", given.value()])), true)
        }
        "-p" if matches!(group, Group::Write | Group::Read)
            && (given.is_number() || !given.has_value()) =>
        {
            // esptool's --no-progress.
            (Turn::Dropped, false)
        }
        "-p" if group.has_port() && group != Group::Flash => {
            (words(&["--port", given.value()]), true)
        }
        "--port" | "--target" | "--format" | "--quiet" | "-q" if !given.leading => return Ok(None),
        "--port" => (if_port(words(&["--port", given.value()])), true),
        "--target" | "--format" => (words(&[given.name, given.value()]), true),
        "--quiet" | "-q" => (words(&["--quiet"]), false),
        "-c" | "--chip" => {
            let chip = match (group.has_chip(), given.value()) {
                (_, "auto") | (false, _) => Turn::Dropped,
                (true, chip) => words(&["--chip", chip]),
            };
            (chip, true)
        }
        "-b" if !given.is_number() => (before(group, given)?, true),
        "--before" => (before(group, given)?, true),
        "-a" if group == Group::Ports => (words(&["--all"]), false),
        "-a" | "--after" => (after(group, given)?, true),
        "-b" if group == Group::Monitor && !given.leading => renamed("--monitor-baud", given),
        "--baud" if group == Group::Monitor && !given.leading => {
            (Turn::Refused("the rate of the firmware's output is --monitor-baud"), true)
        }
        "-b" | "-B" | "--baud" => {
            let baud = words(&["--baud", given.value()]);
            (if group.has_baud() { baud } else { Turn::Dropped }, true)
        }
        "--no-stub" => {
            let none = words(&["--stub", "none"]);
            (if group.has_baud() { none } else { Turn::Dropped }, false)
        }
        "--connect-attempts" => (
            Turn::Noted("--connect-attempts is ignored: esplice resets the board up to 7 times"),
            true,
        ),
        "--verbose" | "-S" | "--skip-update-check" | "--non-interactive" | "--confirm-port" => {
            (Turn::Dropped, false)
        }
        // `esplice sim` has an option of this name.
        "--trace" | "-t" | "-v" if given.leading => (Turn::Dropped, false),
        "--list-all-ports" if group != Group::Ports => (Turn::Dropped, false),
        "-s" if given.leading => (words(&["--quiet"]), false),
        "--silent" => (words(&["--quiet"]), false),
        "--port-filter" => (
            Turn::Refused("--port takes USB ids (303a:1001), a serial number or a MAC address"),
            true,
        ),
        "--override-vddsdio" => (Turn::Refused("esplice does not change the flash voltage"), true),
        "--spi-connection" | "-sc" => {
            (Turn::Refused("esplice uses the flash at the chip's usual pins"), true)
        }
        _ => return Ok(None),
    };
    Ok(Some(turned))
}

/// Translates the way to enter download mode.
fn before(group: Group, given: Given<'_>) -> Result<Turn, Failure> {
    let reset = match given.value() {
        "default-reset" | "default_reset" => return Ok(Turn::Dropped),
        "usb-reset" | "usb_reset" => "usb-serial-jtag",
        "no-reset" | "no_reset" | "no-reset-no-sync" | "no_reset_no_sync" => "none",
        other => return Err(unknown(given.name, other, "default-reset, usb-reset and no-reset")),
    };
    Ok(if group.has_reset() { words(&["--reset", reset]) } else { Turn::Dropped })
}

/// Translates what happens to the board at the end.
fn after(group: Group, given: Given<'_>) -> Result<Turn, Failure> {
    match given.value() {
        // Whatever the kind of reset, the board runs its firmware.
        "hard-reset" | "hard_reset" | "soft-reset" | "soft_reset" | "watchdog-reset"
        | "watchdog_reset" => Ok(Turn::Dropped),
        "no-reset" | "no_reset" | "no-reset-stub" | "no_reset_stub" | "no-reset-no-stub"
        | "no_reset_no_stub" => Ok(match group {
            Group::Write | Group::Read | Group::Board => words(&["--stay"]),
            Group::Flash => Turn::Refused(
                "`esplice flash` starts the board; `esplice write --stay OFFSET FILE` leaves it \
                 in download mode",
            ),
            _ => Turn::Dropped,
        }),
        other => {
            Err(unknown(given.name, other, "hard-reset, soft-reset, watchdog-reset, no-reset"))
        }
    }
}

fn unknown(name: &str, value: &str, known: &str) -> Failure {
    Failure::usage(format!("{name} {value:?} is not known")).hint(format!("known are {known}"))
}

/// Translates the flash settings of the image header, as esptool spells them.
fn of_header(given: Given<'_>) -> Option<(Turn, bool)> {
    let turned = match given.name {
        "-fm" | "--flash-mode" => renamed("--flash-mode", given),
        "-ff" | "--flash-freq" => (words(&["--flash-freq", &frequency(given.value())]), true),
        "-fs" | "--flash-size" => renamed("--flash-size", given),
        _ => return None,
    };
    Some(turned)
}

/// Converts espflash's `40mhz` into a frequency as in chip data.
fn frequency(value: &str) -> String {
    let lower = value.to_ascii_lowercase();
    lower.strip_suffix("hz").unwrap_or(&lower).to_owned()
}

/// Translates options of `write-flash`, `verify-flash`, `read-flash` and `write-bin`.
fn of_write(given: Given<'_>) -> Option<(Turn, bool)> {
    if let Some(turned) = of_header(given) {
        return Some(turned);
    }
    let encrypted = "esplice does not write encrypted flash";
    let turned = match given.name {
        // The loader decides whether data is compressed, and data is always verified.
        "-z"
        | "--compress"
        | "-u"
        | "--no-compress"
        | "--no-progress"
        | "--verify"
        | "-d"
        | "--diff"
        | "-s"
        | "--skip-flashed"
        | "--trust-flash-content" => (Turn::Dropped, false),
        "--diff-with" => (
            Turn::Noted("--diff-with is ignored: the board itself reports which sectors differ"),
            true,
        ),
        "--max-in-flight" | "--block-size" => (Turn::Dropped, true),
        "-e" => (words(&["--erase-all"]), false),
        "--encrypt" | "--ignore-flash-enc-efuse" | "--ignore-flash-encryption-efuse-setting" => {
            (Turn::Refused(encrypted), false)
        }
        "--encrypt-files" => (Turn::Refused(encrypted), true),
        "--force" => (Turn::Refused("esplice does not write what is known not to boot"), false),
        "-M" | "--monitor" => {
            (Turn::Refused("`esplice monitor` shows the board's output afterwards"), false)
        }
        // Options of espflash's monitor, which is not started.
        "-r" | "--monitor-baud" | "--elf" => (Turn::Dropped, true),
        "--no-reset" => (Turn::Dropped, false),
        _ => return of_monitor(given),
    };
    Some(turned)
}

/// Translates options of espflash's `flash` and `save-image`, esptool's `elf2image`, and idf.py's
/// `flash`.
fn of_firmware(
    group: Group,
    command: &str,
    given: Given<'_>,
) -> Result<Option<(Turn, bool)>, Failure> {
    if let Some(turned) = of_header(given) {
        return Ok(Some(turned));
    }
    let revision = || {
        let number: Option<u32> = given.value().parse().ok();
        let number = number.ok_or_else(|| {
            Failure::usage(format!("{} {:?} is not a number", given.name, given.value()))
        })?;
        Ok::<_, Failure>(format!("{}.{}", number / 100, number % 100))
    };
    let is_flash = group == Group::Flash;
    let turned = match given.name {
        "-f" => (words(&["--flash-freq", &frequency(given.value())]), true),
        "-m" => renamed("--flash-mode", given),
        "-s" => renamed("--flash-size", given),
        "--min-chip-rev" => renamed("--min-rev", given),
        "--min-rev-full" => (words(&["--min-rev", &revision()?]), true),
        "--max-rev-full" => (words(&["--max-rev", &revision()?]), true),
        "--flash-mmu-page-size" => renamed("--mmu-page-size", given),
        "--use-segments" => (words(&["--image-source", "segments"]), false),
        // esptool's option has no value.
        "--secure-pad" if command == "elf2image" && !["v1", "v2"].contains(&given.value()) => {
            (words(&["--secure-pad", "v1"]), false)
        }
        "--secure-pad-v2" => (words(&["--secure-pad", "v2"]), false),
        // The descriptor contains the ELF's hash in any case.
        "--elf-sha256-offset" => (Turn::Dropped, true),
        "-e" | "--version" if command == "elf2image" => (Turn::Dropped, true),
        "--dont-append-digest" => (Turn::Refused("esplice's images end in their hash"), false),
        "--ram-only-header" => {
            (Turn::Refused("`--boot rom` makes images that the ROM loads"), false)
        }
        "--pad-to-size" => {
            (Turn::Refused("`esplice image merge --pad-to-size` pads a merged file"), true)
        }
        "--format" if given.value() == "esp-idf" => (Turn::Dropped, true),
        "--ignore-app-descriptor" => (Turn::Dropped, false),
        "-x" | "--xtal-freq" => (
            Turn::Refused("the crystal is in the board's data: name the board with --target"),
            true,
        ),
        "--target-app-partition" if is_flash => renamed("--partition", given),
        "--target-app-partition" => {
            (Turn::Refused("`esplice flash --partition NAME` chooses the app's partition"), true)
        }
        "--no-skip" if is_flash => (words(&["--full"]), false),
        "--no-verify" if is_flash => {
            (Turn::Noted("--no-verify is ignored: what is written is always verified"), false)
        }
        "--ram" if is_flash => {
            (Turn::Refused("`esplice load FILE` loads a program into RAM"), false)
        }
        "--erase-parts" | "--erase-data-parts" if is_flash => {
            (Turn::Refused("`esplice erase-parts NAMES` erases partitions, before or after"), true)
        }
        "--force" if is_flash => {
            (Turn::Refused("esplice does not write what is known not to boot"), false)
        }
        "-M" | "--monitor" if is_flash => (Turn::Monitors, false),
        "--no-reset" if is_flash => {
            (Turn::Refused("`esplice monitor --no-reset` shows a running board's output"), false)
        }
        "-r" if is_flash && given.is_number() => renamed("--monitor-baud", given),
        // Cargo's options for release and features.
        "-r" | "-F" => return Ok(None),
        _ if is_flash => return Ok(of_monitor(given)),
        _ => return Ok(None),
    };
    Ok(Some(turned))
}

/// Translates options of espflash's and idf.py's monitors.
fn of_monitor(given: Given<'_>) -> Option<(Turn, bool)> {
    let turned = match given.name {
        "-r" => renamed("--monitor-baud", given),
        "--rom-elf" => renamed("--rom", given),
        "--print-filter" => renamed("--filter", given),
        "-L" | "--log-format" | "-F" | "--output-format" | "--unwind-tables"
            if given.has_value() =>
        {
            (Turn::Noted("defmt and unwind tables are found in the ELF, without an option"), true)
        }
        "--processors" => {
            (Turn::Refused("esplice does not start other programs; pipe its standard output"), true)
        }
        "--no-addresses" | "--all-addresses" => {
            (Turn::Noted("addresses are decoded where the ELF is known"), false)
        }
        _ => return None,
    };
    Some(turned)
}

/// Translates TinyGo's options, which begin with one hyphen.
fn of_tinygo(given: Given<'_>) -> Option<(Turn, bool)> {
    let turned = match given.name {
        "-target" => {
            let is_ours = ChipDb::embedded().find_target(given.value()).is_ok();
            renamed(if is_ours { "--target" } else { "--tinygo-target" }, given)
        }
        "-ldflags" => {
            // The value may look like an option.
            (Turn::Words(vec![format!("--ldflags={}", given.value())]), true)
        }
        "-tags" | "-opt" | "-gc" | "-scheduler" | "-serial" | "-panic" | "-stack-size"
        | "-port" => renamed(&format!("-{}", given.name), given),
        "-baudrate" => renamed("--monitor-baud", given),
        "-monitor" => (Turn::Monitors, false),
        "-size" | "-programmer" => (Turn::Dropped, true),
        "-no-debug" | "-x" | "-work" => (Turn::Dropped, false),
        _ => return None,
    };
    Some(turned)
}
