//! Decodes panics of real firmware on the virtual board. This test compiles firmware, into a
//! directory that is kept between runs.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use crate::{
    mask_rom,
    support::{self, Said, finish, repository, toolchain::firmware_target},
};
use serde_json::Value;

/// Runs the program at the root of the repository, with a place for firmware under its own target
/// directory.
fn esplice(args: &[&str]) -> Said {
    esplice_for(FIRMWARE, args)
}

fn esplice_for(firmware: &str, args: &[&str]) -> Said {
    let mut command = support::esplice(&repository());
    let target = firmware_target();
    // Its programs have the same names as others, but share nothing: all is compiled with other
    // options.
    let target = if firmware == UNWOUND { target.join("unwound") } else { target };
    command.env("CARGO_TARGET_DIR", target);
    finish(command.args(args))
}

/// Directory of the C programs, compiled once for all cases.
static PROGRAMS_IN_C: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = firmware_target().join("panics-c");
    let built = Command::new(repository().join(IN_C).join("build")).arg(&directory).output();
    let built = built.expect("a shell is installed");
    assert!(
        built.status.success(),
        "cannot compile {IN_C}; it needs riscv64-unknown-elf-gcc (gcc-riscv64-unknown-elf of Debian, \
         `scripts/setup --tests`): {built:?}"
    );
    directory
});

const FIRMWARE: &str = "tests/firmware/panics";
const IN_C: &str = "tests/firmware/panics-c";
const DEFMT: &str = "tests/firmware/panics-defmt";
const UNWOUND: &str = "tests/firmware/panics-unwound";
const NEVER: [&str; 4] = ["--expect", "never to come", "--timeout", "3s"];

/// Function, end of the place, and whether it is inlined.
type Place = (String, Option<String>, bool);

/// A case of `tests/panics`; the README there describes the keys.
#[derive(Debug, Default)]
struct Case {
    name: String,
    firmware: (String, String),
    rom: bool,
    roms: bool,
    exit: i32,
    kind: Option<String>,
    message: Option<String>,
    place: Option<String>,
    frames: Vec<Place>,
    /// Frames of the crashed task in the core dump.
    core: Vec<Place>,
    folded: Vec<String>,
    says: Vec<String>,
}

impl Case {
    fn read(path: &Path) -> Case {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut case = Case { name, exit: 21, ..Case::default() };
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let (key, value) =
                line.split_once(": ").unwrap_or_else(|| panic!("{path:?}: {line:?}"));
            let text = value.to_owned();
            let pair = value.split_once(' ').map(|(one, two)| (one.to_owned(), two.to_owned()));
            match key {
                "firmware" => case.firmware = pair.unwrap(),
                "rom" => (case.rom, case.roms) = (true, value == "any"),
                "exit" => case.exit = value.parse().unwrap(),
                "kind" => case.kind = Some(text),
                "message" => case.message = Some(text),
                "place" => case.place = Some(text),
                "folded" => case.folded.push(text),
                "says" => case.says.push(text),
                "frame" | "inlined" | "core" => {
                    let (function, place) = pair.map_or((text, None), |(f, p)| (f, Some(p)));
                    let places = if key == "core" { &mut case.core } else { &mut case.frames };
                    places.push((function, place, key == "inlined"));
                }
                _ => panic!("{path:?}: unknown key {key:?}"),
            }
        }
        case
    }

    /// Returns the differences from the expectations.
    fn wrong(&self) -> Vec<String> {
        let (firmware, bin) = &self.firmware;
        let mut port = "--port=sim:esp32c3".to_owned();
        let elf = PROGRAMS_IN_C.join(bin).with_extension("elf").to_string_lossy().into_owned();
        let bin = format!("--bin={bin}");
        let (firmware, how) =
            if firmware == IN_C { (&elf, "--boot=rom") } else { (firmware, bin.as_str()) };
        let mut run = vec!["run", "--target=esp32c3", how, "--format=json"];
        let rom = mask_rom::path().to_string_lossy().into_owned();
        let roms = mask_rom::path().parent().unwrap().to_string_lossy().into_owned();
        if self.rom {
            port.push_str(&format!(",rom={rom}"));
            // The ROM ELF by its path, or from a directory, selected by the name that the board's
            // ROM prints.
            run.extend(["--rom", if self.roms { roms.as_str() } else { rom.as_str() }]);
        }
        run.extend([port.as_str(), firmware]);
        let said = esplice_for(&self.firmware.0, &[&run[..], &NEVER].concat());
        let mut wrong = vec![];
        if said.exit != self.exit {
            wrong.push(format!("exit {}", said.exit));
        }
        let events: Vec<Value> =
            said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let panic = events.iter().find(|event| event["event"] == "panic").cloned();
        let panic = panic.unwrap_or_default();
        if self.kind.as_deref() != panic["kind"].as_str() {
            wrong.push(format!("kind {}", panic["kind"]));
        }
        let message = panic["message"].as_str().unwrap_or_default();
        if !message.contains(self.message.as_deref().unwrap_or_default()) {
            wrong.push(format!("message {message:?}"));
        }
        if let Some(wanted) = &self.place {
            let place = &panic["place"];
            let file = place["file"].as_str().unwrap_or_default();
            let told = format!("{file}:{}:{}", place["line"], place["column"]);
            if told != *wanted {
                wrong.push(format!("place {told}"));
            }
        }
        let frames = panic["frames"].as_array().cloned().unwrap_or_default();
        wrong.extend(missing(&self.frames, &frames));
        if !self.core.is_empty() {
            let dump = events.iter().find(|event| event["event"] == "core_dump");
            let tasks = dump.and_then(|dump| dump["tasks"].as_array());
            let task = tasks.and_then(|tasks| tasks.iter().find(|task| task["crashed"] == true));
            let frames = task.and_then(|task| task["frames"].as_array().cloned());
            wrong.extend(missing(&self.core, &frames.unwrap_or_default()));
        }
        for function in &self.folded {
            let is = |frame: &Value| {
                frame["function"] == function.as_str() && frame["times"].as_u64() > Some(1)
            };
            if !frames.iter().any(is) {
                wrong.push(format!("{function} is not folded"));
            }
        }
        let text: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
        for words in &self.says {
            if !text.contains(words) && !said.err.contains(words) {
                wrong.push(format!("not said: {words}"));
            }
        }
        if !wrong.is_empty() {
            wrong.push(format!("{said:#?}"));
        }
        wrong
    }
}

