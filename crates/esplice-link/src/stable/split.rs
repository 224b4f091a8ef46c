//! Splits sections of mergeable strings and constants.
//!
//! The compiler puts the program's zero-terminated strings into one section, and constants of a
//! length into another, so a new one moves all that follow. Here each becomes a separate section,
//! named by its content, that can be pinned like any other.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    StableError,
    digest::text_digest,
    object::{Object, Patch, Rewriter, SHF_MERGE, SHF_STRINGS, Section},
};

/// Splits every mergeable section of an object that is loaded into one section per piece. If no
/// symbol separates the pieces, the section stays whole and is no longer merged with others.
///
/// Symbols that the linker would have omitted from its output with the merged sections (`.L…`) lose
/// their names, so that the output has the same symbols as without the split.
///
/// # Errors
/// [`StableError::Object`] if it is not a valid little-endian relocatable ELF32 file.
///
/// ```
/// assert!(esplice_link::stable::split_object(b"no ELF").is_err());
/// ```
pub fn split_object(bytes: &[u8]) -> Result<Cow<'_, [u8]>, StableError> {
    let object = Object::read(bytes)?;
    let wanted = |section: &Section<'_>| section.is_allocated() && section.flags & SHF_MERGE != 0;
    if !object.sections.iter().any(wanted) {
        return Ok(Cow::Borrowed(bytes));
    }
    let Some(mut rewriter) = Rewriter::new(&object) else { return Ok(Cow::Borrowed(bytes)) };
    let whole = used_as_wholes(&object);
    let mut symbols: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, symbol) in object.symbols.iter().enumerate() {
        if let Some(section) = symbol.section.filter(|_| !symbol.is_section) {
            symbols.entry(section).or_default().push(number);
        }
    }
    // Equal pieces of a file become one, as the linker would have merged them.
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for (number, section) in object.sections.iter().enumerate() {
        if !wanted(section) {
            continue;
        }
        let symbols = symbols.get(&number).map(Vec::as_slice).unwrap_or_default();
        let starts = if whole.contains(&number) { None } else { starts(section) };
        rewriter.unmerge(number);
        let Some(starts) = starts else {
            for &symbol in symbols {
                let read = &object.symbols[symbol];
                if is_dropped(read.local, read.name) {
                    rewriter.patch(
                        symbol,
                        Patch { value: read.value, section: number, nameless: true },
                    );
                }
            }
            continue;
        };
        for &symbol in symbols {
            let read = &object.symbols[symbol];
            let piece = starts.partition_point(|start| *start <= read.value).saturating_sub(1);
            let start = starts.get(piece).copied().unwrap_or(0);
            let end = starts.get(piece + 1).copied().unwrap_or(section.size);
            let content = section.data.get(start as usize..end as usize).unwrap_or_default();
            let name = format!("{}.p{:016x}", section.name, text_digest(content));
            let target = match made.get(&name) {
                Some(target) => *target,
                None => {
                    let Some(target) = rewriter.add_piece(number, &name, start, end - start) else {
                        return Ok(Cow::Borrowed(bytes));
                    };
                    made.insert(name, target);
                    target
                }
            };
            let nameless = is_dropped(read.local, read.name);
            rewriter.patch(symbol, Patch { value: read.value - start, section: target, nameless });
        }
        rewriter.empty(number);
    }
    Ok(rewriter.write().map_or(Cow::Borrowed(bytes), Cow::Owned))
}

/// Returns whether lld omits this symbol if it lies in a mergeable section: local symbols with such
/// names (lld/ELF/Writer.cpp, `shouldKeepInSymtab`).
fn is_dropped(local: bool, name: &str) -> bool {
    local && name.starts_with(".L")
}

/// Returns the sections that are referred to by offsets into them, or have relocations themselves.
fn used_as_wholes(object: &Object<'_>) -> Vec<usize> {
    let mut whole = Vec::new();
    for (number, section) in object.sections.iter().enumerate() {
        if !section.relocations.is_empty() {
            whole.push(number);
        }
        for relocation in &section.relocations {
            if let Some((symbol, Some(target))) = object.target(relocation)
                && symbol.is_section
                && whole.last() != Some(&target)
            {
                whole.push(target);
            }
        }
    }
    whole.sort_unstable();
    whole.dedup();
    whole
}

/// Returns the starts of the pieces of a mergeable section, or none if they are not valid.
fn starts(section: &Section<'_>) -> Option<Vec<u32>> {
    let entry = section.entry;
    let len = u32::try_from(section.data.len()).ok()?;
    if entry == 0 || len == 0 || len != section.size || len % entry != 0 || !section.can_be_split()
    {
        return None;
    }
    if section.flags & SHF_STRINGS == 0 {
        return Some((0..len).step_by(entry as usize).collect());
    }
    let mut starts = vec![0];
    for (number, unit) in section.data.chunks_exact(entry as usize).enumerate() {
        if unit.iter().all(|byte| *byte == 0) {
            starts.push((number as u32 + 1) * entry);
        }
    }
    // The last piece must be terminated, too.
    (starts.pop() == Some(len)).then_some(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_is_an_error() {
        for bytes in [&b""[..], b"\x7fELF", b"!<arch>\n"] {
            assert!(matches!(split_object(bytes), Err(StableError::Object { .. })), "{bytes:?}");
        }
    }
}
