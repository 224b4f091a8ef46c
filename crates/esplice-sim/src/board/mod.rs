//! A board: the chip with its CPU, its flash, its serial line, and the two lines that reset it.

mod bridge;
mod cable;
mod counters;
mod debug;
mod faults;
mod host;
mod idle;
mod line;
mod loader;
mod parts;
mod pins;
#[cfg(test)]
mod rom_tests;
mod rom_time;
mod snapshot;
mod status;
mod trace;
mod uarts;

use std::{collections::HashMap, sync::Arc, time::Duration};

use esplice_chip::{Chip, ChipDb};

use line::Lines;
use loader::LoaderState;

use crate::{
    SimError, TimeMode,
    cpu::{Cpu, CpuModel, Stop},
    efuse::Burn,
    fault_plan::FaultEvent,
    nor::{Nor, NorError},
    parts::PartsError,
    port::SerialEnd,
    rom::{self, Flow, RomImage, boot},
    soc::{
        Accesses, Cable, ResetReason, Soc,
        clock::{Tick, duration, ticks},
        sleep::Sleep,
    },
};

pub use bridge::Bridge;
pub use counters::Counters;
pub use debug::{Access, Checkpoint, DebugStop, Position, Stops, Watchpoint};
pub use faults::PortLoss;
pub use line::SentByte;
pub use pins::PinEdge;
pub use snapshot::Snapshot;
pub use status::Status;
pub use trace::{RomNames, TraceEvent, TraceKinds, TraceSink, Traced};

/// A virtual board under power. A clone continues independently from the same state; a flash file
/// stays with the original.
#[derive(Clone)]
pub struct Board {
    chip: Arc<Chip>,
    cpu: Cpu,
    soc: Soc,
    table: Arc<rom::Table>,
    rom_state: rom::State,
    state: State,
    lines: Lines,
    /// Time at which the line towards the board is free.
    line_free: Tick,
    resets: u64,
    boot_strap: u32,
    download_strap: u32,
    /// Reset reasons at which the strapping pins are sampled.
    strap_resets: Box<[u8]>,
    /// Interrupted ROM functions by the stack pointer at which they resume.
    suspended: HashMap<u32, Flow>,
    /// The CPU sees no new interrupt before this cycle.
    irq_from: u64,
    bridge: Bridge,
    /// Time up to which the bridge has handed over its bytes.
    handed_over: Tick,
    /// Faults on the line.
    faults: faults::Faults,
    /// The boot pin is held low, whatever the lines say.
    boot_pin_held: bool,
    idle: idle::Idle,
    trace: Option<trace::Trace>,
    /// The host requested download mode over USB for the next reset.
    usb_download: bool,
    /// The host holds the chip in reset over USB.
    usb_held: bool,
    /// Set if the mask ROM's code is executed: where it starts after each reset.
    reset_vector: Option<u32>,
    /// Calls of modelled ROM functions and returns from them since power-on.
    rom_calls: u64,
    /// Cycle at which the instruction or ROM function began that the chip last waited in.
    paused_from: u64,
    /// Set if the board was ever debugged.
    debug: Option<Box<debug::Debug>>,
}

/// The state of the chip.
#[derive(Clone)]
enum State {
    /// EN is low.
    Held,
    /// EN rises; the chip runs from that time on.
    Rising(Tick),
    /// A ROM function waits for the UART or for time to pass; then it continues with `then`.
    Rom { flow: Flow, then: AfterRom },
    /// The CPU executes code.
    Running,
    /// The chip has been asleep since that time.
    Sleeping(Sleep, Tick),
    /// The ROM's serial loader.
    Loader(Box<LoaderState>),
    /// An endless loop without effect: only a watchdog or EN ends it.
    Stuck,
    /// Something that is not modelled was used.
    Faulted(Fault),
}

#[derive(Clone)]
enum AfterRom {
    /// Returns to the caller.
    Return,
    /// Does the next step of the boot.
    Boot(boot::Next),
}

