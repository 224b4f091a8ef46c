//! A watch without a port: bytes and times go in, events and an outcome come out.

use std::time::Duration;

use esplice_protocol::Moment;

use crate::{
    boot::{BootBanner, ResetCounter},
    expect::Matcher,
    garble::Garble,
    lines::{Line, Lines},
    panic::{PanicCollector, PanicReport},
    watch::{MonitorEvent, Outcome, Watch},
};

/// A panic is taken as told in full when nothing comes for so long: three times what a line of a
/// dump takes at 9600 baud.
const PANIC_QUIET: Duration = Duration::from_millis(300);

/// And in any case so long after its first line, for firmware that talks on.
const PANIC_LONGEST: Duration = Duration::from_secs(2);

/// Follows a stream and finds what a [`Watch`] asks for.
///
/// What it finds does not depend on how the stream is cut into pieces.
#[derive(Debug)]
pub struct Watcher {
    started: Moment,
    timeout: Option<Duration>,
    matcher: Matcher,
    /// One for each text that must not come.
    rejects: Vec<Matcher>,
    lines: Lines,
    panics: PanicCollector,
    /// When the panic being collected began.
    panic_began: Moment,
    resets: ResetCounter,
    garble: Garble,
    seen: u64,
    last_byte: Moment,
}

impl Watcher {
    /// A watch that began at `started`.
    pub fn new(watch: &Watch, started: Moment) -> Watcher {
        Watcher {
            started,
            timeout: watch.timeout,
            matcher: Matcher::new(watch.expect.clone()),
            rejects: watch.reject.iter().map(|text| Matcher::new(vec![text.clone()])).collect(),
            lines: Lines::default(),
            panics: PanicCollector::default(),
            panic_began: started,
            resets: ResetCounter::new(watch.expected_resets, watch.loop_resets),
            garble: Garble::default(),
            seen: 0,
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
        for byte in bytes {
            self.seen += 1;
            self.last_byte = now;
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
        let over = self.timeout_at().is_some_and(|at| at <= now);
        if self.panic_over_at().is_some_and(|at| at <= now) || over && self.panics.is_collecting() {
            let panic = self.finish_panic();
            if let Some(outcome) = self.panicked(panic, events) {
                return Some(outcome);
            }
        }
        if !over {
            return None;
        }
        // The board may have stopped in the middle of a telling line.
        if let Some(line) = self.lines.finish() {
            let outcome = self.line(&line, now, events);
            let panic = self.panics.finish();
            if let Some(outcome) = outcome.or_else(|| self.panicked(panic, events)) {
                return Some(outcome);
            }
        }
        Some(self.out_of_time())
    }

    /// When [`tick`](Watcher::tick) next has something to do; `None` if only bytes matter.
    pub fn deadline(&self) -> Option<Moment> {
        [self.timeout_at(), self.panic_over_at()].into_iter().flatten().min()
    }

    /// Bytes taken so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    fn timeout_at(&self) -> Option<Moment> {
        Some(self.started + self.timeout?)
    }

    fn panic_over_at(&self) -> Option<Moment> {
        let over = (self.last_byte + PANIC_QUIET).min(self.panic_began + PANIC_LONGEST);
        self.panics.is_collecting().then_some(over)
    }

    fn rejected(&mut self, byte: u8, at: Moment) -> Option<Outcome> {
        let mut rejected = None;
        for matcher in &mut self.rejects {
            let text = matcher.pending().map(|text| text.text().to_owned());
            if let (Some((_, len)), Some(text)) = (matcher.push(byte), text) {
                rejected = rejected.or(Some((text, len)));
            }
        }
        let (text, len) = rejected?;
        let offset = self.seen.saturating_sub(len as u64);
        // The line that it stands in, as far as it has come.
        self.lines.push(byte);
        self.lines.finish();
        Some(Outcome::Rejected { text, at, offset, last_lines: self.lines.last() })
    }

    fn expected(
        &mut self,
        byte: u8,
        at: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        let (index, len) = self.matcher.push(byte)?;
        let offset = self.seen.saturating_sub(len as u64);
        events(MonitorEvent::Expected { index, at, offset });
        if self.matcher.pending().is_some() {
            return None;
        }
        Some(Outcome::Matched { at, offset })
    }

    fn line(
        &mut self,
        line: &Line,
        now: Moment,
        events: &mut dyn FnMut(MonitorEvent<'_>),
    ) -> Option<Outcome> {
        self.garble.line(&line.text, line.is_text);
        let collecting = self.panics.is_collecting();
        let panic = self.panics.line(&line.text, now);
        if !collecting && self.panics.is_collecting() {
            self.panic_began = now;
        }
        if let Some(outcome) = self.panicked(panic, events) {
            return Some(outcome);
        }
        let banner = BootBanner::find(&line.text);
        let boot_loop = self.resets.line(&line.text, banner.as_ref());
        if let Some(banner) = banner {
            events(MonitorEvent::Boot(&banner));
        }
        let boot_loop = boot_loop?;
        events(MonitorEvent::BootLoop(&boot_loop));
        if self.matcher.is_idle() { None } else { Some(Outcome::BootLoop(boot_loop)) }
    }

    /// The panic with what came of its last line.
    fn finish_panic(&mut self) -> Option<PanicReport> {
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
        if self.matcher.is_idle() { None } else { Some(Outcome::Panic(panic)) }
    }

    fn out_of_time(&self) -> Outcome {
        let seen = self.seen;
        let Some(missing) = self.matcher.pending() else { return Outcome::Ended { seen } };
        match self.garble.verdict() {
            Some(percent) => Outcome::WrongBaud { seen, percent },
            None => Outcome::TimedOut {
                missing: missing.text().to_owned(),
                seen,
                last_lines: self.lines.last(),
            },
        }
    }
}
