//! The device side of the mask ROM's serial loader: bytes from the line in, replies out.
//!
//! The loader behaves as the ESP32-C3's ROM does, including the bytes that a reply carries over
//! from the one before. Sources are the code of the vendor's ROM ELF (revision 3, functions named
//! below) and esptool's documentation, "Serial Protocol". Both buffers have the ROM's own size, so
//! no flood from the line makes them grow. Notable behaviour:
//!
//! - Before the first SYNC, all other commands are silently ignored (`UartConnCheck`).
//! - A frame longer than the buffer is truncated, not refused. A short one is completed with what
//!   the previous frame left there (`recv_packet`). The header's length matters only to commands
//!   that check it.
//! - The value and the status bytes of a reply are stale where nothing sets them. The opcode of a
//!   reply to an unknown command is that of the last known one (`UartDwnLdProc`).
//! - After a block with a bad checksum the sequence number advances and the address does not.
//! - FLASH_DATA reads back what it wrote: bits that were not erased cause reason 8. Writes past the
//!   end of the flash size that the ROM assumes do nothing and are answered with success.
//! - FLASH_END with flag 0 and FLASH_DEFL_END with flag 0 restart the chip after the reply.
//!   FLASH_END with flag 1, or refused, leaves the loader with nothing to run; the ROM prints "user
//!   code done" and stops. FLASH_DEFL_END with flag 1 stays in the loader.
//! - CHANGE_BAUDRATE and a restart are preceded by two more END bytes.
//!
//! Which of the reasons 0x0b and 0x0c a broken zlib stream causes can differ from the ROM. Its
//! older inflater also takes an invalid distance (symbols 30 and 31) for 0 and finds the stream
//! broken later or never. Loads and stores of READ_REG and WRITE_REG are left to the target; the
//! ROM crashes on an unmapped address.
//!
//! In secure download mode (`UartSecureDwnLdProc`) only SYNC, plain flash writes, SPI_SET_PARAMS,
//! SPI_ATTACH, CHANGE_BAUDRATE and GET_SECURITY_INFO are performed. All others are refused like
//! unknown commands. FLASH_END always restarts the chip there, whatever it answers.
//!
//! FLASH_BEGIN removes the flash chip's write protection, and an END that is not refused protects
//! the whole chip (`SPIEraseArea`, `SPILock`). The second-stage bootloader removes the protection
//! again.
//!
//! Not modelled: encrypted writes. They are refused as on a chip whose eFuses forbid them, reason
//! 0x64.

mod commands;
pub(crate) use commands::security_info;
use std::sync::Arc;
mod inflate;
mod spi_flash;

use std::time::Duration;

use esplice_chip::Chip;
use esplice_protocol::{CHECKSUM_SEED, Opcode, slip};

use crate::nor::{Nor, NorError};
use inflate::Inflater;
use spi_flash::{Geometry, SpiError};

/// Size of the ROM's frame buffer (ROM, `ets_uart_download`).
pub const FRAME_LEN: usize = 0x2000;
/// Size of the ROM's ring buffer between the UART and the loader (ROM, `uart_rx_intr_handler`). It
/// holds one byte less. Bytes that come while it is full are lost.
pub const RX_RING_LEN: usize = 0x800;

/// Size of the ROM's reply buffer.
const REPLY_LEN: usize = 76;
/// Start of the data in a request and in a reply.
const DATA: usize = 8;
/// Start of a block's payload in its frame.
const PAYLOAD: usize = 24;
/// Length of the header of a block's data.
const BLOCK_HEADER: u32 = 16;
/// Time the ROM waits before it looks for a SYNC (ROM, `UartConnCheck`).
const CONNECT_DELAY: Duration = Duration::from_millis(1);

/// CPU cycles of every command, from its last byte to the first byte of the reply (ROM, executed).
const COMMAND_CYCLES: u64 = 400;

/// Reasons in a refusal (esptool documentation, "Serial Protocol", ROM Loader Errors).
mod reason {
    pub const INVALID: u8 = 0x05;
    pub const FAILED: u8 = 0x06;
    pub const CHECKSUM: u8 = 0x07;
    pub const WRITE: u8 = 0x08;
    pub const READ: u8 = 0x09;
    pub const READ_LEN: u8 = 0x0a;
    /// Encryption is not allowed (ROM, `FlashDwnLdStartMsgProc`).
    pub const ENCRYPT: u8 = 0x64;
}

