//! Chips are data: no code of the simulator depends on the name of a chip.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The only line that names one: an example in a hint.
const EXAMPLE: &str = "a virtual board is named like sim:esp32c3";

/// Collects the sources below `folder` except tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.ends_with("tests") {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Returns the lines of code that name a chip, without comments and unit tests.
fn named(text: &str) -> Vec<&str> {
    let code = text.split("\nmod tests {").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let lines = lines.map(|line| line.split(" // ").next().unwrap());
    let names = |line: &&str| line.to_ascii_lowercase().contains("esp32");
    lines.filter(names).filter(|line| !line.contains(EXAMPLE)).collect()
}

#[test]
fn no_code_names_a_chip() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 60, "only {} files were found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(named(&text), [""; 0], "{}", file.display());
    }
    let line = r#"if chip == "esp32c3" {}"#;
    let bad = format!("/// For the ESP32-C3.\n{line}\n\n#[cfg(test)]\nmod tests {{\n\"esp32c6\"");
    assert_eq!(named(&bad), [line]);
}
