//! Tests of arenas, pools and channels on the host.

#![allow(missing_docs)]
// The model checker's channels cannot be statics.
#![cfg(not(feature = "model-check"))]

use std::{
    collections::VecDeque,
    future::Future,
    mem::MaybeUninit,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use esplice_rt::{
    arena::Arena,
    pool::{Buf, Pool},
    splice::{RecvError, SendError, SpliceChan},
};
use proptest::prelude::*;

fn memory(len: usize) -> &'static mut [MaybeUninit<u8>] {
    Box::leak(vec![MaybeUninit::uninit(); len].into_boxed_slice())
}

#[test]
fn pieces_are_aligned_and_do_not_overlap() {
    let mut arena = Arena::new(memory(4096));
    let mut taken = Vec::new();
    for (len, align) in [(1, 1), (3, 64), (16, 4), (1, 2), (100, 256), (0, 8)] {
        let piece = arena.bytes(len, align).unwrap();
        assert_eq!((piece.len(), piece.as_ptr() as usize % align), (len, 0));
        assert!(piece.iter().all(|byte| *byte == 0));
        piece.fill(0xaa);
        taken.push(piece);
    }
    let value = arena.alloc(0x1234_5678_u64).unwrap();
    let words = arena.alloc_slice(5, |index| index as u32).unwrap();
    assert_eq!((*value, &*words), (0x1234_5678, &[0, 1, 2, 3, 4][..]));
    assert!(taken.iter().all(|piece| piece.iter().all(|byte| *byte == 0xaa)));
    assert!(arena.remaining() < arena.capacity() - 121 - 28);
}

#[test]
fn a_full_arena_says_how_full_it_is() {
    let mut arena = Arena::of_bytes(Box::leak(Box::new([1; 64])));
    let error = arena.bytes(65, 1).unwrap_err();
    assert_eq!((error.needed, error.free), (65, 64));
    assert_eq!(arena.bytes(60, 1).unwrap(), [0; 60]);
    let error = arena.bytes(5, 1).unwrap_err();
    assert_eq!(error.to_string(), "5 bytes do not fit into an arena that has 4 left");
    assert_eq!(arena.remaining(), 4);
    assert!(arena.bytes(usize::MAX, 1).is_err());
    assert!(arena.alloc_slice(usize::MAX, |_| 0_u64).is_err());
    assert!(arena.pool(usize::MAX / 64, 4, 32).is_err());
    assert_eq!(arena.bytes(4, 1).unwrap(), [0; 4]);
}

fn pool(len: usize, align: usize, count: usize) -> &'static Pool {
    Arena::new(memory(1 << 16)).pool(len, align, count).unwrap()
}

#[test]
fn buffers_return_to_their_pool() {
    let pool = pool(100, 64, 32);
    let mut all: Vec<Buf> = (0..32).map(|_| pool.take().unwrap()).collect();
    assert!(pool.take().is_none());
    for (index, buffer) in all.iter_mut().enumerate() {
        assert_eq!((buffer.len(), buffer.capacity(), buffer.as_ptr() as usize % 64), (0, 100, 0));
        buffer.spare().fill(index as u8);
        buffer.set_len(1000);
    }
    for (index, buffer) in all.iter().enumerate() {
        assert_eq!(**buffer, [index as u8; 100]);
    }
    all.truncate(30);
    assert_eq!((pool.available(), pool.least_available(), pool.buffers()), (2, 0, 32));
    assert_eq!(format!("{pool:?}"), "Pool(2 of 32 buffers of 100 bytes)");
}

#[test]
fn a_buffer_fills_up() {
    let mut buffer = pool(4, 4, 1).take().unwrap();
    assert_eq!(buffer.fill_from(b"ab"), 2);
    assert!(buffer.push(b'c'));
    assert_eq!(buffer.push_all(b"def"), 1);
    assert!(!buffer.push(b'x'));
    assert_eq!(&buffer[..], b"abcd");
    buffer[1] = b'-';
    buffer.set_len(2);
    assert_eq!(&buffer[..], b"a-");
    assert_eq!(buffer.fill_from(b"12345"), 4);
}

#[test]
fn a_driver_gives_a_buffer_back() {
    let pool = pool(16, 32, 2);
    let at = pool.take().unwrap().as_ptr();
    let bytes = pool.take().unwrap().into_static();
    assert_eq!((bytes.as_ptr(), bytes.len(), pool.available()), (at, 16, 1));
    bytes.copy_from_slice(b"written by DMA..");
    let (part, rest) = bytes.split_at_mut(8);
    // Half a buffer is none, nor is memory from elsewhere.
    assert_eq!(pool.restore(part, 8).unwrap_err(), b"written ");
    assert_eq!(pool.restore(rest, 8).unwrap_err(), b"by DMA..");
    let other = Box::leak(Box::new([0; 16]));
    assert!(pool.restore(other, 16).is_err());
    let bytes = pool.take().unwrap().into_static();
    let bytes = pool.restore(bytes, 17).unwrap_err();
    let buffer = pool.restore(bytes, 5).unwrap();
    assert_eq!(buffer.len(), 5);
    drop(buffer);
    assert_eq!(pool.available(), 1, "the one that was split is lost");
}

#[test]
#[should_panic(expected = "a pool has 32 buffers at most, not 33")]
fn a_pool_has_so_many_buffers() {
    pool(1, 1, 33);
}

