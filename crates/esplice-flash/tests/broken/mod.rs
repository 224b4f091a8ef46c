//! A port that breaks one frame, for any board.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use esplice_protocol::{Caps, Moment, Opcode, Port, PortError, slip};

/// A fault of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The frame never arrives.
    Lost,
    /// A bit in its middle is wrong.
    Flipped,
    /// The frame arrives twice.
    Doubled,
    /// The second half is missing.
    Truncated,
    /// The frame arrives after the wait for it has ended, with the next request.
    Late,
    /// The board resets before the frame arrives, and boots from flash.
    Reset,
}

pub const FAULTS: [Fault; 6] =
    [Fault::Lost, Fault::Flipped, Fault::Doubled, Fault::Truncated, Fault::Late, Fault::Reset];

/// The direction of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToBoard,
    ToHost,
}

/// A port with faults, or without lines.
pub struct Broken<P> {
    inner: P,
    faults: Vec<(Way, usize, Fault)>,
    /// The first request of that opcode, and the moment at which it was sent.
    pub interrupts: Option<(Opcode, Arc<AtomicBool>)>,
    pub interrupted_at: Option<Moment>,
    /// True if DTR and RTS reach the board.
    pub lines: bool,
    /// A request at which the board resets each time.
    pub resets_at: Option<Opcode>,
    /// Every so many frames of this kind are lost or damaged in turn, in both directions.
    pub spoil: Option<(Opcode, usize)>,
    spoiled: usize,
    /// Frames so far, in each direction.
    pub frames: [usize; 2],
    /// The same, at the time when a program was first loaded into RAM.
    pub before_upload: Option<[usize; 2]>,
    decoder: slip::Decoder,
    /// Received but not read yet.
    ready: VecDeque<u8>,
    late_to_board: Vec<u8>,
    late_to_host: Vec<u8>,
}

impl<P: Port> Broken<P> {
    fn spoil(&mut self, opcode: Option<&u8>) -> Option<Fault> {
        let (spoilt, every) = self.spoil?;
        if opcode != Some(&(spoilt as u8)) {
            return None;
        }
        self.spoiled += 1;
        let even = (self.spoiled / every).is_multiple_of(2);
        let fault = if even { Fault::Lost } else { Fault::Flipped };
        self.spoiled.is_multiple_of(every).then_some(fault)
    }

    /// Wraps `inner` and breaks the frames of these directions and numbers, from 0.
    pub fn new(inner: P, faults: &[(Way, usize, Fault)]) -> Broken<P> {
        Broken {
            inner,
            faults: faults.to_vec(),
            lines: true,
            resets_at: None,
            spoil: None,
            spoiled: 0,
            interrupts: None,
            interrupted_at: None,
            frames: [0, 0],
            before_upload: None,
            decoder: slip::Decoder::new(0x5000),
            ready: VecDeque::new(),
            late_to_board: Vec::new(),
            late_to_host: Vec::new(),
        }
    }

    fn fault_of(&mut self, way: Way) -> Option<Fault> {
        let number = self.frames[way as usize];
        self.frames[way as usize] += 1;
        let due = self.faults.iter().find(|(w, n, _)| (*w, *n) == (way, number));
        due.map(|(_, _, fault)| *fault)
    }

    fn reset(&mut self) -> Result<(), PortError> {
        self.inner.set_lines(false, true)?;
        let until = self.inner.now() + Duration::from_millis(20);
        self.inner.wait_until(until)?;
        self.inner.set_lines(false, false)
    }

    /// Returns the frame as the fault leaves it. A late frame is stored in `late`.
    fn damage(
        &mut self,
        fault: Option<Fault>,
        frame: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), PortError> {
        let mut bytes = frame.to_vec();
        let mut late = Vec::new();
        let middle = bytes.len() / 2;
        match fault {
            None => {}
            Some(Fault::Lost) => bytes.clear(),
            Some(Fault::Flipped) => bytes[middle] ^= 0x10,
            Some(Fault::Doubled) => bytes.extend_from_slice(frame),
            Some(Fault::Truncated) => bytes.truncate(middle),
            Some(Fault::Late) => late = std::mem::take(&mut bytes),
            Some(Fault::Reset) => {
                self.reset()?;
                bytes.clear();
            }
        }
        Ok((bytes, late))
    }
}

impl<P: Port> Port for Broken<P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        while self.ready.is_empty() {
            let mut byte = [0];
            if self.inner.read(&mut byte, deadline)? == 0 {
                return Ok(0);
            }
            match self.decoder.push(byte[0]) {
                slip::Decoded::Frame(frame) => {
                    let fault = self.fault_of(Way::ToHost).or(self.spoil(frame.get(1)));
                    let (bytes, late) = self.damage(fault, &slip::encode(&frame))?;
                    self.ready.extend(bytes);
                    self.late_to_host = late;
                }
                slip::Decoded::Stray(byte) => self.ready.push_back(byte),
                slip::Decoded::More | slip::Decoded::Broken(_) => {}
            }
        }
        let count = buf.len().min(self.ready.len());
        for (to, from) in buf.iter_mut().zip(self.ready.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        let late = std::mem::take(&mut self.late_to_board);
        self.inner.write(&late)?;
        if bytes.get(2) == Some(&(Opcode::MemBegin as u8)) {
            self.before_upload.get_or_insert(self.frames);
        }
        // A lone END is not a frame.
        let mut fault = if bytes.len() > 1 { self.fault_of(Way::ToBoard) } else { None };
        if self.resets_at.is_some_and(|opcode| bytes.get(2) == Some(&(opcode as u8))) {
            fault = Some(Fault::Reset);
        }
        fault = fault.or(self.spoil(bytes.get(2)));
        let opcode = bytes.get(2).copied();
        let (bytes, late) = self.damage(fault, bytes)?;
        self.late_to_board = late;
        self.inner.write(&bytes)?;
        if let Some((at, flag)) = &self.interrupts
            && opcode == Some(*at as u8)
        {
            flag.store(true, Ordering::Relaxed);
            let now = self.inner.now();
            self.interrupted_at.get_or_insert(now);
        }
        let late = std::mem::take(&mut self.late_to_host);
        self.ready.extend(late);
        Ok(())
    }

    fn drain(&mut self) -> Result<(), PortError> {
        self.inner.drain()
    }

    fn clear_input(&mut self) -> Result<(), PortError> {
        self.ready.clear();
        self.decoder.reset();
        self.inner.clear_input()
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), PortError> {
        self.inner.set_baud(baud)
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), PortError> {
        self.inner.set_lines(dtr, rts)
    }

    fn now(&self) -> Moment {
        self.inner.now()
    }

    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        self.inner.wait_until(moment)
    }

    fn reopen(&mut self) -> Result<(), PortError> {
        self.inner.reopen()
    }

    fn caps(&self) -> Caps {
        let caps = self.inner.caps();
        Caps { lines: caps.lines && self.lines, ..caps }
    }
}
