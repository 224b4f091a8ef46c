//! Environment variables: each is documented, and works or is refused.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::support::{self, finish, repository};

/// The pages that list variables.
fn page() -> String {
    let read = |name: &str| fs::read_to_string(repository().join("docs/src/reference").join(name));
    read("environment.md").unwrap() + &read("settings.md").unwrap()
}

/// Returns the words in a text that start like esplice's variables.
fn variables(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("ESPLICE_") {
        // The linker's symbols start with two underscores.
        if text[..at].ends_with(|c: char| c == '_' || c.is_alphanumeric()) {
            continue;
        }
        let rest = &text[at..];
        let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        found.insert(rest[..end].to_owned());
    }
    found
}

#[test]
fn a_setting_works_by_either_name() {
    let directory = tempfile::tempdir().unwrap();
    let set = |variables: &[(&str, &str)]| {
        let mut command = support::esplice(directory.path());
        command.envs(variables.iter().copied());
        finish(command.args(["config"]))
    };
    for name in ["ESPLICE_PROJECT_PORT", "ESPLICE_PORT"] {
        let said = set(&[(name, "/dev/ttyUSB7")]).check(0, &[]);
        assert!(said.out.contains(&format!("/dev/ttyUSB7     environment {name}")), "{said:#?}");
    }
    for name in ["ESPLICE_PROJECT_TARGET", "ESPLICE_TARGET", "ESPLICE_CHIP"] {
        let said = set(&[(name, "esp32c6")]).check(0, &[]);
        assert!(said.out.contains(&format!("esp32c6          environment {name}")), "{said:#?}");
    }
    set(&[("ESPLICE_PORT", "")]).check(0, &[]);
    set(&[("ESPLICE_BAUD", "1"), ("ESPLICE_FLASH_BAUD", "2")])
        .check(2, &["set flash.baud differently", "hint: unset one of them"]);
}

/// The same in commands without settings.
#[test]
fn an_unknown_variable_is_refused_everywhere() {
    for words in ["config", "chips", "image info x.bin", "ports"] {
        let directory = tempfile::tempdir().unwrap();
        let mut command = support::esplice(directory.path());
        command.env("ESPLICE_PROT", "x").args(words.split(' '));
        finish(&mut command).check(
            2,
            &[
                "unknown setting ESPLICE_PROT in the environment",
                "hint: did you mean ESPLICE_PORT?",
            ],
        );
    }
}

/// Each variable that a program or a test reads is on the page, or belongs to a family there.
#[test]
fn the_page_has_every_variable_that_is_read() {
    let page = page();
    let families: Vec<&str> = page
        .split('`')
        .filter_map(|word| word.strip_suffix('…').filter(|word| word.starts_with("ESPLICE_")))
        .collect();
    assert!(!families.is_empty());
    let known = variables(&page);
    let mut unknown = BTreeSet::new();
    for folder in ["crates", "tests", "benches", "scripts", ".ci", "examples"] {
        let sources = files(&repository().join(folder));
        // Firmware for tests has variables of its own, set only by its tests.
        let is_firmware = |file: &Path| file.starts_with(repository().join("tests/firmware"));
        for file in sources.into_iter().filter(|file| !is_firmware(file)) {
            let text = fs::read_to_string(&file).unwrap_or_default();
            // Names in quotes in a program, or after a dollar sign in a script.
            for name in variables(&text) {
                let is_read = [format!("var(\"{name}\")"), format!("var_os(\"{name}\")")]
                    .iter()
                    .any(|read| text.contains(read))
                    || text.contains(&format!("${name}"))
                    || text.contains(&format!("${{{name}"));
                let of_family = families.iter().any(|family| name.starts_with(family));
                if is_read && !of_family && !known.contains(&name) {
                    unknown.insert(format!("{name} in {}", file.display()));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "not in environment.md: {unknown:#?}");
}

/// Returns the source files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                all.extend(files(&path));
            }
        } else {
            all.push(path);
        }
    }
    all
}
