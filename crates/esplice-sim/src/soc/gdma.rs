//! The general DMA controller, reduced to what the SHA accelerator and memory-to-memory copies need
//! (TRM, "GDMA Controller", which defines the register and bit names; offsets as in the crate
//! esp32c3, `dma`).
//!
//! A transfer takes no time: it completes as soon as both of its sides are ready. No other device
//! requests data.

use esplice_chip::Peripheral;

use super::clock::Tick;
use super::device::{Device, Fabric, Registers, Scope};
use crate::memory::Memory;

const CHANNELS: usize = 3;
/// Length of the interrupt registers of a channel, or of one of its directions.
const INT_LEN: u32 = 0x10;
const INT_RAW: u32 = 0x00;
const INT_ST: u32 = 0x04;
const INT_ENA: u32 = 0x08;
const INT_CLR: u32 = 0x0c;

/// Differences between versions.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Interrupts by their registers: the channel, and the interrupts (see [`int`]) at the bits from
    /// 0 on, or 0 where a bit is unused.
    ports: &'static [(usize, &'static [u32])],
    /// Upper bits of a descriptor's address, for which the link registers have no room.
    link_base: u32,
}

/// The ESP32-C3's DMA.
const V1: Layout =
    Layout { ports: &[(0, int::ALL), (1, int::ALL), (2, int::ALL)], link_base: 0x3fc0_0000 };
/// The ESP32-C2's DMA, which has one channel (crate esp32c2, `dma`).
const V1_SINGLE: Layout = Layout { ports: &[(0, int::ALL)], ..V1 };
/// The ESP32-C6's and ESP32-H2's DMA, where each direction has its interrupt (registers and bits of
/// the crate esp32c6, `dma`).
const V2: Layout = Layout {
    ports: &[(0, int::IN), (1, int::IN), (2, int::IN), (0, int::OUT), (1, int::OUT), (2, int::OUT)],
    link_base: 0x4080_0000,
};

/// Registers of a channel: receive, then transmit.
const CHANNEL0: u32 = 0x70;
const CHANNEL_LEN: u32 = 0xc0;
const IN_CONF0: u32 = 0x00;
const IN_LINK: u32 = 0x10;
const IN_SUC_EOF_DES_ADDR: u32 = 0x18;
const OUT_CONF0: u32 = 0x60;
const OUT_CONF1: u32 = 0x64;
const OUT_LINK: u32 = 0x70;
const OUT_EOF_DES_ADDR: u32 = 0x78;
const OUT_PERI_SEL: u32 = 0x90;

/// Interrupts of a channel.
mod int {
    pub const IN_DONE: u32 = 1 << 0;
    pub const IN_SUC_EOF: u32 = 1 << 1;
    pub const OUT_DONE: u32 = 1 << 3;
    pub const OUT_EOF: u32 = 1 << 4;
    pub const IN_DSCR_ERR: u32 = 1 << 5;
    pub const OUT_DSCR_ERR: u32 = 1 << 6;
    pub const IN_DSCR_EMPTY: u32 = 1 << 7;
    pub const OUT_TOTAL_EOF: u32 = 1 << 8;

    /// All of a channel.
    pub const ALL: &[u32] = &[
        IN_DONE,
        IN_SUC_EOF,
        0,
        OUT_DONE,
        OUT_EOF,
        IN_DSCR_ERR,
        OUT_DSCR_ERR,
        IN_DSCR_EMPTY,
        OUT_TOTAL_EOF,
    ];
    /// Those of receivers and transmitters, where they have separate registers.
    pub const IN: &[u32] = &[IN_DONE, IN_SUC_EOF, 0, IN_DSCR_ERR, IN_DSCR_EMPTY];
    pub const OUT: &[u32] = &[OUT_DONE, OUT_EOF, OUT_DSCR_ERR, OUT_TOTAL_EOF];
}