/// Returns the first of `places` that is not found in `frames` after the previous ones.
fn missing(places: &[Place], frames: &[Value]) -> Option<String> {
    let mut rest = frames.iter();
    let mut is_missing = |(function, place, inlined): &&Place| {
        let is = |frame: &Value| {
            let file = frame["file"].as_str().unwrap_or_default();
            let line = frame["line"].as_u64().map_or(String::new(), |line| format!(":{line}"));
            frame["function"].as_str() == Some(function)
                && frame["inlined"] == *inlined
                && place.as_ref().is_none_or(|place| {
                    file.ends_with(place) || format!("{file}{line}").ends_with(place)
                })
        };
        !rest.any(is)
    };
    let (function, place, _) = places.iter().find(&mut is_missing)?;
    Some(format!("no frame {function} {place:?} there"))
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = std::fs::read_dir(repository().join("tests/panics"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "case"))
        .map(|path| Case::read(&path))
        .collect();
    cases.sort_by(|a, b| a.firmware.cmp(&b.firmware));
    cases
}

/// Checks each case of one of the firmware directories.
#[track_caller]
fn check(firmware: &str) {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.firmware.0 == firmware).collect();
    assert!(!cases.is_empty(), "there are cases of {firmware}");
    let wrong: Vec<String> = cases
        .iter()
        .map(|case| (case.name.as_str(), case.wrong()))
        .filter(|(_, wrong)| !wrong.is_empty())
        .map(|(name, wrong)| format!("{name}: {}", wrong.join("\n  ")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_case_is_left_out() {
    let cases = cases();
    assert!(cases.len() >= 20, "the folder of cases is there");
    for Case { name, firmware, .. } in cases {
        assert!([FIRMWARE, IN_C, DEFMT, UNWOUND].contains(&firmware.0.as_str()), "{name}");
    }
}

#[test]
fn backtraces_of_the_firmware_itself() {
    check(FIRMWARE);
}

#[test]
fn dumps_of_programs_in_c() {
    check(IN_C);
}

#[test]
fn panics_through_defmt() {
    check(DEFMT);
}

/// Tests that depend on the compiler; `scripts/test` runs them with each one.
mod with_each_compiler {
    #[test]
    fn stack_dumps_are_unwound() {
        super::check(super::UNWOUND);
    }
}

/// Output for people: the folded tail, the quoted lines.
#[test]
fn a_backtrace_is_told_with_its_source() {
    let run = ["run", "--target=esp32c3", "--bin=index", "--port=sim:esp32c3", FIRMWARE];
    let said = esplice(&[&run[..], &NEVER].concat()).check(21, &[]);
    let frame =
        format!(" index::inner at {FIRMWARE}/src/bin/index.rs:35\n        35 | values[index]\n");
    assert!(said.err.contains(&frame), "{said:#?}");
    assert_eq!(said.err.matches("times)").count(), 1, "the tail is folded: {said:#?}");
    assert!(said.err.contains("\nerror: the firmware panicked: index out of bounds"), "{said:#?}");
}

#[test]
fn an_exception_in_steps() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (image, elf) = (at("null-load.bin"), at("null-load.elf"));
    esplice(&["build", "--target=esp32c3", "--bin=null-load", "--output", &image, FIRMWARE])
        .check(0, &[]);
    let port = format!("--port=sim:esp32c3,flash={}", at("board.flash"));
    esplice(&["flash", &port, &image]).check(0, &[]);

    let monitor = ["monitor", &port, "--format=json"];
    let frames = |more: &[&str]| {
        let said = esplice(&[&monitor[..], &NEVER, more].concat()).check(21, &[]);
        let events = said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let panic = events.into_iter().find(|event| event["event"] == "panic").unwrap();
        panic["frames"].as_array().unwrap().clone()
    };
    let line = |frame: &Value| {
        let file = frame["file"].as_str().unwrap_or_default();
        (file.ends_with("src/bin/null-load.rs"), frame["line"].as_u64())
    };
    let decoded = frames(&["--elf", &elf]);
    // The load itself is a function of core, inlined into main.
    assert_eq!(decoded[0]["inlined"], true, "{decoded:#?}");
    let main = decoded.iter().find(|frame| frame["inlined"] == false).unwrap();
    assert_eq!(line(main), (true, Some(18)), "{decoded:#?}");
    assert_eq!(main["addr"], decoded[0]["addr"]);

    let bare = frames(&[]);
    assert_eq!(bare[0]["addr"], main["addr"]);
    assert!(bare.iter().all(|frame| frame["function"].is_null() && frame["line"].is_null()));
    // The ELF is found next to the image.
    let run = ["run", &port, &image];
    let said = esplice(&[&run[..], &NEVER].concat()).check(21, &["src/bin/null-load.rs:18"]);
    std::fs::write(&elf, "another").unwrap();
    let other = esplice(&[&run[..], &NEVER].concat()).check(21, &["panics are not decoded"]);
    assert!(said.err.contains("Backtrace, ") && !other.err.contains("Backtrace, "), "{other:#?}");
}
