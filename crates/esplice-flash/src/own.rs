//! Esplice's own stub: its commands beyond the loader's usual ones. `esplice_stub::wire` describes
//! them.

use std::time::Duration;

use esplice_protocol::{Opcode, Port, Request};
use esplice_stub::{crc::crc32, wire};

use crate::{FlashError, Session, Stub, session::SHORT, upload::ram_requests};

mod coder;
mod read;
mod stream;
mod survey;
mod write;

pub(crate) use coder::Packed;

/// Milliseconds without a request after which the stub resets the board into its program.
const IDLE_MS: u32 = 60_000;

/// Bytes of a block of a part that is uploaded through the stub.
const PART_BLOCK: u32 = 0x2000;

/// A part of the stub that follows its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Writes and erases.
    Writer,
    /// Reads, and the loader's usual commands.
    Extras,
}

/// Properties of the running stub.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    /// Blocks of a stream that the stub buffers.
    blocks: u32,
    /// Parts that were uploaded, a bit each.
    loaded: u8,
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Asks a stub that was just uploaded, or found, for its version, if it is esplice's own.
    ///
    /// # Errors
    /// The errors of commands.
    pub(crate) fn meet_own(&mut self, stub: &Stub) -> Result<(), FlashError> {
        self.own = None;
        if !stub.is_own() {
            return Ok(());
        }
        let info = self.retry_resynced(|session| session.own(Opcode::StubInfo, &[], SHORT))?;
        let mut words = info.chunks_exact(4).map(word);
        let (version, block, blocks) = (words.next(), words.next(), words.next());
        let (window, coders) = (words.next(), words.next());
        let expected = (Some(wire::VERSION), Some(wire::BLOCK as u32), Some(wire::WINDOW as u32));
        if (version, block, window) != expected || coders != Some(wire::CODERS) {
            return Err(FlashError::Malformed { command: Opcode::StubInfo, has: info.len() });
        }
        self.stub = Some(stub.clone());
        self.own = Some(Own { blocks: blocks.unwrap_or(1).max(1), loaded: 0 });
        let idle = IDLE_MS.to_le_bytes();
        self.retry_resynced(|session| session.own(Opcode::IdleTimeout, &idle, SHORT))?;
        Ok(())
    }

    /// Returns true if esplice's own stub runs.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Sends one of the stub's own commands and returns the data of its reply, whose checksum is
    /// right.
    pub(crate) fn own(
        &mut self,
        opcode: Opcode,
        data: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, FlashError> {
        let request = Request::Own { opcode, data: data.to_vec() };
        let answer = self.command(&request, timeout)?;
        checked(opcode, answer.data)
    }

    /// Makes sure that a part of the stub is there.
    ///
    /// # Errors
    /// The errors of commands.
    pub(crate) fn need_part(&mut self, part: Part) -> Result<(), FlashError> {
        for request in self.part_requests(part) {
            // Repeating a block does no harm.
            self.command_with_retry(&request, SHORT)?;
        }
        self.part_is_there(part);
        Ok(())
    }

    /// Returns the requests that upload a part, none if it is there.
    fn part_requests(&self, part: Part) -> Vec<Request> {
        let loaded = self.own.as_ref().is_some_and(|own| own.loaded & 1 << part as u8 != 0);
        let section = self.stub.as_ref().and_then(|stub| stub.part(part as usize));
        match section.filter(|_| !loaded) {
            Some(section) => ram_requests(section.addr.0, &section.bytes, PART_BLOCK),
            None => Vec::new(),
        }
    }

    fn part_is_there(&mut self, part: Part) {
        if let Some(own) = &mut self.own {
            own.loaded |= 1 << part as u8;
        }
    }
}

/// Returns the data that precede a reply's checksum.
fn checked(command: Opcode, mut data: Vec<u8>) -> Result<Vec<u8>, FlashError> {
    let malformed = FlashError::Malformed { command, has: data.len() };
    let Some((rest, sum)) = data.split_last_chunk::<4>() else { return Err(malformed) };
    if crc32(rest) != u32::from_le_bytes(*sum) {
        return Err(FlashError::Unstable { command });
    }
    data.truncate(data.len() - 4);
    Ok(data)
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}
