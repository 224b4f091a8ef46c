//! Where a watch stands on the way through its steps.

use std::time::Duration;

use esplice_protocol::Moment;

use crate::{
    expect::{Expectation, Finder},
    script::Step,
    stream_regex::Found,
};

/// What the owner of the port has to do now, and then to say that it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Send these bytes to the board.
    Send(Vec<u8>),
    /// Reset the board.
    Reset,
}

/// Steps that are done one after another.
///
/// Looking for what is expected runs ahead of the steps, up to the next reset: nothing that comes while
/// bytes are sent or time passes is missed.
#[derive(Debug)]
pub(crate) struct Course {
    steps: Vec<Step>,
    /// The step that is to be done; all before it are.
    at: usize,
    /// When the step before it was done.
    since: Moment,
    /// The step whose output is looked for, or where looking ahead has ended.
    ahead: usize,
    finder: Option<Finder>,
    last_byte: Option<u8>,
    /// Outputs that must not come.
    rejects: Vec<Finder>,
    panics_allowed: bool,
    resets_allowed: bool,
}

impl Course {
    pub fn new(steps: Vec<Step>, rejects: &[Expectation], now: Moment) -> Course {
        let rejects = rejects.iter().map(|text| Finder::new(text.clone(), None)).collect();
        let mut course = Course {
            steps,
            at: 0,
            since: now,
            ahead: 0,
            finder: None,
            last_byte: None,
            rejects,
            panics_allowed: false,
            resets_allowed: false,
        };
        course.look_ahead();
        course.settle(now);
        course
    }

    /// Whether there is nothing to do at all.
    pub fn is_idle(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether all is done, of something that there was to do.
    pub fn is_done(&self) -> bool {
        !self.steps.is_empty() && self.at >= self.steps.len()
    }

    /// The place of the step that is to be done, from 0.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn panics_allowed(&self) -> bool {
        self.panics_allowed
    }

    pub fn resets_allowed(&self) -> bool {
        self.resets_allowed
    }

    /// The first output that has not come yet.
    pub fn missing(&self) -> Option<&Expectation> {
        self.steps.iter().skip(self.ahead.max(self.at)).find_map(|step| match step {
            Step::Expect { what, .. } => Some(what),
            _ => None,
        })
    }

    /// What the owner has to do now.
    pub fn action(&self) -> Option<Action> {
        match self.steps.get(self.at)? {
            Step::Send(bytes) => Some(Action::Send(bytes.clone())),
            Step::Reset => Some(Action::Reset),
            _ => None,
        }
    }

    /// The owner has done it.
    pub fn done(&mut self, now: Moment) {
        match self.steps.get(self.at) {
            Some(Step::Send(_)) => {}
            Some(Step::Reset) => {
                self.ahead = self.at + 1;
                self.last_byte = None;
            }
            _ => return,
        }
        self.at += 1;
        self.since = now;
        self.look_ahead();
        self.settle(now);
    }

    /// Takes the next byte; tells `met` the place of each step whose output it completes, and where
    /// that stands.
    pub fn push(&mut self, byte: u8, now: Moment, met: &mut dyn FnMut(usize, Found)) {
        loop {
            let found = self.finder.as_mut().and_then(|finder| finder.push(byte));
            let Some(found) = found else { break };
            met(self.ahead, found);
            self.ahead += 1;
            self.finder = None;
            // The byte behind a match is the next one's first. That is at least a byte long, so that it
            // can't end before this one.
            if found.behind == 0 {
                self.last_byte = Some(byte);
            }
            self.look_ahead();
            self.settle(now);
            if found.behind == 0 {
                break;
            }
        }
        self.last_byte = Some(byte);
    }

    /// The output that must not come and has, with this byte.
    pub fn rejected(&mut self, byte: u8) -> Option<(String, Found)> {
        let mut rejected = None;
        for finder in &mut self.rejects {
            if let Some(found) = finder.push(byte) {
                let text = finder.expectation().text().to_owned();
                rejected = rejected.or(Some((text, found)));
            }
        }
        rejected
    }

    /// Goes on over all steps that are done at `now`.
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
                    self.rejects.push(Finder::new(what.clone(), self.last_byte));
                }
                Step::AllowPanic => self.panics_allowed = true,
                Step::AllowResets => self.resets_allowed = true,
                Step::Expect { .. } | Step::Send(_) | Step::Reset => return,
            }
            self.at += 1;
        }
    }

    /// When a pause is over.
    pub fn pause_over_at(&self) -> Option<Moment> {
        match self.steps.get(self.at)? {
            Step::Wait(time) => Some(self.since + *time),
            _ => None,
        }
    }

    /// When the output that is waited for has to be there, and how long it was given.
    pub fn due(&self) -> Option<(Moment, Duration)> {
        match self.steps.get(self.at)? {
            Step::Expect { within: Some(within), .. } => Some((self.since + *within, *within)),
            _ => None,
        }
    }

    /// Takes up the next output to look for, unless a reset is to come first.
    fn look_ahead(&mut self) {
        if self.finder.is_some() {
            return;
        }
        loop {
            match self.steps.get(self.ahead) {
                Some(Step::Expect { what, .. }) => {
                    self.finder = Some(Finder::new(what.clone(), self.last_byte));
                    return;
                }
                Some(Step::Reset) | None => return,
                Some(_) => self.ahead += 1,
            }
        }
    }
}
