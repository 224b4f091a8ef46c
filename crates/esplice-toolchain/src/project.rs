//! Selection of package, binary and features in a cargo project.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use cargo_metadata::{CrateType, Metadata, Package, Target};
use std::sync::Arc;

use esplice_chip::{Chip, ChipDb, FeatureChip};

use crate::{CargoOptions, ToolchainError};

/// The binary to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    pub package: String,
    pub kind: Kind,
    pub bin: String,
    pub features: BTreeMap<String, Vec<String>>,
    /// True if the package is built on ESP-IDF's standard library.
    pub needs_idf: bool,
}

/// The kind of cargo target that makes the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bin,
    Example,
}

impl Kind {
    /// Returns cargo's flag that selects a target of this kind.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Kind::Bin => "--bin",
            Kind::Example => "--example",
        }
    }

    pub(crate) fn is_of(self, target: &Target) -> bool {
        match self {
            Kind::Bin => target.is_bin(),
            // An example can also be a library.
            Kind::Example => target.is_example() && target.crate_types.contains(&CrateType::Bin),
        }
    }
}

/// Crates that bind ESP-IDF, which provides the standard library.
const IDF_CRATES: &[&str] = &["esp-idf-sys", "esp-idf-hal", "esp-idf-svc"];

/// Returns the directory of the project at `path`: a directory with a `Cargo.toml`, or that file.
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

/// Selects a binary or an example from the package in `directory`. In a virtual workspace, selects
/// from the members that cargo would build there.
pub(crate) fn select(
    metadata: &Metadata,
    directory: &Path,
    options: &CargoOptions,
) -> Result<Selection, ToolchainError> {
    let candidates = packages(metadata, directory, options.package.as_deref())?;
    if let Some(source) = &options.source {
        return by_source(metadata, source);
    }
    let (kind, asked) = match (&options.bin, &options.example) {
        (_, Some(example)) => (Kind::Example, Some(example.as_str())),
        (bin, None) => (Kind::Bin, bin.as_deref()),
    };
    let all = targets(&candidates, kind);
    let chosen: Vec<&(&Package, &str)> = match asked {
        Some(name) => all.iter().filter(|(_, bin)| *bin == name).collect(),
        None => {
            // A package's `default-run` decides.
            let by_default =
                |(p, bin): &&(&Package, &str)| p.default_run.as_ref().is_none_or(|run| run == bin);
            all.iter().filter(by_default).collect()
        }
    };
    let path = directory.to_owned();
    let names = |all: &[(&Package, &str)]| all.iter().map(|(_, bin)| (*bin).to_owned()).collect();
    let others = |kind| names(&targets(&candidates, kind));
    match (chosen.as_slice(), asked) {
        ([(package, bin)], _) => Ok(selection(package, kind, bin)),
        ([], Some(name)) if kind == Kind::Example => {
            Err(ToolchainError::UnknownExample { path, name: name.into(), examples: names(&all) })
        }
        ([], Some(name)) => {
            let examples: Vec<String> = others(Kind::Example);
            let is_example = examples.iter().any(|example| example == name);
            if all.is_empty() && !is_example {
                return Err(ToolchainError::NoBinary { path, examples });
            }
            let (name, bins) = (name.into(), names(&all));
            Err(ToolchainError::UnknownBinary { path, name, bins, is_example })
        }
        ([], None) => Err(ToolchainError::NoBinary { path, examples: others(Kind::Example) }),
        (several, Some(name)) => Err(ToolchainError::SameBinary {
            flag: kind.flag(),
            name: name.into(),
            packages: several.iter().map(|(p, _)| p.name.to_string()).collect(),
        }),
        (_, None) => Err(many_binaries(path, &all)),
    }
}

fn selection(package: &Package, kind: Kind, bin: &str) -> Selection {
    Selection {
        package: package.name.to_string(),
        kind,
        bin: bin.to_owned(),
        features: package.features.clone(),
        needs_idf: package.dependencies.iter().any(|d| IDF_CRATES.contains(&d.name.as_str())),
    }
}

/// Returns the packages to search for a binary: the requested one, else those of the directory.
fn packages<'a>(
    metadata: &'a Metadata,
    directory: &Path,
    package: Option<&str>,
) -> Result<Vec<&'a Package>, ToolchainError> {
    let Some(name) = package else { return Ok(default_packages(metadata, directory)) };
    let named: Vec<&Package> =
        metadata.packages.iter().filter(|p| p.name.as_str() == name).collect();
    if named.is_empty() {
        return Err(ToolchainError::UnknownPackage {
            path: directory.to_owned(),
            name: name.into(),
            packages: metadata.packages.iter().map(|p| p.name.to_string()).collect(),
        });
    }
    Ok(named)
}

/// Returns the targets of a kind, with their packages.
fn targets<'a>(packages: &[&'a Package], kind: Kind) -> Vec<(&'a Package, &'a str)> {
    let of = |package: &'a Package| {
        let targets = package.targets.iter().filter(move |target| kind.is_of(target));
        targets.map(move |target| (package, target.name.as_str()))
    };
    packages.iter().flat_map(|package| of(package)).collect()
}

