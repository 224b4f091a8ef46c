//! What ROM functions are charged: cycles of the ROM's own code, measured, by what a call has to do.

use std::collections::BTreeMap;

/// What a call has to do, by the words under which the chip's table tells what each takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    /// Bytes that were worked on, where that is all there is to say.
    pub units: u64,
    /// The bytes were taken one by one, as addresses or lengths were odd.
    pub slow: bool,
    /// Other things that were done, and how often.
    parts: Vec<(&'static str, u64)>,
}

impl Work {
    pub fn units(units: u64) -> Self {
        Self { units, ..Self::default() }
    }

    /// Something that was done `times`.
    pub fn of(part: &'static str, times: u64) -> Self {
        Self::default().and(part, times)
    }

    /// And something else.
    pub fn and(mut self, part: &'static str, times: u64) -> Self {
        self.add(part, times);
        self
    }

    pub fn add(&mut self, part: &'static str, times: u64) {
        match self.parts.iter_mut().find(|(known, _)| *known == part) {
            Some((_, so_far)) => *so_far = so_far.saturating_add(times),
            None => self.parts.push((part, times)),
        }
    }

    /// Other work, so many times.
    pub fn add_all(&mut self, other: &Work, times: u64) {
        for (part, each) in &other.parts {
            self.add(part, each.saturating_mul(times));
        }
    }

    /// What copying is made of (ROM: `memcpy`): words where both addresses can be brought to a word's border, nine in a
    /// row first, else bytes.
    pub fn add_copy(&mut self, to: u32, from: u32, len: u64) {
        if (to ^ from) & 3 != 0 || len < 4 {
            return self.add("byte", len);
        }
        let head = u64::from(to.wrapping_neg() & 3);
        let words = (len - head) / 4;
        // Nine words are copied as long as more than eight are left.
        let nines = words.saturating_sub(8).div_ceil(9);
        self.add("aligned", 1);
        self.add("head", head);
        self.add("nine-words", nines);
        self.add("word", words.saturating_sub(9 * nines));
        self.add("byte", (len - head) % 4);
    }

    #[cfg(test)]
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.parts.iter().copied()
    }
}

/// Cycles that the ROM's code of a function takes, measured: so many for a call, and for each piece of work.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Cost {
    /// Of a call.
    call: i64,
    /// Of 1024 bytes more.
    #[serde(default)]
    per_kib: u64,
    /// The same where bytes are taken one by one.
    slow_kib: Option<u64>,
    /// Of 1024 times something else.
    #[serde(default)]
    per_1024: BTreeMap<String, i64>,
    /// What a call takes depends on the numbers it is given, and these are figures for most of them.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests hold the hooks to it"))]
    rough: bool,
    /// How far from it the ROM's code was when it was measured, at most.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests hold the hooks to it"))]
    within: u64,
}

impl Cost {
    pub fn cycles(&self, work: &Work) -> u64 {
        let per_kib = self.slow_kib.filter(|_| work.slow).unwrap_or(self.per_kib);
        let parts = work.parts.iter().fold(0, |sum: i64, (part, times)| {
            let cycles = self.per_1024.get(*part).copied().unwrap_or(0);
            sum.saturating_add(cycles.saturating_mul(i64::try_from(*times).unwrap_or(i64::MAX)))
        });
        let units = i64::try_from(work.units.saturating_mul(per_kib)).unwrap_or(i64::MAX);
        let cycles = self.call.saturating_add(units.saturating_add(parts) / 1024);
        u64::try_from(cycles).unwrap_or(0)
    }

    #[cfg(test)]
    pub(crate) fn is_rough(&self) -> bool {
        self.rough
    }

    #[cfg(test)]
    pub(crate) fn within(&self) -> u64 {
        self.within
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.per_1024.keys().map(String::as_str)
    }
}
