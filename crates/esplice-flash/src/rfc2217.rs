//! `rfc2217://host:port`: a serial port of another machine, with baud rate, DTR and RTS.
//!
//! Opening takes one round trip. After that nothing waits for the far end: settings are sent in the
//! stream, take effect in order, and their confirmations are checked as they arrive. The reply to a
//! purge marks its place in the stream, which shows which input was in flight when the input was
//! cleared.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use esplice_protocol::{
    Caps, Moment, Port, PortError,
    rfc2217::{
        BINARY, COM_PORT_OPTION, ComPort, Decoder, Item, SUPPRESS_GO_AHEAD, Side, Verb, control,
        encode, escape, purge,
    },
};

use crate::socket::Socket;

/// Prefix of the names of these ports.
pub const RFC2217_SCHEME: &str = "rfc2217://";

/// Time for the far end to agree to RFC 2217, in addition to the connection's round trip.
const AGREE: Duration = Duration::from_secs(3);

/// Time after which the reply to a purge is no longer expected, in addition to the latency.
const PURGED: Duration = Duration::from_secs(1);

/// Maximum number of line bytes kept while waiting for something else.
const INBOX_LIMIT: usize = 1 << 20;

/// Maximum time the far end may suspend output (RFC 2217, section 3, FLOWCONTROL-SUSPEND).
const SUSPENDED: Duration = Duration::from_secs(10);

/// 8 data bits, no parity, 1 stop bit (RFC 2217, section 3, SET-DATASIZE, SET-PARITY,
/// SET-STOPSIZE), the format of all ROM loaders.
const FORMAT: [ComPort; 3] = [ComPort::DataSize(8), ComPort::Parity(1), ComPort::StopSize(1)];

/// A serial port over RFC 2217.
pub struct Rfc2217Port {
    socket: Socket,
    latency: Duration,
    decoder: Decoder,
    /// Line bytes that were received but not yet read.
    inbox: VecDeque<u8>,
    baud: u32,
    /// Number of baud rate settings that the far end has not confirmed yet.
    bauds_open: u32,
    /// The rate that the far end set instead of the requested one.
    other_baud: Option<u32>,
    lines: Option<(bool, bool)>,
    /// Number of purges sent and answered. Until they are equal, input precedes the last purge.
    purges: (u32, u32),
    purge_deadline: Moment,
    /// True if the far end leaves purges unanswered.
    purges_unanswered: bool,
    suspended: bool,
    agreed: Option<bool>,
    /// Option commands that this end has sent.
    answered: Vec<(Verb, u8)>,
}

/// Opens `rfc2217://host:port` and sets it to `baud`. Once `interrupt` is set, every call that
/// waits returns [`PortError::Interrupted`] within 50 ms.
///
/// # Errors
/// [`PortError::Name`], [`PortError::Host`], [`PortError::Unreachable`], [`PortError::NotRfc2217`]
/// if the far end speaks another protocol, [`PortError::Gone`] if it hangs up, otherwise
/// [`PortError::Io`].
pub fn open_rfc2217(
    name: &str,
    baud: u32,
    interrupt: Arc<AtomicBool>,
) -> Result<Rfc2217Port, PortError> {
    let socket = Socket::open(name, RFC2217_SCHEME, interrupt)?;
    let mut port = Rfc2217Port {
        latency: socket.round_trip(),
        socket,
        decoder: Decoder::new(Side::Server),
        inbox: VecDeque::new(),
        baud,
        bauds_open: 0,
        other_baud: None,
        lines: None,
        purges: (0, 0),
        purge_deadline: Moment::START,
        purges_unanswered: false,
        suspended: false,
        agreed: None,
        answered: Vec::new(),
    };
    port.negotiate()?;
    Ok(port)
}

impl Rfc2217Port {
    /// Holds the line in break for `time`.
    ///
    /// # Errors
    /// Port errors.
    pub fn send_break(&mut self, time: Duration) -> Result<(), PortError> {
        self.send(&[Item::ComPort(ComPort::Control(control::BREAK_ON))])?;
        let until = self.now() + time;
        self.socket.wait_until(until)?;
        self.send(&[Item::ComPort(ComPort::Control(control::BREAK_OFF))])
    }

