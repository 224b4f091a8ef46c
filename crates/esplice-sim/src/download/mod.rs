//! The mask ROM's serial loader, on the device's side: bytes from the line in, replies out.
//!
//! It does what the ESP32-C3's ROM does, down to the bytes that a reply carries over from the one
//! before; learnt from the code of the vendor's ROM ELF (revision 3, functions named below), and
//! from esptool's documentation, "Serial Protocol". Both the loader's buffers are the ROM's own
//! size, so that no flood from the line makes them grow. What is worth knowing of it:
//!
//! - Until a SYNC has come, every other command is passed over in silence (`UartConnCheck`).
//! - A frame longer than the buffer is cut off, not refused; a short one is filled up with what
//!   the frame before left there (`recv_packet`). The header's length counts only where a command
//!   looks at it.
//! - The value and the status bytes of a reply are stale where nothing sets them; the opcode of a
//!   reply to an unknown command is the last known one's (`UartDwnLdProc`).
//! - After a block with a bad checksum the sequence number goes on and the address does not.
//! - FLASH_DATA reads back what it wrote: bits that were not erased give reason 8. Past the end of
//!   what the ROM takes the flash for, writes do nothing and are answered with success.
//! - FLASH_END with flag 0 and FLASH_DEFL_END with flag 0 restart the chip after the reply;
//!   FLASH_END with flag 1, or refused, leaves the loader with nothing to run, and the ROM says
//!   "user code done" and is gone; FLASH_DEFL_END with flag 1 stays.
//! - CHANGE_BAUDRATE and a restart are preceded by two END bytes more.
//!
//! Which of the reasons 0x0b and 0x0c a broken zlib stream draws can differ from the ROM's. Loads
//! and stores of READ_REG and WRITE_REG are the target's affair; the ROM dies where nothing is.
//!
//! Left out: secure download mode, encrypted writes (refused as on a chip whose eFuses forbid
//! them, reason 0x64), and the flash chip's write protection after an END.

mod inflate;
mod spi_flash;

use std::time::Duration;

use esplice_chip::Chip;
use esplice_protocol::{CHECKSUM_SEED, Opcode, READ_FLASH_SLOW_LEN, SecurityInfo, slip};
use md5::{Digest, Md5};

use crate::nor::{Nor, NorError};
use inflate::{Inflated, Inflater};
use spi_flash::{Geometry, SpiError};

/// Bytes of the ROM's frame buffer (ROM, `ets_uart_download`).
pub const FRAME_LEN: usize = 0x2000;
/// Bytes of the ROM's ring buffer between the UART and the loader (ROM, `uart_rx_intr_handler`);
/// it holds one less. What comes while it is full is lost.
pub const RX_RING_LEN: usize = 0x800;

/// Bytes of the ROM's reply buffer.
const REPLY_LEN: usize = 76;
/// Where a request's data begins, and a reply's.
const DATA: usize = 8;
/// Where a block's payload begins in its frame.
const PAYLOAD: usize = 24;
/// Bytes of the header of a block's data.
const BLOCK_HEADER: u32 = 16;
/// Bytes of the MD5 as hex digits.
const MD5_HEX_LEN: usize = 32;
/// Bytes that the ROM's MD5 reads at a time.
const MD5_PIECE: u32 = 128;
/// Most bytes whose MD5 is still waited for; a chip this large does not exist.
const MD5_MOST: u32 = 64 << 20;
/// What the ROM waits for before it looks for a SYNC (ROM, `UartConnCheck`).
const CONNECT_DELAY: Duration = Duration::from_millis(1);
/// The key purpose of a key block that does not exist (ROM, `ets_efuse_get_key_purpose`).
const NO_KEY_PURPOSE: u8 = 12;

/// Reasons in a refusal (esptool documentation, "Serial Protocol", ROM Loader Errors).
mod reason {
    pub const INVALID: u8 = 0x05;
    pub const FAILED: u8 = 0x06;
    pub const CHECKSUM: u8 = 0x07;
    pub const WRITE: u8 = 0x08;
    pub const READ: u8 = 0x09;
    pub const READ_LEN: u8 = 0x0a;
    /// ROM, `FlashDwnLdStartMsgProc`: encryption is not allowed.
    pub const ENCRYPT: u8 = 0x64;
}

