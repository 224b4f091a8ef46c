//! The commands.

use esplice_stub::wire::{
    self, BLOCK, BLOCKS, HASH_LEN, RANGE_LEN, SECTOR, VERSION, WINDOW, reason,
};

use crate::{
    chip::{self, Clocks},
    erase,
    flash::Flash,
    hash::{self, Sha},
    link::{self, Link, word},
    parts::{self, Part},
    usual,
    write::Writer,
};

// The loader's commands (esptool documentation, "Serial Protocol").
pub const FLASH_BEGIN: u8 = 0x02;
pub const FLASH_DATA: u8 = 0x03;
pub const FLASH_END: u8 = 0x04;
const MEM_BEGIN: u8 = 0x05;
const MEM_END: u8 = 0x06;
const MEM_DATA: u8 = 0x07;
pub const SYNC: u8 = 0x08;
const WRITE_REG: u8 = 0x09;
const READ_REG: u8 = 0x0a;
const SPI_SET_PARAMS: u8 = 0x0b;
const SPI_ATTACH: u8 = 0x0d;
const CHANGE_BAUDRATE: u8 = 0x0f;
pub const DEFL_BEGIN: u8 = 0x10;
pub const DEFL_DATA: u8 = 0x11;
pub const DEFL_END: u8 = 0x12;
pub const MD5: u8 = 0x13;
const ERASE_FLASH: u8 = 0xd0;
const ERASE_REGION: u8 = 0xd1;
pub const READ_FLASH: u8 = 0xd2;
const RUN: u8 = 0xd3;

/// Replies to one SYNC, as those of ROM loaders.
const SYNC_REPLIES: usize = 8;
/// Seed of the checksum over a block.
const CHECKSUM: u8 = 0xef;
/// Size of the flash until SPI_SET_PARAMS sets it: the most that three address bytes reach.
const DEFAULT_SIZE: u32 = 1 << 24;
/// Start of the payload in a block of the usual commands, after both headers.
pub const PAYLOAD: usize = 8 + 16;
/// Most sectors of one answer, whose length has 16 bits.
const MOST_SECTORS: u32 = 0x1ff0;

/// Everything that the stub keeps between requests.
#[derive(Default)]
pub struct Stub {
    pub link: Link,
    pub flash: Flash,
    pub writer: Writer,
    clocks: Clocks,
    /// The block of the usual commands that is expected next.
    pub sequence: u32,
    /// A program for the RAM: its start, end, and block length.
    program: [u32; 3],
    /// Milliseconds without a request until the stub resets the chip; 0 for ever.
    idle_ms: u32,
    /// Parts of the stub that are known to be complete, a bit each.
    loaded: u32,
    since: u32,
    waited_ms: u32,
}

impl Stub {
    pub fn run(&mut self) -> ! {
        self.clocks.raise();
        self.flash.set_size(DEFAULT_SIZE);
        // esptool expects a stub to have done this.
        self.flash.attach(0);
        self.link.greet();
        let mut pending = None;
        loop {
            if let Some(len) = pending.take().or_else(|| self.link.receive()) {
                pending = self.handle(len);
                self.since = chip::micros();
                self.waited_ms = 0;
            }
            if self.writer.is_active() {
                self.writer.step(&mut self.flash);
                if self.writer.has_news() {
                    self.writer.acknowledge(wire::DATA, &mut self.link);
                }
            }
            self.watch_idle();
        }
    }

    #[inline(never)]
    fn watch_idle(&mut self) {
        const STEP_MS: u32 = 64;
        if self.idle_ms != 0 && chip::elapsed(self.since) >= STEP_MS * 1000 {
            self.since = chip::micros();
            self.waited_ms += STEP_MS;
            if self.waited_ms >= self.idle_ms {
                self.leave();
            }
        }
    }

    #[inline(never)]
    pub fn leave(&mut self) -> ! {
        self.link.drain();
        self.clocks.restore();
        chip::reset()
    }

    /// Carries out a request. Returns the length of another one that ended it.
    #[inline(never)]
    fn handle(&mut self, len: usize) -> Option<usize> {
        let opcode = link::byte(1);
        let announced = usize::from(link::byte(2)) | usize::from(link::byte(3)) << 8;
        let result =
            if announced + 8 == len { self.dispatch(opcode, len) } else { Err(reason::LENGTH) };
        result.unwrap_or_else(|reason| {
            self.link.reply(opcode, 0, reason);
            None
        })
    }

