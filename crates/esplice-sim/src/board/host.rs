//! The API for tests: load firmware, run it, read its output and send input.

use std::time::Duration;

use esplice_chip::{Addr, Chip, RegionKind};

use super::{Board, State, line::EN_RISE};
use crate::{Printed, SimError, nor::NorError, soc::ResetReason};
use std::sync::Arc;

/// Returns the kind of `image` if it can't be the contents of a flash chip that the chip boots
/// from.
fn other_contents(image: &[u8], chip: &Chip) -> Option<&'static str> {
    // System V ABI, ELF header; the UF2 specification; Intel's format begins with `:` and a record.
    let is_hex = image.first() == Some(&b':')
        && image.get(1..9).is_some_and(|start| start.iter().all(u8::is_ascii_hexdigit));
    match image {
        [0x7f, b'E', b'L', b'F', ..] => Some("an ELF"),
        [b'U', b'F', b'2', b'\n', ..] => Some("a UF2 file"),
        _ if is_hex => Some("an Intel HEX file"),
        _ => is_bare_app(image, chip).then_some("only an app image"),
    }
}

/// Returns whether an image begins with the descriptor of an app, at an address where flash is
/// mapped. The ROM does not load such an image; a bootloader does (ESP-IDF, esp_app_format.h and
/// esp_app_desc.h).
fn is_bare_app(image: &[u8], chip: &Chip) -> bool {
    const IMAGE_MAGIC: u8 = 0xe9;
    const HEADER: usize = 24;
    const SEGMENT_HEADER: usize = 8;
    const DESCRIPTOR_MAGIC: u32 = 0xabcd_5432;
    let word = |at: usize| {
        let bytes = image.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes)
    };
    let region = word(HEADER).and_then(|addr| chip.region_at(Addr(addr)));
    image.first() == Some(&IMAGE_MAGIC)
        && word(HEADER + SEGMENT_HEADER) == Some(DESCRIPTOR_MAGIC)
        && region.is_some_and(|region| region.kind == RegionKind::Flash)
}

impl Board {
    /// Replaces the whole flash by `image`, the contents from offset 0 on (`*.merged.bin`, as made
    /// by `esplice build` and `esptool merge-bin`), with the rest erased. Then switches the board
    /// off and on.
    ///
    /// # Errors
    /// [`SimError::NotFlashContents`] for an ELF, a bare app image, UF2 or Intel HEX,
    /// [`SimError::FlashTooSmall`], [`SimError::FlashFailed`] if the flash file can't be written.
    pub fn load_flash(&mut self, image: &[u8]) -> Result<(), SimError> {
        if let Some(what) = other_contents(image, &self.chip) {
            return Err(SimError::NotFlashContents { what });
        }
        let mut whole = vec![0xff; self.flash().size() as usize];
        self.check_fits(0, image)?;
        if let Some(place) = whole.get_mut(..image.len()) {
            place.copy_from_slice(image);
        }
        self.put_into_flash(0, &whole).map_err(failed)?;
        self.switch_off_and_on();
        Ok(())
    }

