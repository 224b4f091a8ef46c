//! Memory layouts for the linker and for the program.

use std::sync::Arc;
use std::{
    env,
    panic::Location,
    path::{Component, Path, PathBuf},
};

use esplice_chip::{Chip, ChipDb, FeatureChip};
use esplice_layout::{
    ArenaSpec, At, Base, HeapSpec, Linker, MODULE_FILE, ModuleOptions, Place, ReserveSpec,
    SectionSpec, Size, Spec, inject, rust_module,
};

use crate::{Error, cargo, settings_file, statics};

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
    /// The layout's file, for cargo to watch.
    file: Option<PathBuf>,
    /// The chip named by the caller.
    chip: Option<String>,
    /// The chip named by the file.
    file_chip: Option<String>,
    /// The chip or board file named by the layout's file, relative to it.
    target_file: Option<PathBuf>,
    /// True if the module must have no unsafe code of its own.
    safe: bool,
}

/// An arena for [`Layout::arena`].
#[derive(Debug, Clone)]
pub struct Arena(ArenaSpec);

impl Arena {
    /// Creates an arena `name` (`[a-z][a-z0-9_]*`) in `region`, of `size`: `16K`, `0x4000` or
    /// `25%`.
    ///
    /// # Errors
    /// Returns [`Error::Layout`] if `size` is not a size. [`Layout::emit`] checks everything else.
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

    /// Aligns the arena to `align` bytes instead of 16.
    #[track_caller]
    #[must_use]
    pub fn align(mut self, align: u32) -> Arena {
        self.0.align = Some(At::new(align, here()));
        self
    }

    /// Fills the arena with `byte` when the program is loaded.
    #[track_caller]
    #[must_use]
    pub fn fill(mut self, byte: u8) -> Arena {
        self.0.fill = Some(At::new(byte.into(), here()));
        self
    }

    /// Sets whether nothing is loaded into the arena, which is the default.
    #[track_caller]
    #[must_use]
    pub fn no_load(mut self, no_load: bool) -> Arena {
        self.0.no_load = Some(At::new(no_load, here()));
        self
    }

    /// Keeps the arena's contents across a reset.
    #[track_caller]
    #[must_use]
    pub fn keep(mut self) -> Arena {
        self.0.keep = Some(At::new(true, here()));
        self
    }
}

/// A heap for [`Layout::with_heap`].
#[derive(Debug, Clone)]
pub struct Heap(HeapSpec);

impl Heap {
    /// Creates a heap in `region`, of `size`: `96K`, `0x18000`, `25%` or `rest`.
    ///
    /// # Errors
    /// Returns [`Error::Layout`] if `size` is not a size. [`Layout::emit`] checks everything else.
    #[track_caller]
    pub fn new(region: &str, size: &str) -> Result<Heap, Error> {
        let place = here();
        Ok(Heap(HeapSpec {
            region: Some(At::new(region.to_owned(), place.clone())),
            size: parse_size(size, &place)?,
            written: size.to_owned(),
            align: None,
            symbols: Vec::new(),
            limit: None,
            limit_written: String::new(),
            place,
        }))
    }

    /// Aligns the heap to `align` bytes instead of 16.
    #[track_caller]
    #[must_use]
    pub fn align(mut self, align: u32) -> Heap {
        self.0.align = Some(At::new(align, here()));
        self
    }

    /// Defines more symbols: `_heap` defines `_heap_start`, `_heap_end` and `_heap_size`.
    #[track_caller]
    #[must_use]
    pub fn symbols(mut self, prefix: &str) -> Heap {
        self.0.symbols.push(At::new(prefix.to_owned(), here()));
        self
    }
}

/// Input sections with a place of their own, for [`Layout::section`].
#[derive(Debug, Clone)]
pub struct Section(SectionSpec);

