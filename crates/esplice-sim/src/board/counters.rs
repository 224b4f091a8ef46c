//! What a board has done so far, in numbers.

use super::Board;

/// Counts since power-on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Instructions executed; ROM functions count with the cycles that they are charged.
    pub instructions: u64,
    /// Bytes that the host's end of the line got.
    pub sent: u64,
    /// Bytes from the host that the board took.
    pub received: u64,
    /// Program and erase operations of the flash chip.
    pub flash_operations: u64,
    /// Commands that the flash chip was sent.
    pub flash_commands: u64,
    /// Resets of all kinds.
    pub resets: u64,
}

impl Board {
    /// What the board has done so far.
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

    /// Address of the instruction that is next.
    pub fn pc(&self) -> u32 {
        self.cpu.pc
    }
}
