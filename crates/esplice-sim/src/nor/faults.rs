//! Faults of a flash chip: interrupted operations, stuck bits and power cuts.

use std::{borrow::Cow, time::Duration};

use super::{Nor, NorError};
use crate::fault_plan::TornBy;

/// A flash operation to be interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tear {
    /// Number of the operation, counted from 0.
    pub operation: u64,
    /// Number of bytes that are completed, by default half.
    pub done: Option<u32>,
    /// Cause of the interruption.
    pub by: TornBy,
}

/// A stuck bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StuckBit {
    pub offset: u32,
    pub bit: u8,
    pub level: bool,
}

impl StuckBit {
    /// Returns `byte` with the bit at its stuck level.
    fn apply(&self, byte: u8) -> u8 {
        let mask = 1 << (self.bit & 7);
        if self.level { byte | mask } else { byte & !mask }
    }
}

impl Nor {
    /// Cuts the power after `operations` more operations. The next operation is interrupted
    /// half-way (the first half of its bytes is completed) and fails with [`NorError::NoPower`],
    /// like all later ones. `None` restores the power.
    pub fn cut_power_after(&mut self, operations: Option<u64>) {
        self.power_cut_at = operations.map(|more| self.operations.saturating_add(more));
    }

    /// Replaces the planned interruptions and stuck bits.
    pub(crate) fn set_faults(
        &mut self,
        tears: Vec<Tear>,
        stuck: Vec<StuckBit>,
    ) -> Result<(), NorError> {
        for bit in &stuck {
            let old = self.read(bit.offset, 1)?.first().copied().unwrap_or(0xff);
            self.put(bit.offset, &[bit.apply(old)])?;
        }
        (self.tears, self.stuck) = (tears, stuck);
        Ok(())
    }

    /// Returns and clears the descriptions of planned faults that have happened.
    pub(crate) fn take_fault_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fault_events)
    }

    /// Returns the time after which a planned power cut ends.
    pub(crate) fn power_back_after(&self) -> Option<Duration> {
        self.off.flatten()
    }

    /// Restores the power.
    pub(crate) fn power_on(&mut self) {
        self.off = None;
    }

    /// Returns the part of `new` that is completed at `offset`, and the cause if it is interrupted.
    pub(super) fn apply_tear<'a>(
        &mut self,
        offset: u32,
        new: &'a [u8],
    ) -> (&'a [u8], Option<TornBy>) {
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
        self.fault_events.push(format!(
            "flash operation {number} ({all} bytes at 0x{offset:x}) torn by {what} after \
             {done} bytes"
        ));
        (new.get(..done).unwrap_or(new), Some(by))
    }

    /// Returns `new` at `offset` with all stuck bits at their levels.
    pub(super) fn with_stuck_bits<'a>(&mut self, offset: u32, new: &'a [u8]) -> Cow<'a, [u8]> {
        let mut new = Cow::Borrowed(new);
        for bit in &self.stuck {
            let at = bit.offset.checked_sub(offset).map(|at| at as usize);
            let Some((at, byte)) = at.and_then(|at| Some((at, *new.get(at)?))) else { continue };
            if bit.apply(byte) != byte {
                let (number, level, at_all) = (bit.bit, u8::from(bit.level), bit.offset);
                self.fault_events
                    .push(format!("bit {number} at 0x{at_all:x} of the flash stays {level}"));
                if let Some(place) = new.to_mut().get_mut(at) {
                    *place = bit.apply(byte);
                }
            }
        }
        new
    }
}
