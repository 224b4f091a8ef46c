//! The recent past of a board: checkpoints, and the input between them.
//!
//! A board's run is determined by its state and its input. So a past position is reached by going
//! back to the checkpoint before it, and running again with the input that was recorded. Checkpoints
//! are taken at fixed intervals of the board's clock. There are at most [`CHECKPOINTS`] of them, so
//! memory is bounded; the oldest is dropped for a new one.

use std::{collections::VecDeque, time::Duration};

use esplice_sim::{Board, Checkpoint, DebugStop, Position, SimError};

/// Time between two checkpoints, on the board's clock.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// Number of checkpoints that are kept. Together they reach back 12.8 s.
pub const CHECKPOINTS: usize = 64;

/// Cycles before a position from which the instructions up to it are executed one by one. An
/// interrupt handler that ended shortly before the position should begin within them.
const WINDOW: u64 = 4096;

/// Something from outside that changes the board.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// Bytes sent to the console.
    Send(Vec<u8>),
    /// Bytes written into memory or to a device.
    Write(u32, Vec<u8>),
    /// A new value of an integer register.
    Register(usize, u32),
    /// A new value of pc.
    Pc(u32),
    /// A new value of a CSR.
    Csr(u32, u32),
    /// A press of the reset button.
    Reset,
}

impl Input {
    /// Applies the input. Returns false if the board does not accept it.
    fn apply(&self, board: &mut Board) -> bool {
        match self {
            Input::Send(bytes) => {
                board.send(bytes);
            }
            Input::Write(addr, bytes) => return board.write_bus(*addr, bytes),
            Input::Register(number, value) => board.set_register(*number, *value),
            Input::Pc(pc) => board.set_pc(*pc),
            Input::Csr(number, value) => board.set_csr(*number, *value),
            Input::Reset => board.press_reset(),
        }
        true
    }
}

/// A checkpoint with the number of inputs before it.
#[derive(Debug, Clone)]
struct Mark {
    checkpoint: Checkpoint,
    inputs: u64,
    /// True if the chip was executing instructions.
    executes: bool,
}

/// The past of a board, and its recorded input. The input after the present position is applied
/// again when the board gets there.
#[derive(Debug, Default)]
pub struct History {
    marks: VecDeque<Mark>,
    /// A checkpoint shortly before the position reached by the last step back.
    near: Option<Mark>,
    inputs: VecDeque<(Position, Input)>,
    /// Number of inputs that were dropped.
    dropped: u64,
    /// Number of inputs applied up to the present position, including dropped ones.
    applied: u64,
    /// Number of the board's output bytes that were shown.
    shown: u64,
    search: Option<Search>,
}

/// A search backwards for the last stop before a position.
#[derive(Debug, Clone, Copy)]
struct Search {
    /// Stops before this position count.
    end: Position,
    /// Number of checkpoints that were not searched yet.
    left: usize,
}

/// Where a run backwards has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// At an instruction, for this reason.
    At(DebugStop),
    /// At the oldest checkpoint.
    Beginning,
}

impl History {
    /// Forgets everything, and begins at the board's present position.
    pub fn restart(&mut self, board: &mut Board) {
        let shown = self.shown.max(board.output_taken());
        *self = History { shown, ..History::default() };
        self.mark(board);
    }

    fn mark(&mut self, board: &mut Board) {
        let before = self.marks.back().map(|mark| &mark.checkpoint);
        let checkpoint = board.checkpoint(before);
        let executes = board.paused_since().is_none();
        if self.marks.len() >= CHECKPOINTS {
            self.marks.pop_front();
            let first = self.marks.front().map_or(self.applied, |mark| mark.inputs);
            while self.dropped < first && self.inputs.pop_front().is_some() {
                self.dropped += 1;
            }
        }
        self.marks.push_back(Mark { checkpoint, inputs: self.applied, executes });
    }

    /// Returns how far the history reaches back.
    pub fn reach(&self, board: &Board) -> Duration {
        let first = self.marks.front().map(|mark| mark.checkpoint.position().time());
        board.now().saturating_sub(first.unwrap_or_else(|| board.now()))
    }

    /// Applies an input now and records it. What was recorded of the time after now is dropped,
    /// because it can't happen any more. Returns false if the board does not accept the input.
    pub fn apply(&mut self, board: &mut Board, input: Input) -> bool {
        let position = board.position();
        if !input.apply(board) {
            return false;
        }
        self.inputs.truncate((self.applied - self.dropped) as usize);
        self.marks.retain(|mark| !mark.checkpoint.position().is_after(&position));
        self.near = None;
        self.shown = self.shown.min(board.output_taken());
        self.inputs.push_back((position, input));
        self.applied += 1;
        true
    }

