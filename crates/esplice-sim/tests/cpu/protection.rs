//! Tests of memory protection and triggers: which accesses pass, and which trap with which values.

use super::cases;
use super::machine::{DRAM, IRAM, Machine, model, with_code, words};
use esplice_sim::cpu::{Cpu, Stop, cause};

const LOOP: u32 = 0x0000_006f; // j .
const NOP: u32 = 0x0000_0013;
const MRET: u32 = 0x3020_0073;
const LW: u32 = 0x0004_2503; // lw a0, 0(s0)
const LH: u32 = 0x0004_1503; // lh a0, 0(s0)
const LB: u32 = 0x0004_0503; // lb a0, 0(s0)
const LB_ZERO: u32 = 0x0004_0003; // lb zero, 0(s0)
const SW: u32 = 0x00a4_2023; // sw a0, 0(s0)
const SH: u32 = 0x00a4_1023; // sh a0, 0(s0)
const SB: u32 = 0x00a4_0023; // sb a0, 0(s0)
const HANDLER: u32 = IRAM + 0x1000;
const PMPCFG: u32 = 0x3a0;
const PMPADDR: u32 = 0x3b0;
const TSELECT: u32 = 0x7a0;
const TDATA1: u32 = 0x7a1;
const TDATA2: u32 = 0x7a2;
const TCONTROL: u32 = 0x7a5;
const MTE: u32 = 8;
const HIT: u32 = 1 << 20;
/// Entry fields.
const R: u8 = 1;
const W: u8 = 2;
const X: u8 = 4;
const TOR: u8 = 0x08;
const NA4: u8 = 0x10;
const NAPOT: u8 = 0x18;
const L: u8 = 0x80;
/// Fields of tdata1.
const LOAD: u32 = 1;
const STORE: u32 = 2;
const EXECUTE: u32 = 4;
const U: u32 = 8;
const M: u32 = 0x40;
const NAPOT_MATCH: u32 = 0x80;
const DATA: u32 = DRAM + 0x2000;

/// Returns pmpaddr for a region of `len` bytes, a power of two from 8.
fn napot(base: u32, len: u32) -> u32 {
    base >> 2 | (len / 8 - 1)
}

fn protect(cpu: &mut Cpu, entries: &[(u8, u32)]) {
    // Addresses first, because configurations may lock them.
    for (entry, (_, addr)) in (0..).zip(entries) {
        cpu.write_csr(PMPADDR + entry, *addr);
    }
    for (number, group) in (0..).zip(entries.chunks(4)) {
        let mut bytes = [0; 4];
        for (byte, (config, _)) in bytes.iter_mut().zip(group) {
            *byte = *config;
        }
        cpu.write_csr(PMPCFG + number, u32::from_le_bytes(bytes));
    }
}

/// Executes one instruction with s0 = `addr`. Returns mcause and mtval if it trapped.
fn attempt(
    instruction: u32,
    addr: u32,
    user: bool,
    prepare: impl Fn(&mut Cpu),
) -> Option<(u32, u32)> {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[MRET, instruction, LOOP]));
    cpu.x[8] = addr;
    cpu.csrs.mtvec = HANDLER | 1;
    cpu.csrs.mepc = IRAM + 4;
    cpu.csrs.mstatus = if user { 0 } else { 3 << 11 };
    cpu.set_hooks([HANDLER]);
    prepare(&mut cpu);
    let stop = cpu.run(&mut machine, 50);
    assert_eq!(cpu.x[0], 0);
    if stop == Stop::Budget {
        return None;
    }
    assert_eq!(stop, Stop::Hook(HANDLER));
    assert_eq!(cpu.csrs.mepc, IRAM + 4, "the instruction itself traps");
    Some((cpu.csrs.mcause, cpu.csrs.mtval))
}

/// Allows execution and reads everywhere, which user mode needs to run. It comes last, as the first
/// matching entry decides.
const REST: (u8, u32) = (NAPOT | R | X, u32::MAX);

/// Name, instruction, address, entries, and whether it passes in machine and in user mode.
type PmpCase = (&'static str, u32, u32, &'static [(u8, u32)], bool, bool);

