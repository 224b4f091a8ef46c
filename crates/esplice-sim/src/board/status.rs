//! The state of a board, in words.

use std::fmt;

use super::{AfterRom, Board, State};

/// The state of a board.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// EN is low or has just risen; nothing runs.
    InReset,
    /// The ROM runs, from reset to the first instruction of an image.
    Booting,
    /// A ROM function called from this address waits for its end.
    InRom {
        /// The return address.
        caller: u32,
    },
    /// Code is executed.
    Running {
        /// Address of the next instruction.
        pc: u32,
    },
    /// The chip is in light or deep sleep.
    Sleeping,
    /// The CPU waits for an interrupt.
    Waiting {
        /// Address after the wait instruction.
        pc: u32,
    },
    /// The ROM's serial loader waits for requests.
    InDownloadMode,
    /// Nothing runs until a watchdog or a reset.
    Stuck {
        /// Address of the last instruction.
        pc: u32,
    },
    /// Something that is not modelled was used, or the flash file failed.
    Failed,
}

/// Same as the display text, so that addresses are shown in hexadecimal.
impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::InReset => write!(f, "is held in reset"),
            Status::Booting => write!(f, "is booting"),
            Status::InRom { caller } => {
                write!(f, "is in a ROM function that was called from {caller:#010x}")
            }
            Status::Running { pc } => write!(f, "runs at {pc:#010x}"),
            Status::Sleeping => write!(f, "sleeps"),
            Status::Waiting { pc } => write!(f, "waits for an interrupt at {pc:#010x}"),
            Status::InDownloadMode => write!(f, "is in download mode"),
            Status::Stuck { pc } => write!(f, "is stuck at {pc:#010x}"),
            Status::Failed => write!(f, "has failed"),
        }
    }
}

impl Board {
    /// Returns the board's state.
    pub fn status(&self) -> Status {
        let pc = self.cpu.pc;
        match &self.state {
            State::Held | State::Rising(_) => Status::InReset,
            State::Rom { then: AfterRom::Boot(_), .. } => Status::Booting,
            State::Rom { then: AfterRom::Return, .. } => Status::InRom { caller: self.cpu.x[1] },
            State::Running if self.cpu.is_waiting() => Status::Waiting { pc },
            State::Running => Status::Running { pc },
            State::Sleeping(..) => Status::Sleeping,
            State::Loader(_) => Status::InDownloadMode,
            State::Stuck => Status::Stuck { pc },
            State::Faulted(_) => Status::Failed,
        }
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("chip", &self.chip.name)
            .field("now", &self.now())
            .field("status", &self.status())
            .field("resets", &self.resets())
            .finish_non_exhaustive()
    }
}
