//! Uploads a stub into the chip's RAM.

use std::{fmt, sync::Arc, time::Duration};

use esplice_chip::Chip;
use esplice_protocol::{Opcode, Port, Reply, Request};

use crate::{FlashError, FlashEvent, Session, Stub, StubError, event::LoaderUse, session::SHORT};

/// Greeting that a running stub sends in its own frame (esptool documentation, "Serial Protocol",
/// Stub Loader).
const GREETING: &[u8] = b"OHAI";

/// Time from the reply to MEM_END to the greeting: esp-flasher-stub 1.1.0 waits 10 ms on a UART
/// (src/transport.c), sets up clocks and reads the flash chip's ID.
const START: Duration = Duration::from_millis(500);

/// Fastest rate at which every ROM loader takes a stub, and that of one with a receive buffer. The
/// ROM of the ESP32-C6, executed, loses bytes at 2,000,000 baud, that of the ESP32-C3 at 3,000,000.
const FASTEST_UPLOAD: u32 = 921_600;
const FASTEST_BUFFERED_UPLOAD: u32 = 2_000_000;

/// Number of attempts to upload a stub.
const ATTEMPTS: u32 = 3;

type Find = dyn Fn(&Chip, (u8, u8)) -> Result<Option<Stub>, StubError> + Send + Sync;

/// Source of the stub for a chip, which may be resolved only after the chip was identified.
#[derive(Clone, Default)]
pub struct StubSource(Option<Arc<Find>>);

impl StubSource {
    /// Returns a source without stubs: the ROM loader does all the work.
    pub fn none() -> StubSource {
        StubSource(None)
    }

    /// Returns a source that yields this stub for every chip.
    pub fn only(stub: Stub) -> StubSource {
        StubSource::by(move |_, _| Ok(Some(stub.clone())))
    }

    /// Returns a source that calls `find` with a chip and its revision (major, minor).
    pub fn by(
        find: impl Fn(&Chip, (u8, u8)) -> Result<Option<Stub>, StubError> + Send + Sync + 'static,
    ) -> StubSource {
        StubSource(Some(Arc::new(find)))
    }

    /// Returns true if the source yields esplice's own stub for the usual revisions of `chip`.
    pub(crate) fn is_own(&self, chip: &Chip) -> bool {
        self.find(chip, (u8::MAX, 0)).ok().flatten().is_some_and(|stub| stub.is_own())
    }

    /// Returns whether a stub is requested at all.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn find(&self, chip: &Chip, revision: (u8, u8)) -> Result<Option<Stub>, StubError> {
        let Some(find) = &self.0 else { return Ok(None) };
        let stub = find(chip, revision)?;
        stub.as_ref().map_or(Ok(()), |stub| stub.check(chip))?;
        Ok(stub)
    }
}