/// Something the board can't do, reported on every run until a reset.
#[derive(Debug, Clone)]
enum Fault {
    Rom { addr: u32, name: Option<String>, caller: u32 },
    Flash(Arc<NorError>),
    Part(Arc<PartsError>),
    NoRom(Arc<Chip>),
}

impl Fault {
    fn error(&self) -> SimError {
        match self.clone() {
            Fault::Rom { addr, name, caller } => SimError::RomFunction { addr, name, caller },
            Fault::Flash(source) => SimError::FlashFailed(source),
            Fault::Part(source) => SimError::PartFailed(source),
            Fault::NoRom(chip) => SimError::NeedsRom { chip: chip.display_name.clone() },
        }
    }
}

/// Cycles from an access that raises an interrupt to the interrupt. No figure is published. The
/// access passes a bus and the interrupt matrix, and the ROM relies on the delay:
/// `uart_buff_switch` enables the UART's interrupt, and only its next store sets the UART number
/// for the handler.
const IRQ_DELAY: u64 = 2;
const CSR_MTVEC: u32 = 0x305;

impl Board {
    /// Returns a powered board of the embedded chip called `chip`, with an erased flash chip of the usual
    /// size. It boots as soon as it runs. Wire, flash and reset take time on the board's clock.
    ///
    /// # Errors
    /// [`SimError::Chip`] for an unknown chip, else as [`Board::with_flash`].
    pub fn new(chip: &str) -> Result<Self, SimError> {
        let chip = ChipDb::embedded().find(chip)?;
        let timing = chip.sim.as_ref().map(|sim| &sim.flash).ok_or_else(|| no_board(chip))?;
        Self::with_flash(chip, Nor::in_memory(timing.size(), timing), TimeMode::Virtual)
    }

    /// Returns a powered board with that flash. It boots as soon as it runs.
    ///
    /// # Errors
    /// [`SimError`] for chip data that describes no valid board: a device without a model, a broken
    /// ROM table, an overlapping memory map.
    pub fn with_flash(chip: &Arc<Chip>, nor: Nor, time: TimeMode) -> Result<Self, SimError> {
        let sim = chip.sim.as_ref().ok_or_else(|| no_board(chip))?;
        let mut soc = Soc::new(chip, sim, nor, time != TimeMode::None)?;
        let table = rom::Table::load(&sim.rom_table)?;
        table.fill_rom(chip, &mut soc);
        let mut cpu = Cpu::new(CpuModel::of(chip, sim));
        let stub_return = table.facts().stub_return;
        cpu.set_hooks(table.hooked().chain(rom::Vector::addrs(&table)).chain([stub_return]));
        Ok(Self {
            chip: chip.clone(),
            cpu,
            soc,
            table,
            rom_state: rom::State::default(),
            state: State::Rising(0),
            lines: Lines::default(),
            line_free: 0,
            resets: 0,
            boot_strap: sim.boot_strap,
            download_strap: sim.download_strap,
            strap_resets: sim.strap_resets.as_slice().into(),
            suspended: HashMap::new(),
            irq_from: 0,
            bridge: Bridge::None,
            handed_over: 0,
            faults: faults::Faults::default(),
            boot_pin_held: false,
            idle: idle::Idle::new(),
            trace: None,
            usb_download: false,
            usb_held: false,
            reset_vector: None,
            rom_calls: 0,
            paused_from: 0,
            debug: None,
        })
    }

    /// Makes the board execute that ROM from its reset vector on, instead of modelling its
    /// functions by name. Must be called before the board runs.
    #[must_use]
    pub fn with_rom(mut self, rom: &RomImage) -> Self {
        rom.fill(&mut self.soc.fabric.memory);
        self.soc.fabric.rom_executed = true;
        self.cpu.set_hooks([]);
        self.reset_vector = Some(rom.reset_vector());
        self
    }

    /// Returns the board's clock since power-on.
    pub fn now(&self) -> Duration {
        duration(self.soc.fabric.now())
    }

