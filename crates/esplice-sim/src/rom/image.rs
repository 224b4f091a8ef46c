//! A mask ROM from the ELF that the vendor publishes: maps its contents to the ROM's addresses and
//! checks them against the chip data.
//!
//! In such an ELF the ROM's own sections are at their addresses. Sections of initialised data are
//! at the RAM addresses that the ROM copies them to. The ROM's tables say where it stores them, and
//! the chip data says where these tables are.

use std::{fs::File, io::Read as _, path::Path, sync::Arc};

use esplice_chip::{Addr, Chip, RegionKind};
use object::{
    LittleEndian,
    elf::FileHeader32,
    read::elf::{ElfFile32, FileHeader as _},
    read::{Object as _, ObjectSection as _},
};
use serde::Deserialize;

use super::Table;
use crate::{
    SimError,
    memory::{Backing, Memory},
};

/// Largest size of a ROM file; published ones have less than a megabyte.
const MOST_BYTES: u64 = 64 << 20;
/// Most bytes of all its sections together; sections may overlap in the file any number of times.
const MOST_IN_SECTIONS: usize = 16 << 20;
/// Length of an entry in a table of initialised data: first address in RAM, end address, address in
/// the ROM, and 0 in older ROMs.
const ENTRY_LEN: u32 = 16;

fn entry_len() -> u32 {
    ENTRY_LEN
}

/// Facts about a ROM's code, and required contents of its file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct CodeFacts {
    /// Address at which the CPU starts after each reset.
    pub reset_vector: u32,
    /// The tables of initialised data.
    pub initialised: Vec<DataTable>,
    /// The source of these facts.
    pub source: String,
}

/// A table of initialised data in the ROM.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct DataTable {
    /// Address of its first entry.
    addr: u32,
    /// Number of entries.
    count: u32,
    /// Length of an entry in bytes.
    #[serde(default = "entry_len")]
    entry: u32,
}

/// The contents of a chip's mask ROM, which a board then executes ([`crate::Board::with_rom`]).
/// Cheap to clone: all boards with the same ROM share it.
#[derive(Debug, Clone)]
pub struct RomImage {
    chip: Arc<Chip>,
    reset_vector: u32,
    /// Bytes of the ROM by address.
    pieces: Arc<[(u32, Vec<u8>)]>,
}

