//! Serial EEPROMs of the 24C series (Microchip 24LC02B and 24LC32A data sheets; the other sizes
//! alike): page writes that wrap in their page, sequential reads that wrap at the end, and no
//! acknowledgement while a page is written.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::I2cPart;

/// Sizes by the kind's name: bytes, bytes of a page, bytes of an address.
pub(super) const SIZES: [(&str, usize, usize, u8); 7] = [
    ("24c01", 128, 8, 1),
    ("24c02", 256, 8, 1),
    ("24c32", 4096, 32, 2),
    ("24c64", 8192, 32, 2),
    ("24c128", 16_384, 64, 2),
    ("24c256", 32_768, 64, 2),
    ("24c512", 65_536, 128, 2),
];

/// Time that a page takes, the maximum of the data sheets.
pub(super) const WRITE_TIME: Duration = Duration::from_millis(5);

/// An EEPROM.
#[derive(Debug)]
pub struct Eeprom {
    bytes: Vec<u8>,
    page: usize,
    address_len: u8,
    write_time: Duration,
    /// Time up to which a page is written.
    busy_until: Duration,
    /// Address that the next byte is read from.
    address: usize,
    /// Bytes of the address that are still to come.
    address_due: u8,
    /// Bytes of the page to write, with their addresses.
    page_bytes: Vec<(usize, u8)>,
    file: Option<PathBuf>,
    /// Error of writing the file.
    failure: Option<(PathBuf, io::Error)>,
}

impl Eeprom {
    /// Returns an erased EEPROM of a kind such as `24c02`, or `None` for an unknown one.
    pub fn new(kind: &str) -> Option<Eeprom> {
        let (_, len, page, address_len) = SIZES.into_iter().find(|(name, ..)| *name == kind)?;
        Some(Eeprom {
            bytes: vec![0xff; len],
            page,
            address_len,
            write_time: WRITE_TIME,
            busy_until: Duration::ZERO,
            address: 0,
            address_due: 0,
            page_bytes: Vec::new(),
            file: None,
            failure: None,
        })
    }

    /// Returns the number of bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Sets the time that a page takes to write, 5 ms at first.
    #[must_use]
    pub fn with_write_time(mut self, time: Duration) -> Eeprom {
        self.write_time = time;
        self
    }

