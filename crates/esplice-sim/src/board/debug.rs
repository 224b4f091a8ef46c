//! A board's services for debuggers: stops at breakpoints and accesses, single steps, registers,
//! and positions in the board's run that can be reached again from a checkpoint.
//!
//! Breakpoints are addresses at which the interpreter stops. No code is changed and none of the
//! chip's triggers is used, so the firmware can't notice the debugger. A board without breakpoints
//! and watchpoints runs exactly as one that was never debugged.

use std::{collections::BTreeSet, rc::Rc, sync::Arc, time::Duration};

use esplice_chip::Chip;

use super::{Board, State};
use crate::{
    SimError,
    cpu::{Bus, CodeCache, CodeChange, Fault, Stop},
    nor::SharedBytes,
    rom,
    soc::{
        Soc,
        clock::{Tick, duration},
    },
};

/// A position in a board's run. A later position is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    cycles: u64,
    /// Traps, and calls of modelled ROM functions and returns from them, so far: they may take no
    /// cycle.
    events: u64,
    tick: Tick,
    pc: u32,
}

impl Position {
    /// Returns the board's clock at the position.
    pub fn time(&self) -> Duration {
        duration(self.tick)
    }

    /// Returns the number of cycles since power-on.
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// Returns whether instructions were executed, or time passed, from `earlier` to here.
    pub fn is_after(&self, earlier: &Position) -> bool {
        (self.cycles, self.events) > (earlier.cycles, earlier.events)
    }
}

/// The kind of an access to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
}

/// A range of addresses whose accesses stop the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watchpoint {
    /// First address.
    pub addr: u32,
    /// Length in bytes.
    pub len: u32,
    /// True if loads stop the board.
    pub reads: bool,
    /// True if stores stop the board.
    pub writes: bool,
}

impl Watchpoint {
    fn covers(&self, addr: u32, len: u32) -> bool {
        let (start, end) = (u64::from(self.addr), u64::from(self.addr) + u64::from(self.len));
        u64::from(addr) < end && start < u64::from(addr) + u64::from(len)
    }
}

/// Why the board stopped for the debugger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugStop {
    /// The next instruction is at a breakpoint.
    Breakpoint,
    /// An instruction or a modelled ROM function has accessed watched memory.
    Watchpoint {
        /// The address that was accessed.
        addr: u32,
        /// Kind of access.
        access: Access,
        /// Cycle at which the instruction began.
        began: u64,
    },
    /// One instruction was executed.
    Stepped,
    /// The limit or the position was reached.
    Reached,
}

/// Breakpoints and watchpoints that were removed for a while.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    breakpoints: BTreeSet<u32>,
    watchpoints: Vec<Watchpoint>,
}

/// The debugger's part of a board's state.
#[derive(Debug, Clone, Default)]
pub(super) struct Debug {
    breakpoints: BTreeSet<u32>,
    watchpoints: Vec<Watchpoint>,
    /// Address at which the CPU stops in addition to the breakpoints.
    temporary: Option<u32>,
    /// Cycle at which the CPU stops.
    limit: Option<u64>,
    step: Option<Step>,
    stop: Option<DebugStop>,
}

/// A single step in progress.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: Position,
    /// Set while an interrupt handler runs: pc and sp of the interrupted code.
    interrupted: Option<(u32, u32)>,
}

/// A board's state that takes little memory, because flash that did not change is shared with the
/// checkpoint before it.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The board without the contents of its flash.
    board: Rc<Board>,
    flash: SharedBytes,
    position: Position,
}

impl Checkpoint {
    /// Returns the position in the board's run.
    pub fn position(&self) -> Position {
        self.position
    }
}

impl Board {
    /// Returns the position in the board's run.
    pub fn position(&self) -> Position {
        Position {
            cycles: self.cpu.cycles,
            events: self.cpu.traps + self.rom_calls,
            tick: self.soc.fabric.now(),
            pc: self.cpu.pc,
        }
    }

    /// Replaces the breakpoints: addresses of instructions before which the board stops in
    /// [`Board::debug_run`]. There may be any number of them, in any memory.
    pub fn set_breakpoints(&mut self, addrs: impl IntoIterator<Item = u32>) {
        self.debug_mut().breakpoints = addrs.into_iter().collect();
        self.apply_breakpoints();
    }

    /// Replaces the watchpoints. The board stops after the instruction that made the access. A
    /// modelled ROM function is noticed if it changes the memory.
    pub fn set_watchpoints(&mut self, watchpoints: &[Watchpoint]) {
        self.debug_mut().watchpoints = watchpoints.to_vec();
    }

