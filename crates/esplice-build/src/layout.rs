//! Memory layouts for the linker and for the program.

use std::{
    env, fs,
    panic::Location,
    path::{Path, PathBuf},
};

use esplice_layout::{
    ArenaSpec, At, Base, HeapSpec, Linker, MODULE_FILE, Place, Size, Spec, inject, rust_module,
};

use crate::{Error, cargo};

/// A memory layout, read from a file or built in code.
///
/// ```no_run
/// use esplice_build::{Arena, Layout};
///
/// fn main() -> Result<(), esplice_build::Error> {
///     Layout::new()
///         .heap("dram", "rest")?
///         .stack("16K")?
///         .arena(Arena::new("dma", "dram", "16K")?.align(64))
///         .emit()
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Layout {
    spec: Spec,
    /// The file, as cargo is to watch it.
    file: Option<PathBuf>,
    /// The chip that the caller names.
    chip: Option<String>,
    /// The chip that the file names.
    file_chip: Option<String>,
}

/// An arena for [`Layout::arena`].
#[derive(Debug, Clone)]
pub struct Arena(ArenaSpec);

impl Arena {
    /// An arena `name` (`[a-z][a-z0-9_]*`) in `region`, of `size`: `16K`, `0x4000` or `25%`.
    ///
    /// # Errors
    /// [`Error::Layout`] for what is no size. All else is checked by [`Layout::emit`].
    #[track_caller]
    pub fn new(name: &str, region: &str, size: &str) -> Result<Arena, Error> {
        let place = here();
        Ok(Arena(ArenaSpec {
            name: At::new(name.to_owned(), place.clone()),
            region: Some(At::new(region.to_owned(), place.clone())),
            size: parse_size(size, &place)?,
            written: size.to_owned(),
            align: None,
            fill: None,
            no_load: None,
            keep: None,
            place,
        }))
    }

    /// Aligned to `align` bytes instead of 16.
    #[track_caller]
    #[must_use]
    pub fn align(mut self, align: u32) -> Arena {
        self.0.align = Some(At::new(align, here()));
        self
    }

    /// Filled with `byte` when the program is loaded.
    #[track_caller]
    #[must_use]
    pub fn fill(mut self, byte: u8) -> Arena {
        self.0.fill = Some(At::new(byte.into(), here()));
        self
    }

    /// Its contents are to outlive a reset.
    #[track_caller]
    #[must_use]
    pub fn keep(mut self) -> Arena {
        self.0.keep = Some(At::new(true, here()));
        self
    }
}

impl Layout {
    /// A layout of nothing, to be filled by the other functions.
    pub fn new() -> Layout {
        Layout::default()
    }

