//! A ROM loader in a few hundred lines, as a port, for testing the flasher with faults.
//!
//! The loader follows the observed behaviour of real ROMs: eight replies to a SYNC, stale reason
//! bytes, a sequence number that runs ahead of the address after a bad checksum, FLASH_END that
//! leaves the loader. Unlike the virtual board it can break any single frame, and it takes no time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use esplice_chip::{AssumedCrystal, Chip, ChipDb};
use esplice_protocol::{
    Caps, Moment, Opcode, Port, PortError, RawRequest, Reply, Request, SecurityInfo, slip,
};
use flate2::{Decompress, FlushDecompress};
use md5::{Digest as _, Md5};

/// A fault of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The frame never arrives.
    Lost,
    /// The byte in its middle is missing.
    ByteLost,
    /// A bit of the byte in its middle is wrong.
    Flipped,
    /// A bit at an eighth of its length is wrong, in most frames in the header.
    FlippedEarly,
    /// The second half is missing.
    Truncated,
    /// The frame arrives twice.
    Doubled,
    /// The frame arrives after most timeouts.
    Late,
    /// The board resets before it arrives, and boots from flash.
    Reset,
    /// The port disappears.
    Gone,
    /// The user presses Ctrl-C.
    Interrupt,
}

/// The direction of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToBoard,
    ToHost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Download,
    Running,
}

struct Transfer {
    at: usize,
    sequence: u32,
    inflater: Decompress,
}

pub struct Rom {
    pub chip: &'static Arc<Chip>,
    pub flash: Vec<u8>,
    /// Breaks the frame of that direction and number, from 0.
    pub fault: Option<(Way, usize, Fault)>,
    /// True if it never answers.
    pub silent: bool,
    /// Bytes to send before each reply.
    pub noise: Vec<u8>,
    pub security: SecurityInfo,
    pub no_security_info: bool,
    /// True if the answer to each hash is wrong.
    pub wrong_hash: bool,
    /// A command to refuse always.
    pub refuse: Option<Opcode>,
    /// True if a WRITE_REG writes only one register.
    pub single_registers: bool,
    /// True if the boot pin is not wired.
    pub boot_pin_broken: bool,
    /// Highest baud rate at which the cable works.
    pub best_baud: u32,
    /// The crystal, if the chip's loader lets it be detected.
    pub xtal_mhz: u32,
    pub lines: bool,
    /// True if the baud rate does not matter, as over a pty.
    pub any_baud: bool,
    pub frames: [usize; 2],
    pub opcodes: Vec<Opcode>,
    pub lines_now: (bool, bool),
    registers: BTreeMap<u32, u32>,
    decoder: slip::Decoder,
    /// Bytes in flight: time of arrival, and the baud rate they were sent at.
    out: VecDeque<(Moment, u8, u32)>,
    now: Moment,
    mode: Mode,
    host_baud: u32,
    board_baud: u32,
    attached: bool,
    transfer: Option<Transfer>,
    last_opcode: u8,
    stopped: Option<Fault>,
}

impl Rom {
    /// Creates an ESP32-C3 that runs the program in its flash of 4 MiB.
    pub fn new() -> Rom {
        Rom::of(ChipDb::embedded().find("esp32c3").unwrap())
    }

    /// Creates any chip, of revision 0.4 if its fields allow that.
    pub fn of(chip: &'static Arc<Chip>) -> Rom {
        let mut registers = BTreeMap::new();
        if let (Some(addr), Some(magic)) =
            (chip.loader.magic_addr, chip.loader.magic_values.first())
        {
            registers.insert(addr.0, *magic);
        }
        let mut rom = Rom {
            chip,
            flash: vec![0xa5; 4 << 20],
            fault: None,
            silent: false,
            noise: Vec::new(),
            security: SecurityInfo {
                chip_id: chip
                    .loader
                    .security_info_has_chip_id
                    .then_some(u32::from(chip.image.chip_id)),
                api_version: chip.loader.security_info_has_chip_id.then_some(0),
                ..SecurityInfo::default()
            },
            no_security_info: !chip.loader.security_info,
            wrong_hash: false,
            refuse: None,
            single_registers: false,
            boot_pin_broken: false,
            best_baud: u32::MAX,
            xtal_mhz: chip.other_xtal_mhz.last().copied().unwrap_or(chip.xtal_mhz),
            lines: true,
            any_baud: false,
            frames: [0, 0],
            opcodes: Vec::new(),
            lines_now: (false, false),
            registers,
            decoder: slip::Decoder::new(0x1000),
            out: VecDeque::new(),
            now: Moment::START,
            mode: Mode::Running,
            host_baud: 115_200,
            board_baud: 115_200,
            attached: false,
            transfer: None,
            last_opcode: 0,
            stopped: None,
        };
        if let Some(crystal) = &chip.crystal {
            let range = &crystal.divider;
            let divider = rom.xtal_mhz * 1_000_000 / chip.loader.initial_baud;
            *rom.registers.entry(range.addr.0).or_default() |= divider << range.bit;
            if let Some(AssumedCrystal::Register(range)) = crystal.assumed {
                *rom.registers.entry(range.addr.0).or_default() |= chip.xtal_mhz << range.bit;
            }
        }
        rom.fuse("mac", u64::from_be_bytes([0, 0, 2, 0, 0, 0xc3, 0, 1]));
        rom.fuse("wafer-version-minor", 4);
        rom.fuse("pkg-version", 1);
        rom
    }

