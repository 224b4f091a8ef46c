//! The commands of the serial loader.

use esplice_chip::Chip;
use esplice_protocol::{Opcode, READ_FLASH_SLOW_LEN, SecurityInfo};
use md5::{Digest, Md5};

use super::{
    BLOCK_HEADER, CommandOutcome, DATA, Effects, Loader, LoaderTarget, PAYLOAD, Session,
    inflate::Inflated,
    reason,
    spi_flash::{self, Geometry, SpiError},
};

/// Length of an MD5 in hex digits.
const MD5_HEX_LEN: usize = 32;
/// Bytes that the ROM's MD5 reads at a time.
const MD5_PIECE: u32 = 128;
/// Most bytes whose MD5 is computed; no chip is this large.
const MD5_MOST: u32 = 64 << 20;
/// CPU cycles that the ROM spends on a byte, counted by executing its code at one instruction per
/// cycle. Taking bytes off the line (21 cycles each) is not included because it overlaps with their
/// arrival.
mod cycles {
    /// Checksum of a block, per byte.
    pub const CHECKSUM: u64 = 6;
    /// MD5 of flash, per byte.
    pub const MD5: u64 = 15;
    /// A byte of a zlib stream with Huffman codes; stored bytes are cheaper.
    pub const INFLATE_IN: u64 = 32;
    /// A byte of inflated output.
    pub const INFLATE_OUT: u64 = 10;
}
/// The key purpose of a key block that does not exist (ROM, `ets_efuse_get_key_purpose`).
const NO_KEY_PURPOSE: u8 = 12;
/// eFuse fields of the GET_SECURITY_INFO flags, by bit (ROM, `GetSecurityInfoProc`). A flag is set
/// if an odd number of the field's bits is.
const SECURITY_FLAGS: [(u32, &str); 9] = [
    (0, "secure-boot-en"),
    (1, "secure-boot-aggressive-revoke"),
    (2, "enable-security-download"),
    (3, "secure-boot-key-revoke0"),
    (4, "secure-boot-key-revoke1"),
    (5, "secure-boot-key-revoke2"),
    (6, "soft-dis-jtag"),
    (7, "dis-pad-jtag"),
    (10, "dis-download-icache"),
];

impl Loader {
    /// Performs one command.
    pub(super) fn perform(
        &mut self,
        opcode: Opcode,
        target: &mut dyn LoaderTarget,
        effects: &mut Effects,
    ) -> CommandOutcome {
        tracing::trace!(?opcode, "the virtual board's loader performs a command");
        match opcode {
            Opcode::Sync => {
                self.put_reply(4, &self.data_word(0).to_le_bytes());
                self.succeed()
            }
            Opcode::ReadReg => {
                let value = target.read32(self.data_word(0));
                self.put_reply(4, &value.to_le_bytes());
                self.succeed()
            }
            Opcode::WriteReg => self.write_registers(target, effects),
            Opcode::MemBegin => self.mem_begin(),
            Opcode::MemData => self.mem_data(target, effects),
            Opcode::MemEnd => {
                if self.declared_len() > 8 {
                    return self.refuse(reason::INVALID);
                }
                if self.data_byte(0) == 0 {
                    effects.leave_for = Some(self.data_word(1));
                }
                CommandOutcome::Done
            }
            Opcode::FlashBegin => self.flash_begin(false, target, effects),
            Opcode::FlashDeflBegin => self.flash_begin(true, target, effects),
            Opcode::FlashData => self.flash_data(target, effects),
            Opcode::FlashDeflData => self.flash_defl_data(target, effects),
            Opcode::FlashEnd => {
                let end = self.flash_end(self.raw, self.raw.written, target, effects);
                // The loader is left even if this is refused.
                effects.leave_for = Some(0);
                end
            }
            Opcode::FlashDeflEnd => {
                self.flash_end(self.deflated, self.deflated.total, target, effects)
            }
            Opcode::SpiSetParams => {
                if self.declared_len() != 24 {
                    return self.refuse(reason::INVALID);
                }
                let [size, block, sector, page] = [1, 2, 3, 4].map(|word| self.data_word(word));
                self.flash = Geometry { size, block, sector, page };
                CommandOutcome::Done
            }
            Opcode::SpiAttach => {
                target.attach();
                self.succeed()
            }
            Opcode::ReadFlashSlow => self.read_flash(target, effects),
            Opcode::ChangeBaudrate => {
                let new = self.data_word(0);
                // If the second word's low byte is set, the first word is the divider itself.
                effects.divider = match self.data_byte(4) {
                    0 => self.uart_clock_sixteenths().checked_div(new).unwrap_or(u32::MAX),
                    _ => new,
                };
                self.succeed()
            }
            Opcode::SpiFlashMd5 => self.flash_md5(target, effects),
            Opcode::GetSecurityInfo => self.security_info(target, effects),
            // Commands of stubs.
            _ => self.refuse(reason::INVALID),
        }
    }

