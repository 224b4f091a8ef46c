//! The ROM's inflater as used by FLASH_DEFL_DATA (ROM, `FilePacketSendDeflatedReqMsgProc`).

use std::fmt;

use miniz_oxide::inflate::{
    TINFLStatus,
    core::{
        DecompressorOxide, decompress,
        inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_PARSE_ZLIB_HEADER},
    },
};

/// Size of the ROM's window, which is written to flash whenever it is full.
const WINDOW_LEN: usize = 0x8000;
/// The ROM's reason for a failed inflater is this minus the (negative) status.
const REASON_BASE: i32 = 10;

/// The reason before any stream was begun: the window is not set, status -3.
const NO_STREAM: u8 = 0x0d;

/// The result of inflating a piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inflated {
    /// The window is full and must be written to flash. `more` is set if bytes wait for the next
    /// one.
    Window { more: bool },
    /// The piece is used up.
    Used,
    /// The stream is broken, for this reason.
    Broken(u8),
    /// The stream has ended but more was sent: the ROM waits forever for its inflater to take it.
    Stuck,
}

/// A zlib stream that is inflated through a window.
#[derive(Clone)]
pub(super) struct Inflater {
    state: Box<DecompressorOxide>,
    window: Vec<u8>,
    at: usize,
    /// Bytes inflated since power-on.
    inflated: u64,
    broken: Option<u8>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("at", &self.at).field("broken", &self.broken).finish()
    }
}

impl Inflater {
    /// Returns an inflater without a stream; all input is broken.
    pub(super) fn new() -> Inflater {
        Inflater {
            state: Box::default(),
            window: vec![0; WINDOW_LEN],
            at: 0,
            inflated: 0,
            broken: Some(NO_STREAM),
        }
    }

    /// Begins a new stream. The window keeps its bytes, as the ROM's does.
    pub(super) fn restart(&mut self) {
        self.state.init();
        self.at = 0;
        self.broken = None;
    }

    /// Inflates from `input`, shortening it, until the caller must act. In the `last` piece the
    /// ROM's inflater reads zeros past the end. The step that breaks the stream does not shorten
    /// `input`.
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

    /// Returns the number of bytes inflated from all streams so far.
    pub(super) fn inflated(&self) -> u64 {
        self.inflated
    }

    /// Returns the full window. The next byte goes to its start.
    pub(super) fn take_window(&mut self) -> &[u8] {
        self.at = 0;
        &self.window
    }

    /// Returns the rest in the window, padded to whole words with its previous contents.
    pub(super) fn rest(&self) -> &[u8] {
        let len = self.at.next_multiple_of(4);
        self.window.get(..len).unwrap_or(&self.window)
    }
}
