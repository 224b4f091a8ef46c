//! A valid layout for a chip, in which each block has its place in the file.

use std::sync::Arc;

use esplice_chip::Chip;

use crate::{Amount, Base, Cause, LayoutError, Linker, Place, Room, Spec, settle};

/// A layout that was checked against a chip's memories.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The chip.
    pub chip: Arc<Chip>,
    /// The base of the program.
    pub base: Base,
    /// The linker, if the layout names one.
    pub linker: Option<Linker>,
    /// The regions that the program may use.
    pub rooms: Vec<Room>,
    /// For programs in RAM, the bytes of SRAM reserved for code.
    pub code: u32,
    /// The heap.
    pub heap: Option<Heap>,
    /// The arenas, in order.
    pub arenas: Vec<Arena>,
    /// Input sections by pattern, in order.
    pub sections: Vec<Section>,
    /// Ranges that stay free.
    pub reserved: Vec<Reserved>,
    /// Bytes that stay free for the main stack.
    pub stack: Amount,
    /// Place of the stack's size, if it is set.
    pub stack_place: Option<Place>,
    /// Bytes of a goroutine's stack.
    pub goroutine_stack: Option<Amount>,
}

/// Length of the heap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// A fixed number of bytes.
    Size(Amount),
    /// All bytes that nothing else takes.
    Rest,
}

/// The heap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heap {
    /// Place in the file.
    pub place: Place,
    /// Key of its region.
    pub region: String,
    /// Length of the heap.
    pub extent: Extent,
    /// Alignment in bytes.
    pub align: u32,
    /// Prefixes of further symbols for the heap.
    pub symbols: Vec<String>,
    /// The limit that the program sets at run time.
    pub limit: Option<(Amount, Place)>,
    /// The address, if the layout and not the linker chooses it.
    pub addr: Option<u32>,
}

/// An arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arena {
    /// Place in the file.
    pub place: Place,
    /// Name of the arena.
    pub name: String,
    /// Key of its region.
    pub region: String,
    /// Length of the arena.
    pub size: Amount,
    /// Alignment in bytes.
    pub align: u32,
    /// Contents at program start.
    pub contents: Contents,
    /// The address, if the layout and not the linker chooses it.
    pub addr: Option<u32>,
}

/// Contents of an arena at program start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Undefined: nothing is loaded.
    NoLoad,
    /// The contents from before the reset; undefined after power-on.
    Kept,
    /// This byte throughout, loaded with the program.
    Fill(u8),
}

/// Input sections by pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Place in the file.
    pub place: Place,
    /// Name of the section.
    pub name: String,
    /// Pattern that matches input sections.
    pub pattern: String,
    /// Key of its region.
    pub region: String,
    /// Alignment in bytes.
    pub align: u32,
    /// True if nothing is loaded into it.
    pub no_load: bool,
}

/// A range that stays free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// Place in the file.
    pub place: Place,
    /// Name of the range.
    pub name: String,
    /// Key of the region that contains it.
    pub region: String,
    /// First address.
    pub addr: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Arena {
    /// Returns whether the bootloader writes its contents.
    pub fn is_loaded(&self) -> bool {
        matches!(self.contents, Contents::Fill(_))
    }
}

impl Spec {
    /// Checks the layout against the memories of `chip`.
    ///
    /// # Errors
    /// [`LayoutError`] for the first error, with its place.
    pub fn settle(&self, chip: &Arc<Chip>) -> Result<Layout, LayoutError> {
        settle::settle(self, chip)
    }
}

impl Layout {
    /// Returns the linker to write for: the one that the layout names, or else the family that the
    /// name of `program` shows, or else that of the chip's usual compiler (the vendor's uses GNU
    /// ld).
    pub fn linker_for(&self, program: Option<&str>) -> Linker {
        let usual = match self.chip.toolchain.rust_install {
            Some(_) => Linker::Gnu,
            None => Linker::Lld,
        };
        self.linker.unwrap_or_else(|| program.map_or(usual, Linker::of_program))
    }

    /// Returns, for a block that the linker found no room for, a layout whose heap takes all bytes
    /// that the block could have, and the bytes of that heap that are already in use.
    pub fn measuring(&self, error: &LayoutError) -> Option<(Layout, u32)> {
        let Cause::NoRoomAtLink { what, region, .. } = error.cause.as_ref() else { return None };
        let mut layout = self.clone();
        let (mut align, mut taken) = (16, 0);
        match what.strip_prefix("arena ") {
            Some(name) => {
                // Its symbols are kept because the program may use them.
                let arena = layout.arenas.iter_mut().find(|arena| arena.name == name)?;
                arena.size = Amount::of(4);
                align = arena.align.max(align);
                let here = self.heap.iter().filter(|heap| heap.region == *region);
                taken = here.fold(align, |_, heap| match &heap.extent {
                    Extent::Size(size) => size.bytes.saturating_add(align),
                    Extent::Rest => align,
                });
            }
            None => align = self.heap.as_ref()?.align,
        }
        layout.heap = Some(Heap {
            place: error.place.clone(),
            region: region.clone(),
            extent: Extent::Rest,
            align,
            symbols: self.heap.iter().flat_map(|heap| heap.symbols.clone()).collect(),
            limit: None,
            addr: None,
        });
        Some((layout, taken))
    }

    /// Returns the region called `key`.
    pub fn room(&self, key: &str) -> Option<&Room> {
        self.rooms.iter().find(|room| room.key == key)
    }

    /// Returns the number of bytes at the end of `room` that reserved ranges keep free.
    pub(crate) fn reserved_tail(&self, room: &Room) -> u32 {
        let mut end = room.end();
        let mut below = || {
            let at_end = |r: &&Reserved| r.addr < end && r.addr.saturating_add(r.len) >= end;
            let range = self.reserved.iter().filter(|r| r.region == room.key).find(at_end)?;
            end = range.addr.max(room.addr);
            Some(())
        };
        while below().is_some() {}
        room.end() - end
    }
}
