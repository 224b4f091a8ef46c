//! Templates of firmware projects.
//!
//! [`render`] returns the files of a new project for a chip or a board. The sources and the versions
//! of dependencies are those of the examples in esplice's repository; the rest (editor, CI, flags of
//! the linker) is made for the chip. The caller writes the files.
//!
//! ```
//! use esplice_chip::ChipDb;
//! use esplice_template::{Project, Template, render};
//!
//! let target = ChipDb::embedded().find_target("xiao-esp32c3")?;
//! let files = render(&Project::new("blink", Template::Hello, &target)?)?;
//! assert!(files.iter().any(|file| file.path == "src/main.rs"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod editor;
mod error;
mod manifest;
mod name;
mod notes;
mod render;

use esplice_chip::{Chip, Target};

pub use error::TemplateError;
pub use render::{ProjectFile, render};

/// A template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Template {
    /// Prints a line once a second, in Rust.
    Hello,
    /// Embassy tasks, in Rust.
    Async,
    /// A library with tests that run on the board, in Rust.
    Tests,
    /// A heap and memory arenas with fixed places, in Rust.
    Arenas,
    /// Prints a line once a second, in Go.
    Go,
}

impl Template {
    /// All templates, the simplest first.
    pub const ALL: [Template; 5] =
        [Template::Hello, Template::Async, Template::Tests, Template::Arenas, Template::Go];

    /// Returns the template's name.
    pub const fn name(self) -> &'static str {
        match self {
            Template::Hello => "hello",
            Template::Async => "async",
            Template::Tests => "tests",
            Template::Arenas => "arenas",
            Template::Go => "go",
        }
    }

    /// Returns a description in a few words.
    pub const fn description(self) -> &'static str {
        match self {
            Template::Hello => "Rust: prints a line once a second",
            Template::Async => "Rust: embassy tasks",
            Template::Tests => "Rust: a library with tests that run on the board",
            Template::Arenas => "Rust: a heap and memory arenas with fixed places",
            Template::Go => "Go, with TinyGo: prints a line once a second",
        }
    }

    /// Returns the template with this name.
    ///
    /// # Errors
    /// [`TemplateError::UnknownTemplate`]
    pub fn find(name: &str) -> Result<Template, TemplateError> {
        let found = Template::ALL.into_iter().find(|template| template.name() == name);
        found.ok_or_else(|| {
            let known = Template::ALL.map(Template::name);
            TemplateError::UnknownTemplate {
                name: name.to_owned(),
                nearest: esplice_chip::nearest(name, &known),
            }
        })
    }

    /// Returns the name of the example with this source.
    pub(crate) const fn example(self) -> &'static str {
        match self {
            Template::Hello => "hello-rust",
            Template::Async => "async-rust",
            Template::Tests => "tests-rust",
            Template::Arenas => "arenas-rust",
            Template::Go => "hello-go",
        }
    }

    /// Returns whether the template is in Rust.
    pub const fn is_rust(self) -> bool {
        !matches!(self, Template::Go)
    }

    /// Returns a line that the program prints, or `None` if it runs tests.
    pub const fn prints(self) -> Option<&'static str> {
        match self {
            Template::Hello | Template::Go => Some("Hello, World!"),
            Template::Async => Some("9 rounds"),
            Template::Arenas => Some("all is where it should be"),
            Template::Tests => None,
        }
    }
}

/// A project to create.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Project<'t> {
    /// Name of the project.
    pub name: String,
    /// The template.
    pub template: Template,
    /// The chip or board.
    pub target: &'t Target,
    /// True if there is a virtual board, which the project's CI then uses.
    pub has_virtual_board: bool,
}

impl<'t> Project<'t> {
    /// Returns the project with this name.
    ///
    /// # Errors
    /// [`TemplateError::BadName`] for a name that a package can't have,
    /// [`TemplateError::NotForChip`] if the template does not support the chip.
    pub fn new(
        name: &str,
        template: Template,
        target: &'t Target,
    ) -> Result<Project<'t>, TemplateError> {
        name::check(name)?;
        let chip = target.chip();
        let reason = match template {
            Template::Go if chip.toolchain.tinygo.is_none() => Some("TinyGo does not support it"),
            Template::Go => None,
            _ if !has_esp_hal(chip) => Some("esp-hal does not support it"),
            Template::Arenas if !has_regions(chip) => Some("it lacks some of the memory regions"),
            _ => None,
        };
        match reason {
            Some(reason) => Err(TemplateError::NotForChip {
                template: template.name(),
                chip: chip.display_name.clone(),
                reason,
            }),
            None => {
                Ok(Project { name: name.to_owned(), template, target, has_virtual_board: false })
            }
        }
    }

    /// Returns the name as an identifier, as Rust's crates have it.
    pub(crate) fn identifier(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// Returns whether esp-hal supports the chip: its memory layout then has esp-hal's names.
fn has_esp_hal(chip: &Chip) -> bool {
    chip.layout
        .as_ref()
        .is_some_and(|layout| layout.regions.iter().any(|region| !region.esp_hal.is_empty()))
}

/// Returns whether the chip has the regions in the layout of the template `arenas`.
fn has_regions(chip: &Chip) -> bool {
    let has = |key: &&str| chip.layout.as_ref().is_some_and(|layout| layout.region(key).is_some());
    ["dram", "dram2", "rtc-fast"].iter().all(has)
}
