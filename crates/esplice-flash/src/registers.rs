//! Reads several registers, or pieces of flash, in one round trip, each twice.
//!
//! A loader accepts requests while it answers one, as long as they fit into its UART's FIFO of 128
//! bytes, and answers in order. Its replies carry no checksum and do not say which register they
//! are for. So everything is read twice in the same order. If the two readings differ, a bit was
//! damaged, or a reply was lost or came twice; each value is then read until two replies in a row
//! agree.

use esplice_chip::{Addr, Chip, FlashOffset};
use esplice_protocol::{Opcode, Port, READ_FLASH_SLOW_LEN, Request, SecurityInfo};

use crate::{Answer, FlashError, Session, session::SHORT, spi::register_writes};

/// eFuse fields that identify a board.
const IDENTITY: [&str; 4] = ["mac", "wafer-version-major", "wafer-version-minor", "pkg-version"];

/// Maximum number of registers read at once. Read twice, their requests of 14 bytes each, plus
/// escapes, fit into a FIFO (ESP32-C3 TRM, UART Controller: 128 bytes).
const BATCH: usize = 4;

impl<P: Port + ?Sized> Session<'_, P> {
    /// Returns the values of registers that do not change by themselves, in order, each read twice.
    ///
    /// # Errors
    /// [`FlashError::Unstable`] if the replies never agree, and the errors of commands.
    pub(crate) fn read_regs(&mut self, addrs: &[u32]) -> Result<Vec<u32>, FlashError> {
        let mut values = Vec::new();
        for batch in addrs.chunks(BATCH) {
            match self.request_and_read(None, batch)? {
                Some(batch) => values.extend(batch),
                None => {
                    for addr in batch {
                        values.push(self.read_reg_singly(*addr)?);
                    }
                }
            }
        }
        Ok(values)
    }

    /// Reads one register until two replies in a row agree, one command at a time.
    fn read_reg_singly(&mut self, addr: u32) -> Result<u32, FlashError> {
        self.read_until_equal(Opcode::ReadReg, |session| {
            Ok(session.command_with_retry(&Request::ReadReg { addr }, SHORT)?.value)
        })
    }

    /// Reads the eFuse words that identify a board, and performs `writes` on the way. Confirms the
    /// result of [`Session::identify_once`] before anything is written. Returns false if it is not
    /// certain that the writes were performed.
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
        if (1..=BATCH).contains(&places.len())
            && let Some(once) = self.confirm_and_read(&places)?
        {
            // The second reading is combined with the writes, which only a confirmed chip may
            // receive.
            let first = (!done).then(|| Request::WriteRegs(register_writes(writes)));
            if let Some(again) = self.read_once(first, &places)? {
                done = true;
                if once == again {
                    words = Some(again);
                } else {
                    self.resync()?;
                }
            }
        }
        self.confirm()?;
        let words = match words {
            Some(words) => words,
            None => self.read_regs(&places)?,
        };
        for (addr, word) in addrs.into_iter().zip(words) {
            self.keep_efuse_word(addr, word);
        }
        Ok(done)
    }

    /// Reads registers once, after the security info that confirms the chip. Returns `None` if a
    /// reply is missing.
    fn confirm_and_read(&mut self, addrs: &[u32]) -> Result<Option<Vec<u32>>, FlashError> {
        // A loader without security info refuses the command, which would end the pipeline.
        let Some(Some(claimed)) = self.unconfirmed.clone() else {
            return self.read_once(None, addrs);
        };
        let reads = addrs.iter().map(|addr| Request::ReadReg { addr: *addr });
        let requests: Vec<Request> =
            std::iter::once(Request::GetSecurityInfo).chain(reads).collect();
        let Some(answers) = self.pipeline(&requests)? else { return Ok(None) };
        let Some((info, reads)) = answers.split_first() else { return Ok(None) };
        self.unconfirmed = None;
        if SecurityInfo::from_bytes(&info.data).as_ref() != Some(&claimed) {
            return Err(FlashError::Unstable { command: Opcode::GetSecurityInfo });
        }
        Ok(Some(reads.iter().map(|answer| answer.value).collect()))
    }

    /// Performs `first` and reads each register once. Returns `None` if a reply is missing.
    fn read_once(
        &mut self,
        first: Option<Request>,
        addrs: &[u32],
    ) -> Result<Option<Vec<u32>>, FlashError> {
        let skipped = usize::from(first.is_some());
        let reads = addrs.iter().map(|addr| Request::ReadReg { addr: *addr });
        let requests: Vec<Request> = first.into_iter().chain(reads).collect();
        let answers = self.pipeline(&requests)?;
        Ok(answers.map(|all| all.into_iter().skip(skipped).map(|answer| answer.value).collect()))
    }

    /// Reads the first bytes at each of `offsets` in one round trip, ahead of the reads that
    /// follow. An offset listed twice is read twice. If both readings agree, the data is kept for
    /// one read ([`Session::take_ahead`]); everything else is read again when it is needed.
    pub(crate) fn read_ahead(&mut self, offsets: &[FlashOffset]) -> Result<(), FlashError> {
        let len = READ_FLASH_SLOW_LEN as u32;
        let requests: Vec<Request> =
            offsets.iter().map(|offset| Request::ReadFlashSlow { offset: offset.0, len }).collect();
        self.ahead.clear();
        if let Some(answers) = self.pipeline(&requests)? {
            let mut read: Vec<(FlashOffset, Vec<u8>)> = Vec::new();
            for (offset, answer) in offsets.iter().zip(answers) {
                match read.iter().position(|(known, _)| known == offset) {
                    Some(first) if read[first].1 == answer.data => {
                        self.ahead.push((*offset, answer.data));
                    }
                    _ => read.push((*offset, answer.data)),
                }
            }
        }
        Ok(())
    }

    /// Takes the data that was read ahead at `offset`.
    pub(crate) fn take_ahead(&mut self, offset: FlashOffset, len: usize) -> Option<Vec<u8>> {
        let place = self.ahead.iter().position(|(known, _)| *known == offset)?;
        let (_, mut bytes) = self.ahead.remove(place);
        bytes.truncate(len);
        (bytes.len() == len).then_some(bytes)
    }

    /// Performs `first` and reads each register twice, in one round trip. Returns `None` if it is
    /// not certain that everything was done and every reply is right.
    pub(crate) fn request_and_read(
        &mut self,
        first: Option<Request>,
        addrs: &[u32],
    ) -> Result<Option<Vec<u32>>, FlashError> {
        let twice: Vec<u32> = addrs.iter().chain(addrs).copied().collect();
        let Some(mut values) = self.read_once(first, &twice)? else { return Ok(None) };
        let again = values.split_off(addrs.len());
        if values == again {
            return Ok(Some(values));
        }
        // A surplus reply may still be on its way.
        self.resync()?;
        Ok(None)
    }

    /// Sends all requests at once. Returns the replies if each request got one, in order; otherwise
    /// resynchronises the link. Only ROM loaders support this: a stub loses input while it replies.
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
            let Some((data, status)) = reply.split_status(self.status_len(&reply)) else { break };
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