/// eFuse fields behind the flags of GET_SECURITY_INFO, by bit (ROM, `GetSecurityInfoProc`); a
/// flag is on when an odd number of the field's bits is.
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

/// What the loader reaches besides the line.
pub trait LoaderTarget {
    /// Loads a word from the bus.
    fn read32(&mut self, addr: u32) -> u32;
    /// Stores a word to the bus.
    fn write32(&mut self, addr: u32, value: u32);
    /// Copies `bytes` to RAM; `false` when not all of it is RAM.
    fn write_ram(&mut self, addr: u32, bytes: &[u8]) -> bool;
    /// The flash chip.
    fn nor(&mut self) -> &mut Nor;
}

/// What the loader does next, once its reply has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The UART goes on at this rate: the divider's true one, a little off the rate asked for.
    SetBaud(u32),
    /// The chip restarts by software; the loader is gone.
    Reset,
    /// The program at this address is called; the loader is gone.
    Run(u32),
    /// The loader is gone and nothing runs until the next reset.
    Gone,
}

/// What one byte from the line led to.
#[derive(Debug, Default)]
pub struct LoaderOutput {
    /// Bytes for the line, framed.
    pub reply: Vec<u8>,
    /// How long the loader was busy before the reply.
    pub busy: Duration,
    /// What happens after the reply.
    pub then: Option<After>,
    /// The flash chip failed; the loader is gone, as without a flash chip.
    pub error: Option<NorError>,
}

/// The loader, from the moment the ROM waits for download until it is left.
#[derive(Debug)]
pub struct Loader {
    chip: &'static Chip,
    line: Line,
    frame: Vec<u8>,
    frame_len: usize,
    phase: Phase,
    reply: [u8; REPLY_LEN],
    reason: u8,
    raw: Session,
    deflated: Session,
    inflater: Inflater,
    flash: Geometry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Outside,
    Inside,
    Escaped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting for the first SYNC.
    Unconnected,
    Connected,
    Gone,
}

/// Blocks on their way; FLASH_* and MEM_* share one, as in the ROM.
#[derive(Debug, Clone, Copy, Default)]
struct Session {
    total: u32,
    blocks: u32,
    block_len: u32,
    sequence: u32,
    written: u32,
    place: u32,
}

/// How a command ends.
enum End {
    Done,
    /// Refused; the reason is set beside.
    Refused,
    /// Never answered: the ROM is stuck or has crashed.
    Stuck,
    Nor(NorError),
}

impl From<SpiError> for End {
    fn from(error: SpiError) -> End {
        match error {
            SpiError::Refused => End::Refused,
            SpiError::Stuck => End::Stuck,
            SpiError::Nor(error) => End::Nor(error),
        }
    }
}

/// What a command leaves besides its reply.
#[derive(Default)]
struct Effects {
    busy: Duration,
    /// Bytes of reply data before the status.
    data_len: usize,
    restart: bool,
    /// The loader is left for the program at this address; 0 is none.
    leave_for: Option<u32>,
    /// The UART's divider, in sixteenths.
    divider: u32,
}

impl Loader {
    /// A loader that waits for its first SYNC.
    pub fn new(chip: &'static Chip) -> Loader {
        Loader {
            chip,
            line: Line::Outside,
            frame: vec![0; FRAME_LEN],
            frame_len: 0,
            phase: Phase::Unconnected,
            reply: [0; REPLY_LEN],
            reason: 0,
            raw: Session::default(),
            deflated: Session::default(),
            inflater: Inflater::new(),
            flash: Geometry::at_reset(chip.loader.rom_flash_size),
        }
    }

    /// Whether the first SYNC has come.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Takes one byte from the line and does what it completes.
    pub fn receive(&mut self, byte: u8, target: &mut dyn LoaderTarget) -> LoaderOutput {
        if !self.frame_is_whole(byte) {
            return LoaderOutput::default();
        }
        match self.phase {
            Phase::Gone => LoaderOutput::default(),
            Phase::Unconnected => self.connect(),
            Phase::Connected => self.answer(target),
        }
    }