/// Returns the target whose main file is `source`.
fn by_source(metadata: &Metadata, source: &Path) -> Result<Selection, ToolchainError> {
    let wanted = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    for package in &metadata.packages {
        for target in &package.targets {
            let path = target.src_path.as_std_path();
            if path.canonicalize().ok().as_deref() != Some(&wanted) {
                continue;
            }
            let kinds = [Kind::Bin, Kind::Example].into_iter();
            if let Some(kind) = kinds.into_iter().find(|kind| kind.is_of(target)) {
                return Ok(selection(package, kind, &target.name));
            }
        }
    }
    Err(ToolchainError::NotMain { path: source.to_owned() })
}

/// Returns the error that lists all binaries and one valid choice.
fn many_binaries(path: PathBuf, all: &[(&Package, &str)]) -> ToolchainError {
    let is_shared = |bin: &str| all.iter().filter(|(_, other)| *other == bin).count() > 1;
    let shown = |(package, bin): &(&Package, &str)| match is_shared(bin) {
        true => format!("{bin} of {}", package.name),
        false => (*bin).to_owned(),
    };
    let choice = all.first().map(|(package, bin)| match is_shared(bin) {
        true => format!("--package {} --bin {bin}", package.name),
        false => format!("--bin {bin}"),
    });
    let choice = choice.unwrap_or_default();
    ToolchainError::ManyBinaries { path, bins: all.iter().map(shown).collect(), choice }
}

/// Returns the package whose manifest is in `directory`, else the workspace's default members.
fn default_packages<'a>(metadata: &'a Metadata, directory: &Path) -> Vec<&'a Package> {
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

/// Returns the chip named by the enabled features of the project's package: the requested ones, the
/// defaults, and those they enable in turn. If the binary of a workspace is not chosen, all
/// packages that it may be in must agree.
pub(crate) fn chip_of(
    metadata: &Metadata,
    directory: &Path,
    options: &CargoOptions,
) -> Result<Option<Arc<Chip>>, ToolchainError> {
    let packages: Vec<BTreeMap<String, Vec<String>>> = match select(metadata, directory, options) {
        Ok(selection) => vec![selection.features],
        Err(ToolchainError::NoBinary { .. } | ToolchainError::ManyBinaries { .. }) => {
            let packages = packages(metadata, directory, options.package.as_deref())?;
            packages.into_iter().map(|package| package.features.clone()).collect()
        }
        Err(error) => return Err(error),
    };
    let enabled: Vec<String> =
        packages.iter().flat_map(|features| enabled(features, options)).collect();
    match options.chips.chip_from_features(&enabled) {
        FeatureChip::None => Ok(None),
        FeatureChip::One(chip) => Ok(Some(chip)),
        FeatureChip::Several(names) => Err(ToolchainError::ManyChips { names }),
    }
}

