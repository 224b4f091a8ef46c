//! Errors of flashing.

use std::time::Duration;

use esplice_chip::{Addr, FlashOffset};
use esplice_image::PlanError;
use esplice_protocol::{Opcode, PortError};

use crate::{Strategy, StubError};

/// An error of flashing, with one variant per cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlashError {
    /// The port failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// No loader answered.
    #[error("Failed to connect to {port}: {}", no_answer(*.running, *.tries))]
    NoAnswer {
        /// The port's name.
        port: String,
        /// Number of attempts.
        tries: u32,
        /// True if the board printed the banner of a normal boot.
        running: bool,
        /// True if the port lacks DTR and RTS, so that it can't reset the board.
        no_lines: bool,
    },
    /// A command was not answered in time.
    #[error("no answer to {command:?} within {} ms", .after.as_millis())]
    Timeout {
        /// The command.
        command: Opcode,
        /// Time waited.
        after: Duration,
    },
    /// The loader refused a command.
    #[error("the loader refused {command:?}: {meaning} (0x{reason:02x})")]
    Refused {
        /// The command.
        command: Opcode,
        /// The loader's reason code.
        reason: u8,
        /// Meaning of the reason code.
        meaning: &'static str,
    },
    /// A block arrived damaged.
    #[error("Checksum mismatch: block {sequence} arrived damaged")]
    Checksum {
        /// Number of the block.
        sequence: u32,
    },
    /// A reply does not have the shape its command requires.
    #[error("malformed reply to {command:?}: {has} bytes of data")]
    Malformed {
        /// The command.
        command: Opcode,
        /// Bytes of data in the reply, without the status.
        has: usize,
    },
    /// Replies, which carry no checksum, contradict each other.
    #[error("replies to {command:?} contradict each other")]
    Unstable {
        /// The command.
        command: Opcode,
    },
    /// The chip is not a known one.
    #[error("unknown chip: {}", unknown_chip(*.chip_id, *.magic))]
    UnknownChip {
        /// The chip ID in the reply to GET_SECURITY_INFO.
        chip_id: Option<u32>,
        /// The value of the magic register.
        magic: Option<u32>,
    },
    /// The board has another chip than the target.
    #[error("the board is {found}, the target is {wanted}")]
    WrongChip {
        /// The chip on the board.
        found: String,
        /// The requested chip.
        wanted: String,
    },
    /// The chip's security state forbids the operation.
    #[error("{state} is on: {refused}")]
    Security {
        /// The security feature that is on.
        state: &'static str,
        /// The operation that is refused.
        refused: &'static str,
    },
    /// The flash chip did not report a usable size.
    #[error("flash chip ID {id:02x?} encodes no size that {chip} supports")]
    FlashSize {
        /// JEDEC ID.
        id: [u8; 3],
        /// Name of the chip.
        chip: String,
    },
    /// No reset strategy has that name.
    #[error("unknown reset strategy {name:?}")]
    UnknownReset {
        /// The name.
        name: String,
    },
    /// A step of a custom reset sequence is invalid.
    #[error("reset step {step:?}: {why}")]
    ResetSteps {
        /// The step.
        step: String,
        /// Reason why the step is invalid.
        why: &'static str,
    },
    /// The chip has no watchdog that can reset it out of its loader.
    #[error("{chip} has no watchdog that can reset it out of its loader")]
    NoWatchdog {
        /// The chip's name.
        chip: String,
    },
    /// The stub file is invalid.
    #[error(transparent)]
    Stub(#[from] StubError),
    /// The stub was uploaded but did not send its greeting.
    #[error("the stub did not start within {} ms", .after.as_millis())]
    NoStub {
        /// Time waited.
        after: Duration,
    },
    /// The operation needs a stub, and the ROM loader is running.
    #[error("only a stub {what}, and the board runs the ROM loader")]
    NeedsStub {
        /// The operation, as a verb phrase in the third person.
        what: &'static str,
    },
    /// A program for RAM does not fit the chip's RAM.
    #[error("{}", not_in_ram(.what, *.addr, *.len, .chip))]
    NotInRam {
        /// `segment` or `entry`.
        what: &'static str,
        /// Address of the segment or entry.
        addr: Addr,
        /// Length in bytes.
        len: usize,
        /// The chip.
        chip: String,
    },
    /// Flash could not be read.
    #[error("{len} bytes of flash at {offset} arrived damaged {attempts} times")]
    Read {
        /// Offset of the read.
        offset: FlashOffset,
        /// Length in bytes.
        len: u32,
        /// Number of attempts.
        attempts: u32,
    },
    /// A write could not be transferred.
    #[error("writing {name} at {offset} failed {attempts} times, last error: {source}")]
    Transfer {
        /// Name of the write.
        name: String,
        /// Offset of the write.
        offset: FlashOffset,
        /// Number of attempts.
        attempts: u32,
        /// The last error.
        source: Box<FlashError>,
    },
    /// The board did not stay in its loader.
    #[error("the board reset {times} times while {name} was written at {offset}")]
    Restarts {
        /// Name of the write.
        name: String,
        /// Offset of the write.
        offset: FlashOffset,
        /// Number of resets.
        times: u32,
    },
    /// The flash does not hold the data that was written.
    #[error("{name} at {offset}: flash has MD5 {found} over {len} bytes, expected {expected}")]
    Verify {
        /// Name of the write.
        name: String,
        /// Offset of the write.
        offset: FlashOffset,
        /// Length in bytes.
        len: u32,
        /// MD5 of the data sent.
        expected: String,
        /// MD5 that the device computed.
        found: String,
    },
    /// The plan does not fit the device.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Classes of failure, each with its own exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The port can't be opened or used.
    Port,
    /// No loader answered.
    NoAnswer,
    /// The stub file is invalid or made for another chip.
    StubFile,
    /// The loader does not know the command.
    Unsupported,
    /// The board has another chip than the target, or an unknown one.
    WrongChip,
    /// The chip's security state forbids the operation.
    Security,
    /// Commands or blocks did not get through.
    Transfer,
    /// The flash does not hold the data that was written.
    Verify,
    /// The plan does not fit the device.
    Plan,
    /// The port disappeared while in use.
    Lost,
    /// The user asked to stop.
    Interrupted,
    /// The virtual board met something that it does not model.
    NotModelled,
}

