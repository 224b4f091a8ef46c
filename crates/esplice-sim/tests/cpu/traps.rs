//! Traps, interrupts, wfi, hooks and stops.

use super::cases;
use super::machine::{DEVICE, DRAM, IRAM, IROM, model, with_code, words};
use esplice_sim::cpu::{Cpu, Stop, cause};

const NOP: u32 = 0x0000_0013;
const LOOP: u32 = 0x0000_006f; // j .
const WFI: u32 = 0x1050_0073;
const MRET: u32 = 0x3020_0073;
const MIE: u32 = 1 << 3;
const MPIE: u32 = 1 << 7;
const MPP: u32 = 3 << 11;
const HANDLER: u32 = IRAM + 0x100;

fn run(cpu: &mut Cpu, machine: &mut super::machine::Machine, count: u64) -> Stop {
    let until = cpu.cycles + count;
    cpu.run(machine, until)
}

/// Each line of tests/cases/cpu/traps has code that traps and the values that the handler finds.
#[test]
fn every_trap_leaves_what_its_line_says() {
    let cases = cases::read("tests/cases/cpu/traps");
    assert!(cases.len() > 30);
    for case in cases {
        let (memory, at) = (DRAM + 0x2000, IRAM + 0x1000);
        let (mut cpu, mut machine) = with_code(model(), at, &case.code);
        cpu.x = case.before(memory, at).x;
        cpu.csrs.mtvec = HANDLER | 1;
        cpu.csrs.mstatus = MIE;
        cpu.set_hooks([HANDLER]);
        assert_eq!(run(&mut cpu, &mut machine, 1000), Stop::Hook(HANDLER), "{}", case.name);
        assert_eq!(cpu.x, case.after(memory, at).x, "{}: registers", case.name);
        assert_eq!(cpu.csrs.mstatus, MPIE | MPP, "{}: mstatus", case.name);
        let csrs = case.csrs(memory, at);
        assert_eq!(csrs.len(), 3, "{}: mcause, mtval and mepc must be named", case.name);
        for (number, value) in csrs {
            assert_eq!(cpu.read_csr(number), Some(value), "{}: csr {number:#x}", case.name);
        }
    }
}

#[test]
fn an_interrupt_goes_through_its_vector_and_mret_comes_back() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[NOP, LOOP]));
    assert!(machine.memory.write(HANDLER + 4 * 7, &words(&[MRET])));
    cpu.csrs.mtvec = HANDLER | 1;
    cpu.set_irq(1 << 7 | 1 << 20);
    // Masked by mstatus.
    assert_eq!(run(&mut cpu, &mut machine, 2), Stop::Budget);
    assert_eq!(cpu.pc, IRAM + 4);
    cpu.csrs.mstatus = MIE | MPP;
    cpu.set_hooks([HANDLER + 4 * 7]);
    assert_eq!(run(&mut cpu, &mut machine, 2), Stop::Hook(HANDLER + 4 * 7));
    assert_eq!(cpu.csrs.mcause, cause::INTERRUPT | 7);
    assert_eq!(cpu.csrs.mepc, IRAM + 4);
    assert_eq!(cpu.csrs.mstatus, MPIE | MPP);
    cpu.set_irq(0);
    cpu.pass_hook();
    assert_eq!(run(&mut cpu, &mut machine, 1), Stop::Budget);
    assert_eq!(cpu.pc, IRAM + 4);
    assert_eq!(cpu.csrs.mstatus, MIE | MPIE);
}

/// tcontrol is stacked like mstatus: triggers are off in a handler and restored after it.
#[test]
fn trigger_enables_are_stacked_over_a_trap() {
    const MTE: u32 = 1 << 3;
    const MPTE: u32 = 1 << 7;
    for (before, inside, after) in [(MTE, MPTE, MTE | MPTE), (MPTE, 0, MPTE), (0, 0, MPTE)] {
        let code = words(&[0x0000_0073, LOOP]); // ecall
        let (mut cpu, mut machine) = with_code(model(), IRAM, &code);
        assert!(machine.memory.write(HANDLER, &words(&[MRET])));
        cpu.csrs.mtvec = HANDLER | 1;
        cpu.csrs.tcontrol = before;
        assert_eq!(run(&mut cpu, &mut machine, 1), Stop::Budget);
        assert_eq!(cpu.csrs.tcontrol, inside);
        assert_eq!(run(&mut cpu, &mut machine, 1), Stop::Budget);
        assert_eq!(cpu.csrs.tcontrol, after);
    }
}

