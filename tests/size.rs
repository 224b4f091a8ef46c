//! Tests `esplice size`: rows, differences, budgets and errors.

use std::fs;

use crate::support::{
    self, Said, elf,
    elf::{Elf, Section, Symbol},
    esplice, finish,
};

/// Returns firmware with a Rust crate `app`, which has a generic function with two instances
/// (`app::call::<u32>` and `app::call::<u16>` in the v0 mangling), and a C function.
fn firmware() -> Elf {
    let mut elf = elf::hello("Hello\n");
    elf.sections[1].data.resize(0x100, 0);
    let text = elf.sections[1].addr;
    let ram = 0x3fc8_0000;
    elf.sections.push(Section { name: ".data", addr: ram, data: vec![1; 0x40], executable: false });
    let symbol = |name, addr, size, section| Symbol { name, addr, size, section };
    elf.symbols = vec![
        symbol("_RNvC3app4main", text, 0x40, 1),
        symbol("_RINvC3app4callmE", text + 0x40, 0x20, 1),
        symbol("_RINvC3app4calltE", text + 0x60, 0x20, 1),
        symbol("memcpy", text + 0x80, 0x10, 1),
        // An alias, and a symbol inside another: their bytes count once.
        symbol("memmove", text + 0x80, 0x10, 1),
        symbol("inside", text + 0x84, 0x4, 1),
        symbol("_RNvC3app7COUNTER", ram, 4, 2),
    ];
    elf
}

/// Returns a directory with that firmware as `new.elf`, and with an older one as `old.elf`.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let new = firmware();
    fs::write(directory.path().join("new.elf"), new.to_bytes()).unwrap();
    let mut old = new;
    old.symbols.retain(|symbol| symbol.name != "_RINvC3app4calltE");
    old.sections[1].data.truncate(0xf0);
    old.sections[2].data.resize(0x50, 1);
    fs::write(directory.path().join("old.elf"), old.to_bytes()).unwrap();
    directory
}

fn size(words: &str) -> Said {
    support::run(directory().path(), &format!("size new.elf --target esp32c3 {words}"))
}

#[track_caller]
fn check(words: &str, expected: &str) {
    assert_eq!(size(words).check(0, &[]).out, expected, "{words}");
}

#[test]
fn sections_crates_and_symbols_add_up_to_the_same() {
    check(
        "",
        "flash       583 bytes\nram          64 bytes\n\n    flash       ram  section\n\
         \u{20}     263         0  .flash.appdesc\n      256         0  .text\n       64        64  .data\n",
    );
    check(
        "--by crate",
        "flash       583 bytes\nram          64 bytes\n\n    flash       ram  crate\n\
         \u{20}     263         0  (no symbol in .flash.appdesc)\n      132         4  app\n\
         \u{20}      60        60  (no symbol in .data)\n      112         0  (no symbol in .text)\n\
         \u{20}      16         0  (no crate)\n",
    );
    check(
        "--by symbol --top 4",
        "flash       583 bytes\nram          64 bytes\n\n    flash       ram  symbol\n\
         \u{20}     263         0  (no symbol in .flash.appdesc)\n       60        60  (no symbol in .data)\n\
         \u{20}     112         0  (no symbol in .text)\n       64         0  app::call (×2)\n\
         \u{20}                    and 3 more\n",
    );
}

#[test]
fn a_difference_names_what_grew_and_what_shrank() {
    check(
        "--diff old.elf",
        "flash       583 bytes\nram          64 bytes\n\n    flash       ram  section\n\
         \u{20}     -16       -16  .data\n      +16         0  .text\n",
    );
    let said = size("--diff old.elf --by symbol").check(0, &[]);
    assert!(said.out.contains("      +32         0  app::call\n"), "{said:#?}");
    let said = size("--diff new.elf --by symbol").check(0, &[]);
    assert!(said.out.ends_with("\nno size has changed\n"), "{said:#?}");
}