    /// Negotiates the option that makes the connection a serial port, and sends the settings.
    fn negotiate(&mut self) -> Result<(), PortError> {
        // Not "do": an echo of that would look like an agreement.
        let wishes = [
            (Verb::Will, COM_PORT_OPTION),
            (Verb::Will, BINARY),
            (Verb::Do, BINARY),
            (Verb::Will, SUPPRESS_GO_AHEAD),
            (Verb::Do, SUPPRESS_GO_AHEAD),
        ];
        self.answered = wishes.to_vec();
        self.send(&wishes.map(|(verb, option)| Item::Option(verb, option)))?;
        let begun = self.now();
        let deadline = begun + self.latency + AGREE;
        while self.agreed.is_none() {
            if self.now() >= deadline {
                break;
            }
            match self.pump(deadline) {
                Err(PortError::Gone { .. }) if !self.inbox.is_empty() => break,
                other => other?,
            }
        }
        if self.agreed != Some(true) {
            let (port, refused) = (self.name().to_owned(), self.agreed.is_some());
            return Err(PortError::NotRfc2217 { port, refused, heard: self.inbox.len() });
        }
        self.latency = self.latency.max(self.now().since(begun));
        let mut settings: Vec<Item> = FORMAT.into_iter().map(Item::ComPort).collect();
        for command in [
            ComPort::Control(control::NO_FLOW),
            ComPort::LineStateMask(0),
            ComPort::ModemStateMask(0),
        ] {
            settings.push(Item::ComPort(command));
        }
        self.send(&settings)?;
        self.tell_baud()?;
        self.purge(purge::BOTH)
    }

    fn tell_baud(&mut self) -> Result<(), PortError> {
        self.bauds_open += 1;
        self.other_baud = None;
        self.send(&[Item::ComPort(ComPort::Baud(self.baud))])
    }

    fn purge(&mut self, what: u8) -> Result<(), PortError> {
        if !self.is_stale() {
            self.purge_deadline = self.now() + self.latency * 2 + PURGED;
        }
        self.purges.0 = self.purges.0.wrapping_add(1);
        self.send(&[Item::ComPort(ComPort::Purge(what))])
    }

    /// Returns whether current input precedes the last purge.
    fn is_stale(&mut self) -> bool {
        let open = self.purges.0 != self.purges.1 && !self.purges_unanswered;
        if open && self.now() >= self.purge_deadline {
            self.purges_unanswered = true;
        }
        open && !self.purges_unanswered
    }

    fn send(&mut self, items: &[Item]) -> Result<(), PortError> {
        let mut wire = Vec::new();
        items.iter().for_each(|item| encode(item, Side::Client, &mut wire));
        self.socket.write(&wire)
    }

    /// Processes input from the far end, waiting for it until `deadline` at most.
    fn pump(&mut self, deadline: Moment) -> Result<(), PortError> {
        let mut piece = [0; 4096];
        let count = self.socket.read(&mut piece, deadline)?;
        self.take(piece.get(..count).unwrap_or_default())
    }

    /// Processes bytes of the connection: keeps line bytes and executes commands.
    fn take(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        let mut items = Vec::new();
        self.decoder.feed(bytes, &mut |item| items.push(item));
        let mut answers = Vec::new();
        for item in items {
            match item {
                Item::Byte(_) if self.inbox.len() >= INBOX_LIMIT || self.is_stale() => {}
                Item::Byte(byte) => self.inbox.push_back(byte),
                Item::Option(verb, option) => answers.extend(self.option(verb, option)),
                Item::ComPort(ComPort::Purge(_)) => {
                    self.purges.1 = self.purges.1.wrapping_add(1);
                    self.purges_unanswered = false;
                    self.purge_deadline = self.now() + self.latency * 2 + PURGED;
                }
                Item::ComPort(ComPort::Baud(baud)) => {
                    self.bauds_open = self.bauds_open.saturating_sub(1);
                    // If several are open, only the reply to the last one counts.
                    self.other_baud = (self.bauds_open == 0 && baud != self.baud).then_some(baud);
                }
                Item::ComPort(ComPort::Suspend) => self.suspended = true,
                Item::ComPort(ComPort::Resume) => self.suspended = false,
                Item::ComPort(_) => {}
            }
        }
        if answers.is_empty() { Ok(()) } else { self.send(&answers) }
    }

