use std::{io, net::SocketAddr};

/// Errors of the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GdbError {
    /// The address can't be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A thread can't be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl GdbError {
    /// Returns what the user can do about the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            GdbError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another debug server uses the port: end it, or choose another port".into())
            }
            GdbError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                Some("choose an address of this machine".into())
            }
            _ => None,
        }
    }
}