impl Section {
    /// Places the input sections that match `pattern`, such as `.text.hot.*`, in `region`, and
    /// calls them `name` (`[a-z][a-z0-9_]*`) in symbols.
    #[track_caller]
    pub fn new(name: &str, pattern: &str, region: &str) -> Section {
        let place = here();
        Section(SectionSpec {
            name: At::new(name.to_owned(), place.clone()),
            pattern: At::new(pattern.to_owned(), place.clone()),
            region: At::new(region.to_owned(), place.clone()),
            align: None,
            no_load: None,
            place,
        })
    }

    /// Aligns the section to `align` bytes instead of 4.
    #[track_caller]
    #[must_use]
    pub fn align(mut self, align: u32) -> Section {
        self.0.align = Some(At::new(align, here()));
        self
    }

    /// Sets whether nothing is loaded into the section. By default it is loaded.
    #[track_caller]
    #[must_use]
    pub fn no_load(mut self, no_load: bool) -> Section {
        self.0.no_load = Some(At::new(no_load, here()));
        self
    }
}

impl Layout {
    /// Creates an empty layout.
    pub fn new() -> Layout {
        Layout::default()
    }

    /// Reads `[layout]` from the file at `path`, relative to the package's directory, where cargo
    /// runs build scripts. Cargo runs the build script again when the file changes.
    ///
    /// # Errors
    /// Returns [`Error::Io`], [`Error::NoLayout`], or [`Error::Layout`] with file and line.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Layout, Error> {
        let path = path.as_ref();
        cargo::emit_instruction("rerun-if-changed", cargo::text(path)?);
        let text = settings_file::read(path)?;
        let name = path.display().to_string();
        let spec = Spec::parse(&name, &text)?;
        Ok(Layout {
            spec: spec.ok_or_else(|| Error::NoLayout { path: path.to_owned() })?,
            file: Some(path.to_owned()),
            chip: None,
            file_chip: esplice_layout::project_target(&text),
            target_file: esplice_layout::project_target_file(&text).map(PathBuf::from),
            safe: false,
        })
    }

    /// Sets the chip or board, such as `esp32c3`.
    #[must_use]
    pub fn chip(mut self, name: &str) -> Layout {
        self.chip = Some(name.to_owned());
        self
    }

    /// Sets what the program is built on, esp-hal by default.
    #[track_caller]
    #[must_use]
    pub fn base(mut self, base: Base) -> Layout {
        self.spec.base = Some(At::new(base, here()));
        self
    }

    /// Sets the kind of linker. By default it is derived from cargo's configuration.
    #[track_caller]
    #[must_use]
    pub fn linker(mut self, linker: Linker) -> Layout {
        self.spec.linker = Some(At::new(linker, here()));
        self
    }

    /// Adds a heap in `region`, of `size`: `96K`, `0x18000`, `25%` or `rest`.
    ///
    /// # Errors
    /// Returns [`Error::Layout`] if `size` is not a size. [`Layout::emit`] checks everything else.
    #[track_caller]
    pub fn heap(self, region: &str, size: &str) -> Result<Layout, Error> {
        Ok(self.with_heap(Heap::new(region, size)?))
    }

    /// Adds a heap with further settings.
    #[must_use]
    pub fn with_heap(mut self, heap: Heap) -> Layout {
        self.spec.heap = Some(heap.0);
        self
    }

    /// Sets the number of bytes reserved for the main stack, 8K by default.
    ///
    /// # Errors
    /// Returns [`Error::Layout`] if `size` is not a size.
    #[track_caller]
    pub fn stack(mut self, size: &str) -> Result<Layout, Error> {
        self.spec.stack.main = Some((parse_size(size, &here())?, size.to_owned()));
        Ok(self)
    }

    /// Adds an arena.
    #[must_use]
    pub fn arena(mut self, arena: Arena) -> Layout {
        self.spec.arenas.push(arena.0);
        self
    }

    /// Adds a section.
    #[must_use]
    pub fn section(mut self, section: Section) -> Layout {
        self.spec.sections.push(section.0);
        self
    }

    /// Keeps the range of `size` bytes at the address `start` free, and calls it `name`
    /// (`[a-z][a-z0-9_]*`) in messages.
    ///
    /// # Errors
    /// Returns [`Error::Layout`] if `size` is not a size. [`Layout::emit`] checks everything else.
    #[track_caller]
    pub fn reserve(mut self, name: &str, start: u32, size: &str) -> Result<Layout, Error> {
        let place = here();
        self.spec.reserves.push(ReserveSpec {
            name: At::new(name.to_owned(), place.clone()),
            start: At::new(start, place.clone()),
            size: parse_size(size, &place)?,
            written: size.to_owned(),
            place,
        });
        Ok(self)
    }

    /// Writes the module without unsafe code, so that the crate that includes it may have
    /// `#![forbid(unsafe_code)]`. The package then needs `esplice-rt` among its dependencies.
    #[must_use]
    pub fn safe_module(mut self) -> Layout {
        self.safe = true;
        self
    }

    /// Checks the layout, passes it to the linker, and writes the module `esplice_layout.rs` into
    /// `OUT_DIR`. If the target is not a board, nothing is passed to the linker and the module uses
    /// statics. Under `esplice build`, which passes the layout to the linker itself, only the
    /// module is written.
    ///
    /// # Errors
    /// Returns any [`Error`]. Return it from the build script's `main` and cargo shows it.
    pub fn emit(&self) -> Result<(), Error> {
        let build = cargo::Build::read()?;
        for name in ["ESPLICE_LAYOUT"].iter().chain(TARGETS).chain(TARGET_FILES) {
            cargo::emit_instruction("rerun-if-env-changed", name);
        }
        if self.file.is_none() {
            // Otherwise cargo would watch every file of the package.
            cargo::emit_instruction("rerun-if-changed", "build.rs");
        }
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let chip = self.chip_of(&build.features, variable)?;
        let layout = self.spec.settle(&chip)?;
        let options = ModuleOptions::default().device(build.device).safe(self.safe);
        let module = rust_module(&layout, options);
        cargo::write(&build.out_dir.join(MODULE_FILE), module.as_bytes())?;

        let injected = env::var("ESPLICE_LAYOUT").is_ok_and(|value| value == "injected");
        if !build.device || injected {
            return Ok(());
        }
        let linker = layout.linker_for(build.linker.as_deref());
        if linker == Linker::Gnu && layout.base == Base::EspHal && build.flags_name("linkall.x") {
            return Err(Error::LinkallFirst);
        }
        check_statics(&layout)?;
        let injection = inject(&layout, linker);
        for file in &injection.files {
            cargo::write(&build.out_dir.join(file.name), &file.bytes)?;
        }
        for argument in injection.link_args(cargo::text(&build.out_dir)?) {
            cargo::emit_instruction("rustc-link-arg", &argument);
        }
        Ok(())
    }

    /// Returns the chip in the order described in the [crate] docs. A chip or board file adds its
    /// chip to the known ones, and that chip is used if nothing names another.
    fn chip_of(
        &self,
        features: &[String],
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Arc<Chip>, Error> {
        let by_variable = TARGET_FILES.iter().find_map(|name| variable(name));
        let file = match (by_variable, &self.target_file) {
            (Some(file), _) => Some(PathBuf::from(file)),
            (None, Some(file)) => Some(inside(self.file.as_deref(), file)?),
            (None, None) => None,
        };
        let mut chips = ChipDb::default();
        let of_file = match file {
            Some(file) => {
                let shown = cargo::text(&file)?;
                cargo::emit_instruction("rerun-if-changed", shown);
                let text = settings_file::read(&file)?;
                Some(chips.add(shown, &text)?)
            }
            None => None,
        };
        let named = |name: &str| Ok(chips.find_target(name)?.chip().clone());
        let by_variable = || TARGETS.iter().find_map(|name| variable(name));
        if let Some(name) = self.chip.clone().or_else(by_variable) {
            return named(&name);
        }
        match (chips.chip_from_features(features), &self.file_chip, of_file) {
            (FeatureChip::One(chip), ..) => Ok(chip),
            (FeatureChip::Several(names), ..) => Err(Error::ManyChips { names }),
            (FeatureChip::None, Some(name), _) => named(name),
            (FeatureChip::None, None, Some(target)) => Ok(target.chip().clone()),
            (FeatureChip::None, None, None) => Err(Error::NoChip),
        }
    }
}

