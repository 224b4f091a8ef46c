//! The time that a ROM function takes: it is charged and waited for, and interrupts may come
//! meanwhile.

use std::time::Duration;

use super::{AfterRom, Board, State, loader::LoaderState};
use crate::{
    cpu::Bus,
    rom::{self, Flow, boot},
    soc::{
        clock::{Tick, ticks},
        uart,
    },
};

/// Interval at which a ROM function that waits for the UART's FIFO checks it.
const FIFO_POLL: Duration = Duration::from_micros(2);
/// Most CPU cycles that a ROM function takes without a check for interrupts.
const MOST_UNINTERRUPTED: u64 = 256;
/// Most ROM functions suspended by interrupts, one per task.
const MOST_SUSPENDED: usize = 64;

impl Board {
    /// Charges the time of a ROM function and waits for the rest of it. Long computations are
    /// waited for, so that interrupts can be handled: inflating a block takes longer than the
    /// UART's FIFO needs to overflow.
    pub(super) fn begin_rom(&mut self, mut flow: Flow, then: AfterRom) {
        let at_once = flow.cycles.min(MOST_UNINTERRUPTED);
        let computed = self.soc.fabric.clock.tick_at(self.cpu.cycles.saturating_add(flow.cycles));
        let ready = computed.saturating_add(flow.waits);
        self.cpu.cycles += at_once;
        self.soc.fabric.clock.cycle = self.cpu.cycles;
        if flow.cycles > at_once || flow.waits > 0 {
            flow.until = flow.until.max(ready);
        }
        let now = self.soc.fabric.now();
        self.wait_in_rom(flow, then, now, now);
    }

    pub(super) fn wait_in_rom(&mut self, mut flow: Flow, then: AfterRom, now: Tick, next: Tick) {
        let console = self.soc.console();
        while let Some(&byte) = flow.out.front() {
            if flow.next_byte > now {
                break;
            }
            let status = self.soc.load32(console + uart::STATUS).unwrap_or(0);
            let is_full = !flow.usb_alone && status >> 16 & 0x3ff >= uart::DEPTH as u32;
            if is_full || self.waits_for_usb(now) || !self.print_on_usb(byte) {
                // The polls depend on the first one alone, and not on when the board is looked at.
                flow.next_byte = now + ticks(FIFO_POLL);
                break;
            }
            if !flow.usb_alone {
                let _ = self.soc.store32(console, u32::from(byte));
            }
            self.rom_state.line_ended = byte == b'\n';
            flow.out.pop_front();
            let each = flow.each + self.usb_byte_cycles();
            let clock = &self.soc.fabric.clock;
            flow.next_byte = clock.tick_at(clock.cycle.saturating_add(each));
            if flow.out.is_empty() && (!flow.usb_alone || byte == b'\n') {
                self.flush_usb();
            }
        }
        if flow.out.is_empty() && flow.until.max(flow.next_byte) <= now {
            self.rom_calls += 1;
            match then {
                AfterRom::Return => {
                    self.trace_rom_return(self.cpu.pc, self.cpu.x[1]);
                    rom::leave(&mut self.cpu);
                    self.state = State::Running;
                }
                AfterRom::Boot(next) => self.continue_boot(next),
            }
            return;
        }
        let wake = match flow.out.is_empty() {
            true => flow.until.max(flow.next_byte),
            false => flow.next_byte,
        };
        self.state = State::Rom { flow, then };
        self.skip_to(next.min(wake));
    }

    /// Does the next part of the boot.
    pub(super) fn continue_boot(&mut self, next: boot::Next) {
        match next {
            boot::Next::Step(step) => {
                let (flow, next) = boot::step(
                    step,
                    &mut self.cpu,
                    &mut self.soc,
                    &self.table,
                    &mut self.rom_state,
                );
                self.begin_rom_later(flow, next);
            }
            boot::Next::Run(entry) => {
                boot::enter(entry, &mut self.cpu, &self.table);
                self.state = State::Running;
            }
            boot::Next::RunStub(entry) => {
                boot::enter_stub(entry, &mut self.cpu, &self.table);
                self.state = State::Running;
            }
            boot::Next::Download => {
                self.note_loaders_port();
                self.state = State::Loader(Box::new(LoaderState::new(&self.chip)));
            }
            boot::Next::Execute => self.state = State::Running,
            boot::Next::Stuck => self.state = State::Stuck,
        }
    }

    /// Works like [`Self::begin_rom`], but leaves the waiting to the main loop because an endless
    /// boot must not recurse.
    pub(super) fn begin_rom_later(&mut self, mut flow: Flow, next: boot::Next) {
        self.cpu.cycles += flow.cycles;
        self.soc.fabric.clock.cycle = self.cpu.cycles;
        flow.cycles = 0;
        self.state = State::Rom { flow, then: AfterRom::Boot(next) };
    }

    /// Returns whether an interrupt suspends a waiting ROM function. The handler runs first, then
    /// the function continues.
    pub(super) fn interrupts_rom(&mut self) -> bool {
        self.cpu.set_irq(self.soc.take_irq());
        self.cpu.is_interrupted() && self.suspended.len() < MOST_SUSPENDED
    }
}
