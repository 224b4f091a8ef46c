//! Whether a layout became true.

use esplice_layout::{Amount, Arena, Contents, Extent, Heap, Layout, Place, Room, arena_section};

use crate::{LinkError, elf::Elf};

/// What of a layout is not true in an ELF, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// A symbol that the layout defines is not there.
    #[error("{place}: the ELF has no {symbol}")]
    SymbolMissing {
        /// Where it stands.
        place: Place,
        /// The symbol.
        symbol: String,
    },
    /// Something begins elsewhere than it was asked to.
    #[error(
        "{place}: {what} is at {addr:#010x}, outside of {region} ({start:#010x} to {end:#010x})"
    )]
    OutsideRegion {
        /// Where it stands.
        place: Place,
        /// What.
        what: String,
        /// Its address.
        addr: u32,
        /// The region.
        region: String,
        /// The region's first address.
        start: u32,
        /// The first address behind the region.
        end: u32,
    },
    /// An address that is not aligned as asked.
    #[error("{place}: {what} at {addr:#010x} is not aligned to {align}")]
    Misaligned {
        /// Where it stands.
        place: Place,
        /// What.
        what: String,
        /// Its address.
        addr: u32,
        /// The alignment asked for.
        align: u32,
    },
    /// A length other than asked.
    #[error("{place}: {what} has {found} bytes, {asked} were asked for")]
    OtherSize {
        /// Where it stands.
        place: Place,
        /// What.
        what: String,
        /// Its length in bytes.
        found: u32,
        /// The length asked for.
        asked: Amount,
    },
    /// Initialised data where nothing is loaded.
    #[error("{place}: arena {name} is no-load and has initialised data: {}", statics.join(", "))]
    DataInNoLoad {
        /// Where it stands.
        place: Place,
        /// The arena.
        name: String,
        /// The variables.
        statics: Vec<String>,
    },
    /// Less stack than asked.
    #[error("{place}: {left} bytes are left for the main stack, {asked} were asked for")]
    StackLeft {
        /// Where it stands.
        place: Place,
        /// What is left, in bytes.
        left: u32,
        /// What was asked for.
        asked: Amount,
    },
    /// A limit at run time that the heap, as linked, cannot hold.
    #[error("{place}: limit of {limit} is more than the heap, which has {heap} bytes")]
    LimitAboveHeap {
        /// Where it stands.
        place: Place,
        /// The limit.
        limit: Amount,
        /// The heap's length in bytes.
        heap: u32,
    },
    /// A section in a range that was to stay free.
    #[error("{place}: {section} ({start:#010x} to {end:#010x}) lies in reserved range {name}")]
    InReserved {
        /// Where it stands.
        place: Place,
        /// The section.
        section: String,
        /// Its first address.
        start: u32,
        /// The first address behind it.
        end: u32,
        /// The range.
        name: String,
    },
    /// Loaded contents where the second-stage bootloader runs.
    #[error(
        "{section} is loaded to {addr:#010x} in {region}, where the second-stage bootloader runs meanwhile"
    )]
    LoadedOverBootloader {
        /// The section.
        section: String,
        /// Its address.
        addr: u32,
        /// The region.
        region: String,
    },
}

impl Defect {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Defect::SymbolMissing { .. } => {
                "the ELF was linked without the layout: build it with `esplice build`, or with \
                 esplice-build in build.rs"
                    .into()
            }
            Defect::DataInNoLoad { .. } => {
                "leave the statics uninitialised (MaybeUninit), or give the arena a fill".into()
            }
            Defect::StackLeft { .. } => "make the heap or an arena smaller".into(),
            Defect::LimitAboveHeap { .. } => "lower the limit, or make the heap larger".into(),
            Defect::LoadedOverBootloader { .. } => "place it in dram".into(),
            Defect::OutsideRegion { .. }
            | Defect::Misaligned { .. }
            | Defect::OtherSize { .. }
            | Defect::InReserved { .. } => {
                "another linker script moves it: esplice's must be the last word".into()
            }
        })
    }
}

/// Holds `elf` against `layout`; gives what is not true, and nothing where all is.
///
/// # Errors
/// [`LinkError`] for what is no sound ELF of the chip's processor.
pub fn check(elf: &[u8], layout: &Layout) -> Result<Vec<Defect>, LinkError> {
    let elf = Elf::read(elf, layout.chip)?;
    let mut defects = Vec::new();
    for arena in &layout.arenas {
        check_arena(&elf, layout, arena, &mut defects);
    }
    if let Some(heap) = &layout.heap {
        check_heap(&elf, layout, heap, &mut defects);
    }
    check_stack(&elf, layout, &mut defects);
    for range in &layout.reserved {
        let end = range.addr.saturating_add(range.len);
        for section in &elf.sections {
            let section_end = section.addr.saturating_add(section.len);
            if section.addr < end && range.addr < section_end {
                defects.push(Defect::InReserved {
                    place: range.place.clone(),
                    section: section.name.clone(),
                    start: section.addr,
                    end: section_end,
                    name: range.name.clone(),
                });
            }
        }
    }
    for room in layout.rooms.iter().filter(|room| room.bootloader) {
        for section in elf.sections.iter().filter(|s| s.loaded && room.contains(s.addr)) {
            // Told already, with the line that it comes from.
            let arena = |arena: &Arena| arena_section(&arena.name) == section.name;
            if !layout.arenas.iter().any(arena) {
                defects.push(Defect::LoadedOverBootloader {
                    section: section.name.clone(),
                    addr: section.addr,
                    region: room.key.clone(),
                });
            }
        }
    }
    Ok(defects)
}

