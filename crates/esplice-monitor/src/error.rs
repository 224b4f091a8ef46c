//! Errors that end a watch early.

use esplice_protocol::PortError;

/// An error that ends a watch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The port failed or was lost before the first byte, or the user stopped the watch.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The port disappeared during the watch.
    #[error("port {port} is gone after {seen} bytes")]
    Lost {
        /// The port's name.
        port: String,
        /// Number of bytes read until then.
        seen: u64,
    },
}

impl MonitorError {
    /// Returns a hint about how to fix the problem, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            MonitorError::Port(error) => error.hint(),
            MonitorError::Lost { .. } => Some(
                "a board with native USB loses its port when it resets or crashes; \
                 otherwise check the cable"
                    .into(),
            ),
        }
    }
}
