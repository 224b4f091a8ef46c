//! Several registers, or pieces of flash, in one round trip.
//!
//! A loader takes the next request while it answers one, as long as its UART's FIFO of 128 bytes holds
//! it, and answers in order. Its answers do not say which register they are of: so the first is read
//! once more at the end, and when that is not what it was, an answer was lost or came twice, and all are
//! read one by one.

use esplice_chip::{Addr, Chip, FlashOffset};
use esplice_protocol::{Port, READ_FLASH_SLOW_LEN, Request};

use crate::{Answer, FlashError, Session, session::SHORT, spi::register_writes};

/// eFuse fields that tell what a board is.
const IDENTITY: [&str; 4] = ["mac", "wafer-version-major", "wafer-version-minor", "pkg-version"];

/// Most registers read at once: with the one that is read again, their requests of 14 bytes, which
/// escapes lengthen, stay within a FIFO (ESP32-C3 TRM, UART Controller: 128 bytes).
const BATCH: usize = 6;

impl<P: Port + ?Sized> Session<'_, P> {
    /// The values of registers that do not change by themselves, in their order.
    ///
    /// # Errors
    /// What commands bring.
    pub(crate) fn read_regs(&mut self, addrs: &[u32]) -> Result<Vec<u32>, FlashError> {
        let mut values = Vec::new();
        for batch in addrs.chunks(BATCH) {
            let read = match batch {
                [_, _, ..] => self.read_behind(None, batch)?,
                _ => None,
            };
            match read {
                Some(batch) => values.extend(batch),
                None => {
                    for addr in batch {
                        values.push(self.read_reg(*addr)?);
                    }
                }
            }
        }
        Ok(values)
    }

    /// Reads the words of eFuse fields that will be asked for, at once, and has `writes` done before; false if
    /// it is not certain that these were done.
    pub(crate) fn prefetch(
        &mut self,
        chip: &Chip,
        writes: &[esplice_chip::RegisterWrite],
    ) -> Result<bool, FlashError> {
        let mut addrs: Vec<Addr> = Vec::new();
        for field in IDENTITY.iter().filter_map(|name| chip.efuse.field(name)) {
            for addr in field.addrs() {
                if !addrs.contains(&addr) && !self.knows_efuse_word(addr) {
                    addrs.push(addr);
                }
            }
        }
        let places: Vec<u32> = addrs.iter().map(|addr| addr.0).collect();
        let mut done = writes.is_empty();
        let mut words = None;
        if !done && (1..=BATCH).contains(&places.len()) {
            let first = Request::WriteRegs(register_writes(writes));
            words = self.read_behind(Some(first), &places)?;
            done = words.is_some();
        }
        let words = match words {
            Some(words) => words,
            None => self.read_regs(&places)?,
        };
        for (addr, word) in addrs.into_iter().zip(words) {
            self.keep_efuse_word(addr, word);
        }
        Ok(done)
    }

    /// Reads the first bytes at each of `offsets`, at once, for the reads that will follow: each serves
    /// one ([`Session::take_ahead`]). Where it fails they read for themselves.
    pub(crate) fn read_ahead(&mut self, offsets: &[FlashOffset]) -> Result<(), FlashError> {
        let len = READ_FLASH_SLOW_LEN as u32;
        let requests: Vec<Request> =
            offsets.iter().map(|offset| Request::ReadFlashSlow { offset: offset.0, len }).collect();
        self.ahead.clear();
        if let Some(answers) = self.pipeline(&requests)? {
            let bytes = answers.into_iter().map(|answer| answer.data);
            self.ahead = offsets.iter().copied().zip(bytes).collect();
        }
        Ok(())
    }

    /// What was read ahead at `offset`, once.
    pub(crate) fn take_ahead(&mut self, offset: FlashOffset, len: usize) -> Option<Vec<u8>> {
        let place = self.ahead.iter().position(|(known, _)| *known == offset)?;
        let (_, mut bytes) = self.ahead.remove(place);
        bytes.truncate(len);
        (bytes.len() == len).then_some(bytes)
    }

    /// Has `first` done and reads registers, at once. `None` where it is not certain that all of it was
    /// done, or which answer is whose.
    pub(crate) fn read_behind(
        &mut self,
        first: Option<Request>,
        addrs: &[u32],
    ) -> Result<Option<Vec<u32>>, FlashError> {
        let skipped = usize::from(first.is_some());
        let asked = addrs.iter().chain(addrs.first());
        let reads = asked.map(|addr| Request::ReadReg { addr: *addr });
        let requests: Vec<Request> = first.into_iter().chain(reads).collect();
        let Some(answers) = self.pipeline(&requests)? else { return Ok(None) };
        let answers = answers.into_iter().skip(skipped);
        let mut values: Vec<u32> = answers.map(|answer| answer.value).collect();
        let again = values.pop();
        // One that came twice shows in the last place, unless the last but one is the same anyway.
        let is_certain = again == values.first().copied() && values.first() != values.last();
        Ok(is_certain.then_some(values))
    }

    /// Sends all requests at once and gives the answers, if there is one to each in their order; else the
    /// link is put in order. Only a ROM loader can do it: a stub loses what comes while it answers.
    pub(crate) fn pipeline(
        &mut self,
        requests: &[Request],
    ) -> Result<Option<Vec<Answer>>, FlashError> {
        if self.loader().is_stub() {
            return Ok(None);
        }
        self.discard_arrived()?;
        let mut sent = 0;
        for request in requests {
            sent += self.send(request)?;
        }
        let room = requests.len() * READ_FLASH_SLOW_LEN * 2;
        let deadline = self.port.now() + self.wire_time(sent + room) + SHORT;
        let mut answers = Vec::new();
        for request in requests {
            let Some(reply) = self.receive(deadline)? else { break };
            let Some((data, status)) = reply.split_status(self.loader().status_len) else { break };
            if reply.opcode != request.opcode() as u8 || !status.is_ok() {
                break;
            }
            answers.push(Answer { value: reply.value, data: data.to_vec() });
        }
        if answers.len() == requests.len() {
            return Ok(Some(answers));
        }
        self.resync()?;
        Ok(None)
    }
}
