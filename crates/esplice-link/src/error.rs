//! Why an ELF cannot be looked into.

/// Why there is no map of an ELF.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not an ELF, or a broken one.
    #[error("not a sound ELF: {message}")]
    BadElf {
        /// What the reader says.
        message: String,
    },
    /// An ELF for another processor.
    #[error("the ELF is for machine {found}, {chip} is machine {expected}")]
    OtherMachine {
        /// `e_machine` of the ELF.
        found: u16,
        /// That of the chip.
        expected: u16,
        /// The chip.
        chip: String,
    },
}

impl LinkError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            LinkError::BadElf { .. } => None,
            LinkError::OtherMachine { .. } => {
                Some("give the chip that it was built for with --target".into())
            }
        }
    }
}
