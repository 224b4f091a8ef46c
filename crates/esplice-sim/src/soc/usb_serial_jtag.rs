//! USB-Serial-JTAG: the chip's own serial port on a USB cable (TRM, "USB Serial/JTAG Controller",
//! which defines the register names; bits as in the crate esp32c3, `usb_device`). The JTAG half
//! does nothing.
//!
//! With a host connected ([`Cable::Usb`]), packets are transferred in both directions and a frame
//! starts every millisecond. Without a host nothing is taken from the IN endpoint: bytes written
//! there stay, and software can see that.

use esplice_chip::Peripheral;

use super::{
    clock::{TICK_HZ, Tick, periods},
    device::{Cable, Device, Fabric, LineByte, Registers, Scope},
};
use std::collections::VecDeque;

pub(crate) const EP1: u32 = 0x00;
pub(crate) const EP1_CONF: u32 = 0x04;
const INT_RAW: u32 = 0x08;
const INT_ST: u32 = 0x0c;
const INT_ENA: u32 = 0x10;
const INT_CLR: u32 = 0x14;
const CONF0: u32 = 0x18;
const FRAM_NUM: u32 = 0x24;
const IN_EP1_ST: u32 = 0x2c;
const OUT_EP1_ST: u32 = 0x3c;

/// EP1_CONF: sends the bytes written.
pub(crate) const WR_DONE: u32 = 1 << 0;
/// EP1_CONF: the IN endpoint accepts bytes.
pub(crate) const IN_FREE: u32 = 1 << 1;
/// EP1_CONF: the OUT endpoint holds bytes.
pub(crate) const OUT_AVAIL: u32 = 1 << 2;
/// CONF0: the pins are used for USB.
const PAD_ENABLE: u32 = 1 << 14;

/// Bits of the interrupt registers.
mod int {
    pub const SOF: u32 = 1 << 1;
    pub const OUT_RECV_PKT: u32 = 1 << 2;
    pub const IN_EMPTY: u32 = 1 << 3;
    pub const IN_TOKEN: u32 = 1 << 8;
}

/// Size of a packet in bytes (USB 2.0, 5.8.3: the maximum of a full-speed bulk endpoint).
pub(crate) const PACKET: usize = 64;
/// Frames per second (USB 2.0, 5.3.3).
const FRAME_HZ: u64 = 1000;
/// Bytes per second on the wire: the share of 12 Mbit/s available to bulk transfers (USB 2.0, table
/// 5-9: 19 packets of 64 bytes per frame).
pub(crate) const BYTES_HZ: u64 = 19 * 64 * FRAME_HZ;

/// The controller.
#[derive(Debug, Clone)]
pub(crate) struct UsbSerialJtag {
    registers: Registers,
    raw: u32,
    /// Number of the last frame seen.
    frame: u64,
    /// Bytes written to the IN endpoint but not handed over.
    filling: Vec<u8>,
    /// Time at which the host takes the IN packet that was handed over, or `Tick::MAX` without a
    /// host.
    sent_at: Option<Tick>,
    received: VecDeque<u8>,
}

impl UsbSerialJtag {
    pub fn new(device: &Peripheral) -> Self {
        Self::with(Registers::of(device))
    }

    /// Returns the controller's reset state with these registers.
    fn with(registers: Registers) -> Self {
        Self {
            registers,
            raw: int::IN_EMPTY,
            frame: 0,
            filling: Vec::new(),
            sent_at: None,
            received: VecDeque::new(),
        }
    }

    fn has_host(&self, fabric: &Fabric) -> bool {
        fabric.cable == Cable::Usb && self.registers.get(CONF0) & PAD_ENABLE != 0
    }

    fn is_free(&self) -> bool {
        self.sent_at.is_none() && self.filling.len() < PACKET
    }

    /// Hands over the complete packet, which is sent as soon as there is a host.
    fn hand_over(&mut self, fabric: &mut Fabric) {
        if self.has_host(fabric) {
            self.send(fabric);
        } else {
            self.sent_at = Some(Tick::MAX);
        }
    }

    /// Sends the packet to the host.
    fn send(&mut self, fabric: &mut Fabric) {
        let now = fabric.now();
        let bytes = std::mem::take(&mut self.filling);
        // Even an empty packet takes some time on the wire.
        let time = if fabric.timed { periods(bytes.len() as u64 + 1, BYTES_HZ) } else { 0 };
        let done = now.saturating_add(time);
        for byte in bytes {
            fabric.line.send_to_host(LineByte { done, byte, baud: 0 });
            if fabric.watch_output && fabric.line.to_host.len() == 1 {
                fabric.memory.request_yield();
            }
        }
        self.sent_at = Some(done);
    }