/// Commands performed in secure download mode (ROM, `UartSecureDwnLdProc`).
const SECURE: [Opcode; 8] = [
    Opcode::FlashBegin,
    Opcode::FlashData,
    Opcode::FlashEnd,
    Opcode::Sync,
    Opcode::SpiSetParams,
    Opcode::SpiAttach,
    Opcode::ChangeBaudrate,
    Opcode::GetSecurityInfo,
];

/// The loader's access to the rest of the board.
pub trait LoaderTarget {
    /// Loads a word from the bus.
    fn read32(&mut self, addr: u32) -> u32;
    /// Stores a word to the bus.
    fn write32(&mut self, addr: u32, value: u32);
    /// Copies `bytes` to RAM. Returns false if the range is not all RAM.
    fn write_ram(&mut self, addr: u32, bytes: &[u8]) -> bool;
    /// Returns the flash chip.
    fn nor(&mut self) -> &mut Nor;
    /// Sets the write protection of the whole flash chip.
    fn protect(&mut self, protected: bool);
    /// Returns whether any of `len` bytes at `offset` is protected. The flash chip ignores changes
    /// to a protected range.
    fn is_protected(&self, offset: u32, len: u32) -> bool;
    /// Sets up the pins of the SPI bus, as requested by SPI_ATTACH.
    fn attach(&mut self) {}
    /// Returns whether the flash chip is on the SPI bus. Until then reads return zeros and writes
    /// never end.
    fn is_attached(&self) -> bool {
        true
    }
    /// Returns the clocks used by the loader.
    fn clocks(&mut self) -> Clocks;
}

/// Clocks used by the loader, in Hz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Clock of the CPU.
    pub cpu: u64,
    /// Clock of the bus to the flash chip.
    pub spi: u64,
}

impl Clocks {
    /// Returns the clocks of `chip` after a reset. The bus runs at a quarter of the CPU clock
    /// (ESP32-C3 TRM, SPI Controller, reset value of CLOCK).
    pub fn at_reset(chip: &Chip) -> Clocks {
        let cpu = u64::from(chip.boot_cpu_mhz.max(1)) * 1_000_000;
        Clocks { cpu, spi: cpu / 4 }
    }

    /// Returns the time of `cycles` CPU cycles plus `bus` bus clocks.
    fn time(self, cycles: u64, bus: u64) -> Duration {
        let nanos = |count: u64, hz: u64| {
            u64::try_from(u128::from(count) * 1_000_000_000 / u128::from(hz.max(1)))
                .unwrap_or(u64::MAX)
        };
        Duration::from_nanos(nanos(cycles, self.cpu).saturating_add(nanos(bus, self.spi)))
    }
}

/// The loader's next action once its reply has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAction {
    /// Changes the UART's rate to the actual one of the divider, slightly off the requested rate.
    SetBaud(u32),
    /// Restarts the chip by software and ends the loader.
    Reset,
    /// Calls the program at this address and ends the loader.
    Run(u32),
    /// Ends the loader; nothing runs until the next reset.
    Gone,
}

/// The result of one byte from the line.
#[derive(Debug, Default)]
pub struct LoaderOutput {
    /// Framed bytes for the line.
    pub reply: Vec<u8>,
    /// Time the loader was busy before the reply.
    pub busy: Duration,
    /// The action after the reply.
    pub then: Option<NextAction>,
    /// Failure of the flash chip; the loader has ended.
    pub error: Option<NorError>,
}