impl FlashError {
    /// Returns the class of failure.
    pub fn class(&self) -> ErrorClass {
        match self {
            FlashError::Port(PortError::Gone { .. }) => ErrorClass::Lost,
            FlashError::Port(PortError::Interrupted) => ErrorClass::Interrupted,
            FlashError::Port(PortError::NotModelled { .. }) => ErrorClass::NotModelled,
            FlashError::Port(_)
            | FlashError::UnknownReset { .. }
            | FlashError::ResetSteps { .. }
            | FlashError::NoWatchdog { .. } => ErrorClass::Port,
            FlashError::NoAnswer { .. } => ErrorClass::NoAnswer,
            FlashError::Stub(_) => ErrorClass::StubFile,
            FlashError::NeedsStub { .. } => ErrorClass::Unsupported,
            FlashError::Timeout { .. }
            | FlashError::Refused { .. }
            | FlashError::Checksum { .. }
            | FlashError::Malformed { .. }
            | FlashError::Unstable { .. }
            | FlashError::NoStub { .. }
            | FlashError::Read { .. }
            | FlashError::Restarts { .. }
            | FlashError::Transfer { .. }
            | FlashError::FlashSize { .. } => ErrorClass::Transfer,
            FlashError::UnknownChip { .. } | FlashError::WrongChip { .. } => ErrorClass::WrongChip,
            FlashError::Security { .. } => ErrorClass::Security,
            FlashError::Plan(PlanError::WrongChip { .. } | PlanError::ImageForOtherChip { .. }) => {
                ErrorClass::WrongChip
            }
            FlashError::Plan(_) | FlashError::NotInRam { .. } => ErrorClass::Plan,
            FlashError::Verify { .. } => ErrorClass::Verify,
        }
    }

