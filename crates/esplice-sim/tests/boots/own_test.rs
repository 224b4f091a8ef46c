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

// ANCHOR: port
#[test]
fn the_button_is_pressed_while_the_port_is_watched() -> Result<(), Box<dyn std::error::Error>> {
    use esplice_monitor::{Expectation, MonitorEvent, Outcome, Watch, watch};
    use esplice_sim::{SharedBoard, SimPort, TimeMode};

    let mut board = Board::new("esp32c3")?;
    board.load_flash(&flash_image())?;
    let board = SharedBoard::new(board);
    let mut port = SimPort::from_board("board", Box::new(board.clone()), TimeMode::Virtual);

    let expect = vec![Expectation::parse(r"ready\r\n")?, Expectation::parse("I say")?];
    let options = Watch::default().expect(expect).timeout(Some(secs(2)));
    let outcome = watch(&mut port, &options, &mut |event| {
        if let MonitorEvent::Expected { index: 0, .. } = event {
            board.with(|board| {
                board.set_pin(4, true);
                board.send(b"hello\n");
            });
        }
    })?;
    assert!(matches!(outcome, Outcome::Matched { .. }), "{outcome:?}");
    assert!(board.with(|board| board.pin(5)), "the lamp is on");
    Ok(())
}
// ANCHOR_END: port
