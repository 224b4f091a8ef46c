//! A watch without a port: takes bytes and times, returns events and an outcome.

use std::time::Duration;

use esplice_protocol::Moment;

use crate::{
    boot::{BootBanner, BootError, ResetCounter, saved_pc},
    boot_check::{BootCheck, rom_entry},
    core_dump::{CoreDumpCollector, Step as DumpStep},
    defmt::{Demux, LogFrame, Piece},
    garble::Garble,
    lines::{Line, Lines},
    panic::{PanicReport, elf_sha256},
    panic_collect::PanicCollector,
    sanitise::sanitise,
    script::Step,
    script_runner::{Action, Match, ScriptRunner, StreamByte},
    shown::Shown,
    test_run::{TestEvent, TestReport, TestRun},
    trace::{TraceCollector, TraceReport},
    watch::{MonitorEvent, Outcome, Tests, Watch},
};

/// Time without output after which a panic counts as complete: three times what a line of a dump
/// takes at 9600 baud.
const PANIC_QUIET: Duration = Duration::from_millis(300);

/// Maximum time after the first line of a panic, for firmware that continues to print.
const PANIC_LONGEST: Duration = Duration::from_secs(2);

/// Maximum time for a panic with a core dump: what two of the largest take at 115200 baud.
const DUMP_LONGEST: Duration = Duration::from_secs(600);

/// Follows a stream and finds what a [`Watch`] looks for.
///
/// The findings do not depend on how the stream is split into pieces.
#[derive(Debug)]
pub struct Watcher {
    started: Moment,
    timeout: Option<Duration>,
    runner: ScriptRunner,
    /// The output as shown, for the search of texts.
    shown: Shown,
    /// The offset of the last expected text found.
    met_at: u64,
    tests_wanted: Tests,
    tests: TestRun,
    allow_resets: bool,
    lines: Lines,
    panics: PanicCollector,
    /// The first of several nested panics.
    first_panic: Option<PanicReport>,
    traces: TraceCollector,
    dumps: CoreDumpCollector,
    /// The time at which the panic being collected began.
    panic_began: Moment,
    resets: ResetCounter,
    boots: BootCheck,
    garble: Garble,
    demux: Demux,
    seen: u64,
    /// Number of bytes of text, with frames as lines.
    read: u64,
    last_byte: Moment,
}

impl Watcher {
    /// Creates a watch that began at `started`.
    pub fn new(watch: &Watch, started: Moment) -> Watcher {
        let expect = watch.expect.iter().cloned();
        let expect = expect.map(|what| Step::Expect { what, within: None });
        let steps = expect.chain(watch.script.iter().cloned()).collect();
        Watcher {
            started,
            timeout: watch.timeout,
            runner: ScriptRunner::new(steps, &watch.reject, started),
            shown: Shown::default(),
            met_at: 0,
            tests_wanted: watch.tests,
            tests: TestRun::new(watch.selection.clone()),
            allow_resets: watch.allow_resets,
            lines: Lines::default(),
            panics: PanicCollector::default(),
            first_panic: None,
            traces: TraceCollector::new(watch.addresses),
            dumps: CoreDumpCollector::default(),
            panic_began: started,
            resets: ResetCounter::new(watch.expected_resets, watch.loop_resets, watch.allow_resets),
            boots: watch.boots.clone(),
            garble: Garble::default(),
            demux: Demux::new(watch.defmt.clone(), watch.binary_log.clone()),
            seen: 0,
            read: 0,
            last_byte: started,
        }
    }

    /// Takes the next bytes, read at `now`. An outcome ends the watch: the rest of `bytes` is
    /// ignored.
    pub fn push(
        &mut self,
        bytes: &[u8],
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        if bytes.is_empty() {
            return None;
        }
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        self.last_byte = now;
        let pieces = self.demux.push(bytes);
        self.pieces(&pieces, now, events)
    }

