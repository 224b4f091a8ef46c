//! Loads a program into RAM and starts it there.

use esplice_chip::{Addr, Chip};
use esplice_protocol::{Port, Request};

use crate::{FlashError, Session, event::StageState, session::SHORT};

impl<P: Port + ?Sized> Session<'_, P> {
    /// Copies `segments` (address and bytes) into `chip`'s RAM and jumps to `entry`. From then on
    /// the port carries the output of the program.
    ///
    /// # Errors
    /// [`FlashError::NotInRam`] if a segment or the entry lies outside RAM, before anything is
    /// sent; and the errors of commands.
    pub fn run_in_ram(
        &mut self,
        chip: &Chip,
        segments: &[(Addr, &[u8])],
        entry: Addr,
    ) -> Result<(), FlashError> {
        check(chip, segments, entry)?;
        self.stage("load", StageState::Started);
        let block_len = self.ram_block(chip)?;
        for (addr, bytes) in segments {
            // Loaders take whole words.
            let mut bytes = bytes.to_vec();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            self.load_ram(addr.0, &bytes, block_len)?;
        }
        match self.last_command(&Request::MemEnd { stay: false, entry: entry.0 }, SHORT) {
            // The program may start before the reply has left.
            Ok(_) | Err(FlashError::Timeout { .. }) => {}
            Err(error) => return Err(error),
        }
        self.stage("load", StageState::Done);
        Ok(())
    }
}

fn check(chip: &Chip, segments: &[(Addr, &[u8])], entry: Addr) -> Result<(), FlashError> {
    let outside = |what: &'static str, addr: Addr, len: usize| FlashError::NotInRam {
        what,
        addr,
        len,
        chip: chip.display_name.clone(),
    };
    for (addr, bytes) in segments {
        let region = chip.region_at(*addr).filter(|region| region.access.write);
        if region.is_none_or(|region| (region.bytes_after(*addr) as usize) < bytes.len()) {
            return Err(outside("segment", *addr, bytes.len()));
        }
    }
    let is_inside =
        |(addr, bytes): &(Addr, &[u8])| (entry.0.wrapping_sub(addr.0) as usize) < bytes.len();
    let runs = chip.region_at(entry).is_some_and(|region| region.access.execute);
    if runs && segments.iter().any(is_inside) { Ok(()) } else { Err(outside("entry", entry, 0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ram_is_loaded() {
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
        let code: (Addr, &[u8]) = (Addr(0x4038_0000), &[0; 16]);
        assert!(check(chip, &[code], Addr(0x4038_0008)).is_ok());
        let told = |segments: &[(Addr, &[u8])], entry| {
            check(chip, segments, Addr(entry)).unwrap_err().to_string()
        };
        let message = "entry at 0x40380010 is outside the segments loaded into the RAM of ESP32-C3";
        assert_eq!(told(&[code], 0x4038_0010), message);
        let flash: (Addr, &[u8]) = (Addr(0x4200_0020), &[0; 16]);
        let message = "segment of 16 bytes at 0x42000020 is outside the RAM of ESP32-C3";
        assert_eq!(told(&[code, flash], 0x4038_0000), message);
        let data: (Addr, &[u8]) = (Addr(0x3fc8_0000), &[0; 16]);
        assert!(told(&[data], 0x3fc8_0000).starts_with("entry at 0x3fc80000"));
    }
}