const IN_RST: u32 = 1 << 0;
const MEM_TRANS_EN: u32 = 1 << 4;
const OUT_RST: u32 = 1 << 0;
const OUT_AUTO_WRBACK: u32 = 1 << 2;
const OUT_CHECK_OWNER: u32 = 1 << 12;
/// Bits of OUT_LINK. IN_LINK has the same bits one position higher.
const LINK_STOP: u32 = 1 << 20;
const LINK_START: u32 = 1 << 21;
const LINK_RESTART: u32 = 1 << 22;
const LINK_PARK: u32 = 1 << 23;

/// Fields of a descriptor's first word.
mod descriptor {
    pub const SIZE: u32 = 0xfff;
    pub const LENGTH_AT: u32 = 12;
    pub const EOF: u32 = 1 << 30;
    pub const OWNER: u32 = 1 << 31;
}

/// Peripheral number of the SHA accelerator.
pub(crate) const SHA: u32 = 7;
/// Maximum number of descriptors in a transfer, so that a circular list ends too.
const MOST_DESCRIPTORS: usize = 0x1_0000;
/// Maximum length of a copy in bytes, larger than the memory.
const MOST_COPIED: usize = 1 << 20;

/// One direction of a channel.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    /// Address of the next descriptor, if the link is running.
    next: Option<u32>,
    /// Bytes of its buffer that are already transferred.
    done: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Channel {
    input: Link,
    output: Link,
    raw: u32,
}

/// DMA state shared with the devices that transfer data.
#[derive(Debug, Clone)]
pub(crate) struct Dma {
    registers: Registers,
    channels: [Channel; CHANNELS],
    /// True if a transfer was started and devices must check for it.
    pub changed: bool,
}

impl Dma {
    pub fn new() -> Self {
        let end = CHANNEL0 + CHANNEL_LEN * CHANNELS as u32;
        Self { registers: Registers::new(end), channels: Default::default(), changed: false }
    }

    fn register(&self, channel: usize, offset: u32) -> u32 {
        self.registers.get(CHANNEL0 + CHANNEL_LEN * channel as u32 + offset)
    }

    fn set_register(&mut self, channel: usize, offset: u32, value: u32) {
        self.registers.set(CHANNEL0 + CHANNEL_LEN * channel as u32 + offset, value);
    }

    /// Takes up to `len` bytes for a peripheral from the channel that sends to it. Returns `None`
    /// if no channel does.
    pub fn take(
        &mut self,
        peripheral: u32,
        len: usize,
        memory: &mut Memory,
        flash: &[u8],
    ) -> Option<Vec<u8>> {
        let channel = (0..CHANNELS).find(|&channel| {
            self.register(channel, OUT_PERI_SEL) & 0x3f == peripheral
                && self.register(channel, IN_CONF0) & MEM_TRANS_EN == 0
                && self.channels[channel].output.next.is_some()
        })?;
        Some(self.send(channel, len, memory, flash).0)
    }

