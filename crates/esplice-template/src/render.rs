//! Puts the files of a project together.

use crate::{
    Project, Template, TemplateError,
    editor::editor_files,
    manifest::{Console, manifest},
    notes::{ci, ignored, readme},
};

/// A file of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectFile {
    /// Path in the project, with `/` between names.
    pub path: String,
    /// Content.
    pub text: String,
}

impl ProjectFile {
    pub(crate) fn new(path: &str, text: impl Into<String>) -> ProjectFile {
        ProjectFile { path: path.to_owned(), text: text.into() }
    }
}

/// Files of an example: path and text.
type Source = [(&'static str, &'static str)];

const HELLO: &Source = &[
    ("Cargo.toml", include_str!("../templates/hello/Cargo.toml.txt")),
    ("src/main.rs", include_str!("../templates/hello/src/main.rs")),
];
const ASYNC: &Source = &[
    ("Cargo.toml", include_str!("../templates/async/Cargo.toml.txt")),
    ("src/main.rs", include_str!("../templates/async/src/main.rs")),
];
const TESTS: &Source = &[
    ("Cargo.toml", include_str!("../templates/tests/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("../templates/tests/src/lib.rs")),
    ("src/board_tests.rs", include_str!("../templates/tests/src/board_tests.rs")),
    ("tests/math.rs", include_str!("../templates/tests/tests/math.rs")),
];
const ARENAS: &Source = &[
    ("Cargo.toml", include_str!("../templates/arenas/Cargo.toml.txt")),
    ("build.rs", include_str!("../templates/arenas/build.rs")),
    ("esplice.toml", include_str!("../templates/arenas/esplice.toml")),
    ("src/main.rs", include_str!("../templates/arenas/src/main.rs")),
];
const GO: &Source = &[
    ("esplice.toml", include_str!("../templates/go/esplice.toml")),
    ("go.mod", include_str!("../templates/go/go.mod.txt")),
    ("main.go", include_str!("../templates/go/main.go")),
];

/// Returns the files of a project, sorted by path.
///
/// # Errors
/// [`TemplateError::BadName`] if the name is that of a dependency.
pub fn render(project: &Project<'_>) -> Result<Vec<ProjectFile>, TemplateError> {
    let source = match project.template {
        Template::Hello => HELLO,
        Template::Async => ASYNC,
        Template::Tests => TESTS,
        Template::Arenas => ARENAS,
        Template::Go => GO,
    };
    let mut files = Vec::new();
    for (path, text) in source {
        let text = match *path {
            "Cargo.toml" => manifest(text, project)?,
            "esplice.toml" => settings(text, project),
            "go.mod" => text.replacen(project.template.example(), &project.name, 1),
            _ => program(text, project),
        };
        files.push(ProjectFile::new(path, text));
    }
    if !source.iter().any(|(path, _)| *path == "esplice.toml") {
        files.push(ProjectFile::new("esplice.toml", settings("", project)));
    }
    if project.template.is_rust() {
        files.push(ProjectFile::new(".cargo/config.toml", cargo_config(project)));
        if is_xtensa(project) {
            // The only toolchain with this target: Espressif's.
            let text = "[toolchain]\nchannel = \"esp\"\n";
            files.push(ProjectFile::new("rust-toolchain.toml", text));
        }
    }
    files.push(ProjectFile::new(".gitignore", ignored(project)));
    files.push(ProjectFile::new("README.md", readme(project)));
    files.push(ProjectFile::new(".github/workflows/ci.yml", ci(project)));
    files.extend(editor_files(project));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Returns whether the chip's compiler is Espressif's.
pub(crate) fn is_xtensa(project: &Project<'_>) -> bool {
    project.target.chip().isa == "xtensa"
}

/// Returns `esplice.toml`: the target, and what the example sets.
fn settings(example: &str, project: &Project<'_>) -> String {
    let head = format!("[project]\ntarget = {:?}\n", project.target.name());
    let rest = match example.split_once("[project]\n") {
        Some((_, rest)) => rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start(),
        None => example,
    };
    let rest = match Console::of(project) {
        Console::UsbSerialJtag => rest.replace("serial = \"uart\"", "serial = \"usb\""),
        Console::Uart => rest.to_owned(),
    };
    if rest.is_empty() { head } else { format!("{head}\n{rest}") }
}

/// Returns source with the project's name and console.
fn program(text: &str, project: &Project<'_>) -> String {
    let example = project.template.example().replace('-', "_");
    let text = text.replace(&format!("{example}::"), &format!("{}::", project.identifier()));
    match Console::of(project) {
        Console::UsbSerialJtag => text
            .replace("UART0\n//! (115200 baud, 8N1)", "USB\n//!")
            .replace("UART0 (115200 baud, 8N1)", "USB"),
        Console::Uart => text,
    }
}

/// Returns cargo's settings: target, linker script, runner.
fn cargo_config(project: &Project<'_>) -> String {
    let target = &project.target.chip().toolchain.rust_target;
    let mut text = format!(
        "[build]\n\
         target = \"{target}\"\n\
         \n\
         [target.{target}]\n\
         # Starts the firmware for `cargo run` and `cargo test`, on the port of ESPLICE_PROJECT_PORT or \
         the only likely one.\n\
         runner = \"esplice run\"\n\
         rustflags = [\n\
         \x20 # esp-hal's linker script.\n\
         \x20 \"-C\", \"link-arg=-Tlinkall.x\",\n"
    );
    if is_xtensa(project) {
        text.push_str("  # The program has its own start-up code.\n");
        text.push_str("  \"-C\", \"link-arg=-nostartfiles\",\n");
        text.push_str("]\n\n# No precompiled library exists for this target.\n");
        let crates = project.target.chip().toolchain.rust_build_std.iter();
        let crates: Vec<String> = crates.map(|name| format!("{name:?}")).collect();
        text.push_str(&format!("[unstable]\nbuild-std = [{}]\n", crates.join(", ")));
    } else {
        text.push_str("  # Frame pointers let the panic handler walk the stack.\n");
        text.push_str("  \"-C\", \"force-frame-pointers\",\n]\n");
    }
    text
}
