//! CRC-32, a nibble at a time: a table of 64 bytes instead of 1 KB.

/// CRC-32 of a stream (ISO 3309, the one of zlib).
#[derive(Clone, Copy)]
pub(crate) struct Crc32(u32);

const fn table() -> [u32; 16] {
    let mut table = [0; 16];
    let mut nibble = 0;
    while nibble < 16 {
        let mut rest = nibble as u32;
        let mut bit = 0;
        while bit < 4 {
            rest = rest >> 1 ^ if rest & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        table[nibble] = rest;
        nibble += 1;
    }
    table
}

static TABLE: [u32; 16] = table();

impl Crc32 {
    pub const NEW: Crc32 = Crc32(!0);

    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            self.0 = self.0 >> 4 ^ TABLE[(self.0 & 15) as usize];
            self.0 = self.0 >> 4 ^ TABLE[(self.0 & 15) as usize];
        }
    }

    pub fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
    #[test]
    fn the_check_value_is_right() {
        let mut crc = Crc32::NEW;
        crc.update(b"12345");
        crc.update(b"6789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }
}