#[test]
fn wfi_waits_for_an_interrupt_even_a_masked_one() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[WFI, NOP, LOOP]));
    assert_eq!(run(&mut cpu, &mut machine, 10), Stop::Wfi);
    assert_eq!((cpu.pc, cpu.cycles), (IRAM + 4, 1));
    assert_eq!(run(&mut cpu, &mut machine, 10), Stop::Wfi);
    assert_eq!(cpu.cycles, 1);
    assert!(cpu.is_waiting());
    cpu.set_irq(2);
    assert_eq!(run(&mut cpu, &mut machine, 1), Stop::Budget);
    assert_eq!(cpu.pc, IRAM + 8);
}

#[test]
fn interrupts_enabled_by_a_csr_write_are_taken_at_once() {
    // csrsi mstatus, 8; nop
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[0x3004_6073, NOP]));
    cpu.csrs.mtvec = HANDLER | 1;
    cpu.set_hooks([HANDLER + 4]);
    cpu.set_irq(2);
    assert_eq!(run(&mut cpu, &mut machine, 10), Stop::Hook(HANDLER + 4));
    assert_eq!(cpu.csrs.mepc, IRAM + 4);
}

#[test]
fn user_mode_cannot_touch_machine_registers_and_its_ecall_says_so() {
    let ecall = 0x0000_0073;
    let csrr = 0x3000_2573; // csrr a0, mstatus
    for (word, cause) in [(ecall, 8), (csrr, 2), (MRET, 2), (0x8030_2573, 0)] {
        let code = words(&[MRET, word, LOOP]);
        let (mut cpu, mut machine) = with_code(model(), IRAM, &code);
        cpu.csrs.mtvec = HANDLER | 1;
        cpu.csrs.mepc = IRAM + 4;
        // User mode may access all memory.
        cpu.write_csr(0x3b0, u32::MAX);
        cpu.write_csr(0x3a0, 0x1f);
        cpu.set_hooks([HANDLER]);
        let stop = run(&mut cpu, &mut machine, 3);
        if cause == 0 {
            assert_eq!(stop, Stop::Budget); // A user-level CSR.
            assert!(cpu.csrs.user_mode);
        } else {
            assert_eq!(stop, Stop::Hook(HANDLER));
            assert_eq!(cpu.csrs.mcause, cause);
            assert_eq!(cpu.csrs.mstatus & MPP, 0, "the trap came from user mode");
            assert!(!cpu.csrs.user_mode);
        }
    }
}

#[test]
fn a_handler_that_traps_at_its_first_instruction_is_a_double_fault() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[0]));
    cpu.csrs.mtvec = 0x1000 | 1;
    let expected = Stop::DoubleFault { pc: 0x1000, cause: cause::FETCH_ACCESS };
    assert_eq!(run(&mut cpu, &mut machine, 100), expected);
    // The fault is reported again, and nothing runs.
    assert_eq!(run(&mut cpu, &mut machine, 100), expected);
}

/// A handler that jumps to code that traps never ends; only the budget stops it.
#[test]
fn endless_traps_use_up_the_budget() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[0]));
    assert!(machine.memory.write(HANDLER, &words(&[0xf01f_f06f]))); // j .-0x100
    cpu.csrs.mtvec = HANDLER | 1;
    assert_eq!(run(&mut cpu, &mut machine, 1000), Stop::Budget);
    assert_eq!(cpu.cycles, 1000);
}