/// Returns the features of a package that cargo enables.
fn enabled(features: &BTreeMap<String, Vec<String>>, options: &CargoOptions) -> BTreeSet<String> {
    let mut open: Vec<&str> = options.features.iter().map(String::as_str).collect();
    if options.all_features {
        open.extend(features.keys().map(String::as_str));
    }
    if !options.no_default_features && features.contains_key("default") {
        open.push("default");
    }
    let mut enabled = BTreeSet::new();
    while let Some(name) = open.pop() {
        if enabled.insert(name.to_owned()) {
            open.extend(features.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    enabled
}

/// The feature flags for `chip`, without those the user requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChipFeatures {
    pub enable: Vec<String>,
    pub no_default: bool,
}

/// Enables the feature named after the chip. If a default feature selects another chip, the
/// defaults are disabled, and those that do not lead to another chip are enabled one by one.
pub(crate) fn chip_features(
    features: &BTreeMap<String, Vec<String>>,
    chip: &Chip,
    chips: &ChipDb,
) -> ChipFeatures {
    if !features.contains_key(&chip.name) {
        return ChipFeatures::default();
    }
    let other_chip = |feature: &str| feature != chip.name && is_chip_name(feature, chips);
    let defaults = features.get("default").map(Vec::as_slice).unwrap_or_default();
    let (wrong, right): (Vec<&String>, Vec<&String>) =
        defaults.iter().partition(|name| leads_to(name, features, &other_chip));
    let mut enable = vec![chip.name.clone()];
    if wrong.is_empty() {
        return ChipFeatures { enable, no_default: false };
    }
    // `dep:name` is not allowed on the command line.
    let kept = right.into_iter().filter(|name| **name != chip.name && !name.starts_with("dep:"));
    enable.extend(kept.cloned());
    ChipFeatures { enable, no_default: true }
}

/// Returns whether enabling `feature` enables one that `wanted` accepts.
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

/// Returns whether a feature is named after a chip: a known one, or one that follows the vendor's
/// scheme (`esp`, a number, then letters and digits), as projects may support chips that esplice
/// does not.
fn is_chip_name(feature: &str, chips: &ChipDb) -> bool {
    let follows_scheme = || {
        feature.strip_prefix("esp").is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit())
                && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
    };
    chips.chip_names().contains(&feature) || follows_scheme()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `features` has the form `name = a b; name = c`. `expected` holds the flags.
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
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
        let found = chip_features(&features, chip, ChipDb::embedded());
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

    /// Writes a project to disk and lets cargo read it. `files` are paths with contents.
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
        let options = CargoOptions {
            package: package.map(str::to_owned),
            bin: bin.map(str::to_owned),
            ..CargoOptions::default()
        };
        check_options(&root, &metadata, &options, expected);
    }

    #[track_caller]
    fn check_options(
        root: &tempfile::TempDir,
        metadata: &Metadata,
        options: &CargoOptions,
        expected: &str,
    ) {
        let outcome = match select(metadata, root.path(), options) {
            Ok(Selection { package, kind: Kind::Bin, bin, .. }) => format!("{package}:{bin}"),
            Ok(Selection { package, bin, .. }) => format!("{package}:example {bin}"),
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
    fn examples_are_chosen_by_name_or_by_file() {
        let files = [
            ("Cargo.toml", PACKAGE),
            ("src/lib.rs", ""),
            ("examples/blink.rs", MAIN),
            ("examples/wifi/main.rs", MAIN),
            ("examples/wifi/net.rs", ""),
        ];
        let (root, metadata) = metadata_of(&files);
        let check = |options: CargoOptions, expected: &str| {
            check_options(&root, &metadata, &options, expected);
        };
        let example =
            |name: &str| CargoOptions { example: Some(name.into()), ..Default::default() };
        check(example("blink"), "one:example blink");
        check(example("wifi"), "one:example wifi");
        check(
            example("blnk"),
            "no example \"blnk\" in DIR, which has blink, wifi\ndid you mean --example blink?",
        );
        check(
            CargoOptions { bin: Some("blink".into()), ..Default::default() },
            "no binary \"blink\" in DIR, which has none\nit is an example: --example blink",
        );
        check(
            CargoOptions::default(),
            "DIR has no binary, only libraries and examples\nchoose one: --example blink",
        );
        let source = |file: &str| CargoOptions {
            source: Some(root.path().join(file)),
            ..CargoOptions::default()
        };
        check(source("examples/wifi/main.rs"), "one:example wifi");
        check(
            source("examples/wifi/net.rs"),
            "DIR/examples/wifi/net.rs is not the main file of a binary or an example\n\
             pass that file or the directory of the project",
        );
    }

    #[test]
    fn a_binary_is_chosen_by_its_main_file() {
        let files = [("Cargo.toml", PACKAGE), ("src/main.rs", MAIN), ("src/bin/blink.rs", MAIN)];
        let (root, metadata) = metadata_of(&files);
        for (file, expected) in [("src/main.rs", "one:one"), ("src/bin/blink.rs", "one:blink")] {
            let source = Some(root.path().join(file));
            let options = CargoOptions { source, ..CargoOptions::default() };
            check_options(&root, &metadata, &options, expected);
        }
    }

    /// Covers default features, those enabled by others, and requested ones.
    #[test]
    fn the_enabled_features_name_the_chip() {
        let check = |features: &str, options: CargoOptions, expected: &str| {
            let manifest = format!("{PACKAGE}[features]\n{features}\n");
            let (root, metadata) = metadata_of(&[("Cargo.toml", &manifest), ("src/main.rs", MAIN)]);
            let found = match chip_of(&metadata, root.path(), &options) {
                Ok(chip) => chip.map(|chip| chip.name.clone()).unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{features}");
        };
        let asked = |features: &str| CargoOptions {
            features: features.split_whitespace().map(str::to_owned).collect(),
            ..CargoOptions::default()
        };
        check("", asked(""), "");
        check("esp32c3 = []", asked(""), "");
        check("default = ['esp32c3']\nesp32c3 = []", asked(""), "esp32c3");
        check(
            "default = ['board']\nboard = ['soc', 'led']\nsoc = ['esp32c6']\nled = []\nesp32c6 = \
             []",
            asked(""),
            "esp32c6",
        );
        check("esp32c3 = []\nesp32c6 = []", asked("esp32c6"), "esp32c6");
        let two = "default = ['esp32c3']\nesp32c3 = []\nesp32c6 = []";
        check(two, asked("esp32c6"), "features name more than one chip: esp32c3, esp32c6");
        let bare = CargoOptions { no_default_features: true, ..asked("esp32c6") };
        check(two, bare, "esp32c6");
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
            "DIR has 3 binaries: one of one, one of two, two\nchoose one: --package one --bin one",
        );
        check_select(
            &files,
            None,
            Some("one"),
            "\"one\" is in more than one package: one, two\nchoose one: --package one --bin one",
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
