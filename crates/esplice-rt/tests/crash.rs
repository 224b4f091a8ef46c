//! Tests of the record of a panic. It has one place in a program, so they run in one test.

#![allow(missing_docs)]

use std::mem::MaybeUninit;

use esplice_rt::crash::{Crash, install, record};

/// A memory that the program uses again after each reset.
struct Memory {
    start: *mut MaybeUninit<u8>,
    len: usize,
}

impl Memory {
    fn holding(bytes: &[u8]) -> Memory {
        let memory: Vec<_> = bytes.iter().map(|byte| MaybeUninit::new(*byte)).collect();
        let memory = Box::leak(memory.into_boxed_slice());
        Memory { start: memory.as_mut_ptr(), len: memory.len() }
    }

    #[allow(unsafe_code)]
    fn boot(&self) -> Option<Crash> {
        // SAFETY: what was installed before is not used again, as after a reset.
        install(unsafe { std::slice::from_raw_parts_mut(self.start, self.len) })
    }

    #[allow(unsafe_code)]
    fn bytes(&self) -> Vec<u8> {
        // SAFETY: all bytes are initialised.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>(), self.len) }.to_vec()
    }
}

#[test]
fn a_panic_is_reported_once_after_the_reset() {
    // Without memory nothing happens.
    record(&"early", [1]);

    let memory = Memory::holding(&[0x5a; 256]);
    assert!(memory.boot().is_none(), "after power-on there is no record");
    record(&"panicked at src/main.rs:3:5:\nno", [0x4200_1234, 0x4038_0000]);
    let whole = memory.bytes();
    let crash = memory.boot().unwrap();
    assert_eq!(crash.message(), "panicked at src/main.rs:3:5:\nno");
    assert_eq!(crash.frames().collect::<Vec<_>>(), [0x4200_1234, 0x4038_0000]);
    assert_eq!(
        crash.to_string(),
        "panicked at src/main.rs:3:5:\nno\r\n\r\nBacktrace:\r\n\r\n0x42001234\r\n0x40380000\r\n"
    );
    assert!(memory.boot().is_none(), "it is reported once");

    // A record with any damaged byte is none, and so is a part of one.
    let len = 12 + 8 + crash.message().len();
    for at in 0..len {
        for damage in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= damage;
            assert!(Memory::holding(&bytes).boot().is_none(), "byte {at} ^ {damage:#x}");
        }
        assert!(Memory::holding(&whole[..at]).boot().is_none(), "{at} bytes");
    }
    assert!(Memory::holding(&whole[..len]).boot().is_some());

    // A long message is cut off between letters, and many frames at 16.
    let memory = Memory::holding(&[0; 256]);
    memory.boot();
    record(&"ä".repeat(1000), 0..1000);
    let crash = memory.boot().unwrap();
    assert_eq!(crash.message(), "ä".repeat((256 - 12 - 64) / 2));
    assert_eq!(crash.frames().collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());

    // Memory that is too small for anything.
    for len in 0..80 {
        let memory = Memory::holding(&vec![0; len]);
        memory.boot();
        record(&"message", [1, 2, 3]);
        match memory.boot() {
            Some(crash) => assert!(len >= 12 && "message".starts_with(crash.message())),
            None => assert!(len < 12),
        }
    }
}