#[test]
fn protection_holds_as_the_specification_says() {
    let cases: &[PmpCase] = &[
        ("user mode may write only what is allowed", SW, DATA, &[], true, false),
        ("and read what the last entry allows", LW, DATA, &[], true, true),
        (
            "an unlocked entry applies only to user mode",
            LW,
            DATA,
            &[(NAPOT, (DATA >> 2) | 3)],
            true,
            false,
        ),
        ("a locked one applies to both", LW, DATA, &[(NAPOT | L, (DATA >> 2) | 3)], false, false),
        ("read allows no store", SW, DATA, &[(NA4 | L | R, DATA >> 2)], false, false),
        ("write allows it", SW, DATA, &[(NA4 | L | R | W, DATA >> 2)], true, true),
        ("only write allows no load", LW, DATA, &[(NA4 | L | W, DATA >> 2)], false, false),
        ("a word after NA4 is free", LW, DATA + 4, &[(NA4 | L, DATA >> 2)], true, true),
        ("and the one before", LW, DATA - 4, &[(NA4 | L, DATA >> 2)], true, true),
        ("halfwords are compared", LH, DATA + 2, &[(NA4 | L, DATA >> 2)], false, false),
        ("bytes are compared", LB, DATA + 3, &[(NA4 | L, DATA >> 2)], false, false),
        ("and those after it are free", LB, DATA + 4, &[(NA4 | L, DATA >> 2)], true, true),
        ("a load to x0 is checked too", LB_ZERO, DATA, &[(NA4 | L, DATA >> 2)], false, false),
        (
            "an access across an entry's border is refused even if both sides are allowed",
            LW,
            DATA + 2,
            &[(NA4 | L | R, DATA >> 2), (NA4 | L | R, (DATA + 4) >> 2)],
            false,
            false,
        ),
        (
            "the first entry decides",
            SW,
            DATA,
            &[(NA4 | L | R | W, DATA >> 2), (NAPOT | L, (DATA >> 2) | 0xff)],
            true,
            true,
        ),
        (
            "top of range: from the entry before",
            LW,
            DATA,
            &[(0, DATA >> 2), (TOR | L, (DATA + 8) >> 2)],
            false,
            false,
        ),
        (
            "up to its own address",
            LW,
            DATA + 8,
            &[(0, DATA >> 2), (TOR | L, (DATA + 8) >> 2)],
            true,
            true,
        ),
        ("the first from 0", SB, DATA, &[(TOR | L | R, (DATA + 4) >> 2)], false, false),
        (
            "an empty range matches nothing",
            LW,
            DATA,
            &[(0, (DATA + 8) >> 2), (TOR | L, DATA >> 2)],
            true,
            true,
        ),
        ("off is off", LW, DATA, &[(L, DATA >> 2)], true, true),
        ("NAPOT of 8 bytes", SH, DATA + 6, &[(NAPOT | L, DATA >> 2)], false, false),
    ];
    for (name, instruction, addr, entries, machine, user) in cases {
        for (mode, passes) in [(false, *machine), (true, *user)] {
            let mut entries = entries.to_vec();
            entries.push(REST);
            let trap = attempt(*instruction, *addr, mode, |cpu| protect(cpu, &entries));
            let store = matches!(*instruction, SW | SH | SB);
            let cause = if store { cause::STORE_ACCESS } else { cause::LOAD_ACCESS };
            assert_eq!(trap, (!passes).then_some((cause, *addr)), "{name}, user mode {mode}");
        }
    }
}

#[test]
fn what_may_not_be_executed_traps_where_it_stands() {
    // Applies only to the second word of the code, in an otherwise executable page.
    for (config, user, passes) in [
        (L | R | W, false, false),
        (R | W, false, true),
        (R | W, true, false),
        (L | X, false, true),
    ] {
        let trap = attempt(NOP, 0, user, |cpu| {
            protect(cpu, &[(NA4 | config, (IRAM + 4) >> 2), REST]);
        });
        assert_eq!(trap, (!passes).then_some((cause::FETCH_ACCESS, IRAM + 4)), "{config:#x}");
    }
    // The second half of an instruction.
    let at = IRAM + 0x102;
    let (mut cpu, mut machine) = with_code(model(), at, &words(&[NOP, LOOP]));
    protect(&mut cpu, &[(NA4 | L, (IRAM + 0x104) >> 2)]);
    cpu.csrs.mtvec = HANDLER | 1;
    cpu.set_hooks([HANDLER]);
    assert_eq!(cpu.run(&mut machine, 9), Stop::Hook(HANDLER));
    assert_eq!((cpu.csrs.mcause, cpu.csrs.mepc), (cause::FETCH_ACCESS, at));
    assert_eq!(cpu.csrs.mtval, at + 2);
}

#[test]
fn without_entries_user_mode_may_do_nothing() {
    let trap = attempt(NOP, 0, true, |_| ());
    assert_eq!(trap, Some((cause::FETCH_ACCESS, IRAM + 4)));
}

#[test]
fn locks_hold_until_a_reset() {
    let mut cpu = Cpu::new(model());
    protect(&mut cpu, &[(0, 0x100), (TOR | L | R, 0x200), (NA4 | W, 0x300)]);
    cpu.write_csr(PMPCFG, 0);
    assert_eq!(cpu.read_csr(PMPCFG), Some(u32::from(TOR | L | R) << 8));
    for (entry, kept) in [(0, 0x100), (1, 0x200), (2, 0xffff)] {
        cpu.write_csr(PMPADDR + entry, 0xffff);
        assert_eq!(cpu.read_csr(PMPADDR + entry), Some(kept), "entry {entry}");
    }
    cpu.reset(IRAM);
    assert_eq!((cpu.read_csr(PMPCFG), cpu.read_csr(PMPADDR)), (Some(0), Some(0)));
}

