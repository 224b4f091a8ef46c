//! The board as a debugger sees it, independent of the protocol.

use std::time::Duration;

use esplice_sim::{
    Access, Board, DebugStop, Position, SharedBoard, SimError, Watchpoint, port::HostClock,
};

use crate::{
    description,
    history::{Back, History, Input},
    loading::{Loaded, Loader, Loading},
};

/// Time that the board runs between two looks at the connection, on its own clock.
const SLICE: Duration = Duration::from_millis(10);
/// Most single steps of a range step between two looks at the connection.
const STEPS: usize = 10_000;
/// Time within which a board boots its app, on its own clock.
const BOOT: Duration = Duration::from_secs(10);

/// Why the board stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// At a breakpoint.
    Breakpoint,
    /// After an access to watched memory, or before it when running backwards.
    Watchpoint {
        /// The address.
        addr: u32,
        /// Kinds of accesses that the watchpoint at the address was set for: reads, writes.
        kinds: (bool, bool),
    },
    /// After a step.
    Stepped,
    /// At the end of what can be run backwards.
    Beginning,
    /// The board can't continue.
    Failed(String),
}

/// Present activity of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Continue,
    Step,
    /// Steps while pc is in this range.
    RangeStep {
        start: u32,
        end: u32,
    },
    StepBack,
    ContinueBack,
}

/// The host's clock, which the board follows in real time.
struct Pace {
    clock: Box<dyn HostClock>,
    /// The board's time and the host's since which the board has run.
    from: Option<(Duration, Duration)>,
}

impl Pace {
    /// Waits until the host's clock has reached the board's.
    fn keep(&mut self, board: Duration) {
        let host = self.clock.now();
        let (board_from, host_from) = *self.from.get_or_insert((board, host));
        let ahead = board.saturating_sub(board_from).saturating_sub(host - host_from);
        if !ahead.is_zero() {
            self.clock.wait(ahead);
        }
    }
}

/// A board that is debugged. It keeps the board's recent past, from the first session on.
pub struct Debugger<'a> {
    pub(crate) board: SharedBoard,
    pub(crate) history: History,
    loader: Option<&'a mut dyn Loader>,
    pace: Option<Pace>,
    breakpoints: Vec<u32>,
    watchpoints: Vec<Watchpoint>,
    pub(crate) action: Action,
    /// Position of the last stop that was reported, at which a breakpoint is not reported again.
    reported: Option<Position>,
    /// Bytes written since the board last ran, which may be the RAM part of a program.
    written: Loading,
    flash: Loading,
    /// A program that is complete except for its entry point.
    pending: Option<Vec<crate::Segment>>,
    /// Text for the person at the server.
    pub(crate) notes: Vec<String>,
    pub(crate) show_output: bool,
    pub(crate) target_xml: String,
    pub(crate) memory_map: String,
}

impl<'a> Debugger<'a> {
    /// Returns a debugger of `board`. Without a `loader`, GDB's `load` is refused.
    pub fn new(board: SharedBoard, loader: Option<&'a mut dyn Loader>) -> Debugger<'a> {
        let (target_xml, memory_map) = board.with(|board| {
            (description::target_xml(board), description::memory_map_xml(board.chip()))
        });
        let mut history = History::default();
        board.with(|board| history.restart(board));
        Debugger {
            board,
            history,
            loader,
            pace: None,
            breakpoints: Vec::new(),
            watchpoints: Vec::new(),
            action: Action::Continue,
            reported: None,
            written: Loading::default(),
            flash: Loading::default(),
            pending: None,
            notes: Vec::new(),
            show_output: true,
            target_xml,
            memory_map,
        }
    }

    /// Makes the board run as fast as `clock`, and no faster.
    #[must_use]
    pub fn with_clock(self, clock: Box<dyn HostClock>) -> Debugger<'a> {
        Debugger { pace: Some(Pace { clock, from: None }), ..self }
    }

    /// Applies an input from outside, such as bytes for the console.
    pub fn input(&mut self, input: Input) -> bool {
        let history = &mut self.history;
        let applied = self.board.with(|board| history.apply(board, input));
        self.reported = None;
        applied
    }

    /// Takes the board's output that was not shown before.
    pub fn take_output(&mut self) -> Vec<u8> {
        let history = &mut self.history;
        self.board.with(|board| history.take_output(board))
    }

