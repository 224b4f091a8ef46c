//! Merges several writes into one file.

use esplice_chip::FlashOffset;

use crate::{FlashPlan, PlanError, Write};

/// Size in bytes of the largest flash that the vendor's tools know (esptool documentation, "Flash
/// Modes", flash size).
pub const LARGEST_FLASH: u32 = 128 << 20;

/// Returns the flash content from offset 0 to the end of the plan's last write, with 0xFF between
/// writes. It is identical to the output of `esptool merge-bin`.
///
/// # Errors
/// [`PlanError::SameBytes`]; [`PlanError::PastFlash`] for a write past the plan's flash size.
pub fn merged(plan: &FlashPlan) -> Result<Vec<u8>, PlanError> {
    joined(&in_order(&plan.writes, plan.flash.size)?, FlashOffset(0))
}

/// Returns the flash content from `start` to the end of the last write, or to offset `pad_to` if
/// that is later, with 0xFF where nothing is written. It is identical to the output of `esptool
/// merge-bin`.
///
/// # Errors
/// [`PlanError::SameBytes`]; [`PlanError::BeforeStart`]; [`PlanError::PastFlash`] for a write past
/// the end of the largest flash.
pub fn merge(
    writes: &[Write],
    start: FlashOffset,
    pad_to: Option<u32>,
) -> Result<Vec<u8>, PlanError> {
    let mut bytes = joined(&in_order(writes, LARGEST_FLASH)?, start)?;
    let len = pad_to.unwrap_or(0).min(LARGEST_FLASH).saturating_sub(start.0) as usize;
    bytes.resize(bytes.len().max(len), 0xff);
    Ok(bytes)
}

/// Sorts `writes` and checks that none overlap and all are inside a flash of `flash_size` bytes.
pub(crate) fn in_order(writes: &[Write], flash_size: u32) -> Result<Vec<&Write>, PlanError> {
    let mut sorted: Vec<&Write> = writes.iter().collect();
    sorted.sort_by_key(|write| write.offset);
    let mut before: Option<&Write> = None;
    for write in &sorted {
        let offset = write.offset;
        if write.end() > u64::from(flash_size) {
            let (name, len) = (write.name.clone(), write.data.len());
            return Err(PlanError::PastFlash { name, len, offset, flash_size });
        }
        if let Some(first) = before.filter(|first| first.end() > u64::from(offset.0)) {
            return Err(PlanError::SameBytes {
                first: first.name.clone(),
                first_end: first.end(),
                second: write.name.clone(),
                second_offset: offset,
            });
        }
        before = Some(write);
    }
    Ok(sorted)
}

fn joined(writes: &[&Write], start: FlashOffset) -> Result<Vec<u8>, PlanError> {
    let mut bytes = Vec::new();
    for write in writes {
        let at = write.offset.0.checked_sub(start.0).ok_or_else(|| PlanError::BeforeStart {
            name: write.name.clone(),
            offset: write.offset,
            start,
        })?;
        bytes.resize(at as usize, 0xff);
        bytes.extend_from_slice(&write.data);
    }
    Ok(bytes)
}
