//! Measures debugging: how fast a board runs with breakpoints and watchpoints, and how long it takes to
//! run one second backwards, at 160 MHz and without a pause.
//!
//! `cargo bench -p esplice-gdb --bench debug` prints the best of three runs of each.

use std::time::{Duration, Instant};

use esplice_gdb::history::{Back, History};
use esplice_sim::{Board, DebugStop, Watchpoint, millis, secs};

const CODE: u32 = 0x4038_0000;
/// The first instruction of the loop, and the number of instructions in it.
const LOOP: u32 = CODE + 4 * 17;

/// Returns an image that the ESP32-C3's ROM loads into RAM: it selects 160 MHz and then counts a word
/// up.
fn image() -> Vec<u8> {
    let code = [
        0x6000_8537_u32, // lui a0, 0x60008: the watchdogs are switched off
        0x50d8_45b7,     // lui a1, 0x50d84
        0xaa15_8593,     // addi a1, a1, -0x55f: the key (TRM, RTC_CNTL_WDTWPROTECT_REG)
        0x0ab5_2423,     // sw a1, 0xa8(a0)
        0x0805_2823,     // sw zero, 0x90(a0) (TRM, RTC_CNTL_WDTCONFIG0_REG)
        0x6001_f537,     // lui a0, 0x6001f
        0x06b5_2223,     // sw a1, 0x64(a0) (TRM, TIMG_WDTWPROTECT_REG)
        0x0405_2423,     // sw zero, 0x48(a0) (TRM, TIMG_WDTCONFIG0_REG)
        0x600c_0537,     // lui a0, 0x600c0
        0x0050_0593,     // li a1, 5: PLL of 480 MHz, 160 MHz (TRM, SYSTEM_CPU_PER_CONF_REG)
        0x00b5_2423,     // sw a1, 8(a0)
        0x4000_0593,     // li a1, 0x400: the PLL (TRM, SYSTEM_SYSCLK_CONF_REG)
        0x04b5_2c23,     // sw a1, 0x58(a0)
        0x3fcd_0537,     // lui a0, 0x3fcd0
        0x0000_0013,     // nop
        0x0000_0013,     // nop
        0x0000_0613,     // li a2, 0
        0x0005_2583,     // LOOP: lw a1, 0(a0)
        0x0015_8593,     // addi a1, a1, 1
        0x00b6_4633,     // xor a2, a2, a1
        0x0016_1613,     // slli a2, a2, 1
        0x00b5_2023,     // sw a1, 0(a0)
        0x00c5_2223,     // sw a2, 4(a0)
        0xfe9f_f06f,     // j LOOP
    ];
    let code: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    // ESP-IDF, "App Image Format": magic, segments, mode, frequency; entry; the chip's id is 5.
    let mut image = vec![0xe9, 1, 2, 0x2f];
    image.extend(CODE.to_le_bytes());
    image.extend([0xee, 0, 0, 0, 5, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0]);
    image.extend(CODE.to_le_bytes());
    image.extend((code.len() as u32).to_le_bytes());
    image.extend(&code);
    while image.len() % 16 != 15 {
        image.push(0);
    }
    image.push(code.iter().fold(0xef, |sum, byte| sum ^ byte));
    image
}

fn board() -> Board {
    let mut board = Board::new("esp32c3").expect("the chip is known");
    board.load_flash(&image()).expect("the image fits");
    board.set_breakpoints([LOOP]);
    assert_eq!(board.debug_run(secs(1), false).ok(), Some(Some(DebugStop::Breakpoint)));
    board.set_breakpoints([]);
    board
}

#[allow(clippy::disallowed_methods)] // The host's time is what is measured.
fn best(mut action: impl FnMut()) -> Duration {
    let times = (0..3).map(|_| {
        let start = Instant::now();
        action();
        start.elapsed()
    });
    times.min().expect("there were three")
}

fn main() {
    let speed = |name: &str, prepare: &dyn Fn(&mut Board)| {
        let mut instructions = 0;
        let time = best(|| {
            let mut board = board();
            prepare(&mut board);
            let before = board.counters().instructions;
            let until = board.now() + millis(500);
            board.debug_run(until, true).expect("the board runs");
            instructions = board.counters().instructions - before;
        });
        println!("{name}: {:.0} MIPS", instructions as f64 / time.as_secs_f64() / 1e6);
    };
    speed("nothing set", &|_| {});
    speed("10 breakpoints", &|board| board.set_breakpoints((1..=10).map(|n| LOOP + 100 + 4 * n)));
    speed("4 watchpoints", &|board| {
        let watchpoint =
            |n: u32| Watchpoint { addr: 0x3fcd_1000 + n, len: 4, reads: true, writes: true };
        board.set_watchpoints(&[0, 16, 32, 48].map(watchpoint));
    });

    let mut board = board();
    let mut history = History::default();
    history.restart(&mut board);
    let end = board.now() + secs(1);
    history.run(&mut board, end, true).expect("the board runs");
    // Nothing but the start of the loop, which is never reached again.
    board.set_breakpoints([LOOP - 4]);
    let here = board.checkpoint(None);
    let time = best(|| {
        board.return_to(&here).expect("there is no flash file");
        history.search_back(&board);
        let end = loop {
            if let Some(end) = history.search_on(&mut board).expect("the board runs") {
                break end;
            }
        };
        assert_eq!(end, Back::Beginning);
    });
    println!("one second backwards: {:.0} ms", time.as_secs_f64() * 1e3);
    let time = best(|| {
        board.return_to(&here).expect("there is no flash file");
        history.step_back(&mut board).expect("the board runs");
    });
    println!("first step back: {:.1} ms", time.as_secs_f64() * 1e3);
    let time = best(|| {
        history.step_back(&mut board).expect("the board runs");
    });
    println!("further step back: {:.1} ms", time.as_secs_f64() * 1e3);
}