fn watch(cpu: &mut Cpu, trigger: u32, tdata1: u32, tdata2: u32) {
    cpu.write_csr(TSELECT, trigger);
    cpu.write_csr(TDATA1, tdata1);
    cpu.write_csr(TDATA2, tdata2);
    cpu.write_csr(TCONTROL, MTE | MTE << 4);
}

#[test]
fn triggers_fire_before_what_they_watch() {
    let four = DATA | 1; // NAPOT of four bytes
    #[rustfmt::skip]
    let cases: &[(&str, u32, u32, u32, u32, bool)] = &[
        // Instruction, address, tdata1, tdata2; whether it fires.
        ("store", SW, DATA, M | STORE, DATA, true),
        ("a store is no load", SW, DATA, M | LOAD, DATA, false),
        ("load", LW, DATA, M | LOAD, DATA, true),
        ("a load is no store", LW, DATA, M | STORE, DATA, false),
        ("both", LW, DATA, M | LOAD | STORE, DATA, true),
        ("any byte of the access", SW, DATA, M | STORE, DATA + 3, true),
        ("but none after it", SW, DATA, M | STORE, DATA + 4, false),
        ("a byte before", SB, DATA, M | STORE, DATA + 1, false),
        ("unaligned", SW, DATA - 1, M | STORE, DATA, true),
        ("napot, last byte", SB, DATA + 3, M | STORE | NAPOT_MATCH, four, true),
        ("napot, past it", SB, DATA + 4, M | STORE | NAPOT_MATCH, four, false),
        ("napot, two bytes", SB, DATA + 1, M | STORE | NAPOT_MATCH, DATA, true),
        ("napot of a page", LB, DATA + 0xfff, M | LOAD | NAPOT_MATCH, DATA | 0x7ff, true),
        ("napot of everything", LB, 0x10, M | LOAD | NAPOT_MATCH, u32::MAX, true),
        ("not in this mode", SW, DATA, U | STORE, DATA, false),
        ("nothing chosen", SW, DATA, M, DATA, false),
        ("before an access fault", LW, 0x10, M | LOAD, 0x10, true),
        ("execution", NOP, 0, M | EXECUTE, IRAM + 4, true),
        ("of another instruction", NOP, 0, M | EXECUTE, IRAM + 0x20, false),
    ];
    for (name, instruction, addr, tdata1, tdata2, fires) in cases {
        for trigger in [0, 7] {
            let trap =
                attempt(*instruction, *addr, false, |cpu| watch(cpu, trigger, *tdata1, *tdata2));
            let tval = if tdata1 & EXECUTE != 0 { *tdata2 } else { *addr };
            assert_eq!(trap, fires.then_some((cause::BREAKPOINT, tval)), "{name}");
        }
    }
    // In user mode tcontrol has no effect.
    let user = attempt(SW, DATA, true, |cpu| {
        protect(cpu, &[(NAPOT | R | W | X, u32::MAX)]);
        watch(cpu, 2, U | STORE, DATA);
        cpu.write_csr(TCONTROL, 0);
    });
    assert_eq!(user, Some((cause::BREAKPOINT, DATA)));
    let off = attempt(SW, DATA, false, |cpu| {
        watch(cpu, 2, M | STORE, DATA);
        cpu.write_csr(TCONTROL, 0);
    });
    assert_eq!(off, None);
}

/// As esp-hal guards a stack: the handler sees the address and the hit, and may write there itself.
#[test]
fn a_stack_guard_is_hit_once_and_the_handler_is_free() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[NOP, SW, LOOP]));
    // The handler writes to the guard, skips the instruction and returns.
    let handler = words(&[SW, 0x3410_2573, 0x0045_0513, 0x3415_1073, MRET]);
    assert!(machine.memory.write(HANDLER, &handler));
    cpu.csrs.mtvec = HANDLER | 1;
    cpu.x[8] = DATA;
    cpu.x[10] = 77;
    cpu.write_csr(TSELECT, 0);
    cpu.write_csr(TCONTROL, MTE);
    cpu.write_csr(TDATA1, M | STORE | NAPOT_MATCH);
    cpu.write_csr(TDATA2, DATA | 1);
    assert_eq!(cpu.run(&mut machine, 20), Stop::Budget);
    assert_eq!(cpu.pc, IRAM + 8);
    assert_eq!((cpu.csrs.mcause, cpu.csrs.mtval), (cause::BREAKPOINT, DATA));
    assert_eq!(machine.memory.load32(DATA, &[]), Some(77));
    assert_eq!(cpu.read_csr(TDATA1).map(|data| data & HIT), Some(HIT));
    // The hit bit stays until it is cleared, and a write keeps it.
    cpu.write_csr(TDATA1, M | HIT);
    assert_eq!(cpu.read_csr(TDATA1), Some(2 << 28 | M | HIT));
    cpu.write_csr(TDATA1, M);
    assert_eq!(cpu.read_csr(TDATA1), Some(2 << 28 | M));
}

