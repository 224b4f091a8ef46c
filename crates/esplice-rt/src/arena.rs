//! An allocator for memory that is never freed.

#![allow(unsafe_code, reason = "hands out parts of memory that it owns")]

use core::{
    fmt,
    mem::{self, MaybeUninit},
};

use crate::pool::Pool;

/// Memory that is allocated piece by piece, each for ever: the whole of a memory layout's arena, or
/// any other static memory.
#[derive(Debug)]
pub struct Arena {
    free: &'static mut [MaybeUninit<u8>],
    len: usize,
}

/// An arena has too little room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenaFull {
    /// Bytes that were needed, with those for alignment.
    pub needed: usize,
    /// Bytes that are free.
    pub free: usize,
}

impl fmt::Display for ArenaFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes do not fit into an arena that has {} left", self.needed, self.free)
    }
}

impl core::error::Error for ArenaFull {}

impl Arena {
    /// Returns an arena of this memory. In firmware the module of the memory layout has a function
    /// for each: `Arena::new(layout::dma().unwrap())`.
    pub fn new(memory: &'static mut [MaybeUninit<u8>]) -> Arena {
        Arena { len: memory.len(), free: memory }
    }

    /// Returns an arena of bytes, such as those of an arena with `fill`.
    pub fn of_bytes(memory: &'static mut [u8]) -> Arena {
        let (start, len) = (memory.as_mut_ptr().cast(), memory.len());
        // SAFETY: bytes are valid as bytes that may be uninitialised, and nothing else can see them
        // as bytes again.
        Arena::new(unsafe { core::slice::from_raw_parts_mut(start, len) })
    }

    /// Returns the size of the arena in bytes.
    pub fn capacity(&self) -> usize {
        self.len
    }

    /// Returns how many bytes are free.
    pub fn remaining(&self) -> usize {
        self.free.len()
    }

    /// Takes `len` bytes with this alignment, a power of two.
    fn take(
        &mut self,
        len: usize,
        align: usize,
    ) -> Result<&'static mut [MaybeUninit<u8>], ArenaFull> {
        let skip = self.free.as_ptr().align_offset(align);
        let needed = skip.saturating_add(len);
        if needed > self.free.len() {
            return Err(ArenaFull { needed, free: self.free.len() });
        }
        let (taken, rest) = mem::take(&mut self.free).split_at_mut(needed);
        self.free = rest;
        Ok(taken.split_at_mut(skip).1)
    }

    /// Allocates a value.
    ///
    /// # Errors
    /// [`ArenaFull`] if there is no room; the value is dropped.
    pub fn alloc<T>(&mut self, value: T) -> Result<&'static mut T, ArenaFull> {
        let room = self.take(size_of::<T>(), align_of::<T>())?;
        let at = room.as_mut_ptr().cast::<T>();
        // SAFETY: the room is aligned, long enough and belongs to nobody else.
        unsafe {
            at.write(value);
            Ok(&mut *at)
        }
    }

    /// Allocates `len` values, each made by `make` from its index.
    ///
    /// # Errors
    /// [`ArenaFull`] if there is no room; `make` is not called then.
    pub fn alloc_slice<T>(
        &mut self,
        len: usize,
        mut make: impl FnMut(usize) -> T,
    ) -> Result<&'static mut [T], ArenaFull> {
        let room = self.take(len.saturating_mul(size_of::<T>()), align_of::<T>())?;
        let start = room.as_mut_ptr().cast::<T>();
        for index in 0..len {
            // SAFETY: the room is aligned, has `len` values and belongs to nobody else.
            unsafe { start.add(index).write(make(index)) };
        }
        // SAFETY: all values have been written.
        Ok(unsafe { core::slice::from_raw_parts_mut(start, len) })
    }

    /// Allocates `len` zero bytes, aligned to `align`, a power of two; DMA of some chips needs 4, and
    /// whole cache lines 32 or 64.
    ///
    /// # Errors
    /// [`ArenaFull`] if there is no room.
    ///
    /// # Panics
    /// Panics if `align` is not a power of two.
    pub fn bytes(&mut self, len: usize, align: usize) -> Result<&'static mut [u8], ArenaFull> {
        let room = self.take(len, align)?;
        room.fill(MaybeUninit::new(0));
        let (start, len) = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: the bytes have been written and belong to nobody else.
        Ok(unsafe { core::slice::from_raw_parts_mut(start, len) })
    }

    /// Allocates a pool of `count` buffers, 32 at most, of `len` bytes each, aligned to `align`, a
    /// power of two.
    ///
    /// # Errors
    /// [`ArenaFull`] if there is no room.
    ///
    /// # Panics
    /// Panics if `align` is not a power of two, or `count` is larger than 32.
    pub fn pool(
        &mut self,
        len: usize,
        align: usize,
        count: usize,
    ) -> Result<&'static Pool, ArenaFull> {
        assert!(count <= 32, "a pool has 32 buffers at most, not {count}");
        let stride = len.max(1).next_multiple_of(align);
        // Both or nothing.
        let needed = size_of::<Pool>() + align_of::<Pool>() + align + stride.saturating_mul(count);
        if needed > self.free.len() {
            return Err(ArenaFull { needed, free: self.free.len() });
        }
        let buffers = self.bytes(stride * count, align)?;
        self.alloc(Pool::of(buffers, len, stride, count as u32)).map(|pool| &*pool)
    }
}
