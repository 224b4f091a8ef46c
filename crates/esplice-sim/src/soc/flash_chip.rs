//! The flash chip as seen from the SPI bus: commands, status registers with their protection bits,
//! write-enable latch, busy time, suspend, power-down and reset. [`Nor`] holds the contents and
//! implements program and erase.
//!
//! Commands, their numbers and the registers' bits are from the W25Q32JV datasheet, revision H, 7.1
//! Status Registers and 8.1.2 Instruction Set Table 1; section numbers below refer to that
//! datasheet. The security registers and the individual block locks (WPS) are not implemented.

mod protection;
mod sfdp;
#[cfg(test)]
mod tests;

use super::clock::{Tick, ticks};
use crate::nor::{BLOCK_32K_LEN, BLOCK_64K_LEN, Nor, NorError, SECTOR_LEN};
use std::{ops::Range, sync::Arc, time::Duration};

/// Status register 1: an operation is running.
const BUSY: u8 = 1;
/// Status register 1: program and erase are allowed.
const WRITE_ENABLED: u8 = 2;
/// Status register 2: an operation is suspended.
const SUSPENDED: u8 = 1 << 7;
/// Writable bits of the status registers, which keep their value without power. The lock bits of
/// the security registers and SRL, which lock permanently, are left out.
const WRITABLE: [u8; 3] = [0xfc, 0x42, 0x64];

/// An operation that takes time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Operation {
    kind: Kind,
    /// Bytes that the operation changes.
    range: Range<u32>,
    until: Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Program,
    Erase,
    /// Operations that can't be suspended: erase of the whole chip, status writes, reset.
    NotSuspendable,
}

/// The flash chip on the bus.
#[derive(Clone)]
pub(crate) struct FlashChip {
    pub nor: Nor,
    /// True if the pins of the SPI bus are set up. Before that commands reach no chip, and reads
    /// return zeros.
    attached: bool,
    /// True if operations take time.
    timed: bool,
    status: [u8; 3],
    /// Status registers after the next power-on.
    stored_status: [u8; 3],
    write_enabled: bool,
    /// True if 50h was received: the next status write is volatile and takes no time.
    volatile_status: bool,
    running: Option<Operation>,
    /// Suspended operations: at most an erase, and a program within its suspension. `until` is the
    /// remaining time.
    suspended: Vec<Operation>,
    powered_down: bool,
    /// True if 66h was the previous command.
    reset_enabled: bool,
    /// Number of commands, without reads and commands that do nothing.
    commands: u64,
    /// Ranges that have changed since the last query.
    changed: Vec<(u32, u32)>,
    /// First failed operation, because of the flash file or missing power.
    failed: Option<Arc<NorError>>,
}

impl FlashChip {
    pub fn new(nor: Nor, timed: bool) -> Self {
        Self {
            nor,
            attached: true,
            timed,
            status: [0; 3],
            stored_status: [0; 3],
            write_enabled: false,
            volatile_status: false,
            running: None,
            suspended: Vec::new(),
            powered_down: false,
            reset_enabled: false,
            commands: 0,
            changed: Vec::new(),
            failed: None,
        }
    }

    /// Executes one command. `addr` is used by commands with an address, `out` holds the bytes sent
    /// after it, and `read` is the number of bytes then clocked in.
    pub fn command(
        &mut self,
        opcode: u8,
        addr: u32,
        out: &[u8],
        read: usize,
        now: Tick,
    ) -> Vec<u8> {
        if !self.attached {
            return vec![0; read];
        }
        self.commands += 1;
        let reset = std::mem::take(&mut self.reset_enabled);
        // In power-down the chip accepts only the release (8.2.37), while busy only status reads,
        // suspend and reset (8.2.4).
        if self.powered_down && opcode != 0xab {
            return vec![0xff; read];
        }
        let busy = self.is_busy(now);
        let reply: Vec<u8> = match opcode {
            0x05 => vec![self.status_1(now)],
            0x35 => vec![self.status_2()],
            0x15 => vec![self.status[2]],
            0x66 => return self.without_reply(read, |chip| chip.reset_enabled = true),
            0x99 if reset => return self.without_reply(read, |chip| chip.reset(now)),
            0x75 => return self.without_reply(read, |chip| chip.suspend(now)),
            _ if busy => return vec![0xff; read],
            0x7a => return self.without_reply(read, |chip| chip.resume(now)),
            0x06 => return self.without_reply(read, |chip| chip.write_enabled = true),
            0x04 => return self.without_reply(read, |chip| chip.write_enabled = false),
            0x50 => return self.without_reply(read, |chip| chip.volatile_status = true),
            0x01 => return self.without_reply(read, |chip| chip.write_status(0, out, now)),
            0x31 => return self.without_reply(read, |chip| chip.write_status(1, out, now)),
            0x11 => return self.without_reply(read, |chip| chip.write_status(2, out, now)),
            0x9f => self.nor.jedec().to_vec(),
            // Returns the device ID, which is one less than the capacity code, and ends power-down.
            0xab => {
                self.powered_down = false;
                vec![self.nor.jedec()[2].wrapping_sub(1)]
            }
            0x90 => vec![self.nor.jedec()[0], self.nor.jedec()[2].wrapping_sub(1)],
            0x4b => self.nor.timing().unique_id.to_vec(),
            0x5a => return sfdp::read(&self.nor, addr, read),
            0x03 | 0x0b | 0x3b | 0x6b | 0xbb | 0xeb => return self.read(addr, read),
            0x02 | 0x32 => return self.without_reply(read, |chip| chip.program(addr, out, now)),
            0x20 => return self.without_reply(read, |chip| chip.erase(addr, SECTOR_LEN, now)),
            0x52 => return self.without_reply(read, |chip| chip.erase(addr, BLOCK_32K_LEN, now)),
            0xd8 => return self.without_reply(read, |chip| chip.erase(addr, BLOCK_64K_LEN, now)),
            0xc7 | 0x60 => {
                let size = self.nor.size();
                return self.without_reply(read, |chip| chip.erase(0, size, now));
            }
            0xb9 => return self.without_reply(read, |chip| chip.powered_down = true),
            // Unknown to the chip.
            _ => return vec![0xff; read],
        };
        // Status and IDs repeat.
        reply.iter().copied().cycle().take(read).collect()
    }

