//! Events reported while flashing. Libraries report them; the command line displays them.

use std::{sync::Arc, time::Duration};

use esplice_chip::{Chip, FlashOffset};
use esplice_image::PlanNote;

/// An event reported while flashing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FlashEvent {
    /// A stage starts or has ended.
    Stage {
        /// Name of the stage: `connect`, `detect`, `write`, `verify`, `reset`.
        name: &'static str,
        /// True if the stage starts or has ended.
        state: StageState,
    },
    /// An attempt to connect starts.
    Connecting {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Maximum number of attempts.
        of: u32,
    },
    /// The board was identified.
    Chip(ChipInfo),
    /// The loader in use, reported where a stub was requested.
    Loader(LoaderUse),
    /// The link now runs at this baud rate.
    Baud(u32),
    /// Part of a write that the flash does not hold yet.
    Differs {
        /// Name of the write.
        name: String,
        /// Sectors that will be written.
        differing: u32,
        /// Sectors that the write covers.
        sectors: u32,
    },
    /// Bytes of a write that are in flash.
    Progress {
        /// Name of the write: `app`, `bootloader`, …
        stage: String,
        /// Bytes done, before compression.
        done: u32,
        /// Bytes in all, before compression.
        total: u32,
    },
    /// The hash that the device computed over a write is right.
    Verified {
        /// Name of the write.
        name: String,
        /// Offset of the write.
        offset: FlashOffset,
        /// Length in bytes.
        len: u32,
        /// MD5 in hexadecimal.
        hash: String,
    },
    /// Transfer statistics: the last event of each run.
    Statistics(Statistics),
    /// A change that a plan makes to the device in addition to writing an app.
    Note(PlanNote),
    /// A problem that did not stop the work.
    Warning {
        /// Text of the warning.
        message: String,
    },
}

/// The loader in use, where a stub was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoaderUse {
    /// The ROM loader: no stub for the chip exists, or it did not start.
    Rom,
    /// The requested stub, which was uploaded.
    Uploaded,
    /// The requested stub, which was already running.
    Resident,
    /// Another stub, which was already running and knows the same commands.
    Other,
}

/// True if a stage starts or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StageState {
    Started,
    Done,
}

/// Chip, flash and security state of a board.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChipInfo {
    /// The chip.
    pub chip: Arc<Chip>,
    /// Chip revision: major, minor.
    pub revision: (u8, u8),
    /// The factory MAC address.
    pub mac: [u8; 6],
    /// Features, as text for people.
    pub features: Vec<String>,
    /// JEDEC ID of the flash chip: manufacturer, type, capacity.
    pub flash_id: [u8; 3],
    /// Flash size in bytes.
    pub flash_size: u32,
    /// Security state.
    pub security: Security,
}

impl ChipInfo {
    /// Returns the revision in the usual form: `v0.4`.
    pub fn revision_text(&self) -> String {
        format!("v{}.{}", self.revision.0, self.revision.1)
    }

    /// Returns the MAC address in the usual form, with colons.
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

impl PartialEq for ChipInfo {
    fn eq(&self, other: &Self) -> bool {
        let key = |info: &ChipInfo| {
            (info.revision, info.mac, info.flash_id, info.flash_size, info.security)
        };
        self.chip.name == other.chip.name
            && key(self) == key(other)
            && self.features == other.features
    }
}

/// Security state of a chip, as far as it limits a flasher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Security {
    /// True if only signed bootloaders start.
    pub secure_boot: bool,
    /// True if flash contents are encrypted.
    pub flash_encryption: bool,
    /// True if download mode refuses most commands.
    pub secure_download: bool,
}

/// Transfer statistics of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Bytes written to the port.
    pub bytes_sent: u64,
    /// Bytes read from the port.
    pub bytes_received: u64,
    /// Requests sent: frames to the board.
    pub frames: u64,
    /// Frames received from the board, whatever their contents.
    pub frames_received: u64,
    /// Time on the port's clock.
    pub time: Duration,
    /// Sectors that all writes cover.
    pub sectors_total: u32,
    /// Sectors erased and written, counted once for each time.
    pub sectors_written: u32,
}
