//! A stub into the chip's RAM.

use std::{fmt, sync::Arc, time::Duration};

use esplice_chip::Chip;
use esplice_protocol::{Opcode, Port, Reply, Request};

use crate::{FlashError, FlashEvent, Session, Stub, StubError, event::LoaderUse, session::SHORT};

/// What a stub says when it runs, as a frame of its own (esptool documentation, "Serial Protocol",
/// Stub Loader).
const GREETING: &[u8] = b"OHAI";

/// Time from the reply to MEM_END to the greeting: esp-flasher-stub 1.1.0 waits 10 ms on a UART
/// (src/transport.c), sets up clocks and asks the flash chip for its id.
const START: Duration = Duration::from_millis(500);

/// How often an upload is begun.
const ATTEMPTS: u32 = 3;

type Find = dyn Fn(&Chip, (u8, u8)) -> Result<Option<Stub>, StubError> + Send + Sync;

/// Where the stub for a chip comes from, which may be known only when the board has said what it
/// is.
#[derive(Clone, Default)]
pub struct StubSource(Option<Arc<Find>>);

impl StubSource {
    /// No stub: all is done by the ROM loader.
    pub fn none() -> StubSource {
        StubSource(None)
    }

    /// This stub, whatever the chip is.
    pub fn only(stub: Stub) -> StubSource {
        StubSource::by(move |_, _| Ok(Some(stub.clone())))
    }

    /// What `find` has for a chip of a revision (major, minor).
    pub fn by(
        find: impl Fn(&Chip, (u8, u8)) -> Result<Option<Stub>, StubError> + Send + Sync + 'static,
    ) -> StubSource {
        StubSource(Some(Arc::new(find)))
    }

    /// Whether a stub is wanted at all.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    fn find(&self, chip: &Chip, revision: (u8, u8)) -> Result<Option<Stub>, StubError> {
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
    /// Sees to it that the stub that `source` has for `chip` runs: one that is there already is
    /// used again if it is the same, else it is uploaded. Without a stub, and after one that does
    /// not start, the ROM loader does the work; which of these it is, is told.
    ///
    /// # Errors
    /// [`FlashError::Stub`] for a stub of another chip, and what commands bring.
    pub(crate) fn take_stub(
        &mut self,
        chip: &'static Chip,
        source: &StubSource,
        find_again: impl FnOnce(&mut Self) -> Result<(), FlashError>,
    ) -> Result<(), FlashError> {
        if !source.is_some() {
            return Ok(());
        }
        let revision = self.revision(chip)?;
        let Some(stub) = source.find(chip, revision)? else {
            let used = if self.loader().is_stub() { LoaderUse::Other } else { LoaderUse::Rom };
            self.tell(FlashEvent::Loader(used));
            return Ok(());
        };
        let used = if self.loader().is_stub() {
            // Over one that runs nothing can be loaded: it is in the way. One of another kind
            // knows the same commands.
            if self.runs_stub(&stub)? { LoaderUse::Resident } else { LoaderUse::Other }
        } else {
            match self.load_stub(chip, &stub) {
                Ok(()) => LoaderUse::Uploaded,
                Err(error) if error.is_transient() => {
                    self.warn(format!("the stub does not start: {error}"));
                    find_again(self)?;
                    LoaderUse::Rom
                }
                Err(error) => return Err(error),
            }
        };
        if self.loader().is_stub() {
            self.stub = Some(stub);
        }
        self.tell(FlashEvent::Loader(used));
        Ok(())
    }

    /// Finds out whether `source` has a stub for `chip`; if not, that the ROM loader does the work is
    /// told. A stub that runs already needs none.
    ///
    /// # Errors
    /// [`FlashError::Stub`] for a stub of another chip, and what commands bring.
    pub(crate) fn look_for_stub(
        &mut self,
        chip: &'static Chip,
        source: &StubSource,
    ) -> Result<(), FlashError> {
        if !source.is_some() || self.loader().is_stub() {
            return Ok(());
        }
        let revision = self.revision(chip)?;
        self.stub_may_come = source.find(chip, revision)?.is_some();
        if !self.stub_may_come {
            self.tell(FlashEvent::Loader(LoaderUse::Rom));
        }
        Ok(())
    }

