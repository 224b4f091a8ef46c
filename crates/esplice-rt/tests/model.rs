//! Runs the channel in every order of events that the memory model allows.
//!
//! `cargo test -p esplice-rt --features model-check --test model`

#![allow(missing_docs)]
#![allow(unsafe_code, reason = "frees a channel after its ends")]

use std::sync::Arc as StdArc;

use esplice_rt::splice::{Receiver, RecvError, SendError, Sender, SpliceChan, Statistics};
use loom::{future::block_on, thread};

/// Runs `model` with at most three preemptions, which ends within seconds.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// A channel that lives until the end of a model's run, as a static lives until the chip's reset.
struct Channel<T: 'static, const N: usize>(*mut SpliceChan<T, N>);

type Ends<T, const N: usize> = (Sender<'static, T, N>, Receiver<'static, T, N>);

impl<T, const N: usize> Channel<T, N> {
    fn new() -> Self {
        Channel(Box::into_raw(Box::new(SpliceChan::new())))
    }

    fn split(&self) -> Ends<T, N> {
        // SAFETY: the channel is freed after its ends.
        unsafe { (*self.0).split() }.unwrap()
    }

    fn statistics(&self) -> Statistics {
        // SAFETY: the channel is freed by `drop` alone.
        unsafe { (*self.0).statistics() }
    }
}

impl<T, const N: usize> Drop for Channel<T, N> {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`, and its ends are gone: they were made after it.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

#[test]
fn values_arrive_once_and_in_order() {
    explore(|| {
        let chan = Channel::<u8, 2>::new();
        let (mut sender, mut receiver) = chan.split();
        let sending = thread::spawn(move || {
            for value in 1..=3 {
                while sender.try_send(value).is_err() {
                    thread::yield_now();
                }
            }
        });
        let mut received = 0;
        loop {
            match receiver.try_recv() {
                Ok(value) => {
                    received += 1;
                    assert_eq!(value, received);
                }
                Err(RecvError::Empty) => thread::yield_now(),
                Err(RecvError::Closed) => break,
            }
        }
        assert_eq!(received, 3);
        sending.join().unwrap();
    });
}

#[test]
fn a_waiting_receiver_is_woken() {
    explore(|| {
        let chan = Channel::<u8, 1>::new();
        let (mut sender, mut receiver) = chan.split();
        let sending = thread::spawn(move || {
            sender.try_send(7).unwrap();
        });
        assert_eq!(block_on(receiver.recv()), Some(7));
        assert_eq!(block_on(receiver.recv()), None);
        sending.join().unwrap();
    });
}

#[test]
fn a_waiting_sender_is_woken() {
    explore(|| {
        let chan = Channel::<u8, 1>::new();
        let (mut sender, mut receiver) = chan.split();
        sender.try_send(1).unwrap();
        let receiving = thread::spawn(move || {
            assert_eq!(receiver.try_recv(), Ok(1));
            receiver
        });
        assert_eq!(block_on(sender.send(2)), Ok(()));
        assert_eq!(receiving.join().unwrap().try_recv(), Ok(2));
    });
}

#[test]
fn a_waiting_sender_learns_that_nobody_receives() {
    explore(|| {
        let chan = Channel::<u8, 1>::new();
        let (mut sender, receiver) = chan.split();
        sender.try_send(1).unwrap();
        let receiving = thread::spawn(move || drop(receiver));
        // It may find room that the leaving receiver has made; but it never waits for ever.
        assert!(matches!(block_on(sender.send(2)), Ok(()) | Err(2)));
        receiving.join().unwrap();
        assert_eq!(sender.try_send(3), Err(SendError::Closed(3)));
    });
}

/// However sending and closing meet, every value is dropped once.
#[test]
fn no_value_is_lost_when_the_receiver_leaves() {
    explore(|| {
        let value = StdArc::new(());
        let chan = Channel::<StdArc<()>, 2>::new();
        let (mut sender, receiver) = chan.split();
        sender.try_send(value.clone()).unwrap();
        let receiving = thread::spawn(move || drop(receiver));
        match sender.try_send(value.clone()) {
            Ok(()) | Err(SendError::Closed(_)) => {}
            Err(SendError::Full(_)) => panic!("there is room for two"),
        }
        receiving.join().unwrap();
        assert_eq!(StdArc::strong_count(&value), 1);
    });
}

#[test]
fn statistics_count_what_was_sent() {
    explore(|| {
        let chan = Channel::<u8, 1>::new();
        let (mut sender, mut receiver) = chan.split();
        let sending = thread::spawn(move || (0..2).filter(|v| sender.send_or_drop(*v)).count());
        let received = usize::from(receiver.try_recv().is_ok());
        let sent = sending.join().unwrap();
        let received = received + usize::from(receiver.try_recv().is_ok());
        assert_eq!(received, sent);
        let statistics = chan.statistics();
        assert_eq!((statistics.sent + statistics.dropped) as usize, 2);
        assert_eq!((statistics.sent as usize, statistics.high_water), (sent, 1));
    });
}
