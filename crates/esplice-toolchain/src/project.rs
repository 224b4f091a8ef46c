//! What of a cargo project is built: package, binary and features.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use cargo_metadata::{Metadata, Package};
use esplice_chip::Chip;

use crate::ToolchainError;

/// The binary to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    pub package: String,
    pub bin: String,
    pub features: BTreeMap<String, Vec<String>>,
}

/// The directory of the project at `path`: a directory with a `Cargo.toml`, or that file.
pub(crate) fn directory(path: &Path) -> Result<PathBuf, ToolchainError> {
    let directory = match path.file_name() {
        Some(name) if name == "Cargo.toml" => path.parent().unwrap_or(path),
        _ => path,
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    if !directory.join("Cargo.toml").is_file() {
        return Err(ToolchainError::NoManifest { path: directory.to_owned() });
    }
    Ok(directory.to_owned())
}

/// Chooses a binary of the package in `directory`, or in a workspace without one of its own, of
/// the members cargo would build there.
pub(crate) fn select(
    metadata: &Metadata,
    directory: &Path,
    package: Option<&str>,
    bin: Option<&str>,
) -> Result<Selection, ToolchainError> {
    let path = || directory.to_owned();
    let mut candidates: Vec<&Package> = here(metadata, directory);
    if let Some(name) = package {
        candidates = metadata.packages.iter().filter(|p| p.name.as_str() == name).collect();
        if candidates.is_empty() {
            let packages = metadata.packages.iter().map(|p| p.name.to_string()).collect();
            return Err(ToolchainError::UnknownPackage {
                path: path(),
                name: name.into(),
                packages,
            });
        }
    }

    let all: Vec<(&Package, String)> =
        candidates.iter().flat_map(|p| bins(p).map(move |bin| (*p, bin))).collect();
    let names = || all.iter().map(|(_, bin)| bin.clone()).collect::<Vec<_>>();
    let chosen: Vec<&(&Package, String)> = match bin {
        Some(name) => all.iter().filter(|(_, bin)| bin == name).collect(),
        None => {
            // A package's `default-run` is its own answer.
            let by_default = |(p, bin): &&(&Package, String)| {
                p.default_run.as_ref().is_none_or(|run| run == bin)
            };
            all.iter().filter(by_default).collect()
        }
    };
    match (chosen.as_slice(), bin) {
        ([(package, bin)], _) => Ok(Selection {
            package: package.name.to_string(),
            bin: bin.clone(),
            features: package.features.clone(),
        }),
        _ if all.is_empty() => Err(ToolchainError::NoBinary { path: path() }),
        ([], Some(name)) => {
            Err(ToolchainError::UnknownBinary { path: path(), name: name.into(), bins: names() })
        }
        (several, Some(name)) => Err(ToolchainError::SameBinary {
            name: name.into(),
            packages: several.iter().map(|(p, _)| p.name.to_string()).collect(),
        }),
        (_, None) => Err(ToolchainError::ManyBinaries { path: path(), bins: names() }),
    }
}

/// The package whose manifest stands in `directory`, else the workspace's default members.
fn here<'a>(metadata: &'a Metadata, directory: &Path) -> Vec<&'a Package> {
    let manifest = directory.join("Cargo.toml");
    let same = |p: &&Package| {
        let theirs = p.manifest_path.as_std_path();
        theirs == manifest || theirs.canonicalize().ok() == manifest.canonicalize().ok()
    };
    if let Some(package) = metadata.packages.iter().find(same) {
        return vec![package];
    }
    let defaults: &[_] = if metadata.workspace_default_members.is_available() {
        &metadata.workspace_default_members
    } else {
        &metadata.workspace_members
    };
    metadata.packages.iter().filter(|p| defaults.contains(&p.id)).collect()
}

fn bins(package: &Package) -> impl Iterator<Item = String> + '_ {
    package.targets.iter().filter(|t| t.is_bin()).map(|t| t.name.clone())
}

/// The feature flags for `chip`, before those the user asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChipFeatures {
    pub enable: Vec<String>,
    pub no_default: bool,
}

