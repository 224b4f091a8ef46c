//! Tests that a board's run does not depend on how it is looked at: in how many pieces it is run, and
//! whether a debugger stops it. Replaying a recorded run relies on that.

use std::time::Duration;

use crate::firmware::{Code, rom_image};
use esplice_sim::{Access, Board, DebugStop, Watchpoint, millis, secs};

const SRAM: u32 = 0x3fcd_0000;
/// Address of the code in the image.
const CODE: u32 = 0x4038_0000;

/// Returns a board with firmware that writes two words and then waits.
fn board() -> Board {
    let mut board = Board::new("esp32c3").unwrap();
    let code = Code::new().writes(&[(SRAM, 7), (SRAM + 4, 8)]).say("hello\r\n");
    board.load_flash(&rom_image(&code)).unwrap();
    board
}

#[test]
fn a_run_in_pieces_is_the_same() {
    let (mut whole, mut pieces) = (board(), board());
    let mut piece = Duration::ZERO;
    for end in 1..=60 {
        let end = millis(end);
        whole.run_to(end, false).unwrap();
        while piece < end {
            piece = (piece + Duration::from_micros(7)).min(end);
            pieces.run_to(piece, false).unwrap();
        }
        assert_eq!(whole.position(), pieces.position(), "{end:?}");
    }
    assert_eq!(whole.run_for(secs(1)).unwrap(), pieces.run_for(secs(1)).unwrap());
}

#[test]
fn a_breakpoint_stops_before_its_instruction_and_changes_nothing() {
    let (mut plain, mut debugged) = (board(), board());
    // The first instruction, and the second store.
    debugged.set_breakpoints([CODE, CODE + 36]);
    for pc in [CODE, CODE + 36] {
        assert_eq!(debugged.debug_run(secs(1), true).unwrap(), Some(DebugStop::Breakpoint));
        assert_eq!(debugged.pc(), pc);
    }
    assert_eq!(debugged.read_memory(SRAM, 4).unwrap(), [7, 0, 0, 0]);
    assert_eq!(debugged.read_memory(SRAM + 4, 4).unwrap(), [0; 4]);
    // The code that the firmware sees has no trace of the breakpoint.
    assert_eq!(debugged.read_memory(CODE, 48), {
        plain.debug_run(debugged.now(), false).unwrap();
        plain.read_memory(CODE, 48)
    });
    assert_eq!(debugged.debug_run(secs(1), true).unwrap(), None);
    plain.run_to(secs(1), false).unwrap();
    assert_eq!(plain.position(), debugged.position());
}

#[test]
fn a_watchpoint_stops_after_the_access() {
    let mut board = board();
    let watchpoint = Watchpoint { addr: SRAM + 4, len: 4, reads: false, writes: true };
    board.set_watchpoints(&[watchpoint]);
    let stop = board.debug_run(secs(1), false).unwrap();
    let Some(DebugStop::Watchpoint { addr, access: Access::Write, began }) = stop else {
        panic!("{stop:?}");
    };
    assert_eq!((addr, board.pc()), (SRAM + 4, CODE + 40));
    assert_eq!(began + 1, board.cycles());
    assert_eq!(board.read_memory(SRAM + 4, 4).unwrap(), [8, 0, 0, 0]);
}

#[test]
fn a_checkpoint_leads_to_every_later_position() {
    let mut board = board();
    board.debug_run(millis(1), false).unwrap();
    let checkpoint = board.checkpoint(None);
    board.set_breakpoints([CODE]);
    assert_eq!(board.debug_run(secs(1), false).unwrap(), Some(DebugStop::Breakpoint));
    let mut positions = vec![board.position()];
    for _ in 0..20 {
        assert_eq!(board.debug_step(secs(1)).unwrap(), Some(DebugStop::Stepped));
        positions.push(board.position());
    }
    assert!(positions.is_sorted_by(|earlier, later| later.is_after(earlier)), "{positions:?}");
    for position in positions.iter().rev() {
        board.return_to(&checkpoint).unwrap();
        assert!(board.replay_to(position).unwrap(), "{position:?} {:?}", board.position());
    }
}
