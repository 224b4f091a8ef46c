//! The copies that make an image from its base, with some wrong bytes in each (after Colin Percival,
//! "Naive differences of executable code", 2003).

use std::vec::Vec;

use super::suffix::Suffixes;

/// A range of the base that is similar to a range of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub old: u32,
    pub new: u32,
    pub len: u32,
}

/// An exact match is used if it is longer by this much than what the last copy would continue with.
const WORTHWHILE: usize = 8;
/// Matches of this length are not searched again at each of their bytes.
const LONG: usize = 256;

/// Returns the copies in the order of the image. They do not overlap in the image.
pub(super) fn align(base: &[u8], image: &[u8]) -> Vec<Copy> {
    let suffixes = Suffixes::new(base);
    let mut copies = Vec::new();
    let mut last = Anchor { old: 0, new: 0 };
    let is_equal = |old: usize, new: usize| base.get(old).is_some_and(|byte| *byte == image[new]);
    let (mut scan, mut len) = (0, 0);
    let mut found = 0;
    while scan < image.len() {
        scan += len;
        // Number of equal bytes in scan..counted if the last copy continues.
        let (mut score, mut counted) = (0, scan);
        let shifted = |at: usize| (at + last.old).wrapping_sub(last.new);
        while scan < image.len() {
            (found, len) = suffixes.longest(&image[scan..]);
            while counted < scan + len {
                score += usize::from(is_equal(shifted(counted), counted));
                counted += 1;
            }
            if (len == score && len != 0) || len > score + WORTHWHILE {
                break;
            }
            // The last copy is about as good for all of a long match: no need to look at each byte.
            let step = if len >= LONG { len / 2 } else { 1 };
            for at in scan..scan + step {
                score -= usize::from(at < counted && is_equal(shifted(at), at));
            }
            scan += step;
            counted = counted.max(scan);
        }
        let is_end = scan >= image.len();
        if len == score && !is_end {
            continue;
        }
        let forward = best_len(last.forward(base, image, scan));
        let next = Anchor { old: found, new: scan };
        let backward = if is_end { 0 } else { best_len(next.backward(base, image, last)) };
        let mut forward = forward;
        let mut backward = backward;
        // Both may claim the same bytes: split them where most are right.
        let overlap = (last.new + forward).saturating_sub(scan - backward);
        if overlap > 0 {
            let start = last.new + forward - overlap;
            let (mut gain, mut best, mut split) = (0_isize, 0, 0);
            for at in 0..overlap {
                let new = start + at;
                gain += isize::from(is_equal(shifted(new), new));
                gain -= isize::from(is_equal((new + found).wrapping_sub(scan), new));
                if gain > best {
                    (best, split) = (gain, at + 1);
                }
            }
            forward = forward - overlap + split;
            backward -= split;
        }
        if forward > 0 {
            let (old, new) = (last.old as u32, last.new as u32);
            copies.push(Copy { old, new, len: forward as u32 });
        }
        last = Anchor { old: found.saturating_sub(backward), new: scan - backward };
    }
    copies
}

#[derive(Clone, Copy)]
struct Anchor {
    old: usize,
    new: usize,
}

impl Anchor {
    /// Returns whether each byte from here to `stop` is equal.
    fn forward<'a>(
        self,
        base: &'a [u8],
        image: &'a [u8],
        stop: usize,
    ) -> impl Iterator<Item = bool> + 'a {
        let old = base.get(self.old..).unwrap_or_default();
        old.iter().zip(&image[self.new..stop]).map(|(old, new)| old == new)
    }

    /// Returns whether each byte before this, back to `last`, is equal.
    fn backward<'a>(
        self,
        base: &'a [u8],
        image: &'a [u8],
        last: Anchor,
    ) -> impl Iterator<Item = bool> + 'a {
        let (old, new) = (&base[..self.old], &image[last.new..self.new]);
        old.iter().rev().zip(new.iter().rev()).map(|(old, new)| old == new)
    }
}

/// Returns the length at which the right bytes most outweigh the wrong ones.
fn best_len(are_equal: impl Iterator<Item = bool>) -> usize {
    let (mut gain, mut best, mut len) = (0_isize, 0, 0);
    for (at, is_equal) in are_equal.enumerate() {
        gain += if is_equal { 1 } else { -1 };
        if gain > best {
            (best, len) = (gain, at + 1);
        }
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn copies_are_inside_both_and_in_order(
            base in proptest::collection::vec(0..3_u8, 0..400),
            image in proptest::collection::vec(0..3_u8, 0..400),
        ) {
            let mut end = 0;
            for copy in align(&base, &image) {
                prop_assert!(copy.len > 0 && copy.new >= end);
                end = copy.new + copy.len;
                prop_assert!(end as usize <= image.len());
                prop_assert!((copy.old + copy.len) as usize <= base.len());
            }
        }
    }

    #[test]
    fn an_insertion_makes_two_copies() {
        let base: Vec<u8> = (0..2000_u32).map(|n| (n * n % 251) as u8 ^ (n / 7) as u8).collect();
        let mut image = base.clone();
        image.splice(900..900, *b"inserted");
        let copies = align(&base, &image);
        assert_eq!(copies.len(), 2, "{copies:?}");
        assert_eq!((copies[1].old, copies[1].new + copies[1].len), (900, 2008));
    }
}
