//! Suffix arrays by induced sorting (Nong, Zhang and Chan, "Two Efficient Algorithms for Linear Time
//! Suffix Array Construction", IEEE Transactions on Computers 60(10), 2011).

use std::{vec, vec::Vec};

/// The suffixes of a text in order.
pub(super) struct Suffixes<'a> {
    text: &'a [u8],
    sorted: Vec<u32>,
}

impl<'a> Suffixes<'a> {
    pub fn new(text: &'a [u8]) -> Suffixes<'a> {
        let symbols: Vec<u32> = text.iter().map(|byte| u32::from(*byte)).collect();
        Suffixes { text, sorted: sort(&symbols, 255) }
    }

    /// Returns where the longest prefix of `pattern` is in the text, and its length.
    pub fn longest(&self, pattern: &[u8]) -> (usize, usize) {
        let at = self.sorted.partition_point(|start| &self.text[*start as usize..] < pattern);
        let candidates = [at.checked_sub(1), Some(at)];
        let matches = candidates.into_iter().flatten().filter_map(|at| self.sorted.get(at));
        let matches = matches.map(|start| {
            let start = *start as usize;
            (start, common(&self.text[start..], pattern))
        });
        matches.max_by_key(|(_, len)| *len).unwrap_or((0, 0))
    }
}

/// Returns the number of equal bytes at the start of both.
pub(super) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

const NONE: u32 = u32::MAX;

/// Sorts the suffixes of a text with symbols of at most `upper`.
fn sort(text: &[u32], upper: usize) -> Vec<u32> {
    let n = text.len();
    if n < 2 {
        return (0..n as u32).collect();
    }
    // A suffix is small if it comes before the one after it.
    let mut is_small = vec![false; n];
    for at in (0..n - 1).rev() {
        let (this, next) = (text[at], text[at + 1]);
        is_small[at] = if this == next { is_small[at + 1] } else { this < next };
    }
    // Start of the large and of the small suffixes of each symbol.
    let (mut large, mut small) = (vec![0_u32; upper + 2], vec![0_u32; upper + 2]);
    for (symbol, is_small) in text.iter().zip(&is_small) {
        if *is_small {
            large[*symbol as usize + 1] += 1;
        } else {
            small[*symbol as usize] += 1;
        }
    }
    for symbol in 0..=upper {
        small[symbol] += large[symbol];
        large[symbol + 1] += small[symbol];
    }
    let buckets = Buckets { text, is_small: &is_small, large: &large, small: &small };
    // The leftmost small suffix of each run, in the order of the text.
    let leftmost: Vec<u32> =
        (1..n as u32).filter(|at| is_small[*at as usize] && !is_small[*at as usize - 1]).collect();
    let mut sorted = buckets.induce(&leftmost);
    if leftmost.is_empty() {
        return sorted;
    }
    let mut number = vec![NONE; n];
    for (index, at) in leftmost.iter().enumerate() {
        number[*at as usize] = index as u32;
    }
    let mut order: Vec<u32> =
        sorted.iter().copied().filter(|at| number[*at as usize] != NONE).collect();
    // Equal pieces between leftmost ones get equal names.
    let end = |at: u32| leftmost.get(number[at as usize] as usize + 1).map_or(n, |e| *e as usize);
    let mut names = vec![0; leftmost.len()];
    let mut name = 0;
    for pair in order.windows(2) {
        let (a, b) = (pair[0] as usize, pair[1] as usize);
        let (end_a, end_b) = (end(pair[0]), end(pair[1]));
        let is_same =
            end_a - a == end_b - b && end_a < n && end_b < n && text[a..=end_a] == text[b..=end_b];
        name += u32::from(!is_same);
        names[number[b] as usize] = name;
    }
    let ranks = sort(&names, name as usize);
    for (place, rank) in order.iter_mut().zip(ranks) {
        *place = leftmost[rank as usize];
    }
    sorted = buckets.induce(&order);
    sorted
}

struct Buckets<'a> {
    text: &'a [u32],
    is_small: &'a [bool],
    large: &'a [u32],
    small: &'a [u32],
}

impl Buckets<'_> {
    /// Sorts all suffixes, given the order of the leftmost small ones.
    fn induce(&self, leftmost: &[u32]) -> Vec<u32> {
        let n = self.text.len();
        let mut sorted = vec![NONE; n];
        let mut next = self.small.to_vec();
        let mut put = |next: &mut Vec<u32>, at: usize| {
            let place = &mut next[self.text[at] as usize];
            sorted[*place as usize] = at as u32;
            *place += 1;
        };
        leftmost.iter().for_each(|at| put(&mut next, *at as usize));
        next.copy_from_slice(self.large);
        put(&mut next, n - 1);
        for index in 0..n {
            let at = sorted[index];
            if at != NONE && at > 0 && !self.is_small[at as usize - 1] {
                let place = &mut next[self.text[at as usize - 1] as usize];
                sorted[*place as usize] = at - 1;
                *place += 1;
            }
        }
        next.copy_from_slice(self.large);
        for index in (0..n).rev() {
            let at = sorted[index];
            if at != NONE && at > 0 && self.is_small[at as usize - 1] {
                let place = &mut next[self.text[at as usize - 1] as usize + 1];
                *place -= 1;
                sorted[*place as usize] = at - 1;
            }
        }
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &[u8]) {
        let mut expected: Vec<u32> = (0..text.len() as u32).collect();
        expected.sort_by_key(|at| &text[*at as usize..]);
        assert_eq!(Suffixes::new(text).sorted, expected, "{text:?}");
    }

    #[test]
    fn repetitive_texts_are_sorted() {
        check(b"");
        check(b"a");
        check(b"aaaaaaaaaa");
        check(b"mississippi");
        check(&b"abab".repeat(100));
        check(&[255; 300]);
    }

    proptest! {
        #[test]
        fn any_text_is_sorted(text in proptest::collection::vec(0..4_u8, 0..300)) {
            check(&text);
        }

        #[test]
        fn the_longest_match_is_found(
            text in proptest::collection::vec(0..3_u8, 1..100),
            pattern in proptest::collection::vec(0..3_u8, 1..20),
        ) {
            let (at, len) = Suffixes::new(&text).longest(&pattern);
            prop_assert_eq!(&text[at..at + len], &pattern[..len]);
            let best = (0..text.len()).map(|at| common(&text[at..], &pattern)).max().unwrap();
            prop_assert_eq!(len, best);
        }
    }
}
