//! A table with a number for each 4 KiB page of the address space.

use std::ops::{Deref, DerefMut};

/// Pages of the address space.
pub(crate) const PAGES: usize = 1 << 20;
/// Entries compared together when a table is copied: one page of the host.
const PIECE: usize = 1024;

/// Starts as all 0, in memory that the host's allocator provides zeroed. Untouched parts cost
/// nothing, also in a copy.
#[derive(Debug)]
pub(crate) struct PageTable(Box<[u32; PAGES]>);

impl PageTable {
    pub fn new() -> Self {
        Self(vec![0; PAGES].try_into().expect("the length is that of the table"))
    }
}

impl Clone for PageTable {
    fn clone(&self) -> Self {
        let mut copy = Self::new();
        for (to, from) in copy.0.chunks_mut(PIECE).zip(self.0.chunks(PIECE)) {
            if from.iter().any(|number| *number != 0) {
                to.copy_from_slice(from);
            }
        }
        copy
    }
}

impl Deref for PageTable {
    type Target = [u32; PAGES];

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for PageTable {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
