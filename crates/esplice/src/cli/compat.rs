//! Translates commands and options of esptool, espflash, idf.py and TinyGo before the command line
//! is parsed. A word is rewritten if esplice does the same under another name. Otherwise the error
//! names the command to use.

mod answers;
mod options;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use self::options::{Given, Turn};
use crate::ui::exit::Failure;

/// A command line in esplice's own words.
#[derive(Debug, PartialEq, Eq)]
pub struct Rewritten {
    pub words: Vec<OsString>,
    /// Notes on removed words that matter to the user.
    pub notes: Vec<&'static str>,
}

/// Groups of commands that accept the same options of other tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Writes files to a board, or compares them with it.
    Write,
    Read,
    /// Other operations on a board without firmware.
    Board,
    /// Operations on a board that take neither baud rate nor stub.
    Bare,
    /// Builds and writes firmware.
    Flash,
    /// Builds firmware.
    Build,
    Monitor,
    Merge,
    Info,
    Ports,
    Other,
}

impl Group {
    /// Returns the group of a command.
    fn of(command: &str) -> Group {
        match command {
            "write" | "write-flash" | "write-bin" | "verify" | "verify-flash" => Group::Write,
            "read" | "read-flash" => Group::Read,
            "erase" | "erase-region" | "erase-flash" | "erase-parts" | "hash" | "checksum-md5"
            | "detect" | "board-info" | "read-mac" | "chip-id" | "flash-id"
            | "get-security-info" => Group::Board,
            "reset" | "load" | "load-ram" => Group::Bare,
            "flash" | "run" => Group::Flash,
            "build" | "save-image" | "elf2image" => Group::Build,
            "monitor" => Group::Monitor,
            "merge-bin" => Group::Merge,
            "image-info" => Group::Info,
            "ports" | "list-ports" => Group::Ports,
            _ => Group::Other,
        }
    }

    fn has_port(self) -> bool {
        !matches!(self, Group::Build | Group::Merge | Group::Info | Group::Ports)
    }

    fn has_chip(self) -> bool {
        !matches!(self, Group::Info | Group::Ports)
    }

    fn has_baud(self) -> bool {
        matches!(self, Group::Write | Group::Read | Group::Board | Group::Flash | Group::Other)
    }

    fn has_reset(self) -> bool {
        self.has_port() && self != Group::Monitor
    }
}

/// Options with a value that other tools take before their command.
const LEADING_WITH_VALUE: &[&str] = &[
    "--chip",
    "-c",
    "--port",
    "-p",
    "--baud",
    "-b",
    "-B",
    "--port-filter",
    "--before",
    "--after",
    "-a",
    "--override-vddsdio",
    "--connect-attempts",
    "--target",
    "--format",
];

/// Options without a value that other tools take before their command.
const LEADING: &[&str] = &[
    "--no-stub",
    "--trace",
    "-t",
    "--verbose",
    "-v",
    "--silent",
    "-s",
    "--quiet",
    "-q",
    "-S",
    "--skip-update-check",
];

/// Commands that idf.py runs one after the other, and that are a single command here.
const CHAIN: &[&str] = &["build", "app", "flash", "app-flash", "monitor"];

/// Rewrites a command line. `commands` are the names that esplice's own parser knows.
///
/// # Errors
/// Fails for a word of another tool that has no counterpart, and names the replacement.
pub fn rewritten(
    words: impl IntoIterator<Item = OsString>,
    commands: &[String],
) -> Result<Rewritten, Failure> {
    let words: Vec<OsString> = words.into_iter().collect();
    let as_given = |words| Ok(Rewritten { words, notes: Vec::new() });
    let Some((leading, at)) = leading(&words) else { return as_given(words) };
    let Some(word) = words.get(at).and_then(|word| word.to_str()) else { return as_given(words) };

    let is_known = |name: &str| commands.iter().any(|command| command == name);
    let mut command = word.replace('_', "-");
    if command == "version" {
        return as_given(vec![words[0].clone(), "--version".into()]);
    }
    let mut rest: Vec<OsString> = words[at + 1..].to_vec();
    if let Some(chained) = chained(&command, &mut rest) {
        command = chained.to_owned();
    }
    if !is_known(&command) {
        let Some((tool, advice)) = answers::answer(&command) else { return as_given(words) };
        return Err(Failure::usage(format!("`{command}` is a command of {tool}")).hint(advice));
    }
    let group = Group::of(&command);
    if matches!(group, Group::Write | Group::Merge) {
        rest = with_argument_files(rest)?;
    }

    let mut rewriter = Rewriter { group, command, words: Vec::new(), notes: Vec::new() };
    rewriter.all(leading, true)?;
    rewriter.all(&rest, false)?;
    rewriter.drop_monitor_options();
    let mut all = vec![words[0].clone(), rewriter.command.into()];
    all.extend(rewriter.words);
    Ok(Rewritten { words: all, notes: rewriter.notes })
}

