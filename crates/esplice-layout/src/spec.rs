//! A layout as written in `esplice.toml` or in code.

use std::str::FromStr;

use crate::{Cause, LayoutError, Place, Size};

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Place of the value in the file.
    pub place: Place,
}

impl<T> At<T> {
    /// Creates a value with its place.
    pub fn new(value: T, place: Place) -> At<T> {
        At { value, place }
    }
}

/// The base of the program: the software whose linker scripts the layout extends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Base {
    /// Rust with esp-hal, whose script is `linkall.x`.
    #[default]
    EspHal,
    /// A custom program that is loaded into RAM and uses no flash; the whole script is generated.
    Ram,
    /// TinyGo.
    TinyGo,
    /// ESP-IDF.
    EspIdf,
}

impl Base {
    /// Names in files, with their values.
    pub const NAMES: &[(&str, Base)] = &[
        ("esp-hal", Base::EspHal),
        ("ram", Base::Ram),
        ("tinygo", Base::TinyGo),
        ("esp-idf", Base::EspIdf),
    ];

    /// Returns the name used in files.
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

/// The linker family that reads the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linker {
    /// LLVM's lld, including rust-lld.
    #[default]
    Lld,
    /// GNU ld, including when gcc runs it.
    Gnu,
}

impl Linker {
    /// Names in files, with their values.
    pub const NAMES: &[(&str, Linker)] = &[("lld", Linker::Lld), ("gnu", Linker::Gnu)];

    /// Returns the family of a program called `name`, as far as the name shows it: `ld.lld-19`,
    /// `rust-lld`, `riscv64-unknown-elf-ld`, `xtensa-esp32s3-elf-gcc`.
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
    /// The base of the program; esp-hal by default.
    pub base: Option<At<Base>>,
    /// The linker; by default the toolchain's.
    pub linker: Option<At<Linker>>,
    /// For programs in RAM, the share of SRAM reserved for code.
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
    /// Settings of layout-stable links.
    pub stable: StableSpec,
}

/// The keys `stable` and `stable-…` of `[layout]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StableSpec {
    /// True if links are layout-stable; off by default.
    pub on: Option<At<bool>>,
    /// Path of the record of the last link, relative to the directory of the file; next to the ELF
    /// by default.
    pub record: Option<At<String>>,
    /// Room after each function and variable of the project's own crates: bytes, and percent of its
    /// length.
    pub code: (Option<u32>, Option<u32>),
    /// Room after each string that they use, in the same form.
    pub text: (Option<u32>, Option<u32>),
    /// Percent of the program that may be lost in gaps before everything is laid out again.
    pub waste: Option<u32>,
    /// Bytes that stay free at the end of output sections, by name.
    pub tails: Vec<(String, u32)>,
}

/// `[layout.heap]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeapSpec {
    /// Start of the table.
    pub place: Place,
    /// The region; `dram` by default.
    pub region: Option<At<String>>,
    /// Length of the heap.
    pub size: At<Size>,
    /// The size as written.
    pub written: String,
    /// Alignment in bytes; 16 by default.
    pub align: Option<At<u32>>,
    /// Prefixes of further symbols: `_heap` yields `_heap_start`, `_heap_end` and `_heap_size`.
    pub symbols: Vec<At<String>>,
    /// The limit that the program sets at run time, as with Go's `SetMemoryLimit`.
    pub limit: Option<At<Size>>,
    /// The limit as written.
    pub limit_written: String,
}

/// A `[[layout.arena]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArenaSpec {
    /// Start of the table.
    pub place: Place,
    /// The name, `[a-z][a-z0-9_]*`.
    pub name: At<String>,
    /// The region; `dram` by default.
    pub region: Option<At<String>>,
    /// Length of the arena.
    pub size: At<Size>,
    /// The size as written.
    pub written: String,
    /// Alignment in bytes; 16 by default.
    pub align: Option<At<u32>>,
    /// The byte to fill it with, loaded with the program.
    pub fill: Option<At<u32>>,
    /// True if nothing is loaded into it; on by default.
    pub no_load: Option<At<bool>>,
    /// True if its contents survive a reset.
    pub keep: Option<At<bool>>,
}

/// `[layout.stack]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackSpec {
    /// Bytes of the main stack, and their text as written.
    pub main: Option<(At<Size>, String)>,
    /// Bytes of a goroutine's stack, TinyGo's `-stack-size`.
    pub goroutine: Option<(At<Size>, String)>,
}

/// A `[[layout.section]]`: input sections by pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionSpec {
    /// Start of the table.
    pub place: Place,
    /// The name, with the same rules as an arena's.
    pub name: At<String>,
    /// Pattern by which the linker matches input sections, such as `.hot.*`.
    pub pattern: At<String>,
    /// The region.
    pub region: At<String>,
    /// Alignment in bytes; 4 by default.
    pub align: Option<At<u32>>,
    /// True if nothing is loaded into it.
    pub no_load: Option<At<bool>>,
}

/// A `[[layout.reserve]]`: a range that stays free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReserveSpec {
    /// Start of the table.
    pub place: Place,
    /// The name, with the same rules as an arena's.
    pub name: At<String>,
    /// The first address.
    pub start: At<u32>,
    /// Length of the range.
    pub size: At<Size>,
    /// The size as written.
    pub written: String,
}

impl Spec {
    /// Parses `[layout]` in `text`, the contents of `file` (a name for messages). Returns none if
    /// the file has no layout. Other tables are ignored.
    ///
    /// # Errors
    /// [`LayoutError`], with file and line.
    pub fn parse(file: &str, text: &str) -> Result<Option<Spec>, LayoutError> {
        crate::read::read(file, text)
    }

    /// Sets the base to `base` if the layout names none.
    #[must_use]
    pub fn or_base(mut self, base: Base) -> Spec {
        let place = crate::settle::first_place(&self);
        self.base.get_or_insert(At::new(base, place));
        self
    }

    /// Returns whether it only contains settings of stable links. Then there is no layout to
    /// settle.
    pub fn is_stable_alone(&self) -> bool {
        let rest = Spec { stable: StableSpec::default(), ..self.clone() };
        self.stable != StableSpec::default() && rest == Spec::default()
    }

    /// Returns the base of the program.
    pub fn base(&self) -> Base {
        self.base.as_ref().map_or(Base::default(), |base| base.value)
    }
}
