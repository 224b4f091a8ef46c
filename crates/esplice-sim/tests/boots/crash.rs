//! The firmware crate's record of a panic on the chip: it outlives the reset, but not the power.

use std::time::Duration;

use esplice_monitor::Symbols;

use super::bench::{Rom, compiled_app};
use crate::compile::compiled;

#[test]
fn a_panic_is_reported_after_the_reset() {
    let mut board = Rom::Hooked.with_app(&compiled_app("crash"));
    board.run_until(b"no record\r\n", Duration::from_secs(1)).unwrap();
    let said = board.run_until(b"that was all\r\n", Duration::from_secs(1)).unwrap();
    let said = String::from_utf8_lossy(&said);
    let (_, record) = said.split_once("before the reset: ").unwrap();
    assert!(record.starts_with("panicked at src/bin/crash.rs:"), "{record}");
    assert!(record.contains("\nnumber 3 is too many\r\n"), "{record}");

    // The addresses are those of the functions that were active.
    let elf = std::fs::read(compiled("boots", "crash")).unwrap();
    let symbols = Symbols::from_elf(&elf).unwrap();
    let functions: Vec<String> = record
        .lines()
        .filter_map(|line| u32::from_str_radix(line.strip_prefix("0x")?, 16).ok())
        .flat_map(|address| symbols.frames(u64::from(address) - 1))
        .filter_map(|frame| frame.function)
        .collect();
    let place = |name: &str| functions.iter().position(|function| function.contains(name));
    let (inner, outer) = (place("crash::inner"), place("crash::outer"));
    assert!(inner.is_some() && inner < outer, "{functions:?}");
}
