//! Pools of equal buffers. A buffer has one owner at a time, and returns when that drops it.

#![allow(unsafe_code, reason = "a buffer is the only owner of its bytes")]

use core::{
    fmt,
    future::poll_fn,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    task::Poll,
};

use crate::sync::{AtomicU32, Bits, Ordering, Waiter};

/// Up to 32 equal buffers in an arena, made by [`Arena::pool`](crate::arena::Arena::pool).
///
/// Tasks and interrupts may take and drop buffers at the same time. That is lock-free where the chip
/// has atomic read-modify-write instructions; where it has none, interrupts are off for about ten
/// instructions.
pub struct Pool {
    start: NonNull<u8>,
    /// Bytes from one buffer to the next.
    stride: usize,
    len: usize,
    count: u32,
    free: Bits,
    least: AtomicU32,
    waiter: Waiter,
}

// SAFETY: a buffer's bytes belong to the `Buf` that took its number from `free`, and everything else
// is atomic or constant.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    /// Returns a pool of `count` buffers of `len` bytes that lie `stride` bytes apart.
    pub(crate) fn of(buffers: &'static mut [u8], len: usize, stride: usize, count: u32) -> Pool {
        Pool {
            start: NonNull::from(buffers).cast(),
            stride,
            len,
            count,
            free: Bits::below(count),
            least: AtomicU32::new(count),
            waiter: Waiter::new(),
        }
    }

    /// Returns the length of a buffer in bytes.
    pub fn buffer_len(&self) -> usize {
        self.len
    }

    /// Returns how many buffers the pool has.
    pub fn buffers(&self) -> u32 {
        self.count
    }

    /// Returns how many buffers are free.
    pub fn available(&self) -> u32 {
        self.free.count()
    }

    /// Returns the least number of buffers that were free after one was taken.
    pub fn least_available(&self) -> u32 {
        self.least.load(Ordering::Relaxed)
    }

    /// Takes a buffer; none if all are in use. It is empty, and its bytes are those of its last use.
    pub fn take(&'static self) -> Option<Buf> {
        let index = self.free.take()?;
        let left = self.free.count();
        // A statistic: two that take at the same time may lose one of their values.
        if left < self.least.load(Ordering::Relaxed) {
            self.least.store(left, Ordering::Relaxed);
        }
        Some(Buf { pool: self, index, len: 0 })
    }

    /// Waits for a buffer. If several tasks wait, they wake each other up in turn.
    pub async fn wait(&'static self) -> Buf {
        poll_fn(|context| {
            if let Some(buffer) = self.take() {
                return Poll::Ready(buffer);
            }
            self.waiter.wait(context.waker());
            self.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Makes a buffer of bytes that came from [`Buf::into_static`], such as those that a DMA
    /// transfer gives back. The first `filled` bytes are its contents.
    ///
    /// # Errors
    /// Returns the bytes if they are no whole buffer of this pool, or shorter than `filled`.
    pub fn restore(
        &'static self,
        bytes: &'static mut [u8],
        filled: usize,
    ) -> Result<Buf, &'static mut [u8]> {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.start.as_ptr() as usize);
        let (index, within) = (offset / self.stride, offset % self.stride);
        let whole = within == 0 && index < self.count as usize && bytes.len() == self.len;
        if !whole || filled > self.len {
            return Err(bytes);
        }
        Ok(Buf { pool: self, index: index as u32, len: filled })
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} of {} buffers of {} bytes)", self.available(), self.count, self.len)
    }
}

/// A buffer of a pool. Its contents are its first [`len`](slice::len) bytes; it never moves them.
pub struct Buf {
    pool: &'static Pool,
    index: u32,
    len: usize,
}

impl Buf {
    fn start(&self) -> *mut u8 {
        // SAFETY: the buffer lies within the pool's bytes.
        unsafe { self.pool.start.as_ptr().add(self.index as usize * self.pool.stride) }
    }

    /// Returns how many bytes the buffer can hold.
    pub fn capacity(&self) -> usize {
        self.pool.len
    }

    /// Returns the whole buffer, beyond its contents too. [`Buf::set_len`] says afterwards how many
    /// bytes were filled.
    pub fn spare(&mut self) -> &mut [u8] {
        // SAFETY: these bytes are initialised and belong to this buffer alone.
        unsafe { core::slice::from_raw_parts_mut(self.start(), self.pool.len) }
    }

    /// Sets the length of the contents, at most that of the buffer.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.pool.len);
    }

    /// Replaces the contents, and returns how many of the bytes found room.
    pub fn fill_from(&mut self, bytes: &[u8]) -> usize {
        self.len = 0;
        self.push_all(bytes)
    }

    /// Appends bytes, and returns how many of them found room.
    pub fn push_all(&mut self, bytes: &[u8]) -> usize {
        let from = self.len;
        let count = bytes.len().min(self.pool.len - from);
        if let (Some(to), Some(bytes)) =
            (self.spare().get_mut(from..from + count), bytes.get(..count))
        {
            to.copy_from_slice(bytes);
        }
        self.len = from + count;
        count
    }

    /// Appends a byte. Returns false if the buffer is full.
    pub fn push(&mut self, byte: u8) -> bool {
        let at = self.len;
        let Some(place) = self.spare().get_mut(at) else { return false };
        *place = byte;
        self.len = at + 1;
        true
    }

    /// Returns the whole buffer as bytes that a DMA driver can own. Give them back by
    /// [`Pool::restore`]; otherwise the pool has a buffer less.
    pub fn into_static(self) -> &'static mut [u8] {
        let (start, len) = (self.start(), self.pool.len);
        core::mem::forget(self);
        // SAFETY: the buffer was their only owner and is gone without returning to the pool.
        unsafe { core::slice::from_raw_parts_mut(start, len) }
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: these bytes are initialised and belong to this buffer alone.
        unsafe { core::slice::from_raw_parts(self.start(), self.len) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        self.spare().split_at_mut(len).0
    }
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Buf {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        self.pool.free.give(self.index);
        self.pool.waiter.wake();
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} of {} bytes)", self.len, self.pool.len)
    }
}