    fn write_registers(
        &mut self,
        target: &mut dyn LoaderTarget,
        effects: &mut Effects,
    ) -> CommandOutcome {
        for entry in 0..self.declared_len() / 16 {
            let [addr, value, mask, delay] =
                [0, 1, 2, 3].map(|word| self.data_word(entry as usize * 4 + word));
            // The delay counts cycles (ROM, `ets_delay_us`) of the clock after a reset.
            effects.cycles += u64::from(delay) * u64::from(self.chip.boot_cpu_mhz);
            let old = target.read32(addr);
            target.write32(addr, (old & !mask) | (value & mask));
        }
        self.succeed()
    }

    fn mem_begin(&mut self) -> CommandOutcome {
        if self.declared_len() != 16 || self.data_word(2) > self.chip.loader.ram_block {
            return self.refuse(reason::INVALID);
        }
        self.raw = self.announced();
        CommandOutcome::Done
    }

    fn mem_data(&mut self, target: &mut dyn LoaderTarget, effects: &mut Effects) -> CommandOutcome {
        let len = match self.block(self.raw) {
            Ok(len) => len,
            Err(end) => return end,
        };
        self.raw.sequence = self.raw.sequence.wrapping_add(1);
        effects.cycles += u64::from(len) * cycles::CHECKSUM;
        if !self.checksum_holds(len) {
            return self.refuse(reason::CHECKSUM);
        }
        // If the range wraps past the end of the address space, the ROM's memcpy copies nothing.
        let wraps = self.raw.place.checked_add(len).is_none();
        if copies_without_end(self.raw.place, len) {
            return CommandOutcome::Stuck;
        }
        if len > 0 && !wraps && !target.write_ram(self.raw.place, self.payload(len)) {
            // The ROM copies without a check, also to registers and unmapped addresses.
            let place = self.raw.place;
            let words: Vec<u32> = self
                .payload(len)
                .chunks_exact(4)
                .map(|bytes| bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)))
                .collect();
            for (addr, word) in (place..).step_by(4).zip(words) {
                target.write32(addr, word);
            }
        }
        self.raw.advance(len);
        CommandOutcome::Done
    }

    fn flash_begin(
        &mut self,
        deflated: bool,
        target: &mut dyn LoaderTarget,
        effects: &mut Effects,
    ) -> CommandOutcome {
        if self.declared_len() != 20 || self.data_word(2) > self.chip.loader.ram_block {
            return self.refuse(reason::INVALID);
        }
        if self.data_word(4) != 0 {
            return self.refuse(reason::ENCRYPT);
        }
        let session = self.announced();
        if deflated {
            self.deflated = session;
            self.inflater.restart();
        } else {
            self.raw = session;
        }
        match self.flash.erase_area(target, session.place, session.total, effects) {
            Ok(()) => CommandOutcome::Done,
            Err(SpiError::Refused) => self.refuse(reason::FAILED),
            Err(error) => error.into(),
        }
    }

    fn flash_data(
        &mut self,
        target: &mut dyn LoaderTarget,
        effects: &mut Effects,
    ) -> CommandOutcome {
        let len = match self.block(self.raw) {
            Ok(len) if len.is_multiple_of(4) => len,
            Ok(_) => return self.refuse(reason::INVALID),
            Err(end) => return end,
        };
        self.raw.sequence = self.raw.sequence.wrapping_add(1);
        // Once before the write and once over the data read back.
        effects.cycles += 2 * u64::from(len) * cycles::CHECKSUM;
        if !self.checksum_holds(len) {
            return self.refuse(reason::CHECKSUM);
        }
        // The ROM ignores the result of the write. It reads back over the block instead, and a
        // refused read leaves the block as it was.
        let mut found = self.payload(len).to_vec();
        match self.flash.write(target, self.raw.place, self.payload(len), effects) {
            Ok(()) | Err(SpiError::Refused) => {}
            Err(error) => return error.into(),
        }
        match self.flash.read(target, self.raw.place, &mut found, effects) {
            Ok(()) | Err(SpiError::Refused) => {}
            Err(error) => return error.into(),
        }
        if let Some(place) = self.frame.get_mut(PAYLOAD..PAYLOAD + found.len()) {
            place.copy_from_slice(&found);
        }
        if !self.checksum_holds(len) {
            return self.refuse(reason::WRITE);
        }
        self.raw.advance(len);
        CommandOutcome::Done
    }

    fn flash_defl_data(
        &mut self,
        target: &mut dyn LoaderTarget,
        effects: &mut Effects,
    ) -> CommandOutcome {
        let len = match self.block(self.deflated) {
            Ok(len) => len,
            Err(end) => return end,
        };
        self.deflated.sequence = self.deflated.sequence.wrapping_add(1);
        effects.cycles += u64::from(len) * (cycles::CHECKSUM + cycles::INFLATE_IN);
        if !self.checksum_holds(len) {
            return self.refuse(reason::CHECKSUM);
        }
        let last = self.deflated.sequence == self.deflated.blocks;
        let before = self.inflater.inflated();
        let mut input = self.frame.get(PAYLOAD..PAYLOAD + len as usize).unwrap_or_default();
        let broken = loop {
            match self.inflater.feed(&mut input, last) {
                Inflated::Window { more } => {
                    let window = self.inflater.take_window();
                    let written = self.flash.write(target, self.deflated.place, window, effects);
                    self.deflated.advance(window.len() as u32);
                    match written {
                        Ok(()) | Err(SpiError::Refused) => {}
                        Err(error) => return error.into(),
                    }
                    if input.is_empty() && !more {
                        break None;
                    }
                }
                Inflated::Used => break None,
                Inflated::Broken(reason) => break Some(reason),
                Inflated::Stuck => return CommandOutcome::Stuck,
            }
        };
        // The ROM counts down in the frame itself, where a following short frame finds the value.
        let left = (input.len() as u32).to_le_bytes();
        if let Some(word) = self.frame.get_mut(DATA..DATA + left.len()) {
            word.copy_from_slice(&left);
        }
        if let Some(reason) = broken {
            return self.refuse(reason);
        }
        let inflated = self.inflater.inflated() - before;
        effects.cycles += inflated * cycles::INFLATE_OUT;
        if last {
            let rest = self.inflater.rest();
            match self.flash.write(target, self.deflated.place, rest, effects) {
                Ok(()) | Err(SpiError::Refused) => {}
                Err(error) => return error.into(),
            }
        }
        CommandOutcome::Done
    }

    fn flash_end(
        &mut self,
        session: Session,
        written: u32,
        target: &mut dyn LoaderTarget,
        effects: &mut Effects,
    ) -> CommandOutcome {
        if session.sequence != session.blocks || session.total != written {
            return self.refuse(reason::FAILED);
        }
        if !target.is_attached() {
            return CommandOutcome::Stuck;
        }
        spi_flash::lock(target, effects);
        if self.data_byte(0) == 0 {
            effects.restart = true;
            self.reason = 0;
        }
        CommandOutcome::Done
    }

    fn read_flash(
        &mut self,
        target: &mut dyn LoaderTarget,
        effects: &mut Effects,
    ) -> CommandOutcome {
        effects.data_len = READ_FLASH_SLOW_LEN;
        let [offset, len] = [0, 1].map(|word| self.data_word(word));
        if len as usize > READ_FLASH_SLOW_LEN {
            return self.refuse(reason::READ_LEN);
        }
        // Checked by the requested length, read in whole words.
        let mut bytes = [0; READ_FLASH_SLOW_LEN];
        let asked = bytes.get_mut(..len as usize).unwrap_or_default();
        if self.flash.read(target, offset, asked, effects).is_err() {
            return self.refuse(reason::READ);
        }
        let words = len.next_multiple_of(4);
        let whole = bytes.get_mut(..words as usize).unwrap_or_default();
        let unlimited = Geometry { size: u32::MAX, ..self.flash.clone() };
        if unlimited.read(target, offset, whole, &mut Effects::default()).is_ok() {
            let whole = whole.to_vec();
            self.put_reply(DATA, &whole);
        }
        self.succeed()
    }

    fn flash_md5(
        &mut self,
        target: &mut dyn LoaderTarget,
        effects: &mut Effects,
    ) -> CommandOutcome {
        effects.data_len = MD5_HEX_LEN;
        if self.declared_len() > self.chip.loader.ram_block + BLOCK_HEADER {
            return self.refuse(reason::INVALID);
        }
        let [mut offset, len] = [0, 1].map(|word| self.data_word(word));
        // The ROM's length is signed.
        let mut left = if len > i32::MAX as u32 { 0 } else { len };
        if left > MD5_MOST && offset.wrapping_add(left) <= self.flash.size {
            return CommandOutcome::Stuck;
        }
        let mut hash = Md5::new();
        while left > 0 {
            let piece = left.min(MD5_PIECE);
            let mut bytes = [0; MD5_PIECE as usize];
            let words = bytes.get_mut(..piece.next_multiple_of(4) as usize).unwrap_or_default();
            if self.flash.read(target, offset, words, effects).is_err() {
                return self.refuse(reason::READ);
            }
            effects.cycles += u64::from(piece) * cycles::MD5;
            hash.update(bytes.get(..piece as usize).unwrap_or_default());
            offset = offset.wrapping_add(piece);
            left -= piece;
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.put_reply(DATA, hex.as_bytes());
        self.succeed()
    }

    fn security_info(
        &mut self,
        target: &mut dyn LoaderTarget,
        effects: &mut Effects,
    ) -> CommandOutcome {
        let info = security_info(&self.chip, |addr| target.read32(addr));
        let bytes = info.to_bytes();
        effects.data_len = bytes.len();
        self.put_reply(DATA, &bytes);
        CommandOutcome::Done
    }
}

