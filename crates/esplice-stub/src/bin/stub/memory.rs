//! Buffers with addresses of their own, which keeps the code small: a large buffer within a
//! structure moves the other fields out of reach of short instructions.

use core::cell::UnsafeCell;

/// Numbers in memory, all zero at the start. `N` is a power of two.
pub struct Buffer<T, const N: usize>(UnsafeCell<[T; N]>);

// SAFETY: there is one core and there are no interrupts, and no references are handed out but by
// `all`.
unsafe impl<T, const N: usize> Sync for Buffer<T, N> {}

impl<const N: usize> Buffer<u8, N> {
    pub const fn new() -> Self {
        Buffer(UnsafeCell::new([0; N]))
    }
}

impl<const N: usize> Buffer<u32, N> {
    pub const fn words() -> Self {
        Buffer(UnsafeCell::new([0; N]))
    }
}

impl<T: Copy, const N: usize> Buffer<T, N> {
    const MASK: usize = {
        assert!(N.is_power_of_two());
        N - 1
    };

    /// Returns the number at `place`, counted around the end.
    #[inline(always)]
    pub fn get(&self, place: usize) -> T {
        // SAFETY: the mask keeps the place within the buffer.
        unsafe { self.0.get().cast::<T>().add(place & Self::MASK).read() }
    }

    /// Sets the number at `place`, counted around the end.
    #[inline(always)]
    pub fn set(&self, place: usize, value: T) {
        // SAFETY: as for `get`.
        unsafe { self.0.get().cast::<T>().add(place & Self::MASK).write(value) }
    }
}

/// Something larger that is used through references.
pub struct Place<T>(UnsafeCell<T>);

// SAFETY: there is one core and there are no interrupts.
unsafe impl<T> Sync for Place<T> {}

impl<T> Place<T> {
    pub const fn new(value: T) -> Place<T> {
        Place(UnsafeCell::new(value))
    }

    /// Returns the only reference.
    ///
    /// # Safety
    /// No other may be in use.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn take(&self) -> &mut T {
        // SAFETY: the caller promises it.
        unsafe { &mut *self.0.get() }
    }
}
