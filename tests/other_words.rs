//! Words of esptool, espflash and idf.py: each works as in that tool, or is answered with the
//! command to use. Facts that those programs print are compared.
#![cfg(unix)]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::support::{
    self, built_hello, run,
    served::{Board, FLASH_LEN, esptool, peer},
};
use md5::{Digest as _, Md5};

fn espflash() -> Command {
    let install = "cargo install espflash --locked --version 4.7.0";
    let mut command = Command::new(peer("ESPLICE_ESPFLASH", "espflash", "--version", install));
    command.env("ESPFLASH_SKIP_UPDATE_CHECK", "true").env_remove("RUST_LOG");
    command
}

/// Returns the output of a program with these arguments.
fn text(command: &mut Command, words: &[&str]) -> String {
    // Wide enough for tables without line breaks.
    let output = command.args(words).env("COLUMNS", "400").env("NO_COLOR", "1").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the commands listed in a help text: words at the start of lines, followed by a
/// description.
fn commands(help: &str) -> BTreeSet<String> {
    let is_name = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let lines = help.lines().map(|line| line.trim_start_matches(['│', ' ']));
    let names = lines.filter_map(|line| line.split_once("  "));
    names.map(|(name, _)| name.to_owned()).filter(|name| is_name(name)).collect()
}

/// Returns the options listed in a help text, in all spellings, each with a possible value.
fn options(help: &str) -> BTreeSet<(String, Option<String>)> {
    let mut found = BTreeSet::new();
    for line in help.lines() {
        let shown = line.trim_start_matches(['│', ' ', '*']);
        // Text further to the right is a description.
        let indent = line.chars().count() - shown.chars().count();
        if !shown.starts_with('-') || indent > 8 {
            continue;
        }
        let line = shown;
        let mut names = Vec::new();
        let mut value = None;
        for word in line.split([' ', ',']).filter(|word| !word.is_empty()) {
            if word.starts_with('-') && word.len() > 1 && value.is_none() {
                names.push(word.to_owned());
                continue;
            }
            let is_value = word.starts_with(['<', '[']) && word.len() > 2
                || word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase() || c == '-');
            value = is_value.then(|| word.trim_matches(['<', '>', '[', ']']).to_owned());
            break;
        }
        found.extend(names.into_iter().map(|name| (name, value.clone())));
    }
    found
}

/// Returns a value for an option: the first one listed in its help, or one that fits its type.
fn sample(option: &str, kind: &str) -> String {
    let first = kind.split('|').next().unwrap_or_default();
    let fitting = match option {
        "--chip" | "-c" => "esp32c3",
        "--port" | "-p" => "/dev/ttyUSB0",
        "--baud" | "-B" | "--monitor-baud" | "-r" => "115200",
        "-b" if kind == "BAUD-RATE" => "115200",
        "--before" | "-b" | "--after" | "-a" => "no-reset",
        "--flash-freq" | "-f" if kind == "FREQ" => "40mhz",
        "--flash-mode" | "-m" if kind == "MODE" => "dio",
        "--flash-size" | "-s" | "--pad-to-size" if kind != "TEXT" => "4mb",
        "--min-chip-rev" => "0.3",
        "--mmu-page-size" => "65536",
        "--format" if kind == "FORMAT" => "esp-idf",
        "--format" | "-f" => "hex",
        "--partition-table-offset" => "0x8000",
        _ if first != kind => first,
        _ if kind.starts_with("INTEGER") => "1",
        _ => "x",
    };
    fitting.to_owned()
}

/// Returns whether the arguments are understood. Arguments that are neither understood nor answered
/// with a replacement are added to `strange`.
fn understood(directory: &Path, words: &[&str], strange: &mut Vec<String>) -> bool {
    let mut command = support::esplice(directory);
    let said = support::finish(command.args(words).arg("--help"));
    let is_answered = said.exit == 2
        && said.err.contains("hint: ")
        && (said.err.contains("is a command of") || said.err.contains("has no counterpart"));
    if said.exit != 0 && !is_answered {
        strange.push(format!(
            "{}: {}",
            words.join(" "),
            said.err.lines().next().unwrap_or_default()
        ));
    }
    said.exit == 0
}