/// A channel does what a queue of the same length does.
fn check_queue<const N: usize>(steps: &[Step]) {
    let chan = SpliceChan::<u32, N>::new();
    let (mut sender, mut receiver) = chan.split().unwrap();
    let (mut queue, mut next, mut most, mut sent) = (VecDeque::new(), 0, 0, 0);
    for step in steps {
        match step {
            Step::Send => {
                let expected = if queue.len() < N { Ok(()) } else { Err(SendError::Full(next)) };
                assert_eq!(sender.try_send(next), expected);
                if expected.is_ok() {
                    queue.push_back(next);
                    sent += 1;
                }
                next += 1;
                most = most.max(queue.len());
            }
            Step::Receive => {
                let expected = queue.pop_front().ok_or(RecvError::Empty);
                assert_eq!(receiver.try_recv(), expected);
            }
        }
        assert_eq!((receiver.waiting(), sender.room()), (queue.len(), N - queue.len()));
    }
    let statistics = chan.statistics();
    assert_eq!((statistics.sent, statistics.high_water), (sent, most as u32));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Send,
    Receive,
}

proptest! {
    #[test]
    fn a_channel_is_a_queue(
        steps in prop::collection::vec(prop_oneof![Just(Step::Send), Just(Step::Receive)], 0..200)
    ) {
        check_queue::<1>(&steps);
        check_queue::<2>(&steps);
        check_queue::<3>(&steps);
        check_queue::<8>(&steps);
    }
}

#[test]
fn a_channel_is_split_once() {
    static CHAN: SpliceChan<u8, 1> = SpliceChan::new();
    let ends = CHAN.split();
    assert!(ends.is_some() && CHAN.split().is_none());
    drop(ends);
    assert!(CHAN.split().is_none());
}

#[test]
fn buffers_that_nobody_receives_return() {
    let pool = pool(8, 8, 4);
    let chan: &'static SpliceChan<Buf, 4> = Box::leak(Box::new(SpliceChan::new()));
    let (mut sender, receiver) = chan.split().unwrap();
    for _ in 0..3 {
        sender.try_send(pool.take().unwrap()).unwrap();
    }
    assert_eq!(pool.available(), 1);
    drop(receiver);
    assert_eq!((pool.available(), chan.statistics().dropped), (4, 3));
    let error = sender.try_send(pool.take().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the channel's receiver is gone");
    assert!(matches!(error, SendError::Closed(_)) && sender.is_closed());
    drop(error.into_value());
    assert!(!sender.send_or_drop(pool.take().unwrap()));
    assert_eq!((pool.available(), chan.statistics().dropped), (4, 4));
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn tasks_are_woken_when_there_is_something_for_them() {
    let chan = SpliceChan::<u8, 1>::new();
    let (mut sender, mut receiver) = chan.split().unwrap();
    let woken = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let woken = || woken.0.swap(0, Ordering::SeqCst);
    {
        let mut receiving = pin!(receiver.recv());
        assert!(receiving.as_mut().poll(&mut context).is_pending());
        assert_eq!(woken(), 0);
        sender.try_send(1).unwrap();
        assert_eq!(woken(), 1);
        assert_eq!(receiving.as_mut().poll(&mut context), Poll::Ready(Some(1)));
    }
    sender.try_send(2).unwrap();
    assert_eq!(woken(), 0, "nobody waits");
    {
        let mut sending = pin!(sender.send(3));
        assert!(sending.as_mut().poll(&mut context).is_pending());
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(woken(), 1);
        assert_eq!(sending.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    }
    assert_eq!(receiver.try_recv(), Ok(3));
    let mut receiving = pin!(receiver.recv());
    assert!(receiving.as_mut().poll(&mut context).is_pending());
    drop(sender);
    assert_eq!(woken(), 1);
    assert_eq!(receiving.as_mut().poll(&mut context), Poll::Ready(None));
}

#[test]
fn a_task_waits_for_a_buffer() {
    let pool = pool(8, 8, 1);
    let woken = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let first = pool.take().unwrap();
    let mut waiting = pin!(pool.wait());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(first);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(waiting.as_mut().poll(&mut context).is_ready());
}

/// Buffers circulate through two channels between threads; each holds what its last owner wrote.
#[test]
fn buffers_circulate_between_threads() {
    static THERE: SpliceChan<Buf, 3> = SpliceChan::new();
    static BACK: SpliceChan<Buf, 2> = SpliceChan::new();
    const ROUNDS: u32 = 20_000;
    let pool = pool(64, 64, 4);
    let (mut to_worker, mut from_producer) = THERE.split().unwrap();
    let (mut to_checker, mut from_worker) = BACK.split().unwrap();
    let producer = thread::spawn(move || {
        for round in 0..ROUNDS {
            let mut buffer = loop {
                match pool.take() {
                    Some(buffer) => break buffer,
                    None => thread::yield_now(),
                }
            };
            buffer.fill_from(&round.to_le_bytes());
            while let Err(error) = to_worker.try_send(buffer) {
                buffer = error.into_value();
                thread::yield_now();
            }
        }
    });
    let worker = thread::spawn(move || {
        loop {
            match from_producer.try_recv() {
                Ok(mut buffer) => {
                    let at = buffer.as_ptr();
                    buffer.iter_mut().for_each(|byte| *byte = !*byte);
                    assert_eq!(buffer.as_ptr(), at);
                    while let Err(error) = to_checker.try_send(buffer) {
                        buffer = error.into_value();
                        thread::yield_now();
                    }
                }
                Err(RecvError::Empty) => thread::yield_now(),
                Err(RecvError::Closed) => return,
            }
        }
    });
    let mut next = 0_u32;
    loop {
        match from_worker.try_recv() {
            Ok(buffer) => {
                assert_eq!(u32::from_le_bytes(buffer[..].try_into().unwrap()), !next);
                next += 1;
            }
            Err(RecvError::Empty) => thread::yield_now(),
            Err(RecvError::Closed) => break,
        }
    }
    producer.join().unwrap();
    worker.join().unwrap();
    assert_eq!((next, pool.available()), (ROUNDS, 4));
}
