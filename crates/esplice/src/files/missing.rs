//! Explains why a PATH is not a source, guessing what the user intended.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{files::read, ui::exit::Failure};

/// Returns the failure for a PATH that cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let failure = read::cannot_read(path, error);
    if error.kind() != io::ErrorKind::NotFound {
        return failure;
    }
    match go_words(path) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Returns the failure for a directory without a source.
pub fn empty_directory(directory: &Path) -> Failure {
    let shown = directory.display();
    let holds = |name: &str| directory.join(name).is_file();
    if holds("CMakeLists.txt") {
        return Failure::input(format!("{shown} is built by CMake, not by cargo or TinyGo")).hint(
            "`esplice flash` and `esplice run` build an ESP-IDF project with idf.py; other projects \
             of CMake: give the ELF or the image",
        );
    }
    if holds("platformio.ini") {
        return Failure::input(format!("{shown} is built by PlatformIO, not by cargo or TinyGo"))
            .hint("build it with pio; `esplice flash` writes the firmware.elf or firmware.bin it makes");
    }
    Failure::input(format!("{shown} has neither Cargo.toml nor .go files"))
        .hint("give the directory of a cargo project or a Go package, an ELF or an image")
}

/// Returns a hint for a pattern or import path of Go.
fn go_words(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    if text.ends_with("...") {
        return Some(
            "firmware is one package: give the directory of the main one, such as . or ./cmd/NAME"
                .into(),
        );
    }
    // An import path starts with the module's name, whose first element is a host name.
    let first = text.split('/').next().filter(|_| text.contains('/'))?;
    if !first.contains('.') || first.starts_with('.') {
        return None;
    }
    let directory = local(text);
    Some(match directory {
        Some(directory) => {
            format!("give the directory of a Go package, here {}", directory.display())
        }
        None => "give the directory of a Go package, not its import path".into(),
    })
}

/// Returns the directory of an import path that belongs to the module in the current directory.
fn local(import: &str) -> Option<PathBuf> {
    let here = Path::new(".").canonicalize().ok()?;
    let (root, text) = here.ancestors().find_map(|above| {
        Some((above.to_owned(), std::fs::read_to_string(above.join("go.mod")).ok()?))
    })?;
    let module = text.lines().find_map(|line| line.trim().strip_prefix("module "))?.trim();
    let rest = import.strip_prefix(module)?;
    let inside = match rest.strip_prefix('/') {
        Some(inside) => inside,
        None if rest.is_empty() => "",
        None => return None,
    };
    let directory = root.join(inside);
    let shown = match directory.strip_prefix(&here) {
        Ok(below) => Path::new(".").join(below),
        Err(_) => directory.clone(),
    };
    directory.is_dir().then_some(shown)
}