    /// Returns the answer to an option command, or none if this end has already said the same
    /// (RFC 854, "to prevent loops").
    fn option(&mut self, verb: Verb, option: u8) -> Option<Item> {
        if option == COM_PORT_OPTION {
            match verb {
                Verb::Do => self.agreed = Some(true),
                Verb::Dont => self.agreed = Some(false),
                // Offers of the far end change nothing: only its answer to this end's offer counts.
                Verb::Will | Verb::Wont => return None,
            }
        }
        let known = [BINARY, SUPPRESS_GO_AHEAD, COM_PORT_OPTION].contains(&option);
        let answer = match verb {
            Verb::Will if known => Verb::Do,
            Verb::Will | Verb::Wont => Verb::Dont,
            Verb::Do if known => Verb::Will,
            Verb::Do | Verb::Dont => Verb::Wont,
        };
        if self.answered.contains(&(answer, option)) {
            return None;
        }
        let opposite = match answer {
            Verb::Do => Verb::Dont,
            Verb::Dont => Verb::Do,
            Verb::Will => Verb::Wont,
            Verb::Wont => Verb::Will,
        };
        self.answered.retain(|said| *said != (opposite, option));
        self.answered.push((answer, option));
        Some(Item::Option(answer, option))
    }

    /// Waits while the far end has suspended output.
    fn wait_for_room(&mut self) -> Result<(), PortError> {
        let deadline = self.now() + SUSPENDED;
        while self.suspended {
            if self.now() >= deadline {
                let source = io::Error::new(io::ErrorKind::TimedOut, "the far end takes no bytes");
                return Err(PortError::Io { port: self.name().to_owned(), source });
            }
            self.pump(deadline)?;
        }
        Ok(())
    }

    /// Reports once that the far end does not support the requested rate.
    fn check_baud(&mut self) -> Result<(), PortError> {
        let Some(other) = self.other_baud.take() else { return Ok(()) };
        let message = format!("the far end has no {} baud, it set {other}", self.baud);
        let source = io::Error::new(io::ErrorKind::Unsupported, message);
        Err(PortError::Io { port: self.name().to_owned(), source })
    }
}

impl Port for Rfc2217Port {
    fn name(&self) -> &str {
        self.socket.name()
    }

    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        loop {
            if self.inbox.is_empty() {
                self.pump(deadline)?;
                self.check_baud()?;
            }
            let count = self.inbox.len().min(buf.len());
            for (place, byte) in buf.iter_mut().zip(self.inbox.drain(..count)) {
                *place = byte;
            }
            if count > 0 || buf.is_empty() || self.now() >= deadline {
                return Ok(count);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        self.wait_for_room()?;
        let mut wire = Vec::with_capacity(bytes.len() + bytes.len() / 64);
        escape(bytes, &mut wire);
        self.socket.write(&wire)
    }

    /// Does nothing: RFC 2217 does not report when the far end's line is idle. Later settings take
    /// effect after the bytes written, since both are in one stream.
    fn drain(&mut self) -> Result<(), PortError> {
        Ok(())
    }

    fn clear_input(&mut self) -> Result<(), PortError> {
        self.inbox.clear();
        let mut came = Vec::new();
        // Commands among the bytes still count.
        self.socket.clear(&mut |bytes| came.extend_from_slice(bytes))?;
        self.take(&came)?;
        self.inbox.clear();
        self.purge(purge::RECEIVED)
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), PortError> {
        if baud == self.baud && self.other_baud.is_none() {
            return Ok(());
        }
        self.baud = baud;
        self.tell_baud()
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), PortError> {
        let dtr_line = if dtr { control::DTR_ON } else { control::DTR_OFF };
        let rts_line = if rts { control::RTS_ON } else { control::RTS_OFF };
        let before = self.lines;
        // All in one packet, and in the same order as on a serial port.
        let mut changes = Vec::new();
        if before.is_none_or(|(_, before)| before != rts) {
            changes.push(Item::ComPort(ComPort::Control(rts_line)));
        }
        if before.is_none_or(|(before, _)| before != dtr) {
            changes.push(Item::ComPort(ComPort::Control(dtr_line)));
        }
        if dtr {
            changes.reverse();
        }
        self.lines = Some((dtr, rts));
        self.send(&changes)
    }

    fn now(&self) -> Moment {
        self.socket.now()
    }

    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        self.socket.wait_until(moment)
    }

    fn reopen(&mut self) -> Result<(), PortError> {
        self.socket.reconnect()?;
        self.decoder = Decoder::new(Side::Server);
        self.inbox.clear();
        (self.bauds_open, self.other_baud, self.lines) = (0, None, None);
        (self.purges, self.purges_unanswered, self.suspended) = ((0, 0), false, false);
        self.agreed = None;
        self.negotiate()
    }

    fn caps(&self) -> Caps {
        Caps { lines: true, baud: true, latency: self.latency }
    }
}
