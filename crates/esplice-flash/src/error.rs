//! Why flashing fails.

use std::time::Duration;

use esplice_chip::{Addr, FlashOffset};
use esplice_image::PlanError;
use esplice_protocol::{Opcode, PortError};

use crate::{Strategy, StubError};

/// Why flashing fails, a variant a cause.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The port itself.
    #[error(transparent)]
    Port(#[from] PortError),
    /// No loader answered.
    #[error("Failed to connect to {port}: {}", no_answer(*.running, *.tries))]
    NoAnswer {
        /// The port's name.
        port: String,
        /// How often it was tried.
        tries: u32,
        /// The board printed the banner of a normal boot.
        running: bool,
        /// The port has no DTR and RTS to reset with.
        no_lines: bool,
    },
    /// A command got no answer.
    #[error("no answer to {command:?} within {} ms", .after.as_millis())]
    Timeout {
        /// The command.
        command: Opcode,
        /// How long was waited.
        after: Duration,
    },
    /// The loader refused a command.
    #[error("the loader refused {command:?}: {meaning} (0x{reason:02x})")]
    Refused {
        /// The command.
        command: Opcode,
        /// The loader's reason.
        reason: u8,
        /// What the reason means.
        meaning: &'static str,
    },
    /// A block arrived damaged.
    #[error("Checksum mismatch: block {sequence} arrived damaged")]
    Checksum {
        /// Number of the block.
        sequence: u32,
    },
    /// An answer has not the command's shape.
    #[error("answer to {command:?} has {has} bytes of data")]
    Malformed {
        /// The command.
        command: Opcode,
        /// Bytes of data in the answer, without status.
        has: usize,
    },
    /// A loader's answers, which carry no checksum, contradict each other.
    #[error("answers to {command:?} contradict each other")]
    Unstable {
        /// The command.
        command: Opcode,
    },
    /// The chip is none that is known.
    #[error("unknown chip: {}", unknown_chip(*.chip_id, *.magic))]
    UnknownChip {
        /// What GET_SECURITY_INFO says.
        chip_id: Option<u32>,
        /// What the magic register says.
        magic: Option<u32>,
    },
    /// The board is of another chip than the target.
    #[error("the board is {found}, the target is {wanted}")]
    WrongChip {
        /// The chip on the board.
        found: String,
        /// The chip asked for.
        wanted: String,
    },
    /// The chip's security state forbids it.
    #[error("{state} is on: {refused}")]
    Security {
        /// What is on.
        state: &'static str,
        /// What can't be done then.
        refused: &'static str,
    },
    /// The flash chip did not tell its size.
    #[error("flash chip's id {id:02x?} names no size that {chip} can have")]
    FlashSize {
        /// JEDEC id.
        id: [u8; 3],
        /// Name of the chip.
        chip: String,
    },
    /// There is no reset strategy of that name.
    #[error("unknown reset strategy {name:?}")]
    UnknownReset {
        /// The name.
        name: String,
    },
    /// A step of a user's own way into download mode is none.
    #[error("reset step {step:?}: {why}")]
    ResetSteps {
        /// The step.
        step: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The chip has no watchdog that resets it out of its loader.
    #[error("no watchdog of {chip} resets it out of its loader")]
    NoWatchdog {
        /// The chip's name.
        chip: String,
    },
    /// The stub file, or what is in it.
    #[error(transparent)]
    Stub(#[from] StubError),
    /// The stub was brought over and did not greet.
    #[error("the stub did not start within {} ms", .after.as_millis())]
    NoStub {
        /// How long was waited.
        after: Duration,
    },
    /// The ROM loader can't do it.
    #[error("only a stub {what}, and the ROM loader is at the other end")]
    NeedsStub {
        /// What is to be done, as a verb.
        what: &'static str,
    },
    /// A program for RAM that is not for the chip's.
    #[error("{}", not_in_ram(.what, *.addr, *.len, .chip))]
    NotInRam {
        /// `segment` or `entry`.
        what: &'static str,
        /// Where it is.
        addr: Addr,
        /// Bytes.
        len: usize,
        /// The chip.
        chip: String,
    },
    /// Flash could not be read.
    #[error("{len} bytes of flash at {offset} arrived damaged {attempts} times")]
    Read {
        /// Where.
        offset: FlashOffset,
        /// Bytes.
        len: u32,
        /// How often it was tried.
        attempts: u32,
    },
    /// A write could not be brought over.
    #[error("writing {name} at {offset} failed {attempts} times, at last: {source}")]
    Transfer {
        /// Name of the write.
        name: String,
        /// Where.
        offset: FlashOffset,
        /// How often it was begun.
        attempts: u32,
        /// The last failure.
        source: Box<FlashError>,
    },
    /// The board did not stay in its loader.
    #[error("the board reset {times} times while {name} was written at {offset}")]
    Restarts {
        /// Name of the write.
        name: String,
        /// Where.
        offset: FlashOffset,
        /// How often.
        times: u32,
    },
    /// The flash does not hold what was written.
    #[error("{name} at {offset}: flash has MD5 {found} over {len} bytes, written was {expected}")]
    Verify {
        /// Name of the write.
        name: String,
        /// Where.
        offset: FlashOffset,
        /// Bytes.
        len: u32,
        /// MD5 of what was sent.
        expected: String,
        /// MD5 of what the device has.
        found: String,
    },
    /// The plan does not fit the device.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Classes of failure that exit codes tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The port can't be opened or used.
    Port,
    /// No loader answered.
    NoAnswer,
    /// A stub file is none, or none for the chip.
    StubFile,
    /// A command that the loader does not know.
    Unsupported,
    /// Another chip than the target, or an unknown one.
    WrongChip,
    /// Refused because of the chip's security state.
    Security,
    /// Commands or blocks did not come through.
    Transfer,
    /// The flash does not hold what was written.
    Verify,
    /// The plan does not fit the device.
    Plan,
    /// The port vanished while it was used.
    Lost,
    /// The user asked to stop.
    Interrupted,
    /// A virtual board met something that it does not model.
    NotModelled,
}

impl FlashError {
    /// The class of failure.
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

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            FlashError::Port(error) => return error.hint(),
            FlashError::Plan(error) => return error.hint(),
            FlashError::NoAnswer { no_lines: true, running: true, .. } => {
                "the board was reset but its boot pin was not held low: hold BOOT, press RESET, let BOOT go, and try again"
                    .into()
            }
            FlashError::NoAnswer { no_lines: true, .. } => {
                "this port can't reset the board: hold BOOT, press RESET, let BOOT go, and try again"
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
                "a program for RAM has all its segments there; `esplice flash` writes others".into()
            }
            FlashError::Transfer { source, .. } => return source.hint(),
            FlashError::Restarts { .. } => {
                "check the board's power: try another cable or USB port, and take off what draws current"
                    .into()
            }
            FlashError::UnknownChip { .. } => "`esplice chips` lists the known ones".into(),
            FlashError::WrongChip { found, .. } => {
                format!("build for it with --target {found}, or choose another --port")
            }
            FlashError::Security { .. } => {
                "what is burnt into eFuses can't be undone: update this board over the air or with signed, encrypted images".into()
            }
            FlashError::FlashSize { .. } => {
                "check the flash chip's power and wiring; ff ff ff or 00 00 00 means that it does not answer".into()
            }
            FlashError::Verify { .. } => {
                "flash again; if it stays, the flash chip is worn out, write-protected or badly powered".into()
            }
            FlashError::Refused { .. }
            | FlashError::Malformed { .. }
            | FlashError::NoStub { .. } => return None,
            FlashError::UnknownReset { name } => {
                let names = Strategy::names().join(", ");
                match Strategy::nearest(name) {
                    Some(nearest) => format!("did you mean {nearest:?}? there are {names}"),
                    None => format!("there are {names}, and custom: with steps of your own"),
                }
            }
            FlashError::NoWatchdog { .. } => {
                "hold BOOT, press RESET, and use --reset none".into()
            }
            FlashError::ResetSteps { .. } => {
                "steps are as in custom:D0|R1|W0.1|D1|R0|W0.05|D0: D for DTR, R for RTS, U1,0 for both, W to wait seconds".into()
            }
        })
    }

    /// Whether the loader took the command and said no.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, FlashError::Refused { .. } | FlashError::Checksum { .. })
    }

    /// Whether doing it again over a link in order may help.
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
        0 => format!("{what} at {addr} is not in what is loaded into the RAM of {chip}"),
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
        (Some(id), _) => format!("its id is {id}"),
        (None, Some(magic)) => format!("its magic word is 0x{magic:08x}"),
        (None, None) => "it tells neither id nor magic word".into(),
    }
}