struct Block<'a> {
    what: String,
    symbol: String,
    place: &'a Place,
    room: Option<&'a Room>,
    align: u32,
}

fn check_arena(elf: &Elf, layout: &Layout, arena: &Arena, defects: &mut Vec<Defect>) {
    let block = Block {
        what: format!("arena {}", arena.name),
        symbol: format!("__esplice_arena_{}", arena.name),
        place: &arena.place,
        room: layout.room(&arena.region),
        align: arena.align,
    };
    let Some((_, len)) = check_block(elf, &block, defects) else { return };
    if len != arena.size.bytes {
        defects.push(Defect::OtherSize {
            place: arena.place.clone(),
            what: block.what,
            found: len,
            asked: arena.size.clone(),
        });
    }
    let section = arena_section(&arena.name);
    let loaded = elf.sections.iter().find(|s| s.name == section && s.loaded);
    if let (Some(section), Contents::NoLoad | Contents::Kept) = (loaded, arena.contents) {
        let inside = |addr: u32| addr.wrapping_sub(section.addr) < section.len;
        let mut statics: Vec<String> = elf
            .objects
            .iter()
            .filter(|(_, addr, _)| inside(*addr))
            .map(|(name, _, len)| format!("{name} of {len} bytes"))
            .collect();
        if statics.is_empty() {
            statics.push("without a name".into());
        }
        let (place, name) = (arena.place.clone(), arena.name.clone());
        defects.push(Defect::DataInNoLoad { place, name, statics });
    }
}

fn check_heap(elf: &Elf, layout: &Layout, heap: &Heap, defects: &mut Vec<Defect>) {
    let block = Block {
        what: "the heap".into(),
        symbol: "__esplice_heap".into(),
        place: &heap.place,
        room: layout.room(&heap.region),
        // TinyGo's heap starts where its data ends.
        align: if layout.base == esplice_layout::Base::TinyGo { 1 } else { heap.align },
    };
    let Some((_, len)) = check_block(elf, &block, defects) else { return };
    if let Extent::Size(asked) = &heap.extent
        && asked.bytes != len
    {
        let (place, asked) = (heap.place.clone(), asked.clone());
        defects.push(Defect::OtherSize { place, what: block.what, found: len, asked });
    }
    if let Some((limit, place)) = &heap.limit
        && limit.bytes > len
    {
        let (place, limit) = (place.clone(), limit.clone());
        defects.push(Defect::LimitAboveHeap { place, limit, heap: len });
    }
    let wanted = ["__go_heap_start", "__go_heap_end"].map(str::to_owned).into_iter();
    let named = heap.symbols.iter().flat_map(|symbol| {
        ["start", "end", "size"].map(|part| format!("{symbol}_{part}")).into_iter()
    });
    for symbol in wanted.chain(named) {
        if elf.symbol(&symbol).is_none() {
            defects.push(Defect::SymbolMissing { place: heap.place.clone(), symbol });
        }
    }
}

/// Address and length of a block whose symbols are there.
fn check_block(elf: &Elf, block: &Block<'_>, defects: &mut Vec<Defect>) -> Option<(u32, u32)> {
    let place = || block.place.clone();
    for part in ["start", "end", "size"] {
        let symbol = format!("{}_{part}", block.symbol);
        if elf.symbol(&symbol).is_none() {
            defects.push(Defect::SymbolMissing { place: place(), symbol });
            return None;
        }
    }
    let start = format!("{}_start", block.symbol);
    let (addr, len) = elf.range(&start, &format!("{}_end", block.symbol))?;
    let what = || block.what.clone();
    if let Some(room) = block.room
        && (!room.contains(addr) || addr.saturating_add(len) > room.end())
    {
        defects.push(Defect::OutsideRegion {
            place: place(),
            what: what(),
            addr,
            region: room.key.clone(),
            start: room.addr,
            end: room.end(),
        });
    }
    if !addr.is_multiple_of(block.align.max(1)) {
        defects.push(Defect::Misaligned { place: place(), what: what(), addr, align: block.align });
    }
    Some((addr, len))
}

fn check_stack(elf: &Elf, layout: &Layout, defects: &mut Vec<Defect>) {
    // esp-hal's names; others reserve the stack in their own scripts.
    let Some((_, left)) = elf.range("_stack_end", "_stack_start") else { return };
    if left < layout.stack.bytes {
        let place = layout.stack_place.clone().unwrap_or_default();
        defects.push(Defect::StackLeft { place, left, asked: layout.stack.clone() });
    }
}