    /// Keeps the contents in a file, which changes with each page written. A missing file is
    /// created, erased.
    ///
    /// # Errors
    /// The system's error, or [`io::ErrorKind::InvalidData`] if the file's length is not that of the
    /// EEPROM.
    pub fn with_file(mut self, path: &Path) -> io::Result<Eeprom> {
        match fs::File::open(path) {
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(self.bytes.len() as u64 + 1).read_to_end(&mut bytes)?;
                if bytes.len() != self.bytes.len() {
                    let expected = self.bytes.len();
                    let message = match bytes.len() > expected {
                        true => format!("it has more than {expected} bytes"),
                        false => format!("it has {} bytes instead of {expected}", bytes.len()),
                    };
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                self.bytes = bytes;
                // Opened once for writing, so that a write-protected file is reported now.
                fs::OpenOptions::new().write(true).open(path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::write(path, &self.bytes)?,
            Err(error) => return Err(error),
        }
        self.file = Some(path.into());
        Ok(self)
    }

    fn is_busy(&self, now: Duration) -> bool {
        now < self.busy_until
    }

    /// Writes the page.
    fn program(&mut self, now: Duration) {
        for (address, byte) in std::mem::take(&mut self.page_bytes) {
            if let Some(place) = self.bytes.get_mut(address) {
                *place = byte;
            }
        }
        self.busy_until = now.saturating_add(self.write_time);
        if let Some(path) = &self.file
            && let Err(error) = fs::write(path, &self.bytes)
        {
            self.failure = Some((path.clone(), error));
        }
    }
}

impl I2cPart for Eeprom {
    fn start(&mut self, read: bool, now: Duration) -> bool {
        // A start condition instead of a stop condition drops the page.
        self.page_bytes.clear();
        self.address_due = if read { 0 } else { self.address_len };
        !self.is_busy(now)
    }

    fn write(&mut self, byte: u8, _now: Duration) -> bool {
        let len = self.bytes.len();
        if self.address_due > 0 {
            let first = self.address_due == self.address_len;
            self.address_due -= 1;
            let before = if first { 0 } else { self.address };
            self.address = (before << 8 | usize::from(byte)) % len;
            return true;
        }
        self.page_bytes.push((self.address, byte));
        // Only the last byte for an address counts; this bounds what an endless write keeps.
        if self.page_bytes.len() > self.page {
            self.page_bytes.remove(0);
        }
        let start = self.address / self.page * self.page;
        self.address = start + (self.address + 1 - start) % self.page;
        true
    }

    fn read(&mut self, _now: Duration) -> u8 {
        let byte = self.bytes.get(self.address).copied().unwrap_or(0xff);
        self.address = (self.address + 1) % self.bytes.len();
        byte
    }

    fn stop(&mut self, now: Duration) {
        if !self.page_bytes.is_empty() {
            self.program(now);
        }
    }

    fn contents(&self) -> Option<&[u8]> {
        Some(&self.bytes)
    }

    fn take_failure(&mut self) -> Option<(PathBuf, io::Error)> {
        self.failure.take()
    }

    fn boxed_clone(&self) -> Box<dyn I2cPart> {
        Box::new(Eeprom {
            bytes: self.bytes.clone(),
            page_bytes: self.page_bytes.clone(),
            file: None,
            failure: None,
            ..*self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);
    const LATER: Duration = Duration::from_millis(1006);

    fn write(eeprom: &mut Eeprom, bytes: &[u8], now: Duration) {
        assert!(eeprom.start(false, now));
        for byte in bytes {
            assert!(eeprom.write(*byte, now));
        }
        eeprom.stop(now);
    }

    fn read(eeprom: &mut Eeprom, address: &[u8], len: usize, now: Duration) -> Vec<u8> {
        assert!(eeprom.start(false, now));
        for byte in address {
            assert!(eeprom.write(*byte, now));
        }
        assert!(eeprom.start(true, now));
        let bytes = (0..len).map(|_| eeprom.read(now)).collect();
        eeprom.stop(now);
        bytes
    }

    #[test]
    fn a_page_is_written_after_the_stop_and_takes_its_time() {
        let mut eeprom = Eeprom::new("24c32").unwrap();
        write(&mut eeprom, &[0x0f, 0xfe, 1, 2], NOW);
        assert!(!eeprom.start(false, NOW + Duration::from_micros(4999)));
        // The page of 32 bytes begins at 0xfe0, so nothing wraps yet.
        assert_eq!(read(&mut eeprom, &[0x0f, 0xfd], 3, LATER), [0xff, 1, 2]);
        // A sequential read goes on at the beginning.
        write(&mut eeprom, &[0, 0, 7], LATER);
        let later = LATER + LATER;
        assert_eq!(read(&mut eeprom, &[0x0f, 0xff], 2, later), [2, 7]);
        // A read without an address goes on where the last one ended.
        assert!(eeprom.start(true, later));
        assert_eq!(eeprom.read(later), 0xff);
    }

    #[test]
    fn a_write_wraps_in_its_page() {
        let mut eeprom = Eeprom::new("24c02").unwrap();
        write(&mut eeprom, &[6, 1, 2, 3], NOW);
        assert_eq!(read(&mut eeprom, &[0], 8, LATER), [3, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2]);
        let many: Vec<u8> = [8].into_iter().chain(1..=20).collect();
        write(&mut eeprom, &many, LATER);
        let later = LATER + LATER;
        assert_eq!(read(&mut eeprom, &[8], 9, later), [17, 18, 19, 20, 13, 14, 15, 16, 0xff]);
    }

    #[test]
    fn a_repeated_start_drops_the_page() {
        let mut eeprom = Eeprom::new("24c02").unwrap();
        assert!(eeprom.start(false, NOW) && eeprom.write(0, NOW) && eeprom.write(5, NOW));
        assert_eq!(read(&mut eeprom, &[0], 1, NOW), [0xff]);
        assert!(eeprom.start(true, NOW), "nothing was written");
    }

    #[test]
    fn a_file_keeps_the_contents() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("eeprom.bin");
        let open = || Eeprom::new("24c02").unwrap().with_file(&path);
        let mut eeprom = open().unwrap();
        write(&mut eeprom, &[3, 9], NOW);
        let mut copy = eeprom.boxed_clone();
        assert!(copy.start(false, LATER) && copy.write(3, LATER) && copy.write(1, LATER));
        copy.stop(LATER);
        assert_eq!(copy.contents().unwrap()[3], 1);
        assert_eq!(open().unwrap().contents().unwrap()[3], 9);
        fs::write(&path, [0; 255]).unwrap();
        assert_eq!(open().unwrap_err().to_string(), "it has 255 bytes instead of 256");
        fs::write(&path, [0; 257]).unwrap();
        assert_eq!(open().unwrap_err().to_string(), "it has more than 256 bytes");
    }
}
