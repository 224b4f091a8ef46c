//! Compares two maps.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{Kind, MemoryMap};

/// The difference between two maps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Difference {
    /// The pieces that changed, by region and then by new address.
    pub changes: Vec<Change>,
    /// Region, bytes used before and after, for each region where they differ.
    pub regions: Vec<(String, u32, u32)>,
}

/// A piece of memory, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Key of its region.
    pub region: String,
    /// Kind of the piece.
    pub kind: Kind,
    /// Name of the piece.
    pub name: String,
    /// Address and length before; none if it is new.
    pub old: Option<(u32, u32)>,
    /// Address and length after; none if it is gone.
    pub new: Option<(u32, u32)>,
}

impl Difference {
    /// Returns whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.regions.is_empty()
    }

    /// Formats the difference as lines for a terminal.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (region, old, new) in &self.regions {
            let by = i64::from(*new) - i64::from(*old);
            let _ = writeln!(text, "{region:10} {old} -> {new} bytes used ({by:+})");
        }
        for change in &self.changes {
            let head =
                format!("  {:10} {:8} {:28}", change.region, change.kind.name(), change.name);
            let _ = match (change.old, change.new) {
                (None, Some((addr, len))) => {
                    writeln!(text, "{head} new at {addr:#010x}, {len} bytes")
                }
                (Some((addr, len)), None) => {
                    writeln!(text, "{head} gone from {addr:#010x}, {len} bytes")
                }
                (Some((a, x)), Some((b, y))) => {
                    let moved = if a == b {
                        format!("at {a:#010x}")
                    } else {
                        format!("{a:#010x} -> {b:#010x}")
                    };
                    let by = i64::from(y) - i64::from(x);
                    writeln!(text, "{head} {moved}, {x} -> {y} bytes ({by:+})")
                }
                (None, None) => Ok(()),
            };
        }
        text
    }
}

/// Returns the difference between `old` and `new`.
pub fn diff(old: &MemoryMap, new: &MemoryMap) -> Difference {
    let mut difference = Difference::default();
    let keys = new.regions.iter().chain(&old.regions).map(|region| region.key.as_str());
    let mut seen: Vec<&str> = Vec::new();
    for key in keys {
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let used = |map: &MemoryMap| map.region(key).map_or(0, |region| region.used());
        let (before, after) = (used(old), used(new));
        if before != after {
            difference.regions.push((key.to_owned(), before, after));
        }
        let (before, after) = (pieces(old, key), pieces(new, key));
        let mut changes: Vec<Change> = Vec::new();
        for (piece, range) in &after {
            if before.get(piece) != Some(range) {
                changes.push(change(key, piece, before.get(piece), Some(range)));
            }
        }
        changes.sort_by_key(|change| change.new);
        difference.changes.append(&mut changes);
        let gone = before.iter().filter(|(piece, _)| !after.contains_key(*piece));
        difference.changes.extend(gone.map(|(piece, range)| change(key, piece, Some(range), None)));
    }
    difference
}

/// Kind, name, and index among the pieces of the same kind and name.
type Piece = (Kind, String, usize);

fn pieces(map: &MemoryMap, key: &str) -> BTreeMap<Piece, (u32, u32)> {
    let mut pieces = BTreeMap::new();
    for item in map.region(key).iter().flat_map(|region| &region.items) {
        let same = |(kind, name, _): &&Piece| *kind == item.kind && *name == item.name;
        let count = pieces.keys().filter(same).count();
        pieces.insert((item.kind, item.name.clone(), count), (item.addr, item.len));
    }
    pieces
}

fn change(
    region: &str,
    (kind, name, _): &Piece,
    old: Option<&(u32, u32)>,
    new: Option<&(u32, u32)>,
) -> Change {
    Change {
        region: region.to_owned(),
        kind: *kind,
        name: name.clone(),
        old: old.copied(),
        new: new.copied(),
    }
}