#[test]
fn hooks_stop_before_anything_is_executed_and_can_be_passed() {
    // addi a0, a0, 1 three times
    let code = words(&[0x0015_0513, 0x0015_0513, 0x0015_0513, LOOP]);
    let (mut cpu, mut machine) = with_code(model(), IRAM, &code);
    // The code is decoded before the hooks are set.
    assert_eq!(run(&mut cpu, &mut machine, 5), Stop::Budget);
    cpu.reset(IRAM);
    cpu.set_hooks([IRAM + 4, IRAM + 8]);
    assert_eq!(run(&mut cpu, &mut machine, 9), Stop::Hook(IRAM + 4));
    assert_eq!(cpu.x[10], 1);
    assert_eq!(run(&mut cpu, &mut machine, 9), Stop::Hook(IRAM + 4));
    cpu.pass_hook();
    assert_eq!(run(&mut cpu, &mut machine, 9), Stop::Hook(IRAM + 8));
    assert_eq!(cpu.x[10], 2);
    // A passed hook is active again once the PC has been elsewhere.
    cpu.pass_hook();
    cpu.pc = IRAM + 4;
    assert_eq!(run(&mut cpu, &mut machine, 9), Stop::Hook(IRAM + 4));
    cpu.set_hooks([]);
    assert_eq!(run(&mut cpu, &mut machine, 9), Stop::Budget);
    assert_eq!(cpu.x[10], 4);
}

#[test]
fn a_hook_may_be_where_there_is_no_memory() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[0x0000_8067]));
    cpu.x[1] = 0x4000_0018;
    cpu.set_hooks([0x4000_0018]);
    assert_eq!(run(&mut cpu, &mut machine, 9), Stop::Hook(0x4000_0018));
    cpu.pass_hook();
    cpu.csrs.mtvec = HANDLER | 1;
    assert_eq!(run(&mut cpu, &mut machine, 1), Stop::Budget);
    assert_eq!((cpu.csrs.mcause, cpu.csrs.mepc), (cause::FETCH_ACCESS, 0x4000_0018));
}

#[test]
fn devices_see_the_cycle_and_can_ask_for_the_board() {
    // lw a0, 0(s0); sw a0, 0(s0); addi a0, a0, 1
    let code = words(&[NOP, 0x0004_2503, 0x00a4_2023, 0x0015_0513, LOOP]);
    let (mut cpu, mut machine) = with_code(model(), IRAM, &code);
    cpu.x[8] = DEVICE;
    assert_eq!(run(&mut cpu, &mut machine, 99), Stop::YieldRequested);
    assert_eq!((cpu.x[10], cpu.pc, cpu.cycles), (2, IRAM + 12, 3));
    assert_eq!(run(&mut cpu, &mut machine, 1), Stop::Budget);
    assert_eq!(cpu.x[10], 3);
}

#[test]
fn a_run_ends_exactly_at_its_cycle() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[NOP, NOP, LOOP]));
    for until in [0, 1, 2, 3, 50] {
        assert_eq!(cpu.run(&mut machine, until), Stop::Budget);
        assert_eq!(cpu.cycles, until);
    }
    // A hook was charged more than the budget.
    cpu.cycles = 100;
    assert_eq!(cpu.run(&mut machine, 60), Stop::Budget);
    assert_eq!(cpu.cycles, 100);
}

/// A jump to an unmapped address uses the last cycle; the fetch fault must wait for the next run.
#[test]
fn a_fetch_fault_does_not_overrun_the_budget() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[0x0000_8067]));
    assert_eq!(cpu.run(&mut machine, 1), Stop::Budget);
    assert_eq!((cpu.pc, cpu.cycles, cpu.csrs.mcause), (0, 1, 0));
    cpu.csrs.mtvec = HANDLER | 1;
    assert_eq!(cpu.run(&mut machine, 2), Stop::Budget);
    assert_eq!((cpu.pc, cpu.cycles, cpu.csrs.mcause), (HANDLER, 2, cause::FETCH_ACCESS));
}

#[test]
fn unmapped_flash_cannot_be_fetched() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &[]);
    cpu.reset(IROM);
    cpu.csrs.mtvec = HANDLER | 1;
    cpu.set_hooks([HANDLER]);
    assert_eq!(run(&mut cpu, &mut machine, 9), Stop::Hook(HANDLER));
    assert_eq!((cpu.csrs.mcause, cpu.csrs.mtval), (cause::FETCH_ACCESS, IROM));
}