    /// Burns an empty eFuse field.
    pub fn fuse(&mut self, name: &str, value: u64) {
        let field = self.chip.efuse.field(name).unwrap();
        field.put(value, |addr, bits| *self.registers.entry(addr.0).or_default() |= bits);
    }

    /// Creates an ESP32-C3 and applies `change`.
    pub fn with(change: impl FnOnce(&mut Rom)) -> Rom {
        let mut rom = Rom::new();
        change(&mut rom);
        rom
    }

    /// Creates a board in download mode at a port without lines.
    pub fn in_download_mode() -> Rom {
        Rom { mode: Mode::Download, lines: false, ..Rom::new() }
    }

    /// Starts a new session on the same board.
    pub fn restart(&mut self) {
        self.frames = [0, 0];
        self.fault = None;
        self.stopped = None;
        self.opcodes.clear();
    }

    fn reset(&mut self, download: bool) {
        self.out.clear();
        self.decoder.reset();
        self.transfer = None;
        self.attached = false;
        self.board_baud = 115_200;
        self.mode = if download { Mode::Download } else { Mode::Running };
        let words: &[u8] = if download {
            b"ESP-ROM:test\r\nrst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/1))\r\nwaiting for download\r\n"
        } else {
            b"ESP-ROM:test\r\nrst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\nHello\r\n"
        };
        if !self.silent {
            self.put(words, self.now);
        }
    }

    fn put(&mut self, bytes: &[u8], at: Moment) {
        // On a wire, bytes do not overtake each other.
        let at = self.out.back().map_or(at, |(last, ..)| at.max(*last));
        let baud = self.board_baud;
        self.out.extend(bytes.iter().map(|byte| (at, *byte, baud)));
    }

    fn garbles(&self, baud: u32) -> bool {
        let differs = self.host_baud.abs_diff(baud) > baud / 50;
        !self.any_baud && (differs || self.host_baud > self.best_baud)
    }

    /// Returns the rate of the board if `asked` was requested from its loader.
    fn rate_of(&self, asked: u32) -> u32 {
        let assumed = self.chip.crystal.as_ref().and_then(|crystal| crystal.assumed);
        match assumed {
            None => asked,
            Some(assumed) => {
                let counted = assumed.mhz(
                    self.chip.xtal_mhz
                        << match assumed {
                            AssumedCrystal::Mhz(_) => 0,
                            AssumedCrystal::Register(range) => range.bit,
                        },
                );
                (u64::from(asked) * u64::from(self.xtal_mhz) / u64::from(counted)) as u32
            }
        }
    }

    fn fault_of(&mut self, way: Way) -> Option<Fault> {
        let count = &mut self.frames[way as usize];
        let number = *count;
        *count += 1;
        self.fault.filter(|(w, n, _)| (*w, *n) == (way, number)).map(|(_, _, fault)| fault)
    }

    /// Returns the frame as the fault leaves it, and its time of arrival.
    fn damage(&mut self, mut frame: Vec<u8>, fault: Option<Fault>) -> (Vec<u8>, Moment) {
        let middle = frame.len() / 2;
        let mut at = self.now;
        match fault {
            None => {}
            Some(Fault::Lost) => frame.clear(),
            Some(Fault::ByteLost) => drop(frame.remove(middle)),
            Some(Fault::Flipped) => frame[middle] ^= 0x10,
            Some(Fault::FlippedEarly) => {
                let early = frame.len() / 8;
                frame[early.max(1)] ^= 0x04;
            }
            Some(Fault::Truncated) => frame.truncate(middle),
            Some(Fault::Doubled) => frame.extend(frame.clone()),
            Some(Fault::Late) => at = at + Duration::from_secs(3),
            Some(Fault::Reset) => {
                self.reset(false);
                frame.clear();
            }
            Some(stop @ (Fault::Gone | Fault::Interrupt)) => self.stopped = Some(stop),
        }
        (frame, at)
    }