    /// Runs until `deadline` on the board's clock or, with `stop_on_output`, until there is output
    /// to read.
    ///
    /// # Errors
    /// [`SimError::RomFunction`] if the firmware needs a ROM function that is not modelled,
    /// [`SimError::NeedsRom`] if the chip's ROM is not modelled at all and was not provided,
    /// [`SimError::FlashFailed`] if the flash file can't be written, [`SimError::PartFailed`] if the
    /// file of a part can't. They are returned again until the board is reset by its lines.
    pub fn run_to(&mut self, deadline: Duration, stop_on_output: bool) -> Result<(), SimError> {
        let deadline = ticks(deadline);
        self.soc.fabric.watch_output = stop_on_output;
        loop {
            if self.is_stopped() {
                return Ok(());
            }
            let now = self.soc.fabric.now();
            let next = self.events(deadline);
            if stop_on_output && self.output_at().is_some_and(|at| at <= now) {
                return Ok(());
            }
            if let State::Faulted(fault) = &self.state {
                match self.output_at() {
                    // Bytes on the line still arrive; the fault is reported after them.
                    Some(at) if stop_on_output && at <= deadline => {
                        self.skip_to(at);
                        continue;
                    }
                    _ => return Err(fault.error()),
                }
            }
            if now >= deadline {
                return Ok(());
            }
            let next = match self.output_at() {
                Some(at) if stop_on_output => next.min(at).min(self.bridge_looks_at(now)),
                _ => next,
            };
            self.advance(now, next);
        }
    }

    /// Burns an eFuse field. Bits that are set stay set.
    pub fn burn(&mut self, burn: &Burn) {
        if let Some(field) = self.chip.efuse.field(&burn.field) {
            let soc = &mut self.soc;
            field.put(burn.value, |addr, bits| soc.burn(addr.0, bits));
        }
    }

    /// Returns whether the flash chip or the serial loader is busy with an operation that takes
    /// time, so a waiting host will still get an answer.
    pub fn is_busy(&self) -> bool {
        let now = self.soc.fabric.now();
        let loader = match &self.state {
            State::Loader(loader) => loader.busy_until(),
            _ => 0,
        };
        self.soc.fabric.flash.busy_until().max(loader) > now
    }

    /// Returns the flash chip.
    pub fn flash(&self) -> &Nor {
        &self.soc.fabric.flash.nor
    }

    /// Returns the instructions executed and cycles waited since power-on.
    pub fn cycles(&self) -> u64 {
        self.cpu.cycles
    }

    /// Returns the number of resets of all kinds since power-on.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Returns the peripheral addresses that firmware used but no device covers, and how often.
    pub fn unlisted_accesses(&self) -> Vec<(u32, Accesses)> {
        self.soc.unlisted().collect()
    }

    /// Runs devices and the line, and performs resets, until nothing more is due now. Returns when
    /// the next event is due.
    fn events(&mut self, deadline: Tick) -> Tick {
        let now = self.soc.fabric.now();
        match self.state {
            State::Held => {
                self.lose_input(now);
                return deadline;
            }
            State::Rising(at) if at > now => {
                self.lose_input(now);
                return deadline.min(at);
            }
            State::Rising(_) => {
                self.lose_input(now);
                self.reset(ResetReason::PowerOn);
            }
            State::Faulted(_) => return deadline,
            State::Running => {
                if let Some(sleep) = self.soc.fabric.sleep {
                    self.state = State::Sleeping(sleep, now);
                    self.paused_from = self.cpu.cycles.saturating_sub(1);
                    if sleep == Sleep::Deep {
                        self.soc.fabric.pins.power_down();
                    }
                }
            }
            _ => {}
        }
        let mut next = match self.state {
            State::Sleeping(..) => self.soc.run_sleep_events(),
            _ => self.soc.run_events(),
        };
        if let State::Sleeping(sleep, since) = self.state
            && self.soc.fabric.sleep.is_none()
        {
            match sleep {
                Sleep::Light => {
                    self.soc.skip_time(now - since);
                    self.state = State::Running;
                }
                Sleep::Deep => self.reset(ResetReason::DeepSleep),
            }
            next = self.soc.run_events();
        }
        if let Some(failure) = self.soc.fabric.failure.take() {
            self.flash_failed(failure);
        } else if let Some(failure) = self.soc.fabric.part_failure.take() {
            self.state = State::Faulted(Fault::Part(failure));
        } else if let Some(reason) = self.soc.fabric.reset_request.take() {
            self.reset(reason);
            next = self.soc.run_events();
        }
        next.min(deadline)
    }

