//! A layout as somebody wrote it, in `esplice.toml` or in code.

use std::str::FromStr;

use crate::{Cause, LayoutError, Place, Size};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Place,
}

impl<T> At<T> {
    /// `value`, which stands at `place`.
    pub fn new(value: T, place: Place) -> At<T> {
        At { value, place }
    }
}

/// What the program is built on: whose linker scripts the layout adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Base {
    /// Rust with esp-hal, whose script is `linkall.x`.
    #[default]
    EspHal,
    /// A program of one's own that is loaded into RAM and uses no flash; the whole script is made.
    Ram,
    /// TinyGo.
    TinyGo,
    /// ESP-IDF.
    EspIdf,
}

impl Base {
    /// Names in files.
    pub const NAMES: &[(&str, Base)] = &[
        ("esp-hal", Base::EspHal),
        ("ram", Base::Ram),
        ("tinygo", Base::TinyGo),
        ("esp-idf", Base::EspIdf),
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        Base::NAMES.iter().find(|(_, base)| *base == self).map_or("", |(name, _)| name)
    }
}

impl FromStr for Base {
    type Err = Box<Cause>;
    fn from_str(text: &str) -> Result<Base, Box<Cause>> {
        word("base", text, Base::NAMES)
    }
}

/// The family of linkers that reads the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linker {
    /// LLVM's lld, also as rust-lld.
    #[default]
    Lld,
    /// GNU ld, also when gcc drives it.
    Gnu,
}

impl Linker {
    /// Names in files.
    pub const NAMES: &[(&str, Linker)] = &[("lld", Linker::Lld), ("gnu", Linker::Gnu)];

    /// The family of a program called `name`, as far as its name tells: `ld.lld-19`, `rust-lld`,
    /// `riscv64-unknown-elf-ld`, `xtensa-esp32s3-elf-gcc`.
    ///
    /// ```
    /// use esplice_layout::Linker;
    /// assert_eq!(Linker::of_program("/usr/bin/ld.lld-19"), Linker::Lld);
    /// assert_eq!(Linker::of_program("xtensa-esp32s3-elf-gcc"), Linker::Gnu);
    /// ```
    pub fn of_program(name: &str) -> Linker {
        let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
        let file = file.strip_suffix(".exe").unwrap_or(file);
        let gnu = !file.contains("lld")
            && (file == "ld" || file.ends_with("-ld") || file.ends_with("ld.bfd"))
            || file.ends_with("gcc");
        if gnu { Linker::Gnu } else { Linker::Lld }
    }
}

impl FromStr for Linker {
    type Err = Box<Cause>;
    fn from_str(text: &str) -> Result<Linker, Box<Cause>> {
        word("linker", text, Linker::NAMES)
    }
}

fn word<T: Copy>(key: &str, text: &str, names: &[(&str, T)]) -> Result<T, Box<Cause>> {
    names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        Box::new(Cause::UnknownWord {
            key: key.to_owned(),
            word: text.to_owned(),
            known: names.iter().map(|(name, _)| (*name).to_owned()).collect(),
        })
    })
}

/// `[layout]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec {
    /// What the program is built on; esp-hal if nothing is said.
    pub base: Option<At<Base>>,
    /// The linker; told by the toolchain if nothing is said.
    pub linker: Option<At<Linker>>,
    /// For programs in RAM, the share of SRAM that code takes.
    pub code: Option<At<Size>>,
    /// `[layout.heap]`.
    pub heap: Option<HeapSpec>,
    /// `[[layout.arena]]`, in order.
    pub arenas: Vec<ArenaSpec>,
    /// `[layout.stack]`.
    pub stack: StackSpec,
    /// `[[layout.section]]`, in order.
    pub sections: Vec<SectionSpec>,
    /// `[[layout.reserve]]`, in order.
    pub reserves: Vec<ReserveSpec>,
    /// Whether and how sections stay where the last link put them.
    pub stable: StableSpec,
}

