//! The board while the ROM's serial loader runs: passes bytes from the line to the loader, returns
//! its replies, and performs the actions that follow.

use std::sync::Arc;

use esplice_chip::Chip;

use super::{Board, State};
use crate::{
    cpu::Bus,
    download::{Clocks, Loader, LoaderOutput, LoaderTarget, NextAction, RX_RING_LEN},
    nor::Nor,
    rom::{self, boot},
    soc::{
        Cable, LineByte, ResetReason, Soc,
        clock::{Tick, periods, ticks},
        uart, usb_serial_jtag,
    },
};

#[derive(Clone)]
pub(super) struct LoaderState {
    loader: Loader,
    baud: u32,
    /// The host's rate as last measured.
    measured: u32,
    /// Nothing is taken from the line before this time.
    busy_until: Tick,
    after: Option<NextAction>,
}

impl LoaderState {
    /// Returns a loader that waits for its first byte.
    pub(super) fn new(chip: &Arc<Chip>) -> Self {
        Self {
            loader: Loader::new(chip),
            baud: chip.loader.initial_baud,
            measured: 0,
            busy_until: 0,
            after: None,
        }
    }

    /// Returns until when the loader takes nothing from the line.
    pub(super) fn busy_until(&self) -> Tick {
        self.busy_until
    }
}

impl Board {
    /// Runs the serial loader: takes bytes off the line and performs the action after its replies.
    pub(super) fn run_loader(&mut self, mut state: Box<LoaderState>, now: Tick, next: Tick) {
        self.soc.fabric.rom_listens = true;
        let line = &mut self.soc.fabric.line.to_board;
        // While the loader is busy its ring buffer fills, and excess bytes are lost. If the wire
        // takes no time, a whole frame arrives at once and nothing is lost.
        let arrived = line.partition_point(|byte| byte.done <= now);
        if self.soc.fabric.timed && arrived >= RX_RING_LEN {
            line.drain(RX_RING_LEN - 1..arrived);
        }
        if state.busy_until > now {
            self.state = State::Loader(state);
            self.skip_to(next.min(self.loader_wake(now)));
            return;
        }
        if let Some(after) = state.after.take() {
            self.leave_loader(state, after);
            return;
        }
        let Some(byte) = self.soc.fabric.line.to_board.front().copied() else {
            self.state = State::Loader(state);
            self.skip_to(next);
            return;
        };
        if byte.done > now {
            self.state = State::Loader(state);
            self.skip_to(next.min(byte.done));
            return;
        }
        self.soc.fabric.line.to_board.pop_front();
        self.soc.fabric.line.received += 1;
        if !state.loader.is_connected() && byte.baud != 0 && state.measured != byte.baud {
            state.measured = byte.baud;
            // The ROM measures the rate of its input, in whole clocks, until it recognizes a SYNC.
            let clock = self.chip.xtal_mhz.saturating_mul(1_000_000);
            let divider = (clock / byte.baud).max(1);
            state.baud = (clock / divider).max(1);
            self.set_console_rate(state.baud);
        }
        let (value, _) = byte.received_at(state.baud);
        let output = state.loader.receive(value, &mut Reach(&mut self.soc));
        self.take_loader_output(state, output, now);
    }

    fn loader_wake(&self, now: Tick) -> Tick {
        match &self.state {
            State::Loader(state) if state.busy_until > now => state.busy_until,
            _ => Tick::MAX,
        }
    }

    fn take_loader_output(&mut self, mut state: Box<LoaderState>, output: LoaderOutput, now: Tick) {
        if let Some(error) = output.error {
            self.flash_failed(Arc::new(error));
            return;
        }
        let timed = self.soc.fabric.timed;
        let busy = if timed { ticks(output.busy) } else { 0 };
        let (baud, byte_time) = match self.soc.fabric.cable {
            Cable::Uart => (state.baud, periods(10, u64::from(state.baud))),
            Cable::Usb => (0, periods(1, usb_serial_jtag::BYTES_HZ)),
        };
        let byte_time = if timed { byte_time } else { 0 };
        let free = self.soc.fabric.line.to_host.back().map_or(0, |byte| byte.done);
        let mut at = free.max(now + busy);
        for byte in &output.reply {
            at += byte_time;
            self.soc.fabric.line.send_to_host(LineByte { done: at, byte: *byte, baud });
        }
        state.busy_until = now + busy;
        if output.then.is_some() {
            // Only after the reply has been sent.
            state.busy_until = at.max(state.busy_until);
            state.after = output.then;
        }
        self.state = State::Loader(state);
    }

    fn leave_loader(&mut self, mut state: Box<LoaderState>, after: NextAction) {
        match after {
            NextAction::SetBaud(baud) => {
                state.baud = baud.max(1);
                self.set_console_rate(state.baud);
                self.state = State::Loader(state);
            }
            NextAction::Reset => self.soc.fabric.request_reset(ResetReason::SoftwareSystem),
            NextAction::Run(entry) => {
                self.soc.fabric.rom_listens = false;
                rom::attach_console(&mut self.soc, &self.table);
                boot::enter_loaded(entry, &mut self.cpu, &self.table);
                self.state = State::Running;
            }
            NextAction::Gone => self.state = State::Stuck,
        }
    }

    fn set_console_rate(&mut self, baud: u32) {
        let clock = u64::from(self.chip.xtal_mhz) * 16_000_000;
        let divider = (clock / u64::from(baud.max(1))).clamp(16, 0xffff) as u32;
        let console = self.soc.console();
        let _ = self.soc.store32(console + uart::CLKDIV, uart::clkdiv(divider));
    }
}

/// The loader's access to the board.
struct Reach<'a>(&'a mut Soc);

impl LoaderTarget for Reach<'_> {
    fn read32(&mut self, addr: u32) -> u32 {
        self.0.load32(addr).unwrap_or(0)
    }

    fn write32(&mut self, addr: u32, value: u32) {
        let _ = self.0.store32(addr, value);
    }

    fn write_ram(&mut self, addr: u32, bytes: &[u8]) -> bool {
        self.0.fabric.memory.write(addr, bytes)
    }

    fn nor(&mut self) -> &mut Nor {
        &mut self.0.fabric.flash.nor
    }

    fn protect(&mut self, protected: bool) {
        self.0.fabric.flash.protect(protected);
    }

    fn is_protected(&self, offset: u32, len: u32) -> bool {
        self.0.fabric.flash.is_protected(&(offset..offset.saturating_add(len)))
    }

    fn attach(&mut self) {
        self.0.fabric.flash.attach(true);
    }

    fn is_attached(&self) -> bool {
        self.0.fabric.flash.is_attached()
    }

    fn clocks(&mut self) -> Clocks {
        let spi = rom::spi_hz(self.0);
        Clocks { cpu: self.0.fabric.clock.cpu_hz(), spi }
    }
}