    /// Executes a command without an answer, for which ones are clocked in.
    fn without_reply(&mut self, read: usize, action: impl FnOnce(&mut Self)) -> Vec<u8> {
        action(self);
        vec![0xff; read]
    }

    /// Returns the number of commands so far, without reads by ROM functions and through flash
    /// windows.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// Reads bytes from `addr`. The address wraps at the end of the chip.
    pub fn read(&self, addr: u32, len: usize) -> Vec<u8> {
        if !self.attached {
            return vec![0; len];
        }
        let bytes = self.nor.bytes();
        let size = bytes.len().max(1);
        (0..len).map(|i| bytes.get((addr as usize + i) % size).copied().unwrap_or(0xff)).collect()
    }

    /// Programs a page if the latch and protection allow it. Clears the latch.
    pub fn program(&mut self, addr: u32, data: &[u8], now: Tick) {
        let addr = addr % self.nor.size().max(1);
        let range = addr & !0xff..(addr & !0xff) + 0x100;
        // During a suspended program nothing can be programmed, and during a suspended erase
        // nothing in its range (8.2.19).
        let refused = self
            .suspended
            .iter()
            .any(|suspended| suspended.kind == Kind::Program || overlap(&suspended.range, &range));
        if !self.write_enabled || data.is_empty() || refused || self.is_protected(&range) {
            return;
        }
        let result = self.nor.program_page(addr, data);
        self.changed.push((addr & !0xff, 0x100));
        self.finish(result, Kind::Program, range, now);
    }

    /// Erases the `len` bytes around `addr` if the latch and protection allow it.
    pub fn erase(&mut self, addr: u32, len: u32, now: Tick) {
        let size = self.nor.size();
        let addr = addr % size.max(1);
        let whole = len >= size;
        let range = if whole { 0..size } else { addr / len * len..addr / len * len + len };
        if !self.write_enabled || !self.suspended.is_empty() || self.is_protected(&range) {
            return;
        }
        let result = match len {
            _ if whole => self.nor.erase_chip(),
            SECTOR_LEN => self.nor.erase_sector(addr),
            BLOCK_32K_LEN => self.nor.erase_block32k(addr),
            _ => self.nor.erase_block(addr),
        };
        self.changed.push((range.start, range.end - range.start));
        let kind = if whole { Kind::NotSuspendable } else { Kind::Erase };
        self.finish(result, kind, range, now);
    }

    /// Sets the write-enable latch like the command 06h.
    pub fn write_enable(&mut self) {
        self.write_enabled = self.attached;
    }

    /// Connects the chip to the SPI bus, or disconnects it like a reset of the pins.
    pub fn attach(&mut self, attached: bool) {
        self.attached = attached;
    }

    /// Returns whether the chip is connected to the SPI bus.
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    /// Removes all protection and keeps the quad-enable bit, like the ROM's
    /// `esp_rom_spiflash_unlock`.
    pub fn unlock(&mut self, now: Tick) {
        let kept = self.status[1] & protection::QUAD_ENABLE;
        self.command(0x06, 0, &[], 0, now);
        self.command(0x01, 0, &[0, kept], 0, now);
    }

    /// Sets the protection bits for all of the chip or none of it, like the ROM's serial loader.
    /// Removing the protection also clears the quad-enable bit.
    pub fn protect(&mut self, protected: bool) {
        self.status[0] = if protected { protection::ALL } else { 0 };
        if !protected {
            self.status[1] &= !protection::QUAD_ENABLE;
        }
        self.stored_status = self.status;
    }

