//! The ROM's inflater, as FLASH_DEFL_DATA drives it (ROM, `FilePacketSendDeflatedReqMsgProc`).

use std::fmt;

use miniz_oxide::inflate::{
    TINFLStatus,
    core::{
        DecompressorOxide, decompress,
        inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_PARSE_ZLIB_HEADER},
    },
};

/// Bytes of the ROM's window; it writes to flash whenever one is full.
const WINDOW_LEN: usize = 0x8000;
/// The ROM's reason for a failed inflater, less its status (which is negative).
const REASON_BASE: i32 = 10;

/// The reason before any stream was begun: the window has no place yet, status -3.
const NO_STREAM: u8 = 0x0d;

/// What a piece of the stream led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inflated {
    /// The window is full and goes to flash; `more` tells that bytes are waiting for the next.
    Window { more: bool },
    /// All of the piece is used up.
    Used,
    /// The stream is broken; the reason stands in the reply.
    Broken(u8),
    /// The stream has ended and more was sent: the ROM waits for ever for its inflater to take it.
    Stuck,
}

/// A zlib stream being inflated through a window.
#[derive(Clone)]
pub(super) struct Inflater {
    state: Box<DecompressorOxide>,
    window: Vec<u8>,
    at: usize,
    /// Bytes that have come out since power-on.
    inflated: u64,
    broken: Option<u8>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("at", &self.at).field("broken", &self.broken).finish()
    }
}

impl Inflater {
    /// Without a stream: all that is fed is broken.
    pub(super) fn new() -> Inflater {
        Inflater {
            state: Box::default(),
            window: vec![0; WINDOW_LEN],
            at: 0,
            inflated: 0,
            broken: Some(NO_STREAM),
        }
    }

    /// Begins a new stream; the window keeps its bytes, as the ROM's does.
    pub(super) fn restart(&mut self) {
        self.state.init();
        self.at = 0;
        self.broken = None;
    }

    /// Feeds from `input`, shortening it, until something is to be done. In the `last` piece the
    /// ROM's inflater reads zeros past its end. The step that breaks the stream shortens nothing.
    pub(super) fn feed(&mut self, input: &mut &[u8], last: bool) -> Inflated {
        loop {
            if let Some(reason) = self.broken {
                return Inflated::Broken(reason);
            }
            let (mut status, consumed, mut produced) = self.step(input);
            let mut more = status == TINFLStatus::HasMoreOutput;
            while last && status == TINFLStatus::NeedsMoreInput && self.at < WINDOW_LEN {
                let padded = self.step(&[0; 64]);
                (status, produced, more) = (padded.0, produced + padded.2, false);
            }
            if (status as i32) < TINFLStatus::Done as i32 {
                self.broken = Some(u8::try_from(REASON_BASE - status as i32).unwrap_or(u8::MAX));
                continue;
            }
            *input = input.get(consumed..).unwrap_or_default();
            if self.at >= WINDOW_LEN {
                return Inflated::Window { more };
            } else if input.is_empty() {
                return Inflated::Used;
            } else if consumed == 0 && produced == 0 {
                return Inflated::Stuck;
            }
        }
    }

    fn step(&mut self, input: &[u8]) -> (TINFLStatus, usize, usize) {
        let flags = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_HAS_MORE_INPUT;
        let done = decompress(&mut self.state, input, &mut self.window, self.at, flags);
        self.at += done.2;
        self.inflated += done.2 as u64;
        done
    }

    /// Bytes that have come out of all streams so far.
    pub(super) fn inflated(&self) -> u64 {
        self.inflated
    }

    /// The full window; the next byte comes to its start.
    pub(super) fn take_window(&mut self) -> &[u8] {
        self.at = 0;
        &self.window
    }

    /// What is in the window at the end, made up to whole words with what stood there before.
    pub(super) fn rest(&self) -> &[u8] {
        let len = self.at.next_multiple_of(4);
        self.window.get(..len).unwrap_or(&self.window)
    }
}