    /// Writes `bytes` to the flash at `offset`. The rest of the flash and the running program stay
    /// as they are.
    ///
    /// # Errors
    /// Same as [`Board::load_flash`].
    pub fn load_flash_at(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SimError> {
        self.check_fits(offset, bytes)?;
        self.put_into_flash(offset, bytes).map_err(failed)
    }

    fn check_fits(&self, offset: u32, bytes: &[u8]) -> Result<(), SimError> {
        let (len, size) = (bytes.len(), self.flash().size());
        match (offset as usize).checked_add(len) {
            Some(end) if end <= size as usize => Ok(()),
            _ => Err(SimError::FlashTooSmall { offset, len, size }),
        }
    }

    /// Runs until the board has printed `expected` and returns everything printed up to its end.
    /// Later output stays for the next call. The output is read where the host's cable is: on
    /// UART0, at any rate, unless [`Board::plug`] moved it. `within` is in the board's own time, so
    /// the result is the same on every host.
    ///
    /// # Errors
    /// [`SimError::NotSeen`] if the time is over, [`SimError::Stopped`] if the board can't
    /// continue; both contain what was printed until then.
    pub fn run_until(&mut self, expected: &[u8], within: Duration) -> Result<Vec<u8>, SimError> {
        let deadline = self.now().saturating_add(within);
        let mut printed = Vec::new();
        loop {
            if printed.ends_with(expected) {
                return Ok(printed);
            }
            if let Some(sent) = self.host_take_sent() {
                printed.push(sent.byte);
                continue;
            }
            let expected = || Printed(expected.to_vec());
            if self.now() >= deadline {
                let status = self.status();
                let printed = Printed(printed);
                return Err(SimError::NotSeen { expected: expected(), within, status, printed });
            }
            if let Err(source) = self.run_to(deadline, true) {
                let (source, printed) = (Box::new(source), Printed(printed));
                return Err(SimError::Stopped { expected: expected(), source, printed });
            }
        }
    }

    /// Runs for `time` on the board's clock and returns what was printed where the cable is.
    ///
    /// # Errors
    /// [`SimError::Stopped`] if the board can't continue.
    pub fn run_for(&mut self, time: Duration) -> Result<Vec<u8>, SimError> {
        let deadline = self.now().saturating_add(time);
        let ran = self.run_to(deadline, false);
        let mut printed = Vec::new();
        while let Some(sent) = self.host_take_sent() {
            printed.push(sent.byte);
        }
        match ran {
            Ok(()) => Ok(printed),
            Err(source) => Err(SimError::Stopped {
                expected: Printed(Vec::new()),
                source: Box::new(source),
                printed: Printed(printed),
            }),
        }
    }

    /// Sends bytes over the cable at UART0's current rate. Returns the time at which the last one
    /// has arrived.
    pub fn send(&mut self, bytes: &[u8]) -> Duration {
        let baud = self.baud();
        self.host_send(bytes, baud)
    }

    /// Returns `len` bytes at `addr` as the CPU would read them from RAM, ROM or mapped flash.
    /// Returns `None` if some of them are not in one of these: registers are not read, because
    /// reading can change a device.
    ///
    /// A symbol's address and size are in the ELF (`esplice_monitor::Symbols::symbol`).
    pub fn read_memory(&self, addr: u32, len: u32) -> Option<Vec<u8>> {
        let fabric = &self.soc.fabric;
        let flash = fabric.flash.nor.bytes();
        let last = addr.checked_add(len.saturating_sub(1))?;
        // The vector grows with the bytes that exist, whatever `len` is.
        let mut bytes = Vec::new();
        for addr in (addr..=last).take(len as usize) {
            bytes.push(fabric.memory.load8(addr, flash)?);
        }
        Some(bytes)
    }

    /// Sets the seed of the random number generator, which is 0 at first. Everything else is
    /// determined by the board's flash and external input, so the same seed gives the same run.
    pub fn set_seed(&mut self, seed: u64) {
        self.soc.fabric.random.set_seed(seed);
    }

    /// Presses and releases the reset button: EN falls and rises.
    pub fn press_reset(&mut self) {
        if self.lines.en_low() {
            return;
        }
        self.soc.reset(ResetReason::PowerOn);
        let rise = if self.soc.fabric.timed { crate::soc::clock::ticks(EN_RISE) } else { 0 };
        self.state = State::Rising(self.soc.fabric.now() + rise);
    }

    /// Switches the power off and on. A board that has not run yet is left as it is.
    fn switch_off_and_on(&mut self) {
        if self.resets > 0 {
            self.press_reset();
        }
    }
}

fn failed(error: NorError) -> SimError {
    SimError::FlashFailed(Arc::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_without_registers() {
        let mut board = Board::new("esp32c3").unwrap();
        // ESP32-C3 Technical Reference Manual, chapter 3: SRAM 1 on the data bus, and the same
        // bytes on the instruction bus; UART0 is at 0x6000_0000.
        let (data, code) = (0x3fc9_0000, 0x4039_0000);
        assert!(board.soc.fabric.memory.store32(data, 0x1234_5678));
        assert_eq!(board.read_memory(data, 4).as_deref(), Some(&[0x78, 0x56, 0x34, 0x12][..]));
        assert_eq!(board.read_memory(code, 2).as_deref(), Some(&[0x78, 0x56][..]));
        assert_eq!(board.read_memory(data, 0).as_deref(), Some(&[][..]));
        assert_eq!(board.read_memory(0x6000_0000, 4), None);
        assert_eq!(board.read_memory(data, u32::MAX), None);
        assert_eq!(board.read_memory(u32::MAX, 2), None);
        assert_eq!(board.read_memory(data, 0x1000_0000), None);
    }
}