    /// Collects a frame as `recv_packet` does: an escape before any other byte is dropped alone,
    /// and what does not fit is not kept.
    fn frame_is_whole(&mut self, byte: u8) -> bool {
        let byte = match (self.line, byte) {
            (Line::Outside, slip::END) => {
                self.line = Line::Inside;
                self.frame_len = 0;
                return false;
            }
            (Line::Outside, _) => return false,
            (Line::Inside, slip::END) if self.frame_len == 0 => return false,
            (Line::Inside, slip::END) => {
                self.line = Line::Outside;
                return true;
            }
            (Line::Inside, slip::ESC) => {
                self.line = Line::Escaped;
                return false;
            }
            (Line::Inside, byte) => byte,
            (Line::Escaped, slip::ESC_END) => slip::END,
            (Line::Escaped, slip::ESC_ESC) => slip::ESC,
            (Line::Escaped, byte) => byte,
        };
        self.line = Line::Inside;
        if let Some(slot) = self.frame.get_mut(self.frame_len) {
            *slot = byte;
            self.frame_len += 1;
        }
        false
    }

    /// The first SYNC, with replies of its own (ROM, `UartConnCheck`).
    fn connect(&mut self) -> LoaderOutput {
        if self.frame.first_chunk() != Some(&[0x00, Opcode::Sync as u8]) {
            return LoaderOutput::default();
        }
        self.phase = Phase::Connected;
        let mut reply = vec![0x01, Opcode::Sync as u8, 4, 0];
        reply.extend(self.data_word(0).to_le_bytes());
        reply.extend([0; 4]);
        let reply = slip::encode(&reply).repeat(self.chip.loader.sync_replies);
        LoaderOutput { reply, busy: CONNECT_DELAY, ..LoaderOutput::default() }
    }

    /// One command (ROM, `UartDwnLdProc`).
    fn answer(&mut self, target: &mut dyn LoaderTarget) -> LoaderOutput {
        let [direction, opcode] = self.frame.first_chunk().copied().unwrap_or_default();
        let opcode = Opcode::from_byte(opcode).filter(|_| direction == 0);
        let mut effects = Effects::default();
        let end = match opcode {
            Some(opcode) => {
                let end = self.perform(opcode, target, &mut effects);
                self.put_reply(1, &[opcode as u8]);
                end
            }
            None => self.refuse(reason::INVALID),
        };
        let failed = match end {
            End::Done => false,
            End::Refused => true,
            End::Stuck => {
                self.phase = Phase::Gone;
                let then = Some(After::Gone);
                return LoaderOutput { busy: effects.busy, then, ..LoaderOutput::default() };
            }
            End::Nor(error) => {
                self.phase = Phase::Gone;
                let (then, error) = (Some(After::Gone), Some(error));
                return LoaderOutput { busy: effects.busy, then, error, ..Default::default() };
            }
        };
        self.put_reply(0, &[0x01]);
        let status_len = self.chip.loader.status_len;
        let len = (effects.data_len + status_len) as u16;
        self.put_reply(2, &len.to_le_bytes());
        self.put_reply(DATA + effects.data_len, &[u8::from(failed), self.reason]);
        let whole = self.reply.get(..DATA + usize::from(len)).unwrap_or(&self.reply);
        // By the reply's opcode, so that an unknown command after a SYNC is refused as often.
        let times = match self.reply.get(1) {
            Some(&opcode) if opcode == Opcode::Sync as u8 => self.chip.loader.sync_replies,
            _ => 1,
        };
        let mut reply = slip::encode(whole).repeat(times);
        let then = self.leave(&effects, &mut reply);
        LoaderOutput { reply, busy: effects.busy, then, error: None }
    }

