//! The host's end of the serial line: bytes both ways, the two lines that reset the chip, and the boot pin.

use std::time::Duration;

use super::{Board, State};
use crate::soc::{
    Cable, LINE_LIMIT, LineByte, ResetReason,
    clock::{duration, periods, ticks},
    usb_serial_jtag,
};

/// A byte as the board sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The byte.
    pub byte: u8,
    /// The rate it was sent at.
    pub baud: u32,
}

impl Sent {
    /// Whether a receiver at `baud` gets it as it was sent.
    pub fn is_clean_at(self, baud: u32) -> bool {
        LineByte { done: 0, byte: self.byte, baud: self.baud }.received_at(baud).1
    }

    /// What a receiver at `baud` makes of it: garbage, where the rates are more than 3 % apart.
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
    /// The usual circuit of two transistors: RTS alone pulls EN low, DTR alone the boot pin, and
    /// both together pull neither.
    pub(super) fn en_low(self) -> bool {
        self.rts && !self.dtr
    }

    pub(super) fn boot_pin_low(self) -> bool {
        self.dtr && !self.rts
    }
}

/// EN has a capacitor: from release to the chip's start, and the sampling of its straps.
pub(super) const EN_RISE: Duration = Duration::from_millis(1);
impl Board {
    /// Sets DTR and RTS; `true` is asserted. RTS alone holds the chip in reset, DTR alone holds
    /// the boot pin low, both together hold neither. The boot mode is what the lines say when EN
    /// has risen, a millisecond after it was released.
    pub fn set_lines(&mut self, dtr: bool, rts: bool) {
        let before = std::mem::replace(&mut self.lines, Lines { dtr, rts });
        if self.soc.fabric.cable == Cable::Usb {
            return self.set_usb_lines(before, self.lines);
        }
        let held = matches!(self.state, State::Held);
        if self.lines.en_low() && !held {
            self.state = State::Held;
            // The transmitter falls silent at once.
            self.soc.reset(ResetReason::PowerOn);
        } else if !self.lines.en_low() && held {
            let now = self.soc.fabric.now();
            let rise = if self.soc.fabric.timed { ticks(EN_RISE) } else { 0 };
            self.state = State::Rising(now + rise);
        }
    }

    /// Holds the boot pin low, as a finger on the boot button does: each reset from now on leads
    /// into download mode. [`Board::set_lines`] still resets.
    pub fn hold_boot_pin(&mut self, held: bool) {
        self.boot_pin_held = held;
    }

    /// Baud rate of the console UART at present. Before its first SYNC the serial loader takes the
    /// host's.
    pub fn baud(&mut self) -> u32 {
        self.soc.console_baud()
    }

    /// Bytes on the line towards the board that it has not taken.
    pub fn host_waiting(&self) -> usize {
        self.soc.fabric.line.to_board.len()
    }

    /// Puts bytes on the line towards the board at `baud`, behind those that are on it; gives the
    /// moment when the last has arrived. The line holds a megabyte; what it can't hold is lost, as
    /// it is in the FIFO of a board that does not listen.
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

    /// Takes bytes that have arrived at the host by now; they are garbled where the board's rate
    /// is another than `baud`.
    pub fn host_take(&mut self, baud: u32, buf: &mut [u8]) -> usize {
        let mut taken = 0;
        for slot in buf {
            let Some(byte) = self.next_for_host() else { break };
            *slot = byte.received_at(baud).0;
            taken += 1;
        }
        taken
    }

    /// The next byte that has arrived at the host by now, as it was sent.
    pub fn host_take_sent(&mut self) -> Option<Sent> {
        let byte = self.next_for_host()?;
        Some(Sent { byte: byte.byte, baud: byte.baud })
    }

    /// Takes back what is on the line towards the board, as a port does whose output is purged. On a board
    /// without time all of it counts as on the line.
    pub fn host_unsend(&mut self) {
        let fabric = &mut self.soc.fabric;
        let now = fabric.now();
        let line = &mut fabric.line.to_board;
        let arrived = line.partition_point(|byte| byte.done <= now);
        line.truncate(if fabric.timed { arrived } else { 0 });
        self.line_free = now;
        self.soc.refresh_all();
    }

    /// Throws away what has arrived at the host and was not taken.
    pub fn host_clear(&mut self) {
        while self.next_for_host().is_some() {}
    }
}
