//! A watch without a port: bytes and times go in, events and an outcome come out.

use std::time::Duration;

use esplice_protocol::Moment;

use crate::{
    boot::{BootBanner, BootError, ResetCounter, saved_pc},
    boot_check::{BootCheck, rom_entry},
    core_dump::{CoreDumpCollector, Step as DumpStep},
    course::{Action, Course},
    defmt::{Demux, LogFrame, Piece},
    garble::Garble,
    lines::{Line, Lines},
    panic::{PanicCollector, PanicReport, elf_sha256},
    sanitise::sanitise,
    script::Step,
    test_run::{TestEvent, TestReport, TestRun},
    watch::{MonitorEvent, Outcome, Tests, Watch},
};

/// A panic is taken as told in full when nothing comes for so long: three times what a line of a
/// dump takes at 9600 baud.
const PANIC_QUIET: Duration = Duration::from_millis(300);

/// And in any case so long after its first line, for firmware that talks on.
const PANIC_LONGEST: Duration = Duration::from_secs(2);

/// The same with a core dump in it: what two of the largest take at 115200 baud.
const DUMP_LONGEST: Duration = Duration::from_secs(600);

/// Follows a stream and finds what a [`Watch`] asks for.
///
/// What it finds does not depend on how the stream is cut into pieces.
#[derive(Debug)]
pub struct Watcher {
    started: Moment,
    timeout: Option<Duration>,
    course: Course,
    /// Where the last expected text begins.
    met_at: u64,
    tests_wanted: Tests,
    tests: TestRun,
    lines: Lines,
    panics: PanicCollector,
    dumps: CoreDumpCollector,
    /// When the panic being collected began.
    panic_began: Moment,
    resets: ResetCounter,
    boots: BootCheck,
    garble: Garble,
    demux: Demux,
    seen: u64,
    /// Bytes of text, with frames as lines.
    read: u64,
    last_byte: Moment,
}

impl Watcher {
    /// A watch that began at `started`.
    pub fn new(watch: &Watch, started: Moment) -> Watcher {
        let expect = watch.expect.iter().cloned();
        let expect = expect.map(|what| Step::Expect { what, within: None });
        let steps = expect.chain(watch.script.iter().cloned()).collect();
        Watcher {
            started,
            timeout: watch.timeout,
            course: Course::new(steps, &watch.reject, started),
            met_at: 0,
            tests_wanted: watch.tests,
            tests: TestRun::default(),
            lines: Lines::default(),
            panics: PanicCollector::default(),
            dumps: CoreDumpCollector::default(),
            panic_began: started,
            resets: ResetCounter::new(watch.expected_resets, watch.loop_resets),
            boots: watch.boots.clone(),
            garble: Garble::default(),
            demux: Demux::new(watch.defmt.clone()),
            seen: 0,
            read: 0,
            last_byte: started,
        }
    }