    /// Removes all breakpoints and watchpoints, and returns them for [`Board::restore_stops`].
    pub fn take_stops(&mut self) -> Stops {
        let debug = self.debug_mut();
        let stops = Stops {
            breakpoints: std::mem::take(&mut debug.breakpoints),
            watchpoints: std::mem::take(&mut debug.watchpoints),
        };
        self.apply_breakpoints();
        stops
    }

    /// Replaces all breakpoints and watchpoints.
    pub fn restore_stops(&mut self, stops: Stops) {
        let debug = self.debug_mut();
        (debug.breakpoints, debug.watchpoints) = (stops.breakpoints, stops.watchpoints);
        self.apply_breakpoints();
    }

    fn debug_mut(&mut self) -> &mut Debug {
        self.debug.get_or_insert_default()
    }

    fn apply_breakpoints(&mut self) {
        let debug = self.debug.as_deref();
        let temporary = debug.and_then(|debug| debug.temporary);
        let addrs: Vec<u32> = debug
            .map(|debug| debug.breakpoints.iter().copied().chain(temporary).collect())
            .unwrap_or_default();
        self.cpu.set_breakpoints(addrs);
    }

    fn set_temporary(&mut self, addr: Option<u32>) {
        if self.debug_mut().temporary != addr {
            self.debug_mut().temporary = addr;
            self.apply_breakpoints();
        }
    }

    /// Runs like [`Board::run_to`] until a breakpoint, a watched access or `deadline`, for which it
    /// returns `None`. `pass` ignores a breakpoint at the present pc once.
    ///
    /// # Errors
    /// Same as [`Board::run_to`].
    pub fn debug_run(
        &mut self,
        deadline: Duration,
        pass: bool,
    ) -> Result<Option<DebugStop>, SimError> {
        if pass {
            self.cpu.pass_breakpoint();
        }
        self.run_to_stop(deadline, None)
    }

    /// Runs like [`Board::debug_run`], and at most to `position`, for which it returns
    /// [`DebugStop::Reached`].
    ///
    /// # Errors
    /// Same as [`Board::run_to`].
    pub fn debug_run_to(&mut self, position: &Position, pass: bool) -> Result<DebugStop, SimError> {
        if pass {
            self.cpu.pass_breakpoint();
        }
        let deadline = duration(position.tick);
        let stop = self.run_to_stop(deadline, Some(position.cycles))?;
        Ok(stop.unwrap_or(DebugStop::Reached))
    }

    /// Runs to the first point at which instructions are executed and [`Board::cycles`] is at least
    /// `cycles`, at most to `deadline`. Ignores breakpoints and watchpoints.
    ///
    /// # Errors
    /// Same as [`Board::run_to`].
    pub fn replay_to_cycle(&mut self, cycles: u64, deadline: Duration) -> Result<(), SimError> {
        self.undisturbed(|board| board.run_to_stop(deadline, Some(cycles)).map(drop))
    }

    /// Runs to a position that this board, or one from which it was restored, has been in. Ignores
    /// breakpoints and watchpoints. Returns whether exactly that position was reached.
    ///
    /// # Errors
    /// Same as [`Board::run_to`].
    pub fn replay_to(&mut self, position: &Position) -> Result<bool, SimError> {
        self.undisturbed(|board| board.replay(position))
    }

    /// Performs `action` without breakpoints and watchpoints.
    fn undisturbed<R>(&mut self, action: impl FnOnce(&mut Board) -> R) -> R {
        let stops = self.take_stops();
        let result = action(self);
        self.debug_mut().temporary = None;
        self.restore_stops(stops);
        result
    }

    fn replay(&mut self, position: &Position) -> Result<bool, SimError> {
        self.run_to_stop(duration(position.tick), Some(position.cycles))?;
        // Traps and ROM functions without a cost follow at the same cycle.
        while self.position().is_before_at_same_cycle(position) {
            self.set_temporary(Some(position.pc));
            self.cpu.pass_breakpoint();
            let deadline = duration(position.tick.saturating_add(1));
            if self.run_to_stop(deadline, None)? != Some(DebugStop::Breakpoint) {
                break;
            }
        }
        Ok(self.position() == *position)
    }