    fn pieces(
        &mut self,
        pieces: &[Piece],
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        // Everything that was read is shown, including what follows the end of the watch.
        for piece in pieces {
            match piece {
                Piece::Text(text) => events(MonitorEvent::Text(text)),
                Piece::Frame(log) => events(MonitorEvent::Text(line_of(log).as_bytes())),
            }
        }
        pieces.iter().find_map(|piece| match piece {
            Piece::Text(text) => self.text(text, now, events),
            Piece::Frame(log) => self.log(log, now, events),
        })
    }

    fn log(
        &mut self,
        log: &LogFrame,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        events(MonitorEvent::Log(log));
        for byte in line_of(log).bytes() {
            let settled = self.look(byte, now, &|_| {}, events);
            if settled.is_some() {
                return settled;
            }
        }
        // Panics may also come as messages. Their lines have no level and time.
        self.lines.remember_text(&line_of(log));
        log.message.lines().find_map(|line| {
            let line = Line { text: sanitise(line.as_bytes()), is_text: true };
            self.line(&line, now, events)
        })
    }

    fn text(
        &mut self,
        bytes: &[u8],
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        for byte in bytes {
            self.garble.byte(*byte);
            // Keep the line with the rejected text as far as it has arrived.
            let keep = |lines: &mut Lines| {
                lines.push(*byte);
            };
            if let Some(outcome) = self.look(*byte, now, &keep, events) {
                return Some(outcome);
            }
            if let Some(line) = self.lines.push(*byte)
                && let Some(outcome) = self.line(&line, now, events)
            {
                return Some(outcome);
            }
        }
        None
    }

    /// Handles the time `now` without new bytes. An outcome ends the watch.
    pub fn tick(
        &mut self,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        self.runner.settle(now);
        if let Some(outcome) = self.finished(now) {
            return Some(outcome);
        }
        if self.packet_over_at().is_some_and(|at| at <= now) {
            let pieces = self.demux.settle();
            if let Some(outcome) = self.pieces(&pieces, now, events) {
                return Some(outcome);
            }
        }
        let over = self.next_deadline().is_some_and(|(at, _)| at <= now);
        if self.panic_over_at().is_some_and(|at| at <= now) || over && self.panics.is_collecting() {
            let panic = self.finish_panic(events);
            if let Some(outcome) = self.panicked(panic, events) {
                return Some(outcome);
            }
        }
        if self.trace_over_at().is_some_and(|at| at <= now) {
            self.finish_trace(events);
        }
        if !over {
            return None;
        }
        // The board may have stopped in the middle of a possible frame or of an important line.
        if let Some(outcome) = self.cut(now, events) {
            return Some(outcome);
        }
        // That line may have been one of a test.
        let (_, bound) = self.next_deadline().filter(|(at, _)| *at <= now)?;
        Some(self.out_of_time(bound, now, events))
    }

    /// Ends unfinished output, such as when the port is gone. Bytes held back and unfinished
    /// reports are sent as far as they arrived. An outcome ends the watch.
    pub fn cut(
        &mut self,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        let pieces = self.demux.finish();
        if let Some(outcome) = self.pieces(&pieces, now, events) {
            return Some(outcome);
        }
        if let Some(line) = self.lines.finish()
            && let Some(outcome) = self.line(&line, now, events)
        {
            return Some(outcome);
        }
        let panic = self.finish_panic(events);
        let outcome = self.panicked(panic, events);
        self.finish_trace(events);
        outcome
    }

    /// Returns when [`tick`](Watcher::tick) next has something to do. `None` if only bytes matter.
    pub fn deadline(&self) -> Option<Moment> {
        let out_of_time = self.next_deadline().map(|(at, _)| at);
        let pause = self.runner.pause_over_at();
        let report = self.panic_over_at().or_else(|| self.trace_over_at());
        let package = self.packet_over_at();
        [out_of_time, report, package, pause].into_iter().flatten().min()
    }

