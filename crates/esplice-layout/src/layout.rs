//! A layout that holds: settled for a chip, each thing with its place.

use esplice_chip::Chip;

use crate::{Amount, Base, Cause, LayoutError, Linker, Place, Room, Spec, settle};

/// A layout, checked against a chip's memories.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The chip.
    pub chip: &'static Chip,
    /// What the program is built on.
    pub base: Base,
    /// The linker, where the layout names one.
    pub linker: Option<Linker>,
    /// The regions that the program may use.
    pub rooms: Vec<Room>,
    /// For programs in RAM, the bytes of SRAM that code takes.
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
    /// Where the stack's size stands, if anywhere.
    pub stack_place: Option<Place>,
    /// Bytes of a goroutine's stack.
    pub goroutine_stack: Option<Amount>,
}

/// How long something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// This many bytes.
    Size(Amount),
    /// All that nothing else takes.
    Rest,
}

/// The heap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heap {
    /// Where it stands.
    pub place: Place,
    /// Key of its region.
    pub region: String,
    /// How long it is.
    pub extent: Extent,
    /// Alignment in bytes.
    pub align: u32,
    /// Starts of more names for it.
    pub symbols: Vec<String>,
    /// The limit that the program sets at run time.
    pub limit: Option<(Amount, Place)>,
    /// Its address, where the layout and not the linker chooses it.
    pub addr: Option<u32>,
}

/// An arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arena {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// Key of its region.
    pub region: String,
    /// How long it is.
    pub size: Amount,
    /// Alignment in bytes.
    pub align: u32,
    /// What is in it when the program starts.
    pub contents: Contents,
    /// Its address, where the layout and not the linker chooses it.
    pub addr: Option<u32>,
}

/// What is in an arena when the program starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Anything: nothing is loaded.
    NoLoad,
    /// What was there before the reset, or anything after power-on.
    Kept,
    /// This byte, again and again, loaded with the program.
    Fill(u8),
}

/// Input sections by pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// What input sections are matched with.
    pub pattern: String,
    /// Key of its region.
    pub region: String,
    /// Alignment in bytes.
    pub align: u32,
    /// Nothing is loaded into it.
    pub no_load: bool,
}

/// A range that stays free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// Key of the region it lies in.
    pub region: String,
    /// First address.
    pub addr: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Arena {
    /// Whether the bootloader writes its contents.
    pub fn is_loaded(&self) -> bool {
        matches!(self.contents, Contents::Fill(_))
    }
}

impl Spec {
    /// Checks the layout against the memories of `chip`.
    ///
    /// # Errors
    /// [`LayoutError`] for the first thing that does not hold, with its place.
    pub fn settle(&self, chip: &'static Chip) -> Result<Layout, LayoutError> {
        settle::settle(self, chip)
    }
}

impl Layout {
    /// The linker to write for: what the layout names, else what the name of `program` tells, else
    /// what the chip's usual compiler links with (the vendor's drives GNU ld).
    pub fn linker_for(&self, program: Option<&str>) -> Linker {
        let usual = match self.chip.toolchain.rust_install {
            Some(_) => Linker::Gnu,
            None => Linker::Lld,
        };
        self.linker.unwrap_or_else(|| program.map_or(usual, Linker::of_program))
    }

    /// For a thing that the linker found no room for: a layout whose heap is all that such a thing
    /// could have, and the bytes of that heap that are another's already.
    pub fn measuring(&self, error: &LayoutError) -> Option<(Layout, u32)> {
        let Cause::NoRoomAtLink { what, region, .. } = error.cause.as_ref() else { return None };
        let mut layout = self.clone();
        let (mut align, mut taken) = (16, 0);
        match what.strip_prefix("arena ") {
            Some(name) => {
                // Its symbols stay, as the program may use them.
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

    /// The region called `key`.
    pub fn room(&self, key: &str) -> Option<&Room> {
        self.rooms.iter().find(|room| room.key == key)
    }

    /// Bytes of `room` before its end that stay free: the reserved ranges there.
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