    /// Reads what a channel sends: at most `len` bytes, and not past an end of frame. Also returns
    /// whether the frame ended.
    fn send(
        &mut self,
        channel: usize,
        len: usize,
        memory: &mut Memory,
        flash: &[u8],
    ) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        for _ in 0..MOST_DESCRIPTORS {
            let Some(at) = self.channels[channel].output.next else { break };
            let [Some(head), Some(buffer), Some(next)] =
                [at, at.wrapping_add(4), at.wrapping_add(8)].map(|at| memory.load32(at, flash))
            else {
                self.fail(channel, int::OUT_DSCR_ERR);
                break;
            };
            let checks = self.register(channel, OUT_CONF1) & OUT_CHECK_OWNER != 0;
            if checks && head & descriptor::OWNER == 0 {
                self.fail(channel, int::OUT_DSCR_ERR);
                break;
            }
            let done = self.channels[channel].output.done;
            let length = head >> descriptor::LENGTH_AT & descriptor::SIZE;
            let count = (length.saturating_sub(done) as usize).min(len - bytes.len());
            let mut piece = vec![0; count];
            memory.read(buffer.wrapping_add(done), &mut piece, flash);
            bytes.extend(piece);
            if done + (count as u32) < length {
                self.channels[channel].output.done += count as u32;
                break;
            }
            if self.register(channel, OUT_CONF0) & OUT_AUTO_WRBACK != 0 {
                memory.store32(at, head & !descriptor::OWNER);
            }
            let last = head & descriptor::EOF != 0 || next == 0;
            let state = &mut self.channels[channel];
            state.raw |= int::OUT_DONE;
            state.output = Link { next: (next != 0).then_some(next), done: 0 };
            if last {
                state.raw |= int::OUT_EOF;
                if next == 0 {
                    state.raw |= int::OUT_TOTAL_EOF;
                }
                self.set_register(channel, OUT_EOF_DES_ADDR, at);
                return (bytes, true);
            }
            if bytes.len() >= len {
                break;
            }
        }
        (bytes, false)
    }

    /// Writes bytes to a channel's receive descriptors and ends the frame there.
    fn receive(&mut self, channel: usize, bytes: &[u8], memory: &mut Memory, flash: &[u8]) {
        let mut rest = bytes;
        for _ in 0..MOST_DESCRIPTORS {
            let Some(at) = self.channels[channel].input.next else {
                self.channels[channel].raw |= int::IN_DSCR_EMPTY;
                return;
            };
            let [Some(head), Some(buffer), Some(next)] =
                [at, at.wrapping_add(4), at.wrapping_add(8)].map(|at| memory.load32(at, flash))
            else {
                self.channels[channel].input = Link::default();
                self.channels[channel].raw |= int::IN_DSCR_ERR;
                return;
            };
            let (piece, after) = rest.split_at(rest.len().min((head & descriptor::SIZE) as usize));
            memory.write(buffer, piece);
            rest = after;
            let eof = if rest.is_empty() { descriptor::EOF } else { 0 };
            let length = (piece.len() as u32) << descriptor::LENGTH_AT;
            memory.store32(at, head & descriptor::SIZE | length | eof);
            let state = &mut self.channels[channel];
            state.raw |= int::IN_DONE;
            state.input.next = (next != 0).then_some(next);
            if rest.is_empty() {
                state.raw |= int::IN_SUC_EOF;
                self.set_register(channel, IN_SUC_EOF_DES_ADDR, at);
                return;
            }
        }
    }

    fn fail(&mut self, channel: usize, raw: u32) {
        self.channels[channel].output = Link::default();
        self.channels[channel].raw |= raw;
    }

    /// Copies from memory to memory if both directions of the channel are started.
    fn copy(&mut self, channel: usize, memory: &mut Memory, flash: &[u8]) {
        let state = &self.channels[channel];
        let copies = self.register(channel, IN_CONF0) & MEM_TRANS_EN != 0;
        if copies && state.input.next.is_some() && state.output.next.is_some() {
            let (bytes, _) = self.send(channel, MOST_COPIED, memory, flash);
            self.receive(channel, &bytes, memory, flash);
        }
    }

    /// Handles a write to a link register, with its control bits shifted to their positions in
    /// OUT_LINK.
    fn link(link: &mut Link, bits: u32, value: u32, base: u32) {
        if bits & LINK_STOP != 0 {
            link.next = None;
        }
        if bits & (LINK_START | LINK_RESTART) != 0 {
            *link = Link { next: Some(base | value & 0xf_ffff), done: 0 };
        }
    }
}

/// The registers of the DMA controller.
#[derive(Debug, Clone)]
pub(crate) struct Gdma {
    registers: Registers,
    layout: Layout,
    /// Interrupt lines as of the last update.
    lines: u32,
}

