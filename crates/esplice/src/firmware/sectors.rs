//! Counts the flash sectors in which two images differ.

use std::fmt;

/// Size of a NOR flash sector, the smallest erasable unit, in bytes (any flash chip's data sheet;
/// ESP32-C3 TRM, SPI controller).
const SECTOR: usize = 4096;

/// Number of sectors in which two images differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sectors {
    pub differ: usize,
    /// Sectors of the longer image.
    pub total: usize,
}

impl Sectors {
    /// Compares two images that begin at the same flash offset.
    pub fn between(old: &[u8], new: &[u8]) -> Sectors {
        let total = old.len().max(new.len()).div_ceil(SECTOR);
        let (mut old, mut new) = (old.chunks(SECTOR), new.chunks(SECTOR));
        let differ = (0..total).filter(|_| old.next() != new.next()).count();
        Sectors { differ, total }
    }
}

impl fmt::Display for Sectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} sectors", self.differ, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::Sectors;

    #[test]
    fn sectors_are_counted_to_the_end_of_the_longer() {
        let (one, mut two) = (vec![1; 4096 * 3], vec![1; 4096 * 4 + 1]);
        two[4095] = 2;
        assert_eq!(Sectors::between(&one, &two), Sectors { differ: 3, total: 5 });
        assert_eq!(Sectors::between(&two, &two).differ, 0);
        assert_eq!(Sectors::between(&[], &[]), Sectors { differ: 0, total: 0 });
    }
}
