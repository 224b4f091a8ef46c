//! Errors of layouts, and hints to fix them.

use std::fmt;

use esplice_chip::{Addr, nearest};

use crate::Amount;

/// The place of a value in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Name of the file.
    pub file: String,
    /// Number of the line, from 1; 0 if there is none.
    pub line: u32,
}

impl Place {
    /// Creates the place of a line in a file.
    pub fn new(file: impl Into<String>, line: u32) -> Place {
        Place { file: file.into(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// A refused layout: the place and the cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {cause}")]
#[non_exhaustive]
pub struct LayoutError {
    /// Place of the error.
    pub place: Place,
    /// Cause of the error.
    pub cause: Box<Cause>,
}

impl LayoutError {
    /// Creates an error from a cause and its place.
    pub fn new(place: &Place, cause: impl Into<Box<Cause>>) -> LayoutError {
        LayoutError { place: place.clone(), cause: cause.into() }
    }

    /// Returns a hint on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        self.cause.hint()
    }
}

impl Cause {
    /// Returns whether the file itself is wrong, on any chip: an invalid key or value.
    pub fn is_form(&self) -> bool {
        use Cause::*;
        matches!(
            self,
            Toml { .. }
                | UnknownKey { .. }
                | WrongKind { .. }
                | MissingKey { .. }
                | TooMany { .. }
                | UnknownWord { .. }
                | BadSize { .. }
                | BadPercent { .. }
                | ZeroSize { .. }
        )
    }

    /// Creates an error from the cause and its place.
    pub fn at(self, place: &Place) -> LayoutError {
        LayoutError::new(place, self)
    }
}

/// Cause of a refusal. A field `what` holds a name such as `the heap` or `arena dma`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The file is not valid TOML.
    #[error("{message}")]
    Toml {
        /// Message of the TOML parser.
        message: String,
    },
    /// A key is unknown.
    #[error("unknown key of [{table}] {key:?}")]
    UnknownKey {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// The known keys.
        known: Vec<String>,
    },
    /// A value has the wrong type.
    #[error("{key} must be {wanted}")]
    WrongKind {
        /// The key.
        key: String,
        /// The required type.
        wanted: &'static str,
    },
    /// A required key is missing.
    #[error("[{table}] has no {key}")]
    MissingKey {
        /// The table.
        table: String,
        /// The key.
        key: &'static str,
    },
    /// A key occurs more often than a layout allows.
    #[error("[{key}] occurs {count} times, a layout can have {most}")]
    TooMany {
        /// The key.
        key: String,
        /// Number of occurrences.
        count: usize,
        /// Maximum number.
        most: usize,
    },
    /// A word is not one of the known ones.
    #[error("unknown {key} {word:?}")]
    UnknownWord {
        /// Kind of the word: a region, a base, a linker.
        key: String,
        /// The word.
        word: String,
        /// The known words.
        known: Vec<String>,
    },
    /// A text is not a size.
    #[error("{key} {text:?} is not a size")]
    BadSize {
        /// The key.
        key: String,
        /// The text as written.
        text: String,
    },
    /// A percentage is 0 or above 100.
    #[error("{key} of {percent}% is not between 1% and 100%")]
    BadPercent {
        /// The key.
        key: String,
        /// The percentage as written.
        percent: u32,
    },
    /// A size is 0.
    #[error("{key} is 0")]
    ZeroSize {
        /// The key.
        key: String,
    },
    /// `rest` is not allowed where a size is required.
    #[error("{what} cannot take the rest")]
    RestRefused {
        /// The value that was `rest`.
        what: String,
        /// Reason, shown as the hint.
        why: &'static str,
    },
    /// A size is not a multiple of a word.
    #[error("{what} of {size} is not a multiple of 4 bytes")]
    SizeNotWords {
        /// The block.
        what: String,
        /// Size as written and in bytes.
        size: Amount,
    },
    /// A name can't be used in a symbol.
    #[error("name {name:?} must consist of a-z, 0-9 and _, and start with a letter")]
    BadName {
        /// The name.
        name: String,
    },
    /// A name has another meaning.
    #[error("name {name:?} is taken: {by}")]
    ReservedName {
        /// The name.
        name: String,
        /// The other meaning.
        by: &'static str,
    },
    /// A name is used twice.
    #[error("{kind} {name} is defined twice, first at {first}")]
    SameName {
        /// `arena`, `section` or `reserved range`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Place of the first use.
        first: Place,
    },
    /// A symbol is invalid or already in use.
    #[error("symbol {name:?} {why}")]
    BadSymbol {
        /// The name.
        name: String,
        /// Reason why it is invalid.
        why: &'static str,
    },
    /// A region that layouts know does not exist on this chip.
    #[error("{chip} has no region {region} {for_base}")]
    NoSuchRegion {
        /// The chip.
        chip: String,
        /// The region.
        region: String,
        /// `for esp-hal`.
        for_base: String,
        /// The regions of the chip.
        known: Vec<String>,
    },
    /// Nothing can be linked into PSRAM: before the program runs it has neither a size nor, on most
    /// chips, an address. esp-hal reads the size from the PSRAM chip and maps it, on the S3, C5 and
    /// C61 after the pages of flash (esp-hal 1.2.2, src/psram).
    #[error(
        "nothing can be linked into psram: the {chip} detects its size and maps it at run time, after \
         the startup code"
    )]
    PsramAtRunTime {
        /// The chip.
        chip: String,
        /// True if the program is built on esp-hal.
        esp_hal: bool,
    },
    /// A region can't hold a block of this kind.
    #[error("{what} cannot lie in {region}: {why}")]
    WrongRegion {
        /// The block.
        what: String,
        /// The region.
        region: String,
        /// Reason.
        why: &'static str,
    },
    /// The chip's data has no memory layout.
    #[error("no layout is known for {chip}")]
    NoLayoutData {
        /// The chip.
        chip: String,
    },
    /// An alignment is not a power of two.
    #[error("align {align} is not a power of two")]
    BadAlign {
        /// The alignment.
        align: u32,
    },
    /// An alignment is too large for the region.
    #[error(
        "align {align} of {what} is more than the {largest} bytes that {region} can be aligned to"
    )]
    AlignTooLarge {
        /// The block.
        what: String,
        /// The alignment.
        align: u32,
        /// Largest possible alignment.
        largest: u32,
        /// The region.
        region: String,
    },
    /// A block is longer than the room that is left.
    #[error("{what} of {asked} does not fit in {region}: {available} of {len} are available")]
    PastRegion {
        /// The block.
        what: String,
        /// Requested length.
        asked: Amount,
        /// The region.
        region: String,
        /// Room that is left in the region.
        available: Amount,
        /// Length of the region.
        len: Amount,
        /// The blocks that take the rest: `arena dma 16K, the stack 8K`.
        others: Vec<String>,
    },
    /// The heap leaves no room for the stack.
    #[error(
        "the heap of {asked} leaves no room for the stack of {stack} in {region}: {available} are available"
    )]
    HeapAgainstStack {
        /// Requested length of the heap.
        asked: Amount,
        /// The stack.
        stack: Amount,
        /// The region.
        region: String,
        /// Room available for the heap.
        available: Amount,
    },
    /// The stack is too small for any program.
    #[error("a stack of {size} is less than the {least} that any program needs")]
    StackTooSmall {
        /// The stack.
        size: Amount,
        /// Minimum size.
        least: Amount,
    },
    /// An arena is both filled and no-load.
    #[error("arena {name} cannot be both filled and no-load")]
    FillAndNoLoad {
        /// The arena.
        name: String,
    },
    /// An arena is neither filled nor no-load.
    #[error("arena {name} is not no-load but has no fill")]
    LoadWithoutFill {
        /// The arena.
        name: String,
    },
    /// An arena is both filled at each start and kept.
    #[error("arena {name} cannot be filled at each start and keep its contents over a reset")]
    FillAndKeep {
        /// The arena.
        name: String,
    },
    /// A fill is not a byte.
    #[error("fill {fill} is not a byte")]
    BadFill {
        /// The value as written.
        fill: u32,
    },
    /// Loaded contents would overwrite the running bootloader.
    #[error(
        "{what} cannot be loaded into {region}: the second-stage bootloader runs there while it loads the program"
    )]
    LoadedOverBootloader {
        /// The block.
        what: String,
        /// The region.
        region: String,
    },
    /// Kept contents would be overwritten by the bootloader.
    #[error(
        "arena {name} cannot be kept over a reset in {region}: the second-stage bootloader runs there at each start"
    )]
    KeptUnderBootloader {
        /// The arena.
        name: String,
        /// The region.
        region: String,
    },
    /// A limit at run time is larger than the heap.
    #[error("limit of {limit} is more than the heap of {heap}")]
    LimitAboveHeap {
        /// The limit.
        limit: Amount,
        /// The heap.
        heap: Amount,
    },
    /// A pattern is invalid, or would end the statement that contains it.
    #[error("pattern {pattern:?} is not a pattern for section names")]
    BadPattern {
        /// The pattern.
        pattern: String,
    },
    /// Other patterns take a pattern's sections first.
    #[error("pattern {pattern:?} never matches: {by} takes these sections first")]
    PatternTaken {
        /// The pattern.
        pattern: String,
        /// Owner of the script that takes them.
        by: &'static str,
    },
    /// A reserved range lies outside all regions.
    #[error("reserved range {name} at {start} lies in no region of {chip}")]
    ReserveOutside {
        /// The range.
        name: String,
        /// First address.
        start: Addr,
        /// The chip.
        chip: String,
    },
    /// Two ranges overlap.
    #[error("reserved range {name} ({start} to {end}) overlaps {other}")]
    ReserveOverlap {
        /// The range.
        name: String,
        /// First address.
        start: Addr,
        /// The first address after the range.
        end: Addr,
        /// The other range.
        other: String,
    },
    /// The base's own script would use a reserved range.
    #[error("reserved range {name} cannot be kept free in {region}: {why}")]
    ReserveNotFree {
        /// The range.
        name: String,
        /// The region.
        region: String,
        /// Reason.
        why: &'static str,
    },
    /// A key has no meaning for this base.
    #[error("{key} is not available for base {base:?}")]
    NotForBase {
        /// The key.
        key: String,
        /// The base.
        base: &'static str,
        /// Hint on what to do instead.
        instead: &'static str,
    },
    /// The linker found no room for a block.
    #[error("{what} of {asked} does not fit in {region} next to the program")]
    NoRoomAtLink {
        /// The block.
        what: String,
        /// Requested length.
        asked: Amount,
        /// The region.
        region: String,
    },
    /// A block that nothing is loaded into has initial values.
    #[error("{what} is no-load and has initialised data: {statics}")]
    DataInNoLoad {
        /// The arena or section, such as `arena dma`.
        what: String,
        /// The statics.
        statics: String,
    },
    /// The program's statics exceed their arena.
    #[error("the statics placed in arena {name} exceed its {size}")]
    StaticsPastArena {
        /// The arena.
        name: String,
        /// Size as written and in bytes.
        size: Amount,
    },
    /// The program leaves less stack than required.
    #[error("less than {asked} are left for the main stack in {region}")]
    StackAtLink {
        /// Required stack.
        asked: Amount,
        /// The region.
        region: String,
    },
    /// A section does not fit in its region.
    #[error("section {name} does not fit in {region}")]
    SectionAtLink {
        /// The section.
        name: String,
        /// The region.
        region: String,
    },
    /// The program is not linked with the script that the layout extends.
    #[error("the program is not linked with {script}, which the layout extends")]
    BaseScriptMissing {
        /// The script.
        script: &'static str,
    },
    /// The linker reads a script twice.
    #[error("the linker reads {script} twice")]
    BaseScriptTwice {
        /// The script.
        script: &'static str,
    },
    /// GNU ld reads the base's script before the layout's, or not at all.
    #[error("GNU ld does not get {script} after the layout's script")]
    BaseScriptNotBehind {
        /// The script.
        script: &'static str,
    },
}

