//! Checks a linked ELF against its layout.

use esplice_layout::{Amount, Arena, Contents, Extent, Heap, Layout, Place, Room, arena_section};

use crate::{LinkError, elf::Elf};

/// A requirement of a layout that an ELF does not meet, and its place in the layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// A symbol that the layout defines is missing.
    #[error("{place}: the ELF has no {symbol}")]
    SymbolMissing {
        /// Place in the layout.
        place: Place,
        /// The symbol.
        symbol: String,
    },
    /// A block starts outside its region.
    #[error(
        "{place}: {what} is at {addr:#010x}, outside of {region} ({start:#010x} to {end:#010x})"
    )]
    OutsideRegion {
        /// Place in the layout.
        place: Place,
        /// The block.
        what: String,
        /// Address of the block.
        addr: u32,
        /// The region.
        region: String,
        /// The region's first address.
        start: u32,
        /// The first address after the region.
        end: u32,
    },
    /// An address is not aligned as required.
    #[error("{place}: {what} at {addr:#010x} is not aligned to {align}")]
    Misaligned {
        /// Place in the layout.
        place: Place,
        /// The block.
        what: String,
        /// Address of the block.
        addr: u32,
        /// The required alignment.
        align: u32,
    },
    /// A block does not have the required length.
    #[error("{place}: {what} has {found} bytes, {asked} were requested")]
    OtherSize {
        /// Place in the layout.
        place: Place,
        /// The block.
        what: String,
        /// Length in bytes.
        found: u32,
        /// The required length.
        asked: Amount,
    },
    /// A no-load arena has initialised data.
    #[error("{place}: arena {name} is no-load and has initialised data: {}", statics.join(", "))]
    DataInNoLoad {
        /// Place in the layout.
        place: Place,
        /// The arena.
        name: String,
        /// The variables.
        statics: Vec<String>,
    },
    /// Less stack is left than required.
    #[error("{place}: {left} bytes are left for the main stack, {asked} were requested")]
    StackLeft {
        /// Place in the layout.
        place: Place,
        /// Bytes left for the stack.
        left: u32,
        /// Bytes required.
        asked: Amount,
    },
    /// The heap, as linked, is smaller than its limit at run time.
    #[error("{place}: limit of {limit} is more than the heap, which has {heap} bytes")]
    LimitAboveHeap {
        /// Place in the layout.
        place: Place,
        /// The limit.
        limit: Amount,
        /// The heap's length in bytes.
        heap: u32,
    },
    /// A section lies in a reserved range.
    #[error("{place}: {section} ({start:#010x} to {end:#010x}) lies in reserved range {name}")]
    InReserved {
        /// Place in the layout.
        place: Place,
        /// The section.
        section: String,
        /// First address of the section.
        start: u32,
        /// The first address after the section.
        end: u32,
        /// Name of the reserved range.
        name: String,
    },
    /// A section is loaded to where the second-stage bootloader runs.
    #[error(
        "{section} is loaded to {addr:#010x} in {region}, where the second-stage bootloader is running"
    )]
    LoadedOverBootloader {
        /// The section.
        section: String,
        /// Address of the section.
        addr: u32,
        /// The region.
        region: String,
    },
}

impl Defect {
    /// Returns a hint on how to fix the defect.
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
                "another linker script moves it: esplice's script must come last".into()
            }
        })
    }
}

/// Checks `elf` against `layout`. Returns the requirements that it does not meet; empty if it meets
/// all.
///
/// # Errors
/// [`LinkError`] if the file is not a valid ELF for the chip's processor.
pub fn check(elf: &[u8], layout: &Layout) -> Result<Vec<Defect>, LinkError> {
    let elf = Elf::read(elf, &layout.chip)?;
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
            // Already reported, with its place in the layout.
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

/// Returns address and length of a block whose symbols exist.
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
    // esp-hal's symbols; other bases reserve the stack in their own scripts.
    let Some((_, left)) = elf.range("_stack_end", "_stack_start") else { return };
    if left < layout.stack.bytes {
        let place = layout.stack_place.clone().unwrap_or_default();
        defects.push(Defect::StackLeft { place, left, asked: layout.stack.clone() });
    }
}
