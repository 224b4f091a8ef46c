//! What ends a watch before it is settled.

use esplice_protocol::PortError;

/// Why a watch could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The port failed or was lost before a byte came, or the user stopped the watch.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The port went away in the middle.
    #[error("port {port} is gone after {seen} bytes")]
    Lost {
        /// The port's name.
        port: String,
        /// Bytes read until then.
        seen: u64,
    },
}

impl MonitorError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            MonitorError::Port(error) => error.hint(),
            MonitorError::Lost { .. } => Some(
                "a board whose USB port is its own chip drops it when it resets or crashes; \
                 else check the cable"
                    .into(),
            ),
        }
    }
}
