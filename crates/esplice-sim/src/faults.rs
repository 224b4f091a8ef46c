//! A port with scripted faults, for tests of code that communicates over a port.

use std::collections::VecDeque;

use esplice_protocol::{Caps, Moment, Port, PortError};

/// A fault that happens once. Bytes are counted from 0 since the port was created, separately for
/// each direction; `tx` is towards the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A byte towards the board is lost.
    DropTx(u64),
    /// A byte from the board is lost.
    DropRx(u64),
    /// A bit (0–7) of a byte towards the board is flipped.
    FlipTx(u64, u8),
    /// A bit (0–7) of a byte from the board is flipped.
    FlipRx(u64, u8),
    /// A byte from the board is received twice.
    DoubleRx(u64),
    /// These bytes are received before the board's first byte after a write.
    NoiseBeforeReply(Vec<u8>),
    /// Nothing more is received after this many bytes from the board.
    SilentAfterRx(u64),
    /// The port disappears after this many bytes towards the board, until it is reopened.
    GoneAfterTx(u64),
    /// The port disappears after this many bytes from the board, until it is reopened.
    GoneAfterRx(u64),
}

/// A [`Port`] that injects faults.
#[derive(Debug)]
pub struct FaultyPort<P> {
    inner: P,
    faults: Vec<Fault>,
    sent: u64,
    received: u64,
    /// Bytes received but not read yet, with faults applied.
    ready: VecDeque<u8>,
    gone: bool,
    silent: bool,
    log: Vec<String>,
}

impl<P: Port> FaultyPort<P> {
    /// Wraps `inner` with `faults`, each of which is injected when it is due.
    pub fn new(inner: P, faults: impl IntoIterator<Item = Fault>) -> FaultyPort<P> {
        FaultyPort {
            inner,
            faults: faults.into_iter().collect(),
            sent: 0,
            received: 0,
            ready: VecDeque::new(),
            gone: false,
            silent: false,
            log: Vec::new(),
        }
    }

    /// Returns descriptions of the faults that have happened, in order.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    /// Returns the faults that have not happened yet.
    pub fn waiting(&self) -> &[Fault] {
        &self.faults
    }

    /// Returns the number of bytes so far, towards the board and from it.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// Returns the wrapped port.
    pub fn into_inner(self) -> P {
        self.inner
    }

    /// Removes, logs and returns the faults for which `due` is true.
    fn take(&mut self, due: impl Fn(&Fault) -> bool) -> Vec<Fault> {
        let taken: Vec<Fault> = self.faults.extract_if(.., |fault| due(fault)).collect();
        for fault in &taken {
            let (sent, received) = (self.sent, self.received);
            self.log.push(format!("{fault:?} at {sent} bytes sent, {received} received"));
        }
        taken
    }

    fn check(&mut self) -> Result<(), PortError> {
        let (sent, received) = (self.sent, self.received);
        let gone = |fault: &Fault| match fault {
            Fault::GoneAfterTx(after) => *after <= sent,
            Fault::GoneAfterRx(after) => *after <= received,
            _ => false,
        };
        self.gone |= !self.take(gone).is_empty();
        let silent = |fault: &Fault| matches!(fault, Fault::SilentAfterRx(n) if *n <= received);
        self.silent |= !self.take(silent).is_empty();
        if self.gone { Err(PortError::Gone { port: self.inner.name().into() }) } else { Ok(()) }
    }

    fn receive(&mut self, byte: u8) -> Result<(), PortError> {
        self.check()?;
        if self.silent {
            return Ok(());
        }
        if self.sent > 0 {
            for fault in self.take(|fault| matches!(fault, Fault::NoiseBeforeReply(_))) {
                if let Fault::NoiseBeforeReply(noise) = fault {
                    self.ready.extend(noise);
                }
            }
        }
        let at = self.received;
        let hits = self.take(|fault| match fault {
            Fault::DropRx(n) | Fault::FlipRx(n, _) | Fault::DoubleRx(n) => *n == at,
            _ => false,
        });
        self.received += 1;
        let (mut byte, mut times) = (byte, 1);
        for fault in hits {
            match fault {
                Fault::DropRx(_) => times = 0,
                Fault::DoubleRx(_) => times *= 2,
                Fault::FlipRx(_, bit) => byte ^= 1 << (bit & 7),
                _ => {}
            }
        }
        self.ready.extend(std::iter::repeat_n(byte, times));
        Ok(())
    }

    fn deliver(&mut self, buf: &mut [u8]) -> usize {
        let len = buf.len().min(self.ready.len());
        for (place, byte) in buf.iter_mut().zip(self.ready.drain(..len)) {
            *place = byte;
        }
        len
    }
}

impl<P: Port> Port for FaultyPort<P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        loop {
            let handed = self.deliver(buf);
            if handed > 0 || buf.is_empty() {
                return Ok(handed);
            }
            self.check()?;
            let mut bytes = vec![0; buf.len()];
            let len = self.inner.read(&mut bytes, deadline)?;
            if len == 0 {
                return Ok(0);
            }
            for byte in bytes.into_iter().take(len) {
                if let Err(error) = self.receive(byte) {
                    // Bytes received before the error are still delivered.
                    return if self.ready.is_empty() { Err(error) } else { Ok(self.deliver(buf)) };
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        let mut through = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if let Err(error) = self.check() {
                self.inner.write(&through)?;
                return Err(error);
            }
            let at = self.sent;
            let hits = self.take(|fault| match fault {
                Fault::DropTx(n) | Fault::FlipTx(n, _) => *n == at,
                _ => false,
            });
            self.sent += 1;
            let flipped = hits.iter().fold(*byte, |byte, fault| match fault {
                Fault::FlipTx(_, bit) => byte ^ (1 << (bit & 7)),
                _ => byte,
            });
            if !hits.iter().any(|fault| matches!(fault, Fault::DropTx(_))) {
                through.push(flipped);
            }
        }
        self.inner.write(&through)
    }

    fn drain(&mut self) -> Result<(), PortError> {
        self.check()?;
        self.inner.drain()
    }

    fn clear_input(&mut self) -> Result<(), PortError> {
        self.check()?;
        self.ready.clear();
        self.inner.clear_input()
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), PortError> {
        self.check()?;
        self.inner.set_baud(baud)
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), PortError> {
        self.check()?;
        self.inner.set_lines(dtr, rts)
    }

    fn now(&self) -> Moment {
        self.inner.now()
    }

    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        self.check()?;
        self.inner.wait_until(moment)
    }

    fn reopen(&mut self) -> Result<(), PortError> {
        self.gone = false;
        self.inner.reopen()
    }

    fn caps(&self) -> Caps {
        self.inner.caps()
    }
}
