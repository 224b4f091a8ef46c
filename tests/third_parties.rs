//! Checks third-party code: its licences, and that no GPL code comes in through a feature.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

/// Permitted licences of code in the program, by their SPDX names.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    // Permissive: minicbor.
    "BlueOak-1.0.0",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    // Weak copyleft, per file: serialport.
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn cargo(args: &[&str]) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO")).args(args).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// espflash embeds GPL flasher stubs with feature `serialport`, and a front end with `cli`.
#[test]
fn espflash_is_a_library_and_nothing_more() {
    let tree = cargo(&[
        "tree",
        "--workspace",
        "--edges=features,normal,build",
        "--prefix=none",
        "--offline",
        "--locked",
    ]);
    assert!(tree.lines().any(|line| line.starts_with("espflash v4.")), "espflash is not used");
    for feature in ["serialport", "cli", "update-check", "default"] {
        let line = format!("espflash feature \"{feature}\"");
        assert!(!tree.contains(&line), "espflash is used with its feature {feature}");
    }
}

#[test]
fn all_licences_are_permitted() {
    let host = cargo(&["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = cargo(&[
        "metadata",
        "--format-version=1",
        "--filter-platform",
        host,
        "--offline",
        "--locked",
    ]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "the dependencies are listed");
    for package in packages {
        let licence = package["license"].as_str().unwrap_or_default();
        let name = package["name"].as_str().unwrap();
        assert!(permitted(licence), "{name} has the licence {licence:?}");
    }
}

/// Returns whether an SPDX expression has an alternative that is permitted in all its parts. `/` is
/// an older form of `OR`.
fn permitted(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let good = any_of(&mut rest);
    good && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> bool {
    let mut good = all_of(words);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        good |= all_of(words);
    }
    good
}

fn all_of(words: &mut &[&str]) -> bool {
    let mut good = one(words);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        good &= one(words);
    }
    good
}

fn one(words: &mut &[&str]) -> bool {
    let (good, rest) = match words {
        ["(", rest @ ..] => {
            *words = rest;
            let good = any_of(words);
            let [")", rest @ ..] = words else { return false };
            (good, rest)
        }
        [licence, "WITH", exception, rest @ ..] => {
            (LICENCES.contains(&format!("{licence} WITH {exception}").as_str()), rest)
        }
        [licence, rest @ ..] => (LICENCES.contains(licence), rest),
        [] => return false,
    };
    *words = rest;
    good
}

#[test]
fn expressions_are_understood() {
    for good in [
        "MIT",
        "MIT OR Apache-2.0",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        "Zlib OR (Apache-2.0 AND (MIT OR GPL-2.0))",
    ] {
        assert!(permitted(good), "{good}");
    }
    for bad in ["", "GPL-2.0", "MIT AND GPL-2.0", "(MIT OR ISC) AND LGPL-2.1", "(MIT", "MIT ISC"] {
        assert!(!permitted(bad), "{bad}");
    }
}
