//! One file of all writes: the flash from offset 0.

use crate::{FlashPlan, PlanError, PlannedWrite};

/// The flash from offset 0 to the end of the last write, 0xFF between writes, equal to what
/// `esptool merge-bin` makes of them.
///
/// # Errors
/// [`PlanError::Overlap`]; [`PlanError::PastFlash`] for a write behind the plan's flash size.
pub fn merged(plan: &FlashPlan) -> Result<Vec<u8>, PlanError> {
    let flash_size = plan.flash.size;
    let mut writes: Vec<&PlannedWrite> = plan.writes.iter().collect();
    writes.sort_by_key(|write| write.offset);
    let mut bytes = Vec::new();
    let mut before: Option<&PlannedWrite> = None;
    for write in writes {
        let offset = write.offset;
        if write.end() > u64::from(flash_size) {
            let (name, len) = (write.name.clone(), write.data.len());
            return Err(PlanError::PastFlash { name, len, offset, flash_size });
        }
        if let Some(first) = before.filter(|first| first.end() > u64::from(offset.0)) {
            return Err(PlanError::Overlap {
                first: first.name.clone(),
                first_end: first.end(),
                second: write.name.clone(),
                second_offset: offset,
            });
        }
        bytes.resize(offset.0 as usize, 0xff);
        bytes.extend_from_slice(&write.data);
        before = Some(write);
    }
    Ok(bytes)
}
