//! Facts told while flashing: libraries tell, the command line draws.

use std::time::Duration;

use esplice_chip::{Chip, FlashOffset};
use esplice_image::PlanNote;

/// A fact told while flashing.
#[derive(Debug, Clone, PartialEq)]
pub enum FlashEvent {
    /// A stage begins or has ended.
    Stage {
        /// Its name: `connect`, `detect`, `write`, `verify`, `reset`.
        name: &'static str,
        /// Whether it begins or has ended.
        state: StageState,
    },
    /// A board is looked for.
    Connecting {
        /// The try, from 1.
        attempt: u32,
        /// Tries in all.
        of: u32,
    },
    /// What is on the board.
    Chip(ChipInfo),
    /// What does the work, where a stub was wanted.
    Loader(LoaderUse),
    /// The link now runs at this baud rate.
    Baud(u32),
    /// How much of a write the flash does not hold yet.
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
    /// The device's own hash of a write is right.
    Verified {
        /// Name of the write.
        name: String,
        /// Where.
        offset: FlashOffset,
        /// Bytes.
        len: u32,
        /// MD5 in hexadecimal.
        hash: String,
    },
    /// What went over the port: the last event of each run.
    Statistics(Statistics),
    /// What a plan does to the device beyond writing an app.
    Note(PlanNote),
    /// Something that did not stop the work but should be known.
    Warning {
        /// What.
        message: String,
    },
}

/// What does the work, where a stub was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoaderUse {
    /// The ROM loader: there is no stub for the chip, or it did not start.
    Rom,
    /// The stub, which was uploaded.
    Uploaded,
    /// The stub, which ran already.
    Resident,
    /// A stub that ran already and is not the one that was wanted: it knows the same commands.
    Other,
}

/// Whether a stage begins or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StageState {
    Started,
    Done,
}

/// What is on the board.
#[derive(Debug, Clone)]
pub struct ChipInfo {
    /// The chip.
    pub chip: &'static Chip,
    /// Revision: major, minor.
    pub revision: (u8, u8),
    /// The factory's MAC address.
    pub mac: [u8; 6],
    /// What it offers, for people.
    pub features: Vec<String>,
    /// JEDEC id of the flash chip: manufacturer, type, capacity.
    pub flash_id: [u8; 3],
    /// Bytes of flash.
    pub flash_size: u32,
    /// Security state.
    pub security: Security,
}

impl ChipInfo {
    /// The revision as people write it: `v0.4`.
    pub fn revision_text(&self) -> String {
        format!("v{}.{}", self.revision.0, self.revision.1)
    }

    /// The MAC address as people write it.
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

/// Security state of a chip, as far as it decides what a flasher may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Security {
    /// Only signed bootloaders start.
    pub secure_boot: bool,
    /// Flash contents are encrypted.
    pub flash_encryption: bool,
    /// Download mode refuses most commands.
    pub secure_download: bool,
}

/// What went over the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Bytes written to the port.
    pub bytes_sent: u64,
    /// Bytes read from the port.
    pub bytes_received: u64,
    /// Requests sent: frames towards the board.
    pub frames: u64,
    /// Frames that came from the board, whatever they were.
    pub frames_received: u64,
    /// Time on the port's clock.
    pub time: Duration,
    /// Sectors that all writes cover.
    pub sectors_total: u32,
    /// Sectors that were erased and written, each as often as it was.
    pub sectors_written: u32,
}