    /// Returns whether the chip's third and fourth data lines are in use.
    pub fn is_quad_enabled(&self) -> bool {
        self.status[1] & protection::QUAD_ENABLE != 0
    }

    /// Sets the quad-enable bit and keeps all other bits of both status registers.
    pub fn enable_quad(&mut self, enabled: bool, now: Tick) {
        let quad = if enabled { protection::QUAD_ENABLE } else { 0 };
        let second = self.status[1] & !protection::QUAD_ENABLE | quad;
        self.command(0x06, 0, &[], 0, now);
        self.command(0x01, 0, &[self.status[0], second], 0, now);
    }

    /// Returns when the running operation ends, or a time in the past if there is none.
    pub fn busy_until(&self) -> Tick {
        self.running.as_ref().map_or(0, |running| running.until)
    }

    fn is_busy(&self, now: Tick) -> bool {
        now < self.busy_until()
    }

    /// Returns status register 1 at `now`.
    pub fn status_1(&self, now: Tick) -> u8 {
        if !self.attached {
            return 0;
        }
        let busy = if self.is_busy(now) { BUSY } else { 0 };
        let enabled = if self.write_enabled { WRITE_ENABLED } else { 0 };
        self.status[0] & !(BUSY | WRITE_ENABLED) | busy | enabled
    }

    fn status_2(&self) -> u8 {
        self.status[1] | if self.suspended.is_empty() { 0 } else { SUSPENDED }
    }

    /// Returns a range of contents that has changed since the last call.
    pub fn take_change(&mut self) -> Option<(u32, u32)> {
        self.changed.pop()
    }

    /// Returns and clears the first failure outside the simulated chip.
    pub fn take_failure(&mut self) -> Option<Arc<NorError>> {
        self.failed.take()
    }

    /// Clears the latch and all volatile state, as a loss of power does.
    pub fn power_cycle(&mut self) {
        self.write_enabled = false;
        self.volatile_status = false;
        self.status = self.stored_status;
        self.running = None;
        self.suspended.clear();
        self.powered_down = false;
        self.reset_enabled = false;
    }

    /// 99h: acts like a power cycle and takes some time (8.2.43).
    fn reset(&mut self, now: Tick) {
        self.power_cycle();
        let time = Duration::from_micros(self.nor.timing().reset_us.into());
        self.finish(Ok(time), Kind::NotSuspendable, 0..0, now);
    }

    /// 75h: suspends a program or a partial erase. The rest of the chip can then be read (8.2.19).
    fn suspend(&mut self, now: Tick) {
        let Some(running) =
            self.running.take_if(|op| now < op.until && op.kind != Kind::NotSuspendable)
        else {
            return;
        };
        let left = running.until - now;
        self.suspended.push(Operation { until: left, ..running });
        let time = Duration::from_micros(self.nor.timing().suspend_us.into());
        self.finish(Ok(time), Kind::NotSuspendable, 0..0, now);
    }

    /// 7Ah: resumes the operation that was suspended last.
    fn resume(&mut self, now: Tick) {
        if let Some(suspended) = self.suspended.pop() {
            let until = now.saturating_add(suspended.until);
            self.running = Some(Operation { until, ..suspended });
        }
    }

    fn write_status(&mut self, first: usize, out: &[u8], now: Tick) {
        let lasting = self.write_enabled;
        let volatile = std::mem::take(&mut self.volatile_status);
        if !lasting && !volatile || !self.suspended.is_empty() {
            return;
        }
        for (index, value) in (first..WRITABLE.len()).zip(out) {
            self.status[index] = value & WRITABLE[index];
            if lasting {
                self.stored_status[index] = self.status[index];
            }
        }
        let time = self.nor.status_time();
        if lasting {
            self.finish(Ok(time), Kind::NotSuspendable, 0..0, now);
        }
    }

    /// Returns whether any part of the range is protected.
    pub fn is_protected(&self, range: &Range<u32>) -> bool {
        overlap(&protection::range(self.status, self.nor.size()), range)
            || overlap(&protection::second_range(self.status, self.nor.size()), range)
    }

    fn finish(
        &mut self,
        result: Result<Duration, NorError>,
        kind: Kind,
        range: Range<u32>,
        now: Tick,
    ) {
        self.write_enabled = false;
        match result {
            Ok(time) if self.timed => {
                let until = now.saturating_add(ticks(time));
                self.running = Some(Operation { kind, range, until });
            }
            Ok(_) => {}
            Err(error) => {
                self.failed.get_or_insert_with(|| Arc::new(error));
            }
        }
    }
}

fn overlap(one: &Range<u32>, other: &Range<u32>) -> bool {
    one.start < other.end && other.start < one.end
}
