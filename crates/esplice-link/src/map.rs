//! Regions of a chip with what an ELF puts there.

use std::fmt::{self, Write as _};

use esplice_chip::{Addr, Chip, RegionKind};

use crate::{LinkError, elf::Elf};

/// All regions that an ELF may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryMap {
    /// The chip, as its vendor writes it.
    pub chip: String,
    /// Its regions, in the order of its data.
    pub regions: Vec<RegionMap>,
    /// The first two loaded sections that share bytes of RAM, at one address or through two buses.
    pub overlaps: Vec<Overlap>,
}

/// Two sections that are loaded to the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The section with the lower address.
    pub first: Item,
    /// The other one.
    pub second: Item,
    /// The memory that holds the bytes, such as `sram`.
    pub memory: String,
    /// Number of bytes in both.
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

/// A region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionMap {
    /// Its key: `dram`.
    pub key: String,
    /// First address.
    pub addr: u32,
    /// Length in bytes.
    pub len: u32,
    /// What lies there, by address.
    pub items: Vec<Item>,
}

/// What a piece of memory is.
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
    /// A word for it.
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
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its name: the section's or the arena's.
    pub name: String,
    /// First address.
    pub addr: u32,
    /// Length in bytes.
    pub len: u32,
    /// Its contents come with the program.
    pub loaded: bool,
}

impl Item {
    /// The first address behind it.
    pub fn end(&self) -> u32 {
        self.addr.saturating_add(self.len)
    }
}

impl RegionMap {
    /// Bytes that something lies in.
    pub fn used(&self) -> u32 {
        self.free_ranges().iter().fold(self.len, |used, (_, len)| used.saturating_sub(*len))
    }

    /// Bytes that nothing lies in.
    pub fn free(&self) -> u32 {
        self.len - self.used()
    }

    /// The ranges that nothing lies in: address and length.
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
    /// The region called `key`.
    pub fn region(&self, key: &str) -> Option<&RegionMap> {
        self.regions.iter().find(|region| region.key == key)
    }

    /// As a table for a terminal.
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

/// The map of `elf`, a program for `chip`.
///
/// # Errors
/// [`LinkError`] for what is no sound ELF of the chip's processor.
pub fn map(elf: &[u8], chip: &Chip) -> Result<MemoryMap, LinkError> {
    let elf = Elf::read(elf, chip)?;
    let mut regions = empty_regions(chip);
    let items = items(&elf);
    let overlaps = overlap(&items, chip).into_iter().collect();
    for item in items {
        // Two views of one memory may share addresses, where a chip has one bus: the first is data's.
        let contains = |region: &&mut RegionMap| item.addr.wrapping_sub(region.addr) < region.len;
        if let Some(region) = regions.iter_mut().find(contains) {
            region.items.push(item);
        }
    }
    Ok(MemoryMap { chip: chip.display_name.clone(), regions, overlaps })
}

/// The first two of the loaded items, which are sorted by address, that share bytes of RAM.
fn overlap(items: &[Item], chip: &Chip) -> Option<Overlap> {
    // An item that is not loaded may stand for what another bus takes.
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
    // Where the linker was given addresses, symbols alone tell.
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

/// What a section is, and how it is called.
fn kind_of(section: &str) -> (Kind, &str) {
    if section == esplice_layout::HEAP_SECTION {
        return (Kind::Heap, "heap");
    }
    if let Some(name) = section.strip_prefix(&esplice_layout::arena_section("")) {
        return (Kind::Arena, name);
    }
    match section {
        // esp-hal's, TinyGo's and programs' in RAM.
        ".stack" => (Kind::Stack, section),
        // esp-hal keeps bytes free that code takes on the other bus, and gaps between mappings.
        ".rwdata_dummy" | ".rotext_dummy" | ".text_gap" | ".esplice.shadow" => {
            (Kind::Shadow, section)
        }
        _ => (Kind::Section, section),
    }
}
