//! Description of the chip for GDB: its registers and its memory map, as XML.

use std::fmt::Write as _;

use esplice_chip::{Chip, RegionKind};
use esplice_sim::Board;

use crate::arch::{FIRST_CSR, PC, PRIVILEGE};

/// Unit in which GDB erases flash: a sector of the flash chip.
const SECTOR: u32 = 0x1000;

/// Names of the integer registers by the calling convention (RISC-V psABI, "Integer Register
/// Convention").
const NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "fp", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

/// Returns the name of a CSR: those of the RISC-V specifications, and the chips' own as ESP-IDF's
/// `rv_utils.h` calls them.
fn csr_name(number: u32) -> String {
    let known = match number {
        0x000 => "ustatus",
        0x300 => "mstatus",
        0x301 => "misa",
        0x304 => "mie",
        0x305 => "mtvec",
        0x340 => "mscratch",
        0x341 => "mepc",
        0x342 => "mcause",
        0x343 => "mtval",
        0x344 => "mip",
        0x7a0 => "tselect",
        0x7a1 => "tdata1",
        0x7a2 => "tdata2",
        0x7a5 => "tcontrol",
        0x7e0 => "mpcer",
        0x7e1 => "mpcmr",
        0x7e2 => "mpccr",
        0x800 => "upcer",
        0x801 => "upcmr",
        0x802 => "upccr",
        0x803 => "cpu_gpio_oen",
        0x804 => "cpu_gpio_in",
        0x805 => "cpu_gpio_out",
        0xf11 => "mvendorid",
        0xf12 => "marchid",
        0xf13 => "mimpid",
        0xf14 => "mhartid",
        0x3a0..=0x3a3 => return format!("pmpcfg{}", number - 0x3a0),
        0x3b0..=0x3bf => return format!("pmpaddr{}", number - 0x3b0),
        _ => return format!("csr{number:03x}"),
    };
    known.to_owned()
}

/// Returns the description of the board's registers (GDB manual, "RISC-V Features").
pub(crate) fn target_xml(board: &Board) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">\
         <architecture>riscv:rv32</architecture><feature name=\"org.gnu.gdb.riscv.cpu\">",
    );
    let mut add = |name: &str, number: usize, kind: &str, group: &str| {
        // Writing to a string does not fail.
        let _ = write!(
            xml,
            "<reg name=\"{name}\" bitsize=\"32\" regnum=\"{number}\" type=\"{kind}\"{group}/>"
        );
    };
    for (number, name) in NAMES.into_iter().enumerate() {
        let kind = if matches!(name, "sp" | "gp" | "tp" | "fp") { "data_ptr" } else { "int" };
        let kind = if name == "ra" { "code_ptr" } else { kind };
        add(name, number, kind, "");
    }
    add("pc", PC, "code_ptr", "");
    xml.push_str("</feature><feature name=\"org.gnu.gdb.riscv.csr\">");
    let mut add = |name: &str, number: usize| {
        let _ = write!(
            xml,
            "<reg name=\"{name}\" bitsize=\"32\" regnum=\"{number}\" type=\"int\" group=\"csr\"/>"
        );
    };
    for number in (0..0x1000).filter(|number| board.csr(*number).is_some()) {
        add(&csr_name(number), FIRST_CSR + number as usize);
    }
    xml.push_str("</feature><feature name=\"org.gnu.gdb.riscv.virtual\">");
    let _ = write!(
        xml,
        "<reg name=\"priv\" bitsize=\"32\" regnum=\"{PRIVILEGE}\" type=\"int\" group=\"general\"/>"
    );
    xml.push_str("</feature></target>");
    xml
}

/// Returns the chip's memory map (GDB manual, "Memory Map Format"). GDB then knows that flash is
/// written by `load` only, and does not access gaps.
pub(crate) fn memory_map_xml(chip: &Chip) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\"?><!DOCTYPE memory-map PUBLIC \"+//IDN gnu.org//DTD GDB Memory Map \
         V1.0//EN\" \"http://sourceware.org/gdb/gdb-memory-map.dtd\"><memory-map>",
    );
    for region in &chip.regions {
        let (start, len) = (region.addr.0, region.len);
        let range = format!("start=\"{start:#x}\" length=\"{len:#x}\"");
        let _ = match region.kind {
            RegionKind::Flash => write!(
                xml,
                "<memory type=\"flash\" {range}><property name=\"blocksize\">{SECTOR:#x}\
                 </property></memory>"
            ),
            RegionKind::Rom => write!(xml, "<memory type=\"rom\" {range}/>"),
            _ => write!(xml, "<memory type=\"ram\" {range}/>"),
        };
    }
    for space in chip.sim.iter().flat_map(|sim| &sim.peripheral_spaces) {
        let (start, len) = (space.addr.0, space.len);
        let _ = write!(xml, "<memory type=\"ram\" start=\"{start:#x}\" length=\"{len:#x}\"/>");
    }
    xml.push_str("</memory-map>");
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_what_the_chip_has() {
        let board = Board::new("esp32c3").unwrap();
        let xml = target_xml(&board);
        for register in ["name=\"fp\" bitsize=\"32\" regnum=\"8\"", "mtvec", "pmpaddr15", "mpccr"] {
            assert!(xml.contains(register), "{register}");
        }
        // The chip has no mie (README of the crate esp32c-rt).
        assert!(!xml.contains("\"mie\""));
        let map = memory_map_xml(board.chip());
        assert!(map.contains("type=\"flash\" start=\"0x42000000\""), "{map}");
        assert!(map.contains("type=\"ram\" start=\"0x60000000\""), "{map}");
    }
}
