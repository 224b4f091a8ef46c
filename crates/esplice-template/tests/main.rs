//! Tests of templates: they agree with the examples, and their files are valid.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use esplice_chip::{ChipDb, Target};
use esplice_template::{Project, Template, TemplateError, render};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn target(name: &str) -> Target {
    ChipDb::embedded().find_target(name).unwrap()
}

fn files(name: &str, template: Template, on: &str, sim: bool) -> BTreeMap<String, String> {
    let target = target(on);
    let mut project = Project::new(name, template, &target).unwrap();
    project.has_virtual_board = sim;
    let files = render(&project).unwrap();
    let map: BTreeMap<String, String> = files.into_iter().map(|f| (f.path, f.text)).collect();
    assert!(map.keys().all(|path| !path.starts_with('/') && !path.contains("..")));
    map
}

/// The examples are the source of the templates: `ESPLICE_BLESS=1` copies them.
#[test]
fn templates_are_the_examples() {
    let examples = [
        ("hello", "hello-rust"),
        ("async", "async-rust"),
        ("tests", "tests-rust"),
        ("arenas", "arenas-rust"),
        ("go", "hello-go"),
    ];
    for (template, example) in examples {
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates").join(template);
        let mut count = 0;
        for path in all_files(&templates) {
            let inside = path.strip_prefix(&templates).unwrap().to_str().unwrap().to_owned();
            let source =
                root().join("examples").join(example).join(inside.trim_end_matches(".txt"));
            let source = fs::read_to_string(&source)
                .unwrap_or_else(|error| panic!("{}: {error}", source.display()));
            if std::env::var_os("ESPLICE_BLESS").is_some() {
                fs::write(&path, &source).unwrap();
            }
            let text = fs::read_to_string(&path).unwrap();
            assert!(text == source, "{inside} of {template}: run this test with ESPLICE_BLESS=1");
            count += 1;
        }
        assert!(count >= 2, "{template}");
    }
}

fn all_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all_files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_project_for_the_examples_chip_has_the_examples_settings() {
    let read = |path: &str| -> toml::Table {
        fs::read_to_string(root().join("examples/hello-rust").join(path)).unwrap().parse().unwrap()
    };
    let files = files("blink", Template::Hello, "esp32c3", true);
    let ours: toml::Table = files["Cargo.toml"].parse().unwrap();
    let theirs = read("Cargo.toml");
    assert_eq!(ours["package"]["name"].as_str(), Some("blink"));
    assert_eq!(ours["dependencies"], theirs["dependencies"]);
    assert_eq!(ours["profile"], theirs["profile"]);
    assert_eq!(ours["features"]["esp32c3"], theirs["features"]["esp32c3"]);
    assert_eq!(ours["features"].as_table().unwrap().len(), 2);
    let ours: toml::Table = files[".cargo/config.toml"].parse().unwrap();
    let theirs = read(".cargo/config.toml");
    assert_eq!(ours["build"], theirs["build"]);
    let triple = "riscv32imc-unknown-none-elf";
    assert_eq!(ours["target"][triple], theirs["target"][triple]);
    assert_eq!(files["src/main.rs"], include_str!("../../../examples/hello-rust/src/main.rs"));
    assert_eq!(files["esplice.toml"], "[project]\ntarget = \"esp32c3\"\n");
}

/// Every template for every chip and board: files are valid, and nothing of the example is left.
#[test]
fn every_project_is_valid() {
    let db = ChipDb::embedded();
    let names = db.chips().map(|chip| chip.name.clone());
    let names: Vec<String> = names.chain(db.boards().map(|board| board.name.clone())).collect();
    let mut count = 0;
    for name in &names {
        let target = target(name);
        for template in Template::ALL {
            let Ok(project) = Project::new("my-app", template, &target) else { continue };
            count += 1;
            for has_virtual_board in [false, true] {
                let mut project = project.clone();
                project.has_virtual_board = has_virtual_board;
                for file in render(&project).unwrap() {
                    let (path, text) = (&file.path, &file.text);
                    let place = format!("{template:?} for {name}: {path}");
                    match path.rsplit_once('.') {
                        Some((_, "toml")) => drop(text.parse::<toml::Table>().expect(&place)),
                        Some((_, "json")) => {
                            drop(serde_json::from_str::<serde_json::Value>(text).expect(&place));
                        }
                        _ => {}
                    }
                    assert!(text.ends_with('\n') && !text.contains('\0'), "{place}");
                    for left in [
                        "hello-rust",
                        "async-rust",
                        "tests-rust",
                        "tests_rust",
                        "arenas-rust",
                        "hello-go",
                        "../..",
                    ] {
                        assert!(!text.contains(left), "{place} contains {left}");
                    }
                    let is_other = |chip: &&str| *chip != target.chip().name;
                    for chip in ["esp32c3", "esp32c6", "esp32h2"].into_iter().filter(is_other) {
                        let named = format!("\"{chip}\"");
                        assert!(!text.contains(&named), "{place} contains {named}");
                    }
                }
            }
        }
    }
    assert!(count > names.len(), "{count} projects");
}

