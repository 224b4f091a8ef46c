//! Build metadata that esp-hal stores in an ELF file.

use object::LittleEndian;
use object::elf;
use object::read::SectionIndex;
use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};

/// The section, and the symbol for the bytes of the chip's name (esp-hal 1.2, src/lib.rs, macro
/// `metadata!`).
const SECTION: &[u8] = b".espressif.metadata";
const CHIP_NAME: &[u8] = b"build_info.CHIP_NAME";

/// Returns the name of the chip, such as `esp32c3`, that an ELF made with esp-hal is for; `None` if
/// the ELF does not name one.
pub fn elf_chip_name(elf: &[u8]) -> Option<String> {
    let header = elf::FileHeader32::<LittleEndian>::parse(elf).ok()?;
    header.endian().ok()?;
    let sections = header.sections(LittleEndian, elf).ok()?;
    let symbols = sections.symbols(LittleEndian, elf, elf::SHT_SYMTAB).ok()?;
    let symbol = symbols
        .iter()
        .find(|symbol| symbol.name(LittleEndian, symbols.strings()) == Ok(CHIP_NAME))?;
    let index = SectionIndex(usize::from(symbol.st_shndx(LittleEndian).0));
    let section = sections.section(index).ok()?;
    if sections.section_name(LittleEndian, section) != Ok(SECTION) {
        return None;
    }
    // The section is not loaded, but a linker may still give it an address.
    let start = symbol.st_value(LittleEndian).checked_sub(section.sh_addr(LittleEndian))?;
    let end = start.checked_add(symbol.st_size(LittleEndian))?;
    let bytes = section.data(LittleEndian, elf).ok()?.get(start as usize..end as usize)?;
    std::str::from_utf8(bytes).ok().filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an ELF with a section of that name that holds `esp32c3`, and a symbol for these
    /// bytes.
    fn elf_with(section: &str, symbol: &str, size: u32) -> Vec<u8> {
        let names = format!("\0{section}\0{symbol}\0");
        let (section_name, symbol_name) = (1_u32, 2 + section.len() as u32);
        let content = b"ESP-IDFesp32c30";
        let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
        let (content_at, symbols_at) = (52, 52 + content.len() as u32);
        let names_at = symbols_at + 32;
        let headers_at = names_at + names.len() as u32;

        let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0".to_vec();
        elf.extend(words(&[1, 0, 0, headers_at, 0]));
        // Header lengths and counts: no program headers, four sections, names in the third.
        elf.extend(words(&[52 | 32 << 16, 40 << 16, 4 | 3 << 16]));
        elf.extend(content);
        elf.extend(words(&[0; 4]));
        elf.extend(words(&[symbol_name, 7, size, 1 << 16]));
        elf.extend(names.as_bytes());
        elf.extend(words(&[0; 10]));
        let len = content.len() as u32;
        elf.extend(words(&[section_name, 1, 0, 0, content_at, len, 0, 0, 1, 0]));
        elf.extend(words(&[0, 2, 0, 0, symbols_at, 32, 3, 1, 4, 16]));
        elf.extend(words(&[0, 3, 0, 0, names_at, names.len() as u32, 0, 0, 1, 0]));
        elf
    }

    #[track_caller]
    fn check(elf: &[u8], expected: Option<&str>) {
        assert_eq!(elf_chip_name(elf).as_deref(), expected);
    }

    #[test]
    fn the_name_is_read() {
        let elf = elf_with(".espressif.metadata", "build_info.CHIP_NAME", 7);
        check(&elf, Some("esp32c3"));
    }

    #[test]
    fn an_elf_that_says_nothing_or_is_broken_names_none() {
        check(&elf_with(".rodata", "build_info.CHIP_NAME", 7), None);
        check(&elf_with(".espressif.metadata", "build_info.OTHER", 7), None);
        check(&elf_with(".espressif.metadata", "build_info.CHIP_NAME", 0), None);
        check(&elf_with(".espressif.metadata", "build_info.CHIP_NAME", 100), None);
        check(&elf_with(".espressif.metadata", "build_info.CHIP_NAME", u32::MAX), None);
        let elf = elf_with(".espressif.metadata", "build_info.CHIP_NAME", 7);
        for len in 0..elf.len() - 1 {
            // The last header ends with alignment and entry size, which don't matter.
            let cut = elf_chip_name(&elf[..len]);
            assert!(cut.is_none(), "{len}: {cut:?}");
        }
    }
}
