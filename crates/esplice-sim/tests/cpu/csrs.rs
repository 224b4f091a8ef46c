//! Tests of control and status registers, and of the A extension, which the C3's CPU lacks as well.

use esplice_chip::ChipDb;

use super::machine::{DRAM, IRAM, model, with_code, words};
use esplice_sim::cpu::{Cpu, CpuModel, Stop, cause};

fn cpu() -> Cpu {
    Cpu::new(model())
}

/// CSR number, value written, value read back.
const WRITES: &[(u32, u32, u32)] = &[
    (0x000, 0xffff_ffff, 0x0000_0011), // ustatus: UPIE, UIE
    (0x300, 0xffff_ffff, 0x0020_1899), // mstatus: TW, MPP, MPIE, UPIE, MIE, UIE
    (0x300, 0x0000_0800, 0x0000_0000), // MPP = 1 does not exist: user mode is kept
    (0x301, 0xffff_ffff, 0x4010_1104), // misa is fixed
    (0x305, 0x4038_01ff, 0x4038_0101), // mtvec: 256-byte aligned, always vectored
    (0x340, 0xdead_beef, 0xdead_beef),
    (0x341, 0x4200_0003, 0x4200_0002), // mepc: halfwords
    (0x342, 0xffff_ffff, 0x8000_001f),
    (0x343, 0xdead_beef, 0xdead_beef),
    (0x3a0, 0x1f1f_1f1f, 0x1f1f_1f1f),
    (0x3a3, 0x0101_0101, 0x0101_0101),
    (0x3b0, 0xffff_ffff, 0xffff_ffff),
    (0x3bf, 0x1234_5678, 0x1234_5678),
    (0x7a0, 0x0000_000b, 0x0000_0003), // tselect: eight triggers
    (0x7a1, 0xf000_0047, 0x2000_0047), // tdata1: the type is fixed
    (0x7a2, 0x4200_0000, 0x4200_0000),
    (0x7a5, 0xffff_ffff, 0x0000_0088),
    (0x7e0, 0x0000_0001, 0x0000_0001),
    (0x7e1, 0xffff_ffff, 0x0000_0003),
    (0x800, 0x0000_0002, 0x0000_0002), // the counter's registers for user mode
    (0x801, 0x0000_0000, 0x0000_0000),
    (0x803, 0x0000_00ff, 0x0000_00ff),
    (0x805, 0x0000_00ff, 0x0000_00ff),
];

#[test]
fn writable_bits_are_kept_and_the_others_are_not() {
    for (number, written, read) in WRITES {
        let mut cpu = cpu();
        cpu.write_csr(*number, *written);
        assert_eq!(cpu.read_csr(*number), Some(*read), "csr {number:#x}");
    }
}

#[test]
fn identity_registers_are_the_models() {
    let cpu = cpu();
    let read: Vec<_> = (0xf11..=0xf14).map(|number| cpu.read_csr(number)).collect();
    assert_eq!(read, [Some(0x612), Some(0x8000_0001), Some(1), Some(0)]);
}

#[test]
fn triggers_are_stored_apart() {
    let mut cpu = cpu();
    for trigger in 0..8 {
        cpu.write_csr(0x7a0, trigger);
        cpu.write_csr(0x7a2, 100 + trigger);
    }
    cpu.write_csr(0x7a0, 5);
    assert_eq!(cpu.read_csr(0x7a2), Some(105));
}

/// Instruction, a0 and mscratch before, mscratch after. The old value goes to a1.
const INSTRUCTIONS: &[(&str, u32, u32, u32, u32)] = &[
    ("csrrw a1, mscratch, a0", 0x3405_15f3, 0x0f, 0xf0, 0x0f),
    ("csrrs a1, mscratch, a0", 0x3405_25f3, 0x1f, 0xf0, 0xff),
    ("csrrc a1, mscratch, a0", 0x3405_35f3, 0x1f, 0xf0, 0xe0),
    ("csrrwi a1, mscratch, 5", 0x3402_d5f3, 0, 0xf0, 0x05),
    ("csrrsi a1, mscratch, 5", 0x3402_e5f3, 0, 0xf0, 0xf5),
    ("csrrci a1, mscratch, 16", 0x3408_75f3, 0, 0xf0, 0xe0),
    ("csrrs a1, mscratch, zero", 0x3400_25f3, 0, 0xf0, 0xf0),
];

#[test]
fn csr_instructions_swap_set_and_clear() {
    for (name, word, a0, before, after) in INSTRUCTIONS {
        let (mut cpu, mut machine) = with_code(model(), IRAM, &words(&[*word]));
        cpu.x[10] = *a0;
        cpu.csrs.mscratch = *before;
        assert_eq!(cpu.run(&mut machine, 1), Stop::Budget, "{name}");
        assert_eq!((cpu.x[11], cpu.csrs.mscratch), (*before, *after), "{name}");
        assert_eq!(cpu.pc, IRAM + 4, "{name}");
    }
}

#[test]
fn the_performance_counter_counts_cycles_while_enabled() {
    let mut cpu = cpu();
    cpu.cycles = 1000;
    cpu.write_csr(0x7e2, 5);
    cpu.cycles = 1010;
    assert_eq!(cpu.read_csr(0x7e2), Some(15));
    cpu.write_csr(0x7e1, 0);
    cpu.cycles = 2000;
    assert_eq!(cpu.read_csr(0x7e2), Some(15));
    cpu.write_csr(0x7e1, 1);
    cpu.cycles = 2001;
    assert_eq!(cpu.read_csr(0x7e2), Some(16));
    // It wraps; with COUNT_SAT it saturates.
    cpu.write_csr(0x7e2, u32::MAX);
    cpu.cycles = 2003;
    assert_eq!(cpu.read_csr(0x7e2), Some(1));
    cpu.write_csr(0x7e2, u32::MAX);
    cpu.write_csr(0x7e1, 3);
    cpu.cycles = 2010;
    assert_eq!(cpu.read_csr(0x7e2), Some(u32::MAX));
    // A reset clears it. User mode sees it under another number.
    cpu.reset(IRAM);
    cpu.cycles = 2012;
    cpu.csrs.user_mode = true;
    assert_eq!((cpu.read_csr(0x802), cpu.read_csr(0x7e2)), (Some(2), None));
}