    #[inline(never)]
    fn dispatch(&mut self, opcode: u8, len: usize) -> Result<Option<usize>, u8> {
        let least = match opcode {
            FLASH_BEGIN
            | DEFL_BEGIN
            | MEM_BEGIN
            | FLASH_DATA
            | DEFL_DATA
            | MEM_DATA
            | WRITE_REG
            | MD5
            | READ_FLASH
            | wire::WRITE => 4,
            wire::READ => 3,
            MEM_END | CHANGE_BAUDRATE | ERASE_REGION | SPI_SET_PARAMS | wire::DATA => 2,
            FLASH_END | DEFL_END | READ_REG | SPI_ATTACH | wire::IDLE | wire::CLOCKS => 1,
            _ => 0,
        };
        let words = (len - 8) / 4;
        if words < least {
            return Err(reason::LENGTH);
        }
        let w = [word(0), word(1), word(2), word(3)];
        // Whatever else may touch the flash waits for a write, or ends it.
        if !matches!(
            opcode,
            FLASH_DATA
                | DEFL_DATA
                | SYNC
                | CHANGE_BAUDRATE
                | RUN
                | wire::DATA
                | wire::FINISH
                | wire::INFO
                | wire::IDLE
        ) {
            self.settle()?;
        }
        let mut value = 0;
        match opcode {
            SYNC => {
                for _ in 1..SYNC_REPLIES {
                    self.link.reply(opcode, 0, 0);
                }
            }
            READ_REG => {
                self.flash.single_lines();
                value = chip::read(w[0]);
            }
            WRITE_REG => self.write_registers(words / 4),
            SPI_ATTACH => self.flash.attach(w[0]),
            SPI_SET_PARAMS => self.flash.set_size(w[1]),
            CHANGE_BAUDRATE => {
                self.link.reply(opcode, 0, 0);
                self.link.set_baud(w[0], w[1]);
                return Ok(None);
            }
            MEM_BEGIN => self.begin_program(w)?,
            MEM_DATA => self.program_block(len)?,
            MEM_END => {
                if w[0] == 0 {
                    self.run_program(w[1])?;
                }
            }
            ERASE_FLASH => {
                self.flash.erase_chip()?;
                self.flash.wait(&mut self.link)?;
            }
            ERASE_REGION => {
                self.need(Part::Writer)?;
                erase::region(w[0], w[1], &mut self.flash, &mut self.link)?;
            }
            RUN => self.leave(),
            wire::INFO => {
                let [first, end] = chip::PROGRAM_RAM[0];
                let (block, blocks, window) = (BLOCK as u32, BLOCKS as u32, WINDOW as u32);
                let mhz = self.clocks.mhz();
                let info = [VERSION, block, blocks, window, wire::CODERS, mhz, first, end];
                self.link.reply_words(opcode, &info);
                return Ok(None);
            }
            wire::HASH | wire::BLANK => {
                self.survey(opcode, words / 2)?;
                return Ok(None);
            }
            wire::WRITE => {
                self.need(Part::Writer)?;
                if w[0] == wire::ZLIB {
                    self.need(Part::Extras)?;
                }
                self.begin_write(w[3] as usize, len)?;
                self.writer.acknowledge(opcode, &mut self.link);
                return Ok(None);
            }
            wire::DATA => {
                if self.link.crc(16, len) ^ w[0] == w[1] && self.writer.is_active() {
                    self.writer.accept(w[0], 16, len, &mut self.link);
                }
                // Without a write there is no writer, perhaps.
                if self.writer.is_active() {
                    self.writer.acknowledge(opcode, &mut self.link);
                } else {
                    self.link.reply_words(opcode, &[0, 0, 0, u32::from(reason::NO_WRITE)]);
                }
                return Ok(None);
            }
            wire::FINISH => {
                self.finish()?;
                return Ok(None);
            }
            wire::IDLE => {
                self.idle_ms = w[0];
                self.link.reply_words(opcode, &[]);
                return Ok(None);
            }
            wire::CLOCKS => {
                if w[0] != 0 {
                    self.clocks.raise()
                } else {
                    self.clocks.restore()
                }
                self.link.reply_words(opcode, &[self.clocks.mhz()]);
                return Ok(None);
            }
            _ => {
                self.need(Part::Extras)?;
                return usual::dispatch(self, opcode, len);
            }
        }
        self.link.reply(opcode, value, 0);
        Ok(None)
    }

    /// Checks that a part of the stub has been uploaded.
    pub fn need(&mut self, part: Part) -> Result<(), u8> {
        let bit = 1 << part as u32;
        if self.loaded & bit == 0 {
            if !parts::is_complete(part) {
                return Err(reason::PART);
            }
            self.loaded |= bit;
        }
        Ok(())
    }

    /// Lets a write of the usual commands end, and abandons one of our own.
    #[inline(never)]
    fn settle(&mut self) -> Result<(), u8> {
        if self.writer.is_active() && self.writer.is_open_ended() {
            return self.writer.finish(&mut self.flash, &mut self.link);
        }
        self.writer.abandon();
        self.flash.wait(&mut self.link)
    }

    #[inline(never)]
    fn write_registers(&mut self, count: usize) {
        self.flash.single_lines();
        for index in 0..count {
            let place = 4 * index;
            let (addr, value) = (word(place), word(place + 1));
            let (mask, us) = (word(place + 2), word(place + 3));
            chip::delay(us.min(1_000_000));
            if mask == !0 {
                chip::write(addr, value);
            } else {
                chip::modify(addr, value, mask);
            }
        }
    }