    /// Takes the next bytes, read at `now`. An outcome settles the watch: what follows in `bytes`
    /// is not looked at.
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
        // All that was read is shown, also behind what settles the watch.
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
            self.read = self.read.saturating_add(1);
            let settled = self.rejected(byte, now).or_else(|| self.expected(byte, now, events));
            if settled.is_some() {
                return settled;
            }
        }
        // Panics are told in messages, too, and their lines are without level and time.
        self.lines.tell(&line_of(log));
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
            self.read = self.read.saturating_add(1);
            self.garble.byte(*byte);
            if let Some(outcome) = self.rejected(*byte, now) {
                return Some(outcome);
            }
            if let Some(outcome) = self.expected(*byte, now, events) {
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

    /// Tells that it is `now` and no bytes have come. An outcome settles the watch.
    pub fn tick(
        &mut self,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        self.course.settle(now);
        if let Some(outcome) = self.finished(now) {
            return Some(outcome);
        }
        let over = self.out_of_time_at().is_some_and(|(at, _)| at <= now);
        if self.panic_over_at().is_some_and(|at| at <= now) || over && self.panics.is_collecting() {
            let panic = self.finish_panic(events);
            if let Some(outcome) = self.panicked(panic, events) {
                return Some(outcome);
            }
        }
        if !over {
            return None;
        }
        // The board may have stopped in the middle of what looked like a frame, or of a telling line.
        let pieces = self.demux.finish();
        if let Some(outcome) = self.pieces(pieces.as_slice(), now, events) {
            return Some(outcome);
        }
        if let Some(line) = self.lines.finish() {
            let outcome = self.line(&line, now, events);
            let panic = self.panics.finish();
            if let Some(outcome) = outcome.or_else(|| self.panicked(panic, events)) {
                return Some(outcome);
            }
        }
        // Which may have been one of a test.
        let (_, bound) = self.out_of_time_at().filter(|(at, _)| *at <= now)?;
        Some(self.out_of_time(bound, now, events))
    }

    /// When [`tick`](Watcher::tick) next has something to do; `None` if only bytes matter.
    pub fn deadline(&self) -> Option<Moment> {
        let out_of_time = self.out_of_time_at().map(|(at, _)| at);
        let pause = self.course.pause_over_at();
        [out_of_time, self.panic_over_at(), pause].into_iter().flatten().min()
    }

    /// What the port's owner has to do now, and then to tell by [`done`](Watcher::done).
    pub fn action(&self) -> Option<Action> {
        self.course.action()
    }

    /// The [`action`](Watcher::action) is done.
    pub fn done(&mut self, now: Moment) -> Option<Outcome> {
        if self.course.action() == Some(Action::Reset) {
            self.was_reset();
        }
        self.course.done(now);
        self.finished(now)
    }

    /// Tells that the owner has reset the board: what it had begun to say is over, and its next reset
    /// is no surprise.
    pub fn was_reset(&mut self) {
        self.resets.expect_one_more();
        self.lines.finish();
        self.panics = PanicCollector::default();
        self.dumps = CoreDumpCollector::default();
    }

    /// The place of the step that is under way, counted from 0 through [`Watch::expect`] and
    /// [`Watch::script`].
    pub fn step(&self) -> usize {
        self.course.at()
    }

    /// What the board has told of tests; none if it has told of none.
    pub fn tests(&self) -> Option<&TestReport> {
        self.tests.has_begun().then(|| self.tests.report())
    }

    /// The test that runs on the board.
    pub fn running_test(&self) -> Option<&str> {
        self.tests.running()
    }

    /// The watch ends for a reason of the owner's; a test that runs has failed by it.
    pub fn abandon_test(
        &mut self,
        reason: &str,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) {
        self.tests.abandon(reason, now, &mut |event| events(MonitorEvent::Test(event)));
    }

    /// The last lines that were not empty, oldest first, without escape sequences.
    pub fn last_lines(&self) -> Vec<String> {
        self.lines.last()
    }

    /// Bytes taken so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// When time is over, and which.
    fn out_of_time_at(&self) -> Option<(Moment, Bound)> {
        let whole = self.timeout.map(|timeout| (self.started + timeout, Bound::Whole));
        let step = self.course.due().map(|(at, within)| (at, Bound::Step(within)));
        let tests = self.tests_within().map(|within| {
            (self.tests.last().unwrap_or(self.started) + within, Bound::Tests(within))
        });
        [whole, step, tests].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn tests_within(&self) -> Option<Duration> {
        match self.tests_wanted {
            Tests::Wanted { within } => Some(within),
            Tests::IfTold { within } => self.tests.has_begun().then_some(within),
            Tests::Unheard => None,
        }
    }

    /// Whether there is something to wait for, so that a panic ends the watch.
    fn waits(&self) -> bool {
        !self.course.is_idle() || self.tests_within().is_some()
    }

    fn finished(&self, at: Moment) -> Option<Outcome> {
        self.course.is_done().then_some(Outcome::Matched { at, offset: self.met_at })
    }

    fn panic_over_at(&self) -> Option<Moment> {
        let longest = if self.dumps.is_collecting() { DUMP_LONGEST } else { PANIC_LONGEST };
        let over = (self.last_byte + PANIC_QUIET).min(self.panic_began + longest);
        self.panics.is_collecting().then_some(over)
    }

    fn rejected(&mut self, byte: u8, at: Moment) -> Option<Outcome> {
        let (text, found) = self.course.rejected(byte)?;
        let offset = self.read.saturating_sub((found.len + found.behind) as u64);
        // The line that it stands in, as far as it has come.
        if found.behind == 0 {
            self.lines.push(byte);
        }
        self.lines.finish();
        Some(Outcome::Rejected { text, at, offset, last_lines: self.lines.last() })
    }

    fn expected(
        &mut self,
        byte: u8,
        at: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        let (seen, met_at) = (self.read, &mut self.met_at);
        self.course.push(byte, at, &mut |index, found| {
            let offset = seen.saturating_sub((found.len + found.behind) as u64);
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
                // It belongs to the panic that was told before it.
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
        if !collecting && self.panics.is_collecting() {
            self.panic_began = now;
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
            if self.waits() {
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
            if self.hears_tests() && self.tests.was_reset(now, &mut tell) {
                return Some(Outcome::Tests(self.tests.report().clone()));
            }
        }
        let boot_loop = boot_loop?;
        events(MonitorEvent::BootLoop(&boot_loop));
        (self.waits() && !self.course.resets_allowed()).then_some(Outcome::BootLoop(boot_loop))
    }

    fn hears_tests(&self) -> bool {
        self.tests_wanted != Tests::Unheard
    }

    fn test_line(
        &mut self,
        line: &str,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        let mut tell = |event: TestEvent<'_>| events(MonitorEvent::Test(event));
        let over = self.hears_tests() && self.tests.line(line, now, &mut tell);
        over.then(|| Outcome::Tests(self.tests.report().clone()))
    }

    /// What a line tells of how the firmware came to run, or did not.
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

    /// The panic with what came of its last line.
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
        events(MonitorEvent::Panic(&panic));
        if !self.waits() || self.course.panics_allowed() {
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
        if !self.waits() {
            return Outcome::Ended { seen };
        }
        if let Some(percent) = self.garble.verdict() {
            return Outcome::WrongBaud { seen, percent };
        }
        let last_lines = self.lines.last();
        let tests = self.tests_within().filter(|_| self.course.is_idle());
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
        let missing = self.course.missing().map(|what| what.text().to_owned()).unwrap_or_default();
        Outcome::TimedOut { missing, seen, last_lines }
    }
}

/// Which time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// That of the whole watch.
    Whole,
    /// That of a step.
    Step(Duration),
    /// In which tests have to go on.
    Tests(Duration),
}

/// A message as its line, with its end.
fn line_of(log: &LogFrame) -> String {
    format!("{log}\r\n")
}
