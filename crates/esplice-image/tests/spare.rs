//! Finding the unused parts of an ELF.

use crate::support::{self, Options, Section, descriptor, elf_with_symbols, noise, section};
use esplice_chip::ChipDb;
use esplice_image::{
    ElfUse, ImageOptions, RomOptions, build_image, build_rom_image, elf_chip_name, is_rom_program,
    spare_ranges,
};
use object::elf;

fn ranges(asked: ElfUse, elf: &[u8]) -> Option<Vec<std::ops::Range<u64>>> {
    spare_ranges(asked, |at, len| elf.get(at as usize..)?.get(..len).map(<[u8]>::to_vec))
}

fn debug(name: &'static str, len: usize) -> Section {
    Section { flags: 0, ..section(name, 0, noise(7, len)) }
}

fn program() -> Vec<Section> {
    vec![
        section(".flash.appdesc", 0x3c00_0020, descriptor()),
        section(".text", 0x4201_0020, noise(1, 1000)),
        debug(".debug_info", 5000),
        debug(".comment", 40),
        debug(".debug_str", 3000),
        // Notes with an address go into the image, whatever their name.
        Section { addr: 0x3c00_0200, ..debug(".debug_notes", 64) },
        debug(".debug_none", 0),
    ]
}

/// Checks that the images are the same without the spare ranges, and returns their lengths.
fn check(asked: ElfUse, sections: &[Section], symbols: &[(&str, u32)]) -> Vec<u64> {
    let chip = ChipDb::embedded().find("esp32c3").expect("chip data");
    let bytes = elf_with_symbols(243, 0x4201_0020, sections, symbols);
    let found = ranges(asked, &bytes).expect("the ELF is valid");
    let mut without = bytes.clone();
    for range in &found {
        without[range.start as usize..range.end as usize].fill(0x55);
    }
    let elf_sha256 = Some([1; 32]);
    let options = ImageOptions::for_chip(chip).elf_sha256(elf_sha256);
    assert_eq!(build_image(&bytes, chip, &options), build_image(&without, chip, &options));
    let options = RomOptions::for_chip(chip).elf_sha256(elf_sha256);
    assert_eq!(build_rom_image(&bytes, chip, &options), build_rom_image(&without, chip, &options));
    assert_eq!(is_rom_program(&bytes, chip), is_rom_program(&without, chip));
    if asked == ElfUse::ImagesAndChip {
        assert_eq!(elf_chip_name(&bytes), elf_chip_name(&without));
    }
    found.iter().map(|range| range.end - range.start).collect()
}

#[test]
fn debug_information_is_spare_and_symbols_are_where_nobody_asks_for_them() {
    let symbols = [("_start", 0x4201_0020), ("_drom_flash_addr", 0x4201_0040)];
    assert_eq!(check(ElfUse::ImagesAndChip, &program(), &symbols), [5000, 3000]);
    let (table, strings) =
        (3 * 16, 1 + "_start".len() as u64 + 1 + "_drom_flash_addr".len() as u64 + 1);
    assert_eq!(check(ElfUse::ImagesOnly, &program(), &symbols), [5000, 3000, table, strings]);
    // A program for the ROM may be identified by its symbols.
    assert_eq!(check(ElfUse::ImagesOnly, &program()[1..], &symbols), [5000, 3000]);
    let other = Section { name: ".flash.appdesc2", ..program().remove(0) };
    assert!(check(ElfUse::ImagesOnly, &[other, program().remove(1)], &symbols).is_empty());
}

/// Found by fuzzing: the table of names with a name of debug information.
#[test]
fn tables_are_kept_whatever_they_are_called() {
    let bytes = elf_with_symbols(243, 0x4201_0020, &program(), &[("_start", 0x4201_0020)]);
    let mut renamed = bytes.clone();
    let headers_at = u32::from_le_bytes(bytes[32..36].try_into().expect("four bytes")) as usize;
    // The last three sections hold the names, the symbols and the symbols' names. They get the
    // third one's name.
    let name = bytes[headers_at + 3 * 40..][..4].to_vec();
    for number in program().len() + 1..program().len() + 4 {
        renamed[headers_at + number * 40..][..4].copy_from_slice(&name);
    }
    assert_eq!(ranges(ElfUse::ImagesAndChip, &renamed), ranges(ElfUse::ImagesAndChip, &bytes));
    assert_eq!(ranges(ElfUse::ImagesOnly, &renamed), ranges(ElfUse::ImagesOnly, &bytes));
}

#[test]
fn what_is_something_else_as_well_is_kept() {
    // A program header that covers the whole file.
    let bytes = support::elf(&program(), Options::default());
    assert_eq!(ranges(ElfUse::ImagesOnly, &bytes).expect("the ELF is valid").len(), 2);
    let mut over_all = bytes.clone();
    let len = bytes.len() as u32;
    // p_offset and p_filesz of the first one (System V ABI, "Program Header").
    over_all[52 + 4..52 + 8].fill(0);
    over_all[52 + 16..52 + 20].copy_from_slice(&len.to_le_bytes());
    assert_eq!(ranges(ElfUse::ImagesOnly, &over_all), Some(vec![]));
}

#[test]
fn nothing_is_known_of_other_files() {
    let bytes = support::elf(&program(), Options::default());
    for len in 0..bytes.len() {
        // The section headers are at the end.
        assert_eq!(ranges(ElfUse::ImagesOnly, &bytes[..len]), None, "{len}");
    }
    let wide = Options { is_64: true, machine: elf::EM_X86_64, ..Options::default() };
    assert_eq!(ranges(ElfUse::ImagesOnly, &support::elf(&program(), wide)), None);
    let many: Vec<Section> = (0..1000).map(|_| debug(".debug_info", 1)).collect();
    assert_eq!(ranges(ElfUse::ImagesOnly, &support::elf(&many, Options::default())), None);
}
