//! Counts how much flash and RAM the parts of an ELF take.

use std::collections::BTreeMap;

use esplice_chip::{Chip, RegionKind};

use crate::{
    LinkError,
    elf::Elf,
    map::{Kind, kind_of},
};

/// Grouping of the rows of [`Sizes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeBy {
    /// Sections of the ELF.
    Section,
    /// Rust crates, by the names of functions and variables.
    Crate,
    /// Functions and variables; all instances of a generic one are one row.
    Symbol,
}

/// Flash and RAM in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes stored in flash: code, constants and initial values.
    pub flash: u64,
    /// Bytes of RAM while the program runs: variables, and code that is executed from RAM.
    pub ram: u64,
}

impl Usage {
    fn add(&mut self, other: Usage) {
        self.flash += other.flash;
        self.ram += other.ram;
    }
}

/// A part of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SizeRow {
    /// Name of the section, crate or symbol. In parentheses: bytes without a symbol, or symbols
    /// that do not belong to a crate.
    pub name: String,
    /// Bytes it takes.
    pub usage: Usage,
    /// Number of sections or symbols in it, such as instances of a generic function.
    pub count: usize,
}

/// Flash and RAM of a program, and of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// The sum of all rows.
    pub total: Usage,
    /// The parts, the largest first.
    pub rows: Vec<SizeRow>,
}

/// A part whose size differs between two programs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SizeChange {
    /// Name of the part.
    pub name: String,
    /// Bytes it took; zero if it did not exist.
    pub old: Usage,
    /// Bytes it takes; zero if it no longer exists.
    pub new: Usage,
}

/// Returns the flash and RAM that `elf`, a program for `chip`, takes.
///
/// Only the program's own sections count, not heap, arenas and main stack: these take what a layout
/// assigns to them, or what is left. A section that is loaded into RAM takes both flash and RAM.
/// `readable` demangles the name of a symbol.
///
/// # Errors
/// [`LinkError`] if the file is not a valid ELF for the chip's processor.
pub fn sizes(
    elf: &[u8],
    chip: &Chip,
    by: SizeBy,
    readable: &dyn Fn(&str) -> String,
) -> Result<Sizes, LinkError> {
    let elf = Elf::read(elf, chip)?;
    let symbols = match by {
        SizeBy::Section => Vec::new(),
        SizeBy::Crate | SizeBy::Symbol => sorted(&elf),
    };
    let mut rows = Rows::default();
    for section in elf.sections.iter().filter(|s| kind_of(&s.name).0 == Kind::Section) {
        let kind = chip
            .regions
            .iter()
            .find(|region| section.addr.wrapping_sub(region.addr.0) < region.len)
            .map(|region| region.kind);
        let usage = |len: u32| Usage {
            flash: if section.loaded { len.into() } else { 0 },
            ram: if kind == Some(RegionKind::Ram) { len.into() } else { 0 },
        };
        // For example a gap in the addresses of flash.
        if usage(section.len) == Usage::default() {
            continue;
        }
        if by == SizeBy::Section {
            rows.add(section.name.clone(), usage(section.len));
            continue;
        }
        let end = section.addr.saturating_add(section.len);
        let (mut at, mut named) = (section.addr, 0);
        let first = symbols.partition_point(|(addr, ..)| *addr < section.addr);
        for (addr, len, name) in symbols.iter().skip(first).take_while(|(addr, ..)| *addr < end) {
            // The bytes of symbols that overlap count once.
            let stop = addr.saturating_add(*len).min(end);
            let start = at.max(*addr);
            if stop <= start {
                continue;
            }
            at = stop;
            named += stop - start;
            let name = readable(name);
            let name = if by == SizeBy::Crate { crate_of(&name) } else { folded(&name) };
            rows.add(name, usage(stop - start));
        }
        if named < section.len {
            rows.add(format!("(no symbol in {})", section.name), usage(section.len - named));
        }
    }
    Ok(rows.into_sizes())
}

/// Returns the parts whose sizes differ, the largest difference first.
pub fn compare_sizes(old: &Sizes, new: &Sizes) -> Vec<SizeChange> {
    let mut found: BTreeMap<&str, (Usage, Usage)> = BTreeMap::new();
    old.rows.iter().for_each(|row| found.entry(&row.name).or_default().0 = row.usage);
    new.rows.iter().for_each(|row| found.entry(&row.name).or_default().1 = row.usage);
    let mut changes: Vec<SizeChange> = found
        .into_iter()
        .filter(|(_, (old, new))| old != new)
        .map(|(name, (old, new))| SizeChange { name: name.to_owned(), old, new })
        .collect();
    changes.sort_by_key(|change| {
        let (old, new) = (change.old, change.new);
        std::cmp::Reverse(old.flash.abs_diff(new.flash) + old.ram.abs_diff(new.ram))
    });
    changes
}