    /// Brings the endpoints and raw interrupts up to date.
    fn advance(&mut self, fabric: &mut Fabric) {
        if !self.has_host(fabric) {
            return;
        }
        let now = fabric.now();
        let frame = now / (TICK_HZ / FRAME_HZ);
        if frame > self.frame {
            self.frame = frame;
            self.raw |= int::SOF;
        }
        match self.sent_at {
            // The packet was handed over before there was a host.
            Some(Tick::MAX) => self.send(fabric),
            Some(at) if at <= now => {
                self.sent_at = None;
                self.raw |= int::IN_EMPTY | int::IN_TOKEN;
            }
            _ => {}
        }
        if self.received.is_empty() && !fabric.rom_listens {
            while self.received.len() < PACKET
                && let Some(byte) = fabric.line.to_board.pop_front_if(|byte| byte.done <= now)
            {
                self.received.push_back(byte.byte);
                fabric.line.received += 1;
                self.raw |= int::OUT_RECV_PKT;
            }
        }
    }
}

impl Device for UsbSerialJtag {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        self.advance(fabric);
        match offset {
            EP1 => {
                let byte = self.received.pop_front().unwrap_or(0);
                // The next packet may be received now.
                self.advance(fabric);
                byte.into()
            }
            EP1_CONF => {
                let free = if self.is_free() { IN_FREE } else { 0 };
                free | if self.received.is_empty() { 0 } else { OUT_AVAIL }
            }
            INT_RAW => self.raw,
            INT_ST => self.raw & self.registers.get(INT_ENA),
            FRAM_NUM => (self.frame & 0x7ff) as u32,
            // Addresses in the endpoints' memories, of which two bytes are not data.
            IN_EP1_ST => (self.filling.len() as u32 + 2) << 2,
            OUT_EP1_ST => self.received.len() as u32 * (1 << 16 | 1 << 2) + (2 << 2),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.advance(fabric);
        match offset {
            EP1 if self.is_free() => {
                self.filling.push(value as u8);
                // A full packet is sent automatically.
                if self.filling.len() == PACKET {
                    self.hand_over(fabric);
                }
            }
            EP1 => {}
            EP1_CONF if value & WR_DONE != 0 && self.sent_at.is_none() => self.hand_over(fabric),
            EP1_CONF => {}
            INT_RAW => self.raw = value,
            INT_CLR => self.raw &= !value,
            _ => self.registers.set(offset, value),
        }
        self.advance(fabric);
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(INT_ENA) != 0)
    }

    fn next_event(&self, fabric: &Fabric) -> Option<Tick> {
        if !self.has_host(fabric) {
            return None;
        }
        let wanted = self.registers.get(INT_ENA) & !self.raw;
        let frame = (wanted & int::SOF != 0).then(|| (self.frame + 1) * (TICK_HZ / FRAME_HZ));
        let sent = self.sent_at.filter(|_| wanted & (int::IN_EMPTY | int::IN_TOKEN) != 0);
        let arrival = fabric.line.to_board.front().map(|byte| byte.done).filter(|_| {
            wanted & int::OUT_RECV_PKT != 0 && self.received.is_empty() && !fabric.rom_listens
        });
        [frame, sent, arrival].into_iter().flatten().min()
    }

    fn event(&mut self, fabric: &mut Fabric) {
        self.advance(fabric);
    }

    fn steady_until(&self, offset: u32, fabric: &Fabric) -> Option<Tick> {
        match offset {
            EP1 => return None,
            EP1_CONF | INT_RAW | INT_ST | FRAM_NUM | IN_EP1_ST | OUT_EP1_ST => {}
            _ => return Some(Tick::MAX),
        }
        if !self.has_host(fabric) {
            return Some(Tick::MAX);
        }
        let frame = (self.frame + 1) * (TICK_HZ / FRAME_HZ);
        let frame = (offset == FRAM_NUM || self.raw & int::SOF == 0).then_some(frame);
        let arrival = fabric.line.to_board.front().map(|byte| byte.done);
        let arrival = arrival.filter(|_| self.received.is_empty() && !fabric.rom_listens);
        Some([frame, self.sent_at, arrival].into_iter().flatten().min().unwrap_or(Tick::MAX))
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            // The connection survives a reset, but bytes on their way do not.
            let frame = fabric.now() / (TICK_HZ / FRAME_HZ);
            let mut registers = self.registers.clone();
            registers.reset();
            *self = Self { frame, ..Self::with(registers) };
        }
    }
}