#[test]
fn programs_get_all_rows_and_budgets() {
    let said = size("--by crate --diff old.elf --max-ram 64 --format json").check(0, &[]);
    let result = support::result(&said);
    let value = &result["value"];
    assert_eq!((value["flash"].as_u64(), value["ram"].as_u64()), (Some(583), Some(64)));
    assert_eq!((value["max_ram"].as_u64(), value["max_flash"].as_u64()), (Some(64), None));
    let rows = value["rows"].as_array().unwrap();
    let sum = |key: &str| rows.iter().map(|row| row[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("flash"), sum("ram")), (583, 64));
    let app = rows.iter().find(|row| row["name"] == "app").unwrap();
    assert_eq!(app["count"], 4);
    assert_eq!(value["old"]["flash"], 583);
    assert!(value["changes"].as_array().unwrap().iter().any(|change| change["name"] == "app"));
}

#[test]
fn a_budget_that_is_exceeded_fails_with_its_place() {
    size("--max-flash 583 --max-ram 64").check(0, &[]);
    let said = size("--max-flash 582").check(
        6,
        &["the program takes 583 bytes of flash, 1 more than its budget of 582 (--max-flash)"],
    );
    assert!(said.out.starts_with("flash       583 of 582 bytes\n"), "{said:#?}");
    let directory = directory();
    let toml = "[project]\ntarget = \"esp32c3\"\n\n[size]\nflash = \"1K\"\nram = \"60\"\n";
    fs::write(directory.path().join("esplice.toml"), toml).unwrap();
    let said = support::run(directory.path(), "size new.elf --format json").check(6, &[]);
    let words = "the program takes 64 bytes of ram, 4 more than its budget of 60 (esplice.toml:6)";
    assert!(said.out.contains(words), "{said:#?}");
    // A flag overrides the file, and a variable does too.
    support::run(directory.path(), "size new.elf --max-ram 1K").check(0, &[]);
    finish(esplice(directory.path()).env("ESPLICE_SIZE_RAM", "1K").args(["size", "new.elf"]))
        .check(0, &[]);
}

#[test]
fn what_is_no_elf_is_refused() {
    let directory = support::built_hello("Hello\n");
    let run = |words: &str| support::run(directory.path(), words);
    run("size hello.bin")
        .check(2, &["hello.bin is an image, which has no symbols", "give the ELF"]);
    run("size hello.elf").check(2, &["hello.elf does not specify its chip"]);
    run("size hello.elf --target esp32").check(12, &["hello.elf: the ELF is for machine 243"]);
    run("size hello.elf --target esp32c3 --diff hello.bin").check(3, &["hello.bin: invalid ELF"]);
    run("size nowhere.elf").check(3, &["cannot read nowhere.elf"]);
    run("size hello.elf --target esp32c3 --by path").check(2, &["invalid value 'path'"]);
    run("size hello.elf --target esp32c3 --max-ram much").check(2, &["--max-ram"]);
    run("size hello.elf --target esp32c3 --release").check(2, &["--release is for cargo projects"]);
}

/// GNU size reads the same sections.
#[cfg(target_os = "linux")]
#[test]
fn sections_are_those_of_gnu_size() {
    let directory = directory();
    let mut gnu = assert_cmd::Command::new("riscv64-unknown-elf-size");
    let gnu = finish(gnu.current_dir(directory.path()).args(["-A", "new.elf"])).check(0, &[]);
    let said = support::run(directory.path(), "size new.elf --target esp32c3 --format json");
    let result = support::result(&said);
    let rows = result["value"]["rows"].as_array().unwrap();
    for row in rows {
        let words = [row["name"].as_str().unwrap().to_owned(), row["flash"].to_string()];
        let mut lines = gnu.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert!(
            lines.any(|line| line.starts_with(&words.each_ref().map(String::as_str))),
            "{gnu:#?}"
        );
    }
    assert_eq!(rows.len(), 3);
}
