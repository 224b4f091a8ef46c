//! Checks that the crates of the workspace use each other as docs/src/architecture.md says.
//!
//! Its table covers normal dependencies; tests may use more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
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
