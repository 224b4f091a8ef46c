//! Makes an object file that names the script's symbols, so that linkers list them in a fixed
//! order.
//!
//! Source of the format: System V ABI, Object Files; RISC-V ELF psABI, File Header, for the flags.

use esplice_chip::Chip;

const EHDR: usize = 52;
const SHDR: usize = 40;
const SYMBOL: usize = 16;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const STB_GLOBAL_NOTYPE: u8 = 0x10;
/// The same on RISC-V and Xtensa, both little-endian.
const ELFCLASS32_LSB_V1: [u8; 7] = [0x7f, b'E', b'L', b'F', 1, 1, 1];
const EM_XTENSA: u16 = 94;
/// The flag for RISC-V objects that pass floats in registers (psABI, EF_RISCV_FLOAT_ABI_SINGLE), as
/// Rust's targets do if the chip has float instructions.
const FLOAT_ABI_SINGLE: u32 = 2;
/// The flags that GNU as sets for Xtensa (binutils include/elf/xtensa.h: EF_XTENSA_XT_INSN,
/// EF_XTENSA_XT_LIT).
const XTENSA_FLAGS: u32 = 0x300;

/// Returns an object file with `symbols` as undefined symbols.
///
/// Linkers list symbols in the order in which they first see them. Named here, the symbols that the
/// script defines or uses have the same order wherever the script is among others, and the ELF is
/// identical byte for byte.
pub(crate) fn object(chip: &Chip, symbols: &[String]) -> Vec<u8> {
    let mut strings = b"\0".to_vec();
    let mut string = |text: &str| {
        let at = strings.len() as u32;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    };
    let [symtab_name, strtab_name] = [".symtab", ".strtab"].map(&mut string);
    // Fields: name, value, size; info and section number. The first entry is the null symbol.
    let mut table = vec![0_u8; SYMBOL];
    for symbol in symbols {
        table.extend_from_slice(&string(symbol).to_le_bytes());
        table.extend_from_slice(&[0; 8]);
        table.extend_from_slice(&[STB_GLOBAL_NOTYPE, 0, 0, 0]);
    }
    while !(EHDR + table.len() + strings.len()).is_multiple_of(4) {
        strings.push(0);
    }

    let (table_len, strings_len) = (table.len() as u32, strings.len() as u32);
    let (table_at, strings_at) = (EHDR as u32, EHDR as u32 + table_len);
    let (strtab, first_global) = (2, 1);
    // name, type, flags, addr, offset, size, link, info, addralign, entsize
    let headers: [[u32; 10]; 3] = [
        [0; 10],
        [
            symtab_name,
            SHT_SYMTAB,
            0,
            0,
            table_at,
            table_len,
            strtab,
            first_global,
            4,
            SYMBOL as u32,
        ],
        [strtab_name, SHT_STRTAB, 0, 0, strings_at, strings_len, 0, 0, 1, 0],
    ];

    let mut file = ELFCLASS32_LSB_V1.to_vec();
    file.resize(16, 0);
    let mut half = |value: u16| file.extend_from_slice(&value.to_le_bytes());
    half(1); // ET_REL
    half(chip.elf_machine);
    let mut word = |value: u32| file.extend_from_slice(&value.to_le_bytes());
    word(1); // EV_CURRENT
    word(0); // no entry
    word(0); // no program headers
    word(strings_at + strings_len);
    word(flags(chip));
    for value in [EHDR as u16, 0, 0, SHDR as u16, headers.len() as u16, headers.len() as u16 - 1] {
        file.extend_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(&table);
    file.extend_from_slice(&strings);
    for header in headers {
        for value in header {
            file.extend_from_slice(&value.to_le_bytes());
        }
    }
    file
}

/// Returns the symbols that esplice's script defines or uses, in the order of their first mention.
pub(crate) fn symbols(script: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in script.lines() {
        // A message ends an assertion.
        let code = line.split('"').next().unwrap_or_default();
        if code.trim_start().starts_with(['/', '*']) {
            continue;
        }
        let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
        let ours = |word: &&str| word.starts_with("__esplice") || word.starts_with("_stack_");
        let assigned = code.split_once(" = ").map(|(name, _)| name.trim());
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let assigned = assigned.filter(|name| !name.is_empty() && name.chars().all(plain));
        for word in assigned.into_iter().chain(words.filter(ours)) {
            if !found.iter().any(|name| name == word) {
                found.push(word.to_owned());
            }
        }
    }
    found
}

fn flags(chip: &Chip) -> u32 {
    if chip.elf_machine == EM_XTENSA {
        return XTENSA_FLAGS;
    }
    let extensions = chip.isa.strip_prefix("rv32").unwrap_or_default();
    if extensions.contains('f') { FLOAT_ABI_SINGLE } else { 0 }
}
