//! What goes wrong in a flash chip: operations that are torn, bits that are stuck, power that is cut.

use std::{borrow::Cow, time::Duration};

use super::{Nor, NorError};
use crate::fault_plan::TornBy;

/// A flash operation that is torn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tear {
    /// The operation, counted from 0.
    pub operation: u64,
    /// Bytes of it that are done; else half.
    pub done: Option<u32>,
    /// What tears it.
    pub by: TornBy,
}

/// A bit that can't be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StuckBit {
    pub offset: u32,
    pub bit: u8,
    pub level: bool,
}

impl StuckBit {
    /// `byte` with the bit as it is.
    fn of(&self, byte: u8) -> u8 {
        let mask = 1 << (self.bit & 7);
        if self.level { byte | mask } else { byte & !mask }
    }
}

impl Nor {
    /// Lets `operations` more operations happen; the next one is torn half-way (the first half of
    /// its bytes are done) and fails with [`NorError::NoPower`], as does all that follow.
    /// `None` gives the power back.
    pub fn cut_power_after(&mut self, operations: Option<u64>) {
        self.power_cut_at = operations.map(|more| self.operations.saturating_add(more));
    }

    /// Lets operations be torn and bits be stuck, in the place of those that were.
    pub(crate) fn set_faults(
        &mut self,
        tears: Vec<Tear>,
        stuck: Vec<StuckBit>,
    ) -> Result<(), NorError> {
        for bit in &stuck {
            let old = self.read(bit.offset, 1)?.first().copied().unwrap_or(0xff);
            self.put(bit.offset, &[bit.of(old)])?;
        }
        (self.tears, self.stuck) = (tears, stuck);
        Ok(())
    }

    /// What went wrong as planned since this was last asked.
    pub(crate) fn take_struck(&mut self) -> Vec<String> {
        std::mem::take(&mut self.struck)
    }

    /// After how long a planned power cut is over.
    pub(crate) fn power_back_after(&self) -> Option<Duration> {
        self.off.flatten()
    }

    /// The power is back.
    pub(crate) fn power_on(&mut self) {
        self.off = None;
    }

    /// What has become of `new` at `offset`, with what tears it.
    pub(super) fn torn<'a>(&mut self, offset: u32, new: &'a [u8]) -> (&'a [u8], Option<TornBy>) {
        let number = self.operations;
        let Some(tear) = self.tears.iter().find(|tear| tear.operation == number) else {
            return (new, None);
        };
        let (by, all) = (tear.by, new.len());
        let done = tear.done.map_or(all / 2, |done| all.min(done as usize));
        let what = match by {
            TornBy::Reset => "a reset",
            TornBy::PowerCut(_) => "a power cut",
        };
        self.struck.push(format!(
            "flash operation {number} ({all} bytes at 0x{offset:x}) torn by {what} after {done} bytes"
        ));
        (new.get(..done).unwrap_or(new), Some(by))
    }

    /// `new` at `offset` with the stuck bits as they are.
    pub(super) fn with_stuck_bits<'a>(&mut self, offset: u32, new: &'a [u8]) -> Cow<'a, [u8]> {
        let mut new = Cow::Borrowed(new);
        for bit in &self.stuck {
            let at = bit.offset.checked_sub(offset).map(|at| at as usize);
            let Some((at, byte)) = at.and_then(|at| Some((at, *new.get(at)?))) else { continue };
            if bit.of(byte) != byte {
                let (number, level, at_all) = (bit.bit, u8::from(bit.level), bit.offset);
                self.struck
                    .push(format!("bit {number} at 0x{at_all:x} of the flash stays {level}"));
                if let Some(place) = new.to_mut().get_mut(at) {
                    *place = bit.of(byte);
                }
            }
        }
        new
    }
}
