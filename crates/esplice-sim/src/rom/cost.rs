//! Costs of ROM functions: measured cycles of the ROM's own code, by the work of a call.

use std::collections::BTreeMap;

/// The work of a call, with the names under which the chip's table lists its costs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    /// Bytes processed, if nothing else determines the cost.
    pub units: u64,
    /// True if bytes were processed one by one, because of unaligned addresses or lengths.
    pub slow: bool,
    /// Other operations and their numbers.
    parts: Vec<(&'static str, u64)>,
}

impl Work {
    pub fn units(units: u64) -> Self {
        Self { units, ..Self::default() }
    }

    /// Returns work of `times` times `part`.
    pub fn of(part: &'static str, times: u64) -> Self {
        Self::default().and(part, times)
    }

    /// Adds `times` times `part`.
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

    /// Adds other work `times` times.
    pub fn add_all(&mut self, other: &Work, times: u64) {
        for (part, each) in &other.parts {
            self.add(part, each.saturating_mul(times));
        }
    }

    /// Adds the parts of a copy (ROM: `memcpy`): words if both addresses can be aligned together,
    /// first nine at a time; else bytes.
    pub fn add_copy(&mut self, to: u32, from: u32, len: u64) {
        if (to ^ from) & 3 != 0 || len < 4 {
            return self.add("byte", len);
        }
        let head = u64::from(to.wrapping_neg() & 3);
        let words = (len - head) / 4;
        // Nine words at a time are copied while more than eight are left.
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

/// Measured cycles of the ROM's code of a function: per call and per piece of work.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Cost {
    /// Cycles of a call.
    call: i64,
    /// Cycles of each 1024 bytes.
    #[serde(default)]
    per_kib: u64,
    /// The same if bytes are processed one by one.
    slow_kib: Option<u64>,
    /// Cycles of each 1024 other operations.
    #[serde(default)]
    per_1024: BTreeMap<String, i64>,
    /// True if the cycles depend on the operands. If so, the figures apply only to most of them.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "checked by the tests"))]
    rough: bool,
    /// Largest difference from the ROM's code when it was measured.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "checked by the tests"))]
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
