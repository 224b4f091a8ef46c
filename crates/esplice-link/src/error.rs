//! Errors of reading an ELF.

/// Reason why an ELF can't be mapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The file is not an ELF, or it is broken.
    #[error("invalid ELF: {message}")]
    BadElf {
        /// Message of the ELF reader.
        message: String,
    },
    /// The ELF is for another processor.
    #[error("the ELF is for machine {found}, {chip} is machine {expected}")]
    OtherMachine {
        /// `e_machine` of the ELF.
        found: u16,
        /// `e_machine` of the chip.
        expected: u16,
        /// The chip.
        chip: String,
    },
}

impl LinkError {
    /// Returns a hint on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            LinkError::BadElf { .. } => None,
            LinkError::OtherMachine { .. } => {
                Some("pass the chip that it was built for with --target".into())
            }
        }
    }
}