    /// What follows the reply, and the bytes that go before it.
    fn leave(&mut self, effects: &Effects, reply: &mut Vec<u8>) -> Option<After> {
        if effects.restart {
            reply.extend([slip::END; 2]);
            self.phase = Phase::Gone;
            return Some(After::Reset);
        }
        if effects.divider != 0 {
            reply.extend([slip::END; 2]);
            // CLKDIV has 12 bits and 4 of fraction (ROM, `uart_div_modify`).
            let divider = (effects.divider & 0xffff).max(1);
            return Some(After::SetBaud(self.uart_clock_sixteenths() / divider));
        }
        let entry = effects.leave_for?;
        self.phase = Phase::Gone;
        if entry != 0 {
            return Some(After::Run(entry));
        }
        reply.extend(b"user code done\r\n");
        Some(After::Gone)
    }

    /// Sixteen times the UART's clock in Hz: the crystal's, while the ROM runs.
    fn uart_clock_sixteenths(&self) -> u32 {
        self.chip.xtal_mhz.saturating_mul(16_000_000)
    }

    fn perform(
        &mut self,
        opcode: Opcode,
        target: &mut dyn LoaderTarget,
        effects: &mut Effects,
    ) -> End {
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
            Opcode::MemData => self.mem_data(target),
            Opcode::MemEnd => {
                if self.said_len() > 8 {
                    return self.refuse(reason::INVALID);
                }
                if self.data_byte(0) == 0 {
                    effects.leave_for = Some(self.data_word(1));
                }
                End::Done
            }
            Opcode::FlashBegin => self.flash_begin(false, target.nor(), effects),
            Opcode::FlashDeflBegin => self.flash_begin(true, target.nor(), effects),
            Opcode::FlashData => self.flash_data(target.nor(), effects),
            Opcode::FlashDeflData => self.flash_defl_data(target.nor(), effects),
            Opcode::FlashEnd => {
                let end = self.flash_end(self.raw, self.raw.written, effects);
                // Left even when refused.
                effects.leave_for = Some(0);
                end
            }
            Opcode::FlashDeflEnd => self.flash_end(self.deflated, self.deflated.total, effects),
            Opcode::SpiSetParams => {
                if self.said_len() != 24 {
                    return self.refuse(reason::INVALID);
                }
                let [size, block, sector, page] = [1, 2, 3, 4].map(|word| self.data_word(word));
                self.flash = Geometry { size, block, sector, page };
                End::Done
            }
            // The flash chip is always attached here.
            Opcode::SpiAttach => self.succeed(),
            Opcode::ReadFlashSlow => self.read_flash(target.nor(), effects),
            Opcode::ChangeBaudrate => {
                let new = self.data_word(0);
                // With the second word's low byte set, the first is the divider itself.
                effects.divider = match self.data_byte(4) {
                    0 => self.uart_clock_sixteenths().checked_div(new).unwrap_or(u32::MAX),
                    _ => new,
                };
                self.succeed()
            }
            Opcode::SpiFlashMd5 => self.flash_md5(target.nor(), effects),
            Opcode::GetSecurityInfo => self.security_info(target, effects),
        }
    }

    fn write_registers(&mut self, target: &mut dyn LoaderTarget, effects: &mut Effects) -> End {
        for entry in 0..self.said_len() / 16 {
            let [addr, value, mask, delay] =
                [0, 1, 2, 3].map(|word| self.data_word(entry as usize * 4 + word));
            effects.busy += Duration::from_micros(delay.into());
            let old = target.read32(addr);
            target.write32(addr, (old & !mask) | (value & mask));
        }
        self.succeed()
    }

    fn mem_begin(&mut self) -> End {
        if self.said_len() != 16 || self.data_word(2) > self.chip.loader.ram_block {
            return self.refuse(reason::INVALID);
        }
        self.raw = self.announced();
        End::Done
    }

    fn mem_data(&mut self, target: &mut dyn LoaderTarget) -> End {
        let len = match self.block(self.raw) {
            Ok(len) => len,
            Err(end) => return end,
        };
        self.raw.sequence = self.raw.sequence.wrapping_add(1);
        if !self.checksum_holds(len) {
            return self.refuse(reason::CHECKSUM);
        }
        if len > 0 && !target.write_ram(self.raw.place, self.payload(len)) {
            // The ROM copies without a check and dies of the bus error.
            return End::Stuck;
        }
        self.raw.advance(len);
        End::Done
    }

    fn flash_begin(&mut self, deflated: bool, nor: &mut Nor, effects: &mut Effects) -> End {
        if self.said_len() != 20 || self.data_word(2) > self.chip.loader.ram_block {
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
        match self.flash.erase_area(nor, session.place, session.total, &mut effects.busy) {
            Ok(()) => End::Done,
            Err(SpiError::Refused) => self.refuse(reason::FAILED),
            Err(error) => error.into(),
        }
    }

    fn flash_data(&mut self, nor: &mut Nor, effects: &mut Effects) -> End {
        let len = match self.block(self.raw) {
            Ok(len) if len.is_multiple_of(4) => len,
            Ok(_) => return self.refuse(reason::INVALID),
            Err(end) => return end,
        };
        self.raw.sequence = self.raw.sequence.wrapping_add(1);
        if !self.checksum_holds(len) {
            return self.refuse(reason::CHECKSUM);
        }
        // The ROM does not look at what the write answers; it reads back over the block instead,
        // and a read that is refused leaves the block there.
        let mut found = self.payload(len).to_vec();
        let busy = &mut effects.busy;
        match self.flash.write(nor, self.raw.place, self.payload(len), busy) {
            Ok(()) | Err(SpiError::Refused) => {}
            Err(error) => return error.into(),
        }
        match self.flash.read(nor, self.raw.place, &mut found, busy) {
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
        End::Done
    }

    fn flash_defl_data(&mut self, nor: &mut Nor, effects: &mut Effects) -> End {
        let len = match self.block(self.deflated) {
            Ok(len) => len,
            Err(end) => return end,
        };
        self.deflated.sequence = self.deflated.sequence.wrapping_add(1);
        if !self.checksum_holds(len) {
            return self.refuse(reason::CHECKSUM);
        }
        let last = self.deflated.sequence == self.deflated.blocks;
        let mut input = self.frame.get(PAYLOAD..PAYLOAD + len as usize).unwrap_or_default();
        loop {
            match self.inflater.feed(&mut input, last) {
                Inflated::Window { more } => {
                    let window = self.inflater.take_window();
                    let written =
                        self.flash.write(nor, self.deflated.place, window, &mut effects.busy);
                    self.deflated.advance(window.len() as u32);
                    match written {
                        Ok(()) | Err(SpiError::Refused) => {}
                        Err(error) => return error.into(),
                    }
                    if input.is_empty() && !more {
                        break;
                    }
                }
                Inflated::Used => break,
                Inflated::Broken(reason) => return self.refuse(reason),
                Inflated::Stuck => return End::Stuck,
            }
        }
        if last {
            let rest = self.inflater.rest();
            match self.flash.write(nor, self.deflated.place, rest, &mut effects.busy) {
                Ok(()) | Err(SpiError::Refused) => {}
                Err(error) => return error.into(),
            }
        }
        End::Done
    }

    fn flash_end(&mut self, session: Session, written: u32, effects: &mut Effects) -> End {
        if session.sequence != session.blocks || session.total != written {
            return self.refuse(reason::FAILED);
        }
        if self.data_byte(0) == 0 {
            effects.restart = true;
            self.reason = 0;
        }
        End::Done
    }

    fn read_flash(&mut self, nor: &Nor, effects: &mut Effects) -> End {
        effects.data_len = READ_FLASH_SLOW_LEN;
        let [offset, len] = [0, 1].map(|word| self.data_word(word));
        if len as usize > READ_FLASH_SLOW_LEN {
            return self.refuse(reason::READ_LEN);
        }
        // Checked by the length asked for, read by whole words.
        let mut bytes = [0; READ_FLASH_SLOW_LEN];
        let asked = bytes.get_mut(..len as usize).unwrap_or_default();
        if self.flash.read(nor, offset, asked, &mut effects.busy).is_err() {
            return self.refuse(reason::READ);
        }
        let words = len.next_multiple_of(4);
        let whole = bytes.get_mut(..words as usize).unwrap_or_default();
        let unlimited = Geometry { size: u32::MAX, ..self.flash.clone() };
        if unlimited.read(nor, offset, whole, &mut Duration::default()).is_ok() {
            let whole = whole.to_vec();
            self.put_reply(DATA, &whole);
        }
        self.succeed()
    }

    fn flash_md5(&mut self, nor: &Nor, effects: &mut Effects) -> End {
        effects.data_len = MD5_HEX_LEN;
        if self.said_len() > self.chip.loader.ram_block + BLOCK_HEADER {
            return self.refuse(reason::INVALID);
        }
        let [mut offset, len] = [0, 1].map(|word| self.data_word(word));
        // The ROM's length is signed.
        let mut left = if len > i32::MAX as u32 { 0 } else { len };
        if left > MD5_MOST && offset.wrapping_add(left) <= self.flash.size {
            return End::Stuck;
        }
        let mut hash = Md5::new();
        while left > 0 {
            let piece = left.min(MD5_PIECE);
            let mut bytes = [0; MD5_PIECE as usize];
            let words = bytes.get_mut(..piece.next_multiple_of(4) as usize).unwrap_or_default();
            if self.flash.read(nor, offset, words, &mut effects.busy).is_err() {
                return self.refuse(reason::READ);
            }
            hash.update(bytes.get(..piece as usize).unwrap_or_default());
            offset = offset.wrapping_add(piece);
            left -= piece;
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.put_reply(DATA, hex.as_bytes());
        self.succeed()
    }

    fn security_info(&mut self, target: &mut dyn LoaderTarget, effects: &mut Effects) -> End {
        let efuse = &self.chip.efuse;
        let mut field =
            |name: &str| efuse.field(name).map(|field| field.value(|addr| target.read32(addr.0)));
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
        let info = SecurityInfo {
            flags,
            flash_crypt_cnt: field("spi-boot-crypt-cnt").unwrap_or(0) as u8,
            key_purposes,
            chip_id: Some(self.chip.image.chip_id.into()),
            api_version: self.chip.sim.as_ref().map(|sim| sim.rom_eco_version),
        };
        let bytes = info.to_bytes();
        effects.data_len = bytes.len();
        self.put_reply(DATA, &bytes);
        End::Done
    }

    /// The session that a BEGIN announces.
    fn announced(&self) -> Session {
        let [total, blocks, block_len, place] = [0, 1, 2, 3].map(|word| self.data_word(word));
        Session { total, blocks, block_len, place, ..Session::default() }
    }

    /// The length of the block in the frame, if its header fits `session`.
    fn block(&mut self, session: Session) -> Result<u32, End> {
        let [len, sequence] = [0, 1].map(|word| self.data_word(word));
        let fits = self.said_len() <= self.chip.loader.ram_block + BLOCK_HEADER
            && sequence == session.sequence
            && len <= session.block_len;
        if fits { Ok(len) } else { Err(self.refuse(reason::INVALID)) }
    }

    fn checksum_holds(&self, len: u32) -> bool {
        let sum = self.payload(len).iter().fold(CHECKSUM_SEED, |sum, byte| sum ^ byte);
        self.frame.get(4) == Some(&sum)
    }

    fn payload(&self, len: u32) -> &[u8] {
        self.frame.get(PAYLOAD..PAYLOAD + len as usize).unwrap_or_default()
    }

    /// The length in the request's header.
    fn said_len(&self) -> u32 {
        self.frame
            .get(2..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |two| u32::from(u16::from_le_bytes(*two)))
    }

    /// Word number `word` of the request's data.
    fn data_word(&self, word: usize) -> u32 {
        let at = DATA + word * 4;
        self.frame
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |four| u32::from_le_bytes(*four))
    }

    /// Byte number `at` of the request's data.
    fn data_byte(&self, at: usize) -> u8 {
        self.frame.get(DATA + at).copied().unwrap_or(0)
    }

    fn put_reply(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.reply.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn refuse(&mut self, reason: u8) -> End {
        self.reason = reason;
        End::Refused
    }

    fn succeed(&mut self) -> End {
        self.reason = 0;
        End::Done
    }
}

impl Session {
    fn advance(&mut self, len: u32) {
        self.written = self.written.wrapping_add(len);
        self.place = self.place.wrapping_add(len);
    }
}
