//! The applier for images in memory.

use std::{boxed::Box, vec, vec::Vec};

use thiserror::Error;

use crate::{Applier, ApplyError, Info, Io, MAX_OPERATIONS};

/// The base is shorter than a patch expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the base has {len} bytes, which is not what the patch was made for")]
pub struct MemoryError {
    /// Length of the base.
    pub len: usize,
}

struct Memory<'a> {
    patch: &'a [u8],
    base: &'a [u8],
    image: Vec<u8>,
}

impl Io for Memory<'_> {
    type Error = MemoryError;

    fn read_patch(&mut self, into: &mut [u8]) -> Result<usize, MemoryError> {
        let len = self.patch.len().min(into.len());
        let (now, later) = self.patch.split_at(len);
        into[..len].copy_from_slice(now);
        self.patch = later;
        Ok(len)
    }

    fn read_base(&mut self, offset: u32, into: &mut [u8]) -> Result<(), MemoryError> {
        let from = self.base.get(offset as usize..).and_then(|from| from.get(..into.len()));
        into.copy_from_slice(from.ok_or(MemoryError { len: self.base.len() })?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), MemoryError> {
        self.image.extend_from_slice(bytes);
        Ok(())
    }
}

/// Applies a patch to a base in memory and returns the new image.
///
/// # Errors
/// [`ApplyError::WrongBase`] also if the base has another length than the patch expects.
pub fn apply(base: &[u8], patch: &[u8]) -> Result<Vec<u8>, ApplyError<MemoryError>> {
    let info = Info::parse(patch).ok_or(ApplyError::NotAPatch)?;
    if info.base_len != 0 && info.base_len as usize != base.len() {
        return Err(ApplyError::WrongBase);
    }
    let mut memory = Memory { patch, base, image: Vec::new() };
    let mut slots = vec![0; MAX_OPERATIONS];
    let mut applier = Box::new(Applier::new());
    applier.apply(&mut memory, &mut slots, info.image_len)?;
    Ok(memory.image)
}