    /// Takes the output that was not shown before.
    pub fn take_output(&mut self, board: &mut Board) -> Vec<u8> {
        let mut new = Vec::new();
        loop {
            let number = board.output_taken();
            let Some(sent) = board.host_take_sent() else { return new };
            if number >= self.shown {
                self.shown = number + 1;
                new.push(sent.byte);
            }
        }
    }

    /// Runs like [`Board::debug_run`] with the recorded input, and takes checkpoints.
    ///
    /// # Errors
    /// Same as [`Board::run_to`].
    pub fn run(
        &mut self,
        board: &mut Board,
        until: Duration,
        mut pass: bool,
    ) -> Result<Option<DebugStop>, SimError> {
        loop {
            let last = self.marks.back().map(|mark| mark.checkpoint.position().time());
            let due = last.map_or(Duration::ZERO, |last| last + INTERVAL);
            if board.now() >= due {
                self.mark(board);
                continue;
            }
            let end = until.min(due);
            let stop =
                self.advance(board, end, pass, |board, end, pass| board.debug_run(end, pass))?;
            if stop.is_some() || board.now() >= until {
                return Ok(stop);
            }
            pass = false;
        }
    }

    /// Executes one instruction with the recorded input. Returns `None` if none was executed by
    /// `until`.
    ///
    /// # Errors
    /// Same as [`Board::run_to`].
    pub fn step(
        &mut self,
        board: &mut Board,
        until: Duration,
    ) -> Result<Option<DebugStop>, SimError> {
        self.advance(board, until, false, |board, end, _| board.debug_step(end))
    }

    /// Applies the input that is due, and runs at most to the next one.
    fn advance(
        &mut self,
        board: &mut Board,
        until: Duration,
        pass: bool,
        run: impl Fn(&mut Board, Duration, bool) -> Result<Option<DebugStop>, SimError>,
    ) -> Result<Option<DebugStop>, SimError> {
        let Some(next) = self.next_input().filter(|next| next.time() <= until) else {
            return run(board, until, pass);
        };
        if next.is_after(&board.position()) {
            match board.debug_run_to(&next, pass)? {
                DebugStop::Reached => {}
                stop => return Ok(Some(stop)),
            }
            board.replay_to(&next)?;
        }
        self.apply_recorded(board);
        Ok(None)
    }

    fn next_input(&self) -> Option<Position> {
        let index = (self.applied - self.dropped) as usize;
        self.inputs.get(index).map(|(position, _)| *position)
    }

    fn apply_recorded(&mut self, board: &mut Board) {
        let index = (self.applied - self.dropped) as usize;
        if let Some((_, input)) = self.inputs.get(index) {
            input.apply(board);
            self.applied += 1;
        }
    }

    /// Goes back to a checkpoint.
    fn return_to(&mut self, board: &mut Board, mark: &Mark) -> Result<(), SimError> {
        board.return_to(&mark.checkpoint)?;
        self.applied = mark.inputs;
        Ok(())
    }

    /// Runs to a past position from a checkpoint before it, without stops.
    fn replay(&mut self, board: &mut Board, position: &Position) -> Result<(), SimError> {
        while let Some(next) = self.next_input().filter(|next| !next.is_after(position)) {
            board.replay_to(&next)?;
            self.apply_recorded(board);
        }
        board.replay_to(position)?;
        Ok(())
    }

    /// Runs to a cycle before the position `end`, without stops.
    fn replay_to_cycle(
        &mut self,
        board: &mut Board,
        cycles: u64,
        end: &Position,
    ) -> Result<(), SimError> {
        while let Some(next) = self.next_input().filter(|next| next.cycles() <= cycles) {
            board.replay_to(&next)?;
            self.apply_recorded(board);
        }
        board.replay_to_cycle(cycles, end.time())
    }

    /// Returns the last checkpoint before a position at which instructions were executed, or the
    /// first of all.
    fn mark_before(&self, position: &Position) -> Option<Mark> {
        let marks = self.marks.iter().chain(&self.near);
        let earlier = marks.filter(|mark| position.is_after(&mark.checkpoint.position()));
        earlier.max_by_key(|mark| (mark.executes, mark.checkpoint.position())).cloned()
    }

    /// Goes to a checkpoint shortly before a position, at which instructions are executed. If there
    /// is none, takes one.
    fn approach(
        &mut self,
        board: &mut Board,
        mark: Mark,
        here: &Position,
    ) -> Result<Mark, SimError> {
        let first = mark.checkpoint.position().cycles();
        let mut near = here.cycles().saturating_sub(WINDOW);
        while near > first {
            self.return_to(board, &mark)?;
            self.replay_to_cycle(board, near, here)?;
            match board.paused_since() {
                None if here.is_after(&board.position()) => {
                    let checkpoint = board.checkpoint(Some(&mark.checkpoint));
                    let near = Mark { checkpoint, inputs: self.applied, executes: true };
                    self.near = Some(near.clone());
                    return Ok(near);
                }
                // The instruction began earlier, such as a wait for an interrupt.
                Some(began) => near = near.min(began).saturating_sub(WINDOW),
                None => near = near.saturating_sub(WINDOW),
            }
        }
        self.return_to(board, &mark)?;
        Ok(mark)
    }

