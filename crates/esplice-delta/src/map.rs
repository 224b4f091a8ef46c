//! Where an address of the base is in the new image.

use crate::image::Segments;

/// The copy operations by their place in the base, followed by the corrections of addresses. Each
/// takes one word of the caller's memory.
pub(crate) struct AddressMap<'a> {
    /// Operations: offset in the base above offset in the new image. Corrections: first address above
    /// what is added to it and to those that follow.
    slots: &'a mut [u64],
    operations: usize,
    corrections: usize,
}

fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn high(slot: u64) -> u32 {
    (slot >> 32) as u32
}

fn low(slot: u64) -> u32 {
    slot as u32
}

impl<'a> AddressMap<'a> {
    pub fn new(slots: &'a mut [u64]) -> AddressMap<'a> {
        AddressMap { slots, operations: 0, corrections: 0 }
    }

    /// Returns how many operations and corrections there is memory for.
    pub fn room(&self) -> usize {
        self.slots.len()
    }

    /// Adds an operation. All come before the corrections. Returns `false` if there is no room.
    #[must_use]
    pub fn push_operation(&mut self, old: u32, new: u32) -> bool {
        let Some(slot) = self.slots.get_mut(self.operations) else { return false };
        *slot = pair(old, new);
        self.operations += 1;
        true
    }

    /// Adds a correction: from the address `first` on, `add` is added. They come in ascending order.
    /// Returns `false` if there is no room.
    #[must_use]
    pub fn push_correction(&mut self, first: u32, add: i32) -> bool {
        let at = self.operations + self.corrections;
        let Some(slot) = self.slots.get_mut(at) else { return false };
        *slot = pair(first, add as u32);
        self.corrections += 1;
        true
    }

    /// Sorts the operations by their place in the base, once all are there.
    pub fn sort(&mut self) {
        self.slots[..self.operations].sort_unstable();
    }

    fn operations(&self) -> &[u64] {
        &self.slots[..self.operations]
    }

    /// Returns the first operation at or after `new` in the new image: its offsets in base and image.
    /// Looks at all operations, because they are sorted by the base.
    pub fn next_operation(&self, new: u32) -> Option<(u32, u32)> {
        let after = self.operations().iter().filter(|slot| low(**slot) >= new);
        after.min_by_key(|slot| low(**slot)).map(|slot| (high(*slot), low(*slot)))
    }

    /// Returns where an address of the base is expected in the new image.
    pub fn predict(&self, addr: u32, old: &Segments, new: &Segments) -> u32 {
        let moved = self.moved(addr, old, new).unwrap_or(addr);
        let corrections = &self.slots[self.operations..self.operations + self.corrections];
        let after = corrections.partition_point(|slot| high(*slot) <= addr);
        let add = after.checked_sub(1).map_or(0, |at| low(corrections[at]));
        moved.wrapping_add(add)
    }

    fn moved(&self, addr: u32, old: &Segments, new: &Segments) -> Option<u32> {
        let offset = old.offset_of(addr)?;
        let operations = self.operations();
        let after = operations.partition_point(|slot| high(*slot) <= offset);
        let slot = *operations.get(after.saturating_sub(1))?;
        new.addr_of(offset.wrapping_sub(high(slot)).wrapping_add(low(slot)))
    }
}
