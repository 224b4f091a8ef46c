//! The host's end of the serial line: bytes in both directions, the two lines that reset the chip,
//! and the boot pin.

use std::time::Duration;

use super::{Board, State};
use crate::soc::{
    Cable, LINE_LIMIT, LineByte, ResetReason,
    clock::{duration, periods, ticks},
    usb_serial_jtag,
};

/// A byte as sent by the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentByte {
    /// The byte.
    pub byte: u8,
    /// The rate at which it was sent.
    pub baud: u32,
}

impl SentByte {
    /// Returns whether a receiver at `baud` reads it correctly.
    pub fn is_clean_at(self, baud: u32) -> bool {
        LineByte { done: 0, byte: self.byte, baud: self.baud }.received_at(baud).1
    }

    /// Returns the byte as read at `baud`: garbage if the rates differ by more than 3 %.
    pub fn heard_at(self, baud: u32) -> u8 {
        LineByte { done: 0, byte: self.byte, baud: self.baud }.received_at(baud).0
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) dtr: bool,
    pub(super) rts: bool,
}

impl Lines {
    /// Returns whether EN is low. In the usual circuit of two transistors, RTS without DTR pulls EN
    /// low, DTR without RTS pulls the boot pin low, and both together pull neither.
    pub(super) fn en_low(self) -> bool {
        self.rts && !self.dtr
    }

    pub(super) fn boot_pin_low(self) -> bool {
        self.dtr && !self.rts
    }
}

/// Time from the release of EN to the chip's start and the sampling of its straps; EN has a
/// capacitor.
pub(super) const EN_RISE: Duration = Duration::from_millis(1);
impl Board {
    /// Sets DTR and RTS; `true` means asserted. RTS without DTR holds the chip in reset, DTR
    /// without RTS holds the boot pin low, both together hold neither. The lines select the boot
    /// mode when EN has risen, a millisecond after its release.
    pub fn set_lines(&mut self, dtr: bool, rts: bool) {
        let before = std::mem::replace(&mut self.lines, Lines { dtr, rts });
        if self.soc.fabric.cable == Cable::Usb {
            return self.set_usb_lines(before, self.lines);
        }
        let held = matches!(self.state, State::Held);
        if self.lines.en_low() && !held {
            self.state = State::Held;
            // The transmitter stops at once.
            self.soc.reset(ResetReason::PowerOn);
        } else if !self.lines.en_low() && held {
            let now = self.soc.fabric.now();
            let rise = if self.soc.fabric.timed { ticks(EN_RISE) } else { 0 };
            self.state = State::Rising(now + rise);
        }
    }

    /// Holds the boot pin low, as a press of the boot button does. Each reset from now on enters
    /// download mode. [`Board::set_lines`] still resets.
    pub fn hold_boot_pin(&mut self, held: bool) {
        self.boot_pin_held = held;
    }

    /// Returns the present baud rate of the console UART. Before its first SYNC, the serial loader
    /// adopts the host's rate.
    pub fn baud(&mut self) -> u32 {
        self.soc.console_baud()
    }

    /// Returns the number of bytes on the line towards the board that it has not taken.
    pub fn host_waiting(&self) -> usize {
        self.soc.fabric.line.to_board.len()
    }

    /// Puts bytes on the line towards the board at `baud`, after those already on it. Returns the
    /// time at which the last one has arrived. The line holds a megabyte. Excess bytes are lost, as
    /// in the FIFO of a board that does not read.
    pub fn host_send(&mut self, bytes: &[u8], baud: u32) -> Duration {
        let baud = baud.max(1);
        let fabric = &mut self.soc.fabric;
        let (baud, time) = match fabric.cable {
            Cable::Uart => (baud, periods(10, u64::from(baud))),
            Cable::Usb => (0, periods(1, usb_serial_jtag::BYTES_HZ)),
        };
        let time = if fabric.timed { time } else { 0 };
        let now = fabric.now();
        let mut at = self.leaves_bridge(self.line_free.max(now));
        let fabric = &mut self.soc.fabric;
        let room = LINE_LIMIT.saturating_sub(fabric.line.to_board.len());
        for &byte in bytes.iter().take(room) {
            let done = at.saturating_add(time);
            at = self.pass_to_board(LineByte { done, byte, baud }, time);
        }
        self.line_free = at;
        self.soc.refresh_all();
        duration(at.saturating_add(1))
    }

    /// Takes bytes that have arrived at the host by now. They are garbled if the board's rate is
    /// not `baud`.
    pub fn host_take(&mut self, baud: u32, buf: &mut [u8]) -> usize {
        let mut taken = 0;
        for slot in buf {
            let Some(byte) = self.next_for_host() else { break };
            *slot = byte.received_at(baud).0;
            taken += 1;
        }
        taken
    }

    /// Returns the next byte that has arrived at the host by now, as it was sent.
    pub fn host_take_sent(&mut self) -> Option<SentByte> {
        let byte = self.next_for_host()?;
        Some(SentByte { byte: byte.byte, baud: byte.baud })
    }

    /// Removes the bytes on the line towards the board, as a port does when its output is purged.
    /// With `time=none` this includes every byte not yet taken.
    pub fn host_unsend(&mut self) {
        let fabric = &mut self.soc.fabric;
        let now = fabric.now();
        let line = &mut fabric.line.to_board;
        let arrived = line.partition_point(|byte| byte.done <= now);
        line.truncate(if fabric.timed { arrived } else { 0 });
        self.line_free = now;
        self.soc.refresh_all();
    }

    /// Discards bytes that have arrived at the host and were not taken.
    pub fn host_clear(&mut self) {
        while self.next_for_host().is_some() {}
    }
}