#[test]
fn the_console_is_that_of_the_board() {
    let uart = files("app", Template::Hello, "esp32-c3-devkitm-1", true);
    assert!(uart["Cargo.toml"].contains("\"critical-section\", \"uart\"]"));
    let usb = files("app", Template::Hello, "xiao-esp32c3", true);
    assert!(usb["Cargo.toml"].contains("\"critical-section\", \"jtag-serial\"]"));
    assert!(!usb["Cargo.toml"].contains("uart"), "{}", usb["Cargo.toml"]);
    assert!(usb["src/main.rs"].contains("on USB, once a second"), "{}", usb["src/main.rs"]);
    let go = files("app", Template::Go, "xiao-esp32c3", true);
    assert_eq!(
        go["esplice.toml"],
        "[project]\ntarget = \"xiao-esp32c3\"\n\n# Settings that TinyGo's target would otherwise decide.\n\
         [build]\nserial = \"usb\"\n"
    );
    assert_eq!(go["go.mod"], "module app\n\ngo 1.19\n");
}

#[test]
fn xtensa_needs_espressifs_compiler() {
    let files = files("app", Template::Hello, "esp32s3", false);
    assert_eq!(files["rust-toolchain.toml"], "[toolchain]\nchannel = \"esp\"\n");
    let config = &files[".cargo/config.toml"];
    assert!(config.contains("build-std = [\"core\", \"alloc\"]"), "{config}");
    assert!(config.contains("[target.xtensa-esp32s3-none-elf]"), "{config}");
    assert!(files[".github/workflows/ci.yml"].contains("esplice build"));
}

#[test]
fn mistakes() {
    let target = target("esp32c3");
    #[track_caller]
    fn check(error: TemplateError, message: &str, hint: &str) {
        assert_eq!(error.to_string(), message);
        assert_eq!(error.hint().unwrap_or_default(), hint);
    }
    let name = |name: &str, reason: &str| {
        let error = Project::new(name, Template::Hello, &target).map(|_| ()).unwrap_err();
        let hint = "use letters, digits, - and _, and begin with a letter, such as blink-1";
        check(error, &format!("{name:?} is no name for a project: {reason}"), hint);
    };
    name("", "it is empty");
    name("a b", "it contains ' '");
    name("../a", "it contains '.'");
    name("1a", "it does not begin with a letter");
    name("-a", "it does not begin with a letter");
    name("loop", "Rust reserves it");
    name("proc-macro", "Rust reserves it");
    name(&"a".repeat(65), "it has 65 characters, 64 is the most");
    let project = Project::new("esp-hal", Template::Hello, &target).unwrap();
    assert!(render(&project).unwrap_err().to_string().ends_with("it is the name of a dependency"));
    let names = "the templates are hello, async, tests, arenas, go";
    check(
        Template::find("helo").unwrap_err(),
        "unknown template \"helo\"",
        "did you mean \"hello\"?",
    );
    check(Template::find("xyzzy").unwrap_err(), "unknown template \"xyzzy\"", names);
    let hint = "`esplice chips` lists what is available for each chip";
    for (template, chip, message) in [
        (
            Template::Go,
            "esp32c2",
            "template go is not for the ESP32-C2: TinyGo does not support it",
        ),
        (
            Template::Arenas,
            "esp32c2",
            "template arenas is not for the ESP32-C2: it lacks some of the memory regions",
        ),
        (
            Template::Hello,
            "esp32p4",
            "template hello is not for the ESP32-P4: esp-hal does not support it",
        ),
    ] {
        let target = self::target(chip);
        check(Project::new("a", template, &target).map(|_| ()).unwrap_err(), message, hint);
    }
}
