//! A channel that passes values on, such as buffers, from one owner to another.

#![allow(
    unsafe_code,
    reason = "a slot belongs to the sender or the receiver, as the positions say"
)]

use core::{fmt, future::poll_fn, mem::MaybeUninit, task::Poll};

#[cfg(not(feature = "model-check"))]
use core::cell::UnsafeCell;

use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Lock, Ordering, Waiter, fence, maybe_const};

/// A place for a value. For the model checker it watches who uses it.
#[cfg(not(feature = "model-check"))]
struct Slot<T>(UnsafeCell<MaybeUninit<T>>);

#[cfg(not(feature = "model-check"))]
impl<T> Slot<T> {
    const fn new() -> Slot<T> {
        Slot(UnsafeCell::new(MaybeUninit::uninit()))
    }

    #[inline(always)]
    fn with<R>(&self, with: impl FnOnce(*mut MaybeUninit<T>) -> R) -> R {
        with(self.0.get())
    }
}

#[cfg(feature = "model-check")]
struct Slot<T>(loom::cell::UnsafeCell<MaybeUninit<T>>);

#[cfg(feature = "model-check")]
impl<T> Slot<T> {
    fn new() -> Slot<T> {
        Slot(loom::cell::UnsafeCell::new(MaybeUninit::uninit()))
    }

    fn with<R>(&self, with: impl FnOnce(*mut MaybeUninit<T>) -> R) -> R {
        self.0.with_mut(with)
    }
}

/// A bounded channel from one sender to one receiver: tasks or interrupts.
///
/// Sending and receiving is wait-free on every chip: it needs only loads and stores. Waking a task
/// that waits takes a critical section of a few instructions. A value moves into the channel and out
/// of it; with a [`Buf`](crate::pool::Buf) that is its three words, and its bytes stay where they are.
///
/// A static channel is taken apart once:
///
/// ```
/// use esplice_rt::splice::{RecvError, SpliceChan};
///
/// static CHAN: SpliceChan<u32, 2> = SpliceChan::new();
/// let (mut sender, mut receiver) = CHAN.split().unwrap();
/// sender.try_send(1).unwrap();
/// sender.try_send(2).unwrap();
/// assert!(sender.try_send(3).is_err(), "no room");
/// assert_eq!(receiver.try_recv(), Ok(1));
/// drop(sender);
/// assert_eq!(receiver.try_recv(), Ok(2));
/// assert_eq!(receiver.try_recv(), Err(RecvError::Closed));
/// ```
pub struct SpliceChan<T, const N: usize> {
    slots: [Slot<T>; N],
    /// Positions of the next value to receive and to send. They run from 0 to 2 N, so that a full
    /// channel differs from an empty one.
    head: AtomicUsize,
    tail: AtomicUsize,
    split: Lock<bool>,
    sender_gone: AtomicBool,
    receiver_gone: AtomicBool,
    /// Held while values that nobody will receive are dropped.
    leftovers: Lock<()>,
    has_value: Waiter,
    has_room: Waiter,
    sent: AtomicU32,
    dropped: AtomicU32,
    most: AtomicU32,
}

// SAFETY: a slot is used only by the side that the positions give it to, and there is one sender and
// one receiver.
unsafe impl<T: Send, const N: usize> Sync for SpliceChan<T, N> {}

/// Counters of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Values sent; wraps around.
    pub sent: u32,
    /// Values that were not sent by [`Sender::send_or_drop`], or that nobody was left to receive.
    pub dropped: u32,
    /// The most values that were in the channel after one was sent.
    pub high_water: u32,
}

/// A value was not sent, and is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// There is no room.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

impl<T> SendError<T> {
    /// Returns the value.
    pub fn into_value(self) -> T {
        let (SendError::Full(value) | SendError::Closed(value)) = self;
        value
    }
}

/// There is nothing to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvError {
    /// No value waits.
    Empty,
    /// No value waits, and the sender is gone.
    Closed,
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "the channel is full",
            SendError::Closed(_) => "the channel's receiver is gone",
        })
    }
}

impl<T: fmt::Debug> core::error::Error for SendError<T> {}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvError::Empty => "the channel is empty",
            RecvError::Closed => "the channel's sender is gone",
        })
    }
}

