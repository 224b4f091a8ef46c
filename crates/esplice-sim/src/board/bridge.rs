//! The USB bridge between UART0 and the host. It transfers bytes in packets and delays them until a
//! packet leaves.

use super::Board;
use crate::soc::{
    Cable,
    clock::{Tick, periods},
};

/// The kind of bridge on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bridge {
    /// No bridge, no delay.
    #[default]
    None,
    /// A bridge that passes on its data in each frame of full-speed USB, as CP2102N, CH340 and
    /// CDC-ACM devices do: frames of 1 ms, packets of 64 bytes (USB 2.0 specification, 5.8.3 and
    /// 8.4.3).
    Usb,
    /// An FTDI bridge: a packet holds 62 bytes and leaves when it is full or when the latency
    /// timer, 16 ms by default, has run out (FTDI application note AN232B-04, "Data Throughput,
    /// Latency and Handshaking", section 3).
    Ftdi,
}

impl Bridge {
    pub(crate) const ALL: [(&str, Bridge); 3] =
        [("none", Bridge::None), ("usb", Bridge::Usb), ("ftdi", Bridge::Ftdi)];

    /// Returns the bridge called `name`.
    pub fn parse(name: &str) -> Option<Bridge> {
        Bridge::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, bridge)| bridge)
    }

    /// Longest time the first byte of a packet waits for others.
    fn latency(self) -> Tick {
        match self {
            Bridge::None => 0,
            Bridge::Usb => frame(),
            Bridge::Ftdi => 16 * frame(),
        }
    }

    /// Bytes in a packet.
    fn packet(self) -> usize {
        match self {
            Bridge::Ftdi => 62,
            Bridge::None | Bridge::Usb => 64,
        }
    }
}

/// Returns the length of a frame of full-speed USB.
fn frame() -> Tick {
    periods(1, 1000)
}

impl Board {
    /// Puts that bridge between UART0 and the host.
    pub fn set_bridge(&mut self, bridge: Bridge) {
        self.bridge = bridge;
    }

    /// Returns whether a bridge delays bytes.
    pub(super) fn is_bridged(&self) -> bool {
        let fabric = &self.soc.fabric;
        self.bridge != Bridge::None && fabric.timed && fabric.cable == Cable::Uart
    }

    /// Returns when the next byte for the host is available.
    pub(super) fn output_at(&self) -> Option<Tick> {
        let line = &self.soc.fabric.line.to_host;
        let first = line.front()?.done;
        if !self.is_bridged() || first <= self.handed_over {
            return Some(first);
        }
        let full = line.get(self.bridge.packet() - 1).map_or(Tick::MAX, |byte| byte.done);
        Some(first.saturating_add(self.bridge.latency()).min(full))
    }

    /// Records that a packet is handed over now.
    pub(super) fn hand_over(&mut self, now: Tick) {
        self.handed_over = now;
    }

    /// Returns the latest time at which the bridge's packet must be checked again.
    pub(super) fn bridge_looks_at(&self, now: Tick) -> Tick {
        match self.is_bridged() && !self.soc.fabric.line.to_host.is_empty() {
            true => now.saturating_add(frame()),
            false => Tick::MAX,
        }
    }

    /// Returns when bytes that the host sends at `at` leave the bridge: at the next frame, unless
    /// earlier bytes are still on the line.
    pub(super) fn leaves_bridge(&self, at: Tick) -> Tick {
        match self.is_bridged() && at > self.line_free {
            true => at.next_multiple_of(frame()),
            false => at,
        }
    }
}