#[test]
fn every_word_in_the_other_tools_help_is_understood() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut strange = Vec::new();
    let mut check = |of: &dyn Fn(&[&str]) -> String, least: usize| {
        let all = commands(&of(&["--help"]));
        assert!(all.len() >= least, "{all:?}");
        for command in all.iter().filter(|command| *command != "help") {
            understood(at, &[&command.replace('-', "_")], &mut strange);
            if !understood(at, &[command], &mut strange) {
                continue;
            }
            let options = options(&of(&[command, "--help"]));
            for (option, kind) in options {
                let own = ["--help", "-h", "-V", "--version"].contains(&option.as_str());
                if own && command != "elf2image" {
                    continue;
                }
                if own && option != "--version" {
                    continue;
                }
                let value = kind.map(|kind| sample(&option, &kind));
                let mut words = vec![command.as_str(), &option];
                words.extend(value.as_deref());
                understood(at, &words, &mut strange);
            }
        }
    };
    check(&|words| text(&mut esptool(), words), 15);
    check(&|words| text(&mut espflash(), words), 14);
    // Options before esptool's commands.
    for (option, kind) in options(&text(&mut esptool(), &["--help"])) {
        if option == "--help" || option == "-h" {
            continue;
        }
        let value = kind.map(|kind| sample(&option, &kind));
        let mut words = vec![option.as_str()];
        words.extend(value.as_deref());
        words.push("write-flash");
        understood(at, &words, &mut strange);
    }
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn other_tools_words_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    for (words, told) in [
        ("set-target esp32c3", &["is a command of idf.py", "--target"][..]),
        ("menuconfig", &["is a command of idf.py", "esplice.toml"]),
        (
            "write_flash --encrypt 0 a.bin",
            &["--encrypt has no counterpart in `esplice write-flash`"],
        ),
        ("hold-in-reset", &["is a command of espflash", "esplice reset --download"]),
        ("upload", &["esplice flash"]),
    ] {
        run(directory.path(), words).check(2, told);
    }
    // As an event with `--format json`.
    let said = run(directory.path(), "menuconfig --format json").check(2, &[]);
    assert!(said.out.contains("\"event\":\"error\",\"code\":2"), "{said:#?}");
}

/// Returns the first MAC address in a text.
fn mac(text: &str) -> Option<&str> {
    let is_mac = |word: &&str| {
        word.len() == 17 && word.split(':').count() == 6 && word.split(':').all(|b| b.len() == 2)
    };
    text.split_whitespace().find(is_mac)
}

fn after<'a>(text: &'a str, label: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.split_once(label));
    line.map(|(_, value)| value.trim()).unwrap_or_default()
}

#[test]
fn facts_are_those_that_esptool_prints() {
    let board = Board::new(&["--rfc2217", "127.0.0.1:0", "--time", "virtual"]);
    let theirs = |word: &str| {
        let mut command = esptool();
        command.args(["--chip", "esp32c3", "--port", &board.port, word]);
        board.run(&mut command, &[])
    };
    let ours = |words: &str| {
        let said = run(board.directory(), &format!("--port {} {words}", board.port));
        said.check(0, &[]).out
    };
    let (found, expected) = (ours("read_mac"), theirs("read-mac"));
    assert!(mac(&found).is_some(), "{found}");
    assert_eq!(mac(&found), mac(&expected), "{found}{expected}");
    assert_eq!(mac(&ours("chip-id")), mac(&expected));
    let (found, expected) = (ours("flash_id"), theirs("flash-id"));
    for label in ["Manufacturer:", "Device:", "lash size:"] {
        assert_eq!(after(&found, label), after(&expected, label), "{found}{expected}");
    }
}

/// Runs esptool's command line on one board and the same after `esplice` on another: both flashes
/// must be equal.
#[test]
fn write_flash_does_what_esptools_does() {
    let hello = built_hello("hello\r\n");
    let merged = fs::read(hello.path().join("hello.merged.bin")).unwrap();
    let full = vec![0x5a; FLASH_LEN];
    for options in [
        "write_flash -z --flash_mode qio --flash_freq 40m --flash_size detect",
        "write-flash -u -fm dout -ff 20m -fs 2MB -e",
        "write-flash --flash-mode keep --erase-all",
    ] {
        let board =
            Board::with_flash(&["--rfc2217", "127.0.0.1:0", "--time", "virtual"], Some(&full));
        let ours =
            Board::with_flash(&["--rfc2217", "127.0.0.1:0", "--time", "virtual"], Some(&full));
        for board in [&board, &ours] {
            fs::write(board.path("boot.bin"), &merged[..0x8000]).unwrap();
            fs::write(board.path("app.bin"), &merged[0x1_0000..]).unwrap();
        }
        let line = |port: &str| {
            format!("--chip esp32c3 --port {port} {options} 0x0 boot.bin 0x10000 app.bin")
        };
        // esptool accepts words of its older releases with a warning.
        board.run(esptool().args(line(&board.port).split(' ')), &[]);
        run(ours.directory(), &line(&ours.port)).check(0, &[]);
        // Like esplice, esptool erases the rest of a file's last sector.
        assert!(ours.flash() == board.flash(), "{options}: the flashes differ");
    }
}