    fn check_stopped(&self) -> Result<(), PortError> {
        match self.stopped {
            Some(Fault::Gone) => Err(PortError::Gone { port: "rom".into() }),
            Some(_) => Err(PortError::Interrupted),
            None => Ok(()),
        }
    }

    fn reply(&mut self, opcode: u8, value: u32, data: &[u8], status: [u8; 2]) {
        let mut data = data.to_vec();
        data.extend(status);
        data.extend([0, 0]);
        let frame = slip::encode(&Reply { opcode, value, data }.to_bytes());
        let fault = self.fault_of(Way::ToHost);
        let (frame, at) = self.damage(frame, fault);
        let noise = self.noise.clone();
        self.put(&noise, at);
        self.put(&frame, at);
    }

    fn handle(&mut self, frame: &[u8]) {
        let Ok(raw) = RawRequest::from_frame(frame) else { return };
        let opcode = raw.opcode;
        let known = Opcode::from_byte(opcode);
        if known.is_none()
            || self.refuse == known
            || (self.no_security_info && known == Some(Opcode::GetSecurityInfo))
        {
            return self.reply(self.last_opcode, 0, &[], [1, 5]);
        }
        self.opcodes.extend(known);
        self.last_opcode = opcode;
        let Ok(request) = Request::from_raw(&raw) else {
            return self.reply(opcode, 0, &[], [1, 5]);
        };
        let fine = [0, 5]; // The reason is stale.
        match request {
            Request::Sync => {
                for _ in 0..self.chip.loader.sync_replies {
                    self.reply(opcode, 0x2000_0000, &[], fine);
                }
            }
            Request::GetSecurityInfo => {
                let data = self.security.to_bytes();
                self.reply(opcode, 0, &data, fine);
            }
            Request::ReadReg { addr } => {
                let value = self.registers.get(&addr).copied().unwrap_or(0);
                self.reply(opcode, value, &[], fine);
            }
            Request::WriteReg { addr, value, .. } => {
                self.write_register(addr, value);
                self.reply(opcode, 0, &[], fine);
            }
            Request::WriteRegs(_) if self.single_registers => {
                self.reply(opcode, 0, &[], [1, 5]);
            }
            Request::WriteRegs(writes) => {
                for write in writes {
                    self.write_register(write.addr, write.value);
                }
                self.reply(opcode, 0, &[], fine);
            }
            Request::SpiAttach { .. } => {
                self.attached = true;
                self.reply(opcode, 0, &[], fine);
            }
            Request::SpiSetParams { .. } => self.reply(opcode, 0, &[], fine),
            Request::ReadFlashSlow { offset, len } => {
                let at = offset as usize;
                let mut data = self.flash.get(at..at + len as usize).unwrap_or_default().to_vec();
                data.resize(64, 0);
                self.reply(opcode, 0, &data, fine);
            }
            Request::ChangeBaudrate { new, .. } => {
                self.reply(opcode, 0, &[], fine);
                self.board_baud = self.rate_of(new);
            }
            Request::FlashBegin(begin) | Request::FlashDeflBegin(begin)
                if self.attached
                    && begin.encrypt.is_some() == self.chip.loader.begin_has_encrypt_word =>
            {
                let from = begin.offset as usize / 0x1000 * 0x1000;
                let to = (begin.offset as usize).saturating_add(begin.erase_len as usize);
                let to = to.next_multiple_of(0x1000).min(self.flash.len());
                if begin.erase_len > 0
                    && let Some(sectors) = self.flash.get_mut(from..to)
                {
                    sectors.fill(0xff);
                }
                self.transfer = Some(Transfer {
                    at: begin.offset as usize,
                    sequence: 0,
                    inflater: Decompress::new(true),
                });
                self.reply(opcode, 0, &[], fine);
            }
            Request::FlashData { sequence, ref data }
            | Request::FlashDeflData { sequence, ref data } => {
                let deflated = known == Some(Opcode::FlashDeflData);
                let good = raw.has_valid_checksum();
                let status = self.block(sequence, data, good, deflated);
                self.reply(opcode, 0, &[], status);
            }
            Request::FlashEnd { .. } | Request::FlashDeflEnd { .. } => {
                self.reply(opcode, 0, &[], fine);
                self.reset(false);
            }
            Request::SpiFlashMd5 { offset, len } if self.attached => {
                let (from, len) = (offset as usize, len as usize);
                let piece = from.checked_add(len).and_then(|to| self.flash.get(from..to));
                let Some(piece) = piece else { return self.reply(opcode, 0, &[], [1, 6]) };
                let mut digits: String =
                    Md5::digest(piece).iter().map(|byte| format!("{byte:02x}")).collect();
                if self.wrong_hash {
                    digits = "0".repeat(32);
                }
                self.reply(opcode, 0, digits.as_bytes(), fine);
            }
            _ => self.reply(opcode, 0, &[], [1, 6]),
        }
    }

