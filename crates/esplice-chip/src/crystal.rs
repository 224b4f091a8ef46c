//! Which crystal a board has, as its ROM loader lets one tell, and what that means for baud rates.

use crate::{Addr, BitRange, Chip};

/// How the loader lets one tell the crystal. Chips that always have the same one need none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crystal {
    /// The UART's divider. The loader has found it by the baud rate that it was spoken to at, so that the
    /// crystal's frequency is their product.
    pub divider: BitRange,
    /// The crystal that the loader counts on when it is told another baud rate.
    pub counted_on: Option<CountedOn>,
}

/// The crystal that the loader takes for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedOn {
    /// Always the same, in MHz.
    Mhz(u32),
    /// What a register says, in MHz.
    Register(BitRange),
}

impl Chip {
    /// The crystal in MHz when the loader answers at `baud` and its UART's divider register holds
    /// `word`: of those that boards with this chip have, the nearest.
    pub fn crystal_of_divider(&self, baud: u32, word: u32) -> u32 {
        let Some(crystal) = &self.crystal else { return self.xtal_mhz };
        let hz = u64::from(baud) * u64::from(crystal.divider.of(word));
        let known = std::iter::once(self.xtal_mhz).chain(self.other_xtal_mhz.iter().copied());
        known.min_by_key(|mhz| (u64::from(*mhz) * 1_000_000).abs_diff(hz)).unwrap_or(self.xtal_mhz)
    }

    /// The baud rate to ask the loader for, so that a board with a crystal of `xtal_mhz` speaks at
    /// `baud` though the loader counts on one of `counted_on` MHz.
    pub fn loader_baud(&self, baud: u32, xtal_mhz: u32, counted_on: u32) -> u32 {
        let asked = u64::from(baud) * u64::from(counted_on);
        u32::try_from(asked / u64::from(xtal_mhz.max(1))).unwrap_or(u32::MAX)
    }
}

impl CountedOn {
    /// The register that must be read to know it, if there is one.
    pub fn addr(&self) -> Option<Addr> {
        match self {
            CountedOn::Mhz(_) => None,
            CountedOn::Register(range) => Some(range.addr),
        }
    }

    /// In MHz; `word` is what the register holds.
    pub fn mhz(&self, word: u32) -> u32 {
        match self {
            CountedOn::Mhz(mhz) => *mhz,
            CountedOn::Register(range) => range.of(word),
        }
    }
}

#[cfg(test)]
mod tests {
    /// Values that esptool gives for the same registers, see tests/esptool.rs for all of them.
    #[test]
    fn crystals_are_told_by_the_uarts_divider() {
        let c2 = crate::find("esp32c2").unwrap();
        let crystal = c2.crystal.as_ref().unwrap();
        for (word, expected) in [(226, 26), (0x10_00e2, 26), (278, 26), (347, 40), (417, 40)] {
            assert_eq!(c2.crystal_of_divider(115_200, word), expected, "{word}");
        }
        let counted_on = crystal.counted_on.unwrap();
        assert_eq!((counted_on.addr(), counted_on.mhz(7)), (None, 40));
        assert_eq!(c2.loader_baud(921_600, 26, 40), 1_417_846);
        assert_eq!(c2.loader_baud(921_600, 40, 40), 921_600);
        assert_eq!(c2.loader_baud(u32::MAX, 1, 40), u32::MAX);

        let c3 = crate::find("esp32c3").unwrap();
        assert_eq!((c3.crystal.is_none(), c3.crystal_of_divider(115_200, 226)), (true, 40));
    }
}