/// Refuses initial values that the linker would drop, as far as the sources show them.
fn check_statics(layout: &esplice_layout::Layout) -> Result<(), Error> {
    let unloaded = layout.arenas.iter().filter(|arena| !arena.is_loaded());
    let names: Vec<&str> = unloaded.map(|arena| arena.name.as_str()).collect();
    // Cargo runs build scripts in the package's directory.
    let folder = Path::new("src");
    if names.is_empty() || !folder.is_dir() {
        return Ok(());
    }
    cargo::emit_instruction("rerun-if-changed", "src");
    match statics::first_below(folder, &names) {
        Some(found) => {
            let (path, line) = (found.path, found.line);
            Err(Error::DataInNoLoad { path, line, name: found.name, arena: found.arena })
        }
        None => Ok(()),
    }
}

/// Variables that name the chip or board. `esplice build` sets the first; users may set any of
/// them.
const TARGETS: &[&str] = &["ESPLICE_PROJECT_TARGET", "ESPLICE_TARGET", "ESPLICE_CHIP"];

/// Variables that name a chip or board file, for targets unknown to esplice.
const TARGET_FILES: &[&str] = &["ESPLICE_PROJECT_TARGET_FILE", "ESPLICE_TARGET_FILE"];

/// Resolves `path` from the project's `file`. The path must not leave the project.
fn inside(file: Option<&Path>, path: &Path) -> Result<PathBuf, Error> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.components().all(plain) {
        return Err(Error::OutsideProject { path: path.to_owned() });
    }
    Ok(file.and_then(Path::parent).unwrap_or(Path::new("")).join(path))
}