impl Gdma {
    /// Creates version 1.
    pub fn v1(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device), layout: V1, lines: 0 }
    }

    /// Creates version 1 with a single channel.
    pub fn v1_single(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device), layout: V1_SINGLE, lines: 0 }
    }

    /// Creates version 2.
    pub fn v2(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device), layout: V2, lines: 0 }
    }

    /// Returns the interrupts that a set of interrupt registers shows, at their bits.
    fn raw(&self, port: usize, dma: &Dma) -> u32 {
        let Some((channel, interrupts)) = self.layout.ports.get(port) else { return 0 };
        let raw = dma.channels[*channel].raw;
        (0..)
            .zip(*interrupts)
            .fold(0, |shown, (bit, interrupt)| shown | u32::from(raw & interrupt != 0) << bit)
    }

    fn update_lines(&mut self, dma: &Dma) {
        self.lines = (0..self.layout.ports.len()).fold(0, |lines, port| {
            let enabled = self.registers.get(INT_LEN * port as u32 + INT_ENA);
            lines | u32::from(self.raw(port, dma) & enabled != 0) << port
        });
    }
}

/// Returns the channel of a register and the offset within it.
fn channel_of(offset: u32) -> Option<(usize, u32)> {
    let at = offset.checked_sub(CHANNEL0)?;
    let channel = (at / CHANNEL_LEN) as usize;
    (channel < CHANNELS).then_some((channel, at % CHANNEL_LEN))
}

impl Device for Gdma {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        let dma = &fabric.dma;
        let port = (offset / INT_LEN) as usize;
        if port < self.layout.ports.len() {
            let enabled = self.registers.get(offset / INT_LEN * INT_LEN + INT_ENA);
            return match offset % INT_LEN {
                INT_RAW => self.raw(port, dma),
                INT_ST => self.raw(port, dma) & enabled,
                INT_ENA => enabled,
                _ => 0,
            };
        }
        match channel_of(offset) {
            Some((channel, IN_LINK)) => {
                let parked = dma.channels[channel].input.next.is_none();
                dma.registers.get(offset) | if parked { LINK_PARK << 1 } else { 0 }
            }
            Some((channel, OUT_LINK)) => {
                let parked = dma.channels[channel].output.next.is_none();
                dma.registers.get(offset) | if parked { LINK_PARK } else { 0 }
            }
            Some(_) => dma.registers.get(offset),
            None => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let dma = &mut fabric.dma;
        if let Some((channel, interrupts)) = self.layout.ports.get((offset / INT_LEN) as usize) {
            match offset % INT_LEN {
                INT_ENA => self.registers.set(offset, value),
                INT_CLR => {
                    let cleared = (0..).zip(*interrupts).filter(|(bit, _)| value >> bit & 1 != 0);
                    for (_, interrupt) in cleared {
                        dma.channels[*channel].raw &= !interrupt;
                    }
                }
                _ => {}
            }
        } else if let Some((channel, at)) = channel_of(offset) {
            let state = &mut dma.channels[channel];
            match at {
                IN_LINK => Dma::link(&mut state.input, value >> 1, value, self.layout.link_base),
                OUT_LINK => Dma::link(&mut state.output, value, value, self.layout.link_base),
                IN_CONF0 if value & IN_RST != 0 => state.input = Link::default(),
                OUT_CONF0 if value & OUT_RST != 0 => state.output = Link::default(),
                _ => {}
            }
            let kept = match at {
                IN_LINK => value & !((LINK_STOP | LINK_START | LINK_RESTART) << 1),
                OUT_LINK => value & !(LINK_STOP | LINK_START | LINK_RESTART),
                _ => value,
            };
            dma.registers.set(offset, kept);
            dma.copy(channel, &mut fabric.memory, fabric.flash.nor.bytes());
            dma.changed = true;
        } else {
            self.registers.set(offset, value);
        }
        self.update_lines(&fabric.dma);
    }

    fn lines(&self) -> u32 {
        self.lines
    }

    fn event(&mut self, fabric: &mut Fabric) {
        self.update_lines(&fabric.dma);
    }

    fn transfers(&self) -> bool {
        true
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            fabric.dma = Dma::new();
            self.lines = 0;
        }
    }
}