    /// Goes back by one instruction. Interrupt handlers that ran in between are passed, as in a
    /// step forwards.
    ///
    /// # Errors
    /// Same as [`Board::run_to`] and [`Board::return_to`].
    pub fn step_back(&mut self, board: &mut Board) -> Result<Back, SimError> {
        let here = board.position();
        let Some(mark) = self.mark_before(&here) else { return Ok(Back::Beginning) };
        let start = self.approach(board, mark, &here)?;
        let mut last = board.position();
        let breakpoints = board.take_stops();
        let scanned = loop {
            match self.step(board, here.time()) {
                Err(error) => break Err(error),
                Ok(None) if board.now() >= here.time() => break Ok(()),
                Ok(_) => {}
            }
            let position = board.position();
            if !here.is_after(&position) {
                break Ok(());
            }
            last = position;
        };
        board.end_step();
        board.restore_stops(breakpoints);
        scanned?;
        self.return_to(board, &start)?;
        self.replay(board, &last)?;
        Ok(Back::At(DebugStop::Stepped))
    }

    /// Returns addresses and bits of the last `count` instructions that were executed, the oldest
    /// first. The board is at the same position afterwards.
    ///
    /// # Errors
    /// Same as [`Board::run_to`] and [`Board::return_to`].
    pub fn last_instructions(
        &mut self,
        board: &mut Board,
        count: usize,
    ) -> Result<Vec<(u32, u32)>, SimError> {
        let here = board.position();
        let mut last = VecDeque::new();
        while last.len() < count {
            match self.step_back(board)? {
                Back::Beginning => break,
                Back::At(_) => {
                    let pc = board.pc();
                    let half = |addr| {
                        let bytes = board.read_memory(addr, 2).unwrap_or_default();
                        bytes.first_chunk::<2>().map_or(0, |half| u16::from_le_bytes(*half))
                    };
                    let bits = u32::from(half(pc)) | u32::from(half(pc.wrapping_add(2))) << 16;
                    last.push_front((pc, bits));
                }
            }
        }
        self.replay(board, &here)?;
        Ok(last.into())
    }

    /// Begins a search for the last stop before the present position.
    pub fn search_back(&mut self, board: &Board) {
        let end = board.position();
        let earlier = self.marks.iter().filter(|m| end.is_after(&m.checkpoint.position()));
        self.search = Some(Search { end, left: earlier.count() });
    }

    /// Searches the time between two checkpoints. Returns the end of the search, or `None` if it
    /// must go on.
    ///
    /// # Errors
    /// Same as [`Board::run_to`] and [`Board::return_to`].
    pub fn search_on(&mut self, board: &mut Board) -> Result<Option<Back>, SimError> {
        let Some(search) = self.search else { return Ok(Some(Back::Beginning)) };
        let index = search.left.checked_sub(1);
        let Some(mark) = index.and_then(|index| self.marks.get(index)).cloned() else {
            self.search = None;
            if let Some(first) = self.marks.front().cloned() {
                self.return_to(board, &first)?;
            }
            return Ok(Some(Back::Beginning));
        };
        self.return_to(board, &mark)?;
        let mut found = None;
        let mut pass = false;
        loop {
            let end = search.end;
            let stop = self.advance(board, end.time(), pass, |board, _, pass| {
                board.debug_run_to(&end, pass).map(Some)
            })?;
            pass = matches!(stop, Some(DebugStop::Breakpoint));
            let position = board.position();
            match stop {
                // An input was applied.
                None if end.is_after(&position) => {}
                None | Some(DebugStop::Reached) => break,
                Some(stop) if end.is_after(&position) => found = Some((stop, position)),
                // The access that led to the end of the search is before it.
                Some(stop @ DebugStop::Watchpoint { .. }) => {
                    found = Some((stop, position));
                    break;
                }
                Some(_) => break,
            }
        }
        let Some((stop, position)) = found else {
            self.search = Some(Search { end: mark.checkpoint.position(), left: search.left - 1 });
            return Ok(None);
        };
        self.search = None;
        self.return_to(board, &mark)?;
        match stop {
            // Going backwards, the state before the access is shown.
            DebugStop::Watchpoint { began, .. } => {
                self.replay_to_cycle(board, began, &position)?;
            }
            _ => self.replay(board, &position)?,
        }
        Ok(Some(Back::At(stop)))
    }

    /// Ends a search at an arbitrary point.
    pub fn cancel_search(&mut self) {
        self.search = None;
    }
}