    /// Checks length and checksum of a block of the usual commands.
    #[inline(never)]
    pub fn check_block(&mut self, len: usize) -> Result<(), u8> {
        if word(0) as usize != len.wrapping_sub(PAYLOAD) {
            return Err(reason::LENGTH);
        }
        let mut sum = CHECKSUM;
        self.link.each(PAYLOAD, len, |byte| sum ^= byte);
        if sum == link::byte(4) { Ok(()) } else { Err(reason::CHECKSUM) }
    }

    #[inline(never)]
    fn begin_program(&mut self, w: [u32; 4]) -> Result<(), u8> {
        let [len, _, block, addr] = w;
        let end = addr.checked_add(len).ok_or(reason::RANGE)?;
        let own = self.writer.is_active() || !parts::contains(addr, end);
        let free = chip::PROGRAM_RAM.iter().any(|[first, last]| addr >= *first && end <= *last);
        if own && !free {
            return Err(reason::RANGE);
        }
        self.program = [addr, end, block];
        Ok(())
    }

    #[inline(never)]
    fn program_block(&mut self, len: usize) -> Result<(), u8> {
        self.check_block(len)?;
        let [first, end, block] = self.program;
        let place = word(1).checked_mul(block).and_then(|at| at.checked_add(first));
        let mut place = place.ok_or(reason::RANGE)?;
        if place.checked_add(word(0)).is_none_or(|last| last > end) {
            return Err(reason::RANGE);
        }
        self.link.each(PAYLOAD, len, |byte| {
            // SAFETY: MEM_BEGIN checked that the range is RAM that the stub does not use.
            unsafe { (place as *mut u8).write_volatile(byte) }
            place += 1;
        });
        Ok(())
    }

    #[inline(never)]
    fn run_program(&mut self, entry: u32) -> Result<(), u8> {
        let [first, end, _] = self.program;
        if entry < first || entry >= end || entry & 1 != 0 {
            return Err(reason::RANGE);
        }
        self.link.reply(MEM_END, 0, 0);
        self.link.drain();
        self.clocks.restore();
        // SAFETY: the host asked to run what it has loaded there.
        let program: extern "C" fn() = unsafe { core::mem::transmute(entry as usize) };
        program();
        self.leave()
    }

    /// Answers with hashes of sectors, or with a bit for each.
    #[inline(never)]
    fn survey(&mut self, opcode: u8, ranges: usize) -> Result<(), u8> {
        let mut sectors = 0_u32;
        for index in 0..ranges {
            let (offset, len) = (word(2 * index), word(2 * index + 1));
            self.flash.check(offset, len)?;
            sectors += len.div_ceil(SECTOR);
        }
        if sectors > MOST_SECTORS {
            return Err(reason::LENGTH);
        }
        let hashes = opcode == wire::HASH;
        let len = if hashes { sectors as usize * HASH_LEN } else { sectors.div_ceil(8) as usize };
        self.link.begin(opcode, 0, len + 6);
        let (mut bits, mut count) = (0_u8, 0_u32);
        for index in 0..ranges {
            let (mut offset, len) = (word(2 * index), word(2 * index + 1));
            let end = offset + len;
            while offset < end {
                let piece = (end - offset).min(SECTOR);
                let Stub { flash, link, .. } = self;
                if hashes {
                    let mut sha = Sha::default();
                    sha.start();
                    flash.hash(offset, piece, &mut sha, link);
                    sha.finish();
                    for place in 0..HASH_LEN / 4 {
                        link.put_word(chip::read(hash::H + 4 * place as u32));
                    }
                } else {
                    let mut blank = true;
                    flash.each(offset, piece, link, |_, bytes| {
                        blank &= bytes.iter().all(|byte| *byte == 0xff);
                    });
                    bits = bits >> 1 | u8::from(!blank) << 7;
                    count += 1;
                    if count & 7 == 0 || count == sectors {
                        // The first of fewer than eight bits is the lowest, too.
                        link.put(&[bits >> (count.wrapping_neg() & 7)]);
                        bits = 0;
                    }
                }
                offset += piece;
            }
        }
        self.link.end_checked();
        Ok(())
    }

    #[inline(never)]
    fn begin_write(&mut self, ranges: usize, len: usize) -> Result<(), u8> {
        if ranges > wire::RANGES || len != 8 + 16 + ranges * RANGE_LEN + 4 {
            return Err(reason::LENGTH);
        }
        if self.link.crc(8, len - 4) != word((len - 12) / 4) {
            return Err(reason::CHECKSUM);
        }
        self.writer.begin(&self.flash)
    }

    #[inline(never)]
    fn finish(&mut self) -> Result<(), u8> {
        if !self.writer.is_active() {
            return Err(reason::NO_WRITE);
        }
        if self.writer.failure() == 0 && !self.writer.has_all() {
            return Err(reason::SHORT);
        }
        self.writer.finish(&mut self.flash, &mut self.link)?;
        let Flash { erased_sectors, erased_blocks, programmed, .. } = self.flash;
        self.link.reply_words(wire::FINISH, &[erased_sectors, erased_blocks, programmed]);
        Ok(())
    }
}