fn parse_size(text: &str, place: &Place) -> Result<At<Size>, Error> {
    let size = Size::parse("size", text)
        .map_err(|cause| esplice_layout::LayoutError::new(place, cause))?;
    Ok(At::new(size, place.clone()))
}

/// Returns the calling line of the build script.
#[track_caller]
fn here() -> Place {
    let at = Location::caller();
    Place::new(at.file(), at.line())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns the name of the selected chip, or the error message.
    fn chosen(layout: &Layout, features: &[&str], variables: &[(&str, &str)]) -> String {
        let features: Vec<String> = features.iter().map(|f| (*f).to_owned()).collect();
        let variable = |name: &'static str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match layout.chip_of(&features, variable) {
            Ok(chip) => chip.name.clone(),
            Err(error) => error.message(),
        }
    }

    #[test]
    fn the_first_that_names_the_chip_is_taken() {
        let file = Layout { file_chip: Some("esp32c6".into()), ..Layout::new() };
        assert_eq!(chosen(&file, &[], &[]), "esp32c6");
        assert_eq!(chosen(&file, &["esp32h2", "std"], &[]), "esp32h2");
        assert_eq!(chosen(&file, &["esp32h2"], &[(TARGETS[0], "xiao-esp32c3")]), "esp32c3");
        let named = file.chip("esp32c2");
        assert_eq!(chosen(&named, &["esp32h2"], &[(TARGETS[0], "esp32c3")]), "esp32c2");
        assert_eq!(chosen(&Layout::new(), &[], &[]), Error::NoChip.message());
        let two = chosen(&Layout::new(), &["esp32h2", "esp32c6"], &[]);
        assert_eq!(two, "features name more than one chip: esp32c6, esp32h2");
    }

    /// Returns everything that a layout makes, without the lines that its blocks come from.
    fn made(spec: &Spec, file: &str) -> Vec<String> {
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
        let layout = spec.settle(chip).unwrap();
        let mut texts = Vec::new();
        for device in [true, false] {
            texts.push(rust_module(&layout, ModuleOptions::default().device(device).safe(false)));
        }
        for linker in [Linker::Lld, Linker::Gnu] {
            let injection = inject(&layout, linker);
            texts.extend(injection.link_args("/out"));
            let files = injection.files.iter();
            texts.extend(files.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()));
        }
        let without_place = |text: String| {
            let start = format!("{file}:");
            let mut parts = text.split(&start);
            let first = parts.next().unwrap_or_default().to_owned();
            let rest = parts.map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
            rest.fold(first, |text, part| text + "PLACE" + part)
        };
        texts.into_iter().map(without_place).collect()
    }

    #[test]
    fn a_layout_built_in_code_equals_that_of_a_file() {
        let toml = r#"
            [layout.heap]
            size = "64K"
            align = 64
            symbols = ["_heap"]

            [[layout.arena]]
            name = "dma"
            size = "4K"
            align = 64
            no-load = true

            [layout.stack]
            main = "16K"

            [[layout.section]]
            name = "hot"
            pattern = ".text.hot.*"
            region = "iram"
            align = 16

            [[layout.section]]
            name = "scratch"
            pattern = ".scratch.*"
            region = "dram"
            no-load = true

            [[layout.reserve]]
            name = "mailbox"
            start = 0x50001f00
            size = 0x100
        "#;
        let file = Spec::parse("esplice.toml", toml).unwrap().unwrap();
        let built = Layout::new()
            .with_heap(Heap::new("dram", "64K").unwrap().align(64).symbols("_heap"))
            .arena(Arena::new("dma", "dram", "4K").unwrap().align(64).no_load(true))
            .stack("16K")
            .unwrap()
            .section(Section::new("hot", ".text.hot.*", "iram").align(16))
            .section(Section::new("scratch", ".scratch.*", "dram").no_load(true))
            .reserve("mailbox", 0x5000_1f00, "0x100")
            .unwrap();
        assert_eq!(made(&built.spec, file!()), made(&file, "esplice.toml"));
    }

    #[test]
    fn a_variable_has_a_short_name() {
        let file = Layout { file_chip: Some("esp32c6".into()), ..Layout::new() };
        assert_eq!(chosen(&file, &["esp32h2"], &[("ESPLICE_TARGET", "esp32c3")]), "esp32c3");
        assert_eq!(chosen(&file, &[], &[("ESPLICE_CHIP", "xiao-esp32c3")]), "esp32c3");
    }

    /// A chip unknown to esplice is read from its file, as for `--target-file` and `[project]
    /// target-file`.
    #[test]
    fn a_chip_of_ones_own_is_known_from_its_file() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../targets");
        let text = fs::read_to_string(folder.join("esp32c3.toml")).unwrap();
        let own = text.replacen("name = \"esp32c3\"", "name = \"esp32x1\"", 1);
        let path = env::temp_dir().join(format!("esp32x1-{}.toml", std::process::id()));
        fs::write(&path, own).unwrap();
        let shown = path.to_str().unwrap();

        // As if the project's file were in the same directory.
        let file = Layout {
            target_file: path.file_name().map(PathBuf::from),
            file: Some(path.with_file_name("esplice.toml")),
            ..Layout::new()
        };
        assert_eq!(chosen(&file, &[], &[]), "esp32x1");
        assert_eq!(chosen(&file, &["esp32x1"], &[]), "esp32x1");
        assert_eq!(chosen(&file, &[], &[(TARGETS[0], "esp32c6")]), "esp32c6");
        let variables = [(TARGET_FILES[0], shown), (TARGETS[0], "esp32x1")];
        assert_eq!(chosen(&Layout::new(), &[], &variables), "esp32x1");
        let nowhere = chosen(&Layout::new(), &[], &[(TARGET_FILES[0], "/nowhere/x.toml")]);
        assert!(nowhere.starts_with("cannot read /nowhere/x.toml: "), "{nowhere}");
        let outside = Layout { target_file: Some("../x.toml".into()), ..Layout::new() };
        assert_eq!(chosen(&outside, &[], &[]), "target-file ../x.toml leaves the project");
        fs::remove_file(&path).unwrap();
    }
}