impl RomImage {
    /// Reads the ELF file at `path`.
    ///
    /// # Errors
    /// [`SimError::RomFile`] if it can't be read, and those of [`RomImage::from_elf`].
    pub fn open(path: &Path, chip: &Arc<Chip>) -> Result<RomImage, SimError> {
        let refused = |source| SimError::RomFile { path: path.into(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(refused)?;
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(refused)?;
        RomImage::from_elf(&bytes, chip)
    }

    /// Reads the ROM from the bytes of an ELF file.
    ///
    /// # Errors
    /// [`SimError::NoBoard`] and [`SimError::RomTable`] for unusable chip data,
    /// [`SimError::RomNotElf`], [`SimError::RomMachine`], [`SimError::RomNoCode`],
    /// [`SimError::RomPlace`] and [`SimError::RomDiffers`] for an unusable file.
    pub fn from_elf(elf: &[u8], chip: &Arc<Chip>) -> Result<RomImage, SimError> {
        let sim = chip
            .sim
            .as_ref()
            .ok_or_else(|| SimError::NoBoard { chip: chip.display_name.clone() })?;
        let table = Table::load(&sim.rom_table)?;
        let facts = table.code();
        check_kind(elf, chip)?;
        let file_len = elf.len();
        let no_elf = |error: object::Error| SimError::RomNotElf {
            len: elf.len(),
            message: error.to_string().to_lowercase(),
        };
        let elf = ElfFile32::<LittleEndian>::parse(elf).map_err(no_elf)?;
        let mut image =
            RomImage { chip: chip.clone(), reset_vector: facts.reset_vector, pieces: Arc::new([]) };
        let mut pieces = Vec::new();
        let mut in_ram = Vec::new();
        let mut all = 0_usize;
        for section in elf.sections() {
            let data = section.data().map_err(no_elf)?;
            let addr = section.address() as u32;
            // Sections without an address (symbols, comments) or bytes are not in the chip.
            if addr == 0 || data.is_empty() {
                continue;
            }
            all = all.saturating_add(data.len());
            if all > MOST_IN_SECTIONS {
                let message = format!("its sections hold more than {MOST_IN_SECTIONS} bytes");
                return Err(SimError::RomNotElf { len: file_len, message });
            }
            match chip.region_at(Addr(addr)) {
                Some(region) if region.kind == RegionKind::Rom => {
                    if data.len() as u64 > u64::from(region.len - (addr - region.addr.0)) {
                        return Err(SimError::RomPlace {
                            name: section.name().unwrap_or("without a name").into(),
                            addr,
                            len: data.len(),
                            region: region.key.clone(),
                            region_addr: region.addr.0,
                            region_len: region.len,
                        });
                    }
                    pieces.push((addr, data.to_vec()));
                }
                _ => in_ram.push((addr, data)),
            }
        }
        image.pieces = pieces.clone().into();
        image.check_code()?;
        for table in &facts.initialised {
            for entry in
                (table.addr..).step_by(table.entry.max(12) as usize).take(table.count as usize)
            {
                let word = |at| image.word(entry.wrapping_add(at)).unwrap_or(0);
                let (first, end, at) = (word(0), word(4), word(8));
                for (addr, data) in &in_ram {
                    let bytes = (first..end)
                        .map_while(|to| data.get(to.checked_sub(*addr)? as usize).copied());
                    let bytes: Vec<u8> = bytes.collect();
                    if !bytes.is_empty() {
                        pieces.push((at, bytes));
                    }
                }
            }
        }
        image.pieces = pieces.into();
        image.check_words(&table)?;
        Ok(image)
    }

    /// Returns the address at which the CPU starts after a reset.
    pub(crate) fn reset_vector(&self) -> u32 {
        self.reset_vector
    }

    /// Writes the ROM into the memory.
    pub(crate) fn fill(&self, memory: &mut Memory) {
        let map = memory.map().clone();
        for (addr, bytes) in self.pieces.iter() {
            let Some(region) = map.regions.iter().find(|r| addr.wrapping_sub(r.base) < r.len)
            else {
                continue;
            };
            let Backing::Bank { bank, offset } = region.backing else { continue };
            let first = (offset + (addr - region.base)) as usize;
            let place = memory.bank_mut(bank).and_then(|bank| bank.get_mut(first..));
            for (to, from) in place.into_iter().flatten().zip(bytes) {
                *to = *from;
            }
        }
    }

    fn byte(&self, addr: u32) -> Option<u8> {
        let at = |first: u32| addr.checked_sub(first).map(|at| at as usize);
        self.pieces.iter().find_map(|(first, bytes)| bytes.get(at(*first)?).copied())
    }

    fn word(&self, addr: u32) -> Option<u32> {
        let mut word = 0;
        for at in (0..4).rev() {
            word = word << 8 | u32::from(self.byte(addr.checked_add(at)?)?);
        }
        Some(word)
    }

    /// Checks that there is code at the reset vector.
    fn check_code(&self) -> Result<(), SimError> {
        if self.word(self.reset_vector).is_some_and(|word| word != 0) {
            return Ok(());
        }
        Err(SimError::RomNoCode {
            chip: self.chip.display_name.clone(),
            vector: self.reset_vector,
            found: self.pieces.iter().map(|(addr, bytes)| (*addr, bytes.len())).min(),
        })
    }

    /// Checks the ROM's words against the chip data. Another revision has other words and other
    /// addresses.
    fn check_words(&self, table: &Table) -> Result<(), SimError> {
        for (name, addr, expected) in table.rom_words(&self.chip) {
            let found = self.word(addr);
            if found != Some(expected) {
                return Err(SimError::RomDiffers {
                    chip: self.chip.display_name.clone(),
                    name: name.into(),
                    addr,
                    found: found.unwrap_or(0),
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// Checks that the file is a 32-bit little-endian ELF for the chip's machine.
fn check_kind(elf: &[u8], chip: &Chip) -> Result<(), SimError> {
    let no_elf = |message: String| SimError::RomNotElf { len: elf.len(), message };
    let header = FileHeader32::<LittleEndian>::parse(elf).map_err(|_| match elf.get(..6) {
        Some([0x7f, b'E', b'L', b'F', class, order]) => {
            no_elf(format!("class {class} and byte order {order} instead of 1 and 1"))
        }
        Some(start) => no_elf(format!("it begins with {}", hex::encode(start))),
        None => no_elf("it is too short".into()),
    })?;
    let machine = header.e_machine.get(LittleEndian).0;
    if machine != chip.elf_machine {
        return Err(SimError::RomMachine {
            found: machine,
            expected: chip.elf_machine,
            chip: chip.display_name.clone(),
        });
    }
    Ok(())
}
