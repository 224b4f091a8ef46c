//! The encoder.

mod align;
mod body;
mod learn;
mod range;
mod references;
mod suffix;
mod tokens;

use std::vec::Vec;

use thiserror::Error;

use crate::{
    Isa, MAX_OPERATIONS,
    crc::Crc32,
    format::{Prefix, TAIL},
    image::Segments,
    memory,
};

use align::Copy;
use body::Plan;

/// A patch, and what it consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patch {
    /// Bytes of the patch.
    pub bytes: Vec<u8>,
    /// Kind: with or without a base.
    pub kind: PatchKind,
    /// Number of operations and corrections, for which an applier needs memory.
    pub operations: usize,
}

/// Kind of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// The difference from the base.
    Delta,
    /// The whole image, compressed.
    Whole,
}

/// Reason why no patch was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DiffError {
    /// An image is too long.
    #[error("the image has {len} bytes, and patches are for at most {most}")]
    TooLong {
        /// Length of the image in bytes.
        len: usize,
        /// The longest possible.
        most: usize,
    },
    /// The patch does not produce the image: a fault of this program.
    #[error("internal error: the patch does not produce the image")]
    NotReversible,
}

/// Longest image.
const MOST: usize = 64 << 20;
/// A patch of more than this many percent of the image is replaced by the image itself, compressed.
const WORTHWHILE_PERCENT: usize = 60;
/// Copies shorter than this are left to the body, where they take no memory. Each is tried.
const SHORTEST: [u32; 4] = [16, 32, 96, 256];

/// Returns the smallest patch found that turns `base` into `image`. `isa` is the instruction set of
/// both. An empty `base` yields a compressed image. The same arguments yield the same bytes.
///
/// The patch was applied and its result compared before it is returned.
///
/// # Errors
/// [`DiffError::TooLong`] for images of more than 64 MiB.
pub fn diff(base: &[u8], image: &[u8], isa: Isa) -> Result<Patch, DiffError> {
    for len in [base.len(), image.len()] {
        if len > MOST {
            return Err(DiffError::TooLong { len, most: MOST });
        }
    }
    let delta = if base.is_empty() { None } else { delta(base, image, isa) };
    let is_small = |patch: &Patch| patch.bytes.len() * 100 <= image.len() * WORTHWHILE_PERCENT;
    let mut patch = match delta {
        Some(delta) if is_small(&delta) => delta,
        delta => {
            let whole = whole(image);
            delta
                .filter(|delta| delta.bytes.len() < whole.bytes.len() && is_small(delta))
                .unwrap_or(whole)
        }
    };
    if memory::apply(base, &patch.bytes).as_deref() != Ok(image) {
        // A whole image does not depend on anything that could be wrong about the base.
        patch = whole(image);
        if memory::apply(&[], &patch.bytes).as_deref() != Ok(image) {
            return Err(DiffError::NotReversible);
        }
    }
    Ok(patch)
}

fn delta(base: &[u8], image: &[u8], isa: Isa) -> Option<Patch> {
    let has_tail = has_tail(image);
    let body = &image[..image.len() - if has_tail { TAIL as usize } else { 0 }];
    let (old, new) = (references::segments(base, isa), references::segments(image, isa));
    let are_images = !old.all().is_empty() && !new.all().is_empty();
    let isa = if are_images { isa } else { Isa::Unknown };
    let old_references = references::references(base, &old, isa);
    let new_references = references::references(image, &new, isa);
    let mut plan = Plan { isa, has_tail, old, new, copies: Vec::new(), corrections: Vec::new() };
    let mut alignments = Vec::new();
    if isa != Isa::Unknown {
        let bare = references::without_targets(base, &old_references);
        let bare_image = references::without_targets(image, &new_references);
        alignments.push(align::align(&bare, &bare_image[..body.len()]));
    }
    alignments.push(align::align(base, body));
    let mut finder = tokens::Finder::new(base, body);
    let mut best: Option<Patch> = None;
    for copies in alignments {
        for shortest in SHORTEST {
            plan.copies = longest(&copies, shortest, MAX_OPERATIONS);
            plan.corrections = Vec::new();
            let mut learnt = learn::corrections(&plan, &old_references, &new_references);
            learnt.truncate(MAX_OPERATIONS - plan.copies.len());
            let mut choices = std::vec![Vec::new()];
            if !learnt.is_empty() {
                choices.push(learnt);
            }
            for corrections in choices {
                plan.corrections = corrections;
                finder.restart();
                let stream = body::stream(&plan, &mut finder, base, body);
                let is_best =
                    best.as_ref().is_none_or(|best| Prefix::LEN + stream.len() < best.bytes.len());
                if is_best {
                    let operations = plan.copies.len() + plan.corrections.len();
                    let bytes = finish(base, image, &stream);
                    best = Some(Patch { bytes, kind: PatchKind::Delta, operations });
                }
            }
        }
    }
    best
}

/// Returns the copies of at least `shortest` bytes, the longest of them if there are more than
/// `most`.
fn longest(copies: &[Copy], shortest: u32, most: usize) -> Vec<Copy> {
    let mut lengths: Vec<u32> = copies.iter().map(|copy| copy.len).collect();
    lengths.sort_unstable_by_key(|len| std::cmp::Reverse(*len));
    let least = lengths.get(most).map_or(0, |len| len + 1);
    copies.iter().filter(|copy| copy.len >= shortest.max(least)).copied().collect()
}

fn whole(image: &[u8]) -> Patch {
    let has_tail = has_tail(image);
    let body = &image[..image.len() - if has_tail { TAIL as usize } else { 0 }];
    let plan = Plan {
        isa: Isa::Unknown,
        has_tail,
        old: Segments::NONE,
        new: Segments::NONE,
        copies: Vec::new(),
        corrections: Vec::new(),
    };
    let mut finder = tokens::Finder::new(&[], body);
    let stream = body::stream(&plan, &mut finder, &[], body);
    Patch { bytes: finish(&[], image, &stream), kind: PatchKind::Whole, operations: 0 }
}

/// Returns whether an image ends with the SHA-256 of what is before.
fn has_tail(image: &[u8]) -> bool {
    use sha2::{Digest as _, Sha256};
    let split = image.len().checked_sub(TAIL as usize);
    let split = split.and_then(|at| image.split_at_checked(at));
    split.is_some_and(|(body, tail)| Sha256::digest(body)[..] == *tail)
}

fn finish(base: &[u8], image: &[u8], stream: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let mut crc = Crc32::NEW;
        crc.update(bytes);
        crc.value()
    };
    let prefix = Prefix {
        base_len: base.len() as u32,
        base_crc: crc(base),
        image_len: image.len() as u32,
        image_crc: crc(image),
    };
    let mut bytes = prefix.to_bytes().to_vec();
    bytes.extend_from_slice(stream);
    bytes
}
