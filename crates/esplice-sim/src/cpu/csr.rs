//! Control and status registers.
//!
//! The list of registers and their numbers is from the ESP32-C3 Technical Reference Manual,
//! "ESP-RISC-V CPU", "Control and Status Registers". The performance counter and GPIO registers are
//! also in ESP-IDF's `riscv/rv_utils.h` and `hal/cpu_ll.h`. The counter's registers have aliases at
//! 0x800 to 0x802 that user mode can access: the mask ROM's `ets_delay_us` reads 0x802. ustatus,
//! which shows bits of mstatus, is not in the manual's list, but the mask ROM writes it first. Any
//! other number is an illegal instruction. The README of the crate esp32c-rt confirms that this
//! includes mie and mip.

use std::collections::BTreeMap;

use esplice_chip::{Chip, Sim};

use super::{Cpu, guard, trap};

/// Differences between the CPUs of chips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuModel {
    /// mvendorid.
    pub vendor_id: u32,
    /// marchid.
    pub arch_id: u32,
    /// mimpid.
    pub implementation_id: u32,
    /// mhartid.
    pub hart_id: u32,
    /// True if the A extension (atomic memory operations) exists.
    pub atomics: bool,
    /// True if mie and mip exist and mie masks interrupts.
    pub interrupt_csrs: bool,
    /// Number of triggers of the debug unit, at most [`MAX_TRIGGERS`].
    pub triggers: u32,
    /// Number of memory protection entries, at most [`MAX_PMP_ENTRIES`].
    pub pmp_entries: u32,
    /// Ranges of registers that are only stored: first, last.
    pub stored: Vec<(u32, u32)>,
}

impl CpuModel {
    /// Returns the CPU model of `chip` with its virtual board `sim`.
    pub fn of(chip: &Chip, sim: &Sim) -> Self {
        Self {
            vendor_id: sim.cpu.vendor_id,
            arch_id: sim.cpu.arch_id,
            implementation_id: sim.cpu.implementation_id,
            hart_id: 0,
            atomics: chip.isa.strip_prefix("rv32i").is_some_and(|letters| letters.contains('a')),
            interrupt_csrs: sim.cpu.interrupt_csrs,
            triggers: sim.cpu.triggers.min(MAX_TRIGGERS as u32),
            pmp_entries: sim.cpu.pmp_entries.min(MAX_PMP_ENTRIES as u32),
            stored: sim.cpu.stored_csrs.clone(),
        }
    }

    /// Returns whether a register is only stored.
    fn stores(&self, number: u32) -> bool {
        self.stored.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    /// Returns misa: 32 bits, and I, M, C and U, which always exist (and A).
    fn misa(&self) -> u32 {
        let letter = |letter: char| 1 << (u32::from(letter) - u32::from('A'));
        let always = ['I', 'M', 'C', 'U'].into_iter().map(letter).sum::<u32>();
        1 << 30 | always | if self.atomics { letter('A') } else { 0 }
    }
}

/// Maximum number of triggers of the debug unit (TRM, "Trigger Module").
pub const MAX_TRIGGERS: usize = 8;
/// Maximum number of memory protection entries (TRM, "Memory Protection").
pub const MAX_PMP_ENTRIES: usize = 16;

/// The registers' contents, as a CSR read returns them except where noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csrs {
    /// Interrupt enables and the saved previous state.
    pub mstatus: u32,
    /// Trap handler base. Bits 7:0 read as 1: always vectored, 256-byte aligned.
    pub mtvec: u32,
    /// Scratch register for the trap handler.
    pub mscratch: u32,
    /// Address of the trap. Bit 0 is 0.
    pub mepc: u32,
    /// Cause of the trap.
    pub mcause: u32,
    /// Address or instruction that trapped.
    pub mtval: u32,
    /// Interrupt mask, where the model has one.
    pub mie: u32,
    /// Trigger accessible in tdata1 and tdata2.
    pub tselect: u32,
    /// Match control of each trigger.
    pub(super) tdata1: [u32; MAX_TRIGGERS],
    /// Address of each trigger.
    pub(super) tdata2: [u32; MAX_TRIGGERS],
    /// Trigger enables.
    pub tcontrol: u32,
    /// Memory protection configuration, four entries per register.
    pub(super) pmpcfg: [u32; MAX_PMP_ENTRIES / 4],
    /// Memory protection addresses.
    pub(super) pmpaddr: [u32; MAX_PMP_ENTRIES],
    /// Number of memory protection entries that exist.
    pub(super) pmp_entries: usize,
    /// Event counted by the performance counter.
    pub mpcer: u32,
    /// Performance counter mode.
    pub mpcmr: u32,
    /// cpu_gpio_oen, cpu_gpio_in and cpu_gpio_out, which are only stored.
    pub gpio: [u32; 3],
    /// Registers that are only stored, of those that the model has.
    pub stored: BTreeMap<u32, u32>,
    /// True if the CPU is in user mode.
    pub user_mode: bool,
    /// True if an exception was taken and has not returned yet.
    pub(super) in_exception: bool,
    /// Value of the performance counter at cycle `counted_from`.
    counter: u32,
    counted_from: u64,
}