impl fmt::Debug for StubSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_some() { "StubSource(some)" } else { "StubSource(none)" })
    }
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Ensures that the stub from `source` for `chip` runs. A running stub is used again if it is
    /// the same; otherwise the stub is uploaded. Without a stub, or if it does not start, the ROM
    /// loader does the work. Reports which loader is in use.
    ///
    /// # Errors
    /// [`FlashError::Stub`] if the stub is for another chip, and the errors of commands.
    pub(crate) fn ensure_stub(
        &mut self,
        chip: &Arc<Chip>,
        source: &StubSource,
        find_again: impl FnOnce(&mut Self) -> Result<(), FlashError>,
    ) -> Result<(), FlashError> {
        if !source.is_some() {
            return Ok(());
        }
        let revision = self.revision(chip)?;
        let Some(stub) = source.find(chip, revision)? else {
            let used = if self.loader().is_stub() { LoaderUse::Other } else { LoaderUse::Rom };
            self.report(FlashEvent::Loader(used));
            return Ok(());
        };
        let used = if self.loader().is_stub() {
            // A running stub can't be overwritten, because it is in the way. Another one knows the
            // same commands.
            if self.runs_stub(&stub)? {
                self.meet_own(&stub)?;
                LoaderUse::Resident
            } else {
                LoaderUse::Other
            }
        } else {
            match self.load_stub(chip, &stub) {
                Ok(()) => LoaderUse::Uploaded,
                Err(error) if error.is_transient() => {
                    self.warn(format!("the stub does not start: {error}"));
                    self.stub_available = false;
                    find_again(self)?;
                    LoaderUse::Rom
                }
                Err(error) => return Err(error),
            }
        };
        if self.loader().is_stub() {
            self.stub = Some(stub);
        }
        self.report(FlashEvent::Loader(used));
        Ok(())
    }

    /// Finds out whether `source` has a stub for `chip`. If not, reports that the ROM loader is in
    /// use. Does nothing if a stub is already running.
    ///
    /// # Errors
    /// [`FlashError::Stub`] if the stub is for another chip, and the errors of commands.
    pub(crate) fn find_stub(
        &mut self,
        chip: &Arc<Chip>,
        source: &StubSource,
    ) -> Result<(), FlashError> {
        if !source.is_some() || self.loader().is_stub() {
            return Ok(());
        }
        let revision = self.revision(chip)?;
        self.stub_available = source.find(chip, revision)?.is_some();
        if !self.stub_available {
            self.report(FlashEvent::Loader(LoaderUse::Rom));
        }
        Ok(())
    }

    /// Uploads a stub and starts it. The ROM loader must be running. The baud rate does not change.
    ///
    /// # Errors
    /// [`FlashError::NoStub`] if it was uploaded but sends no greeting, [`FlashError::Stub`] if it
    /// does not fit into the chip's RAM, and the errors of commands.
    pub fn load_stub(&mut self, chip: &Arc<Chip>, stub: &Stub) -> Result<(), FlashError> {
        stub.check(chip)?;
        self.adopt(chip);
        let baud = self.baud();
        let fastest = match chip.loader.receive_ring {
            Some(_) => FASTEST_BUFFERED_UPLOAD,
            None => FASTEST_UPLOAD,
        };
        if baud <= fastest || !self.port.caps().baud {
            return self.try_load_stub(chip, stub);
        }
        self.switch_baud(fastest)?;
        self.try_load_stub(chip, stub)?;
        self.switch_baud(baud)
    }

    fn try_load_stub(&mut self, chip: &Arc<Chip>, stub: &Stub) -> Result<(), FlashError> {
        let mut attempt = 1;
        loop {
            let failure = match self.upload(chip, stub, attempt == 1) {
                Ok(()) => return Ok(()),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            // Perhaps only the greeting was lost.
            if self.resync()? && self.loader().is_stub() {
                return self.meet_own(stub);
            }
            if attempt == ATTEMPTS {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    /// Returns whether the running stub has the code of `stub`.
    ///
    /// # Errors
    /// The errors of commands.
    pub fn runs_stub(&mut self, stub: &Stub) -> Result<bool, FlashError> {
        for (addr, word) in stub.marks() {
            if self.read_reg(addr.0)? != word {
                return Ok(false);
            }
        }
        Ok(self.loader().is_stub())
    }

    /// Uploads a whole stub without waiting for replies in between. This works with ROM loaders
    /// that buffer input while busy: they finish a block before 2047 more bytes have arrived.
    /// Returns false if not everything was acknowledged.
    fn load_at_once(&mut self, stub: &Stub, block_len: u32) -> Result<bool, FlashError> {
        let mut requests = Vec::new();
        for (addr, bytes) in stub.first_upload() {
            requests.extend(ram_requests(addr.0, bytes, block_len));
        }
        Ok(self.pipeline(&requests)?.is_some())
    }

    fn upload(&mut self, chip: &Chip, stub: &Stub, first: bool) -> Result<(), FlashError> {
        let block_len = self.ram_block(chip)?;
        let at_once = first && chip.loader.receive_ring.is_some();
        if !(at_once && self.load_at_once(stub, block_len)?) {
            for (addr, bytes) in stub.first_upload() {
                self.load_ram(addr.0, bytes, block_len)?;
            }
        }
        let end = Request::MemEnd { stay: false, entry: stub.entry.0 };
        let sent = self.send(&end)?;
        let deadline = self.port.now() + self.wire_time(sent) + START;
        while let Some(frame) = self.receive_frame(deadline)? {
            if frame == GREETING {
                self.stub_runs();
                return self.meet_own(stub);
            }
            // The start may cut the ROM's reply short; a refusal is complete.
            let Ok(reply) = Reply::from_frame(&frame) else { continue };
            if reply.opcode != Opcode::MemEnd as u8 {
                continue;
            }
            if let Some((_, status)) = reply.split_status(self.loader().status_len)
                && !status.is_ok()
            {
                let (reason, meaning) = (status.reason_code(), status.meaning());
                return Err(FlashError::Refused { command: Opcode::MemEnd, reason, meaning });
            }
        }
        Err(FlashError::NoStub { after: START })
    }

    /// Copies `bytes` into RAM in blocks of `block_len`. A failed block is not sent again.
    pub(crate) fn load_ram(
        &mut self,
        addr: u32,
        bytes: &[u8],
        block_len: u32,
    ) -> Result<(), FlashError> {
        for request in ram_requests(addr, bytes, block_len) {
            self.command(&request, SHORT)?;
        }
        Ok(())
    }

    /// Returns the length of a RAM block, which is smaller where the ROM uses its USB-OTG port.
    pub(crate) fn ram_block(&mut self, chip: &Chip) -> Result<u32, FlashError> {
        let usual = self.loader().ram_block;
        let Some(otg) = &chip.usb_otg else { return Ok(usual) };
        let port = self.read_reg(otg.uart_no_addr.0)?;
        Ok(if port & 0xff == otg.uart_no { otg.ram_block.clamp(1, usual) } else { usual })
    }
}

/// Returns the requests that copy `bytes` into RAM in blocks of `block_len`.
pub(crate) fn ram_requests(addr: u32, bytes: &[u8], block_len: u32) -> Vec<Request> {
    let blocks = bytes.chunks(block_len.max(1) as usize);
    let (len, count) = (bytes.len() as u32, blocks.len() as u32);
    let begin = Request::MemBegin { len, blocks: count, block_len, addr };
    let data =
        |(sequence, block): (u32, &[u8])| Request::MemData { sequence, data: block.to_vec() };
    std::iter::once(begin).chain((0..).zip(blocks).map(data)).collect()
}
