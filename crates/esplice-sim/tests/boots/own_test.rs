//! The example of docs/src/guide/board-tests.md, which includes the code between the anchors.

use super::bench::whole_flash;

/// In a project's own test this function reads the output of `esplice build`.
fn flash_image() -> Vec<u8> {
    whole_flash("pins")
}

// ANCHOR: test
use esplice_sim::{Board, SimError, millis, secs};

#[test]
fn the_lamp_follows_the_button() -> Result<(), SimError> {
    let mut board = Board::new("esp32c3")?;
    board.load_flash(&flash_image())?;
    board.run_until(b"ready\r\n", secs(2))?;

    board.set_pin(4, true);
    board.run_for(millis(5))?;
    assert!(board.pin(5), "the lamp is on");

    board.set_pin(4, false);
    board.run_for(millis(5))?;
    assert!(!board.pin(5), "the lamp is off");
    Ok(())
}
// ANCHOR_END: test

// ANCHOR: snapshot
#[test]
fn every_answer_begins_alike() -> Result<(), SimError> {
    let mut board = Board::new("esp32c3")?;
    board.load_flash(&flash_image())?;
    board.run_until(b"ready\r\n", secs(2))?;
    let ready = board.snapshot();

    for line in ["hello", "good morning"] {
        // Boot once and reuse the state for each case.
        board.restore(&ready)?;
        board.send(format!("{line}\n").as_bytes());
        let answer = board.run_until(b"\r\n", secs(1))?;
        assert!(answer.starts_with(format!("you said {line}, I say ").as_bytes()));
    }
    Ok(())
}
// ANCHOR_END: snapshot