/// mpcer: bits 0 and 1 count cycles and instructions, which are the same here. The other events
/// (hazards, loads, branches …) are not counted.
const COUNTED_EVENTS: u32 = 3;
/// mpcmr: enables counting.
const COUNT_EN: u32 = 1;
/// mpcmr: makes the counter stay at its maximum.
const COUNT_SAT: u32 = 2;

impl Csrs {
    /// Returns the reset state, with the performance counter at 0 in cycle `cycles`.
    pub(super) fn at_reset(cycles: u64, model: &CpuModel) -> Self {
        Self {
            mstatus: 0,
            mtvec: 1,
            mscratch: 0,
            mepc: 0,
            mcause: 0,
            mtval: 0,
            mie: 0,
            tselect: 0,
            tdata1: [guard::TDATA1_RESET; MAX_TRIGGERS],
            tdata2: [0; MAX_TRIGGERS],
            tcontrol: 0,
            pmpcfg: [0; MAX_PMP_ENTRIES / 4],
            pmpaddr: [0; MAX_PMP_ENTRIES],
            pmp_entries: model.pmp_entries as usize,
            // Counts cycles from reset: esp-hal waits on the counter (`rng/ll.rs`) without setting
            // it up.
            mpcer: 1,
            mpcmr: COUNT_EN,
            gpio: [0; 3],
            stored: BTreeMap::new(),
            user_mode: false,
            in_exception: false,
            counter: 0,
            counted_from: cycles,
        }
    }

    /// Returns the value of the performance counter at a cycle.
    pub fn performance_counter(&self, cycles: u64) -> u32 {
        if self.mpcmr & COUNT_EN == 0 || self.mpcer & COUNTED_EVENTS == 0 {
            return self.counter;
        }
        let value = u64::from(self.counter) + cycles.saturating_sub(self.counted_from);
        if self.mpcmr & COUNT_SAT != 0 { value.min(u32::MAX.into()) as u32 } else { value as u32 }
    }

    fn restart_counter(&mut self, cycles: u64, counter: u32) {
        self.counter = counter;
        self.counted_from = cycles;
    }
}

const MSTATUS_WRITABLE: u32 = trap::MIE | trap::MPIE | trap::MPP | trap::TW | UIE | UPIE;
const UIE: u32 = 1;
const UPIE: u32 = 1 << 4;
const TCONTROL_WRITABLE: u32 = 0x88;
const MCAUSE_WRITABLE: u32 = trap::cause::INTERRUPT | 0x1f;

impl Cpu {
    /// Executes the CSR instruction with the bits `raw`. Returns `None` if it is illegal.
    pub(super) fn csr_instruction(&mut self, raw: u32) -> Option<()> {
        let number = raw >> 20;
        let rd = (raw >> 7 & 31) as usize;
        let rs1 = raw >> 15 & 31;
        let operand = if raw & 1 << 14 != 0 { rs1 } else { self.x[rs1 as usize] };
        self.counter_read |= Self::is_counter(number);
        let old = self.read_csr(number)?;
        let new = match raw >> 12 & 3 {
            1 => Some(operand),
            2 => (rs1 != 0).then_some(old | operand),
            _ => (rs1 != 0).then_some(old & !operand),
        };
        if let Some(new) = new {
            // Bits 11:10 of the number mark read-only registers.
            if number >> 10 == 3 {
                return None;
            }
            self.write_csr(number, new);
        }
        if rd != 0 {
            self.x[rd] = old;
        }
        Some(())
    }

    /// Reads a CSR like an instruction at this point. Returns `None` if the CSR does not exist or
    /// may not be read in this mode.
    pub fn read_csr(&self, number: u32) -> Option<u32> {
        let csrs = &self.csrs;
        // Bits 9:8 of the number are the lowest mode that may access the register.
        if csrs.user_mode && number >> 8 & 3 != 0 {
            return None;
        }
        self.csr_value(number)
    }