    /// Executes one instruction, or one modelled ROM function. Interrupts that come first are
    /// handled completely, so that a step stays in the code that is debugged. Returns `None` if
    /// nothing was executed by `deadline`, because the chip sleeps or waits; call it again then.
    ///
    /// # Errors
    /// Same as [`Board::run_to`].
    pub fn debug_step(&mut self, deadline: Duration) -> Result<Option<DebugStop>, SimError> {
        let from = self.position();
        let step = self.debug_mut().step.get_or_insert(Step { from, interrupted: None });
        if step.interrupted.is_none() {
            self.cpu.pass_breakpoint();
        }
        let stop = self.run_to_stop(deadline, None)?;
        if stop.is_some() {
            self.end_step();
        }
        Ok(stop)
    }

    /// Forgets a step that has not ended.
    pub fn end_step(&mut self) {
        self.debug_mut().step = None;
        self.set_temporary(None);
    }

    fn run_to_stop(
        &mut self,
        deadline: Duration,
        limit: Option<u64>,
    ) -> Result<Option<DebugStop>, SimError> {
        let debug = self.debug_mut();
        debug.stop = None;
        debug.limit = limit;
        let ran = self.run_to(deadline, false);
        let debug = self.debug_mut();
        debug.limit = None;
        let stop = debug.stop.take();
        ran.map(|()| stop)
    }

    /// Returns whether the board has stopped for the debugger.
    pub(super) fn is_stopped(&mut self) -> bool {
        let Some(debug) = self.debug.as_deref_mut() else { return false };
        if debug.stop.is_none() && matches!(self.state, State::Running) {
            let events = self.cpu.traps + self.rom_calls;
            let now = (self.cpu.cycles, events);
            let limit = debug.limit.is_some_and(|limit| self.cpu.cycles >= limit);
            let stepped = debug.step.is_some_and(|step| {
                step.interrupted.is_none()
                    && now > (step.from.cycles, step.from.events)
                    && !self.cpu.is_waiting()
            });
            if limit {
                debug.stop = Some(DebugStop::Reached);
            } else if stepped {
                debug.stop = Some(DebugStop::Stepped);
            }
        }
        debug.stop.is_some()
    }

    /// Returns until when the CPU may run for the debugger.
    pub(super) fn debug_limit(&self, until: u64) -> u64 {
        let limit = self.debug.as_ref().and_then(|debug| debug.limit);
        limit.map_or(until, |limit| until.min(limit))
    }

    /// Runs the CPU if there are watchpoints or a single step is due. Otherwise returns `None`.
    pub(super) fn run_debugged(&mut self, until: u64) -> Option<Stop> {
        let debug = self.debug.as_deref_mut()?;
        let mut until = until;
        if let Some(step) = debug.step.as_mut() {
            if step.interrupted.is_none() && self.cpu.is_interrupted() {
                let resume = (self.cpu.pc, self.cpu.x[rom::SP]);
                step.interrupted = Some(resume);
                self.set_temporary(Some(resume.0));
                // The breakpoint is not due before the handler has run.
                let stop = self.cpu.take_pending_interrupt();
                debug_assert!(stop);
            } else if step.interrupted.is_none() {
                until = self.cpu.cycles + 1;
            }
        }
        let debug = self.debug.as_deref_mut()?;
        if debug.watchpoints.is_empty() {
            let steps = debug.step.is_some_and(|step| step.interrupted.is_none());
            return steps.then(|| self.cpu.run(&mut self.soc, until));
        }
        let watchpoints = std::mem::take(&mut debug.watchpoints);
        let mut bus = WatchedBus { soc: &mut self.soc, watchpoints: &watchpoints, hit: None };
        let stop = self.cpu.run(&mut bus, until);
        let hit = bus.hit;
        let debug = self.debug.as_deref_mut()?;
        debug.watchpoints = watchpoints;
        if let Some((addr, access)) = hit {
            let began = self.cpu.cycles.saturating_sub(1);
            debug.stop = Some(DebugStop::Watchpoint { addr, access, began });
        }
        Some(stop)
    }

    /// Handles a breakpoint.
    pub(super) fn at_breakpoint(&mut self) {
        let (pc, sp) = (self.cpu.pc, self.cpu.x[rom::SP]);
        let position = self.position();
        let Some(debug) = self.debug.as_deref_mut() else { return };
        if let Some(step) = debug.step.as_mut()
            && let Some(resume) = step.interrupted
        {
            if resume == (pc, sp) {
                step.interrupted = None;
                if pc != step.from.pc {
                    // The instruction was executed before the interrupt.
                    debug.stop = Some(DebugStop::Stepped);
                    return;
                }
                // The instruction is still to be executed.
                step.from = position;
                self.set_temporary(None);
                self.cpu.pass_breakpoint();
                return;
            }
            if !debug.breakpoints.contains(&pc) {
                // The same code, called by the handler or in another task.
                self.cpu.pass_breakpoint();
                return;
            }
        }
        debug.stop = Some(DebugStop::Breakpoint);
    }

