//! Checks which crates of the workspace may use which.
//!
//! docs/src/architecture.md explains why. The table covers normal dependencies; tests may use more.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

/// A crate, and the workspace crates that it may use.
const TABLE: &[(&str, &[&str])] = &[
    ("esplice-chip", &[]),
    ("esplice-layout", &["esplice-chip"]),
    ("esplice-link", &["esplice-chip", "esplice-layout"]),
    ("esplice-build", &["esplice-chip", "esplice-layout"]),
    ("esplice-rt", &[]),
    ("esplice-image", &["esplice-chip"]),
    ("esplice-protocol", &["esplice-chip"]),
    ("esplice-flash", &["esplice-chip", "esplice-image", "esplice-protocol"]),
    ("esplice-sim", &["esplice-chip", "esplice-image", "esplice-protocol"]),
    ("esplice-toolchain", &["esplice-chip", "esplice-layout"]),
    ("esplice-monitor", &["esplice-chip", "esplice-protocol"]),
    (
        "esplice",
        &[
            "esplice-chip",
            "esplice-layout",
            "esplice-link",
            "esplice-image",
            "esplice-protocol",
            "esplice-flash",
            "esplice-sim",
            "esplice-toolchain",
            "esplice-monitor",
        ],
    ),
];

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
fn each_crate_uses_only_what_the_table_grants() {
    let workspace = workspace();
    for (name, uses) in &workspace {
        let granted = TABLE.iter().find(|(known, _)| known == name);
        let Some((_, granted)) = granted else { panic!("{name} is not in the table") };
        for used in uses {
            assert!(granted.contains(&used.as_str()), "{name} must not use {used}");
        }
    }
    for (name, _) in TABLE {
        assert!(workspace.contains_key(*name), "{name} is in the table but not in the workspace");
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
