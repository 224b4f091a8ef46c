//! Detection of the board's crystal through the ROM loader, and its effect on baud rates.

use crate::{Addr, BitRange, Chip};

/// How to detect the crystal. Chips whose boards all have the same crystal don't need this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crystal {
    /// The UART's divider. The loader derived it from the baud rate at which the host talks to it,
    /// so the crystal's frequency is the product of the two.
    pub divider: BitRange,
    /// The crystal that the loader assumes when it is asked to change the baud rate.
    pub assumed: Option<AssumedCrystal>,
}

/// The crystal that the loader assumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssumedCrystal {
    /// Always the same frequency, in MHz.
    Mhz(u32),
    /// The frequency in MHz that a register holds.
    Register(BitRange),
}

impl Chip {
    /// Returns the crystal's frequency in MHz, given that the loader answers at `baud` and its
    /// UART's divider register holds `word`: the nearest of the frequencies that boards with this
    /// chip have.
    pub fn crystal_from_divider(&self, baud: u32, word: u32) -> u32 {
        let Some(crystal) = &self.crystal else { return self.xtal_mhz };
        let hz = u64::from(baud) * u64::from(crystal.divider.extract(word));
        let known = std::iter::once(self.xtal_mhz).chain(self.other_xtal_mhz.iter().copied());
        known.min_by_key(|mhz| (u64::from(*mhz) * 1_000_000).abs_diff(hz)).unwrap_or(self.xtal_mhz)
    }

    /// Returns the baud rate to request from the loader to get `baud` on a board with a crystal of
    /// `xtal_mhz`, when the loader assumes one of `assumed` MHz.
    pub fn loader_baud(&self, baud: u32, xtal_mhz: u32, assumed: u32) -> u32 {
        let asked = u64::from(baud) * u64::from(assumed);
        u32::try_from(asked / u64::from(xtal_mhz.max(1))).unwrap_or(u32::MAX)
    }
}

impl AssumedCrystal {
    /// Returns the register to read to find the frequency, if there is one.
    pub fn addr(&self) -> Option<Addr> {
        match self {
            AssumedCrystal::Mhz(_) => None,
            AssumedCrystal::Register(range) => Some(range.addr),
        }
    }

    /// Returns the frequency in MHz; `word` is the register's content.
    pub fn mhz(&self, word: u32) -> u32 {
        match self {
            AssumedCrystal::Mhz(mhz) => *mhz,
            AssumedCrystal::Register(range) => range.extract(word),
        }
    }
}

#[cfg(test)]
mod tests {
    /// The values that esptool computes for the same registers. tests/esptool.rs compares all
    /// chips.
    #[test]
    fn crystals_are_told_by_the_uarts_divider() {
        let c2 = crate::ChipDb::embedded().find("esp32c2").unwrap();
        let crystal = c2.crystal.as_ref().unwrap();
        for (word, expected) in [(226, 26), (0x10_00e2, 26), (278, 26), (347, 40), (417, 40)] {
            assert_eq!(c2.crystal_from_divider(115_200, word), expected, "{word}");
        }
        let assumed = crystal.assumed.unwrap();
        assert_eq!((assumed.addr(), assumed.mhz(7)), (None, 40));
        assert_eq!(c2.loader_baud(921_600, 26, 40), 1_417_846);
        assert_eq!(c2.loader_baud(921_600, 40, 40), 921_600);
        assert_eq!(c2.loader_baud(u32::MAX, 1, 40), u32::MAX);

        let c3 = crate::ChipDb::embedded().find("esp32c3").unwrap();
        assert_eq!((c3.crystal.is_none(), c3.crystal_from_divider(115_200, 226)), (true, 40));
    }
}