/// The loader, from the time the ROM waits for download until it ends.
#[derive(Debug, Clone)]
pub struct Loader {
    chip: Arc<Chip>,
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

/// A transfer of blocks. FLASH_* and MEM_* share one session, as in the ROM.
#[derive(Debug, Clone, Copy, Default)]
struct Session {
    total: u32,
    blocks: u32,
    block_len: u32,
    sequence: u32,
    written: u32,
    place: u32,
}

/// The session of FLASH_* and MEM_* before the first BEGIN. It is on the ROM's stack and contains
/// what earlier calls left there (ROM, executed), so an END without a BEGIN is refused.
const LEFT_OVER: Session = Session {
    total: 0,
    blocks: 0x3fcc_ae04,
    block_len: 0x2000,
    sequence: 0x3fcd_e6af,
    written: 1,
    place: 0,
};

/// The outcome of a command.
enum CommandOutcome {
    Done,
    /// Refused, with the reason stored in the loader.
    Refused,
    /// Never answered: the ROM is stuck or has crashed.
    Stuck,
    Nor(NorError),
}

impl From<SpiError> for CommandOutcome {
    fn from(error: SpiError) -> CommandOutcome {
        match error {
            SpiError::Refused => CommandOutcome::Refused,
            SpiError::Stuck => CommandOutcome::Stuck,
            SpiError::Nor(error) => CommandOutcome::Nor(error),
        }
    }
}

/// Effects of a command in addition to its reply.
#[derive(Default)]
struct Effects {
    /// Time that does not depend on the CPU's clock.
    busy: Duration,
    /// Additional CPU cycles.
    cycles: u64,
    /// Additional clocks of the bus to the flash chip.
    bus: u64,
    /// Length of the reply data before the status.
    data_len: usize,
    restart: bool,
    /// The loader ends and starts the program at this address; 0 means no program.
    leave_for: Option<u32>,
    /// Secure download mode, in which the chip restarts where the loader would end.
    secure: bool,
    /// The UART's divider, in sixteenths.
    divider: u32,
}

impl Loader {
    /// Returns a loader that waits for its first SYNC.
    pub fn new(chip: &Arc<Chip>) -> Loader {
        Loader {
            chip: chip.clone(),
            line: Line::Outside,
            frame: vec![0; FRAME_LEN],
            frame_len: 0,
            phase: Phase::Unconnected,
            reply: [0; REPLY_LEN],
            reason: 0,
            raw: LEFT_OVER,
            deflated: Session::default(),
            inflater: Inflater::new(),
            flash: Geometry::at_reset(chip.loader.rom_flash_size),
        }
    }

    /// Returns whether the first SYNC has come.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Takes one byte from the line and handles the frame if it is complete.
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

    /// Collects a frame as `recv_packet` does. Of an escape before any other byte only the escape
    /// is dropped, and bytes that do not fit are discarded.
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

    /// Handles the first SYNC, which has its own replies (ROM, `UartConnCheck`).
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

    /// Handles one command (ROM, `UartDwnLdProc`).
    fn answer(&mut self, target: &mut dyn LoaderTarget) -> LoaderOutput {
        let [direction, opcode] = self.frame.first_chunk().copied().unwrap_or_default();
        let secure = is_secure(&self.chip, |addr| target.read32(addr));
        let taken = |opcode: &Opcode| direction == 0 && (!secure || SECURE.contains(opcode));
        let opcode = Opcode::from_byte(opcode).filter(|op| !op.is_stub_only()).filter(taken);
        let mut effects = Effects { cycles: COMMAND_CYCLES, ..Effects::default() };
        let clocks = target.clocks();
        let end = match opcode {
            Some(opcode) => {
                let end = self.perform(opcode, target, &mut effects);
                effects.secure = secure;
                self.put_reply(1, &[opcode as u8]);
                end
            }
            None => self.refuse(reason::INVALID),
        };
        let busy = effects.busy + clocks.time(effects.cycles, effects.bus);
        let failed = match end {
            CommandOutcome::Done => false,
            CommandOutcome::Refused => true,
            CommandOutcome::Stuck => {
                self.phase = Phase::Gone;
                let then = Some(NextAction::Gone);
                return LoaderOutput { busy, then, ..LoaderOutput::default() };
            }
            CommandOutcome::Nor(error) => {
                self.phase = Phase::Gone;
                let (then, error) = (Some(NextAction::Gone), Some(error));
                return LoaderOutput { busy, then, error, ..Default::default() };
            }
        };
        self.put_reply(0, &[0x01]);
        let status_len = self.chip.loader.status_len;
        let len = (effects.data_len + status_len) as u16;
        self.put_reply(2, &len.to_le_bytes());
        self.put_reply(DATA + effects.data_len, &[u8::from(failed), self.reason]);
        let whole = self.reply.get(..DATA + usize::from(len)).unwrap_or(&self.reply);
        // The repetition depends on the reply's opcode, so the refusal of an unknown command after
        // a SYNC is repeated too.
        let times = match self.reply.get(1) {
            Some(&opcode) if opcode == Opcode::Sync as u8 => self.chip.loader.sync_replies,
            _ => 1,
        };
        let mut reply = slip::encode(whole).repeat(times);
        let then = self.leave(&effects, &mut reply);
        LoaderOutput { reply, busy, then, error: None }
    }