#[test]
fn the_interrupt_mask_exists_only_where_the_model_has_it() {
    assert_eq!(cpu().read_csr(0x304), None);
    let model = CpuModel { interrupt_csrs: true, ..model() };
    let (mut cpu, mut machine) = with_code(model, IRAM, &words(&[0x13, 0x6f]));
    cpu.csrs.mtvec = (IRAM + 0x100) | 1;
    cpu.csrs.mstatus = 8;
    cpu.set_irq(4);
    assert_eq!(cpu.read_csr(0x344), Some(4));
    assert_eq!(cpu.run(&mut machine, 5), Stop::Budget);
    assert_eq!(cpu.pc, IRAM + 4);
    cpu.write_csr(0x304, 4);
    cpu.set_hooks([IRAM + 0x108]);
    assert_eq!(cpu.run(&mut machine, 50), Stop::Hook(IRAM + 0x108));
}

/// amo… a0, a1, (s0): name, word, memory and a1 before, memory after. a0 receives the old memory.
const ATOMICS: &[(&str, u32, u32, u32, u32)] = &[
    ("amoswap.w", 0x08b4_252f, 5, 7, 7),
    ("amoadd.w", 0x00b4_252f, 0xffff_ffff, 2, 1),
    ("amoxor.w", 0x20b4_252f, 0xff, 0x0f, 0xf0),
    ("amoand.w", 0x60b4_252f, 0xff, 0x10f, 0x0f),
    ("amoor.w", 0x40b4_252f, 0xf0, 0x0f, 0xff),
    ("amomin.w", 0x80b4_252f, 5, 0xffff_ffff, 0xffff_ffff),
    ("amomax.w", 0xa0b4_252f, 5, 0xffff_ffff, 5),
    ("amominu.w", 0xc0b4_252f, 5, 0xffff_ffff, 5),
    ("amomaxu.w", 0xe0b4_252f, 5, 0xffff_ffff, 0xffff_ffff),
];

#[test]
fn atomic_operations_change_memory_and_give_the_old_value() {
    let model = CpuModel { atomics: true, ..model() };
    for (name, word, memory, operand, after) in ATOMICS {
        let (mut cpu, mut machine) = with_code(model.clone(), IRAM, &words(&[*word]));
        cpu.x[8] = DRAM + 0x2000;
        cpu.x[11] = *operand;
        assert!(machine.memory.store32(DRAM + 0x2000, *memory));
        assert_eq!(cpu.run(&mut machine, 1), Stop::Budget, "{name}");
        assert_eq!(cpu.x[10], *memory, "{name}");
        assert_eq!(machine.memory.load32(DRAM + 0x2000, &[]), Some(*after), "{name}");
    }
    assert_eq!(Cpu::new(model).read_csr(0x301), Some(0x4010_1105));
}

#[test]
fn store_conditional_needs_its_reservation() {
    // lr.w a0, (s0); sc.w a2, a1, (s0); sc.w a3, a1, (s0)
    let code = words(&[0x1004_252f, 0x18b4_262f, 0x18b4_26af]);
    let model = CpuModel { atomics: true, ..model() };
    let (mut cpu, mut machine) = with_code(model, IRAM, &code);
    cpu.x[8] = DRAM + 0x2000;
    cpu.x[11] = 42;
    assert_eq!(cpu.run(&mut machine, 3), Stop::Budget);
    assert_eq!((cpu.x[12], cpu.x[13]), (0, 1));
    assert_eq!(machine.memory.load32(DRAM + 0x2000, &[]), Some(42));
}

#[test]
fn atomics_are_illegal_without_the_extension_and_need_alignment_with_it() {
    for (atomics, cause) in [(false, cause::ILLEGAL), (true, cause::STORE_MISALIGNED)] {
        let model = CpuModel { atomics, ..model() };
        let (mut cpu, mut machine) = with_code(model, IRAM, &words(&[0x08b4_252f]));
        cpu.x[8] = DRAM + 0x2002;
        cpu.csrs.mtvec = (IRAM + 0x100) | 1;
        assert_eq!(cpu.run(&mut machine, 1), Stop::Budget);
        assert_eq!(cpu.csrs.mcause, cause);
    }
}

/// Registers that a chip only stores, such as those of physical memory attributes, are illegal on
/// the others.
#[test]
fn stored_registers_exist_only_where_the_model_has_them() {
    for chip in ["esp32c3", "esp32c6", "esp32h2"] {
        let chip = ChipDb::embedded().find(chip).unwrap();
        let mut cpu = Cpu::new(CpuModel::of(chip, chip.sim.as_ref().unwrap()));
        let has = chip.name != "esp32c3";
        for number in [0x004, 0xbc0, 0xbdf] {
            assert_eq!(cpu.read_csr(number), has.then_some(0), "{}: {number:#x}", chip.name);
            cpu.write_csr(number, 0x1234);
            assert_eq!(cpu.read_csr(number), has.then_some(0x1234), "{}: {number:#x}", chip.name);
        }
        // mie, where an interrupt must be enabled, and mip.
        assert_eq!(cpu.read_csr(0x304).is_some(), has, "{}", chip.name);
        assert_eq!(cpu.read_csr(0x344).is_some(), has, "{}", chip.name);
    }
}