    /// Continues from `now`, at most to `next`.
    fn advance(&mut self, now: Tick, next: Tick) {
        match std::mem::replace(&mut self.state, State::Stuck) {
            State::Running => {
                self.state = State::Running;
                self.run_cpu(next);
            }
            State::Rom { flow, then: AfterRom::Return } if self.interrupts_rom() => {
                self.suspended.insert(self.cpu.x[rom::SP], flow);
                self.cpu.pc = self.table.resume();
                self.state = State::Running;
            }
            State::Rom { flow, then } => self.wait_in_rom(flow, then, now, next),
            State::Loader(loader) => self.run_loader(loader, now, next),
            idle => {
                self.state = idle;
                self.skip_to(next);
            }
        }
    }

    /// Signals pending interrupts to the CPU. Returns until when it may run, at most `until`. An
    /// interrupt raised by the CPU's own access arrives some cycles later.
    fn signal_interrupts(&mut self, until: u64) -> u64 {
        let irq = self.soc.take_irq();
        if self.soc.take_irq_by_access() {
            self.irq_from = self.cpu.cycles + IRQ_DELAY;
        }
        if self.cpu.cycles >= self.irq_from {
            self.cpu.set_irq(irq);
            return until;
        }
        self.cpu.clear_irq_except(irq);
        until.min(self.irq_from)
    }

    fn run_cpu(&mut self, next: Tick) {
        let until = self.soc.fabric.clock.cycle_at(next).max(self.cpu.cycles + 1);
        self.soc.set_horizon(next);
        let until = self.signal_interrupts(until);
        let until = self.debug_limit(until);
        let waited = self.cpu.is_waiting();
        let special = self.run_traced(until).or_else(|| self.run_debugged(until));
        let stop = match special.or_else(|| self.look_for_loop(until)) {
            Some(stop) => stop,
            None => self.cpu.run(&mut self.soc, self.idle.limit(until)),
        };
        self.soc.fabric.clock.cycle = self.cpu.cycles;
        if !waited && self.cpu.is_waiting() {
            self.paused_from = self.cpu.cycles.saturating_sub(1);
        }
        if let Some(addr) = self.soc.take_rom_fetch() {
            if addr == self.table.facts().vectors {
                self.continue_boot(boot::Next::Step(boot::Step::Panic));
            } else {
                self.missing_rom(addr);
            }
            return;
        }
        match stop {
            Stop::Budget | Stop::YieldRequested => {}
            Stop::Breakpoint => self.at_breakpoint(),
            Stop::Wfi if self.cpu.cycles < self.irq_from => self.cpu.cycles = self.irq_from,
            Stop::Wfi => self.skip_to(next),
            Stop::Hook(addr) if addr == self.table.resume() => {
                self.rom_calls += 1;
                match self.suspended.remove(&self.cpu.x[rom::SP]) {
                    Some(flow) => self.state = State::Rom { flow, then: AfterRom::Return },
                    None => self.missing_rom(addr),
                }
            }
            Stop::Hook(addr) if addr == self.table.facts().stub_return => {
                self.rom_calls += 1;
                self.continue_boot(boot::Next::Step(boot::Step::Woken));
            }
            Stop::Hook(addr) => {
                self.rom_calls += 1;
                let (watched, began) = (self.watched_memory(), self.cpu.cycles);
                self.paused_from = began;
                if let Some(vector) = rom::Vector::at(addr, &self.table) {
                    self.cpu.cycles += vector.run(&mut self.cpu, &mut self.soc, &self.table);
                    self.soc.fabric.clock.cycle = self.cpu.cycles;
                    self.compare_watched(&watched, began);
                    return;
                }
                let called =
                    rom::call(addr, &mut self.cpu, &mut self.soc, &self.table, &mut self.rom_state);
                match called {
                    Some(flow) => self.begin_rom(flow, AfterRom::Return),
                    None => self.missing_rom(addr),
                }
                self.compare_watched(&watched, began);
            }
            Stop::DoubleFault { .. } => self.state = State::Stuck,
        }
    }