    fn block(&mut self, sequence: u32, data: &[u8], good: bool, deflated: bool) -> [u8; 2] {
        let Some(transfer) = &mut self.transfer else { return [1, 6] };
        if sequence != transfer.sequence {
            return [1, 5];
        }
        transfer.sequence += 1;
        if !good {
            return [1, 7];
        }
        let mut plain = Vec::with_capacity(0x1_0000);
        if !deflated {
            plain.extend_from_slice(data);
        } else if transfer.inflater.decompress_vec(data, &mut plain, FlushDecompress::None).is_err()
        {
            return [1, 0xb];
        }
        for byte in plain {
            // NOR flash: programming only clears bits.
            if let Some(cell) = self.flash.get_mut(transfer.at) {
                *cell &= byte;
            }
            transfer.at += 1;
        }
        [0, 5]
    }

    fn write_register(&mut self, addr: u32, value: u32) {
        let spi = &self.chip.spi;
        let at = |register| spi.base.0 + register;
        let starts = addr == at(spi.cmd) && value & (1 << 18) != 0;
        if !starts {
            self.registers.insert(addr, value);
        } else if self.registers.get(&at(spi.usr2)).map(|v| v & 0xffff) == Some(0x9f)
            && self.attached
        {
            // A Winbond W25Q32JV of 4 MiB.
            self.registers.insert(at(spi.w0), u32::from_le_bytes([0xef, 0x40, 0x16, 0]));
        }
    }
}

impl Port for Rom {
    fn name(&self) -> &str {
        "rom"
    }

    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        self.check_stopped()?;
        let mut count = 0;
        for place in buf.iter_mut() {
            match self.out.front() {
                Some((at, byte, baud))
                    if *at <= deadline.max(self.now) && (count == 0 || *at <= self.now) =>
                {
                    self.now = self.now.max(*at);
                    let garbled = self.garbles(*baud);
                    *place = if garbled { !*byte } else { *byte };
                    self.out.pop_front();
                    count += 1;
                }
                _ => break,
            }
        }
        if count == 0 {
            self.now = self.now.max(deadline);
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        self.check_stopped()?;
        let fault = self.fault_of(Way::ToBoard);
        let (bytes, arrives) = self.damage(bytes.to_vec(), fault);
        self.check_stopped()?;
        let now = std::mem::replace(&mut self.now, arrives);
        let garbled = self.garbles(self.board_baud);
        if self.mode == Mode::Download && !self.silent && !garbled {
            for byte in bytes {
                if let slip::Decoded::Frame(frame) = self.decoder.push(byte) {
                    self.handle(&frame);
                }
            }
        }
        self.now = now;
        self.check_stopped()
    }

    fn drain(&mut self) -> Result<(), PortError> {
        self.check_stopped()
    }

    fn clear_input(&mut self) -> Result<(), PortError> {
        let now = self.now;
        self.out.retain(|(at, ..)| *at > now);
        self.check_stopped()
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), PortError> {
        self.host_baud = baud;
        self.check_stopped()
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), PortError> {
        let held = |(dtr, rts): (bool, bool)| rts && !dtr;
        let before = std::mem::replace(&mut self.lines_now, (dtr, rts));
        if held(before) && !held((dtr, rts)) && self.lines {
            self.reset(dtr && !rts && !self.boot_pin_broken);
        }
        Ok(())
    }

    fn now(&self) -> Moment {
        self.now
    }

    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        self.now = self.now.max(moment);
        self.check_stopped()
    }

    fn reopen(&mut self) -> Result<(), PortError> {
        self.check_stopped()
    }

    fn caps(&self) -> Caps {
        Caps { lines: self.lines, baud: true, latency: Duration::ZERO }
    }
}
