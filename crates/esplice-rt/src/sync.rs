//! Atomics for the services, on chips with and without atomic read-modify-write instructions, and for
//! the model checker.

#[cfg(feature = "model-check")]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};

#[cfg(not(feature = "model-check"))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};

use core::task::Waker;

/// Declares a constructor that is `const`, but for the model checker, whose atomics have none.
macro_rules! maybe_const {
    ($(#[$about:meta])* $view:vis fn $($rest:tt)*) => {
        $(#[$about])*
        #[cfg(not(feature = "model-check"))]
        $view const fn $($rest)*
        $(#[$about])*
        #[cfg(feature = "model-check")]
        $view fn $($rest)*
    };
}
pub(crate) use maybe_const;

/// A lock for a few instructions: interrupts are off, and on chips with two cores the other waits.
#[cfg(not(feature = "model-check"))]
pub(crate) struct Lock<T>(critical_section::Mutex<core::cell::RefCell<T>>);

#[cfg(not(feature = "model-check"))]
impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Lock<T> {
        Lock(critical_section::Mutex::new(core::cell::RefCell::new(value)))
    }

    pub(crate) fn with<R>(&self, with: impl FnOnce(&mut T) -> R) -> R {
        critical_section::with(|token| with(&mut self.0.borrow_ref_mut(token)))
    }
}

#[cfg(feature = "model-check")]
pub(crate) struct Lock<T>(loom::sync::Mutex<T>);

#[cfg(feature = "model-check")]
impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Lock<T> {
        Lock(loom::sync::Mutex::new(value))
    }

    pub(crate) fn with<R>(&self, with: impl FnOnce(&mut T) -> R) -> R {
        with(&mut self.0.lock().expect("no holder panics"))
    }
}

/// The task that waits for an event.
pub(crate) struct Waiter {
    /// True if a waker is stored, so that [`Waiter::wake`] takes the lock only then.
    waiting: AtomicBool,
    waker: Lock<Option<Waker>>,
}

impl Waiter {
    maybe_const! {
        pub(crate) fn new() -> Waiter {
            Waiter { waiting: AtomicBool::new(false), waker: Lock::new(None) }
        }
    }

    /// Stores a task's waker. The task must look for the event once more after this. If another
    /// task waits, it is woken and has to wait again.
    pub(crate) fn wait(&self, waker: &Waker) {
        let other = self.waker.with(|stored| match stored {
            Some(same) if same.will_wake(waker) => None,
            _ => stored.replace(waker.clone()),
        });
        self.waiting.store(true, Ordering::Relaxed);
        // Either this task sees the event, or the one that causes it sees `waiting`.
        fence(Ordering::SeqCst);
        if let Some(other) = other {
            other.wake();
        }
    }

    /// Wakes the task that waits, if any. The event must be visible before.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) {
            let waker = self.waker.with(|stored| {
                self.waiting.store(false, Ordering::Relaxed);
                stored.take()
            });
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// A set of up to 32 numbers.
#[cfg(feature = "arena")]
pub(crate) struct Bits(AtomicU32);

#[cfg(feature = "arena")]
impl Bits {
    maybe_const! {
        /// Returns the numbers below `count`.
        pub(crate) fn below(count: u32) -> Bits {
            Bits(AtomicU32::new(if count >= 32 { u32::MAX } else { (1 << count) - 1 }))
        }
    }

    /// Returns how many numbers are in the set.
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed).count_ones()
    }

    /// Removes the lowest number.
    #[cfg(target_has_atomic = "32")]
    pub(crate) fn take(&self) -> Option<u32> {
        let mut bits = self.0.load(Ordering::Relaxed);
        loop {
            let rest = bits & bits.wrapping_sub(1);
            if bits == 0 {
                return None;
            }
            match self.0.compare_exchange_weak(bits, rest, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(bits.trailing_zeros()),
                Err(now) => bits = now,
            }
        }
    }

    /// Adds a number.
    #[cfg(target_has_atomic = "32")]
    pub(crate) fn give(&self, number: u32) {
        self.0.fetch_or(1 << number, Ordering::Release);
    }

    /// Removes the lowest number. Interrupts are off for about ten instructions, because this chip
    /// has no atomic read-modify-write instructions.
    #[cfg(not(target_has_atomic = "32"))]
    pub(crate) fn take(&self) -> Option<u32> {
        crate::layout::without_interrupts(|| {
            let bits = self.0.load(Ordering::Relaxed);
            self.0.store(bits & bits.wrapping_sub(1), Ordering::Relaxed);
            (bits != 0).then(|| bits.trailing_zeros())
        })
    }

    /// Adds a number, as [`Bits::take`] removes one.
    #[cfg(not(target_has_atomic = "32"))]
    pub(crate) fn give(&self, number: u32) {
        crate::layout::without_interrupts(|| {
            self.0.store(self.0.load(Ordering::Relaxed) | 1 << number, Ordering::Relaxed);
        });
    }
}
