//! An object file with an empty section for each arena that nothing is loaded into.
//!
//! A section made of gaps alone would be loaded as zeros by lld, and one marked `NOLOAD` would drop
//! initialised data without a word. With an empty input section that occupies no file, the output
//! section is loaded only if somebody put initialised data there, and then that can be seen.
//!
//! Source of the format: System V ABI, Object Files; RISC-V ELF psABI, File Header, for the flags.

use esplice_chip::Chip;

use crate::{Contents, Layout};

const EHDR: usize = 52;
const SHDR: usize = 40;
const SHT_STRTAB: u32 = 3;
const SHT_NOBITS: u32 = 8;
const SHF_WRITE_ALLOC: u32 = 3;
/// The same for RISC-V and Xtensa, both little-endian.
const ELFCLASS32_LSB_V1: [u8; 7] = [0x7f, b'E', b'L', b'F', 1, 1, 1];
const EM_XTENSA: u16 = 94;
/// The flag by which a RISC-V object passes floats in registers (psABI, EF_RISCV_FLOAT_ABI_SINGLE):
/// Rust's targets do where the chip computes with them.
const FLOAT_ABI_SINGLE: u32 = 2;
/// What GNU as sets for Xtensa (binutils include/elf/xtensa.h: EF_XTENSA_XT_INSN, EF_XTENSA_XT_LIT).
const XTENSA_FLAGS: u32 = 0x300;

/// The object file.
pub(crate) fn object(layout: &Layout) -> Vec<u8> {
    let unloaded = layout.arenas.iter().filter(|a| !matches!(a.contents, Contents::Fill(_)));
    let names: Vec<String> = unloaded.map(|arena| crate::arena_section(&arena.name)).collect();

    let mut strings = b"\0.shstrtab\0".to_vec();
    let mut headers = vec![[0_u32; 10]];
    for name in &names {
        let at = strings.len() as u32;
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
        // name, type, flags, addr, offset, size, link, info, addralign, entsize
        headers.push([at, SHT_NOBITS, SHF_WRITE_ALLOC, 0, EHDR as u32, 0, 0, 0, 1, 0]);
    }
    let strings_len = strings.len() as u32;
    headers.push([1, SHT_STRTAB, 0, 0, EHDR as u32, strings_len, 0, 0, 1, 0]);
    while !(EHDR + strings.len()).is_multiple_of(4) {
        strings.push(0);
    }

    let mut file = ELFCLASS32_LSB_V1.to_vec();
    file.resize(16, 0);
    let mut half = |value: u16| file.extend_from_slice(&value.to_le_bytes());
    half(1); // ET_REL
    half(layout.chip.elf_machine);
    let mut word = |value: u32| file.extend_from_slice(&value.to_le_bytes());
    word(1); // EV_CURRENT
    word(0); // no entry
    word(0); // no program headers
    word((EHDR + strings.len()) as u32);
    word(flags(layout.chip));
    for value in [EHDR as u16, 0, 0, SHDR as u16, headers.len() as u16, headers.len() as u16 - 1] {
        file.extend_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(&strings);
    for header in headers {
        for value in header {
            file.extend_from_slice(&value.to_le_bytes());
        }
    }
    file
}

fn flags(chip: &Chip) -> u32 {
    if chip.elf_machine == EM_XTENSA {
        return XTENSA_FLAGS;
    }
    let extensions = chip.isa.strip_prefix("rv32").unwrap_or_default();
    if extensions.contains('f') { FLOAT_ABI_SINGLE } else { 0 }
}
