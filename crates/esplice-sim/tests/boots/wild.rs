//! Firmware that misbehaves in many ways. The board reports it or continues until a watchdog resets
//! it, and its clock always reaches the requested time.

use esplice_sim::{Board, Status, millis, secs};

use crate::{
    boots::bench::Rom,
    firmware::{Code, rom_image},
};

const MMU: u32 = 0x600c_5000;
const INVALID: u32 = 1 << 8;
const TIMG0: u32 = 0x6001_f000;
const RTC: u32 = 0x6000_8000;
const WDT_KEY: u32 = 0x50d8_3aa1;
const SWD_KEY: u32 = 0x8f1d_312a;

/// csrw mtvec, a0
const SET_MTVEC: u32 = 0x3055_1073;
const T0: u32 = 5;
const A0: u32 = 10;

fn started(rom: &Rom, code: &Code) -> Board {
    let mut board = rom.board(&[(0, &rom_image(code))]);
    board.run_until(b"entry 0x40380000\r\n", secs(1)).unwrap();
    board
}

/// Checks what the ROM's panic handler prints about the exception.
#[track_caller]
fn panics(rom: &Rom, code: &Code, kind: &str, pc: u32) {
    let mut board = started(rom, code);
    let said = board.run_until(b"MCAUSE", secs(1)).unwrap();
    let said = String::from_utf8_lossy(&said);
    let head = format!("Guru Meditation Error: Core 0 panic'ed ({kind})\r\n");
    assert!(said.contains(&head), "{said}");
    assert!(said.contains(&format!("PC      : {pc:#010x}")), "{said}");
    board.run_until(b"rst:0x7 (TG0WDT_SYS_RST)", secs(4)).unwrap();
}

fn jump_to(addr: u32) -> Code {
    Code::new().flush().load(T0, addr).word(0x0002_8067) // jr t0
}

pub fn wild_jumps(rom: &Rom) {
    // Flash without code, and a device.
    for addr in [0x3c00_0000, 0x6000_0000] {
        panics(rom, &jump_to(addr), "Instruction access fault", addr);
    }
    // At an unmapped address only memory protection refuses a fetch, and none is set up yet.
    for addr in [0x0000_0000, 0x1234_5678, 0x5fff_fffe, 0xffff_fffe] {
        panics(rom, &jump_to(addr), "Illegal instruction", addr);
    }
    // RAM that contains zeros, and data.
    panics(rom, &jump_to(0x4039_0000), "Illegal instruction", 0x4039_0000);
    let into_data = Code::new().writes(&[(0x4038_8000, u32::MAX)]);
    let into_data = into_data.flush().load(T0, 0x4038_8000).word(0x0002_8067);
    panics(rom, &into_data, "Illegal instruction", 0x4038_8000);
}

/// The vectors are not executable or contain code that traps again; only a watchdog ends that.
pub fn endless_traps(rom: &Rom) {
    for vectors in [0x0000_0000, 0x4039_0000, 0x6000_0000] {
        let code = Code::new().flush().load(A0, vectors).word(SET_MTVEC).word(0xc000_1073);
        let mut board = started(rom, &code);
        board.run_for(millis(100)).unwrap();
        match board.status() {
            Status::Stuck { pc } | Status::Running { pc } => assert_eq!(pc, vectors),
            other => panic!("{other}"),
        }
        board.run_until(b"rst:0x7 (TG0WDT_SYS_RST)", secs(4)).unwrap();
    }
}

/// Entries for pages past the end of flash, with excess bits, and invalid ones.
pub fn illegal_mmu_entries(rom: &Rom) {
    for entry in [INVALID, INVALID | 3, 0xff, 0x40, u32::MAX, 1 << 9 | 0xff] {
        let code = Code::new().writes(&[(MMU, entry)]).copy(0x3c00_0000, 0x3fc9_0000).flush();
        let code = code.load(T0, 0x4200_0000).word(0x0002_8067);
        let mut board = started(rom, &code);
        // Erased flash and unmapped pages contain no code.
        let said = board.run_until(b"MCAUSE", secs(1)).unwrap();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("PC      : 0x42000000"), "{entry:#x}: {said}");
    }
    // All entries map the image itself, whose first bytes are no code either. Nothing breaks.
    let all: Vec<_> = (0..128).map(|entry| (MMU + 4 * entry, 0)).collect();
    let code = Code::new().writes(&all).flush().load(T0, 0x427f_0000).word(0x0002_8067);
    started(rom, &code).run_for(millis(100)).unwrap();
}

/// Without watchdogs a loop never ends, but the board's time still reaches the deadline.
pub fn firmware_that_spins(rom: &Rom) {
    let off = [
        (TIMG0 + 0x64, WDT_KEY),
        (TIMG0 + 0x48, 0),
        (RTC + 0xa8, WDT_KEY),
        (RTC + 0x90, 0),
        (RTC + 0xb0, SWD_KEY),
        (RTC + 0xac, 1 << 30),
    ];
    let mut board = started(rom, &Code::new().flush().writes(&off).word(0x0000_006f)); // j .
    let before = board.now();
    board.run_for(secs(5)).unwrap();
    assert!(board.now() >= before + secs(5));
    assert!(matches!(board.status(), Status::Running { pc } if pc >> 12 == 0x40380));
    assert_eq!(board.resets(), 1);
}

/// An interrupt whose source is never cleared is taken again and again, and nothing else runs.
pub fn endless_interrupts(rom: &Rom) {
    const INTMTX: u32 = 0x600c_2000;
    const SYSTEM: u32 = 0x600c_0000;
    // FROM_CPU_0 is source 50; CPU interrupt 1 with priority 1 above the threshold 0.
    let code = Code::new().flush().writes(&[
        (INTMTX + 4 * 50, 1),
        (INTMTX + 0x118, 1),
        (INTMTX + 0x194, 0),
        (INTMTX + 0x104, 1 << 1),
        (0x4039_0000, 0x0000_0073), // An ecall as the exception handler,
        (0x4039_0004, 0x3020_0073), // and an mret for interrupt 1.
        (SYSTEM + 0x28, 1),
    ]);
    // The last word is csrsi mstatus, 8.
    let code = code.load(A0, 0x4039_0000).word(SET_MTVEC).word(0x3004_6073).wait();
    let mut board = started(rom, &code);
    let cycles = board.cycles();
    board.run_for(millis(100)).unwrap();
    assert!(board.cycles() > cycles + 1_000_000);
    board.run_until(b"rst:0x7 (TG0WDT_SYS_RST)", secs(4)).unwrap();
}

/// Code that changes itself in each round, so that decoded code can never be reused.
pub fn code_that_changes_itself(rom: &Rom) {
    // The loop overwrites the next instruction alternately: addi t1, t1, 1 and addi t1, t1, 2.
    let code = Code::new()
        .flush()
        .load(T0, 0x4038_8000)
        .load(7, 0x0013_0313)
        .load(28, 0x0023_0313)
        .load(29, 0x0000_8067) // ret
        .word(0x01d2_a223) // sw t4, 4(t0)
        .word(0x0072_a023) // loop: sw t2, 0(t0)
        .word(0x0002_80e7) // jalr t0
        .word(0x01c2_a023) // sw t3, 0(t0)
        .word(0x0002_80e7) // jalr t0
        .word(0xff1f_f06f); // j loop
    let mut board = started(rom, &code);
    let cycles = board.cycles();
    board.run_for(millis(200)).unwrap();
    assert!(board.cycles() > cycles + 2_000_000);
    assert_eq!(board.resets(), 1);
}
