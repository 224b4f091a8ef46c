//! Tests when the strapping pins are sampled, and how the flash chip and unmapped addresses behave
//! in download mode, with the modelled and the executed mask ROM.

use std::time::Duration;

use super::mask_rom;
use crate::{Board, ResetReason, TimeMode, nor::Nor};
use esplice_protocol::{Opcode, slip};

/// Returns the board with the modelled ROM and the one that executes the mask ROM.
fn boards() -> [Board; 2] {
    let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
    [false, true].map(|executed| {
        let nor = Nor::in_memory(4 << 20, &chip.sim.as_ref().unwrap().flash);
        let board = Board::with_flash(chip, nor, TimeMode::Virtual).unwrap();
        if executed { board.with_rom(mask_rom::image()) } else { board }
    })
}

fn output(board: &mut Board) -> String {
    let said = board.run_for(Duration::from_millis(100)).unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

/// After these resets the chip starts as its boot pin says, after others in the previous boot mode
/// (C3 TRM, 7.1).
#[test]
fn resets_sample_the_boot_pin_or_leave_it() {
    use ResetReason::*;
    for mut board in boards() {
        for (reason, sampled) in [
            (RtcWatchdogRtc, true),
            (SuperWatchdog, true),
            (BrownOut, true),
            (ClockGlitch, true),
            (SoftwareSystem, false),
            (RtcWatchdogSystem, false),
            (Timer0WatchdogSystem, false),
        ] {
            board.hold_boot_pin(true);
            board.press_reset();
            assert!(output(&mut board).contains("waiting for download"), "{reason:?}");
            board.hold_boot_pin(false);
            board.reset_as(reason);
            let said = output(&mut board);
            let number = format!("rst:0x{:x} ", reason as u8);
            assert!(said.contains(&number), "{reason:?}: {said}");
            assert_eq!(said.contains("SPI_FAST_FLASH_BOOT"), sampled, "{reason:?}: {said}");
            assert_eq!(said.contains("waiting for download"), !sampled, "{reason:?}: {said}");
        }
        // And the other way round.
        board.hold_boot_pin(true);
        board.reset_as(SuperWatchdog);
        assert!(output(&mut board).contains("waiting for download"));
    }
}

/// Sends a command to the loader and returns value and data of its reply.
fn ask(board: &mut Board, opcode: Opcode, words: &[u32]) -> Option<(u32, Vec<u8>)> {
    let data: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut request = vec![0, opcode as u8];
    request.extend((data.len() as u16).to_le_bytes());
    request.extend([0; 4]);
    request.extend(data);
    board.host_send(&slip::encode(&request), 115_200);
    let heard = board.run_for(Duration::from_millis(100)).unwrap();
    let mut decoder = slip::Decoder::new(0x1000);
    heard.into_iter().find_map(|byte| match decoder.push(byte) {
        slip::Decoded::Frame(frame) if frame.len() >= 8 && frame[1] == opcode as u8 => {
            let value = u32::from_le_bytes(frame[4..8].try_into().unwrap());
            Some((value, frame[8..].to_vec()))
        }
        _ => None,
    })
}

/// Enters download mode and connects to the board's loader.
fn in_touch(board: &mut Board) {
    board.hold_boot_pin(true);
    board.run_for(Duration::from_millis(100)).unwrap();
    let sync: Vec<u32> = [0x2012_0707].into_iter().chain([0x5555_5555; 8]).collect();
    // The first SYNC is used to measure the rate.
    let answered = (0..3).any(|_| ask(board, Opcode::Sync, &sync).is_some());
    assert!(answered);
}

/// Reads the flash chip's ID through SPI1's registers, as flashers do.
fn flash_id(board: &mut Board) -> u32 {
    const SPI1: u32 = 0x6000_2000;
    let write = |board: &mut Board, addr, value| {
        assert!(ask(board, Opcode::WriteReg, &[addr, value, u32::MAX, 0]).is_some());
    };
    write(board, SPI1 + 0x58, 0);
    write(board, SPI1, 1 << 28); // RDID
    ask(board, Opcode::ReadReg, &[SPI1 + 0x58]).unwrap().0
}

/// A tool that does not attach the flash chip finds none, as on real boards.
#[test]
fn the_flash_chip_answers_once_it_is_attached() {
    for (number, mut board) in boards().into_iter().enumerate() {
        in_touch(&mut board);
        for _ in 0..2 {
            assert_eq!(flash_id(&mut board), 0, "board {number}");
            let (_, data) = ask(&mut board, Opcode::ReadFlashSlow, &[0, 16]).unwrap();
            assert_eq!(data[..16], [0; 16], "board {number}");
            assert!(ask(&mut board, Opcode::SpiAttach, &[0, 0]).is_some());
            assert_eq!(flash_id(&mut board) & 0xff_ffff, 0x16_40ef, "board {number}");
            let (_, data) = ask(&mut board, Opcode::ReadFlashSlow, &[0, 16]).unwrap();
            assert_eq!(data[..16], [0xff; 16], "board {number}");
            // A reset detaches the pins.
            board.press_reset();
            in_touch(&mut board);
        }
        // A write never ends.
        assert_eq!(ask(&mut board, Opcode::FlashBegin, &[0x1000, 4, 0x400, 0, 0]), None);
    }
}

#[test]
fn addresses_that_lead_nowhere_are_read_as_zeros() {
    for (number, mut board) in boards().into_iter().enumerate() {
        in_touch(&mut board);
        for addr in [0x400c_0000, 0, 0x1234_5678, 0x3fcf_0000, 0x5fff_fffc, 0xffff_fffc] {
            let write = ask(&mut board, Opcode::WriteReg, &[addr, 0xabad_1dea, 0xffff, 0]);
            assert!(write.is_some(), "board {number}: {addr:#x}");
            let read = ask(&mut board, Opcode::ReadReg, &[addr]);
            assert_eq!(read.map(|(value, _)| value), Some(0), "board {number}: {addr:#x}");
        }
        assert_eq!(board.resets(), 1, "board {number}");
    }
}
