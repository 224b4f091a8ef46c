//! The serial lines: UART 0 and USB-Serial-JTAG, frames of SLIP, replies.

use esplice_stub::crc::Crc;

use crate::{
    chip::{self, UART, UART_UPDATE, USB},
    memory::Buffer,
};

/// Received bytes that wait to be looked at: a block of esptool's, each byte escaped, and more.
static INPUT: Buffer<u8, 0x1_0000> = Buffer::new();
/// Bytes that wait to be sent.
const OUTPUT_LEN: u32 = 0x2000;
static OUTPUT: Buffer<u8, { OUTPUT_LEN as usize }> = Buffer::new();
/// The frame that was received last. The longest is a block of esptool's (FLASH_WRITE_SIZE) with
/// its headers.
static FRAME: Buffer<u8, 0x8000> = Buffer::new();
const LONGEST: usize = 8 + 16 + 0x4000;

// UART registers (TRM, UART Controller; the same on all these chips).
const FIFO: u32 = UART;
const CLKDIV: u32 = UART + 0x14;
const STATUS: u32 = UART + 0x1c;
/// Bytes in the FIFOs are counted in bits 0 to 7 and 16 to 23; each has 128.
const COUNT: u32 = 0xff;
const FIFO_LEN: u32 = 128;

// USB-Serial-JTAG registers (TRM, USB Serial/JTAG Controller).
const EP1: u32 = USB;
const EP1_CONF: u32 = USB + 4;
const WR_DONE: u32 = 1 << 0;
const IN_FREE: u32 = 1 << 1;
const OUT_AVAILABLE: u32 = 1 << 2;

/// Bytes to handle before the hardware is looked at again: its FIFO fills within 0.4 ms at 3,000,000
/// baud.
const TURN: usize = 64;

const END: u8 = 0xc0;
const ESC: u8 = 0xdb;
const ESC_END: u8 = 0xdc;
const ESC_ESC: u8 = 0xdd;

/// A line, as a bit; both until a request has arrived.
const BY_UART: u8 = 1;
const BY_USB: u8 = 2;

/// The serial line.
#[derive(Default)]
pub struct Link {
    input_end: u32,
    input_at: u32,
    output_end: u32,
    output_at: u32,
    len: usize,
    crc: Crc,
    /// The lines in use, and the one that the last byte came from.
    lines: u8,
    heard: u8,
    /// True if bytes were written to USB and not yet handed over.
    usb_pending: bool,
    escaped: bool,
    /// Set if the frame is too long or has a bad escape.
    broken: bool,
}

/// Returns a byte of the frame.
#[inline(always)]
pub fn byte(at: usize) -> u8 {
    FRAME.get(at)
}

/// Returns a word of the data that follow a header.
pub fn word(index: usize) -> u32 {
    word_at(8 + 4 * index)
}

/// Returns the word at a place of the frame.
#[inline(never)]
pub fn word_at(at: usize) -> u32 {
    u32::from_le_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)])
}

impl Link {
    /// Moves bytes between the hardware and the buffers.
    #[inline(never)]
    pub fn poll(&mut self) {
        if self.lines & BY_UART != 0 {
            let mut count = chip::read(STATUS) & COUNT;
            while count > 0 {
                self.keep(chip::read(FIFO), BY_UART);
                count -= 1;
            }
        }
        if USB != 0 && self.lines & BY_USB != 0 {
            while chip::read(EP1_CONF) & OUT_AVAILABLE != 0 {
                self.keep(chip::read(EP1), BY_USB);
            }
        }
        if self.is_sending() {
            self.transmit();
        }
    }

    /// Calls `with` for bytes of the frame, and keeps the line going.
    #[inline(always)]
    pub fn each(&mut self, from: usize, to: usize, mut with: impl FnMut(u8)) {
        for at in from..to {
            if at & (TURN - 1) == 0 {
                self.poll();
            }
            with(byte(at));
        }
    }

    /// Returns the CRC-32 of bytes of the frame.
    #[inline(never)]
    pub fn crc(&mut self, from: usize, to: usize) -> u32 {
        let mut crc = Crc::new();
        self.each(from, to, |byte| crc.update(&[byte]));
        crc.finish()
    }

    fn is_sending(&self) -> bool {
        self.output_at != self.output_end || self.usb_pending
    }

    #[inline(always)]
    fn keep(&mut self, byte: u32, line: u8) {
        INPUT.set(self.input_end as usize, byte as u8);
        self.input_end = self.input_end.wrapping_add(1);
        self.heard = line;
    }

    fn transmit(&mut self) {
        if self.lines & BY_UART != 0 {
            let mut room = FIFO_LEN.saturating_sub(chip::read(STATUS) >> 16 & COUNT);
            while room > 0 && self.output_at != self.output_end {
                chip::write(FIFO, self.take_output());
                room -= 1;
            }
        } else if USB != 0 {
            while self.output_at != self.output_end && chip::read(EP1_CONF) & IN_FREE != 0 {
                chip::write(EP1, self.take_output());
                self.usb_pending = true;
            }
            // A packet is handed over when it is full, and here when nothing else follows.
            if self.output_at == self.output_end && chip::read(EP1_CONF) & IN_FREE != 0 {
                chip::write(EP1_CONF, WR_DONE);
                self.usb_pending = false;
            }
        }
    }

    fn take_output(&mut self) -> u32 {
        let byte = OUTPUT.get(self.output_at as usize);
        self.output_at = self.output_at.wrapping_add(1);
        u32::from(byte)
    }

