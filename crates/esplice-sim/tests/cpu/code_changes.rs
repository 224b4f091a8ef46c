//! Tests of code that changes after it was decoded.

use super::machine::{DRAM, IRAM, IROM, model, with_code, words};
use esplice_sim::cpu::Stop;

const LI_A0_1: u32 = 0x0010_0513;
const LI_A0_2: u32 = 0x0020_0513;
const SW_A1_S0: u32 = 0x00b4_2023; // sw a1, 0(s0)
const LOOP: u32 = 0x0000_006f;

/// A store through either alias changes the very next instruction.
#[test]
fn a_store_changes_the_next_instruction() {
    for alias in [IRAM, DRAM] {
        let code = words(&[LI_A0_1, SW_A1_S0, LI_A0_1, LOOP]);
        let (mut cpu, mut machine) = with_code(model(), IRAM, &code);
        cpu.x[8] = alias + 8;
        cpu.x[11] = LI_A0_2;
        assert_eq!(cpu.run(&mut machine, 3), Stop::Budget);
        assert_eq!(cpu.x[10], 2, "through {alias:#x}");
    }
}

/// A store to the second page changes half of an instruction that crosses the border of two pages.
#[test]
fn a_store_into_the_second_page_changes_an_instruction_over_the_border() {
    let at = IRAM + 0xffe;
    let (mut cpu, mut machine) = with_code(model(), at, &words(&[LI_A0_1, LOOP]));
    assert_eq!(cpu.run(&mut machine, 1), Stop::Budget);
    assert_eq!(cpu.x[10], 1);
    assert!(machine.memory.store16(DRAM + 0x1000, (LI_A0_2 >> 16) as u16));
    cpu.pc = at;
    assert_eq!(cpu.run(&mut machine, 2), Stop::Budget);
    assert_eq!(cpu.x[10], 2);
}

/// A store to data in a page with code does not cause the code to be decoded again.
#[test]
fn stores_beside_code_leave_it_decoded() {
    // sw a1, 0(s0); addi a1, a1, 1; j .-8
    let code = words(&[SW_A1_S0, 0x0015_8593, 0xff9f_f06f]);
    let (mut cpu, mut machine) = with_code(model(), IRAM, &code);
    cpu.x[8] = DRAM + 12;
    assert_eq!(cpu.run(&mut machine, 30), Stop::Budget);
    assert_eq!(machine.memory.load32(IRAM + 12, &[]), Some(9));
    assert!(!machine.memory.attention());
    assert_eq!(machine.memory.take_code_change(), None);
    // An unaligned store that reaches into the first instruction is noticed.
    assert!(machine.memory.store32(DRAM + 10, 0));
    assert!(machine.memory.attention());
}

#[test]
fn flash_windows_follow_the_mmu_and_the_flash() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &[]);
    machine.flash[..8].copy_from_slice(&words(&[LI_A0_1, LOOP]));
    machine.flash[0x1_0000..0x1_0008].copy_from_slice(&words(&[LI_A0_2, LOOP]));
    let mut result = |machine: &mut super::machine::Machine| {
        cpu.reset(IROM);
        let until = cpu.cycles + 2;
        assert_eq!(cpu.run(machine, until), Stop::Budget);
        cpu.x[10]
    };
    machine.memory.set_flash_page(0, Some(0));
    assert_eq!(result(&mut machine), 1);
    machine.memory.set_flash_page(0, Some(1));
    assert_eq!(result(&mut machine), 2);
    machine.flash[0x1_0000..0x1_0004].copy_from_slice(&LI_A0_1.to_le_bytes());
    assert_eq!(result(&mut machine), 2, "the decoded copy is cached");
    machine.memory.flash_changed(0x1_0000, 4);
    assert_eq!(result(&mut machine), 1);
}

/// No number of mappings and writes of flash causes pending work for a CPU that decoded none of it.
#[test]
fn flash_that_was_never_decoded_asks_for_nothing() {
    let (_, mut machine) = with_code(model(), IRAM, &[]);
    for i in 0..100 {
        machine.memory.set_flash_page(0, Some(i % 2));
        machine.memory.flash_changed(0, 0x2_0000);
    }
    assert!(!machine.memory.attention());
    assert_eq!(machine.memory.take_code_change(), None);
}

/// An instruction across the border of two MMU pages also follows the later page.
#[test]
fn an_instruction_over_the_border_of_mmu_pages_follows_both() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &[]);
    machine.flash[0xfffe..0x1_0006].copy_from_slice(&words(&[LI_A0_1, LOOP]));
    machine.flash[0x2_0000..0x2_0006].copy_from_slice(&words(&[LI_A0_2, LOOP])[2..]);
    machine.memory.set_flash_page(0, Some(0));
    for (page, expected) in [(1, 1), (2, 2), (1, 1)] {
        machine.memory.set_flash_page(1, Some(page));
        cpu.pc = IROM + 0xfffe;
        let until = cpu.cycles + 1;
        assert_eq!(cpu.run(&mut machine, until), Stop::Budget);
        assert_eq!(cpu.x[10], expected);
    }
}

#[test]
fn memory_set_from_outside_is_decoded_anew() {
    let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[LI_A0_1, LOOP]));
    assert_eq!(cpu.run(&mut machine, 2), Stop::Budget);
    machine.memory.bank_mut(1).unwrap()[..4].copy_from_slice(&LI_A0_2.to_le_bytes());
    cpu.pc = IRAM;
    assert_eq!(cpu.run(&mut machine, 4), Stop::Budget);
    assert_eq!(cpu.x[10], 2);
}

/// A program that writes a function, calls it, writes another one to the same place, and so on.
#[test]
fn a_function_written_again_and_again_is_the_new_one_each_time() {
    // loop: sw a1, 0(s0); jalr s0; add a2, a2, a0; add a1, a1, a3 (next immediate); addi a4, a4,
    // -1; bnez a4, loop; j .
    let code =
        words(&[SW_A1_S0, 0x0004_00e7, 0x00a6_0633, 0x00d5_85b3, 0xfff7_0713, 0xfe07_16e3, LOOP]);
    let (mut cpu, mut machine) = with_code(model(), IRAM, &code);
    // The function: li a0, n; ret
    assert!(machine.memory.write(IRAM + 0x800, &words(&[0, 0x0000_8067])));
    cpu.x[8] = IRAM + 0x800;
    cpu.x[11] = LI_A0_1;
    cpu.x[13] = 1 << 20;
    cpu.x[14] = 100;
    assert_eq!(cpu.run(&mut machine, 1000), Stop::Budget);
    assert_eq!(cpu.x[14], 0);
    assert_eq!(cpu.x[12], 5050);
}

/// A snapshot copies the CPU and the memory.
#[test]
fn a_copy_goes_its_own_way() {
    let code = words(&[LI_A0_1, SW_A1_S0, LI_A0_1, LOOP]);
    let (mut cpu, mut machine) = with_code(model(), IRAM, &code);
    cpu.x[8] = IRAM + 8;
    cpu.x[11] = LI_A0_2;
    assert_eq!(cpu.run(&mut machine, 1), Stop::Budget);
    let (mut copy, mut copied) = (cpu.clone(), super::machine::Machine::new());
    copied.memory = machine.memory.clone();
    assert_eq!(cpu.run(&mut machine, 3), Stop::Budget);
    assert_eq!(cpu.x[10], 2);
    assert_eq!(copied.memory.load32(IRAM + 8, &[]), Some(LI_A0_1));
    copy.x[11] = LI_A0_1;
    assert_eq!(copy.run(&mut copied, 3), Stop::Budget);
    assert_eq!(copy.x[10], 1);
}
