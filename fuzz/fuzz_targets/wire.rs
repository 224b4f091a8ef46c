//! Sends bytes on the virtual board's line, at any rate, with resets and pauses in between.
//! Whatever is sent, the board keeps running, and in download mode it answers a SYNC.
#![no_main]

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use esplice_chip::ChipDb;
use esplice_sim::{Board, TimeMode, fault_plan::FaultPlan, nor::Nor};

const FLASH_LEN: u32 = 1 << 20;
const SYNC: &[u8] = b"\xc0\x00\x08\x04\x00\x00\x00\x00\x00\x07\x07\x12\x20\xc0";
const BAUDS: [u32; 8] = [115_200, 921_600, 9600, 74_880, 460_800, 2_000_000, 1, 230_400];
/// Maximum time on the board's clock for one input.
const MOST: Duration = Duration::from_secs(20);

/// Returns a board that waits in download mode, connected.
fn connected() -> Board {
    static BOARD: OnceLock<Mutex<Board>> = OnceLock::new();
    let board = BOARD.get_or_init(|| {
        let chip = ChipDb::embedded().find("esp32c3").expect("esp32c3 is known");
        let flash = &chip.sim.as_ref().expect("the chip has a virtual board").flash;
        let nor = Nor::in_memory(FLASH_LEN, flash);
        let mut board =
            Board::with_flash(chip, nor, TimeMode::Virtual).expect("the chip's data is valid");
        board.hold_boot_pin(true);
        pass(&mut board, 50);
        assert!(answers(&mut board));
        board.hold_boot_pin(false);
        Mutex::new(board)
    });
    board.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn pass(board: &mut Board, millis: u64) {
    let until = board.now() + Duration::from_millis(millis);
    // A stopped board stays stopped until the next reset.
    let _ = board.run_to(until, false);
}

/// Returns whether the board answers a SYNC.
fn answers(board: &mut Board) -> bool {
    board.host_clear();
    // Bytes still on their way, perhaps at 1 baud, arrive before it.
    let sent = board.host_send(SYNC, 115_200);
    let _ = board.run_to(sent, false);
    board.host_clear();
    pass(board, 100);
    let mut heard = [0; 4096];
    let len = board.host_take(115_200, &mut heard);
    heard.get(..len).is_some_and(|heard| heard.windows(3).any(|bytes| bytes == [0xc0, 1, 8]))
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = FaultPlan::parse(text);
    }
    let mut board = connected();
    let end = board.now() + MOST;
    let mut baud = 115_200;
    let mut rest = bytes;
    while let [what, more @ ..] = rest {
        rest = more;
        if board.now() > end {
            break;
        }
        match what >> 5 {
            0 => board.set_lines(what & 1 != 0, what & 2 != 0),
            1 => pass(&mut board, u64::from(what & 31) * 8),
            2 => baud = BAUDS[usize::from(what & 7)],
            3 => board.hold_boot_pin(what & 1 != 0),
            // Send some of the next bytes, as a frame or raw.
            _ => {
                let len = usize::from(what & 63).min(rest.len());
                let (now, later) = rest.split_at(len);
                rest = later;
                if what & 64 == 0 {
                    board.host_send(now, baud);
                } else {
                    board.host_send(&esplice_protocol::slip::encode(now), baud);
                }
                pass(&mut board, 5);
            }
        }
    }
    assert_eq!(board.flash().bytes().len(), FLASH_LEN as usize);
    // Enter download mode as a user does by hand.
    board.hold_boot_pin(true);
    board.set_lines(false, true);
    pass(&mut board, 20);
    board.set_lines(false, false);
    pass(&mut board, 60);
    assert!(answers(&mut board), "no answer to a SYNC");
});
