//! Tests the state in which the serial loader starts a program: flasher stubs rely on how the ROM
//! set up UART, interrupts and SPI. Compares the executed and the modelled ROM.

use std::{ops::Range, time::Duration};

use esplice_protocol::slip;

use super::mask_rom;
use crate::{Board, TimeMode, cpu::Bus, nor::Nor};

const ENTRY: u32 = 0x4038_0000;
/// Registers that are compared, and those left out: FIFO and momentary states.
const COMPARED: [(&str, Range<u32>, &[u32]); 4] = [
    // Left out: FIFO, raw interrupts, STATUS, counters of the rate measurement.
    (
        "uart0",
        0x6000_0004..0x6000_0084,
        &[0x6000_0004, 0x6000_001c, 0x6000_0028, 0x6000_002c, 0x6000_0030],
    ),
    ("intmtx", 0x600c_2000..0x600c_21a0, &[]),
    ("spi1", 0x6000_2008..0x6000_2018, &[0x6000_200c, 0x6000_2010]),
    ("spi0", 0x6000_3008..0x6000_3018, &[0x6000_300c, 0x6000_3010]),
];

#[test]
fn a_program_that_the_loader_starts_finds_what_the_rom_leaves() {
    let mut different = Vec::new();
    for baud in [115_200, 230_400, 921_600] {
        compare(baud, &mut different);
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

fn compare(baud: u32, different: &mut Vec<String>) {
    let mut boards = [started(false, baud), started(true, baud)];
    for (name, registers, not) in COMPARED {
        for addr in registers.step_by(4).filter(|addr| !not.contains(addr)) {
            let [hooked, real] = boards.each_mut().map(|board| board.soc.load32(addr).unwrap());
            if hooked != real {
                different
                    .push(format!("{baud} Bd, {name} {addr:#x}: {hooked:#x} instead of {real:#x}"));
            }
        }
    }
    for (name, csr) in [("mstatus", 0x300), ("mie", 0x304), ("mtvec", 0x305)] {
        let [hooked, real] = boards.each_ref().map(|board| board.cpu.read_csr(csr).unwrap_or(0));
        if hooked != real {
            different.push(format!("{name}: {hooked:#x} instead of {real:#x}"));
        }
    }
    let [hooked, real] = boards.each_ref().map(|board| board.cpu.x[2]);
    if hooked != real {
        different.push(format!("sp: {hooked:#x} instead of {real:#x}"));
    }
}

/// Returns a board that has just started a program from RAM, an endless loop.
fn started(executes_rom: bool, baud: u32) -> Board {
    let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
    let nor = Nor::in_memory(4 << 20, &chip.sim.as_ref().unwrap().flash);
    let mut board = Board::with_flash(chip, nor, TimeMode::None).unwrap();
    if executes_rom {
        board = board.with_rom(mask_rom::image());
    }
    board.hold_boot_pin(true);
    board.run_for(Duration::from_millis(50)).unwrap();
    board.host_send(&[0x55; 40], baud);
    board.run_for(Duration::from_millis(50)).unwrap();
    let code = 0x0000_006f_u32.to_le_bytes(); // j 0
    let sum = code.iter().fold(0xef, |sum, byte| sum ^ byte);
    let sync = [&[7, 7, 0x12, 0x20][..], &[0x55; 32]].concat();
    for (opcode, sum, data) in [
        (0x08, 0, sync),
        (0x05, 0, words(&[4, 1, 4, ENTRY])),
        (0x07, sum, [words(&[4, 0, 0, 0]), code.to_vec()].concat()),
        (0x06, 0, words(&[0, ENTRY])),
    ] {
        let mut frame = vec![0, opcode];
        frame.extend((data.len() as u16).to_le_bytes());
        frame.extend([sum, 0, 0, 0]);
        frame.extend(data);
        board.host_send(&slip::encode(&frame), baud);
        board.run_for(Duration::from_millis(50)).unwrap();
    }
    assert_eq!(board.cpu.pc, ENTRY, "another program runs");
    board
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