    /// Waits until everything has been sent.
    pub fn drain(&mut self) {
        while self.is_sending() {
            self.poll();
        }
        if self.lines & BY_UART != 0 {
            while chip::read(STATUS) >> 16 & COUNT != 0 {}
        }
        // The last byte leaves the shift register, at 9600 baud or more.
        chip::delay(1200);
    }

    /// Returns true if input waits.
    pub fn has_input(&self) -> bool {
        self.input_at != self.input_end
    }

    /// Returns the length of the next request, if one has arrived. Its bytes stay until the next
    /// call.
    pub fn receive(&mut self) -> Option<usize> {
        loop {
            let len = self.receive_any()?;
            // Direction 0 and a whole header.
            if len >= 8 && byte(0) == 0 {
                if self.lines == BY_UART | BY_USB {
                    self.lines = self.heard;
                }
                return Some(len);
            }
        }
    }

    /// Returns the length of the next frame, whatever it holds.
    #[inline(never)]
    pub fn receive_any(&mut self) -> Option<usize> {
        self.poll();
        while self.has_input() {
            let mut byte = INPUT.get(self.input_at as usize);
            self.input_at = self.input_at.wrapping_add(1);
            if self.input_at as usize & (TURN - 1) == 0 {
                self.poll();
            }
            if byte == END {
                let whole = self.len > 0 && !self.broken && !self.escaped;
                let len = self.len;
                (self.len, self.broken, self.escaped) = (0, false, false);
                if whole {
                    return Some(len);
                }
                continue;
            }
            if self.escaped {
                self.escaped = false;
                if byte != ESC_END && byte != ESC_ESC {
                    self.broken = true;
                }
                byte = if byte == ESC_END { END } else { ESC };
            } else if byte == ESC {
                self.escaped = true;
                continue;
            }
            FRAME.set(self.len, byte);
            if self.len < LONGEST {
                self.len += 1;
            } else {
                self.broken = true;
            }
        }
        None
    }

    /// Sends a reply without data: `value` for the header, and the status.
    #[inline(never)]
    pub fn reply(&mut self, opcode: u8, value: u32, reason: u8) {
        self.begin(opcode, value, 2);
        self.end_status(reason);
    }

    /// Sends a reply of one of the stub's own commands: words, and their checksum.
    #[inline(never)]
    pub fn reply_words(&mut self, opcode: u8, words: &[u32]) {
        self.begin(opcode, 0, 4 * words.len() + 6);
        for word in words {
            self.put_word(*word);
        }
        self.end_checked();
    }

    /// Begins a reply with `len` bytes of data and status.
    #[inline(never)]
    pub fn begin(&mut self, opcode: u8, value: u32, len: usize) {
        self.begin_raw();
        self.put_word(1 | u32::from(opcode) << 8 | (len as u32) << 16);
        self.put_word(value);
        self.crc = Crc::new();
    }

    /// Begins a frame that is no reply.
    pub fn begin_raw(&mut self) {
        self.raw(END);
    }

    pub fn put_word(&mut self, word: u32) {
        self.put(&word.to_le_bytes());
    }

    /// Adds bytes to the frame.
    #[inline(never)]
    pub fn put(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        for byte in bytes {
            let byte = *byte;
            if byte == END || byte == ESC {
                self.raw(ESC);
                self.raw(if byte == END { ESC_END } else { ESC_ESC });
            } else {
                self.raw(byte);
            }
        }
    }

    /// Ends a frame.
    pub fn end(&mut self) {
        self.raw(END);
        self.poll();
    }

    /// Ends a reply with a status.
    pub fn end_status(&mut self, reason: u8) {
        self.put(&[reason, 0]);
        self.end();
    }

    /// Ends a reply with the checksum of its data and a good status.
    #[inline(never)]
    pub fn end_checked(&mut self) {
        let crc = self.crc.finish();
        self.put_word(crc);
        self.end_status(0);
    }

    #[inline(never)]
    fn raw(&mut self, byte: u8) {
        while self.output_end.wrapping_sub(self.output_at) >= OUTPUT_LEN {
            self.poll();
        }
        OUTPUT.set(self.output_end as usize, byte);
        self.output_end = self.output_end.wrapping_add(1);
    }

    /// Sends the greeting on all lines, because it is not known yet where the host is.
    pub fn greet(&mut self) {
        self.lines = BY_UART | BY_USB;
        for byte in [END, b'O', b'H', b'A', b'I', END] {
            chip::write(FIFO, u32::from(byte));
            if USB != 0 && chip::read(EP1_CONF) & IN_FREE != 0 {
                chip::write(EP1, u32::from(byte));
            }
        }
        if USB != 0 {
            chip::write(EP1_CONF, WR_DONE);
        }
    }

    /// Changes the rate from `old` to `new` baud, whatever clock the UART has.
    pub fn set_baud(&mut self, new: u32, old: u32) {
        self.drain();
        // Hundreds are fine enough, and keep the product within a word.
        let (new, old) = (new / 100, old / 100);
        if self.lines & BY_UART == 0 || new == 0 {
            return;
        }
        // Twelve bits of the divider and four of its fraction.
        let divider = chip::read(CLKDIV);
        let sixteenths = (divider & 0xfff) << 4 | divider >> 20 & 15;
        let scaled = sixteenths.wrapping_mul(old).wrapping_add(new / 2) / new;
        chip::write(CLKDIV, scaled >> 4 & 0xfff | (scaled & 15) << 20);
        if UART_UPDATE != 0 {
            chip::write(UART_UPDATE, 1);
            while chip::read(UART_UPDATE) & 1 != 0 {}
        }
    }
}
