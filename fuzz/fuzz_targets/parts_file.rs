//! Reads files of parts and of voltages with any contents: each is refused with a place in the file
//! and a hint, or fits a board or not.
#![no_main]

use esplice_sim::{
    Board,
    parts::{Circuit, PartsError, Voltages},
};

fn check<T>(text: &str, parsed: Result<T, PartsError>) -> Option<T> {
    match parsed {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            let PartsError::Wrong { line, column, .. } = &error else { panic!("{error}") };
            assert!(*line <= text.split('\n').count() && *column <= text.chars().count() + 1);
            assert!(!error.to_string().contains('\n') && error.hint().is_some());
            None
        }
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut board = Board::new("esp32c3").unwrap();
    if let Some(voltages) = check(text, Voltages::parse(text)) {
        let _ = board.attach_voltages(&voltages);
    }
    // Its parts are not made, because that opens the files with their contents.
    let _ = check(text, Circuit::parse(text));
});