impl Cause {
    /// Returns a hint on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        use Cause::*;
        let near = |word: &str, known: &[String]| match nearest(word, known) {
            Some(near) => Some(format!("did you mean {near:?}?")),
            None if known.is_empty() => None,
            None => Some(format!("known are {}", known.join(", "))),
        };
        Some(match self {
            UnknownKey { key, known, .. } => return near(key, known),
            UnknownWord { word, known, .. } => return near(word, known),
            NoSuchRegion { known, .. } => format!("it has {}", known.join(", ")),
            PsramAtRunTime { esp_hal: true, .. } => {
                "add it to esp-alloc when the program starts, in addition to a heap in dram: \
                 esp_alloc::psram_allocator!(peripherals.PSRAM, esp_hal::psram)"
                    .into()
            }
            PsramAtRunTime { .. } => "place it in dram, or map psram in the program".into(),
            MissingKey { key: "size", .. } => "write size = \"16K\", for example".into(),
            MissingKey { key: "name", .. } => "write name = \"dma\", for example".into(),
            MissingKey { .. } | Toml { .. } | WrongKind { .. } | TooMany { .. } => return None,
            BadSize { .. } => "write it as 96K, 0x18000, 4096 or 25%".into(),
            BadPercent { .. } | ZeroSize { .. } => "give it a size, such as 16K".into(),
            RestRefused { why, .. } => (*why).into(),
            SizeNotWords { size, .. } => {
                let up = size.bytes.checked_next_multiple_of(4).unwrap_or(size.bytes & !3);
                format!("use {up}")
            }
            BadName { .. } => "the name becomes part of symbols, such as __esplice_arena_dma_start".into(),
            ReservedName { .. } | SameName { .. } => "choose another name".into(),
            BadSymbol { .. } => {
                "it is the prefix of three symbols: _heap yields _heap_start, _heap_end, _heap_size".into()
            }
            WrongRegion { .. } => "regions for data are dram, dram2, rtc-fast and rtc-slow".into(),
            NoLayoutData { .. } => "its file in targets/ needs a [layout]".into(),
            BadAlign { align } => {
                let up = align.checked_next_power_of_two().unwrap_or(1 << 31);
                format!("the next one is {up}")
            }
            AlignTooLarge { largest, .. } => format!("use {largest} at most"),
            PastRegion { available, others, .. } => {
                let largest = Amount::of(available.bytes & !3);
                if others.is_empty() {
                    format!("the largest that fits is {largest}")
                } else {
                    format!("the largest that fits is {largest}, next to {}", others.join(", "))
                }
            }
            HeapAgainstStack { available, .. } => {
                format!("the largest that fits is {}, or size = \"rest\"", Amount::of(available.bytes & !3))
            }
            StackTooSmall { least, .. } => format!("use {least} or more"),
            FillAndNoLoad { .. } => "drop one of the two".into(),
            LoadWithoutFill { .. } => "add a fill, such as fill = 0".into(),
            FillAndKeep { .. } => "drop fill: kept contents are not written at the start".into(),
            BadFill { .. } => "a byte is 0 to 255".into(),
            LoadedOverBootloader { .. } => "place it in dram, or leave it no-load".into(),
            KeptUnderBootloader { .. } => "place it in dram or rtc-fast".into(),
            LimitAboveHeap { .. } => "lower the limit, or make the heap larger".into(),
            BadPattern { .. } => "write it as .hot.*, with only letters, digits and . _ - * ?".into(),
            PatternTaken { .. } => "use a distinct name for these sections, such as .mine.*".into(),
            ReserveOutside { .. } => "`esplice layout check` lists the chip's regions".into(),
            ReserveOverlap { .. } => "a range that is already in use need not be reserved".into(),
            ReserveNotFree { .. } => "use an arena, whose address the linker chooses".into(),
            NotForBase { instead, .. } => (*instead).into(),
            NoRoomAtLink { .. } => {
                "make it smaller; `esplice layout show ELF` shows what the program uses".into()
            }
            DataInNoLoad { .. } => {
                "nothing writes their initial values: make them MaybeUninit and write them in the program, \
                 give the arena a fill, or leave out the section's no-load"
                    .into()
            }
            StaticsPastArena { .. } => "make the arena larger".into(),
            StackAtLink { .. } => "make the heap or an arena smaller, or move one to dram2".into(),
            SectionAtLink { .. } => "fewer sections must match its pattern".into(),
            BaseScriptMissing { .. } => {
                "pass -Tlinkall.x to the linker, or set base in [layout] to the base of the program".into()
            }
            BaseScriptTwice { .. } => {
                "cargo joins rustflags of [build], [target.TRIPLE] and [target.'cfg(…)']: keep one of them".into()
            }
            BaseScriptNotBehind { .. } => {
                "`esplice build` passes the layout's first, and -Tlinkall.x may be in .cargo/config.toml; with a \
                 plain `cargo build`, build.rs passes -Tlinkall.x after the layout"
                    .into()
            }
        })
    }
}
