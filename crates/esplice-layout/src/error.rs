//! Why a layout is refused, in plain words.

use std::fmt;

use esplice_chip::{Addr, nearest};

use crate::Amount;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 where there is none.
    pub line: u32,
}

impl Place {
    /// A line of a file.
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

/// A refused layout: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {cause}")]
pub struct LayoutError {
    /// Where it stands.
    pub place: Place,
    /// Why it is refused.
    pub cause: Box<Cause>,
}

impl LayoutError {
    /// The cause at a place.
    pub fn new(place: &Place, cause: impl Into<Box<Cause>>) -> LayoutError {
        LayoutError { place: place.clone(), cause: cause.into() }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        self.cause.hint()
    }
}

impl Cause {
    /// Whether the file is written wrongly, whatever the chip: a key or a value that is none.
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

    /// The cause at a place.
    pub fn at(self, place: &Place) -> LayoutError {
        LayoutError::new(place, self)
    }
}

/// Why a layout is refused. Things are told as `what`: `the heap`, `arena dma`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The file is no TOML.
    #[error("{message}")]
    Toml {
        /// What the TOML reader says.
        message: String,
    },
    /// A key that nobody knows.
    #[error("unknown key of [{table}] {key:?}")]
    UnknownKey {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A value of another kind than the key's.
    #[error("{key} must be {wanted}")]
    WrongKind {
        /// The key.
        key: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// A key that has to be there.
    #[error("[{table}] has no {key}")]
    MissingKey {
        /// The table.
        table: String,
        /// The key.
        key: &'static str,
    },
    /// More of something than a layout can have.
    #[error("[{key}] is there {count} times, a layout can have {most}")]
    TooMany {
        /// The key.
        key: String,
        /// How many there are.
        count: usize,
        /// The most there may be.
        most: usize,
    },
    /// A word that is none of the known ones.
    #[error("unknown {key} {word:?}")]
    UnknownWord {
        /// What it names: a region, a base, a linker.
        key: String,
        /// The word.
        word: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Not a size.
    #[error("{key} {text:?} is no size")]
    BadSize {
        /// The key.
        key: String,
        /// What was written.
        text: String,
    },
    /// A share of nothing or of more than all.
    #[error("{key} of {percent}% is not between 1% and 100%")]
    BadPercent {
        /// The key.
        key: String,
        /// What was written.
        percent: u32,
    },
    /// A size of nothing.
    #[error("{key} is 0")]
    ZeroSize {
        /// The key.
        key: String,
    },
    /// `rest` where only a size will do.
    #[error("{what} cannot take the rest")]
    RestRefused {
        /// What.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// A size that is no whole number of words.
    #[error("{what} of {size} is no multiple of 4 bytes")]
    SizeNotWords {
        /// What.
        what: String,
        /// Its size.
        size: Amount,
    },
    /// A name that cannot stand in a symbol.
    #[error("name {name:?} is not made of a-z, 0-9 and _, a letter first")]
    BadName {
        /// The name.
        name: String,
    },
    /// A name that means something else.
    #[error("name {name:?} is taken: {by}")]
    ReservedName {
        /// The name.
        name: String,
        /// By what.
        by: &'static str,
    },
    /// A name that stands twice.
    #[error("{kind} {name} stands twice, first at {first}")]
    SameName {
        /// `arena`, `section` or `reserved range`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Where it stands first.
        first: Place,
    },
    /// A symbol that the linker could not read or that is another's.
    #[error("symbol {name:?} {why}")]
    BadSymbol {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A region that layouts know and this chip lacks.
    #[error("{chip} has no region {region} {for_base}")]
    NoSuchRegion {
        /// The chip.
        chip: String,
        /// The region.
        region: String,
        /// `for esp-hal`.
        for_base: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// PSRAM, which has neither a size nor, on most chips, an address before the program runs: esp-hal
    /// asks the PSRAM chip for its size and maps it, on the S3, C5 and C61 behind the pages of flash
    /// (esp-hal 1.2.2, src/psram).
    #[error(
        "nothing can be linked into psram: the {chip} finds out its size and maps it when the program \
         runs, behind startup code"
    )]
    PsramAtRunTime {
        /// The chip.
        chip: String,
        /// Whether the program is built on esp-hal.
        esp_hal: bool,
    },
    /// A region that cannot hold such a thing.
    #[error("{what} cannot lie in {region}: {why}")]
    WrongRegion {
        /// What.
        what: String,
        /// The region.
        region: String,
        /// Why not.
        why: &'static str,
    },
    /// Nothing is known of the chip's memories.
    #[error("no layout is known for {chip}")]
    NoLayoutData {
        /// The chip.
        chip: String,
    },
    /// An alignment that is no power of two.
    #[error("align {align} is no power of two")]
    BadAlign {
        /// The alignment.
        align: u32,
    },
    /// An alignment out of proportion.
    #[error(
        "align {align} of {what} is more than the {largest} bytes that {region} can be aligned to"
    )]
    AlignTooLarge {
        /// What.
        what: String,
        /// The alignment.
        align: u32,
        /// The most there is.
        largest: u32,
        /// The region.
        region: String,
    },
    /// Longer than the room there is.
    #[error("{what} of {asked} does not fit in {region}: {available} of {len} are available")]
    PastRegion {
        /// What.
        what: String,
        /// What was asked for.
        asked: Amount,
        /// The region.
        region: String,
        /// What is left of it.
        available: Amount,
        /// The region's length.
        len: Amount,
        /// Those that have taken the rest: `arena dma 16K, the stack 8K`.
        others: Vec<String>,
    },
    /// The stack has no room beside what was asked for.
    #[error(
        "the heap of {asked} leaves no room for the stack of {stack} in {region}: {available} are available"
    )]
    HeapAgainstStack {
        /// What was asked for.
        asked: Amount,
        /// The stack.
        stack: Amount,
        /// The region.
        region: String,
        /// What the heap may have.
        available: Amount,
    },
    /// A stack nobody can run on.
    #[error("a stack of {size} is less than the {least} that any program needs")]
    StackTooSmall {
        /// The stack.
        size: Amount,
        /// The least.
        least: Amount,
    },
    /// Filled and not loaded at once.
    #[error("arena {name} cannot be filled and no-load at once")]
    FillAndNoLoad {
        /// The arena.
        name: String,
    },
    /// Neither filled nor no-load.
    #[error("arena {name} is not no-load and has no fill")]
    LoadWithoutFill {
        /// The arena.
        name: String,
    },
    /// Filled at each start and kept at once.
    #[error("arena {name} cannot be filled at each start and keep its contents over a reset")]
    FillAndKeep {
        /// The arena.
        name: String,
    },
    /// A fill that is no byte.
    #[error("fill {fill} is no byte")]
    BadFill {
        /// What was written.
        fill: u32,
    },
    /// Loaded contents where the loader itself runs.
    #[error(
        "{what} cannot be loaded into {region}: the second-stage bootloader runs there while it loads the program"
    )]
    LoadedOverBootloader {
        /// What.
        what: String,
        /// The region.
        region: String,
    },
    /// Contents that the bootloader would destroy.
    #[error(
        "arena {name} cannot be kept over a reset in {region}: the second-stage bootloader runs there at each start"
    )]
    KeptUnderBootloader {
        /// The arena.
        name: String,
        /// The region.
        region: String,
    },
    /// A limit at run time that the heap cannot hold.
    #[error("limit of {limit} is more than the heap of {heap}")]
    LimitAboveHeap {
        /// The limit.
        limit: Amount,
        /// The heap.
        heap: Amount,
    },
    /// A pattern that is none, or would end the statement it stands in.
    #[error("pattern {pattern:?} is no name of sections")]
    BadPattern {
        /// The pattern.
        pattern: String,
    },
    /// A pattern whose sections are taken before it is looked at.
    #[error("pattern {pattern:?} never matches: {by} takes these sections first")]
    PatternTaken {
        /// The pattern.
        pattern: String,
        /// Whose script takes them.
        by: &'static str,
    },
    /// A reserved range outside of what a layout rules over.
    #[error("reserved range {name} at {start} lies in no region of {chip}")]
    ReserveOutside {
        /// The range.
        name: String,
        /// Its start.
        start: Addr,
        /// The chip.
        chip: String,
    },
    /// Two ranges share bytes.
    #[error("reserved range {name} ({start} to {end}) overlaps {other}")]
    ReserveOverlap {
        /// The range.
        name: String,
        /// Its start.
        start: Addr,
        /// The first address behind it.
        end: Addr,
        /// What it overlaps.
        other: String,
    },
    /// A range that the base's own script would use all the same.
    #[error("reserved range {name} cannot be kept free in {region}: {why}")]
    ReserveNotFree {
        /// The range.
        name: String,
        /// The region.
        region: String,
        /// Why not.
        why: &'static str,
    },
    /// A key that means nothing on this base.
    #[error("{key} is not for base {base:?}")]
    NotForBase {
        /// The key.
        key: String,
        /// The base.
        base: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// The linker found no room for what was asked.
    #[error("{what} of {asked} does not fit in {region} beside the program")]
    NoRoomAtLink {
        /// What.
        what: String,
        /// What was asked for.
        asked: Amount,
        /// The region.
        region: String,
    },
    /// Initial values where nothing is loaded.
    #[error("{what} is no-load and has initialised data: {statics}")]
    DataInNoLoad {
        /// The arena or section, such as `arena dma`.
        what: String,
        /// The statics.
        statics: String,
    },
    /// Statics of the program are more than their arena holds.
    #[error("the statics placed in arena {name} are more than its {size}")]
    StaticsPastArena {
        /// The arena.
        name: String,
        /// Its size.
        size: Amount,
    },
    /// The program leaves less stack than was asked for.
    #[error("less than {asked} are left for the main stack in {region}")]
    StackAtLink {
        /// What was asked for.
        asked: Amount,
        /// The region.
        region: String,
    },
    /// A section in the region of its pattern does not fit.
    #[error("section {name} does not fit in {region}")]
    SectionAtLink {
        /// The section.
        name: String,
        /// The region.
        region: String,
    },
    /// The program is not linked with the script that the layout adds to.
    #[error("the program is not linked with {script}, which the layout adds to")]
    BaseScriptMissing {
        /// The script.
        script: &'static str,
    },
    /// A script is read twice.
    #[error("the linker is given {script} twice")]
    BaseScriptTwice {
        /// The script.
        script: &'static str,
    },
    /// GNU ld reads the script of what the program is built on before the layout's, or not at all.
    #[error("GNU ld is not given {script} behind the layout's script")]
    BaseScriptNotBehind {
        /// The script.
        script: &'static str,
    },
}

