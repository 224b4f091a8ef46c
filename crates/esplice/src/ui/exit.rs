//! The table of exit codes, and the error that carries one.

use std::{fmt, io, ops::RangeInclusive};

use esplice_chip::ChipError;
use esplice_flash::{ErrorClass, FlashError};
use esplice_image::{BootloaderError, FormatError, ImageError, PlanError};
use esplice_layout::LayoutError;
use esplice_link::{Defect, LinkError};
use esplice_monitor::MonitorError;
use esplice_port::OpenError;
use esplice_protocol::PortError;
use esplice_sim::{
    SimError,
    nor::{NorError, is_invalid_file_name},
    parts::PartsError,
    spec::SpecError,
};
use esplice_toolchain::{ErrorKind, ToolchainError};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    Internal,
    Usage,
    BadInput,
    ToolchainMissing,
    BuildFailed,
    PlanRefused,
    Unfixed,
    Port,
    NoAnswer,
    WrongChip,
    Security,
    Transfer,
    Verify,
    Signature,
    WrongBase,
    ExpectationTimedOut,
    Panic,
    BootLoop,
    WrongBaud,
    PortLost,
    Rejected,
    NotModelled,
    NoAgent,
    /// The firmware's own exit code, within [`Exit::FIRMWARE`].
    Firmware(u8),
    Interrupted,
}

impl Exit {
    /// Codes passed through from the firmware. Those above are the shell's.
    pub const FIRMWARE: RangeInclusive<u32> = 40..=125;

    /// The code when tests failed and the firmware has no code of its own.
    pub const TESTS_FAILED: u8 = 40;

    pub const ALL: &[Exit] = &[
        Exit::Done,
        Exit::Internal,
        Exit::Usage,
        Exit::BadInput,
        Exit::ToolchainMissing,
        Exit::BuildFailed,
        Exit::PlanRefused,
        Exit::Unfixed,
        Exit::Port,
        Exit::NoAnswer,
        Exit::WrongChip,
        Exit::Security,
        Exit::Transfer,
        Exit::Verify,
        Exit::Signature,
        Exit::WrongBase,
        Exit::ExpectationTimedOut,
        Exit::Panic,
        Exit::BootLoop,
        Exit::WrongBaud,
        Exit::PortLost,
        Exit::Rejected,
        Exit::NotModelled,
        Exit::NoAgent,
        Exit::Firmware(Exit::TESTS_FAILED),
        Exit::Interrupted,
    ];

    pub const fn number(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Internal => 1,
            Exit::Usage => 2,
            Exit::BadInput => 3,
            Exit::ToolchainMissing => 4,
            Exit::BuildFailed => 5,
            Exit::PlanRefused => 6,
            Exit::Unfixed => 7,
            Exit::Port => 10,
            Exit::NoAnswer => 11,
            Exit::WrongChip => 12,
            Exit::Security => 13,
            Exit::Transfer => 14,
            Exit::Verify => 15,
            Exit::Signature => 16,
            Exit::WrongBase => 17,
            Exit::ExpectationTimedOut => 20,
            Exit::Panic => 21,
            Exit::BootLoop => 22,
            Exit::WrongBaud => 23,
            Exit::PortLost => 24,
            Exit::Rejected => 25,
            Exit::NotModelled => 27,
            Exit::NoAgent => 28,
            Exit::Firmware(code) => code,
            // 128 plus the number of SIGINT, as in shells.
            Exit::Interrupted => 130,
        }
    }

    /// Returns the meaning of the code, as shown in the help and the documentation.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Internal => "a bug in esplice or a failure of the machine, such as a full disk",
            Exit::Usage => "wrong use of the command line, the environment or esplice.toml",
            Exit::BadInput => "an input file is missing, invalid or of the wrong kind",
            Exit::ToolchainMissing => "no compiler or linker for the chip",
            Exit::BuildFailed => "compiling or linking failed",
            Exit::PlanRefused => {
                "the image, the flash plan or the memory layout does not fit, or a size budget is exceeded"
            }
            Exit::Unfixed => "doctor found a problem that it could not fix",
            Exit::Port => "the port does not exist, is busy, or may not be opened",
            Exit::NoAnswer => "the board does not answer",
            Exit::WrongChip => "the board has a different chip than the target",
            Exit::Security => "the chip's security state forbids it",
            Exit::Transfer => "the transfer failed",
            Exit::Verify => "flash or the running firmware differs from what was written",
            Exit::Signature => "a signature, manifest or hash of an update is not valid",
            Exit::WrongBase => "a patch does not fit its base",
            Exit::ExpectationTimedOut => "timed out waiting for the expected output",
            Exit::Panic => "the firmware panicked",
            Exit::BootLoop => "the board resets again and again",
            Exit::WrongBaud => "the board uses a different baud rate",
            Exit::PortLost => "the port was lost while in use",
            Exit::Rejected => "rejected output appeared",
            Exit::NotModelled => "the virtual board needed something that it does not model",
            Exit::NoAgent => {
                "the firmware has no debug agent, which a board at a serial port needs"
            }
            Exit::Firmware(_) => "tests on the board failed; 41 to 125: the firmware's own code",
            Exit::Interrupted => "interrupted",
        }
    }

    /// Returns the table as lines of code and meaning.
    pub fn table() -> String {
        Exit::ALL.iter().map(|exit| format!("{:>5}  {}\n", exit.number(), exit.meaning())).collect()
    }
}

