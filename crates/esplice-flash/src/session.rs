//! The conversation with a loader: one request, one reply.

use std::{collections::VecDeque, ops::Range, sync::Arc, time::Duration};

use esplice_chip::{Addr, Chip, ChipDb, FlashOffset};
use esplice_protocol::{Moment, Opcode, Port, Reply, Request, SecurityInfo, slip};

use crate::{
    FlashError, FlashEvent, Statistics, Stub,
    banner::Banner,
    deflate::Prepared,
    event::StageState,
    loader::{Loader, ROM_BAUD, STUB_STATUS_LEN},
};

/// Longest frame accepted. The longest reply is that of READ_FLASH_SLOW with 76 bytes, and the
/// longest frame is a compressed piece of flash of esplice's own stub, or its hashes of 1,024 sectors. The limit bounds how much noise can pass for the
/// inside of a frame before it is discarded.
const FRAME_LIMIT: usize = 0x2400;

/// Time allowed for a command that only touches registers. The ROM answers within a millisecond;
/// the rest is for slow USB bridges.
pub(crate) const SHORT: Duration = Duration::from_millis(500);

/// Time to wait for the reply to a SYNC, in addition to the time on wire and port.
const SYNC_WAIT: Duration = Duration::from_millis(50);

/// Time after which no further reply to a SYNC is expected.
const SYNC_QUIET: Duration = Duration::from_millis(20);

/// Number of SYNCs before giving up on a loader that answered before. The first may be swallowed
/// as the rest of a torn frame.
const RESYNCS: u32 = 12;

/// Bytes of an MD5 as ROM loaders send it: hexadecimal digits.
const MD5_DIGITS: usize = 32;

/// Maximum number of reads, or of frames that are not replies, accepted after a deadline.
const MAX_LATE_READS: u32 = 64;

/// Maximum number of reads of input to discard.
pub(crate) const MOST_DISCARDS: u32 = 1 << 16;

/// Maximum number of bytes read from the port at once, unless less is requested.
const GULP: usize = 1024;

/// Number of attempts for a command without side effects.
const MAX_ATTEMPTS: u32 = 3;

/// Number of further readings in which two in a row must agree.
const READINGS: u32 = 4;

/// A conversation with a loader over a port. The session borrows the port, so the caller can
/// continue with it afterwards.
pub struct Session<'p, P: Port + ?Sized> {
    pub(crate) port: &'p mut P,
    events: &'p mut dyn FnMut(FlashEvent),
    decoder: slip::Decoder,
    inbox: VecDeque<u8>,
    pub(crate) banner: Banner,
    pub(crate) baud: u32,
    loader: Loader,
    /// The chips to identify.
    pub(crate) chips: ChipDb,
    /// Properties of esplice's own stub, while it runs.
    pub(crate) own: Option<crate::own::Own>,
    /// The chip, once it is known; its data describes the loaders.
    chip: Option<Arc<Chip>>,
    /// The stub in use, to be uploaded again after a reset.
    pub(crate) stub: Option<Stub>,
    /// The reset strategy after which the loader answered.
    pub(crate) reset_by: Option<&'static str>,
    /// True if a stub may replace the ROM loader before anything is written.
    pub(crate) stub_available: bool,
    /// The app partitions of the device as they will be.
    pub(crate) apps: Vec<Range<u32>>,
    /// Streams compressed ahead of time.
    pub(crate) prepared: Prepared,
    /// The shortest time seen from a request to its reply.
    shortest_reply: Option<Duration>,
    /// Bytes that the device has hashed, and the time it took.
    hashed: (u32, Duration),
    first_baud: u32,
    /// Time that the loader may still need for work that it has acknowledged.
    extra_timeout: Duration,
    efuse_words: Vec<(Addr, u32)>,
    /// The security info that identified the chip, until a second reading has confirmed it; none
    /// where the loader does not know the command.
    pub(crate) unconfirmed: Option<Option<SecurityInfo>>,
    /// Flash that was read ahead; each entry serves one read.
    pub(crate) ahead: Vec<(FlashOffset, Vec<u8>)>,
    /// USER, USER1 and USER2 of the SPI controller while it is idle, once they were read under
    /// this loader.
    pub(crate) spi_at_rest: Option<(u32, u32, u32)>,
    /// Maximum number of bytes read from the port at once.
    max_read: usize,
    last_opcode: Option<u8>,
    statistics: Statistics,
    started: Moment,
}

/// A successful reply without its status.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The value; only READ_REG sets it.
    pub value: u32,
    /// The data that precedes the status.
    pub data: Vec<u8>,
}