impl Cause {
    /// What the user can do about it.
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
                "give it to esp-alloc when the program starts, beside a heap in dram: \
                 esp_alloc::psram_allocator!(peripherals.PSRAM, esp_hal::psram)"
                    .into()
            }
            PsramAtRunTime { .. } => "place it in dram, or map psram in the program".into(),
            MissingKey { key: "size", .. } => "write size = \"16K\", say".into(),
            MissingKey { key: "name", .. } => "write name = \"dma\", say".into(),
            MissingKey { .. } | Toml { .. } | WrongKind { .. } | TooMany { .. } => return None,
            BadSize { .. } => "write it as 96K, 0x18000, 4096 or 25%".into(),
            BadPercent { .. } | ZeroSize { .. } => "give it a size, such as 16K".into(),
            RestRefused { why, .. } => (*why).into(),
            SizeNotWords { size, .. } => {
                let up = size.bytes.checked_next_multiple_of(4).unwrap_or(size.bytes & !3);
                format!("{up} is one")
            }
            BadName { .. } => "it becomes a part of symbols, such as __esplice_arena_dma_start".into(),
            ReservedName { .. } | SameName { .. } => "choose another name".into(),
            BadSymbol { .. } => {
                "it is the start of three symbols: _heap gives _heap_start, _heap_end, _heap_size".into()
            }
            WrongRegion { .. } => "regions for data are dram, dram2, rtc-fast and rtc-slow".into(),
            NoLayoutData { .. } => "its file in targets/ needs a [layout]".into(),
            BadAlign { align } => {
                let up = align.checked_next_power_of_two().unwrap_or(1 << 31);
                format!("the next one is {up}")
            }
            AlignTooLarge { largest, .. } => format!("ask for {largest} at the most"),
            PastRegion { available, others, .. } => {
                let largest = Amount::of(available.bytes & !3);
                if others.is_empty() {
                    format!("the largest that fits is {largest}")
                } else {
                    format!("the largest that fits is {largest}, beside {}", others.join(", "))
                }
            }
            HeapAgainstStack { available, .. } => {
                format!("the largest that fits is {}, or size = \"rest\"", Amount::of(available.bytes & !3))
            }
            StackTooSmall { least, .. } => format!("give it {least} or more"),
            FillAndNoLoad { .. } => "drop one of the two".into(),
            LoadWithoutFill { .. } => "give it a fill, such as fill = 0".into(),
            FillAndKeep { .. } => "drop fill: what is kept is not written at the start".into(),
            BadFill { .. } => "a byte is 0 to 255".into(),
            LoadedOverBootloader { .. } => "place it in dram, or leave it no-load".into(),
            KeptUnderBootloader { .. } => "place it in dram or rtc-fast".into(),
            LimitAboveHeap { .. } => "lower the limit, or make the heap larger".into(),
            BadPattern { .. } => "write it as .hot.*, with letters, digits and . _ - * ? alone".into(),
            PatternTaken { .. } => "give these sections a name of their own, such as .mine.*".into(),
            ReserveOutside { .. } => "`esplice layout check` lists the chip's regions".into(),
            ReserveOverlap { .. } => "a range that is taken already need not be reserved".into(),
            ReserveNotFree { .. } => "use an arena, whose address the linker chooses".into(),
            NotForBase { instead, .. } => (*instead).into(),
            NoRoomAtLink { .. } => {
                "make it smaller; `esplice layout show ELF` tells what the program takes".into()
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
                "give the linker -Tlinkall.x, or set base in [layout] to what the program is built on".into()
            }
            BaseScriptTwice { .. } => {
                "cargo joins rustflags of [build], [target.TRIPLE] and [target.'cfg(…)']: keep one of them".into()
            }
            BaseScriptNotBehind { .. } => {
                "`esplice build` gives the layout's first, and -Tlinkall.x may stand in .cargo/config.toml; with a \
                 plain `cargo build`, build.rs gives -Tlinkall.x behind the layout"
                    .into()
            }
        })
    }
}
