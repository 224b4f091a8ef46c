//! The host's clock, for ports whose far end runs in real time. One of the few places that use it.

use std::time::{Duration, Instant};

#[allow(clippy::disallowed_methods)] // A real port's clock is the host's.
pub(crate) fn host_now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods)] // A real port waits on the host.
pub(crate) fn host_sleep(time: Duration) {
    std::thread::sleep(time);
}