    /// Returns the action the port's owner must perform and then report with
    /// [`done`](Watcher::done).
    pub fn action(&self) -> Option<Action> {
        self.runner.action()
    }

    /// Reports that the [`action`](Watcher::action) is done.
    pub fn done(&mut self, now: Moment) -> Option<Outcome> {
        if self.runner.action() == Some(Action::Reset) {
            self.was_reset();
        }
        self.runner.done(now);
        self.finished(now)
    }

    /// Reports that the owner has reset the board. Unfinished output is discarded, and the next
    /// reset is expected.
    pub fn was_reset(&mut self) {
        self.resets.expect_one_more();
        self.lines.finish();
        self.panics = PanicCollector::default();
        self.first_panic = None;
        self.traces.reset();
        self.dumps = CoreDumpCollector::default();
    }

    /// Returns the index of the current step, counted from 0 through [`Watch::expect`] and
    /// [`Watch::script`].
    pub fn step(&self) -> usize {
        self.runner.at()
    }

    /// Returns the report of tests, or `None` if the board has reported none.
    pub fn tests(&self) -> Option<&TestReport> {
        self.tests.has_begun().then(|| self.tests.report())
    }

    /// Returns the name of the test that is running on the board.
    pub fn running_test(&self) -> Option<&str> {
        self.tests.running()
    }

    /// Ends the tests because the owner ends the watch. A running test fails with `reason`.
    pub fn abandon_test(
        &mut self,
        reason: &str,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) {
        self.tests.interrupt(reason, now, &mut |event| events(MonitorEvent::Test(event)));
    }

    /// Returns the last non-empty lines, oldest first, without escape sequences.
    pub fn last_lines(&self) -> Vec<String> {
        self.lines.last()
    }