    fn reset(&mut self, reason: ResetReason) {
        self.resets += 1;
        tracing::debug!(?reason, resets = self.resets, "the virtual board resets");
        if self.strap_resets.contains(&(reason as u8)) {
            let wired = self.soc.fabric.cable == Cable::Uart && self.lines.boot_pin_low();
            self.soc.fabric.strap = match wired || self.boot_pin_held {
                true => self.download_strap,
                false => self.boot_strap,
            };
        }
        self.soc.fabric.rom_listens = false;
        self.soc.fabric.saved_pc = self.cpu.pc;
        self.soc.reset(reason);
        if let Some(vector) = self.reset_vector {
            self.cpu.reset(vector);
            self.start(boot::Next::Execute);
            return;
        }
        if !self.table.is_modelled() {
            self.state = State::Faulted(Fault::NoRom(self.chip.clone()));
            return;
        }
        let vectors = self.table.facts().vectors;
        self.cpu.reset(vectors);
        self.cpu.write_csr(CSR_MTVEC, vectors);
        self.rom_state = rom::State::default();
        self.suspended.clear();
        self.start(boot::Next::Step(boot::Step::Prepare));
    }

    /// Begins after the time that the chip takes before the ROM's first instruction.
    fn start(&mut self, next: boot::Next) {
        let until = self.soc.fabric.now() + boot::start_up(&self.soc);
        self.state =
            State::Rom { flow: Flow { until, ..Flow::default() }, then: AfterRom::Boot(next) };
    }

    fn missing_rom(&mut self, addr: u32) {
        let name = self.table.name(addr).map(str::to_owned);
        self.state = State::Faulted(Fault::Rom { addr, name, caller: self.cpu.x[1] });
    }

    fn skip_to(&mut self, tick: Tick) {
        let cycle = self.soc.fabric.clock.cycle_at(tick).max(self.cpu.cycles);
        self.idle.skipped += cycle - self.cpu.cycles;
        self.cpu.cycles = cycle;
        self.soc.fabric.clock.cycle = cycle;
    }

    /// Discards the bytes that arrive while nothing reads them.
    fn lose_input(&mut self, now: Tick) {
        let line = &mut self.soc.fabric.line.to_board;
        let arrived = line.partition_point(|byte| byte.done <= now);
        line.drain(..arrived);
    }
}

fn no_board(chip: &Chip) -> SimError {
    SimError::NoBoard { chip: chip.display_name.clone() }
}

impl SerialEnd for Board {
    fn now(&self) -> Duration {
        Board::now(self)
    }

    fn run_to(&mut self, deadline: Duration, stop_on_output: bool) -> Result<(), SimError> {
        Board::run_to(self, deadline, stop_on_output)
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) {
        Board::set_lines(self, dtr, rts);
    }

    fn host_send(&mut self, bytes: &[u8], baud: u32) -> Duration {
        Board::host_send(self, bytes, baud)
    }

    fn host_take(&mut self, baud: u32, buf: &mut [u8]) -> usize {
        Board::host_take(self, baud, buf)
    }

    fn host_clear(&mut self) {
        Board::host_clear(self);
    }

    fn take_fault_events(&mut self) -> Vec<FaultEvent> {
        Board::take_fault_events(self)
    }

    fn take_port_loss(&mut self) -> Option<PortLoss> {
        Board::take_port_loss(self)
    }
}