/// Returns the options before the command and the index of the command, or `None` if there is no
/// command or there are other options.
fn leading(words: &[OsString]) -> Option<(&[OsString], usize)> {
    let mut at = 1;
    while let Some(word) = words.get(at)?.to_str().filter(|word| word.starts_with('-')) {
        let (name, inline) = match word.split_once('=') {
            Some((name, _)) => (name, true),
            None => (word, false),
        };
        let name = name.replace('_', "-");
        match () {
            () if LEADING_WITH_VALUE.contains(&name.as_str()) => at += if inline { 1 } else { 2 },
            () if LEADING.contains(&name.as_str()) => at += 1,
            () => return None,
        }
    }
    Some((words.get(1..at)?, at))
}

/// Removes the further commands of a chain such as `build flash monitor`, and returns the command
/// that does all of it.
fn chained(command: &str, rest: &mut Vec<OsString>) -> Option<&'static str> {
    if !CHAIN.contains(&command) {
        return None;
    }
    let is_link = |word: &&OsString| {
        word.to_str().is_some_and(|word| CHAIN.contains(&word)) && !Path::new(word).exists()
    };
    let count = rest.iter().take_while(is_link).count();
    let links: Vec<OsString> = rest.drain(..count).collect();
    let has = |name: &str| command == name || links.iter().any(|link| link == name);
    match () {
        () if count == 0 && command != "app-flash" => None,
        () if has("monitor") && !has("flash") && !has("app-flash") => Some("monitor"),
        () if has("monitor") => Some("run"),
        () if has("flash") || has("app-flash") => Some("flash"),
        () => Some("build"),
    }
}

/// Expands `@FILE` to the words in it, such as ESP-IDF's `flash_args`. Its files are relative to
/// `FILE` if they are not found in the current directory.
fn with_argument_files(words: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let mut all = Vec::new();
    for word in words {
        let Some(file) = word.to_str().and_then(|word| word.strip_prefix('@')) else {
            all.push(word);
            continue;
        };
        let path = Path::new(file);
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::input(format!("cannot read {file}: {error}")))?;
        let beside = |word: &str| -> PathBuf {
            let beside = path.parent().unwrap_or(Path::new("")).join(word);
            let is_file = !word.starts_with('-') && beside.is_file();
            if is_file && !Path::new(word).exists() { beside } else { word.into() }
        };
        let words = text.lines().flat_map(quoted_words);
        all.extend(words.map(|word| beside(&word).into_os_string()));
    }
    Ok(all)
}

/// Splits a line into words at white space; quotes keep a word together.
fn quoted_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Rewrites the words of one command line.
struct Rewriter {
    group: Group,
    command: String,
    words: Vec<OsString>,
    notes: Vec<&'static str>,
}