    /// Returns the watched memory, to find out what a modelled ROM function changes.
    pub(super) fn watched_memory(&self) -> Vec<Option<Vec<u8>>> {
        let watchpoints = self.debug.as_ref().map_or(&[][..], |debug| &debug.watchpoints);
        let written = watchpoints.iter().filter(|watchpoint| watchpoint.writes);
        written.map(|watchpoint| self.read_memory(watchpoint.addr, watchpoint.len)).collect()
    }

    /// Stops the board if the watched memory differs from `before`.
    pub(super) fn compare_watched(&mut self, before: &[Option<Vec<u8>>], began: u64) {
        let after = self.watched_memory();
        let Some(debug) = self.debug.as_deref_mut() else { return };
        let written = debug.watchpoints.iter().filter(|watchpoint| watchpoint.writes);
        let changed = written.zip(before.iter().zip(&after)).find(|(_, (old, new))| old != new);
        if let Some((watchpoint, _)) = changed {
            let (addr, access) = (watchpoint.addr, Access::Write);
            debug.stop = Some(DebugStop::Watchpoint { addr, access, began });
        }
    }

    /// Returns a checkpoint. It shares unchanged flash with `before`.
    pub fn checkpoint(&mut self, before: Option<&Checkpoint>) -> Checkpoint {
        let decoded: CodeCache = self.cpu.take_decoded();
        let flash = self.soc.fabric.flash.nor.take_bytes();
        let board = Rc::new(self.clone());
        let shared = SharedBytes::new(&flash, before.map(|before| &before.flash));
        self.soc.fabric.flash.nor.restore_bytes(flash);
        self.cpu.restore_decoded(decoded);
        Checkpoint { board, flash: shared, position: self.position() }
    }

    /// Returns to a checkpoint of this board, with the present breakpoints and watchpoints. A flash
    /// file gets the contents of that time.
    ///
    /// # Errors
    /// [`SimError::FlashFailed`] if the flash file can't be written.
    pub fn return_to(&mut self, checkpoint: &Checkpoint) -> Result<(), SimError> {
        let mut board = (*checkpoint.board).clone();
        board.soc.fabric.flash.nor.restore_bytes(checkpoint.flash.to_vec());
        let nor = &mut self.soc.fabric.flash.nor;
        nor.copy_from(&board.soc.fabric.flash.nor)
            .map_err(|error| SimError::FlashFailed(Arc::new(error)))?;
        std::mem::swap(&mut board.soc.fabric.flash.nor, nor);
        let debug = self.debug.take();
        *self = board;
        self.debug = debug;
        self.end_step();
        self.apply_breakpoints();
        Ok(())
    }

    /// Returns the chip.
    pub fn chip(&self) -> &Arc<Chip> {
        &self.chip
    }

    /// Returns an integer register, 0 to 31.
    pub fn register(&self, number: usize) -> Option<u32> {
        self.cpu.x.get(number).copied()
    }

    /// Sets an integer register. Register 0 and numbers above 31 are ignored.
    pub fn set_register(&mut self, number: usize, value: u32) {
        if let Some(register) = self.cpu.x.get_mut(number).filter(|_| number > 0) {
            *register = value;
        }
    }

    /// Sets the address of the next instruction. Bit 0 is ignored.
    pub fn set_pc(&mut self, pc: u32) {
        self.cpu.pc = pc & !1;
    }

    /// Returns a CSR as machine mode reads it, or `None` if the chip does not have it.
    pub fn csr(&self, number: u32) -> Option<u32> {
        self.cpu.machine_csr(number)
    }

    /// Writes a CSR like an instruction in machine mode.
    pub fn set_csr(&mut self, number: u32, value: u32) {
        self.cpu.write_csr(number, value);
    }

    /// Returns whether the CPU is in user mode.
    pub fn is_user_mode(&self) -> bool {
        self.cpu.csrs.user_mode
    }

