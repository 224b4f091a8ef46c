//! Matches the sections of this link with those of the last one.

use std::collections::{HashMap, VecDeque};

use super::{
    items::Item,
    record::{Entry, Record},
};

/// Returns, for each entry of `record`, the matching item. `zones` maps the record's zones to those
/// of the items.
pub(crate) fn match_up(
    record: &Record,
    zones: &[Option<usize>],
    items: &[Item],
) -> Vec<Option<usize>> {
    let mut matching = Matching {
        entries: &record.entries,
        zones,
        items,
        taken: vec![None; record.entries.len()],
        used: vec![false; items.len()],
    };
    // First the same file, name and contents; then renamed sections; then anonymous constants by
    // their contents; and last changed sections. Anonymous constants are first matched by the
    // section that uses them, as many are equal except for a number or the name of what they refer
    // to.
    matching.by(|k| (!k.anonymous).then_some((k.file, k.exact, k.content)));
    matching.by(|k| k.anonymous.then_some((k.file, k.exact, k.full)));
    matching.by(|k| k.anonymous.then_some((k.file, 0, k.full)));
    matching.by(|k| (!k.anonymous).then_some((0, k.exact, k.content)));
    matching.by(|k| k.anonymous.then_some((k.file, k.exact, k.content)));
    matching.by(|k| Some((k.file, k.name, k.content)));
    matching.by(|k| Some((0, k.name, k.content)));
    matching.by(|k| k.anonymous.then_some((0, 0, k.content)));
    matching.by(|k| (!k.anonymous).then_some((k.file, k.exact, 0)));
    matching.by(|k| (!k.anonymous).then_some((k.file, k.name, 0)));
    matching.by(|k| (!k.anonymous).then_some((0, k.name, 0)));
    matching.by(|k| k.anonymous.then_some((k.file, k.exact, k.shape)));
    matching.by(|k| k.anonymous.then_some((k.file, k.name, k.shape)));
    matching.by(|k| k.anonymous.then_some((k.file, k.exact, 0)));
    matching.taken
}

/// The digests that must be equal.
type Key = (u64, u64, u64);

/// Properties by which sections are compared.
struct Keys {
    zone: usize,
    anonymous: bool,
    file: u64,
    name: u64,
    exact: u64,
    content: u64,
    full: u64,
    shape: u64,
}

struct Matching<'a> {
    entries: &'a [Entry],
    zones: &'a [Option<usize>],
    items: &'a [Item],
    taken: Vec<Option<usize>>,
    used: Vec<bool>,
}

impl Matching<'_> {
    /// Pairs unmatched entries and items with the same key, in order.
    fn by(&mut self, key: impl Fn(&Keys) -> Option<Key>) {
        let mut waiting: HashMap<(usize, Key), VecDeque<usize>> = HashMap::new();
        for (number, item) in self.items.iter().enumerate().filter(|(n, _)| !self.used[*n]) {
            let keys = Keys {
                zone: item.zone,
                anonymous: item.anonymous,
                file: item.file,
                name: item.digests.name,
                exact: item.digests.exact,
                content: item.digests.content,
                full: item.digests.full,
                shape: item.digests.shape,
            };
            if let Some(key) = key(&keys) {
                waiting.entry((keys.zone, key)).or_default().push_back(number);
            }
        }
        for (entry, taken) in self.entries.iter().zip(&mut self.taken) {
            if taken.is_some() {
                continue;
            }
            let Some(Some(zone)) = self.zones.get(entry.zone as usize) else { continue };
            let keys = Keys {
                zone: *zone,
                anonymous: entry.anonymous,
                file: entry.file,
                name: entry.digests.name,
                exact: entry.digests.exact,
                content: entry.digests.content,
                full: entry.digests.full,
                shape: entry.digests.shape,
            };
            let Some(key) = key(&keys) else { continue };
            let Some(number) = waiting.get_mut(&(keys.zone, key)).and_then(VecDeque::pop_front)
            else {
                continue;
            };
            *taken = Some(number);
            if let Some(used) = self.used.get_mut(number) {
                *used = true;
            }
        }
    }
}