    fn csr_value(&self, number: u32) -> Option<u32> {
        let csrs = &self.csrs;
        let trigger = csrs.tselect as usize % MAX_TRIGGERS;
        Some(match number {
            0x000 => csrs.mstatus & (UIE | UPIE),
            0x300 => csrs.mstatus,
            0x301 => self.model.misa(),
            0x304 if self.model.interrupt_csrs => csrs.mie,
            0x305 => csrs.mtvec,
            0x340 => csrs.mscratch,
            0x341 => csrs.mepc,
            0x342 => csrs.mcause,
            0x343 => csrs.mtval,
            0x344 if self.model.interrupt_csrs => self.irq,
            0x3a0..=0x3a3 => csrs.pmpcfg[(number - 0x3a0) as usize],
            0x3b0..=0x3bf => csrs.pmpaddr[(number - 0x3b0) as usize],
            0x7a0 => csrs.tselect,
            0x7a1 => csrs.tdata1[trigger],
            0x7a2 => csrs.tdata2[trigger],
            0x7a5 => csrs.tcontrol,
            0x7e0 | 0x800 => csrs.mpcer,
            0x7e1 | 0x801 => csrs.mpcmr,
            0x7e2 | 0x802 => csrs.performance_counter(self.cycles),
            0x803..=0x805 => csrs.gpio[(number - 0x803) as usize],
            0xf11 => self.model.vendor_id,
            0xf12 => self.model.arch_id,
            0xf13 => self.model.implementation_id,
            0xf14 => self.model.hart_id,
            _ if self.model.stores(number) => csrs.stored.get(&number).copied().unwrap_or(0),
            _ => return None,
        })
    }

    /// Reads a CSR like an instruction in machine mode.
    pub(crate) fn machine_csr(&self, number: u32) -> Option<u32> {
        self.csr_value(number)
    }

    /// Writes a CSR. Read-only bits keep their value, and numbers that do not exist are ignored.
    pub fn write_csr(&mut self, number: u32, value: u32) {
        let cycles = self.cycles;
        let counter = self.csrs.performance_counter(cycles);
        let csrs = &mut self.csrs;
        let trigger = csrs.tselect as usize % MAX_TRIGGERS;
        match number {
            0x000 => csrs.mstatus = csrs.mstatus & !(UIE | UPIE) | value & (UIE | UPIE),
            0x300 => {
                // MPP holds machine or user mode; other values do not change it (WARL).
                let mpp = match value & trap::MPP {
                    mpp @ (0 | trap::MPP) => mpp,
                    _ => csrs.mstatus & trap::MPP,
                };
                csrs.mstatus = value & MSTATUS_WRITABLE & !trap::MPP | mpp;
            }
            0x304 if self.model.interrupt_csrs => csrs.mie = value,
            0x305 => csrs.mtvec = value & !0xff | 1,
            0x340 => csrs.mscratch = value,
            0x341 => csrs.mepc = value & !1,
            0x342 => csrs.mcause = value & MCAUSE_WRITABLE,
            0x343 => csrs.mtval = value,
            0x3a0..=0x3a3 => csrs.write_pmpcfg((number - 0x3a0) as usize, value),
            0x3b0..=0x3bf => csrs.write_pmpaddr((number - 0x3b0) as usize, value),
            0x7a0 => csrs.tselect = value.checked_rem(self.model.triggers).unwrap_or(0),
            0x7a1 => csrs.write_tdata1(trigger, value),
            0x7a2 => csrs.tdata2[trigger] = value,
            0x7a5 => csrs.tcontrol = value & TCONTROL_WRITABLE,
            0x7e0 | 0x800 => {
                csrs.restart_counter(cycles, counter);
                csrs.mpcer = value & 0x7ff;
            }
            0x7e1 | 0x801 => {
                csrs.restart_counter(cycles, counter);
                csrs.mpcmr = value & (COUNT_EN | COUNT_SAT);
            }
            0x7e2 | 0x802 => csrs.restart_counter(cycles, value),
            0x803..=0x805 => csrs.gpio[(number - 0x803) as usize] = value,
            _ if self.model.stores(number) => drop(csrs.stored.insert(number, value)),
            _ => {}
        }
        match number {
            0x3a0..=0x3bf | 0x7a1 | 0x7a2 => self.guard.refresh(&self.csrs),
            0x7a5 => self.guard.update_world(&self.csrs),
            _ => {}
        }
    }
}