/// Reason that a command failed: the fact, a hint if a remedy is known, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: None }
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    pub fn input(message: impl Into<String>) -> Failure {
        Failure::new(Exit::BadInput, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    pub fn interrupted() -> Failure {
        Failure::new(Exit::Interrupted, "interrupted")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ChipError> for Failure {
    fn from(error: ChipError) -> Failure {
        let exit = match &error {
            ChipError::Unknown { .. } | ChipError::UnknownTarget { .. } => Exit::Usage,
            // The built-in data is valid, so this is a file of the user's.
            _ => Exit::BadInput,
        };
        Failure { exit, message: error.to_string(), hint: error.hint() }
    }
}

impl From<LayoutError> for Failure {
    fn from(error: LayoutError) -> Failure {
        let exit = if error.cause.is_form() { Exit::Usage } else { Exit::PlanRefused };
        Failure { exit, message: error.to_string(), hint: error.hint() }
    }
}

impl From<Defect> for Failure {
    fn from(defect: Defect) -> Failure {
        Failure { exit: Exit::PlanRefused, message: defect.to_string(), hint: defect.hint() }
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Failure {
        let exit = match &error {
            LinkError::OtherMachine { .. } => Exit::WrongChip,
            _ => Exit::BadInput,
        };
        Failure { exit, message: error.to_string(), hint: error.hint() }
    }
}

impl From<ToolchainError> for Failure {
    fn from(error: ToolchainError) -> Failure {
        let exit = match error.kind() {
            ErrorKind::ToolchainMissing => Exit::ToolchainMissing,
            ErrorKind::CompileFailed => Exit::BuildFailed,
            ErrorKind::Usage => Exit::Usage,
            ErrorKind::BadInput => Exit::BadInput,
            ErrorKind::Interrupted => Exit::Interrupted,
            _ => Exit::Internal,
        };
        Failure { exit, message: error.to_string(), hint: error.hint() }
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Failure {
        let exit = match &error {
            // The machine's fault, as for any other file that cannot be written.
            PortError::Io { source, .. } if is_full(source) => Exit::Internal,
            PortError::NotModelled { .. } => Exit::NotModelled,
            PortError::Name { .. } | PortError::NotSerial { .. } => Exit::Usage,
            PortError::Gone { .. } => Exit::PortLost,
            PortError::Interrupted => Exit::Interrupted,
            _ => Exit::Port,
        };
        Failure { exit, message: error.to_string(), hint: error.hint() }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let (message, hint) = (error.to_string(), error.hint());
        let exit = match error {
            OpenError::Port(error) => return error.into(),
            OpenError::Sim(error) => return error.into(),
            OpenError::Spec { source: SpecError::NoBoard { .. }, .. } => Exit::Port,
            OpenError::Spec { .. } => Exit::Usage,
            _ => Exit::Port,
        };
        Failure { exit, message, hint }
    }
}

impl From<SimError> for Failure {
    fn from(error: SimError) -> Failure {
        let exit = match &error {
            SimError::FlashSize { .. }
            | SimError::Faults(_)
            | SimError::Parts(_)
            | SimError::FaultPlace(_)
            | SimError::RomFile { .. }
            | SimError::RomNotElf { .. }
            | SimError::RomMachine { .. }
            | SimError::RomNoCode { .. }
            | SimError::RomPlace { .. }
            | SimError::RomDiffers { .. } => Exit::BadInput,
            SimError::NeedsRom { .. } => Exit::Usage,
            SimError::FlashFile { source, .. } => of_flash_file(source),
            SimError::FlashFailed(cause) => of_flash(cause),
            error if error.is_not_modelled() => Exit::NotModelled,
            SimError::PartFailed(cause) => match &**cause {
                PartsError::Contents { source, .. } => of_flash_file(source),
                _ => Exit::BadInput,
            },
            SimError::Stopped { source, .. } => match &**source {
                SimError::FlashFailed(cause) => of_flash(cause),
                _ => Exit::Port,
            },
            _ => Exit::Port,
        };
        Failure { exit, message: error.to_string(), hint: error.hint() }
    }
}

/// Returns the exit code for a failure of a virtual board's flash.
fn of_flash(error: &NorError) -> Exit {
    match error {
        NorError::File { source, .. } => of_flash_file(source),
        _ => Exit::Port,
    }
}

/// Returns the exit code for an I/O error of a virtual board's flash file.
fn of_flash_file(error: &io::Error) -> Exit {
    match error {
        error if is_full(error) => Exit::Internal,
        error if is_invalid_file_name(error) => Exit::Usage,
        _ => Exit::Port,
    }
}

/// Returns whether the error means that there is no space left.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), FileTooLarge | QuotaExceeded | StorageFull)
}

impl From<FlashError> for Failure {
    fn from(error: FlashError) -> Failure {
        let exit = match error.class() {
            ErrorClass::Port => Exit::Port,
            ErrorClass::NoAnswer => Exit::NoAnswer,
            ErrorClass::StubFile => Exit::BadInput,
            ErrorClass::Unsupported => Exit::Usage,
            ErrorClass::WrongChip => Exit::WrongChip,
            ErrorClass::Security => Exit::Security,
            ErrorClass::Transfer => Exit::Transfer,
            ErrorClass::Verify => Exit::Verify,
            ErrorClass::Plan => Exit::PlanRefused,
            ErrorClass::Lost => Exit::PortLost,
            ErrorClass::Interrupted => Exit::Interrupted,
            ErrorClass::NotModelled => Exit::NotModelled,
        };
        Failure { exit, message: error.to_string(), hint: error.hint() }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Failure {
        let exit = match &error {
            ImageError::FlashFreq { .. }
            | ImageError::FlashSize { .. }
            | ImageError::SecurePad { .. }
            | ImageError::MmuPageSize { by_descriptor: false, .. } => Exit::Usage,
            // All other errors are the ELF's.
            _ => Exit::BadInput,
        };
        Failure { exit, message: error.to_string(), hint: error.hint() }
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Failure {
        Failure { exit: Exit::BadInput, message: error.to_string(), hint: error.hint() }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Failure {
        let exit = match &error {
            PlanError::WrongChip { .. } | PlanError::ImageForOtherChip { .. } => Exit::WrongChip,
            PlanError::Uf2Chunk { .. } => Exit::Usage,
            _ => Exit::PlanRefused,
        };
        Failure { exit, message: error.to_string(), hint: error.hint() }
    }
}

impl From<BootloaderError> for Failure {
    fn from(error: BootloaderError) -> Failure {
        Failure { exit: Exit::PlanRefused, message: error.to_string(), hint: error.hint() }
    }
}

impl From<MonitorError> for Failure {
    fn from(error: MonitorError) -> Failure {
        let hint = error.hint();
        let message = error.to_string();
        match error {
            MonitorError::Port(error) => error.into(),
            _ => Failure { exit: Exit::PortLost, message, hint },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_leave_the_firmwares_alone() {
        let numbers: Vec<u8> = Exit::ALL.iter().map(|exit| exit.number()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let others = Exit::ALL.iter().filter(|exit| !matches!(exit, Exit::Firmware(_)));
        assert!(others.map(|exit| exit.number()).all(|n| !Exit::FIRMWARE.contains(&n.into())));
    }

    /// Covers port errors that tests cannot provoke on every machine, such as a missing permission.
    #[test]
    fn each_fault_of_a_port_has_its_code() {
        let port = || "/dev/ttyUSB0".to_owned();
        let check = |error: PortError, exit: Exit, hint: Option<&str>| {
            let failure = Failure::from(error);
            assert_eq!(failure.exit, exit, "{failure}");
            match hint {
                Some(word) => assert!(failure.hint.unwrap_or_default().contains(word)),
                None => assert_eq!(failure.hint, None),
            }
        };
        check(PortError::NotFound { port: port() }, Exit::Port, Some("cable"));
        check(PortError::Busy { port: port() }, Exit::Port, Some("close"));
        check(PortError::Permission { port: port() }, Exit::Port, Some("group"));
        check(PortError::Gone { port: port() }, Exit::PortLost, Some("cable"));
        check(PortError::Interrupted, Exit::Interrupted, None);
        let source = std::io::Error::other("odd");
        check(PortError::Io { port: port(), source }, Exit::Port, None);
        let source = io::ErrorKind::StorageFull.into();
        check(PortError::Io { port: port(), source }, Exit::Internal, None);
    }
}
