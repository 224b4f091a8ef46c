//! Registers and stack as dumped by a RISC-V panic handler.

use std::collections::BTreeMap;

use crate::{
    panic::hex_word,
    symbols::Symbols,
    unwind::{Caller, Hints, Registers},
};

/// Assumed start of a stack whose address is not printed. Only relative addresses matter. It leaves
/// room above for the longest dump.
const ASSUMED_STACK_START: u32 = 0x1000_0000;

/// The content of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Dump {
    pub registers: Registers,
    /// True if the text has the program counter and the stack pointer.
    is_whole: bool,
    memory: BTreeMap<u32, u32>,
}

/// The names of `x1` to `x31` in ESP-IDF's dump, in order. Source: ESP-IDF,
/// `components/esp_system/port/arch/riscv/panic_arch.c`.
const NAMES: [&str; 31] = [
    "RA", "SP", "GP", "TP", "T0", "T1", "T2", "S0/FP", "S1", "A0", "A1", "A2", "A3", "A4", "A5",
    "A6", "A7", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "T3", "T4", "T5",
    "T6",
];

impl Dump {
    /// Returns the first dump in a panic's lines, if unwinding can start from it.
    pub fn find(lines: &[String]) -> Option<Dump> {
        let mut dump = Dump::default();
        let (mut pc, mut told) = (None, false);
        for (index, line) in lines.iter().enumerate() {
            if let Some(rest) = line.trim_start().strip_prefix("STACKDUMP: ") {
                return Dump::of_bytes(rest, lines.get(index + 1..).unwrap_or_default());
            }
            if line.contains("register dump:") {
                if told {
                    // This dump belongs to another core.
                    break;
                }
                told = true;
            }
            // The address in `abort() was called at PC 0x…`, before the dump, is not a register.
            if told && !dump.stack(line) {
                dump.registers(line, &mut pc);
            }
        }
        dump.registers.pc = pc?;
        dump.is_whole = dump.registers.x.get(2).copied().flatten().is_some();
        dump.is_whole.then_some(dump)
    }

    /// Returns the dump of a core other than the first.
    pub fn of_core(lines: &[String], core: u32) -> Option<Dump> {
        let heads = lines.iter().enumerate().filter_map(|(at, line)| {
            crate::panic_collect::dumped_core(line.trim()).map(|found| (at, found))
        });
        let (at, _) = heads.skip(1).find(|(_, found)| *found == core)?;
        Dump::find(lines.get(at..)?)
    }

    /// Returns the callers of the function at the dumped program counter.
    pub fn callers(&self, symbols: &Symbols<'_>, hints: Hints<'_>) -> Vec<Caller> {
        symbols.unwind_with(&self.registers, hints, &|addr| self.memory.get(&addr).copied())
    }

    /// Reads the dump of esp-backtrace without frame pointers: the program counter, then the bytes
    /// of the stack from the stack pointer on. Source: esp-backtrace 0.20, `dump_stack` in
    /// src/riscv.rs. The dump is one line. A long one arrives in pieces: `more` may start with some
    /// of them.
    fn of_bytes(text: &str, more: &[String]) -> Option<Dump> {
        let (pc, bytes) = text.split_once(' ')?;
        let is_hex =
            |line: &&String| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut bytes = bytes.trim().to_owned();
        bytes.extend(more.iter().take_while(is_hex).map(String::as_str));
        let mut dump = Dump::default();
        dump.registers.pc = u32::from_str_radix(pc, 16).ok()?;
        *dump.registers.x.get_mut(2)? = Some(ASSUMED_STACK_START);
        for (index, word) in bytes.as_bytes().chunks_exact(8).enumerate() {
            let word = std::str::from_utf8(word).ok()?;
            let word = u32::from_str_radix(word, 16).ok()?.swap_bytes();
            dump.memory.insert(ASSUMED_STACK_START + 4 * index as u32, word);
        }
        Some(dump)
    }

    /// Reads a line such as `3fc8fd60: 0x00000000 0x42016a54 …`.
    fn stack(&mut self, line: &str) -> bool {
        let Some((addr, words)) = line.split_once(':') else { return false };
        let is_addr = addr.len() == 8 && addr.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(addr) = u32::from_str_radix(addr, 16).ok().filter(|_| is_addr) else {
            return false;
        };
        for (index, word) in words.split_whitespace().enumerate().take(8) {
            if let Some(word) = hex_word(word) {
                self.memory.insert(addr.wrapping_add(4 * index as u32), word);
            }
        }
        true
    }

    /// Reads a line such as `MEPC    : 0x42007d0e  RA      : 0x42007cfe  …`.
    fn registers(&mut self, line: &str, pc: &mut Option<u32>) {
        let words: Vec<&str> =
            line.split([':', ' ', '\t']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let [name, value] = pair else { continue };
            let Some(value) = hex_word(value) else { continue };
            if matches!(*name, "MEPC" | "PC") {
                pc.get_or_insert(value);
            }
            // The ROM's dump prints `S0` for `S0/FP`.
            let name = if *name == "S0" { "S0/FP" } else { name };
            let index = NAMES.iter().position(|known| *known == name);
            if let Some(register) = index.and_then(|index| self.registers.x.get_mut(index + 1)) {
                register.get_or_insert(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Option<Dump> {
        Dump::find(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn registers_and_stack_are_read() {
        let dump = find(
            "Core  0 register dump:\n\
             MEPC    : 0x42007d0e  RA      : 0x42007cfe  SP      : 0x3fc8fd60  GP      : 0x3fc8b000\n\
             S0/FP   : 0x00000001  S1      : 0x00000002  A0      : 0x00000000  A1      : 0x3fc8fd70\n\
             \n\
             Stack memory:\n\
             3fc8fd60: 0x00000003 0x00000004\n\
             Core  1 register dump:\n\
             MEPC    : 0x00000000  RA      : 0x00000000  SP      : 0x00000000\n",
        )
        .unwrap();
        assert_eq!(dump.registers.pc, 0x4200_7d0e);
        assert_eq!(dump.registers.x[1], Some(0x4200_7cfe));
        assert_eq!(dump.registers.x[2], Some(0x3fc8_fd60));
        assert_eq!((dump.registers.x[8], dump.registers.x[9]), (Some(1), Some(2)));
        assert_eq!(dump.registers.x[18], None);
        assert_eq!(dump.memory, [(0x3fc8_fd60, 3), (0x3fc8_fd64, 4)].into());
    }

    #[test]
    fn a_stack_of_bytes_is_read() {
        let dump = find("STACKDUMP: 4200018e 00f0c83f42a10042f0").unwrap();
        assert_eq!(dump.registers.pc, 0x4200_018e);
        assert_eq!(
            dump.memory,
            [(ASSUMED_STACK_START, 0x3fc8_f000), (ASSUMED_STACK_START + 4, 0x4200_a142)].into()
        );
    }

    #[test]
    fn a_long_line_of_bytes_comes_in_pieces() {
        let dump = find("STACKDUMP: 4200018e 00f0c83f42\na10042f0\n\n12345678").unwrap();
        assert_eq!(
            dump.memory,
            [(ASSUMED_STACK_START, 0x3fc8_f000), (ASSUMED_STACK_START + 4, 0x4200_a142)].into()
        );
    }

    #[test]
    fn half_a_dump_is_none() {
        assert_eq!(find("Guru Meditation Error\n3fc8fd60: 0x00000003\n"), None);
        assert_eq!(find("MEPC : 0x42007d0e RA : 0x42007cfe\n"), None);
        assert_eq!(find("STACKDUMP: 4200018e"), None);
    }
}