    /// Returns the word of a device at `addr` without the effects that reading it may have.
    pub fn peek_device(&self, addr: u32) -> u32 {
        self.soc.clone().load32(addr & !3).unwrap_or(0)
    }

    /// Writes `bytes` as the CPU would. Returns whether all of them are in RAM or at devices; in
    /// ROM and flash nothing is written.
    pub fn write_bus(&mut self, addr: u32, bytes: &[u8]) -> bool {
        let fabric = &mut self.soc.fabric;
        if fabric.memory.write(addr, bytes) {
            return true;
        }
        if fabric.memory.is_mapped(addr)
            || !addr.is_multiple_of(4)
            || !bytes.len().is_multiple_of(4)
        {
            return false;
        }
        let words = bytes.chunks_exact(4).filter_map(|word| word.first_chunk::<4>());
        for (at, word) in (addr..).step_by(4).zip(words) {
            let _ = self.soc.store32(at, u32::from_le_bytes(*word));
        }
        true
    }

    /// Returns how many bytes the board has sent to the host before the next one that the host
    /// takes.
    pub fn output_taken(&self) -> u64 {
        let line = &self.soc.fabric.line;
        line.sent.saturating_sub(line.to_host.len() as u64)
    }

    /// Returns the cycle at which the instruction or modelled ROM function began that the chip waits
    /// in, or `None` if the next instruction is due.
    pub fn paused_since(&self) -> Option<u64> {
        let executes = matches!(self.state, State::Running) && !self.cpu.is_waiting();
        (!executes).then_some(self.paused_from)
    }

    /// Returns whether the chip executes instructions of firmware, or waits for an interrupt.
    pub fn is_executing(&self) -> bool {
        matches!(self.state, State::Running)
    }
}

impl Position {
    fn is_before_at_same_cycle(&self, other: &Position) -> bool {
        self.cycles == other.cycles && self.tick == other.tick && self.events < other.events
    }
}

/// A bus that notices accesses to watched memory. It requests attention after one, so that the CPU
/// returns as soon as the instruction is complete.
struct WatchedBus<'a> {
    soc: &'a mut Soc,
    watchpoints: &'a [Watchpoint],
    hit: Option<(u32, Access)>,
}

impl WatchedBus<'_> {
    #[inline]
    fn look(&mut self, addr: u32, len: u32, access: Access) {
        let wanted = |watchpoint: &&Watchpoint| match access {
            Access::Read => watchpoint.reads,
            Access::Write => watchpoint.writes,
        };
        let mut hits = self.watchpoints.iter().filter(|watchpoint| watchpoint.covers(addr, len));
        if self.hit.is_none()
            && let Some(watchpoint) = hits.find(wanted)
        {
            self.hit = Some((watchpoint.addr.max(addr), access));
        }
    }
}

impl Bus for WatchedBus<'_> {
    fn at_cycle(&mut self, cycles: u64) {
        self.soc.at_cycle(cycles);
    }

    fn load8(&mut self, addr: u32) -> Result<u8, Fault> {
        self.look(addr, 1, Access::Read);
        self.soc.load8(addr)
    }

    fn load16(&mut self, addr: u32) -> Result<u16, Fault> {
        self.look(addr, 2, Access::Read);
        self.soc.load16(addr)
    }

    fn load32(&mut self, addr: u32) -> Result<u32, Fault> {
        self.look(addr, 4, Access::Read);
        self.soc.load32(addr)
    }

    fn store8(&mut self, addr: u32, value: u8) -> Result<(), Fault> {
        self.look(addr, 1, Access::Write);
        self.soc.store8(addr, value)
    }

    fn store16(&mut self, addr: u32, value: u16) -> Result<(), Fault> {
        self.look(addr, 2, Access::Write);
        self.soc.store16(addr, value)
    }

    fn store32(&mut self, addr: u32, value: u32) -> Result<(), Fault> {
        self.look(addr, 4, Access::Write);
        self.soc.store32(addr, value)
    }

    fn fetch16(&mut self, addr: u32) -> Result<u16, Fault> {
        self.soc.fetch16(addr)
    }

    fn decoded(&mut self, addr: u32, len: u32) {
        self.soc.decoded(addr, len);
    }

    fn attention(&self) -> bool {
        self.hit.is_some() || self.soc.attention()
    }

    fn take_code_change(&mut self) -> Option<CodeChange> {
        self.soc.take_code_change()
    }

    fn take_yield(&mut self) -> bool {
        let requested = self.soc.take_yield();
        requested || self.hit.is_some()
    }
}
