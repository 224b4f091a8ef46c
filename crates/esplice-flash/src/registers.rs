//! Several registers in one round trip.
//!
//! A loader takes the next request while it answers one, as long as its UART's FIFO of 128 bytes holds
//! it, and answers in order. Its answers do not say which register they are of: so the first is read
//! once more at the end, and when that is not what it was, an answer was lost or came twice, and all are
//! read one by one.

use esplice_chip::{Addr, Chip};
use esplice_protocol::{Opcode, Port, Request, slip};

use crate::{FlashError, Session, session::SHORT};

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
                [_, _, ..] => self.read_batch(batch)?,
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

    /// Reads the words of eFuse fields that will be asked for, at once.
    pub(crate) fn prefetch(&mut self, chip: &Chip, fields: &[&str]) -> Result<(), FlashError> {
        let mut addrs: Vec<Addr> = Vec::new();
        for field in fields.iter().filter_map(|name| chip.efuse.field(name)) {
            for addr in field.addrs() {
                if !addrs.contains(&addr) && !self.knows_efuse_word(addr) {
                    addrs.push(addr);
                }
            }
        }
        let words = self.read_regs(&addrs.iter().map(|addr| addr.0).collect::<Vec<_>>())?;
        for (addr, word) in addrs.into_iter().zip(words) {
            self.keep_efuse_word(addr, word);
        }
        Ok(())
    }

    /// `None` where it is not certain which answer is whose.
    fn read_batch(&mut self, addrs: &[u32]) -> Result<Option<Vec<u32>>, FlashError> {
        self.discard_arrived()?;
        let mut frames = Vec::new();
        for addr in addrs.iter().chain(addrs.first()) {
            frames.extend(slip::encode(&Request::ReadReg { addr: *addr }.to_bytes()));
        }
        let count = addrs.len() + 1;
        self.send_frames(&frames, count)?;
        // Each answer is about as long as its request.
        let deadline = self.port.now() + self.wire_time(2 * frames.len()) + SHORT;
        let mut values = Vec::new();
        while values.len() < count {
            let reply = match self.receive(deadline)? {
                Some(reply) => reply,
                None => break,
            };
            let status = reply.split_status(self.loader().status_len);
            let is_good = status.is_some_and(|(_, status)| status.is_ok());
            if reply.opcode != Opcode::ReadReg as u8 || !is_good {
                break;
            }
            values.push(reply.value);
        }
        let again = (values.len() == count).then(|| values.pop()).flatten();
        // One that came twice shows in the last place, unless the last but one is the same anyway.
        let is_certain = again == values.first().copied() && values.first() != values.last();
        if again.is_some() && is_certain {
            return Ok(Some(values));
        }
        if again.is_none() {
            self.resync()?;
        }
        Ok(None)
    }
}
