//! The flash chip as the SPI bus sees it: commands, status registers, write-enable latch, busy
//! time. The contents and what program and erase do to them are [`Nor`]'s.
//!
//! Commands and their numbers: W25Q32JV datasheet, revision H, 8.1.2 Instruction Set Table 1.

use super::clock::{Tick, ticks};
use crate::nor::{BLOCK_32K_LEN, BLOCK_64K_LEN, Nor, NorError, SECTOR_LEN};
use std::{sync::Arc, time::Duration};

/// Status register 1: an operation is running.
const BUSY: u8 = 1;
/// Status register 1: program and erase are allowed.
const WRITE_ENABLED: u8 = 2;
/// Time that a write of the status registers takes (9.6, tW, typical).
const STATUS_WRITE: Duration = Duration::from_millis(10);

/// The flash chip on the bus.
#[derive(Clone)]
pub(crate) struct FlashChip {
    pub nor: Nor,
    /// Whether operations take time.
    timed: bool,
    status: [u8; 3],
    write_enabled: bool,
    busy_until: Tick,
    /// Ranges changed since they were last asked for.
    changed: Vec<(u32, u32)>,
    /// The first operation that went wrong: the file behind the chip, or its power.
    failed: Option<Arc<NorError>>,
}

impl FlashChip {
    pub fn new(nor: Nor, timed: bool) -> Self {
        Self {
            nor,
            timed,
            status: [0; 3],
            write_enabled: false,
            busy_until: 0,
            changed: Vec::new(),
            failed: None,
        }
    }

    /// Carries out one command: `addr` where the command has one, `out` the bytes sent after it,
    /// `read` how many bytes are then clocked in.
    pub fn command(
        &mut self,
        opcode: u8,
        addr: u32,
        out: &[u8],
        read: usize,
        now: Tick,
    ) -> Vec<u8> {
        let busy = now < self.busy_until;
        // A busy chip only answers status reads (8.2.4).
        let reply: Vec<u8> = match opcode {
            0x05 => vec![self.status_1(now)],
            0x35 => vec![self.status[1]],
            0x15 => vec![self.status[2]],
            _ if busy => Vec::new(),
            0x06 => {
                self.write_enabled = true;
                Vec::new()
            }
            0x04 => {
                self.write_enabled = false;
                Vec::new()
            }
            0x01 => {
                self.write_status(0, out, now);
                Vec::new()
            }
            0x31 => {
                self.write_status(1, out, now);
                Vec::new()
            }
            0x11 => {
                self.write_status(2, out, now);
                Vec::new()
            }
            0x9f => self.nor.jedec().to_vec(),
            // Release from power-down with the device id: one less than the capacity code.
            0xab => vec![self.nor.jedec()[2].wrapping_sub(1)],
            0x90 => vec![self.nor.jedec()[0], self.nor.jedec()[2].wrapping_sub(1)],
            0x5a => self.sfdp(addr, read),
            0x03 | 0x0b | 0x3b | 0x6b | 0xbb | 0xeb => return self.read(addr, read),
            0x02 | 0x32 => {
                self.program(addr, out, now);
                Vec::new()
            }
            0x20 => {
                self.erase(addr, SECTOR_LEN, now);
                Vec::new()
            }
            0x52 => {
                self.erase(addr, BLOCK_32K_LEN, now);
                Vec::new()
            }
            0xd8 => {
                self.erase(addr, BLOCK_64K_LEN, now);
                Vec::new()
            }
            0xc7 | 0x60 => {
                self.erase(0, self.nor.size(), now);
                Vec::new()
            }
            // Resets, power-down, suspend, quad enable and what the chip does not know.
            _ => Vec::new(),
        };
        // What it does not drive reads as ones; what it repeats, it repeats (status, id).
        match (opcode, reply.is_empty()) {
            (_, true) => vec![0xff; read],
            (0x05 | 0x15 | 0x35 | 0x9f | 0x90 | 0xab, _) => {
                reply.iter().copied().cycle().take(read).collect()
            }
            _ => reply,
        }
    }

    /// Bytes from `addr` on; the address wraps at the end of the chip.
    pub fn read(&self, addr: u32, len: usize) -> Vec<u8> {
        let bytes = self.nor.bytes();
        let size = bytes.len().max(1);
        (0..len).map(|i| bytes.get((addr as usize + i) % size).copied().unwrap_or(0xff)).collect()
    }

    /// Page program, where the latch allows it. The latch is cleared by it.
    pub fn program(&mut self, addr: u32, data: &[u8], now: Tick) {
        if !self.write_enabled || data.is_empty() {
            return;
        }
        let addr = addr % self.nor.size().max(1);
        let result = self.nor.program_page(addr, data);
        self.changed.push((addr & !0xff, 0x100));
        self.finish(result, now);
    }

    /// Erase of the `len` bytes around `addr`, where the latch allows it.
    pub fn erase(&mut self, addr: u32, len: u32, now: Tick) {
        if !self.write_enabled {
            return;
        }
        let size = self.nor.size();
        let addr = addr % size.max(1);
        let result = match len {
            SECTOR_LEN => self.nor.erase_sector(addr),
            BLOCK_32K_LEN => self.nor.erase_block32k(addr),
            BLOCK_64K_LEN => self.nor.erase_block(addr),
            _ => self.nor.erase_chip(),
        };
        self.changed.push(if len >= size { (0, size) } else { (addr / len * len, len) });
        self.finish(result, now);
    }

    /// Sets the write-enable latch, as the command 06h does.
    pub fn write_enable(&mut self) {
        self.write_enabled = true;
    }

