//! State that the threads of a watch share: the output, the end, and the pace of the ports.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::event_printer::Display;
use crate::ui::shell::Shell;

/// How far a port's clock may run ahead of the others: the clocks of virtual boards do not wait by
/// themselves.
const MOST_AHEAD: Duration = Duration::from_millis(50);

/// Longest wait for another port between checks.
const STEP_EVERY: Duration = Duration::from_millis(20);

/// Output shared by all boards.
pub struct SharedOutput<'s> {
    pub display: Display,
    pub shell: &'s mut Shell,
}

/// An order to a board, from a key.
#[derive(Debug)]
pub(super) enum Order {
    Send(Vec<u8>),
    Reset { download: bool },
    TimeStamps { told: bool },
    Filter { told: bool },
}

/// State shared by all threads of a session.
pub(super) struct SharedState<'c, 's> {
    pub(super) output: &'c Mutex<SharedOutput<'s>>,
    /// True if the session is over, because it is settled or the user quit.
    pub(super) over: AtomicBool,
    pub(super) pace: Pace,
    pub(super) has_orders: bool,
}

impl SharedState<'_, '_> {
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Keeps ports in step: how far each one's clock has advanced since the watch began, `None` for
/// those that nobody waits for.
pub(super) struct Pace {
    pub(super) clocks: Mutex<Vec<Option<Duration>>>,
    pub(super) moved: Condvar,
}

impl Pace {
    pub(super) fn tell(&self, index: usize, clock: Option<Duration>) {
        if let Some(held) = lock(&self.clocks).get_mut(index) {
            *held = clock;
        }
        self.moved.notify_all();
    }

    /// Waits until the others have nearly caught up.
    pub(super) fn wait(&self, index: usize, shared: &SharedState<'_, '_>) {
        let mut clocks = lock(&self.clocks);
        loop {
            let Some(own) = clocks.get(index).copied().flatten() else { return };
            let behind = clocks.iter().flatten().any(|other| *other + MOST_AHEAD < own);
            if !behind || shared.is_over() {
                return;
            }
            let waited = self.moved.wait_timeout(clocks, STEP_EVERY);
            clocks = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
