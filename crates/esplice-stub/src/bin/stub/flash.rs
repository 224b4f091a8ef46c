//! The flash chip, through transactions of the SPI1 controller (TRM, SPI Controller).

use esplice_stub::wire::reason;

use crate::{
    chip::{
        self, SPI, SPI_ADDR, SPI_CMD, SPI_MISO_DLEN, SPI_MOSI_DLEN, SPI_USR, SPI_USR1, SPI_USR2,
        SPI_W0,
    },
    hash::Sha,
    link::Link,
};

/// CTRL: lines for reads. The other bits keep the values that the ROM gave them.
const CTRL: u32 = SPI + 0x08;
const LINES: u32 = 1 << 24 | 1 << 23 | 1 << 20 | 1 << 14 | 1 << 13;
const DUAL_OUTPUT: u32 = 1 << 14 | 1 << 13;
const CLOCK: u32 = SPI + 0x14;

const CMD: u32 = SPI + SPI_CMD;
const USR: u32 = 1 << 18;

// Phases, in USER.
const COMMAND: u32 = 1 << 31;
const ADDR: u32 = 1 << 30;
const DUMMY: u32 = 1 << 29;
const MISO: u32 = 1 << 28;
const MOSI: u32 = 1 << 27;

// Commands of serial NOR flash (Winbond W25Q32JV datasheet, 8.1.2).
const WRITE_ENABLE: u8 = 0x06;
const READ_STATUS: u8 = 0x05;
const PROGRAM: u8 = 0x02;
const READ_DUAL_OUTPUT: u8 = 0x3b;
const ERASE_SECTOR: u8 = 0x20;
const ERASE_BLOCK: u8 = 0xd8;
const ERASE_CHIP: u8 = 0xc7;

// Status register 1.
const WRITING: u32 = 1 << 0;
const WRITE_ENABLED: u32 = 1 << 1;
/// Block protect bits.
const PROTECTED: u32 = 7 << 2;

/// Bytes of one transaction's data.
pub const CHUNK: usize = 64;
pub const SECTOR: u32 = 0x1000;
pub const BLOCK: u32 = 0x1_0000;

/// Longest times (Winbond W25Q32JV datasheet, 9.6, maxima, and more, for other chips): a page, a
/// sector, a block, a chip.
const PROGRAM_US: u32 = 100_000;
const ERASE_US: u32 = 8_000_000;
const ERASE_CHIP_US: u32 = 250_000_000;

/// Setup of the controller.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    #[default]
    Unknown,
    Single,
    Reads,
}

/// The flash chip and the operation that it carries out.
#[derive(Default)]
pub struct Flash {
    /// Length in bytes; nothing beyond is touched.
    pub size: u32,
    mode: Mode,
    /// Start and longest time of the operation that runs.
    since: u32,
    limit: u32,
    busy: bool,
    pub erased_sectors: u32,
    pub erased_blocks: u32,
    pub programmed: u32,
}

/// Commands use three address bytes.
const LARGEST: u32 = 1 << 24;

impl Flash {
    pub fn set_size(&mut self, size: u32) {
        self.size = size.min(LARGEST);
    }

    /// Sets up the pins, by the ROM's function.
    pub fn attach(&mut self, pins: u32) {
        let clock = chip::read(CLOCK);
        // SAFETY: the address and the arguments are those of the chip's ROM.
        let attach: extern "C" fn(u32, u32) =
            unsafe { core::mem::transmute(chip::ROM_ATTACH as usize) };
        attach(pins, 0);
        chip::write(CLOCK, clock);
        self.mode = Mode::Unknown;
    }

