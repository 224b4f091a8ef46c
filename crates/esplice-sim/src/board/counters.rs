//! Counters of what a board has done so far.

use super::Board;

/// Counts since power-on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Instructions executed. ROM functions count with the cycles charged for them.
    pub instructions: u64,
    /// Bytes received by the host.
    pub sent: u64,
    /// Bytes from the host that the board took.
    pub received: u64,
    /// Program and erase operations of the flash chip.
    pub flash_operations: u64,
    /// Commands sent to the flash chip.
    pub flash_commands: u64,
    /// Resets of all kinds.
    pub resets: u64,
}

impl Board {
    /// Returns the board's counters.
    pub fn counters(&self) -> Counters {
        let fabric = &self.soc.fabric;
        let (line, now) = (&fabric.line, fabric.now());
        let on_the_way = line.to_host.len() - line.to_host.partition_point(|byte| byte.done <= now);
        Counters {
            instructions: self.cpu.cycles.saturating_sub(self.idle.skipped),
            sent: line.sent.saturating_sub(on_the_way as u64),
            received: line.received,
            flash_operations: fabric.flash.nor.operations(),
            flash_commands: fabric.flash.commands(),
            resets: self.resets,
        }
    }

    /// Returns the address of the next instruction.
    pub fn pc(&self) -> u32 {
        self.cpu.pc
    }
}