/// `stable` and `stable-…` of `[layout]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StableSpec {
    /// Whether the project is linked so; not if nothing is said.
    pub on: Option<At<bool>>,
    /// Where the record of the last link is kept, from the file's directory on; beside the ELF if
    /// nothing is said.
    pub record: Option<At<String>>,
    /// Room behind each function and variable of the project's own crates: bytes, and percent of its
    /// length.
    pub code: (Option<u32>, Option<u32>),
    /// The same for texts that these use.
    pub text: (Option<u32>, Option<u32>),
    /// Percent of the program that may be lost in gaps before all is laid out anew.
    pub waste: Option<u32>,
    /// Bytes that stay free at the end of output sections, by their names.
    pub tails: Vec<(String, u32)>,
}

/// `[layout.heap]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeapSpec {
    /// Where the table begins.
    pub place: Place,
    /// The region; `dram` if nothing is said.
    pub region: Option<At<String>>,
    /// How long.
    pub size: At<Size>,
    /// The size as it was written.
    pub written: String,
    /// Alignment in bytes; 16 if nothing is said.
    pub align: Option<At<u32>>,
    /// More names for it: `_heap` gives `_heap_start`, `_heap_end` and `_heap_size`.
    pub symbols: Vec<At<String>>,
    /// The limit that the program sets at run time, as Go's `SetMemoryLimit`.
    pub limit: Option<At<Size>>,
    /// The limit as it was written.
    pub limit_written: String,
}

/// A `[[layout.arena]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArenaSpec {
    /// Where the table begins.
    pub place: Place,
    /// The name, `[a-z][a-z0-9_]*`.
    pub name: At<String>,
    /// The region; `dram` if nothing is said.
    pub region: Option<At<String>>,
    /// How long.
    pub size: At<Size>,
    /// The size as it was written.
    pub written: String,
    /// Alignment in bytes; 16 if nothing is said.
    pub align: Option<At<u32>>,
    /// The byte that it is filled with, loaded with the program.
    pub fill: Option<At<u32>>,
    /// That nothing is loaded into it, which is the default.
    pub no_load: Option<At<bool>>,
    /// That its contents are to outlive a reset.
    pub keep: Option<At<bool>>,
}

/// `[layout.stack]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackSpec {
    /// Bytes of the main stack, and how they were written.
    pub main: Option<(At<Size>, String)>,
    /// Bytes of a goroutine's stack, TinyGo's `-stack-size`.
    pub goroutine: Option<(At<Size>, String)>,
}

/// A `[[layout.section]]`: input sections by pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionSpec {
    /// Where the table begins.
    pub place: Place,
    /// The name, as an arena's.
    pub name: At<String>,
    /// What the linker matches input sections with, such as `.hot.*`.
    pub pattern: At<String>,
    /// The region.
    pub region: At<String>,
    /// Alignment in bytes; 4 if nothing is said.
    pub align: Option<At<u32>>,
    /// That nothing is loaded into it.
    pub no_load: Option<At<bool>>,
}

/// A `[[layout.reserve]]`: a range that stays free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReserveSpec {
    /// Where the table begins.
    pub place: Place,
    /// The name, as an arena's.
    pub name: At<String>,
    /// The first address.
    pub start: At<u32>,
    /// How long.
    pub size: At<Size>,
    /// The size as it was written.
    pub written: String,
}

impl Spec {
    /// Reads `[layout]` of `text`, the content of `file` (a name for messages). None where the file
    /// has no layout; other sections are not looked at.
    ///
    /// # Errors
    /// [`LayoutError`], with file and line.
    pub fn parse(file: &str, text: &str) -> Result<Option<Spec>, LayoutError> {
        crate::read::read(file, text)
    }

    /// The layout for `base` where it names none itself.
    #[must_use]
    pub fn or_base(mut self, base: Base) -> Spec {
        let place = crate::settle::first_place(&self);
        self.base.get_or_insert(At::new(base, place));
        self
    }

    /// Whether all that it says is about stable links: then there is no layout to settle.
    pub fn is_stable_alone(&self) -> bool {
        let rest = Spec { stable: StableSpec::default(), ..self.clone() };
        self.stable != StableSpec::default() && rest == Spec::default()
    }

    /// What the program is built on.
    pub fn base(&self) -> Base {
        self.base.as_ref().map_or(Base::default(), |base| base.value)
    }
}
