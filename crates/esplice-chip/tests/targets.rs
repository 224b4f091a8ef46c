//! Every file of `targets/` passes every check, and every value in it has a source.

use std::{fs, path::PathBuf};

use esplice_chip::{Addr, Board, Chip, ChipDb, ChipError, Target};

fn target_files(folder: &str) -> Vec<(String, String)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../targets").join(folder);
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .filter(|path| !path.ends_with("Cargo.toml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn chip_files() -> Vec<(String, String)> {
    target_files("").into_iter().filter(|(name, _)| !name.contains(".rom.")).collect()
}

fn board_files() -> Vec<(String, String)> {
    target_files("boards")
}

#[test]
fn no_two_chips_share_a_name_or_an_id() {
    let chips: Vec<_> = ChipDb::embedded().chips().collect();
    for (i, a) in chips.iter().enumerate() {
        for b in &chips[i + 1..] {
            let (a_id, b_id) = (a.image.chip_id, b.image.chip_id);
            assert!(a.name != b.name && a_id != b_id, "{} and {}", a.name, b.name);
            let shared = a.loader.magic_values.iter().find(|m| b.loader.magic_values.contains(m));
            assert_eq!(shared, None, "magic of {} and {}", a.name, b.name);
        }
    }
}

/// If two frequencies share a code, the default one is returned.
#[test]
fn flash_frequencies_are_named_by_their_codes() {
    for (chip, code, name) in [
        ("esp32c3", 0x0, Some("40m")),
        ("esp32c6", 0x0, Some("80m")),
        ("esp32c6", 0x2, Some("20m")),
        ("esp32c6", 0xf, None),
        ("esp32h2", 0xf, Some("48m")),
    ] {
        let chip = ChipDb::embedded().find(chip).unwrap();
        assert_eq!(chip.image.flash_freq_name(code), name, "{} {code}", chip.name);
    }
}

#[test]
fn every_chip_passes_every_check() {
    for (name, text) in chip_files() {
        let chip = Chip::parse(&name, &text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(format!("{}.toml", chip.name), name);
        assert!(ChipDb::embedded().find(&chip.display_name).is_ok(), "{name} is embedded");
        let by_id = ChipDb::embedded().find_by_id(chip.image.chip_id).map(|found| &found.name);
        assert_eq!(by_id, Some(&chip.name));
        assert!(ChipDb::embedded().chip_names().contains(&chip.name.as_str()));
    }
}

#[test]
fn every_board_passes_every_check() {
    let files = board_files();
    for (name, text) in &files {
        let board = Board::parse(name, text, ChipDb::embedded()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(&format!("{}.toml", board.name), name);
        let found =
            ChipDb::embedded().find_target(&board.name.replace('-', "_").to_uppercase()).unwrap();
        assert_eq!(found.board().map(|found| &found.name), Some(&board.name), "{name} is embedded");
    }
    assert!(files.len() >= 12, "only {} boards", files.len());
    assert_eq!(ChipDb::embedded().boards().count(), files.len());
}

/// A value has a source if its line has a comment, or if a comment with `Source:` is above its
/// table or above a parent table (`[sim]` for `[[sim.peripheral]]`).
#[test]
fn every_value_has_a_source() {
    for (name, text) in chip_files().into_iter().chain(board_files()) {
        let unsourced = lines_without_source(&text);
        assert!(unsourced.is_empty(), "{name}: no source for {unsourced:#?}");
    }
    assert_eq!(
        lines_without_source("# Source: TRM\n[a]\nx = 1\n[[a.b]]\ny = 2\n[c]\nz = 3"),
        ["z = 3"]
    );
}

fn lines_without_source(text: &str) -> Vec<&str> {
    let mut sourced_tables: Vec<&str> = Vec::new();
    let mut comment_has_source = false;
    let mut covered = false;
    let mut missing = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') {
            comment_has_source |= line.contains("Source:");
        } else if is_header(line) {
            let table = line.trim_matches(['[', ']']);
            if comment_has_source {
                sourced_tables.push(table);
            }
            covered = sourced_tables.iter().any(|sourced| {
                table
                    .strip_prefix(sourced)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            comment_has_source = false;
        } else if line.is_empty() {
            comment_has_source = false;
        } else if line.contains('=') && !covered && !line.contains("# ") {
            missing.push(line);
        }
    }
    missing
}

/// Returns whether a line is a table header and not a row of an array.
fn is_header(line: &str) -> bool {
    let name = line.trim_matches(['[', ']']);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    line.starts_with('[') && line.ends_with(']') && name.chars().all(plain)
}

fn check_refused(change: (&str, &str), expected: &str) {
    let (name, text) = chip_files().into_iter().find(|(name, _)| name == "esp32c3.toml").unwrap();
    assert!(text.contains(change.0), "{:?} is not in {name}", change.0);
    let parsed = Chip::parse(&name, &text.replace(change.0, change.1));
    let error = parsed.map(|chip| chip.name).unwrap_err();
    assert!(error.to_string().contains(expected), "{error} does not contain {expected:?}");
}

#[test]
fn contradictions_are_refused() {
    check_refused(("addr = 0x4200_0000", "addr = 0x403d_0000"), "regions iram and irom overlap");
    check_refused(("default-flash-freq = \"80m\"", "default-flash-freq = \"81m\""), "has no code");
    check_refused(("chip-id = 5", "chipid = 5"), "unknown field `chipid`");
    check_refused(("access = \"rx\"", "access = \"rq\""), "is not made of r, w and x");
    check_refused(("block = \"block2\"", "block = \"block9\""), "unknown block");
    check_refused(("\"40m\" = 0x0", "\"40m\" = 0x10"), "code 0x10 of 40m does not fit in 4 bits");
    check_refused(("addr = 0x6000_8844", "addr = 0x6000_8840"), "block0 and block1 overlap");
    check_refused(("bit = 0, count = 16", "bit = 0, count = 15"), "mac has 47 bits");
    check_refused(("name = \"mac\"", "name = \"mac0\""), "no efuse field is called mac");
    check_refused(("magic-addr = 0x4000_1000\n", ""), "must be set together");
    check_refused(
        ("security-info-has-chip-id = true", "security-info-has-chip-id = true\nchip-id = 5"),
        "unknown field `chip-id`",
    );
    check_refused(("security-info = true\n", "security-info = false\n"), "without security-info");
    check_refused(("\"-mabi=ilp32\"", "\"ilp32\""), "\"ilp32\" is not a flag");
    check_refused(("kind = \"rom\"", "kind = \"psarm\""), "unknown variant `psarm`");
    check_refused(("mmu-page-sizes = [0x1_0000]", "mmu-page-sizes = [3]"), "powers of two");
    check_refused(("base = 0x6002_6000", "base = 0x6002_3800"), "overlap");
    check_refused(("base = 0x600c_e000", "base = 0x600d_1000"), "debug-assist lies outside");
    check_refused(("jedec = [0xef, 0x40, 0x16]", "jedec = [0xef, 0x40, 0x28]"), "has no code");
}

#[test]
fn a_misspelt_key_is_answered_with_the_nearest() {
    let (name, text) = chip_files().into_iter().find(|(name, _)| name == "esp32c3.toml").unwrap();
    for (right, wrong, hint) in [
        ("chip-id = 5", "chipid = 5", Some("did you mean \"chip-id\"?")),
        ("[toolchain]", "[toolchian]", Some("did you mean \"toolchain\"?")),
        ("kind = \"flash\"", "kind = \"falsh\"", Some("did you mean \"flash\"?")),
        ("chip-id = 5", "wholly-other = 5", None),
        ("chip-id = 5", "chip-id = \"5\"", None),
    ] {
        let parsed = Chip::parse(&name, &text.replace(right, wrong));
        let error = parsed.map(|chip| chip.name).unwrap_err();
        assert_eq!(error.hint().as_deref(), hint, "{wrong}: {error}");
    }
}

#[test]
fn a_misspelt_chip_is_answered_with_the_nearest() {
    let error = ChipDb::embedded().find("esp32cc3").unwrap_err();
    assert!(matches!(&error, ChipError::Unknown { nearest: Some(n), .. } if n == "esp32c3"));
    assert_eq!(error.hint().as_deref(), Some("did you mean \"esp32c3\"?"));
}

#[test]
fn efuse_fields_are_put_together_lowest_piece_first() {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let minor = chip.efuse.field("wafer-version-minor").unwrap();
    let addrs = minor.addrs();
    assert_eq!(addrs, [Addr(0x6000_8850), Addr(0x6000_8858)]);
    let value = minor.value(|addr| if addr == addrs[0] { 0b101 << 18 } else { 1 << 23 });
    assert_eq!(value, 0b1101);
    let mut words = [0_u32; 2];
    minor.put(0b1101, |addr, bits| words[usize::from(addr == addrs[1])] |= bits);
    assert_eq!(words, [0b101 << 18, 1 << 23]);
}

#[test]
fn the_bits_of_a_field_may_lie_in_several_blocks_and_stand_for_other_numbers() {
    let chip = ChipDb::embedded().find("esp32").unwrap();
    let major = chip.efuse.field("wafer-version-major").unwrap();
    let addrs = [Addr(0x3ff5_a00c), Addr(0x3ff5_a014), Addr(0x3ff6_607c)];
    assert_eq!(major.addrs(), addrs);
    let words = [1 << 15, 1 << 20, 1 << 31];
    for (set, revision) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
        let word = |addr| (0..set).find(|n| addrs[*n] == addr).map_or(0, |n| words[n]);
        assert_eq!(major.value(word), revision);
        let mut burnt = [0; 3];
        major.put(revision, |addr, bits| {
            let place = addrs.iter().position(|a| *a == addr).unwrap();
            burnt[place] |= bits;
        });
        assert_eq!(burnt[..set], words[..set]);
    }
}

#[test]
fn watchdogs_are_stopped_and_used_by_writes() {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let list = |writes: Vec<esplice_chip::RegisterWrite>| -> Vec<_> {
        writes.iter().map(|write| (write.addr.0, write.value, write.mask)).collect()
    };
    let all = u32::MAX;
    assert_eq!(
        list(chip.watchdog.stop()),
        [
            (0x6000_80a8, 0x50d8_3aa1, all),
            (0x6000_8090, 0, all),
            (0x6000_80a8, 0, all),
            (0x6000_80b0, 0x8f1d_312a, all),
            (0x6000_80ac, 1 << 31, 1 << 31),
            (0x6000_80b0, 0, all),
        ]
    );
    assert_eq!(
        list(chip.watchdog.reset().unwrap()),
        [
            (0x6000_80a8, 0x50d8_3aa1, all),
            (0x6000_8094, 2000, all),
            (0x6000_8090, 0xd000_0104, all),
            (0x6000_80a8, 0, all),
        ]
    );
    assert_eq!(ChipDb::embedded().find("esp32c6").unwrap().watchdog.reset(), None);
}

fn check_board_refused(change: (&str, &str), expected: &str) {
    let name = "xiao-esp32c3.toml";
    let (_, text) = board_files().into_iter().find(|(n, _)| n == name).unwrap();
    assert!(text.contains(change.0), "{:?} is not in {name}", change.0);
    let error = Board::parse(name, &text.replace(change.0, change.1), ChipDb::embedded())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with(name) && error.contains(expected), "{error}: no {expected:?}");
}

#[test]
fn boards_that_their_chip_cannot_have_are_refused() {
    let name = "name = \"xiao-esp32c3\"";
    check_board_refused((name, "name = \"Xiao\""), "is not made of a-z, 0-9 and -");
    check_board_refused((name, "name = \"esp32-c3\""), "is already used by the chip esp32c3");
    check_board_refused(("chip = \"esp32c3\"", "chip = \"esp32cc3\""), "did you mean \"esp32c3\"");
    check_board_refused(("\"4MB\"", "\"3MB\""), "flash-size \"3MB\" has no code on the ESP32-C3");
    check_board_refused(("\"4MB\"", "\"4MB\"\nflash-freq = \"48m\""), "flash-freq \"48m\"");
    check_board_refused(("\"4MB\"", "\"4MB\"\nflash-mode = \"octal\""), "not one of qio");
    check_board_refused(("\"4MB\"", "\"4MB\"\npsram = \"lots\""), "psram \"lots\" is not a size");
    check_board_refused(("\"4MB\"", "\"4MB\"\nxtal-mhz = 26"), "no crystal of 26 MHz");
    check_board_refused(("\"serial-jtag\"", "\"otg\""), "the ESP32-C3 has no usb Otg");
    check_board_refused(("\"serial-jtag\"", "\"bridge\""), "only a bridge");
    check_board_refused(("flash-size", "flashsize"), "unknown field `flashsize`");
    check_board_refused(("\"xiao-esp32c3\"]", "\"../x\"]"), "is not a valid name");
}

#[test]
fn a_misspelt_board_is_answered_with_the_nearest() {
    for (name, nearest) in [("xiao-esp32c4", "xiao-esp32c3"), ("esp32cc3", "esp32c3")] {
        let error = ChipDb::embedded().find_target(name).unwrap_err();
        assert_eq!(error.hint(), Some(format!("did you mean {nearest:?}?")), "{name}");
    }
    assert!(
        ChipDb::embedded()
            .find_target("nothing-like-it")
            .unwrap_err()
            .hint()
            .unwrap()
            .starts_with("known chips")
    );
}

/// A custom chip or board is known only to the `ChipDb` that it was added to, and to its later
/// clones.
#[test]
fn additions_stay_in_their_chip_db() {
    let (_, text) = chip_files().into_iter().find(|(name, _)| name == "esp32c3.toml").unwrap();
    let named =
        |name: &str| text.replace("\"esp32c3\"            # IDF", &format!("{name:?} # IDF"));
    let (mut one, mut other) = (ChipDb::default(), ChipDb::default());
    let before = one.clone();
    one.add("one.toml", &named("esp33")).unwrap();
    other.add("other.toml", &named("esp34")).unwrap();
    for (chips, known, unknown) in [(&one, "esp33", "esp34"), (&other, "esp34", "esp33")] {
        assert_eq!(chips.find(known).unwrap().name, known);
        assert!(chips.find(unknown).is_err() && chips.find_target(unknown).is_err());
        assert!(chips.chips().all(|chip| chip.name != unknown));
        assert!(chips.find("esp32c3").is_ok() && !chips.chip_names().contains(&unknown));
        assert!(ChipDb::embedded().find(known).is_err() && before.find(known).is_err());
    }
    assert_eq!(one.clone().find("esp33").unwrap().name, "esp33");
    // Both carry the ID of the chip they were copied from.
    assert_eq!(one.find_by_id(5).unwrap().name, "esp33");
    assert_eq!(before.find_by_id(5).unwrap().name, "esp32c3");

    let (_, text) =
        board_files().into_iter().find(|(name, _)| name == "xiao-esp32c3.toml").unwrap();
    let board = text
        .replace("name = \"xiao-esp32c3\"", "name = \"mine\"")
        .replace("chip = \"esp32c3\"", "chip = \"esp33\"");
    assert!(other.add("mine.toml", &board).unwrap_err().to_string().contains("esp33"));
    assert_eq!(one.add("mine.toml", &board).unwrap().chip().name, "esp33");
    assert_eq!(one.find_target("mine").unwrap().name(), "mine");
    assert_eq!(one.boards().count(), ChipDb::embedded().boards().count() + 1);
    assert!(other.find_target("mine").is_err());

    // A second addition of the same name replaces the first, and an embedded name is hidden.
    let count = one.chips().count();
    one.add("one.toml", &named("esp33").replace("chip-id = 5", "chip-id = 998")).unwrap();
    assert_eq!((one.chips().count(), one.find("esp33").unwrap().image.chip_id), (count, 998));
    one.add("own.toml", &text_with_display_name(&named("esp32c3"))).unwrap();
    assert_eq!(one.find("esp32c3").unwrap().display_name, "Mine");
    assert_eq!(one.chips().filter(|chip| chip.name == "esp32c3").count(), 1);
}

fn text_with_display_name(text: &str) -> String {
    assert!(text.contains("display-name = \"ESP32-C3\""));
    text.replace("display-name = \"ESP32-C3\"", "display-name = \"Mine\"")
}

/// A custom chip file is found by name and ID once added. A file that would make esplice write to
/// an eFuse controller is refused.
#[test]
fn chips_come_from_outside_and_spare_the_efuses() {
    let (_, text) = chip_files().into_iter().find(|(name, _)| name == "esp32c3.toml").unwrap();
    let own = text
        .replace("\"esp32c3\"            # IDF", "\"esp33\" # IDF")
        .replace("chip-id = 5", "chip-id = 999")
        .replace(
            "magic-values = [0x6921_506f, 0x1b31_506f, 0x4881_606f, 0x4361_606f]",
            "magic-values = [1]",
        );
    let mut chips = ChipDb::default();
    let Target::Chip(chip) = chips.add("mine.toml", &own).unwrap() else { panic!("no chip") };
    assert_eq!((chip.name.as_str(), chip.image.chip_id), ("esp33", 999));
    assert_eq!(chips.find("ESP33").unwrap().name, "esp33");
    assert_eq!(chips.find_by_id(999).unwrap().name, "esp33");
    assert_eq!(chips.find_by_id(5).unwrap().name, "esp32c3");

    let refused = |text: String, expected: &str| {
        let error = Target::parse("mine.toml", &text, ChipDb::embedded()).unwrap_err().to_string();
        assert!(error.starts_with("mine.toml: ") && error.contains(expected), "{error}");
    };
    let spi = "base = 0x6000_2000\ncmd";
    assert!(own.contains(spi));
    let expected = "spi register at 0x60008808 is in the eFuse controller";
    refused(own.replace(spi, "base = 0x6000_8808\ncmd"), expected);
    let watchdog = "config0 = 0x6000_8090";
    let expected = "watchdog register at 0x60008fdc is in the eFuse controller";
    refused(own.replace(watchdog, "config0 = 0x6000_8fdc"), expected);

    // A file that hides the eFuse controller's real address, for a chip that could be an embedded
    // one.
    let hidden = own
        .replace("addr = 0x6000_882c", "addr = 0x7000_002c")
        .replace("addr = 0x6000_8844", "addr = 0x7000_0044")
        .replace("addr = 0x6000_885c", "addr = 0x7000_005c")
        .replace(watchdog, "config0 = 0x6000_8fdc");
    chips.add("mine.toml", &hidden).unwrap();
    for (from, to) in
        [("chip-id = 999", "chip-id = 5"), ("magic-values = [1]", "magic-values = [0x1b31_506f]")]
    {
        refused(hidden.replace(from, to), "is in the eFuse controller");
    }
    refused(hidden.replace("name = \"esp33\"", "name = \"esp32c3\""), "is in the eFuse controller");
}
