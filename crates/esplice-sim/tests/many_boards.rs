//! Runs a thousand boards one after the other in one process and checks that their memory is freed.
//! This is a separate test program because it measures the process's memory.

#![cfg(target_os = "linux")]

use esplice_sim::{Board, millis};

/// Returns the resident memory in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_thousand_boards_leave_nothing_behind() {
    let mut after_100 = 0;
    for count in 1..=1000 {
        let mut board = Board::new("esp32c3").unwrap();
        // Until the ROM loops looking for an image, with output that nobody reads.
        board.run_for(millis(10)).unwrap();
        if count % 20 == 0 {
            drop(board.snapshot().board());
        }
        drop(board);
        if count == 100 {
            after_100 = resident();
        }
    }
    let growth = resident().saturating_sub(after_100);
    println!("{after_100} bytes resident after 100 boards, {growth} more after 1000");
    // A board takes 8 MB and more, so one leaked board in hundreds would be seen.
    assert!(growth < 4 << 20, "{growth} bytes more than after 100 boards, which left {after_100}");
}
