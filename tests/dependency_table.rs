//! Checks that the crates of the workspace use each other as docs/src/architecture.md says.
//!
//! The table there covers normal dependencies; tests may use more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Returns each crate with the workspace crates that it uses, as the architecture page lists them.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/architecture.md");
    let text = fs::read_to_string(page).unwrap();
    let (_, table) = text.split_once("| crate | does | uses | never |\n").expect("the table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let uses = cells[2].split(", ").filter(|name| *name != "–");
        let uses = uses.map(|name| format!("esplice-{name}")).collect();
        (cells[0].trim_matches('`').to_owned(), uses)
    })
    .collect()
}

/// Returns each crate of the workspace with those it uses.
fn workspace() -> BTreeMap<String, Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: Vec<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    packages
        .iter()
        .map(|package| {
            let uses = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                // `null` is a normal dependency; the other kinds are "dev" and "build".
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().unwrap())
                .filter(|name| ours.contains(name))
                .map(str::to_owned)
                .collect();
            (package["name"].as_str().unwrap().to_owned(), uses)
        })
        .collect()
}

#[test]
fn the_architecture_page_lists_what_each_crate_uses() {
    let workspace: BTreeMap<String, BTreeSet<String>> =
        workspace().into_iter().map(|(name, uses)| (name, uses.into_iter().collect())).collect();
    let table = table();
    let named: Vec<&String> = table.keys().collect();
    assert_eq!(named, workspace.keys().collect::<Vec<_>>());
    for (name, uses) in &workspace {
        assert_eq!(&table[name], uses, "{name}: docs/src/architecture.md lists other crates");
    }
}

/// Every project whose build.rs uses `esplice-build` compiles these crates.
#[test]
fn the_crate_for_build_scripts_has_few_dependencies() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../esplice-build/Cargo.toml");
    let text = std::fs::read_to_string(manifest).unwrap();
    let (_, after) = text.split_once("\n[dependencies]\n").unwrap();
    let count =
        after.lines().take_while(|line| !line.starts_with('[')).filter(|l| l.contains('=')).count();
    assert!((1..=4).contains(&count), "{count} dependencies");
}

#[test]
fn flasher_and_virtual_board_never_see_each_other() {
    let workspace = workspace();
    assert!(!reached("esplice-flash", &workspace).contains(&"esplice-sim".to_owned()));
    assert!(!reached("esplice-sim", &workspace).contains(&"esplice-flash".to_owned()));
}

/// Returns all workspace crates that `name` depends on, directly or indirectly.
fn reached(name: &str, workspace: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut found: Vec<String> = workspace[name].clone();
    let mut at = 0;
    while at < found.len() {
        let next = workspace[&found[at]].clone();
        found.extend(next.into_iter().filter(|name| !found.contains(name)).collect::<Vec<_>>());
        at += 1;
    }
    found
}

/// The rooms of the front end, in the order of the documentation of `crates/esplice/src/lib.rs`.
#[test]
fn rooms_of_the_front_end_use_only_those_before_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let documentation = fs::read_to_string(source.join("lib.rs")).unwrap();
    let rooms: Vec<&str> = documentation
        .lines()
        .filter_map(|line| line.strip_prefix("//! - `")?.split_once('`'))
        .map(|(room, _)| room)
        .collect();
    assert!(rooms.len() > 7, "{rooms:?}");
    let mut count = 0;
    for (at, room) in rooms.iter().enumerate() {
        for file in files_of(&source, room) {
            let text = fs::read_to_string(&file).unwrap();
            // Types of lib.rs itself are for its tests.
            let is_module = |name: &String| name.starts_with(|c: char| c.is_ascii_lowercase());
            for used in used_rooms(&text).into_iter().filter(is_module) {
                let place = rooms.iter().position(|room| *room == used);
                let place = place.unwrap_or_else(|| panic!("{used} is not documented in lib.rs"));
                assert!(place <= at, "{}: {room} uses {used}", file.display());
                count += 1;
            }
        }
    }
    assert!(count > 100);
}

/// Returns `ROOM.rs` and all files below `ROOM/`.
fn files_of(source: &Path, room: &str) -> Vec<PathBuf> {
    let mut files = vec![source.join(format!("{room}.rs"))];
    let mut folders = vec![source.join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Returns the first word after each `crate::`, and each of a group in braces.
fn used_rooms(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut used = Vec::new();
    for (_, after) in
        text.match_indices("crate::").map(|(at, found)| (at, &text[at + found.len()..]))
    {
        let Some(group) = after.strip_prefix('{') else {
            used.push(word(after));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, c) in group.char_indices() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if begins && c.is_ascii_alphabetic() => {
                    used.push(word(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    used
}