    /// Returns a hint on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            FlashError::Port(error) => return error.hint(),
            FlashError::Plan(error) => return error.hint(),
            FlashError::NoAnswer { no_lines: true, running: true, .. } => {
                "the board was reset but its boot pin was not held low: hold BOOT, press RESET, release BOOT, and try again"
                    .into()
            }
            FlashError::NoAnswer { no_lines: true, .. } => {
                "this port can't reset the board: hold BOOT, press RESET, release BOOT, and try again"
                    .into()
            }
            FlashError::NoAnswer { running: true, .. } => {
                "the board reset but its boot pin was not held low: hold BOOT while connecting, or check that DTR reaches it"
                    .into()
            }
            FlashError::NoAnswer { .. } => {
                "check that this is the board's port, that the cable carries data and the board has power, and that nothing else drives RX and TX; then hold BOOT and press RESET"
                    .into()
            }
            FlashError::Stub(error) => return error.hint(),
            FlashError::NeedsStub { .. } => {
                "install esptool, whose stubs --stub auto finds, or name a stub file with --stub FILE"
                    .into()
            }
            FlashError::Timeout { .. }
            | FlashError::Checksum { .. }
            | FlashError::Unstable { .. }
            | FlashError::Read { .. } => {
                "try a lower --baud or a shorter cable".into()
            }
            FlashError::NotInRam { .. } => {
                "all segments of a program for RAM must be in RAM; use `esplice flash` for other programs".into()
            }
            FlashError::Transfer { source, .. } => return source.hint(),
            FlashError::Restarts { .. } => {
                "check the board's power: try another cable or USB port, and disconnect what draws current"
                    .into()
            }
            FlashError::UnknownChip { .. } => "`esplice chips` lists the known chips".into(),
            FlashError::WrongChip { found, .. } => {
                format!("build for it with --target {found}, or choose another --port")
            }
            FlashError::Security { .. } => {
                "burnt eFuses can't be undone: update this board over the air or with signed, encrypted images".into()
            }
            FlashError::FlashSize { .. } => {
                "check the flash chip's power and wiring; ff ff ff or 00 00 00 means that the chip does not answer".into()
            }
            FlashError::Verify { .. } => {
                "flash again; if the error persists, the flash chip is worn out, write-protected or badly powered".into()
            }
            FlashError::Refused { .. }
            | FlashError::Malformed { .. }
            | FlashError::NoStub { .. } => return None,
            FlashError::UnknownReset { name } => {
                let names = Strategy::names().join(", ");
                match Strategy::nearest(name) {
                    Some(nearest) => format!("did you mean {nearest:?}? known strategies: {names}"),
                    None => format!("known strategies: {names}, and custom:STEPS"),
                }
            }
            FlashError::NoWatchdog { .. } => {
                "hold BOOT, press RESET, and use --reset none".into()
            }
            FlashError::ResetSteps { .. } => {
                "write steps as in custom:D0|R1|W0.1|D1|R0|W0.05|D0: D for DTR, R for RTS, U1,0 for both, W to wait seconds".into()
            }
        })
    }

    /// Returns whether the loader received the command and refused it.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, FlashError::Refused { .. } | FlashError::Checksum { .. })
    }

    /// Returns whether a retry over a resynchronised link may help.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            FlashError::Timeout { .. }
                | FlashError::Refused { .. }
                | FlashError::Checksum { .. }
                | FlashError::Malformed { .. }
                | FlashError::Unstable { .. }
                | FlashError::NoStub { .. }
                | FlashError::Read { .. }
        )
    }
}

fn not_in_ram(what: &str, addr: Addr, len: usize, chip: &str) -> String {
    match len {
        0 => format!("{what} at {addr} is outside the segments loaded into the RAM of {chip}"),
        len => format!("{what} of {len} bytes at {addr} is outside the RAM of {chip}"),
    }
}

fn no_answer(running: bool, tries: u32) -> String {
    let tries = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
    if running {
        format!("the board is running and did not enter download mode, after {tries}")
    } else {
        format!("no answer after {tries}")
    }
}

fn unknown_chip(chip_id: Option<u32>, magic: Option<u32>) -> String {
    match (chip_id, magic) {
        (Some(id), _) => format!("its ID is {id}"),
        (None, Some(magic)) => format!("its magic word is 0x{magic:08x}"),
        (None, None) => "it reports neither an ID nor a magic word".into(),
    }
}