    /// Uploads a stub and starts it; the ROM loader must be at the other end. The baud rate stays
    /// as it is.
    ///
    /// # Errors
    /// [`FlashError::NoStub`] when it was brought over and does not greet, [`FlashError::Stub`] when
    /// it does not fit into the chip's RAM, and what commands bring.
    pub fn load_stub(&mut self, chip: &'static Chip, stub: &Stub) -> Result<(), FlashError> {
        stub.check(chip)?;
        self.adopt(chip);
        let mut attempt = 1;
        loop {
            let failure = match self.upload(chip, stub, attempt == 1) {
                Ok(()) => return Ok(()),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            // Its greeting may be what was lost.
            if self.resync()? && self.loader().is_stub() {
                return Ok(());
            }
            if attempt == ATTEMPTS {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    /// Whether the stub that runs has the code of `stub`.
    ///
    /// # Errors
    /// What commands bring.
    pub fn runs_stub(&mut self, stub: &Stub) -> Result<bool, FlashError> {
        for (addr, word) in stub.marks() {
            if self.read_reg(addr.0)? != word {
                return Ok(false);
            }
        }
        Ok(self.loader().is_stub())
    }

    /// Brings all of a stub over without waiting for replies in between, which a ROM loader bears that keeps
    /// what comes while it is at work: it is done with a block before 2047 bytes more have come. False if not
    /// all of it was acknowledged.
    fn load_at_once(&mut self, stub: &Stub, block_len: u32) -> Result<bool, FlashError> {
        let mut requests = Vec::new();
        for (_, section) in stub.sections() {
            requests.extend(ram_requests(section.addr.0, &section.bytes, block_len));
        }
        Ok(self.pipeline(&requests)?.is_some())
    }

    fn upload(&mut self, chip: &Chip, stub: &Stub, first: bool) -> Result<(), FlashError> {
        let block_len = self.ram_block(chip)?;
        let at_once = first && chip.loader.receive_ring.is_some();
        if !(at_once && self.load_at_once(stub, block_len)?) {
            for (_, section) in stub.sections() {
                self.load_ram(section.addr.0, &section.bytes, block_len)?;
            }
        }
        let end = Request::MemEnd { stay: false, entry: stub.entry.0 };
        let sent = self.send(&end)?;
        let deadline = self.port.now() + self.wire_time(sent) + START;
        while let Some(frame) = self.receive_frame(deadline)? {
            if frame == GREETING {
                self.stub_runs();
                return Ok(());
            }
            // The ROM's reply may be cut short by the start; a refusal is whole.
            let Ok(reply) = Reply::from_frame(&frame) else { continue };
            if reply.opcode != Opcode::MemEnd as u8 {
                continue;
            }
            if let Some((_, status)) = reply.split_status(self.loader().status_len)
                && !status.is_ok()
            {
                let (reason, meaning) = (status.why(), status.meaning());
                return Err(FlashError::Refused { command: Opcode::MemEnd, reason, meaning });
            }
        }
        Err(FlashError::NoStub { after: START })
    }

    /// Copies `bytes` into RAM by blocks of `block_len`. A block that failed is not sent again.
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

    /// Bytes of a RAM block: fewer where the ROM speaks through its USB-OTG port.
    pub(crate) fn ram_block(&mut self, chip: &Chip) -> Result<u32, FlashError> {
        let usual = self.loader().ram_block;
        let Some(otg) = &chip.usb_otg else { return Ok(usual) };
        let port = self.read_reg(otg.uart_no_addr.0)?;
        Ok(if port & 0xff == otg.uart_no { otg.ram_block.clamp(1, usual) } else { usual })
    }
}

/// What copies `bytes` into RAM by blocks of `block_len`.
fn ram_requests(addr: u32, bytes: &[u8], block_len: u32) -> Vec<Request> {
    let blocks = bytes.chunks(block_len.max(1) as usize);
    let (len, count) = (bytes.len() as u32, blocks.len() as u32);
    let begin = Request::MemBegin { len, blocks: count, block_len, addr };
    let data =
        |(sequence, block): (u32, &[u8])| Request::MemData { sequence, data: block.to_vec() };
    std::iter::once(begin).chain((0..).zip(blocks).map(data)).collect()
}
