//! Apps on esp-hal, started by the real ESP-IDF bootloader.

use esplice_sim::{Cable, millis, secs};

use super::bench::{Rom, after_boot, compiled_app};

pub fn heap_and_panic(rom: &Rom) {
    let mut board = rom.with_app(&compiled_app("heap"));
    let mut said = board.run_until(b"Backtrace:", secs(2)).unwrap();
    said.extend(board.run_for(millis(100)).unwrap());
    let said = after_boot(&said);
    let (before, panic) = said.split_once("\r\n\n").unwrap_or((&said, ""));
    assert_eq!(before, "sum 2646700, blocks 36\r\nall given back");
    let lines: Vec<&str> = panic.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines[0].contains("PANIC"), "{said}");
    assert!(lines[1].starts_with("panicked at src/bin/heap.rs:"), "{said}");
    assert_eq!(lines[2..4], ["the heap held 200 squares", "Backtrace:"], "{said}");
    // Through the panic handler and `main` up to the start of code, all in the app's flash.
    assert!(lines[4..].len() >= 4, "{said}");
    assert!(lines[4..].iter().all(|line| line.starts_with("0x4201")), "{said}");
}

/// The CPU's watchpoint fires even with the memory protection locked by the second-stage
/// bootloader.
pub fn stack_overflow(rom: &Rom) {
    let mut board = rom.with_app(&compiled_app("overflow"));
    let said =
        board.run_until(b"Detected a write to the main stack's guard value", secs(2)).unwrap();
    assert!(after_boot(&said).starts_with("down it goes\r\n"), "{}", after_boot(&said));
    assert!(!after_boot(&said).contains("came back"), "{}", after_boot(&said));
}

/// `SoftwareInterrupt::raise` of esp-hal disables interrupts and waits until the matrix shows the
/// source as pending. On a board whose status registers are plain storage it would never end.
pub fn tasks_timers_and_interrupts(rom: &Rom) {
    let mut board = rom.with_app(&compiled_app("tasks"));
    let said = board.run_until(b"all busy\r\n", secs(2)).unwrap();
    assert_eq!(
        after_boot(&said),
        "scheduler runs\r\n\
         ten numbers, sum 525, after 25 ms\r\n\
         software interrupt 1\r\n\
         software interrupt 2\r\n\
         software interrupt 3\r\n\
         slept 20 ms\r\n\
         busy\r\n\
         all busy\r\n"
    );
}

/// A delay of esp-hal reads the time repeatedly. It is skipped with the same result to the cycle.
pub fn a_delay(rom: &Rom) {
    let app = compiled_app("delay");
    let [with, without] = [true, false].map(|skip| {
        let mut board = rom.with_app(&app);
        board.skip_idle(skip);
        let mut said = board.run_until(b"waiting\r\n", secs(2)).unwrap();
        let executed = board.cycles() - board.idle_cycles();
        said.extend(board.run_until(b"over\r\n", secs(2)).unwrap());
        let executed = board.cycles() - board.idle_cycles() - executed;
        (said, board.now(), board.cycles(), executed)
    });
    assert_eq!((&with.0, with.1, with.2), (&without.0, without.1, without.2));
    assert!(after_boot(&with.0).ends_with("waiting\r\nover\r\n"), "{}", after_boot(&with.0));
    // 1.5 s are 240 million instructions at 160 MHz.
    assert!(without.3 > 100_000_000, "{}", without.3);
    assert!(with.3 < without.3 / 20, "{} of {} are executed", with.3, without.3);
}

/// ROM, bootloader and app print on the chip's own USB; the app also reads from it.
pub fn usb(rom: &Rom) {
    let mut board = rom.with_app(&compiled_app("usb"));
    board.plug(Cable::Usb);
    let said = board.run_until(b"usb ready\r\n", secs(2)).unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("ESP-ROM:esp32c3-api1-20210207\r\n"), "{said}");
    board.send(b"hello usb\r\n");
    let said = board.run_until(b"\r\n", secs(1)).unwrap();
    assert_eq!(said, b"HELLO USB\r\n");
    // Nothing was printed on the UART.
    board.plug(Cable::Uart);
    assert_eq!(board.run_for(millis(100)).unwrap(), b"");
}

pub fn deep_sleep(rom: &Rom) {
    let mut board = rom.with_app(&compiled_app("sleep"));
    let mut expect = |text: &str| board.run_until(text.as_bytes(), secs(2)).map(drop);
    expect("rst:0x1 (POWERON)").unwrap();
    expect("boot 1, from deep sleep: false, woken by\r\n").unwrap();
    expect("rst:0x5 (DSLEEP)").unwrap();
    expect("boot 2, from deep sleep: true, woken by Timer\r\n").unwrap();
    assert_eq!(board.run_for(secs(1)).unwrap(), b"", "nothing wakes the chip");
    board.set_pin(3, true);
    let mut expect = |text: &str| board.run_until(text.as_bytes(), secs(2)).map(drop);
    expect("rst:0x5 (DSLEEP)").unwrap();
    expect("boot 3, from deep sleep: true, woken by Gpio\r\n").unwrap();
}