/// Functions and variables by address; of several at one address, the longest comes first.
fn sorted(elf: &Elf) -> Vec<(u32, u32, &str)> {
    let mut symbols: Vec<_> =
        elf.pieces.iter().map(|(name, addr, len)| (*addr, *len, name.as_str())).collect();
    symbols.sort_unstable_by(|a, b| (a.0, b.1, a.2).cmp(&(b.0, a.1, b.2)));
    symbols
}

#[derive(Default)]
struct Rows(BTreeMap<String, (Usage, usize)>);

impl Rows {
    fn add(&mut self, name: String, usage: Usage) {
        let (sum, count) = self.0.entry(name).or_default();
        sum.add(usage);
        *count += 1;
    }

    fn into_sizes(self) -> Sizes {
        let mut total = Usage::default();
        let mut rows: Vec<SizeRow> = Vec::with_capacity(self.0.len());
        for (name, (usage, count)) in self.0 {
            total.add(usage);
            rows.push(SizeRow { name, usage, count });
        }
        // Stable, so that equal sizes are sorted by name.
        rows.sort_by_key(|row| std::cmp::Reverse((row.usage.flash + row.usage.ram, row.usage.ram)));
        Sizes { total, rows }
    }
}

/// Returns the crate of a demangled name: that of its path, or of the type or else the trait of an
/// implementation.
fn crate_of(name: &str) -> String {
    let unknown = || "(no crate)".to_owned();
    if !name.contains("::") {
        return unknown();
    }
    let inside = name.strip_prefix('<').unwrap_or(name);
    let mut parts = inside.splitn(2, " as ");
    let found = parts.find_map(first_of_path);
    found.map_or_else(unknown, str::to_owned)
}

/// Returns the first word of the path at the start of a type, after `&`, `[`, `dyn` and the like.
fn first_of_path(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(after) = ["&", "*const ", "*mut ", "mut ", "dyn ", "[", "(", "<"]
        .iter()
        .find_map(|prefix| rest.strip_prefix(prefix))
    {
        rest = after;
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let (word, after) = rest.split_at(end);
    (!word.is_empty() && after.starts_with("::")).then_some(word)
}

/// Returns a demangled name without type arguments, so that all instances of a generic function
/// have one name. `<T as Trait>` and `<impl Trait for T>` stay.
fn folded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut chars = name.char_indices();
    while let Some((at, c)) = chars.next() {
        let rest = &name[at + c.len_utf8()..];
        let follows_name = text.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let is_arguments = follows_name || text.ends_with("::") && !rest.starts_with("impl ");
        if c != '<' || !is_arguments {
            text.push(c);
            continue;
        }
        let kept = text.trim_end_matches("::").len();
        text.truncate(kept);
        let (mut depth, mut last) = (1, c);
        for (_, c) in chars.by_ref() {
            match c {
                '<' => depth += 1,
                // `->` is not a bracket.
                '>' if last != '-' => depth -= 1,
                _ => {}
            }
            last = c;
            if depth == 0 {
                break;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_a_generic_function_have_one_name() {
        for (name, expected) in [
            ("app::main", "app::main"),
            ("core::ptr::drop_in_place::<app::Big<u8>>", "core::ptr::drop_in_place"),
            ("app::call::<fn(u8) -> core::option::Option<u8>>::inner", "app::call::inner"),
            ("<alloc::vec::Vec<u8> as app::Put<u8>>::put", "<alloc::vec::Vec as app::Put>::put"),
            (
                "core::num::<impl core::fmt::Debug for u8>::fmt",
                "core::num::<impl core::fmt::Debug for u8>::fmt",
            ),
            ("<app::Led>::on", "<app::Led>::on"),
            ("broken::<never", "broken"),
            ("memcpy", "memcpy"),
        ] {
            assert_eq!(folded(name), expected, "{name}");
        }
    }

    #[test]
    fn a_symbol_belongs_to_the_crate_of_its_path() {
        for (name, expected) in [
            ("app::main::{closure#0}", "app"),
            ("<app::Led>::on", "app"),
            ("<&mut app::Led as core::fmt::Write>::write_str", "app"),
            ("<u32 as core::fmt::Display>::fmt", "core"),
            ("<[app::Led] as core::fmt::Debug>::fmt", "app"),
            ("<&dyn esp_hal::Pin as app::Blink>::blink", "esp_hal"),
            ("memcpy", "(no crate)"),
            ("<(", "(no crate)"),
            ("::", "(no crate)"),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }
}
