//! `tcp://host:port`, or `socket://host:port` as in pyserial and esptool: a serial line as raw
//! bytes. The connection carries neither baud rate nor DTR and RTS.

use std::sync::{Arc, atomic::AtomicBool};

use esplice_protocol::{Caps, Moment, Port, PortError};

use crate::socket::Socket;

/// Prefixes of the names of these ports; the second is pyserial's.
pub const TCP_SCHEMES: [&str; 2] = ["tcp://", "socket://"];

/// A serial line over a bare TCP connection.
pub struct TcpPort {
    socket: Socket,
}

/// Opens a port whose name begins with one of [`TCP_SCHEMES`]. Once `interrupt` is set, every call
/// that waits returns [`PortError::Interrupted`] within 50 ms.
///
/// # Errors
/// [`PortError::Name`], [`PortError::Host`], [`PortError::Unreachable`], otherwise
/// [`PortError::Io`].
pub fn open_tcp(name: &str, interrupt: Arc<AtomicBool>) -> Result<TcpPort, PortError> {
    let scheme = TCP_SCHEMES.into_iter().find(|scheme| name.starts_with(scheme));
    let scheme = scheme.unwrap_or(TCP_SCHEMES[0]);
    Ok(TcpPort { socket: Socket::open(name, scheme, interrupt)? })
}

impl Port for TcpPort {
    fn name(&self) -> &str {
        self.socket.name()
    }

    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        self.socket.read(buf, deadline)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        self.socket.write(bytes)
    }

    /// Does nothing: TCP does not report when the far end's line is idle.
    fn drain(&mut self) -> Result<(), PortError> {
        Ok(())
    }

    fn clear_input(&mut self) -> Result<(), PortError> {
        self.socket.clear(&mut |_| {})
    }

    fn set_baud(&mut self, _baud: u32) -> Result<(), PortError> {
        Ok(())
    }

    fn set_lines(&mut self, _dtr: bool, _rts: bool) -> Result<(), PortError> {
        Ok(())
    }

    fn now(&self) -> Moment {
        self.socket.now()
    }

    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        self.socket.wait_until(moment)
    }

    fn reopen(&mut self) -> Result<(), PortError> {
        self.socket.reconnect()
    }

    fn caps(&self) -> Caps {
        Caps { lines: false, baud: false, latency: self.socket.round_trip() }
    }
}
