//! The two ends of a decoder: compressed bytes that arrive in pieces, and the window of the bytes
//! that were produced last.

/// Compressed bytes in the order of the stream.
///
/// A decoder asks for a byte only if [`Source::available`] promised enough of them, or if the
/// stream is complete; past the end it reads zeros.
pub trait Source {
    /// Returns the next byte.
    fn next(&mut self) -> u8;

    /// Returns the number of bytes that have arrived and were not read.
    fn available(&self) -> usize;

    /// Returns true if the whole stream has arrived.
    fn is_complete(&self) -> bool;
}

/// Reason why a stream can't be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadStream;

/// The last `N` bytes that a decoder produced, in a ring. `N` is a power of two.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Window<const N: usize> {
    /// Number of bytes produced since the start.
    pub position: u32,
    bytes: [u8; N],
}

impl<const N: usize> Default for Window<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Window<N> {
    const MASK: usize = {
        assert!(N.is_power_of_two());
        N - 1
    };

    /// Creates an empty window.
    pub const fn new() -> Self {
        Window { position: 0, bytes: [0; N] }
    }

    /// Appends a byte.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) {
        self.bytes[self.position as usize & Self::MASK] = byte;
        self.position = self.position.wrapping_add(1);
    }

    /// Returns the byte at `position` of the stream, which must be among the last `N`.
    #[inline(always)]
    pub fn at(&self, position: u32) -> u8 {
        self.bytes[position as usize & Self::MASK]
    }

    /// Appends `len` bytes that begin `distance` bytes back; 1 is the last byte.
    ///
    /// # Errors
    /// [`BadStream`] if the window does not reach as far back.
    pub fn copy(&mut self, distance: u32, len: u32) -> Result<(), BadStream> {
        if distance == 0 || distance > self.position || distance as usize > N {
            return Err(BadStream);
        }
        for _ in 0..len {
            let byte = self.at(self.position.wrapping_sub(distance));
            self.push(byte);
        }
        Ok(())
    }
}