impl Rewriter {
    fn all(&mut self, words: &[OsString], leading: bool) -> Result<(), Failure> {
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            let Some(text) = word.to_str().filter(|text| text.starts_with('-') && text.len() > 1)
            else {
                self.words.push(word.clone());
                continue;
            };
            if text == "--" {
                self.words.extend_from_slice(&words[at - 1..]);
                return Ok(());
            }
            let (name, inline) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text, None),
            };
            // No option of esplice has an underscore.
            let name =
                if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() };
            let value = inline.or_else(|| words.get(at)?.to_str());
            let given = Given { name: &name, value, leading };
            match options::turn(self.group, &self.command, given)? {
                None => {
                    self.words.push(match inline {
                        Some(value) => format!("{name}={value}").into(),
                        None => name.into(),
                    });
                }
                Some((turn, takes)) => {
                    if takes && value.is_none() {
                        return Err(Failure::usage(format!("{name} needs a value")));
                    }
                    if takes && inline.is_none() {
                        at += 1;
                    }
                    self.take(&name, turn)?;
                }
            }
        }
        Ok(())
    }

    /// Removes monitor options if no monitor was requested, because they have no effect for
    /// espflash.
    fn drop_monitor_options(&mut self) {
        if self.command != "flash" && self.group != Group::Write {
            return;
        }
        for option in ["--monitor-baud", "--rom"] {
            while let Some(at) = self.words.iter().position(|word| word == option) {
                self.words.drain(at..self.words.len().min(at + 2));
            }
        }
    }

    fn take(&mut self, name: &str, turn: Turn) -> Result<(), Failure> {
        match turn {
            Turn::Words(words) => self.words.extend(words.into_iter().map(OsString::from)),
            Turn::Dropped => {}
            Turn::Noted(note) => self.notes.push(note),
            Turn::Refused(advice) => {
                let message = format!("{name} has no counterpart in `esplice {}`", self.command);
                return Err(Failure::usage(message).hint(advice));
            }
            Turn::Monitors if self.command == "flash" => self.command = "run".into(),
            Turn::Monitors => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected` is the line, or the hint of the error.
    #[track_caller]
    fn check(line: &str, expected: &str) {
        let commands = [
            "build",
            "save-image",
            "elf2image",
            "flash",
            "run",
            "monitor",
            "write",
            "write-flash",
            "write-bin",
            "verify-flash",
            "read-flash",
            "erase-flash",
            "erase-region",
            "erase-parts",
            "hash",
            "checksum-md5",
            "load-ram",
            "reset",
            "read-mac",
            "merge-bin",
            "image",
            "image-info",
            "list-ports",
        ];
        let commands = commands.map(str::to_owned);
        let words = format!("esplice {line}");
        let words = words.split(' ').filter(|word| !word.is_empty()).map(OsString::from);
        let said = match rewritten(words, &commands) {
            Ok(line) => {
                let words = line.words.iter().skip(1).map(|word| word.to_string_lossy());
                words.collect::<Vec<_>>().join(" ")
            }
            Err(failure) => failure.hint.unwrap_or(failure.message),
        };
        assert_eq!(said, expected, "{line}");
    }

    #[test]
    fn esplices_own_words_stay() {
        for line in [
            "",
            "--version",
            "--help",
            "build --target esp32c3 -p fw --bin a -F x,y -r .",
            "flash -p fw --port sim:esp32c3 --baud 460800 --offset 0x10000 a.bin",
            "run --expect _x_y --timeout 5s",
            "write --stay --port p 0x1000 a_b.bin",
            "merge-bin -o hex 0 raw",
            "merge-bin --format json",
            "image merge --format hex",
            "monitor --filter *:W",
            "flsh --port x",
        ] {
            check(line, line);
        }
    }

    #[test]
    fn esptools_lines() {
        check(
            "--chip esp32c3 --port /dev/ttyUSB0 --baud 460800 --before default_reset --after \
             hard_reset write_flash -z --flash_mode dio --flash_freq 80m --flash_size detect 0x0 b \
             0x10000 a",
            "write-flash --chip esp32c3 --port /dev/ttyUSB0 --baud 460800 --flash-mode dio \
             --flash-freq 80m --flash-size detect 0x0 b 0x10000 a",
        );
        check(
            "-c esp32c3 -p COM3 -b 921600 write-flash -fm dio -ff 40m -fs 4MB -e -u 0 a",
            "write-flash --chip esp32c3 --port COM3 --baud 921600 --flash-mode dio --flash-freq 40m \
             --flash-size 4MB --erase-all 0 a",
        );
        check("-p x --no-stub read_flash -p 0 ALL a", "read-flash --port x --stub none 0 ALL a");
        check("--port=x -a no-reset erase_flash", "erase-flash --port x --stay");
        check("--before usb-reset -p x read-mac", "read-mac --reset usb-serial-jtag --port x");
        check("--before no_reset -p x read_mac", "read-mac --reset none --port x");
        check("-p x -b 115200 --no-stub load_ram a", "load-ram --port x a");
        check("--chip esp32c3 image_info a", "image-info a");
        check("--chip auto -p x verify_flash --diff 0 a", "verify-flash --port x 0 a");
        check(
            "--chip esp32c3 elf2image --flash_mode dio --min-rev-full 3 --max-rev-full 199 \
             --secure-pad-v2 --elf-sha256-offset 0xb0 --use_segments -o a.bin a.elf",
            "elf2image --chip esp32c3 --flash-mode dio --min-rev 0.3 --max-rev 1.99 --secure-pad v2 \
             --image-source segments -o a.bin a.elf",
        );
        check("elf2image --secure-pad a.elf", "elf2image --secure-pad v1 a.elf");
        check("build --secure-pad v2 a.elf", "build --secure-pad v2 a.elf");
        check(
            "--chip esp32c3 merge_bin -f hex -fm dio -o a 0 b",
            "merge-bin --chip esp32c3 --as hex --flash-mode dio -o a 0 b",
        );
        check("merge-bin --format=uf2 -o a 0 b", "merge-bin --as uf2 -o a 0 b");
        check("version", "--version");
    }

    #[test]
    fn espflashs_lines() {
        check("flash --monitor a", "run a");
        check(
            "flash a -M -r 921600 -p /dev/x -B 460800",
            "run a --monitor-baud 921600 --port /dev/x --baud 460800",
        );
        check(
            "flash -c esp32c3 -f 80mhz -m qio -s 4mb --no-skip --no-stub a",
            "flash --chip esp32c3 --flash-freq 80m --flash-mode qio --flash-size 4mb --full --stub none a",
        );
        check(
            "save-image --chip esp32c3 --merge --min-chip-rev 0.3 a b",
            "save-image --chip esp32c3 --merge --min-rev 0.3 a b",
        );
        check("flash a -r 921600 --rom-elf r", "flash a");
        check("write-bin -r 115200 --no-reset 0 a", "write-bin 0 a");
        check("checksum-md5 -p x 0 0x1000", "checksum-md5 --port x 0 0x1000");
        check("list-ports -a", "list-ports --all");
        check("monitor -p x -r 9600 --rom-elf r", "monitor --port x --monitor-baud 9600 --rom r");
        check("erase-parts -p x nvs,otadata", "erase-parts --port x nvs,otadata");
    }

    #[test]
    fn idf_pys_and_tinygos_lines() {
        check("-p /dev/x flash monitor", "run --port /dev/x");
        check("-p /dev/x -b 460800 build flash monitor", "run --port /dev/x --baud 460800");
        check("build flash", "flash");
        check("app-flash", "flash");
        check(
            "flash -target=xiao-esp32c3 -port /dev/x -monitor main.go",
            "run --target xiao-esp32c3 --port /dev/x main.go",
        );
        check(
            "build -target own.json -ldflags -X=main.v=1 -stack-size=4KB -o a.bin .",
            "build --tinygo-target own.json --ldflags=-X=main.v=1 --stack-size 4KB -o a.bin .",
        );
    }

    #[test]
    fn what_has_no_counterpart_is_answered() {
        check("write_flash --encrypt 0 a", "esplice does not write encrypted flash");
        check("--before odd write-flash 0 a", "known are default-reset, usb-reset and no-reset");
        check(
            "set-target esp32c3",
            "name the chip with --target, or as target in [project] of esplice.toml",
        );
        check("flash --ram a", "`esplice load FILE` loads a program into RAM");
        check("write-flash -fm", "-fm needs a value");
        check(
            "write-flash @/nowhere/args",
            "cannot read /nowhere/args: No such file or directory (os error 2)",
        );
    }

    #[test]
    fn files_of_arguments_are_expanded() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("a b.bin"), "").unwrap();
        std::fs::write(at("flash_args"), "--flash_mode dio\n0x0 'a b.bin'\n0x8000 t.bin\n")
            .unwrap();
        let words =
            ["esplice".into(), "write_flash".into(), format!("@{}", at("flash_args").display())];
        let commands = ["write-flash".to_owned()];
        let line = rewritten(words.map(OsString::from), &commands).unwrap();
        let expected: Vec<OsString> = vec![
            "esplice".into(),
            "write-flash".into(),
            "--flash-mode".into(),
            "dio".into(),
            "0x0".into(),
            at("a b.bin").into(),
            "0x8000".into(),
            "t.bin".into(),
        ];
        assert_eq!(line.words, expected);
        assert_eq!(quoted_words(r#" a "b c" '' d"e"f "#), ["a", "b c", "", "def"]);
    }
}
