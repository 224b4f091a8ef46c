//! The registers of 32-bit RISC-V as GDB numbers them.

use std::num::NonZeroUsize;

use gdbstub::arch::{Arch, RegId, Registers};

/// GDB's number of pc.
pub(crate) const PC: usize = 32;
/// GDB's number of the first CSR (GDB, "RISC-V Features"; the numbers of `riscv-tdep.h`).
pub(crate) const FIRST_CSR: usize = 65;
/// GDB's number of the privilege mode, after the 4096 CSRs.
pub(crate) const PRIVILEGE: usize = FIRST_CSR + 0x1000;

/// 32-bit RISC-V.
pub enum Riscv32 {}

impl Arch for Riscv32 {
    type Usize = u32;
    type Registers = CoreRegisters;
    type BreakpointKind = usize;
    type RegId = Register;
}

/// The integer registers and pc, in the order of GDB's `g` packet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CoreRegisters {
    pub x: [u32; 32],
    pub pc: u32,
}

impl Registers for CoreRegisters {
    type ProgramCounter = u32;

    fn pc(&self) -> u32 {
        self.pc
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        for value in self.x.iter().chain([&self.pc]) {
            value.to_le_bytes().into_iter().for_each(|byte| write_byte(Some(byte)));
        }
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        let mut words = bytes.chunks_exact(4).filter_map(|word| word.first_chunk::<4>());
        for register in self.x.iter_mut().chain([&mut self.pc]) {
            *register = u32::from_le_bytes(*words.next().ok_or(())?);
        }
        Ok(())
    }
}

/// A register by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// An integer register.
    X(usize),
    /// The program counter.
    Pc,
    /// A control and status register.
    Csr(u32),
    /// The privilege mode: 0 for user, 3 for machine mode.
    Privilege,
}

impl RegId for Register {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        let register = match id {
            0..PC => Register::X(id),
            PC => Register::Pc,
            FIRST_CSR..PRIVILEGE => Register::Csr((id - FIRST_CSR) as u32),
            PRIVILEGE => Register::Privilege,
            _ => return None,
        };
        Some((register, NonZeroUsize::new(4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_survive_the_g_packet() {
        let mut registers = CoreRegisters { pc: 0x4200_0020, ..Default::default() };
        registers.x[31] = 0x1234_5678;
        let mut bytes = Vec::new();
        registers.gdb_serialize(|byte| bytes.push(byte.unwrap()));
        assert_eq!(bytes.len(), 33 * 4);
        let mut read = CoreRegisters::default();
        read.gdb_deserialize(&bytes).unwrap();
        assert_eq!(read, registers);
        assert!(read.gdb_deserialize(&bytes[1..]).is_err());
    }

    #[test]
    fn registers_have_gdbs_numbers() {
        // mstatus is CSR 0x300 (RISC-V privileged specification, "CSR Listing").
        assert_eq!(Register::from_raw_id(65 + 0x300).unwrap().0, Register::Csr(0x300));
        assert_eq!(Register::from_raw_id(33), None);
        assert_eq!(Register::from_raw_id(PRIVILEGE + 1), None);
    }
}
