//! Compares the result for every layout in `tests/cases`, good or wrong, with the files next to it.

use std::sync::Arc;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use esplice_chip::{Chip, ChipDb};
use esplice_layout::{
    Base, Layout, LayoutError, Linker, ModuleOptions, Spec, esp_idf, inject, rust_module, tinygo,
};

fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(folder);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// Returns the layout of a file, for the chip that its first line names.
fn layout(path: &Path) -> Result<Layout, LayoutError> {
    let text = fs::read_to_string(path).unwrap();
    let chip = text.lines().next().and_then(|line| line.strip_prefix("# chip: "));
    let chip = match chip {
        // A chip without layout data, as one has while it is being added.
        Some("none") => {
            let mut chip = Chip::clone(ChipDb::embedded().find("esp32c3").unwrap());
            (chip.layout, chip.display_name) = (None, "ESP32-X1".into());
            Arc::new(chip)
        }
        name => ChipDb::embedded().find(name.unwrap_or("esp32c3")).unwrap().clone(),
    };
    let spec = Spec::parse("esplice.toml", &text)?.expect("the file has a layout");
    spec.settle(&chip)
}

#[track_caller]
fn check(path: &Path, text: &str) {
    if std::env::var_os("ESPLICE_BLESS").is_some() {
        fs::write(path, text).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(kept == text, "{} differs from:\n{text}", path.display());
}

#[test]
fn wrong_layouts_are_refused_each_in_its_own_words() {
    let mut said = BTreeSet::new();
    for path in cases("wrong") {
        let error = match layout(&path) {
            Ok(_) => panic!("{} is accepted", path.display()),
            Err(error) => error,
        };
        let mut text = format!("{error}\n");
        if let Some(hint) = error.hint() {
            text.push_str(&format!("hint: {hint}\n"));
        }
        check(&path.with_extension("txt"), &text);
        let words = error.cause.to_string();
        assert!(said.insert(words.clone()), "two cases have the same message: {words}");
        // Messages are in lower case and end without a full stop.
        assert!(!words.ends_with('.') && !words.contains('\n'), "{words}");
        assert!(error.place.line > 0, "{}: no line number", path.display());
    }
    assert!(said.len() >= 30, "{}", said.len());
}

#[test]
fn right_layouts_give_their_scripts() {
    for path in cases("good") {
        let layout = layout(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        match layout.base {
            Base::EspHal | Base::Ram => {
                for (linker, name) in [(Linker::Lld, "lld.x"), (Linker::Gnu, "gnu.x")] {
                    check(&path.with_extension(name), inject(&layout, linker).script());
                }
                for (device, safe, name) in [
                    (true, false, "rs"),
                    (false, false, "host.rs"),
                    (true, true, "safe.rs"),
                    (false, true, "safe-host.rs"),
                ] {
                    let options = ModuleOptions::default().device(device).safe(safe);
                    check(&path.with_extension(name), &rust_module(&layout, options));
                }
            }
            Base::TinyGo => {
                let own = "/project/target/esplice/esplice-layout.ld";
                let files = tinygo(&layout, "m5stamp-c3", "targets/esp32c3.ld", own);
                check(&path.with_extension("json"), &files.target);
                check(&path.with_extension("ld"), &files.script);
                assert_eq!(files.stack_size, Some(4096));
            }
            Base::EspIdf => {
                for file in esp_idf(&layout) {
                    let extension = file.name.rsplit('.').next().unwrap();
                    let text = String::from_utf8(file.bytes).unwrap();
                    check(&path.with_extension(extension), &text);
                }
            }
        }
    }
}
