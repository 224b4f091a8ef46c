//! Progress of a watch through its steps.

use std::time::Duration;

use esplice_protocol::Moment;

use crate::{
    expect::{Expectation, Finder},
    script::Step,
    stream_regex::Found,
};

/// An action that the port's owner must perform and then report as done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Send these bytes to the board.
    Send(Vec<u8>),
    /// Reset the board.
    Reset,
}

/// Steps executed one after another.
///
/// The search for expected text runs ahead of the steps, up to the next reset, so that nothing is
/// missed that arrives while bytes are sent or time passes.
#[derive(Debug)]
pub(crate) struct ScriptRunner {
    steps: Vec<Step>,
    /// The index of the current step. All earlier steps are done.
    at: usize,
    /// The time when the previous step was done.
    since: Moment,
    /// The index of the step whose text is being searched, or where the search ahead stopped.
    ahead: usize,
    finder: Option<Finder>,
    last: LastBytes,
    /// Texts that must not appear.
    rejects: Vec<Finder>,
    panics_allowed: bool,
    resets_allowed: bool,
}

/// The last bytes of the stream and of its shown text.
#[derive(Debug, Clone, Copy, Default)]
struct LastBytes {
    raw: Option<u8>,
    shown: Option<u8>,
}

impl LastBytes {
    /// Returns the byte before the text searched next.
    fn before(self, what: &Expectation) -> Option<u8> {
        if what.is_raw() { self.raw } else { self.shown }
    }
}

/// A byte of the stream and the text that it adds to the output as shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamByte<'a> {
    pub raw: u8,
    pub shown: &'a [u8],
}

/// A match and the position of its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    pub found: Found,
    /// `None` for the raw stream. In the output as shown, the number of bytes added after that
    /// byte.
    pub after: Option<usize>,
}

impl ScriptRunner {
    pub fn new(steps: Vec<Step>, rejects: &[Expectation], now: Moment) -> ScriptRunner {
        let rejects = rejects.iter().map(|text| Finder::new(text.clone(), None)).collect();
        let mut runner = ScriptRunner {
            steps,
            at: 0,
            since: now,
            ahead: 0,
            finder: None,
            last: LastBytes::default(),
            rejects,
            panics_allowed: false,
            resets_allowed: false,
        };
        runner.look_ahead();
        runner.settle(now);
        runner
    }

    /// Returns whether there are no steps at all.
    pub fn is_idle(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns whether there were steps and all are done.
    pub fn is_done(&self) -> bool {
        !self.steps.is_empty() && self.at >= self.steps.len()
    }

    /// Returns the index of the current step, from 0.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn panics_allowed(&self) -> bool {
        self.panics_allowed
    }

    pub fn resets_allowed(&self) -> bool {
        self.resets_allowed
    }

    /// Returns the first expected text that has not appeared yet.
    pub fn missing(&self) -> Option<&Expectation> {
        self.steps.iter().skip(self.ahead.max(self.at)).find_map(|step| match step {
            Step::Expect { what, .. } => Some(what),
            _ => None,
        })
    }

    /// Returns the action that the owner must perform now.
    pub fn action(&self) -> Option<Action> {
        match self.steps.get(self.at)? {
            Step::Send(bytes) => Some(Action::Send(bytes.clone())),
            Step::Reset => Some(Action::Reset),
            _ => None,
        }
    }

    /// Reports that the owner has performed the action.
    pub fn done(&mut self, now: Moment) {
        match self.steps.get(self.at) {
            Some(Step::Send(_)) => {}
            Some(Step::Reset) => {
                self.ahead = self.at + 1;
                self.last = LastBytes::default();
            }
            _ => return,
        }
        self.at += 1;
        self.since = now;
        self.look_ahead();
        self.settle(now);
    }

    /// Takes the next byte. Calls `met` with the index of each step whose text it completes, and
    /// the position of the match.
    pub fn push(&mut self, heard: StreamByte<'_>, now: Moment, met: &mut dyn FnMut(usize, Match)) {
        // The part of the byte left for the next step after a match.
        let mut rest = Some(heard.raw);
        let mut shown = heard.shown.iter();
        while let Some(finder) = &mut self.finder {
            let raw = finder.expectation().is_raw();
            let before = shown.clone();
            let next = if raw { rest.take() } else { shown.next().copied() };
            let Some(byte) = next else { break };
            let found = finder.push(byte);
            // The byte after a match is the first of the next one. That match is at least one byte
            // long, so it cannot end before this byte.
            if found.is_some_and(|found| found.trailing > 0) {
                (rest, shown) = if raw { (Some(byte), shown) } else { (rest, before) };
            } else if raw {
                self.last.raw = Some(byte);
                if found.is_some() {
                    shown = [].iter();
                }
            } else {
                self.last.shown = Some(byte);
                if shown.len() == 0 {
                    rest = None;
                }
            }
            if let Some(found) = found {
                let behind = shown.len() - found.trailing.min(shown.len());
                met(self.ahead, Match { found, after: (!raw).then_some(behind) });
                self.ahead += 1;
                self.finder = None;
                self.look_ahead();
                self.settle(now);
            }
        }
        self.last.raw = Some(heard.raw);
        self.last.shown = heard.shown.last().copied().or(self.last.shown);
    }

    /// Returns the forbidden text that this byte completes, if any.
    pub fn rejected(&mut self, heard: StreamByte<'_>) -> Option<(String, Match)> {
        let mut rejected = None;
        for finder in &mut self.rejects {
            let raw = finder.expectation().is_raw();
            let bytes = if raw { std::slice::from_ref(&heard.raw) } else { heard.shown };
            for (index, byte) in bytes.iter().enumerate() {
                if let Some(found) = finder.push(*byte) {
                    let text = finder.expectation().text().to_owned();
                    let after = (!raw).then_some(bytes.len() - index - 1);
                    rejected = rejected.or(Some((text, Match { found, after })));
                }
            }
        }
        rejected
    }

    /// Advances past all steps that are done at `now`.
    pub fn settle(&mut self, now: Moment) {
        while let Some(step) = self.steps.get(self.at) {
            match step {
                Step::Expect { .. } if self.at < self.ahead => self.since = now,
                Step::Wait(time) => {
                    let over = self.since + *time;
                    if now < over {
                        return;
                    }
                    self.since = over;
                }
                Step::Reject(what) => {
                    self.rejects.push(Finder::new(what.clone(), self.last.before(what)));
                }
                Step::AllowPanic => self.panics_allowed = true,
                Step::AllowResets => self.resets_allowed = true,
                Step::Expect { .. } | Step::Send(_) | Step::Reset => return,
            }
            self.at += 1;
        }
    }

    /// Returns when a pause ends.
    pub fn pause_over_at(&self) -> Option<Moment> {
        match self.steps.get(self.at)? {
            Step::Wait(time) => Some(self.since + *time),
            _ => None,
        }
    }

    /// Returns the deadline of the expected text, and the time it was allowed.
    pub fn due(&self) -> Option<(Moment, Duration)> {
        match self.steps.get(self.at)? {
            Step::Expect { within: Some(within), .. } => Some((self.since + *within, *within)),
            _ => None,
        }
    }

    /// Starts the search for the next expected text, unless a reset must come first.
    fn look_ahead(&mut self) {
        if self.finder.is_some() {
            return;
        }
        loop {
            match self.steps.get(self.ahead) {
                Some(Step::Expect { what, .. }) => {
                    self.finder = Some(Finder::new(what.clone(), self.last.before(what)));
                    return;
                }
                Some(Step::Reset) | None => return,
                Some(_) => self.ahead += 1,
            }
        }
    }
}