    /// Resets the board and runs it to the first instruction that it executes.
    ///
    /// # Errors
    /// Those of [`Board::run_to`].
    pub fn reset(&mut self) -> Result<(), SimError> {
        self.input(Input::Reset);
        self.run_until_executing()
    }

    /// Resets the board and runs it to an address, such as the entry point of its app. Its past is
    /// forgotten. Returns whether it got there within 10 s of its time.
    ///
    /// # Errors
    /// Those of [`Board::run_to`].
    pub fn reset_to(&mut self, addr: u32) -> Result<bool, SimError> {
        let history = &mut self.history;
        self.board.with(|board| {
            board.press_reset();
            history.restart(board);
        });
        self.run_to_address(addr)
    }

    /// Runs the board to an address. Returns whether it got there within 10 s of its time.
    ///
    /// # Errors
    /// Those of [`Board::run_to`].
    pub fn run_to_address(&mut self, addr: u32) -> Result<bool, SimError> {
        let history = &mut self.history;
        let stop = self.board.with(|board| {
            let stops = board.take_stops();
            board.set_breakpoints([addr]);
            let until = board.now() + BOOT;
            let stop = history.run(board, until, false);
            board.restore_stops(stops);
            stop
        })?;
        self.reported = Some(self.board.with(|board| board.position()));
        Ok(stop == Some(DebugStop::Breakpoint))
    }

    fn run_until_executing(&mut self) -> Result<(), SimError> {
        self.board.with(|board| board.replay_to_cycle(0, board.now() + BOOT))
    }

    /// Removes all breakpoints and watchpoints.
    pub(crate) fn remove_stops(&mut self) {
        self.breakpoints.clear();
        self.watchpoints.clear();
        self.apply_stops();
        self.board.with(Board::end_step);
        self.history.cancel_search();
        self.reported = None;
    }

    fn apply_stops(&mut self) {
        let (breakpoints, watchpoints) = (&self.breakpoints, &self.watchpoints);
        self.board.with(|board| {
            board.set_breakpoints(breakpoints.iter().copied());
            board.set_watchpoints(watchpoints);
        });
    }

    pub(crate) fn add_breakpoint(&mut self, addr: u32) {
        self.breakpoints.push(addr);
        self.apply_stops();
    }

    /// Removes a breakpoint. Returns whether there was one.
    pub(crate) fn remove_breakpoint(&mut self, addr: u32) -> bool {
        let known = self.breakpoints.iter().position(|known| *known == addr);
        known.map(|index| self.breakpoints.swap_remove(index));
        self.apply_stops();
        known.is_some()
    }

    pub(crate) fn add_watchpoint(&mut self, watchpoint: Watchpoint) {
        self.watchpoints.push(watchpoint);
        self.apply_stops();
    }

    /// Removes a watchpoint. Returns whether there was one.
    pub(crate) fn remove_watchpoint(&mut self, watchpoint: Watchpoint) -> bool {
        let known = self.watchpoints.iter().position(|known| *known == watchpoint);
        known.map(|index| self.watchpoints.swap_remove(index));
        self.apply_stops();
        known.is_some()
    }

    /// Begins to run.
    pub(crate) fn begin(&mut self, action: Action) {
        self.action = action;
        if let Some(pace) = &mut self.pace {
            pace.from = None;
        }
        self.written.clear();
        if let Some(pending) = self.pending.take() {
            self.notes.push(format!(
                "the program of {} segments was not written: the debugger has not set its entry \
                 point",
                pending.len()
            ));
        }
        if action == Action::ContinueBack {
            let history = &mut self.history;
            self.board.with(|board| history.search_back(board));
        }
    }

    /// Runs for a while. Returns why the board stopped, or `None` if it did not.
    pub(crate) fn run(&mut self) -> Option<Stop> {
        let ran = self.run_action();
        if let Some(pace) = &mut self.pace {
            pace.keep(self.board.with(|board| board.now()));
        }
        let stop = match ran {
            Ok(stop) => stop?,
            Err(error) => {
                self.board.with(Board::end_step);
                Stop::Failed(error.to_string())
            }
        };
        self.reported = Some(self.board.with(|board| board.position()));
        Some(stop)
    }