/// A trigger set or removed by the running code takes effect from the next instruction.
#[test]
fn changes_count_at_once() {
    // csrw tdata1, a1; sw; csrw tdata1, zero; sw
    let code = words(&[0x7a15_9073, SW, LOOP]);
    let (mut cpu, mut machine) = with_code(model(), IRAM, &code);
    cpu.csrs.mtvec = HANDLER | 1;
    cpu.set_hooks([HANDLER]);
    cpu.x[8] = DATA;
    cpu.x[11] = M | STORE;
    cpu.write_csr(TDATA2, DATA);
    cpu.write_csr(TCONTROL, MTE);
    assert_eq!(cpu.run(&mut machine, 9), Stop::Hook(HANDLER));
    assert_eq!(cpu.csrs.mepc, IRAM + 4);
    // The same for code that was decoded and checked before.
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[SW, LOOP]));
    cpu.x[8] = DATA;
    cpu.csrs.mtvec = HANDLER | 1;
    cpu.set_hooks([HANDLER]);
    protect(&mut cpu, &[(L | NAPOT | R | W | X, u32::MAX)]);
    assert_eq!(cpu.run(&mut machine, 5), Stop::Budget);
    watch(&mut cpu, 1, M | EXECUTE, IRAM);
    cpu.pc = IRAM;
    assert_eq!(cpu.run(&mut machine, 9), Stop::Hook(HANDLER));
    assert_eq!((cpu.csrs.mcause, cpu.csrs.mepc), (cause::BREAKPOINT, IRAM));
}

#[test]
fn atomic_operations_are_checked_as_loads_and_stores() {
    let model = esplice_sim::cpu::CpuModel { atomics: true, ..model() };
    // lr.w a0, (s0); sc.w a2, a1, (s0); amoadd.w a0, a1, (s0)
    for (word, config, cause) in [
        (0x1004_252f, R, None),
        (0x1004_252f, W, Some(cause::LOAD_ACCESS)),
        (0x18b4_262f, R, Some(cause::STORE_ACCESS)),
        (0x00b4_252f, R, Some(cause::STORE_ACCESS)),
        (0x00b4_252f, W, Some(cause::STORE_ACCESS)),
        (0x00b4_252f, R | W, None),
    ] {
        let (mut cpu, mut machine): (Cpu, Machine) =
            with_code(model.clone(), IRAM, &words(&[word, LOOP]));
        protect(&mut cpu, &[(NA4 | L | config, DATA >> 2)]);
        cpu.x[8] = DATA;
        cpu.csrs.mtvec = HANDLER | 1;
        cpu.set_hooks([HANDLER]);
        let stop = cpu.run(&mut machine, 9);
        assert_eq!(stop == Stop::Budget, cause.is_none(), "{word:#x} {config}");
        if let Some(cause) = cause {
            assert_eq!((cpu.csrs.mcause, cpu.csrs.mtval), (cause, DATA), "{word:#x} {config}");
        }
    }
}

/// Protection that allows everything, cut into pieces so that few pages are uniform, and triggers
/// that never fire.
pub fn harmless(cpu: &mut Cpu) {
    let mut entries = Vec::new();
    for base in [DRAM + 0x2000, IRAM + 0x4000, IRAM + 0x5000] {
        for piece in 0..3 {
            let len = 0x100 << piece;
            entries.push((L | NAPOT | R | W | X, napot(base + len, len)));
        }
    }
    entries.push((L | NAPOT | R | W | X, u32::MAX));
    protect(cpu, &entries);
    watch(cpu, 3, M | STORE | LOAD, DRAM + 0x2ff0);
    watch(cpu, 4, M | EXECUTE, IRAM + 0x4002 + 0x1ff0);
}

#[test]
fn harmless_settings_change_nothing_in_the_cases() {
    let cases = cases::read("tests/cases/cpu");
    assert!(cases.len() > 300);
    for case in cases {
        let (memory, at) = (DRAM + 0x2000, IRAM + 0x4000);
        let before = case.before(memory, at);
        let found = cases::run_with(&case.code, &before, memory, at, harmless);
        cases::check(&case.name, &found, &case.after(memory, at));
    }
}