    /// Returns the number of bytes taken so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Returns the next deadline and what it applies to.
    fn next_deadline(&self) -> Option<(Moment, Bound)> {
        let whole = self.timeout.map(|timeout| (self.started + timeout, Bound::Whole));
        let step = self.runner.due().map(|(at, within)| (at, Bound::Step(within)));
        let tests = self.tests_within().map(|within| {
            (self.tests.last().unwrap_or(self.started) + within, Bound::Tests(within))
        });
        [whole, step, tests].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn tests_within(&self) -> Option<Duration> {
        match self.tests_wanted {
            Tests::Required { within } => Some(within),
            Tests::IfReported { within } => self.tests.has_begun().then_some(within),
            Tests::Ignored => None,
        }
    }

    /// Returns whether the watch waits for something, so that a panic ends it.
    fn is_waiting(&self) -> bool {
        !self.runner.is_idle() || self.tests_within().is_some()
    }

    fn finished(&self, at: Moment) -> Option<Outcome> {
        self.runner.is_done().then_some(Outcome::Matched { at, offset: self.met_at })
    }

    fn panic_over_at(&self) -> Option<Moment> {
        let longest = if self.dumps.is_collecting() { DUMP_LONGEST } else { PANIC_LONGEST };
        let over = (self.last_byte + PANIC_QUIET).min(self.panic_began + longest);
        self.panics.is_collecting().then_some(over)
    }

    fn packet_over_at(&self) -> Option<Moment> {
        self.demux.holds_packet().then_some(self.last_byte + PANIC_QUIET)
    }

    fn trace_over_at(&self) -> Option<Moment> {
        self.traces.is_collecting().then_some(self.last_byte + PANIC_QUIET)
    }

    fn finish_trace(&mut self, events: &mut dyn FnMut(MonitorEvent<'_>)) {
        if let Some(report) = self.traces.finish() {
            events(MonitorEvent::Trace(&report));
        }
    }

    /// Searches for rejected and expected texts up to this byte. `keep` adds the byte to the line
    /// that contains the rejected text.
    fn look(
        &mut self,
        byte: u8,
        at: Moment,
        keep: &dyn Fn(&mut Lines),
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        let offset = self.read;
        self.read = offset.saturating_add(1);
        self.shown.push(byte, offset);
        let heard = StreamByte { raw: byte, shown: self.shown.text() };
        if let Some((text, met)) = self.runner.rejected(heard) {
            let offset = match_offset(&self.shown, self.read, met);
            if met.found.trailing == 0 {
                keep(&mut self.lines);
            }
            self.lines.finish();
            let last_lines = self.lines.last();
            return Some(Outcome::Rejected { text, at, offset, last_lines });
        }
        let (shown, read, met_at) = (&self.shown, self.read, &mut self.met_at);
        self.runner.push(heard, at, &mut |index, met| {
            let offset = match_offset(shown, read, met);
            *met_at = offset;
            events(MonitorEvent::Expected { index, at, offset });
        });
        self.finished(at)
    }

    fn line(
        &mut self,
        line: &Line,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        self.garble.line(&line.text, line.is_text);
        match self.dumps.line(&line.text) {
            DumpStep::Outside => {}
            DumpStep::Taken => return None,
            DumpStep::Whole(dump) => {
                // The dump belongs to the panic before it.
                let panic = self.panics.finish();
                let outcome = self.panicked(panic, events);
                match &dump {
                    Ok(dump) => events(MonitorEvent::CoreDump(dump)),
                    Err(error) => events(MonitorEvent::CoreDumpBroken(error)),
                }
                if outcome.is_some() {
                    return outcome;
                }
            }
        }
        let collecting = self.panics.is_collecting();
        let panic = self.panics.line(&line.text, now);
        let begins = self.panics.is_collecting() && (!collecting || panic.is_some());
        if begins {
            self.panic_began = now;
        }
        let mut trace = |report: &TraceReport| events(MonitorEvent::Trace(report));
        if collecting || begins {
            if let Some(report) = self.traces.finish() {
                trace(&report);
            }
            self.traces.panic_line(&line.text, now, &mut trace);
        } else {
            self.traces.line(&line.text, now, &mut trace);
        }
        if let Some(outcome) = self.panicked(panic, events) {
            return Some(outcome);
        }
        if let Some(outcome) = self.test_line(&line.text, now, events) {
            return Some(outcome);
        }
        if !collecting && !self.panics.is_collecting() {
            self.boot(&line.text, events);
        }
        if let Some(other) = self.boots.line(&line.text) {
            events(MonitorEvent::OtherProgram(&other));
            if self.is_waiting() {
                return Some(Outcome::OtherProgram(other));
            }
        }
        if let Some(entry) = rom_entry(&line.text) {
            events(MonitorEvent::Entry(entry));
        }
        if let Some(name) = crate::boot::rom_name(&line.text) {
            events(MonitorEvent::Rom(name));
        }
        let banner = BootBanner::find(&line.text);
        let boot_loop = self.resets.line(&line.text, banner.as_ref());
        if let Some(banner) = banner {
            events(MonitorEvent::Boot(&banner));
            let mut tell = |event: TestEvent<'_>| events(MonitorEvent::Test(event));
            let on_purpose = self.allow_resets || self.runner.resets_allowed() || banner.is_wake();
            if self.tracks_tests() && !on_purpose && self.tests.was_reset(now, &mut tell) {
                return Some(Outcome::Tests(self.tests.report().clone()));
            }
        }
        let boot_loop = boot_loop?;
        events(MonitorEvent::BootLoop(&boot_loop));
        (self.is_waiting() && !self.runner.resets_allowed()).then_some(Outcome::BootLoop(boot_loop))
    }

    fn tracks_tests(&self) -> bool {
        self.tests_wanted != Tests::Ignored
    }

    fn test_line(
        &mut self,
        line: &str,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        let mut tell = |event: TestEvent<'_>| events(MonitorEvent::Test(event));
        let over = self.tracks_tests() && self.tests.line(line, now, &mut tell);
        over.then(|| Outcome::Tests(self.tests.report().clone()))
    }

    /// Reports what a line says about the boot of the firmware.
    fn boot(&self, line: &str, events: &mut dyn FnMut(MonitorEvent<'_>)) {
        if let Some(error) = BootError::find(line) {
            events(MonitorEvent::BootError(&error));
        }
        if let Some(pc) = saved_pc(line) {
            events(MonitorEvent::SavedPc(pc));
        }
        if let Some(hash) = elf_sha256(line) {
            events(MonitorEvent::ElfSha256(hash));
        }
    }

    /// Returns the panic with what has arrived of its last line.
    fn finish_panic(&mut self, events: &mut dyn FnMut(MonitorEvent<'_>)) -> Option<PanicReport> {
        if let Some(error) = self.dumps.cut() {
            events(MonitorEvent::CoreDumpBroken(&error));
        }
        if let Some(line) = self.lines.finish() {
            self.garble.line(&line.text, line.is_text);
            if let Some(panic) = self.panics.line(&line.text, self.last_byte) {
                return Some(panic);
            }
        }
        self.panics.finish()
    }

    fn panicked(
        &mut self,
        panic: Option<PanicReport>,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        let panic = panic?;
        let mut tell = |event: TestEvent<'_>| events(MonitorEvent::Test(event));
        if self.tracks_tests() && self.tests.panicked(&panic.message, panic.at, &mut tell) {
            // The board may restart to continue its tests.
            self.resets.expect_one_more();
            let over = self.tests.is_complete() && !self.panics.is_collecting();
            return over.then(|| Outcome::Tests(self.tests.report().clone()));
        }
        events(MonitorEvent::Panic(&panic));
        // For a panic within another's handler, the first is the cause and the last is the most
        // complete.
        if self.panics.is_collecting() {
            self.first_panic.get_or_insert(panic);
            return None;
        }
        let panic = self.first_panic.take().unwrap_or(panic);
        if !self.is_waiting() || self.runner.panics_allowed() {
            return None;
        }
        let reason = panic.message.lines().next().unwrap_or_default();
        let reason = format!("the firmware panicked: {reason}");
        self.abandon_test(&reason, panic.at, events);
        Some(Outcome::Panic(panic))
    }

    fn out_of_time(
        &mut self,
        bound: Bound,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Outcome {
        let seen = self.seen;
        if !self.is_waiting() {
            return Outcome::Ended { seen };
        }
        if let Some(percent) = self.garble.verdict() {
            return Outcome::WrongBaud { seen, percent };
        }
        let last_lines = self.lines.last();
        let tests = self.tests_within().filter(|_| self.runner.is_idle());
        if let (Bound::Tests(_) | Bound::Whole, Some(within)) = (bound, tests) {
            let within = match bound {
                Bound::Whole => self.timeout.unwrap_or(within),
                _ => within,
            };
            let running = self.tests.running().map(str::to_owned);
            self.abandon_test("it did not end in time", now, events);
            let report = self.tests.report().clone();
            return Outcome::TestsTimedOut { running, report, within, seen, last_lines };
        }
        let missing = self.runner.missing().map(|what| what.text().to_owned()).unwrap_or_default();
        Outcome::TimedOut { missing, seen, last_lines }
    }
}

/// The time limit that expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// The limit of the whole watch.
    Whole,
    /// The limit of a step.
    Step(Duration),
    /// The limit for lines about tests.
    Tests(Duration),
}

/// Returns where a match begins in the text, of which `read` bytes have arrived.
fn match_offset(shown: &Shown, read: u64, met: Match) -> u64 {
    let back = met.found.len + met.found.trailing;
    let of_text = read.saturating_sub(back as u64);
    match met.after {
        Some(after) => shown.offset(back + after).unwrap_or(of_text),
        None => of_text,
    }
}

/// Returns a message as a line with its end.
fn line_of(log: &LogFrame) -> String {
    format!("{log}\r\n")
}