    /// The `[layout]` of the file at `path`, which is relative to the package's directory, where cargo
    /// runs build scripts. Cargo is told to run the build script again when the file changes.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoLayout`], [`Error::Layout`] with file and line.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Layout, Error> {
        let path = path.as_ref();
        cargo::tell("rerun-if-changed", cargo::text(path)?);
        let text = fs::read_to_string(path).map_err(|source| Error::Io {
            verb: "read",
            path: path.to_owned(),
            source,
        })?;
        let name = path.display().to_string();
        let spec = Spec::parse(&name, &text)?;
        Ok(Layout {
            spec: spec.ok_or_else(|| Error::NoLayout { path: path.to_owned() })?,
            file: Some(path.to_owned()),
            chip: None,
            file_chip: esplice_layout::project_target(&text),
        })
    }

    /// Names the chip or board, such as `esp32c3`.
    #[must_use]
    pub fn chip(mut self, name: &str) -> Layout {
        self.chip = Some(name.to_owned());
        self
    }

    /// What the program is built on; esp-hal if nothing is said.
    #[track_caller]
    #[must_use]
    pub fn base(mut self, base: Base) -> Layout {
        self.spec.base = Some(At::new(base, here()));
        self
    }

    /// The linker; told by cargo's configuration if nothing is said.
    #[track_caller]
    #[must_use]
    pub fn linker(mut self, linker: Linker) -> Layout {
        self.spec.linker = Some(At::new(linker, here()));
        self
    }

    /// A heap in `region`, of `size`: `96K`, `0x18000`, `25%` or `rest`.
    ///
    /// # Errors
    /// [`Error::Layout`] for what is no size. All else is checked by [`Layout::emit`].
    #[track_caller]
    pub fn heap(mut self, region: &str, size: &str) -> Result<Layout, Error> {
        let place = here();
        self.spec.heap = Some(HeapSpec {
            region: Some(At::new(region.to_owned(), place.clone())),
            size: parse_size(size, &place)?,
            written: size.to_owned(),
            align: None,
            symbols: Vec::new(),
            limit: None,
            limit_written: String::new(),
            place,
        });
        Ok(self)
    }

    /// Bytes that stay free for the main stack, 8K if nothing is said.
    ///
    /// # Errors
    /// [`Error::Layout`] for what is no size.
    #[track_caller]
    pub fn stack(mut self, size: &str) -> Result<Layout, Error> {
        self.spec.stack.main = Some((parse_size(size, &here())?, size.to_owned()));
        Ok(self)
    }

    /// One more arena.
    #[must_use]
    pub fn arena(mut self, arena: Arena) -> Layout {
        self.spec.arenas.push(arena.0);
        self
    }

    /// Checks the layout, gives it to the linker, and writes the module `esplice_layout.rs` into
    /// `OUT_DIR`. Where the target is no board's, the linker is told nothing and the module stands on
    /// statics; under `esplice build`, which tells the linker itself, the module alone is written.
    ///
    /// # Errors
    /// [`Error`]; that of `main`'s build script is what cargo shows.
    pub fn emit(&self) -> Result<(), Error> {
        let build = cargo::Build::read()?;
        for name in ["ESPLICE_LAYOUT", "ESPLICE_PROJECT_TARGET"] {
            cargo::tell("rerun-if-env-changed", name);
        }
        if self.file.is_none() {
            // Else cargo would watch every file of the package.
            cargo::tell("rerun-if-changed", "build.rs");
        }
        let chip = esplice_chip::find_target(&self.chip_name(&build.features)?)?.chip();
        let layout = self.spec.settle(chip)?;
        let module = rust_module(&layout, build.device);
        cargo::write(&build.out_dir.join(MODULE_FILE), module.as_bytes())?;

        let injected = env::var("ESPLICE_LAYOUT").is_ok_and(|value| value == "injected");
        if !build.device || injected {
            return Ok(());
        }
        let linker = layout.linker_for(build.linker.as_deref());
        let injection = inject(&layout, linker);
        for file in &injection.files {
            cargo::write(&build.out_dir.join(file.name), &file.bytes)?;
        }
        for argument in injection.link_args(cargo::text(&build.out_dir)?) {
            cargo::tell("rustc-link-arg", &argument);
        }
        Ok(())
    }

    fn chip_name(&self, features: &[String]) -> Result<String, Error> {
        if let Some(chip) = &self.chip {
            return Ok(chip.clone());
        }
        if let Ok(chip) = env::var("ESPLICE_PROJECT_TARGET") {
            return Ok(chip);
        }
        let known = esplice_chip::all().iter().map(|chip| chip.name.clone());
        let mut named: Vec<String> = known.filter(|chip| features.contains(chip)).collect();
        match (named.len(), &self.file_chip) {
            (1, _) => Ok(named.remove(0)),
            (0, Some(chip)) => Ok(chip.clone()),
            (0, None) => Err(Error::NoChip),
            _ => Err(Error::ManyChips { names: named }),
        }
    }
}

fn parse_size(text: &str, place: &Place) -> Result<At<Size>, Error> {
    let size = Size::parse("size", text)
        .map_err(|cause| esplice_layout::LayoutError::new(place, cause))?;
    Ok(At::new(size, place.clone()))
}

/// The line of the build script that called.
#[track_caller]
fn here() -> Place {
    let at = Location::caller();
    Place::new(at.file(), at.line())
}