    fn run_action(&mut self) -> Result<Option<Stop>, SimError> {
        let (history, reported) = (&mut self.history, self.reported.take());
        let action = self.action;
        let stop = self.board.with(|board| {
            let until = board.now() + SLICE;
            let pass = reported == Some(board.position());
            match action {
                Action::Continue => history.run(board, until, pass),
                Action::Step => history.step(board, until),
                Action::RangeStep { start, end } => {
                    for _ in 0..STEPS {
                        match history.step(board, until)? {
                            Some(DebugStop::Stepped) if (start..end).contains(&board.pc()) => {}
                            stop => return Ok(stop),
                        }
                    }
                    Ok(None)
                }
                Action::StepBack | Action::ContinueBack => Ok(None),
            }
        })?;
        let back = match action {
            Action::StepBack => Some(self.board.with(|board| history.step_back(board))?),
            Action::ContinueBack => self.board.with(|board| history.search_on(board))?,
            _ => None,
        };
        let stop = match back {
            Some(Back::Beginning) => return Ok(Some(Stop::Beginning)),
            Some(Back::At(stop)) => Some(stop),
            None => stop,
        };
        Ok(stop.and_then(|stop| match stop {
            DebugStop::Breakpoint => Some(Stop::Breakpoint),
            DebugStop::Stepped => Some(Stop::Stepped),
            DebugStop::Watchpoint { addr, access, .. } => Some(self.watch_stop(addr, access)),
            DebugStop::Reached => None,
        }))
    }

    fn watch_stop(&self, addr: u32, access: Access) -> Stop {
        let watched = self.watchpoints.iter().find(|watchpoint| {
            let wanted = match access {
                Access::Read => watchpoint.reads,
                Access::Write => watchpoint.writes,
            };
            wanted && addr.wrapping_sub(watchpoint.addr) < watchpoint.len
        });
        let kinds = watched.map_or((false, true), |found| (found.reads, found.writes));
        Stop::Watchpoint { addr, kinds }
    }

    /// Stops a step or a search that is in progress.
    pub(crate) fn interrupt(&mut self) {
        self.board.with(Board::end_step);
        self.history.cancel_search();
        self.reported = Some(self.board.with(|board| board.position()));
    }

    /// Writes RAM or a device, and remembers it as a possible part of a program.
    pub(crate) fn write(&mut self, addr: u32, bytes: &[u8]) -> bool {
        if !self.input(Input::Write(addr, bytes.to_vec())) {
            return false;
        }
        self.written.put(addr, bytes);
        true
    }

    /// Sets pc. After a load, this is the entry point of the program, which completes it.
    pub(crate) fn set_pc(&mut self, pc: u32) -> bool {
        if let Some(segments) = self.pending.take() {
            return self.write_program(segments, Some(pc));
        }
        if self.board.with(|board| board.pc()) != pc {
            self.input(Input::Pc(pc));
        }
        true
    }

    pub(crate) fn put_flash(&mut self, addr: u32, bytes: &[u8]) -> bool {
        self.loader.is_some() && self.flash.put(addr, bytes)
    }

    pub(crate) fn can_load(&self) -> bool {
        self.loader.is_some()
    }

    /// Ends a load: writes what was collected into the flash, if the entry point is known.
    pub(crate) fn end_load(&mut self) -> bool {
        let mut program = std::mem::take(&mut self.written);
        for segment in self.flash.take() {
            if !program.put(segment.addr, &segment.bytes) {
                return false;
            }
        }
        self.write_program(program.take(), None)
    }

    fn write_program(&mut self, segments: Vec<crate::Segment>, entry: Option<u32>) -> bool {
        let Some(loader) = self.loader.as_deref_mut() else { return false };
        let loaded = loader.load(&self.board, &segments, entry);
        let history = &mut self.history;
        match loaded {
            Ok(Loaded::NeedsEntry) => {
                self.pending = Some(segments);
                true
            }
            Ok(Loaded::Written { entry }) => match self.reset_to(entry) {
                Ok(true) => true,
                Ok(false) => {
                    self.notes.push(format!("the board did not reach {entry:#010x}"));
                    false
                }
                Err(error) => {
                    self.notes.push(error.to_string());
                    false
                }
            },
            Err(error) => {
                self.notes.push(format!("load: {error}"));
                self.board.with(|board| history.restart(board));
                false
            }
        }
    }
}