    /// When the running operation ends; the past if none runs.
    pub fn busy_until(&self) -> Tick {
        self.busy_until
    }

    /// Status register 1 at `now`.
    pub fn status_1(&self, now: Tick) -> u8 {
        let busy = if now < self.busy_until { BUSY } else { 0 };
        let enabled = if self.write_enabled { WRITE_ENABLED } else { 0 };
        self.status[0] & !(BUSY | WRITE_ENABLED) | busy | enabled
    }

    /// A range of contents that changed since the last call.
    pub fn take_change(&mut self) -> Option<(u32, u32)> {
        self.changed.pop()
    }

    /// What went wrong behind the chip's back.
    pub fn take_failure(&mut self) -> Option<Arc<NorError>> {
        self.failed.take()
    }

    /// Power was off: the latch and volatile state are gone.
    pub fn power_cycle(&mut self) {
        self.write_enabled = false;
        self.busy_until = 0;
    }

    fn write_status(&mut self, first: usize, out: &[u8], now: Tick) {
        if !self.write_enabled {
            return;
        }
        for (register, value) in self.status.iter_mut().skip(first).zip(out) {
            *register = *value;
        }
        self.finish(Ok(STATUS_WRITE), now);
    }

    fn finish(&mut self, result: Result<Duration, NorError>, now: Tick) {
        self.write_enabled = false;
        match result {
            Ok(time) if self.timed => self.busy_until = now.saturating_add(ticks(time)),
            Ok(_) => {}
            Err(error) => {
                self.failed.get_or_insert_with(|| Arc::new(error));
            }
        }
    }

    /// The least table of JESD216: header, one parameter header, and the density.
    fn sfdp(&self, addr: u32, len: usize) -> Vec<u8> {
        let mut table = [0xff_u8; 0x80 + 36];
        // Signature, revision 1.5, one parameter header (number 0).
        table[..8].copy_from_slice(b"SFDP\x05\x01\x00\xff");
        // Basic flash parameters: id 0xff00, revision 1.0, 9 words at 0x80.
        table[8..16].copy_from_slice(&[0x00, 0x00, 0x01, 0x09, 0x80, 0x00, 0x00, 0xff]);
        // Word 1: 4 KiB erase by 20h, 64-byte or larger writes, dual and quad reads.
        table[0x80..0x84].copy_from_slice(&[0xe5, 0x20, 0xf9, 0xff]);
        // Word 2: the density in bits, less one.
        let bits = (u64::from(self.nor.size()) * 8 - 1) as u32;
        table[0x84..0x88].copy_from_slice(&bits.to_le_bytes());
        // Words 8 and 9: erase types 4 KiB, 32 KiB, 64 KiB.
        table[0x9c..0xa4].copy_from_slice(&[0x0c, 0x20, 0x0f, 0x52, 0x10, 0xd8, 0x00, 0x00]);
        (0..len).map(|i| table.get(addr as usize + i).copied().unwrap_or(0xff)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chip() -> FlashChip {
        let sim = esplice_chip::find("esp32c3").unwrap().sim.as_ref().unwrap();
        FlashChip::new(Nor::in_memory(sim.flash.size(), &sim.flash), true)
    }

    #[test]
    fn commands_answer_as_the_data_sheet_says() {
        let mut chip = chip();
        for (opcode, addr, read, expected) in [
            (0x9f, 0, 3, vec![0xef, 0x40, 0x16]),
            (0x9f, 0, 4, vec![0xef, 0x40, 0x16, 0xef]),
            (0xab, 0, 1, vec![0x15]),
            (0x05, 0, 2, vec![0, 0]),
            (0x5a, 0, 4, b"SFDP".to_vec()),
            (0x5a, 0x84, 4, vec![0xff, 0xff, 0xff, 0x01]),
            (0x03, 0x3f_ffff, 2, vec![0xff, 0xff]),
            (0xee, 0, 1, vec![0xff]),
        ] {
            assert_eq!(chip.command(opcode, addr, &[], read, 0), expected, "{opcode:#04x}");
        }
    }

    #[test]
    fn without_time_the_chip_is_never_busy() {
        let mut chip = FlashChip { timed: false, ..chip() };
        for opcode in [0xd8, 0x20, 0x02, 0x01] {
            chip.command(0x06, 0, &[], 0, 7);
            chip.command(opcode, 0, &[0], 0, 7);
            assert_eq!((chip.status_1(7), chip.busy_until()), (0, 0), "{opcode:#04x}");
        }
    }

    #[test]
    fn writes_need_the_latch_and_take_time() {
        let mut chip = chip();
        chip.command(0x02, 0x1000, &[0x12], 0, 0);
        assert_eq!(chip.read(0x1000, 1), [0xff]);
        chip.command(0x06, 0, &[], 0, 0);
        assert_eq!(chip.status_1(0), WRITE_ENABLED);
        chip.command(0x02, 0x1000, &[0x12], 0, 0);
        assert_eq!(chip.read(0x1000, 1), [0x12]);
        assert_eq!(chip.status_1(0), BUSY);
        // Busy: the erase is not heard.
        chip.command(0x06, 0, &[], 0, 0);
        chip.command(0x20, 0x1000, &[], 0, 0);
        assert_eq!(chip.read(0x1000, 1), [0x12]);
        let later = chip.busy_until();
        assert_eq!(chip.status_1(later), 0);
        chip.command(0x06, 0, &[], 0, later);
        chip.command(0x20, 0x1fff, &[], 0, later);
        assert_eq!(chip.read(0x1000, 1), [0xff]);
        assert_eq!(chip.busy_until() - later, ticks(Duration::from_micros(45_000)));
    }
}
