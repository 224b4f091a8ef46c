//! Digests of sections, by which equal sections of two builds are found.

use std::collections::VecDeque;

use sha2::{Digest as _, Sha256};

use super::object::{Object, SHT_NOBITS, Section};

/// Maximum depth to which constants that refer to constants are followed.
const MAX_DEPTH: u32 = 32;

/// Digests that identify a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Digests {
    /// Digest of the contents and of the sections referred to, by names without the compiler's
    /// numbers and hashes.
    pub content: u64,
    /// Digest of the same with full names, which distinguishes sections that differ only in a type.
    pub full: u64,
    /// Digest of the length and of the sections referred to.
    pub shape: u64,
    /// Digest of the name without the numbers and hashes that change with each build.
    pub name: u64,
    /// Digest of the full name. The name of an anonymous constant is a number that changes with
    /// each constant before it, so its digest covers the section that refers to it and the
    /// reference's position.
    pub exact: u64,
}

/// Returns the first eight bytes of the SHA-256.
pub(crate) fn text_digest(bytes: &[u8]) -> u64 {
    first(Sha256::digest(bytes).as_ref())
}

fn first(hash: &[u8]) -> u64 {
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Returns the digests of every section that is loaded.
pub(crate) fn digests(object: &Object<'_>) -> Vec<Option<Digests>> {
    let mut contents = Contents { object, known: vec![None; object.sections.len()] };
    let uses = uses(object);
    let mut all = Vec::with_capacity(object.sections.len());
    for (number, section) in object.sections.iter().enumerate() {
        all.push((section.is_allocated() && section.size > 0).then(|| {
            let Known { content, full, shape } = contents.of(number, 0);
            let by_use = uses.get(number).copied().flatten();
            Digests {
                content,
                full,
                shape,
                name: text_digest(plain_name(section.name).as_bytes()),
                exact: by_use.unwrap_or_else(|| text_digest(section.name.as_bytes())),
            }
        }));
    }
    all
}

/// Returns, for each anonymous constant, a digest of the first section that refers to it and of the
/// number of anonymous constants that this section refers to before.
fn uses(object: &Object<'_>) -> Vec<Option<u64>> {
    let mut uses: Vec<Option<u64>> = vec![None; object.sections.len()];
    let named = |section: &Section<'_>| section.is_allocated() && !section.is_anonymous();
    let mut open: VecDeque<(usize, u64)> = VecDeque::new();
    for (number, section) in object.sections.iter().enumerate().filter(|(_, s)| named(s)) {
        open.push_back((number, text_digest(section.name.as_bytes())));
    }
    while let Some((number, digest)) = open.pop_front() {
        let Some(section) = object.sections.get(number) else { continue };
        let mut before = 0_u32;
        for relocation in &section.relocations {
            let Some((_, Some(target))) = object.target(relocation) else { continue };
            if !object.sections.get(target).is_some_and(Section::is_anonymous) {
                continue;
            }
            if let Some(of @ None) = uses.get_mut(target) {
                let mut place = digest.to_le_bytes().to_vec();
                place.extend(before.to_le_bytes());
                let place = text_digest(&place);
                *of = Some(place);
                open.push_back((target, place));
            }
            before += 1;
        }
    }
    uses
}

/// Digests of a section without its name.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    content: u64,
    full: u64,
    shape: u64,
}

struct Contents<'o, 'a> {
    object: &'o Object<'a>,
    known: Vec<Option<Known>>,
}

