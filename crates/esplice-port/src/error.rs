//! Errors of opening a port.

use esplice_protocol::PortError;
use esplice_sim::{SimError, spec::SpecError};

/// Reason why a port can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The port does not exist, is in use, may not be opened, or does not answer.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The name describes no virtual board.
    #[error("port {port:?}: {source}")]
    Spec {
        /// The name of the port.
        port: String,
        /// The reason.
        source: SpecError,
    },
    /// A file that the name of a virtual board names is invalid.
    #[error(transparent)]
    Sim(#[from] SimError),
}

impl OpenError {
    /// Returns a hint about how to fix the problem, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            OpenError::Port(error) => error.hint(),
            OpenError::Spec { source, .. } => source.hint(),
            OpenError::Sim(error) => error.hint(),
        }
    }
}
