//! Maps the regions of a chip with their contents in an ELF.

use std::fmt::{self, Write as _};

use esplice_chip::{Addr, Chip, RegionKind};

use crate::{LinkError, elf::Elf};

/// Map of all regions that an ELF may use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryMap {
    /// The chip, in its vendor's spelling.
    pub chip: String,
    /// Regions of the chip, in the order of its data.
    pub regions: Vec<RegionMap>,
    /// The first two loaded sections that share bytes of RAM, at one address or through two buses.
    pub overlaps: Vec<Overlap>,
}

/// Two sections that are loaded to the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overlap {
    /// The section with the lower address.
    pub first: Item,
    /// The section with the higher address.
    pub second: Item,
    /// The memory that contains the bytes, such as `sram`.
    pub memory: String,
    /// Number of bytes shared.
    pub len: u32,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overlap { first, second, memory, len } = self;
        write!(
            f,
            "{} at {:#010x} of {} bytes and {} at {:#010x} of {} bytes share {len} bytes of {memory}",
            first.name, first.addr, first.len, second.name, second.addr, second.len
        )
    }
}

/// A memory region and its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionMap {
    /// Key of the region, such as `dram`.
    pub key: String,
    /// First address.
    pub addr: u32,
    /// Length in bytes.
    pub len: u32,
    /// Contents, sorted by address.
    pub items: Vec<Item>,
}

/// Kind of a piece of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A section of the program.
    Section,
    /// The heap.
    Heap,
    /// An arena.
    Arena,
    /// The main stack.
    Stack,
    /// Bytes that another view of the same memory uses.
    Shadow,
}

impl Kind {
    /// Returns the word for the kind.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Section => "section",
            Kind::Heap => "heap",
            Kind::Arena => "arena",
            Kind::Stack => "stack",
            Kind::Shadow => "shadow",
        }
    }
}

/// A piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// Kind of the piece.
    pub kind: Kind,
    /// Name of the section or arena.
    pub name: String,
    /// First address.
    pub addr: u32,
    /// Length in bytes.
    pub len: u32,
    /// True if its contents are loaded with the program.
    pub loaded: bool,
}

impl Item {
    /// Returns the first address after it.
    pub fn end(&self) -> u32 {
        self.addr.saturating_add(self.len)
    }
}

impl RegionMap {
    /// Returns the number of bytes in use.
    pub fn used(&self) -> u32 {
        self.free_ranges().iter().fold(self.len, |used, (_, len)| used.saturating_sub(*len))
    }

    /// Returns the number of free bytes.
    pub fn free(&self) -> u32 {
        self.len - self.used()
    }

    /// Returns the free ranges, as address and length.
    pub fn free_ranges(&self) -> Vec<(u32, u32)> {
        let mut free = Vec::new();
        let mut at = self.addr;
        for item in &self.items {
            if item.addr > at {
                free.push((at, item.addr - at));
            }
            at = at.max(item.end());
        }
        let end = self.addr.saturating_add(self.len);
        if end > at {
            free.push((at, end - at));
        }
        free
    }
}

impl MemoryMap {
    /// Returns the region called `key`.
    pub fn region(&self, key: &str) -> Option<&RegionMap> {
        self.regions.iter().find(|region| region.key == key)
    }

    /// Formats the map as a table for a terminal.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for region in self.regions.iter().filter(|region| !region.items.is_empty()) {
            let (used, len) = (region.used(), region.len);
            let percent = (u64::from(used) * 100).checked_div(u64::from(len)).unwrap_or(0);
            let _ = writeln!(
                text,
                "{:10} {:#010x}  {len:>8} bytes, {used} used ({percent} %), {} free",
                region.key,
                region.addr,
                region.free()
            );
            for item in &region.items {
                let loaded = if item.loaded { "loaded" } else { "" };
                let _ = writeln!(
                    text,
                    "  {:8} {:#010x}  {:>8}  {:28} {loaded}",
                    item.kind.name(),
                    item.addr,
                    item.len,
                    item.name
                );
            }
        }
        for overlap in &self.overlaps {
            let _ = writeln!(text, "overlap: {overlap}");
        }
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// Returns the map of `elf`, a program for `chip`.
///
/// # Errors
/// [`LinkError`] if the file is not a valid ELF for the chip's processor.
pub fn map(elf: &[u8], chip: &Chip) -> Result<MemoryMap, LinkError> {
    let elf = Elf::read(elf, chip)?;
    let mut regions = empty_regions(chip);
    let items = items(&elf);
    let overlaps = overlap(&items, chip).into_iter().collect();
    for item in items {
        // On a chip with one bus, two views of a memory may share addresses: data's comes first.
        let contains = |region: &&mut RegionMap| item.addr.wrapping_sub(region.addr) < region.len;
        if let Some(region) = regions.iter_mut().find(contains) {
            region.items.push(item);
        }
    }
    Ok(MemoryMap { chip: chip.display_name.clone(), regions, overlaps })
}

