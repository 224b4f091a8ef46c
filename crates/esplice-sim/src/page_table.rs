//! A table with a number for each 4 KiB page of the address space.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, LazyLock},
};

/// Pages of the address space.
pub(crate) const PAGES: usize = 1 << 20;

/// Starts as all 0. A copy takes no memory until one of both is changed.
#[derive(Debug, Clone)]
pub(crate) struct PageTable(Arc<[u32; PAGES]>);

impl PageTable {
    pub fn new() -> Self {
        static EMPTY: LazyLock<PageTable> = LazyLock::new(|| {
            let zeros: Arc<[u32]> = std::iter::repeat_n(0, PAGES).collect();
            PageTable(zeros.try_into().expect("the length is that of the table"))
        });
        EMPTY.clone()
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
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}