impl Contents<'_, '_> {
    fn of(&mut self, number: usize, depth: u32) -> Known {
        if let Some(Some(known)) = self.known.get(number) {
            return *known;
        }
        let Some(section) = self.object.sections.get(number) else { return Known::default() };
        // A placeholder while the digest is computed, which ends the recursion of self-references.
        if let Some(known) = self.known.get_mut(number) {
            *known = Some(Known { content: 1, full: 1, shape: 1 });
        }
        let mut shape = Sha256::new();
        for word in [section.size, section.kind, section.flags, section.align] {
            shape.update(word.to_le_bytes());
        }
        let mut full = shape.clone();
        for relocation in &section.relocations {
            for word in [relocation.offset, relocation.kind, relocation.addend.cast_unsigned()] {
                shape.update(word.to_le_bytes());
                full.update(word.to_le_bytes());
            }
            let Some((symbol, target)) = self.object.target(relocation) else { continue };
            match target.and_then(|target| Some((target, self.object.sections.get(target)?))) {
                Some((target, section)) if section.is_anonymous() && depth < MAX_DEPTH => {
                    let of = self.of(target, depth + 1);
                    shape.update(of.content.to_le_bytes());
                    shape.update(symbol.value.to_le_bytes());
                    full.update(of.full.to_le_bytes());
                    full.update(symbol.value.to_le_bytes());
                }
                Some((_, section)) => {
                    shape.update(plain_name(section.name));
                    shape.update(symbol.value.to_le_bytes());
                    full.update(section.name);
                    full.update(symbol.value.to_le_bytes());
                }
                None => {
                    shape.update(plain_name(symbol.name));
                    full.update(symbol.name);
                }
            }
        }
        let mut content = shape.clone();
        if section.kind != SHT_NOBITS {
            content.update(section.data);
            full.update(section.data);
        }
        let found = Known {
            content: first(content.finalize().as_ref()),
            full: first(full.finalize().as_ref()),
            shape: first(shape.finalize().as_ref()),
        };
        if let Some(known) = self.known.get_mut(number) {
            *known = Some(found);
        }
        found
    }
}

/// Removes the parts of a name that compilers number again in each build: LLVM's `.123` at the end,
/// the hash of the legacy mangling (`17h…E`), and in the v0 mangling the crate's disambiguator
/// (`Cs…_`) and back references (`B…_`), whose length depends on what precedes them (The rustc
/// book, Symbol Mangling, v0).
pub(crate) fn plain_name(name: &str) -> String {
    let mut name = name;
    while let Some((head, tail)) = name.rsplit_once('.') {
        if tail.is_empty() || !tail.bytes().all(|byte| byte.is_ascii_digit()) {
            break;
        }
        name = head;
    }
    let mut plain = String::with_capacity(name.len());
    let is_v0 = name.contains("_R");
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = legacy_hash(rest) {
            plain.push_str("17hE");
            rest = after;
        } else if let Some((short, after)) = is_v0.then(|| v0_number(rest)).flatten() {
            plain.push_str(short);
            rest = after;
        } else {
            plain.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    plain
}

fn legacy_hash(text: &str) -> Option<&str> {
    let after = text.strip_prefix("17h")?;
    let hash = after.get(..16)?;
    hash.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    after.get(16..)?.strip_prefix('E')
}

fn v0_number(text: &str) -> Option<(&'static str, &str)> {
    let number = |text: &'_ str| text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    if let Some(after) = text.strip_prefix("Cs") {
        let len = number(after);
        let after = (8..=13).contains(&len).then(|| after.get(len..)).flatten()?;
        return Some(("Cs_", after.strip_prefix('_')?));
    }
    let after = text.strip_prefix('B')?;
    let len = number(after);
    let after = (len <= 3).then(|| after.get(len..)).flatten()?;
    Some(("B_", after.strip_prefix('_')?))
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn names_lose_what_is_numbered_anew() {
        for (name, plain) in [
            (".text.main", ".text.main"),
            (".bss.X.12", ".bss.X"),
            (".text.f.llvm.123456", ".text.f.llvm"),
            (".text._ZN3foo3bar17h0123456789abcdefE", ".text._ZN3foo3bar17hE"),
            (".text._ZN3foo3bar17h0123E", ".text._ZN3foo3bar17h0123E"),
            (".text._RNvCs1234567890a_5large4main", ".text._RNvCs_5large4main"),
            (".text._RINvNtCsabcdefgh_4core3ptrBb_E", ".text._RINvNtCs_4core3ptrB_E"),
            (".rodata.str1.1.pabc", ".rodata.str1.1.pabc"),
        ] {
            assert_eq!(plain_name(name), plain);
        }
    }
}