/// Returns the first two loaded items, sorted by address, that share bytes of RAM.
fn overlap(items: &[Item], chip: &Chip) -> Option<Overlap> {
    // An item that is not loaded may reserve bytes that another bus uses.
    let len = |item: &Item| if item.loaded { item.len } else { 0 };
    let shared = chip.shared_ram(items.iter().map(|item| (Addr(item.addr), len(item))))?;
    Some(Overlap {
        first: items.get(shared.first)?.clone(),
        second: items.get(shared.second)?.clone(),
        memory: shared.backing,
        len: shared.len,
    })
}

fn empty_regions(chip: &Chip) -> Vec<RegionMap> {
    let region = |key: &str, addr, len| RegionMap { key: key.to_owned(), addr, len, items: vec![] };
    let layout = chip.layout.iter().flat_map(|layout| &layout.regions);
    let mut regions: Vec<RegionMap> = layout.map(|r| region(&r.key, r.addr.0, r.len)).collect();
    let covered = |regions: &[RegionMap], addr: u32| {
        regions.iter().any(|region| addr.wrapping_sub(region.addr) < region.len)
    };
    for other in chip.regions.iter().filter(|region| region.kind != RegionKind::Rom) {
        if !covered(&regions, other.addr.0) && regions.iter().all(|r| r.key != other.key) {
            regions.push(region(&other.key, other.addr.0, other.len));
        }
    }
    regions
}

fn items(elf: &Elf) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for section in &elf.sections {
        let (kind, name) = kind_of(&section.name);
        items.push(Item {
            kind,
            name: name.to_owned(),
            addr: section.addr,
            len: section.len,
            loaded: section.loaded,
        });
    }
    // Blocks placed at fixed addresses are only known by their symbols.
    let mut add = |kind: Kind, name: &str, range: Option<(u32, u32)>| {
        let Some((addr, len)) = range.filter(|(_, len)| *len > 0) else { return };
        if !items.iter().any(|item| item.kind == kind && item.addr == addr) {
            items.push(Item { kind, name: name.to_owned(), addr, len, loaded: false });
        }
    };
    add(Kind::Heap, "heap", elf.range("__esplice_heap_start", "__esplice_heap_end"));
    for name in elf.arenas() {
        let symbol = format!("__esplice_arena_{name}");
        add(Kind::Arena, &name, elf.range(&format!("{symbol}_start"), &format!("{symbol}_end")));
    }
    items.sort_by(|a, b| (a.addr, a.len, &a.name).cmp(&(b.addr, b.len, &b.name)));
    items
}

/// Returns the kind of a section, and its display name.
pub(crate) fn kind_of(section: &str) -> (Kind, &str) {
    if section == esplice_layout::HEAP_SECTION {
        return (Kind::Heap, "heap");
    }
    if let Some(name) = section.strip_prefix(&esplice_layout::arena_section("")) {
        return (Kind::Arena, name);
    }
    match section {
        // For esp-hal, TinyGo and programs in RAM.
        ".stack" => (Kind::Stack, section),
        // esp-hal and ESP-IDF (sections.ld.in) reserve bytes that code occupies on the other bus, and
        // gaps between mappings.
        ".dram0.dummy" | ".rwdata_dummy" | ".rotext_dummy" | ".text_gap" | ".esplice.shadow" => {
            (Kind::Shadow, section)
        }
        _ => (Kind::Section, section),
    }
}