/// Returns the GET_SECURITY_INFO data of the chip whose registers `read` reads.
pub(crate) fn security_info(chip: &Chip, mut read: impl FnMut(u32) -> u32) -> SecurityInfo {
    let mut field =
        |name: &str| chip.efuse.field(name).map(|field| field.value(|addr| read(addr.0)));
    let mut flags = 0;
    for (bit, name) in SECURITY_FLAGS {
        flags |= (field(name).unwrap_or(0).count_ones() & 1) << bit;
    }
    let mut key_purposes = [NO_KEY_PURPOSE; 7];
    for (at, purpose) in key_purposes.iter_mut().enumerate() {
        if let Some(burnt) = field(&format!("key-purpose-{at}")) {
            *purpose = burnt as u8;
        }
    }
    SecurityInfo {
        flags,
        flash_crypt_cnt: field("spi-boot-crypt-cnt").unwrap_or(0) as u8,
        key_purposes,
        chip_id: Some(chip.image.chip_id.into()),
        api_version: chip.sim.as_ref().map(|sim| sim.rom_eco_version),
    }
}

/// Returns whether the ROM's memcpy runs through the whole address space. It copies blocks of nine
/// words while the address is below the end minus 32, which wraps below address 32. Unaligned data
/// is copied byte by byte.
fn copies_without_end(place: u32, len: u32) -> bool {
    place.is_multiple_of(4) && len >= 4 && place.checked_add(len).is_some_and(|end| end & !3 < 32)
}
