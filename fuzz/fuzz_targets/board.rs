//! Runs a whole virtual board: any flash contents, any instructions, and any actions of the host.
#![no_main]

use std::time::Duration;

use esplice_chip::ChipDb;
use esplice_sim::{Board, SimError, TimeMode, millis, nor::Nor};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

#[derive(Debug, Arbitrary)]
struct Input {
    timed: bool,
    flash: Flash,
    actions: Vec<Action>,
}

#[derive(Debug, Arbitrary)]
enum Flash {
    /// Contents from offset 0 on.
    Raw(Vec<u8>),
    /// An image with a valid header and checksum, which the ROM loads.
    Image { entry: u32, segments: Vec<(u32, Vec<u8>)> },
    /// Instructions in RAM, after a start that sets registers.
    Code { registers: [u32; 15], words: Vec<u32> },
    /// Instructions that are executed in place.
    Direct(Vec<u16>),
}

#[derive(Debug, Arbitrary)]
enum Action {
    Run(u8),
    Send(Vec<u8>),
    Lines {
        dtr: bool,
        rts: bool,
    },
    Reset,
    Pin(u8, bool),
    Load {
        offset: u32,
        bytes: Vec<u8>,
    },
    /// Take a snapshot and return to it: both runs from there must be the same.
    Snapshot(u8),
}

const CODE: u32 = 0x4038_0000;

impl Flash {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Flash::Raw(bytes) => bytes.clone(),
            Flash::Image { entry, segments } => image(*entry, segments),
            Flash::Code { registers, words } => {
                let loads = (5_u32..).zip(registers).flat_map(|(register, value)| {
                    let high = value.wrapping_add(0x800) & 0xffff_f000;
                    let low = 0x13 | register << 7 | register << 15 | (value & 0xfff) << 20;
                    [0x37 | register << 7 | high, low]
                });
                let code = loads.chain(words.iter().copied()).flat_map(u32::to_le_bytes).collect();
                image(CODE, &[(CODE, code)])
            }
            Flash::Direct(halfwords) => {
                let magic = 0xaedb_041d_u32.to_le_bytes().repeat(2);
                magic
                    .into_iter()
                    .chain(halfwords.iter().flat_map(|half| half.to_le_bytes()))
                    .collect()
            }
        }
    }
}

fn image(entry: u32, segments: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut image = vec![0xe9, segments.len().min(16) as u8, 2, 0x2f];
    image.extend(entry.to_le_bytes());
    image.extend([0xee, 0, 0, 0, 5, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0]);
    let mut sum = 0xef;
    for (addr, data) in segments.iter().take(16) {
        let mut data = data.clone();
        data.resize(data.len().next_multiple_of(4), 0);
        image.extend((addr & !3).to_le_bytes());
        image.extend((data.len() as u32).to_le_bytes());
        sum = data.iter().fold(sum, |sum, byte| sum ^ byte);
        image.extend(data);
    }
    image.resize(image.len() | 15, 0);
    image.push(sum);
    image
}

/// Runs the board on. It may only stop because it lacks a ROM function.
fn run(board: &mut Board, time: Duration) -> Vec<u8> {
    match board.run_for(time) {
        Ok(said) => said,
        Err(SimError::Stopped { source, printed, .. })
            if matches!(*source, SimError::RomFunction { .. }) =>
        {
            printed.0
        }
        Err(error) => panic!("{error}"),
    }
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let Ok(chip) = ChipDb::embedded().find("esp32c3") else { return };
    let Some(sim) = &chip.sim else { return };
    let mut nor = Nor::in_memory(1 << 20, &sim.flash);
    let _ = nor.put(0, &input.flash.bytes());
    let time = if input.timed { TimeMode::Virtual } else { TimeMode::None };
    let mut board = Board::with_flash(chip, nor, time).expect("a board");
    run(&mut board, millis(12));
    for action in input.actions.iter().take(16) {
        match action {
            Action::Run(time) => {
                drop(run(&mut board, Duration::from_micros(u64::from(*time) * 20)))
            }
            Action::Send(bytes) => drop(board.send(bytes)),
            Action::Lines { dtr, rts } => board.set_lines(*dtr, *rts),
            Action::Reset => board.press_reset(),
            Action::Pin(pin, level) => board.set_pin((*pin).into(), *level),
            Action::Load { offset, bytes } => drop(board.load_flash_at(*offset, bytes)),
            Action::Snapshot(time) => {
                let time = Duration::from_micros(u64::from(*time) * 20);
                let snapshot = board.snapshot();
                let said = run(&mut board, time);
                let cycles = board.cycles();
                board.restore(&snapshot).expect("the same board");
                assert_eq!(run(&mut board, time), said);
                assert_eq!(board.cycles(), cycles);
            }
        }
    }
    // The board still boots after new contents.
    board.set_lines(false, false);
    board.load_flash(&[]).expect("the contents fit");
    let said = board.run_until(b"ESP-ROM:", millis(100));
    assert!(said.is_ok() || board.status() == esplice_sim::Status::InDownloadMode, "{said:?}");
});