    /// Checks that a range lies within the flash.
    pub fn check(&self, offset: u32, len: u32) -> Result<(), u8> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(reason::RANGE),
        }
    }

    fn run(&mut self, phases: u32, opcode: u8) {
        chip::write(SPI + SPI_USR, phases);
        chip::write(SPI + SPI_USR2, 7 << 28 | u32::from(opcode));
        chip::write(CMD, USR);
        while chip::read(CMD) & USR != 0 {}
    }

    /// Sets the controller up for transactions on single lines, also those that the host makes
    /// through the registers.
    pub fn single_lines(&mut self) {
        if self.mode != Mode::Single {
            chip::modify(CTRL, 0, LINES);
            self.mode = Mode::Single;
        }
    }

    fn status(&mut self) -> u32 {
        self.single_lines();
        chip::write(SPI + SPI_MISO_DLEN, 7);
        self.run(COMMAND | MISO, READ_STATUS);
        chip::read(SPI + SPI_W0) & 0xff
    }

    /// Returns true while the flash chip erases or programs.
    ///
    /// # Errors
    /// [`reason::BUSY`] if that takes too long.
    pub fn is_busy(&mut self) -> Result<bool, u8> {
        if self.busy {
            if self.status() & WRITING == 0 {
                self.busy = false;
            } else if chip::elapsed(self.since) > self.limit {
                return Err(reason::BUSY);
            }
        }
        Ok(self.busy)
    }

    /// Waits until the flash chip is idle.
    pub fn wait(&mut self, link: &mut Link) -> Result<(), u8> {
        while self.is_busy()? {
            link.poll();
        }
        Ok(())
    }

    /// Starts an operation that takes up to `limit` microseconds.
    fn start(&mut self, phases: u32, opcode: u8, limit: u32) {
        self.run(phases, opcode);
        self.busy = true;
        self.limit = limit;
        self.since = chip::micros();
    }

    fn enable(&mut self) -> Result<(), u8> {
        self.single_lines();
        self.run(COMMAND, WRITE_ENABLE);
        let status = self.status();
        if status & WRITE_ENABLED == 0 { Err(reason::PROTECTED) } else { Ok(()) }
    }

    /// Returns the reason why the flash holds other bytes than were written.
    pub fn why_wrong(&mut self) -> u8 {
        if self.status() & PROTECTED != 0 { reason::PROTECTED } else { reason::VERIFY }
    }

    /// Starts to erase the sector at `offset`, or the block.
    pub fn erase(&mut self, offset: u32, block: bool) -> Result<(), u8> {
        self.enable()?;
        chip::write(SPI + SPI_ADDR, offset);
        chip::write(SPI + SPI_USR1, 23 << 26);
        if block {
            self.erased_blocks += 1;
        } else {
            self.erased_sectors += 1;
        }
        let opcode = if block { ERASE_BLOCK } else { ERASE_SECTOR };
        self.start(COMMAND | ADDR, opcode, ERASE_US);
        Ok(())
    }

    pub fn erase_chip(&mut self) -> Result<(), u8> {
        self.enable()?;
        self.start(COMMAND, ERASE_CHIP, ERASE_CHIP_US);
        Ok(())
    }

    /// Starts to program up to [`CHUNK`] bytes that lie within a page.
    pub fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), u8> {
        self.enable()?;
        self.programmed += bytes.len() as u32;
        let (mut place, mut word) = (SPI + SPI_W0, 0);
        for (at, byte) in bytes.iter().enumerate() {
            word = word >> 8 | u32::from(*byte) << 24;
            if at & 3 == 3 {
                chip::write(place, word);
                place += 4;
            }
        }
        // The last bytes may fill only a part of a word.
        chip::write(place, word >> ((8 * (bytes.len() as u32).wrapping_neg()) & 24));
        chip::write(SPI + SPI_ADDR, offset);
        chip::write(SPI + SPI_USR1, 23 << 26);
        chip::write(SPI + SPI_MOSI_DLEN, bytes.len() as u32 * 8 - 1);
        self.start(COMMAND | ADDR | MOSI, PROGRAM, PROGRAM_US);
        Ok(())
    }

    /// Starts to read `len` bytes, at most [`CHUNK`], into the controller's buffer, and waits for
    /// them. The flash chip must be idle.
    #[inline(never)]
    fn fetch(&mut self, offset: u32, len: u32) {
        if self.mode != Mode::Reads {
            chip::modify(CTRL, DUAL_OUTPUT, LINES);
            chip::write(SPI + SPI_USR1, 23 << 26 | 7);
            chip::write(SPI + SPI_USR, COMMAND | ADDR | DUMMY | MISO);
            chip::write(SPI + SPI_USR2, 7 << 28 | u32::from(READ_DUAL_OUTPUT));
            self.mode = Mode::Reads;
        }
        chip::write(SPI + SPI_ADDR, offset);
        chip::write(SPI + SPI_MISO_DLEN, len * 8 - 1);
        chip::write(CMD, USR);
        while chip::read(CMD) & USR != 0 {}
    }

    /// Reads up to [`CHUNK`] bytes. The flash chip must be idle.
    #[inline(never)]
    pub fn read(&mut self, offset: u32, to: &mut [u8]) {
        self.fetch(offset, to.len() as u32);
        let (mut place, mut word) = (SPI + SPI_W0, 0);
        for (at, to) in to.iter_mut().enumerate() {
            if at & 3 == 0 {
                word = chip::read(place);
                place += 4;
            }
            *to = word as u8;
            word >>= 8;
        }
    }

    /// Adds [`CHUNK`] bytes to a hash, which must have whole blocks so far.
    pub fn hash_chunk(&mut self, offset: u32, sha: &mut Sha) {
        self.fetch(offset, CHUNK as u32);
        sha.block(SPI + SPI_W0);
    }

    /// Adds a range to a hash.
    #[inline(never)]
    pub fn hash(&mut self, mut offset: u32, mut len: u32, sha: &mut Sha, link: &mut Link) {
        // Whole blocks go from one controller to the other.
        while len >= CHUNK as u32 {
            self.hash_chunk(offset, sha);
            link.poll();
            offset += CHUNK as u32;
            len -= CHUNK as u32;
        }
        self.each(offset, len, link, |_, bytes| sha.update(bytes));
    }

    /// Returns true if [`CHUNK`] bytes at `offset` are blank. The flash chip must be idle.
    #[inline(never)]
    pub fn is_blank(&mut self, offset: u32) -> bool {
        self.fetch(offset, CHUNK as u32);
        (0..CHUNK as u32).step_by(4).all(|at| chip::read(SPI + SPI_W0 + at) == !0)
    }

    /// Calls `with` for every piece of a range. The flash chip must be idle.
    pub fn each(
        &mut self,
        offset: u32,
        len: u32,
        link: &mut Link,
        mut with: impl FnMut(&mut Link, &[u8]),
    ) {
        let mut done = 0;
        let mut bytes = [0; CHUNK];
        while done < len {
            let piece = (len - done).min(CHUNK as u32);
            let bytes = bytes.get_mut(..piece as usize).unwrap_or_default();
            self.read(offset + done, bytes);
            with(link, bytes);
            link.poll();
            done += piece;
        }
    }
}