/// A feature named like the chip is enabled. Where another chip's is a default, defaults are turned
/// off, and those of them that do not lead to another chip are named one by one.
pub(crate) fn chip_features(features: &BTreeMap<String, Vec<String>>, chip: &Chip) -> ChipFeatures {
    if !features.contains_key(&chip.name) {
        return ChipFeatures::default();
    }
    let other_chip = |feature: &str| feature != chip.name && is_chip_name(feature);
    let defaults = features.get("default").map(Vec::as_slice).unwrap_or_default();
    let (wrong, right): (Vec<&String>, Vec<&String>) =
        defaults.iter().partition(|name| leads_to(name, features, &other_chip));
    let mut enable = vec![chip.name.clone()];
    if wrong.is_empty() {
        return ChipFeatures { enable, no_default: false };
    }
    // `dep:name` cannot be asked for on the command line.
    let kept = right.into_iter().filter(|name| **name != chip.name && !name.starts_with("dep:"));
    enable.extend(kept.cloned());
    ChipFeatures { enable, no_default: true }
}

/// Whether enabling `feature` enables one that `wanted` accepts.
fn leads_to(
    feature: &str,
    features: &BTreeMap<String, Vec<String>>,
    wanted: &dyn Fn(&str) -> bool,
) -> bool {
    let mut seen = Vec::new();
    let mut open = vec![feature];
    while let Some(name) = open.pop() {
        if wanted(name) {
            return true;
        }
        if !seen.contains(&name) {
            seen.push(name);
            open.extend(features.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    false
}

/// Whether a feature is named like a chip: one we know, or one that follows the vendor's scheme
/// (`esp`, a number, then letters and digits), as projects support chips that we do not.
fn is_chip_name(feature: &str) -> bool {
    let follows_scheme = || {
        feature.strip_prefix("esp").is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit())
                && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
    };
    esplice_chip::chip_names().contains(&feature) || follows_scheme()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `features` as `name = a b; name = c`; `expected` as the flags.
    #[track_caller]
    fn check(features: &str, expected: &str) {
        let features = features
            .split(';')
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                let (name, list) = line.split_once('=').unwrap();
                (name.trim().into(), list.split_whitespace().map(String::from).collect())
            })
            .collect();
        let chip = esplice_chip::find("esp32c3").unwrap();
        let found = chip_features(&features, chip);
        let flags = if found.no_default { "no-default " } else { "" };
        assert_eq!(format!("{flags}{}", found.enable.join(" ")), expected);
    }

    #[test]
    fn the_chips_feature_is_enabled() {
        check("", "");
        check("fast =", "");
        check("esp32c3 =", "esp32c3");
        check("default = esp32c3; esp32c3 = esp-hal/esp32c3", "esp32c3");
        check("default = fast; fast = ; esp32c3 =; esp32s3 =", "esp32c3");
    }

    #[test]
    fn another_chips_default_is_turned_off_and_the_rest_kept() {
        check("default = esp32s3; esp32s3 =; esp32c3 =", "no-default esp32c3");
        check(
            "default = esp32s3 wifi dep:log esp-hal/unstable; esp32s3 =; esp32c3 =; wifi =",
            "no-default esp32c3 wifi esp-hal/unstable",
        );
    }

    #[test]
    fn another_chip_behind_a_board_or_a_circle_is_seen() {
        check(
            "default = board wifi; board = soc; soc = board esp32c6; esp32c3 =; wifi =",
            "no-default esp32c3 wifi",
        );
    }

    #[test]
    fn names_that_only_begin_alike_are_no_chips() {
        check("default = esp-wifi esp32c3-board esp; esp32c3 =; esp-wifi =", "esp32c3");
    }

    /// Projects are written to disk and read by cargo. `files` are paths with contents.
    fn metadata_of(files: &[(&str, &str)]) -> (tempfile::TempDir, Metadata) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let metadata = cargo_metadata::MetadataCommand::new()
            .current_dir(root.path())
            .no_deps()
            .exec()
            .unwrap();
        (root, metadata)
    }

    const MAIN: &str = "fn main() {}";
    const PACKAGE: &str = "[package]\nname='one'\nversion='0.1.0'\nedition='2024'\n";

    #[track_caller]
    fn check_select(
        files: &[(&str, &str)],
        package: Option<&str>,
        bin: Option<&str>,
        expected: &str,
    ) {
        let (root, metadata) = metadata_of(files);
        let outcome = match select(&metadata, root.path(), package, bin) {
            Ok(selection) => format!("{}:{}", selection.package, selection.bin),
            Err(error) => format!("{error}\n{}", error.hint().unwrap_or_default()),
        };
        assert_eq!(outcome.replace(&root.path().display().to_string(), "DIR"), expected);
    }

    #[test]
    fn one_binary_needs_no_choice() {
        let files = [("Cargo.toml", PACKAGE), ("src/main.rs", MAIN)];
        check_select(&files, None, None, "one:one");
        check_select(&files, Some("one"), Some("one"), "one:one");
        check_select(
            &files,
            None,
            Some("on"),
            "no binary \"on\" in DIR, which has one\ndid you mean --bin one?",
        );
        check_select(
            &files,
            Some("onee"),
            None,
            "no package \"onee\" in DIR, which has one\ndid you mean --package one?",
        );
    }

    #[test]
    fn several_binaries_are_named() {
        let files = [("Cargo.toml", PACKAGE), ("src/main.rs", MAIN), ("src/bin/blink.rs", MAIN)];
        check_select(&files, None, None, "DIR has 2 binaries: blink, one\nchoose one: --bin blink");
        check_select(&files, None, Some("blink"), "one:blink");
    }

    #[test]
    fn default_run_is_the_packages_own_answer() {
        let manifest = format!("{PACKAGE}default-run='blink'\n");
        let files = [("Cargo.toml", &*manifest), ("src/main.rs", MAIN), ("src/bin/blink.rs", MAIN)];
        check_select(&files, None, None, "one:blink");
        check_select(&files, None, Some("one"), "one:one");
    }

    #[test]
    fn a_library_is_nothing_to_run() {
        let files = [("Cargo.toml", PACKAGE), ("src/lib.rs", "")];
        let expected = "DIR has no binary, only libraries\n\
                        firmware is a package with src/main.rs or a [[bin]]";
        check_select(&files, None, None, expected);
        check_select(&files, None, Some("one"), expected);
    }

    #[test]
    fn a_workspace_offers_its_members() {
        let two = PACKAGE.replace("one", "two");
        let workspace = "[workspace]\nmembers=['a','b']\nresolver='3'\n";
        let mut files = vec![
            ("Cargo.toml", workspace),
            ("a/Cargo.toml", PACKAGE),
            ("a/src/main.rs", MAIN),
            ("b/Cargo.toml", &*two),
            ("b/src/lib.rs", ""),
        ];
        check_select(&files, None, None, "one:one");
        files.extend([("b/src/main.rs", MAIN), ("b/src/bin/one.rs", MAIN)]);
        check_select(
            &files,
            None,
            None,
            "DIR has 3 binaries: one, one, two\nchoose one: --bin one",
        );
        check_select(
            &files,
            None,
            Some("one"),
            "binary \"one\" is in more than one package: one, two\nchoose one: --package one",
        );
        check_select(&files, Some("two"), Some("one"), "two:one");
        check_select(&files, None, Some("two"), "two:two");
    }

    #[test]
    fn a_directory_without_a_manifest_is_no_project() {
        let root = tempfile::tempdir().unwrap();
        for path in [root.path().to_owned(), root.path().join("nowhere")] {
            let error = directory(&path).unwrap_err();
            assert_eq!(error.to_string(), format!("{} has no Cargo.toml", path.display()));
            assert_eq!(error.kind(), crate::ErrorKind::BadInput);
        }
        let manifest = root.path().join("Cargo.toml");
        std::fs::write(&manifest, PACKAGE).unwrap();
        assert_eq!(directory(root.path()).unwrap(), root.path());
        assert_eq!(directory(&manifest).unwrap(), root.path());
    }
}