#[test]
fn partitions_are_erased_and_hashed_by_espflashs_words() {
    let directory = tempfile::tempdir().unwrap();
    let mut flash = vec![0x5a; FLASH_LEN];
    let table = esplice_image::PartitionTable::esp_idf_default().to_bytes().unwrap();
    flash[0x8000..][..table.len()].copy_from_slice(&table);
    fs::write(directory.path().join("b.flash"), &flash).unwrap();
    let board = "--port sim:esp32c3,flash=b.flash --no-stub";
    let md5: String =
        Md5::digest(&flash[0x1000..0x3000]).iter().map(|byte| format!("{byte:02x}")).collect();
    let said = run(directory.path(), &format!("checksum_md5 {board} 0x1000 0x2000")).check(0, &[]);
    assert!(said.out.contains(&format!("{md5}  ")), "{said:#?}");

    run(directory.path(), &format!("erase-parts {board} nvs,nowhere")).check(6, &["nowhere"]);
    let untouched = fs::read(directory.path().join("b.flash")).unwrap();
    assert!(untouched == flash, "nothing is erased before all are found");
    run(directory.path(), &format!("erase_parts {board} nvs,phy_init")).check(0, &[]);
    flash[0x9000..0xf000].fill(0xff);
    flash[0xf000..0x1_0000].fill(0xff);
    assert!(fs::read(directory.path().join("b.flash")).unwrap() == flash);
}

/// The merged image has espflash's shape: its bootloader to the byte, the app at its offset, and
/// the flash's size unless padding is skipped. espflash assumes 40 MHz if no frequency is given.
#[test]
fn a_merged_image_has_espflashs_shape() {
    let hello = built_hello("hello\r\n");
    let at = hello.path();
    for (number, options) in
        ["--merge -f 80mhz", "--merge --skip-padding -s 8mb -f 40mhz"].iter().enumerate()
    {
        let (ours, theirs) = (format!("ours{number}.bin"), format!("theirs{number}.bin"));
        let line = format!("save-image --chip esp32c3 {options} hello.elf");
        let words: Vec<&str> = line.split(' ').collect();
        let output = espflash().args(&words).arg(&theirs).current_dir(at).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        run(at, &format!("{line} {ours}")).check(0, &[]);
        let (found, expected) =
            (fs::read(at.join(&ours)).unwrap(), fs::read(at.join(theirs)).unwrap());
        // The default tables and the padding of segments differ between the tools.
        let app = fs::read(at.join("hello.bin")).unwrap();
        let end = 0x1_0000 + app.len();
        assert!(found[..0x8000] == expected[..0x8000], "{options}: the bootloaders differ");
        assert!(found[0x1_0020..end - 32] == app[0x20..app.len() - 32], "{options}");
        assert!(found[end..].iter().all(|byte| *byte == 0xff), "{options}");
        match options.contains("--skip-padding") {
            true => assert_eq!(found.len(), end, "{options}"),
            false => assert_eq!(found.len(), expected.len(), "{options}"),
        }
        assert!(!at.join(format!("ours{number}.elf")).exists(), "nothing else is written");
    }
}

#[test]
fn flash_with_monitor_runs_the_firmware() {
    let hello = built_hello("hello\r\n");
    let words = r"--timeout 5s --expect hello\r\n --port sim:esp32c3 hello.elf";
    for line in [format!("flash --monitor {words}"), format!("flash monitor {words}")] {
        let said = run(hello.path(), &line).check(0, &["Expected output found"]);
        assert!(said.out.ends_with("hello\r\n"), "{said:#?}");
    }
}

#[test]
fn an_idf_projects_flash_args_are_written() {
    let hello = built_hello("hello\r\n");
    let merged = fs::read(hello.path().join("hello.merged.bin")).unwrap();
    let build = hello.path().join("build");
    fs::create_dir(&build).unwrap();
    fs::write(build.join("boot.bin"), &merged[..0x8000]).unwrap();
    fs::write(build.join("table.bin"), &merged[0x8000..0x9000]).unwrap();
    fs::write(build.join("app.bin"), &merged[0x1_0000..]).unwrap();
    let args = "--flash_mode dio --flash_freq 80m --flash_size 4MB\n0x0 boot.bin\n0x10000 app.bin\n\
                0x8000 table.bin\n";
    fs::write(build.join("flash_args"), args).unwrap();
    let words = "--port sim:esp32c3,flash=b.flash --no-stub write_flash @build/flash_args";
    run(hello.path(), words).check(0, &[]);
    let flash = fs::read(hello.path().join("b.flash")).unwrap();
    assert!(
        flash.starts_with(&merged[..0x9000]) && flash[0x1_0000..].starts_with(&merged[0x1_0000..])
    );
}

/// Every command of esplice in the tables of "Coming from another tool" exists, with its flags.
#[test]
fn commands_for_those_who_come_from_other_tools_exist() {
    let page = crate::support::repository().join("docs/src/guide/coming-from.md");
    let page = fs::read_to_string(page).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let ours = line.trim_matches('|').split(" | ").last().unwrap();
        for command in ours.split('`').skip(1).step_by(2) {
            let Some(words) = command.strip_prefix("esplice ") else { continue };
            let words: Vec<&str> = words.split_whitespace().filter(|word| *word != "…").collect();
            let mut path = vec![words[0]];
            path.extend(
                words
                    .get(1)
                    .filter(|_| ["image", "partition", "nvs", "layout"].contains(&words[0])),
            );
            let said = run(directory.path(), &format!("{} --help", path.join(" ")));
            assert_eq!(said.exit, 0, "{command}");
            for flag in words.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                assert!(said.out.contains(*flag), "{command}: {flag}");
            }
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}
