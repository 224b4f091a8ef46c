//! CRC-32 as in Ethernet and zip files (polynomial 0xEDB88320, reflected).

/// Remainders of all values of four bits, lowest bit first.
const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut value = 0;
    while value < 16 {
        let mut remainder = value as u32;
        let mut bit = 0;
        while bit < 4 {
            let carry = remainder & 1 != 0;
            remainder >>= 1;
            if carry {
                remainder ^= 0xedb8_8320;
            }
            bit += 1;
        }
        table[value] = remainder;
        value += 1;
    }
    table
};

/// A checksum in progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Crc(u32);

impl Crc {
    /// Starts a checksum.
    pub const fn new() -> Crc {
        Crc(0)
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = !self.0;
        for byte in bytes {
            crc ^= u32::from(*byte);
            crc = crc >> 4 ^ TABLE[(crc & 15) as usize];
            crc = crc >> 4 ^ TABLE[(crc & 15) as usize];
        }
        self.0 = !crc;
    }

    /// Returns the checksum of all bytes so far.
    pub const fn finish(self) -> u32 {
        self.0
    }
}

/// Returns the checksum of `bytes`.
///
/// ```
/// assert_eq!(esplice_stub::crc::crc32(b"123456789"), 0xcbf4_3926);
/// ```
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.finish()
}