impl core::error::Error for RecvError {}

impl<T, const N: usize> SpliceChan<T, N> {
    maybe_const! {
        /// Returns an empty channel for `N` values.
        pub fn new() -> Self {
            const { assert!(N > 0 && N <= usize::MAX / 2, "a channel holds at least one value") };
            SpliceChan {
                #[cfg(not(feature = "model-check"))]
                slots: [const { Slot::new() }; N],
                #[cfg(feature = "model-check")]
                slots: core::array::from_fn(|_| Slot::new()),
                head: AtomicUsize::new(0),
                tail: AtomicUsize::new(0),
                split: Lock::new(false),
                sender_gone: AtomicBool::new(false),
                receiver_gone: AtomicBool::new(false),
                leftovers: Lock::new(()),
                has_value: Waiter::new(),
                has_room: Waiter::new(),
                sent: AtomicU32::new(0),
                dropped: AtomicU32::new(0),
                most: AtomicU32::new(0),
            }
        }
    }

    /// Returns both ends, once.
    pub fn split(&self) -> Option<(Sender<'_, T, N>, Receiver<'_, T, N>)> {
        let was_split = self.split.with(|split| core::mem::replace(split, true));
        (!was_split).then_some((Sender { chan: self }, Receiver { chan: self }))
    }

    /// Returns the channel's counters.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            high_water: self.most.load(Ordering::Relaxed),
        }
    }

    /// Returns the position after `position`.
    #[inline(always)]
    fn after(position: usize) -> usize {
        if position + 1 == 2 * N { 0 } else { position + 1 }
    }

    /// Returns how many values lie between two positions.
    #[inline(always)]
    fn between(head: usize, tail: usize) -> usize {
        if tail >= head { tail - head } else { tail + 2 * N - head }
    }

    #[inline(always)]
    fn slot(&self, position: usize) -> Option<&Slot<T>> {
        self.slots.get(if position < N { position } else { position - N })
    }

    fn push(&self, value: T) -> Result<(), T> {
        let tail = self.tail.load(Ordering::Relaxed);
        // Acquire: what the receiver took out of the slot is out.
        let count = Self::between(self.head.load(Ordering::Acquire), tail);
        if count == N {
            return Err(value);
        }
        let Some(slot) = self.slot(tail) else { return Err(value) };
        // SAFETY: slots from the tail to the head are the sender's, and there is one sender.
        slot.with(|place| unsafe { (*place).write(value) });
        self.tail.store(Self::after(tail), Ordering::Release);
        self.sent.store(self.sent.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        if count as u32 >= self.most.load(Ordering::Relaxed) {
            self.most.store(count as u32 + 1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn pop(&self) -> Option<T> {
        let head = self.head.load(Ordering::Relaxed);
        // Acquire: the value is in its slot.
        if self.tail.load(Ordering::Acquire) == head {
            return None;
        }
        // SAFETY: slots from the head to the tail are the receiver's and hold values, and there is
        // one receiver.
        let value = self.slot(head)?.with(|place| unsafe { (*place).assume_init_read() });
        self.head.store(Self::after(head), Ordering::Release);
        Some(value)
    }

    /// Drops the values that nobody will receive. The receiver is gone; it or the sender calls.
    fn drop_leftovers(&self) {
        self.leftovers.with(|()| {
            while let Some(value) = self.pop() {
                let count = self.dropped.load(Ordering::Relaxed).wrapping_add(1);
                self.dropped.store(count, Ordering::Relaxed);
                drop(value);
            }
        });
    }

    fn len(&self) -> usize {
        let head = self.head.load(Ordering::Acquire);
        Self::between(head, self.tail.load(Ordering::Acquire)).min(N)
    }
}

impl<T, const N: usize> Default for SpliceChan<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Drop for SpliceChan<T, N> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl<T, const N: usize> fmt::Debug for SpliceChan<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpliceChan({} of {N})", self.len())
    }
}

/// The sending end. The receiver learns when it is dropped.
pub struct Sender<'a, T, const N: usize> {
    chan: &'a SpliceChan<T, N>,
}