    /// Adds the bytes that precede a change of rate or the loader's end, and returns the action
    /// after the reply.
    fn leave(&mut self, effects: &Effects, reply: &mut Vec<u8>) -> Option<NextAction> {
        if effects.restart {
            reply.extend([slip::END; 2]);
            self.phase = Phase::Gone;
            return Some(NextAction::Reset);
        }
        if effects.divider != 0 {
            reply.extend([slip::END; 2]);
            // CLKDIV has 12 integer bits and 4 fractional bits (ROM, `uart_div_modify`).
            let divider = (effects.divider & 0xffff).max(1);
            return Some(NextAction::SetBaud(self.uart_clock_sixteenths() / divider));
        }
        let entry = effects.leave_for?;
        self.phase = Phase::Gone;
        if effects.secure {
            return Some(NextAction::Reset);
        }
        if entry != 0 {
            return Some(NextAction::Run(entry));
        }
        reply.extend(b"user code done\r\n");
        Some(NextAction::Gone)
    }

    /// Returns sixteen times the UART's clock in Hz, which is the crystal's while the ROM runs.
    fn uart_clock_sixteenths(&self) -> u32 {
        self.chip.xtal_mhz.saturating_mul(16_000_000)
    }

    /// Returns the session announced by a BEGIN.
    fn announced(&self) -> Session {
        let [total, blocks, block_len, place] = [0, 1, 2, 3].map(|word| self.data_word(word));
        Session { total, blocks, block_len, place, ..Session::default() }
    }

    /// Returns the length of the block in the frame if its header fits `session`.
    fn block(&mut self, session: Session) -> Result<u32, CommandOutcome> {
        let [len, sequence] = [0, 1].map(|word| self.data_word(word));
        let fits = self.declared_len() <= self.chip.loader.ram_block + BLOCK_HEADER
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

    /// Returns the length in the request's header.
    fn declared_len(&self) -> u32 {
        self.frame
            .get(2..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |two| u32::from(u16::from_le_bytes(*two)))
    }

    /// Returns word number `word` of the request's data.
    fn data_word(&self, word: usize) -> u32 {
        let at = DATA + word * 4;
        self.frame
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |four| u32::from_le_bytes(*four))
    }

    /// Returns byte number `at` of the request's data.
    fn data_byte(&self, at: usize) -> u8 {
        self.frame.get(DATA + at).copied().unwrap_or(0)
    }

    fn put_reply(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.reply.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn refuse(&mut self, reason: u8) -> CommandOutcome {
        self.reason = reason;
        CommandOutcome::Refused
    }

    fn succeed(&mut self) -> CommandOutcome {
        self.reason = 0;
        CommandOutcome::Done
    }
}

/// Returns whether the eFuses, read by `read`, enable secure download mode (ROM,
/// `ets_efuse_security_download_modes_enabled`).
pub(crate) fn is_secure(chip: &Chip, mut read: impl FnMut(u32) -> u32) -> bool {
    let mut is_burnt = |name: &str| {
        let field = chip.efuse.field(name);
        field.is_some_and(|field| field.value(|addr| read(addr.0)) != 0)
    };
    is_burnt("enable-security-download") && !is_burnt("disable-download-mode")
}

impl Session {
    fn advance(&mut self, len: u32) {
        self.written = self.written.wrapping_add(len);
        self.place = self.place.wrapping_add(len);
    }
}
