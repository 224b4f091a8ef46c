//! Cables at the board's further UARTs.

use std::time::Duration;

use super::{Board, SentByte};
use crate::soc::clock::{duration, ticks};

impl Board {
    /// Connects a cable to the UART with this number. The cable follows the pin matrix: it is
    /// connected to the pins that the firmware selects for this UART. The first UART, number 0,
    /// already has the host's cable, and a further one receives the same. Returns `false` if the
    /// chip has no such UART.
    pub fn attach_uart(&mut self, number: usize) -> bool {
        let Some((signal, _)) = self.soc.uart(number) else { return false };
        self.soc.fabric.pins.serial.attach(signal);
        true
    }

    /// Returns the bytes that the UART has sent into its cable ([`Board::attach_uart`]) by now.
    pub fn uart_take(&mut self, number: usize) -> Vec<SentByte> {
        let Some((signal, _)) = self.soc.uart(number) else { return Vec::new() };
        let now = self.soc.fabric.now();
        let serial = &mut self.soc.fabric.pins.serial;
        let sent = std::iter::from_fn(|| serial.take_from_cable(signal, now));
        sent.map(|sent| SentByte { byte: sent.byte, baud: sent.baud }).collect()
    }

    /// Sends bytes to the UART through its cable, at the UART's own rate. Returns when the last one
    /// has arrived. They are lost if the firmware has not routed the UART's input to a pin.
    pub fn uart_send(&mut self, number: usize, bytes: &[u8]) -> Duration {
        let mut done = self.soc.fabric.now();
        if let Some((signal, baud)) = self.soc.uart(number) {
            for byte in bytes {
                done = self.soc.send_by_cable(signal, *byte, baud.max(1));
            }
        }
        duration(done.saturating_add(1))
    }

    /// Returns whether a UART takes its input from a pin: whether the firmware uses it.
    pub fn uart_listens(&self, number: usize) -> bool {
        let pins = &self.soc.fabric.pins;
        let signal = self.soc.uart(number);
        signal.is_some_and(|(signal, _)| pins.serial.input_pin(signal, pins.inputs()).is_some())
    }

    /// Returns whether the cable to a UART carries all bytes given so far within `ahead`. Without
    /// timing, bytes wait in the cable for room in the FIFO.
    pub(crate) fn uart_has_room(&self, number: usize, ahead: Duration) -> bool {
        let Some((signal, _)) = self.soc.uart(number) else { return false };
        let fabric = &self.soc.fabric;
        let serial = &fabric.pins.serial;
        serial.cable_busy_until(signal) <= fabric.now().saturating_add(ticks(ahead))
            && (fabric.timed || serial.waiting(signal) < UNTIMED)
    }
}

/// Most bytes in the cable of a board on which the wire takes no time.
const UNTIMED: usize = 128;