impl<'p, P: Port + ?Sized> Session<'p, P> {
    /// Starts a conversation over `port` that reports to `events`. Nothing is sent yet. The
    /// chip is identified among `chips`. The data of `chip` decides how its ROM loader is addressed; without a chip, the traits that all known
    /// ROMs share are used.
    pub fn new(
        port: &'p mut P,
        chips: &ChipDb,
        chip: Option<&Arc<Chip>>,
        events: &'p mut dyn FnMut(FlashEvent),
    ) -> Session<'p, P> {
        let started = port.now();
        let first_baud = chip.map_or(ROM_BAUD, |chip| chip.loader.initial_baud);
        Session {
            port,
            events,
            decoder: fresh_decoder(),
            inbox: VecDeque::new(),
            banner: Banner::default(),
            baud: first_baud,
            first_baud,
            efuse_words: Vec::new(),
            unconfirmed: None,
            ahead: Vec::new(),
            spi_at_rest: None,
            max_read: GULP,
            loader: Loader::rom(chip.map(|chip| &**chip)),
            own: None,
            chips: chips.clone(),
            chip: chip.cloned(),
            stub: None,
            reset_by: None,
            stub_available: false,
            apps: Vec::new(),
            prepared: Prepared::default(),
            shortest_reply: None,
            hashed: (0, Duration::ZERO),
            extra_timeout: Duration::ZERO,
            last_opcode: None,
            statistics: Statistics::default(),
            started,
        }
    }

    /// Takes over the loader traits of `chip`, once it is known.
    pub(crate) fn adopt(&mut self, chip: &Arc<Chip>) {
        self.first_baud = chip.loader.initial_baud;
        self.chip = Some(chip.clone());
        self.set_loader(self.loader.is_stub());
    }

    fn set_loader(&mut self, is_stub: bool) {
        self.spi_at_rest = None;
        if !is_stub {
            self.own = None;
        }
        let chip = self.chip.as_deref();
        self.loader = if is_stub { Loader::stub(chip) } else { Loader::rom(chip) };
    }

    /// Records that a stub has replaced the ROM loader.
    pub(crate) fn stub_runs(&mut self) {
        self.set_loader(true);
        self.own = None;
        self.last_opcode = None;
    }

    /// Returns the loader that answers, as far as it is known: a ROM loader until a SYNC or an
    /// upload shows that a stub runs.
    pub fn loader(&self) -> &Loader {
        &self.loader
    }

    /// Returns the shortest time seen for a command that does nothing.
    pub(crate) fn round_trip(&self) -> Duration {
        self.shortest_reply.unwrap_or_else(|| self.port.caps().latency * 2)
    }

    /// Records that hashing `bytes` took `time`, including the round trip.
    pub(crate) fn note_hash(&mut self, bytes: u32, time: Duration) {
        self.hashed.0 = self.hashed.0.saturating_add(bytes);
        self.hashed.1 += time.saturating_sub(self.round_trip());
    }

    /// Estimates the time that the device needs to hash `bytes`, from the hashes so far.
    pub(crate) fn hash_time(&self, bytes: u32) -> Option<Duration> {
        let (seen, time) = self.hashed;
        (seen > 0).then(|| time.mul_f64(f64::from(bytes) / f64::from(seen)))
    }

    /// Extends the timeout of the next command by `time`, for work that the loader does first.
    pub(crate) fn extend_timeout(&mut self, time: Duration) {
        self.extra_timeout = time;
    }

    /// Returns the port.
    pub fn port(&mut self) -> &mut P {
        self.port
    }

    /// Returns the baud rate of the link.
    pub fn baud(&self) -> u32 {
        self.baud
    }

    /// Returns the baud rate at which a loader starts.
    pub(crate) fn first_baud(&self) -> u32 {
        self.first_baud
    }

    /// Returns the transfer statistics so far.
    pub fn statistics(&self) -> Statistics {
        Statistics { time: self.port.now().since(self.started), ..self.statistics }
    }

    pub(crate) fn count_sectors(&mut self, total: u32, written: u32) {
        self.statistics.sectors_total += total;
        self.statistics.sectors_written += written;
    }

    /// Reports an event.
    pub(crate) fn report(&mut self, event: FlashEvent) {
        match &event {
            FlashEvent::Warning { message } => tracing::warn!("{message}"),
            // Not all of the chip's data.
            FlashEvent::Chip(info) => tracing::debug!(
                chip = info.chip.name,
                revision = ?info.revision,
                flash_size = ?info.flash_size,
                "chip"
            ),
            event => tracing::debug!(?event),
        }
        (self.events)(event);
    }

    pub(crate) fn stage(&mut self, name: &'static str, state: StageState) {
        self.report(FlashEvent::Stage { name, state });
    }

    pub(crate) fn warn(&mut self, message: String) {
        self.report(FlashEvent::Warning { message });
    }

    /// Sends a request and waits for its reply, for `timeout` in addition to the time on wire and
    /// port. Replies to other commands are skipped.
    ///
    /// # Errors
    /// [`FlashError::Timeout`], [`FlashError::Refused`], [`FlashError::Checksum`], and port errors.
    pub fn command(&mut self, request: &Request, timeout: Duration) -> Result<Answer, FlashError> {
        let command = request.opcode();
        let timeout = timeout + std::mem::take(&mut self.extra_timeout);
        // A duplicate reply must not answer the next command.
        self.discard_arrived()?;
        let began = self.port.now();
        let sent = self.send(request)?;
        let deadline = self.port.now() + self.wire_time(sent) + timeout;
        loop {
            let Some(reply) = self.receive(deadline)? else {
                tracing::debug!(opcode = ?command, after = ?timeout, "no reply");
                return Err(FlashError::Timeout { command, after: timeout });
            };
            let Some((data, status)) = reply.split_status(self.status_len(&reply)) else {
                continue;
            };
            let own = reply.opcode == command as u8;
            // A ROM that does not know an opcode echoes the opcode before it.
            let unknown =
                !status.is_ok() && data.is_empty() && self.last_opcode == Some(reply.opcode);
            if !own && !unknown {
                continue;
            }
            self.last_opcode = Some(command as u8);
            let took = self.port.now().since(began);
            tracing::trace!(
                at = self.port.now().since_start().as_secs_f64(),
                opcode = ?command,
                len = data.len(),
                ?status,
                ?took,
                "reply"
            );
            if status.is_ok() {
                self.shortest_reply =
                    Some(self.shortest_reply.map_or(took, |least| least.min(took)));
                return Ok(Answer { value: reply.value, data: data.to_vec() });
            }
            return Err(match request {
                Request::FlashData { sequence, .. }
                | Request::FlashDeflData { sequence, .. }
                | Request::MemData { sequence, .. }
                    if status.is_checksum() =>
                {
                    FlashError::Checksum { sequence: *sequence }
                }
                _ => FlashError::Refused {
                    command,
                    reason: status.reason_code(),
                    meaning: status.meaning(),
                },
            });
        }
    }

    /// Returns the number of status bytes in `reply`. That is the loader's number, or two where the
    /// data has the fixed length of its command and only two bytes follow, as in loaders that were
    /// written from the documentation.
    pub(crate) fn status_len(&self, reply: &Reply) -> usize {
        let data = match Opcode::from_byte(reply.opcode) {
            Some(Opcode::SpiFlashMd5) => MD5_DIGITS,
            Some(Opcode::GetSecurityInfo) => SecurityInfo::LONGEST,
            _ => return self.loader.status_len,
        };
        if reply.data.len() == data + STUB_STATUS_LEN {
            STUB_STATUS_LEN
        } else {
            self.loader.status_len
        }
    }

    /// Sends a command like [`Session::command`], but takes no byte after the reply from the port,
    /// for commands after which the board prints output of its program.
    pub(crate) fn last_command(
        &mut self,
        request: &Request,
        timeout: Duration,
    ) -> Result<Answer, FlashError> {
        self.max_read = 1;
        let result = self.command(request, timeout);
        self.max_read = GULP;
        result
    }

    /// Sends a command that is safe to repeat. After a failure the link is resynchronised and the
    /// command is sent again.
    pub(crate) fn command_with_retry(
        &mut self,
        request: &Request,
        timeout: Duration,
    ) -> Result<Answer, FlashError> {
        self.retry_resynced(|session| session.command(request, timeout))
    }

    /// Repeats `work`, which must be safe to repeat, until it succeeds, and resynchronises the link
    /// in between.
    pub(crate) fn retry_resynced<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, FlashError>,
    ) -> Result<T, FlashError> {
        let mut asked = 1;
        loop {
            match work(self) {
                Err(error) if error.is_transient() && asked < MAX_ATTEMPTS => {
                    asked += 1;
                    if !self.resync()? {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    /// Reads a register that does not change by itself, twice.
    ///
    /// # Errors
    /// [`FlashError::Unstable`] if the readings never agree, and the errors of commands.
    pub(crate) fn read_reg(&mut self, addr: u32) -> Result<u32, FlashError> {
        let values = self.read_regs(&[addr])?;
        values.first().copied().ok_or(FlashError::Unstable { command: Opcode::ReadReg })
    }

    /// Reads a value until two readings in a row agree. Replies carry no checksum, so a value that
    /// is printed, kept, or decides a refusal never comes from a single reading.
    ///
    /// # Errors
    /// [`FlashError::Unstable`] if the readings never agree, and the errors of `read`.
    pub(crate) fn read_until_equal<T: PartialEq>(
        &mut self,
        command: Opcode,
        mut read: impl FnMut(&mut Self) -> Result<T, FlashError>,
    ) -> Result<T, FlashError> {
        let mut last = read(self)?;
        for _ in 0..READINGS {
            let next = read(self)?;
            if next == last {
                return Ok(next);
            }
            last = next;
            self.resync()?;
        }
        Err(FlashError::Unstable { command })
    }

    /// Returns an eFuse word, read once per session because several fields share it.
    pub(crate) fn efuse_word(&mut self, addr: Addr) -> Result<u32, FlashError> {
        if let Some((_, word)) = self.efuse_words.iter().find(|(known, _)| *known == addr) {
            return Ok(*word);
        }
        let word = self.read_reg(addr.0)?;
        self.efuse_words.push((addr, word));
        Ok(word)
    }

    pub(crate) fn knows_efuse_word(&self, addr: Addr) -> bool {
        self.efuse_words.iter().any(|(known, _)| *known == addr)
    }

    pub(crate) fn keep_efuse_word(&mut self, addr: Addr, word: u32) {
        self.efuse_words.push((addr, word));
    }

    /// Sends one SYNC and takes all replies. Returns true if a loader answered. The replies show
    /// whether it is the ROM or a stub, which then becomes the session's loader. `extra_end` sends
    /// another END first: a stub that missed one takes the end of each frame for its beginning
    /// until then.
    pub(crate) fn sync(&mut self, extra_end: bool) -> Result<bool, FlashError> {
        if extra_end {
            self.port.write(&[slip::END])?;
            self.statistics.bytes_sent += 1;
        }
        let sent = self.send(&Request::Sync)?;
        let mut deadline = self.port.now() + self.wire_time(sent) + SYNC_WAIT;
        let mut replies = 0;
        while replies < self.loader.sync_replies {
            let Some(reply) = self.receive(deadline)? else { break };
            if reply.opcode != Opcode::Sync as u8 {
                continue;
            }
            // A stub reports a failed flash write now, instead of an answer.
            let (failed, len) = (reply.data.first() != Some(&0), reply.data.len());
            let is_stub = len == STUB_STATUS_LEN && reply.value == 0;
            if failed || !(is_stub || len >= Loader::rom(self.chip.as_deref()).status_len) {
                continue;
            }
            if replies == 0 && is_stub != self.loader.is_stub() {
                self.set_loader(is_stub);
            }
            replies += 1;
            deadline = self.port.now() + self.wire_time(reply.data.len() + 10) + SYNC_QUIET;
        }
        if replies > 0 {
            self.last_opcode = Some(Opcode::Sync as u8);
            self.extra_timeout = Duration::ZERO;
        }
        Ok(replies > 0)
    }

    /// Resynchronises a conversation after a torn frame or a lost reply: discards all input in
    /// flight and sends SYNC, after which replies count again. Returns false if nothing answers.
    pub(crate) fn resync(&mut self) -> Result<bool, FlashError> {
        for attempt in 0..RESYNCS {
            self.forget_input()?;
            if self.sync(attempt % 2 == 1)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Discards the received input.
    pub(crate) fn forget_input(&mut self) -> Result<(), FlashError> {
        self.port.clear_input()?;
        self.inbox.clear();
        self.decoder = fresh_decoder();
        Ok(())
    }

    /// Discards the input that has arrived, without a request to the port's far end: over a network
    /// that would be a round trip.
    pub(crate) fn discard_arrived(&mut self) -> Result<(), FlashError> {
        self.inbox.clear();
        let mut buf = [0; 256];
        let now = self.port.now();
        for _ in 0..MOST_DISCARDS {
            if self.read_some(&mut buf, now)? == 0 {
                break;
            }
        }
        self.decoder = fresh_decoder();
        Ok(())
    }

    /// Sets the port's baud rate.
    pub(crate) fn set_port_baud(&mut self, baud: u32) -> Result<(), FlashError> {
        self.port.set_baud(baud)?;
        self.baud = baud;
        Ok(())
    }

    /// Listens until the board has printed that it waits for a download or that it boots, or until
    /// `deadline`.
    pub(crate) fn listen(&mut self, deadline: Moment) -> Result<(), FlashError> {
        while !self.banner.is_clear() && self.port.now() < deadline {
            let mut buf = [0; 256];
            let count = self.read_some(&mut buf, deadline)?;
            self.banner.push(&buf[..count]);
        }
        Ok(())
    }

    /// Returns the time that `bytes` take on the wire, plus the port's latency.
    pub(crate) fn wire_time(&self, bytes: usize) -> Duration {
        let bits = bytes as u64 * 10; // Start bit, eight data bits, stop bit.
        let micros = bits * 1_000_000 / u64::from(self.baud.max(1));
        let caps = self.port.caps();
        caps.latency * 2 + if caps.baud { Duration::from_micros(micros) } else { Duration::ZERO }
    }

    /// Sends a request without waiting for the reply. Returns the number of bytes on the wire.
    pub(crate) fn send(&mut self, request: &Request) -> Result<usize, FlashError> {
        self.send_frame(&request.to_bytes())
    }

    /// Sends a frame.
    pub(crate) fn send_frame(&mut self, payload: &[u8]) -> Result<usize, FlashError> {
        let frame = slip::encode(payload);
        if tracing::enabled!(tracing::Level::TRACE) {
            // The contents stay out: they may hold a user's keys.
            let at = self.port.now().since_start().as_secs_f64();
            match payload.get(1).map(|opcode| (*opcode, Opcode::from_byte(*opcode))) {
                Some((_, Some(opcode))) if payload.first() == Some(&0) => {
                    tracing::trace!(at, ?opcode, len = payload.len(), "request");
                }
                _ => tracing::trace!(at, len = payload.len(), "data"),
            }
        }
        self.port.write(&frame)?;
        self.statistics.frames += 1;
        self.statistics.bytes_sent += frame.len() as u64;
        Ok(frame.len())
    }

    /// Returns the next frame that is a reply. Noise and boot messages go to the banner.
    pub(crate) fn receive(&mut self, deadline: Moment) -> Result<Option<Reply>, FlashError> {
        let mut late = 0;
        while let Some(frame) = self.receive_frame(deadline)? {
            if let Ok(reply) = Reply::from_frame(&frame) {
                return Ok(Some(reply));
            }
            late += u32::from(self.port.now() >= deadline);
            if late > MAX_LATE_READS {
                break;
            }
        }
        Ok(None)
    }

    /// Returns the next frame, whatever its contents.
    pub(crate) fn receive_frame(
        &mut self,
        deadline: Moment,
    ) -> Result<Option<Vec<u8>>, FlashError> {
        let mut late = 0;
        loop {
            while let Some(byte) = self.inbox.pop_front() {
                match self.decoder.push(byte) {
                    slip::Decoded::Frame(frame) => {
                        self.statistics.frames_received += 1;
                        // The END of one frame may be the beginning of the next, whose own END was
                        // lost or taken for the end. Two in a row do no harm.
                        self.decoder.push(slip::END);
                        return Ok(Some(frame));
                    }
                    slip::Decoded::Broken(_) => self.decoder = fresh_decoder(),
                    slip::Decoded::More | slip::Decoded::Stray(_) => {}
                }
            }
            // Input from before the deadline is still read. A board that never pauses would
            // otherwise keep this loop going forever.
            late += u32::from(self.port.now() >= deadline);
            if late > MAX_LATE_READS {
                return Ok(None);
            }
            let mut buf = [0; GULP];
            let gulp = self.max_read.min(GULP);
            let count = self.read_some(&mut buf[..gulp], deadline)?;
            if count == 0 {
                return Ok(None);
            }
            self.banner.push(&buf[..count]);
            self.inbox.extend(&buf[..count]);
        }
    }

    /// Waits until input has arrived. Returns false if none comes.
    pub(crate) fn wait_for_input(&mut self, deadline: Moment) -> Result<bool, FlashError> {
        if self.inbox.is_empty() {
            let mut buf = [0; GULP];
            let count = self.read_some(&mut buf, deadline)?;
            self.inbox.extend(&buf[..count]);
        }
        Ok(!self.inbox.is_empty())
    }

    fn read_some(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, FlashError> {
        let count = self.port.read(buf, deadline)?.min(buf.len());
        self.statistics.bytes_received += count as u64;
        Ok(count)
    }
}

/// Returns a decoder that starts inside a frame, so that a frame whose first END was lost counts.
fn fresh_decoder() -> slip::Decoder {
    let mut decoder = slip::Decoder::new(FRAME_LIMIT);
    decoder.push(slip::END);
    decoder
}