impl<T, const N: usize> Sender<'_, T, N> {
    /// Sends a value, if there is room. A receiver that leaves at the same time drops it.
    ///
    /// # Errors
    /// [`SendError`] with the value if there is no room, or nobody to receive it.
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), SendError<T>> {
        let chan = self.chan;
        if self.is_closed() {
            return Err(SendError::Closed(value));
        }
        chan.push(value).map_err(SendError::Full)?;
        chan.has_value.wake();
        // If the receiver has gone meanwhile, either it drops the value or this does: `wake` has
        // made a full fence after the value was sent.
        if self.is_closed() {
            chan.drop_leftovers();
        }
        Ok(())
    }

    /// Sends a value or, if there is no room or no receiver, drops it. Returns false then; the
    /// channel counts it. For interrupts that must not wait.
    pub fn send_or_drop(&mut self, value: T) -> bool {
        let sent = self.try_send(value).is_ok();
        if !sent {
            let chan = self.chan;
            // The receiver may count leftovers at the same time.
            chan.leftovers.with(|()| {
                let count = chan.dropped.load(Ordering::Relaxed).wrapping_add(1);
                chan.dropped.store(count, Ordering::Relaxed);
            });
        }
        sent
    }

    /// Waits for room and sends a value.
    ///
    /// # Errors
    /// Returns the value if the receiver is gone.
    pub async fn send(&mut self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        poll_fn(|context| {
            for waits in [true, false] {
                let Some(unsent) = value.take() else { return Poll::Ready(Ok(())) };
                match self.try_send(unsent) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(SendError::Closed(unsent)) => return Poll::Ready(Err(unsent)),
                    Err(SendError::Full(unsent)) => value = Some(unsent),
                }
                if waits {
                    self.chan.has_room.wait(context.waker());
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Returns true if the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.chan.receiver_gone.load(Ordering::Relaxed)
    }

    /// Returns how many values can be sent now; a receiver can only make it more.
    pub fn room(&self) -> usize {
        N - self.chan.len()
    }
}

impl<T, const N: usize> Drop for Sender<'_, T, N> {
    fn drop(&mut self) {
        // Release: the values that were sent before are visible to who sees this.
        self.chan.sender_gone.store(true, Ordering::Release);
        self.chan.has_value.wake();
    }
}

impl<T, const N: usize> fmt::Debug for Sender<'_, T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({:?})", self.chan)
    }
}

/// The receiving end. The sender learns when it is dropped; what was not received is dropped, too.
pub struct Receiver<'a, T, const N: usize> {
    chan: &'a SpliceChan<T, N>,
}

impl<T, const N: usize> Receiver<'_, T, N> {
    /// Receives a value, if one waits.
    ///
    /// # Errors
    /// [`RecvError`] if none waits.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        // Before the values: one that was sent before the sender left is still received.
        let closed = self.chan.sender_gone.load(Ordering::Acquire);
        match self.chan.pop() {
            Some(value) => {
                self.chan.has_room.wake();
                Ok(value)
            }
            None if closed => Err(RecvError::Closed),
            None => Err(RecvError::Empty),
        }
    }

    /// Waits for a value. Returns none if the sender is gone and everything was received.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| {
            for waits in [true, false] {
                match self.try_recv() {
                    Ok(value) => return Poll::Ready(Some(value)),
                    Err(RecvError::Closed) => return Poll::Ready(None),
                    Err(RecvError::Empty) if waits => self.chan.has_value.wait(context.waker()),
                    Err(RecvError::Empty) => {}
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Returns how many values wait; a sender can only make it more.
    pub fn waiting(&self) -> usize {
        self.chan.len()
    }
}

impl<T, const N: usize> Drop for Receiver<'_, T, N> {
    fn drop(&mut self) {
        self.chan.receiver_gone.store(true, Ordering::Relaxed);
        // Either this sees the value that is being sent, or its sender sees `receiver_gone`.
        fence(Ordering::SeqCst);
        self.chan.drop_leftovers();
        self.chan.has_room.wake();
    }
}

impl<T, const N: usize> fmt::Debug for Receiver<'_, T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({:?})", self.chan)
    }
}
