//! Checks of single values.

use esplice_chip::{Chip, RegionKind};

use crate::{Amount, At, Base, Cause, LayoutError, Place, Room, Size};

/// Largest alignment that linkers and flash pages support, in bytes.
const LARGEST_ALIGN: u32 = 64 << 10;

pub(super) fn check_name(name: &At<String>) -> Result<(), LayoutError> {
    let text = &name.value;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.chars().all(plain) {
        return Err(Cause::BadName { name: text.clone() }.at(&name.place));
    }
    let by = match text.as_str() {
        "heap" => "it is the heap's function in the Rust module",
        "self" | "super" | "crate" => "Rust cannot have a function of that name",
        _ => return Ok(()),
    };
    Err(Cause::ReservedName { name: text.clone(), by }.at(&name.place))
}

pub(super) fn unused(
    kind: &'static str,
    name: &At<String>,
    first: Option<&Place>,
) -> Result<(), LayoutError> {
    match first {
        Some(first) => {
            let cause = Cause::SameName { kind, name: name.value.clone(), first: first.clone() };
            Err(cause.at(&name.place))
        }
        None => Ok(()),
    }
}

pub(super) fn check_symbols(symbols: &[At<String>]) -> Result<(), LayoutError> {
    for (i, symbol) in symbols.iter().enumerate() {
        let text = &symbol.value;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let why = if !starts || !text.chars().all(plain) {
            "is not made of letters, digits and _"
        } else if text.starts_with("__esplice") || text == "__go_heap" {
            "already exists"
        } else if symbols[..i].iter().any(|other| other.value == *text) {
            "is listed twice"
        } else {
            continue;
        };
        return Err(Cause::BadSymbol { name: text.clone(), why }.at(&symbol.place));
    }
    Ok(())
}

pub(super) fn check_align(
    align: &Option<At<u32>>,
    default: u32,
    what: &str,
    room: &Room,
) -> Result<u32, LayoutError> {
    let Some(align) = align else { return Ok(default) };
    let value = align.value;
    if !value.is_power_of_two() {
        return Err(Cause::BadAlign { align: value }.at(&align.place));
    }
    // Half of a region is the largest block for which it certainly has an aligned address.
    let largest = LARGEST_ALIGN.min(1 << (room.len.max(8).ilog2() - 1));
    if value > largest {
        let (what, region) = (what.to_owned(), room.key.clone());
        return Err(Cause::AlignTooLarge { what, align: value, largest, region }.at(&align.place));
    }
    Ok(value.max(4))
}

pub(super) fn check_words(
    what: &str,
    size: &Amount,
    written: &At<Size>,
) -> Result<(), LayoutError> {
    if size.bytes.is_multiple_of(4) || matches!(written.value, Size::Percent(_)) {
        return Ok(());
    }
    let cause = Cause::SizeNotWords { what: what.to_owned(), size: size.clone() };
    Err(cause.at(&written.place))
}

pub(super) fn past_region(
    what: &str,
    asked: &Amount,
    region: &str,
    available: u32,
    len: u32,
    others: &[String],
) -> Cause {
    Cause::PastRegion {
        what: what.to_owned(),
        asked: asked.clone(),
        region: region.to_owned(),
        available: Amount::of(available),
        len: Amount::of(len),
        others: others.to_vec(),
    }
}

pub(super) fn not_for_base(key: &str, base: Base, instead: &'static str) -> Cause {
    Cause::NotForBase { key: key.to_owned(), base: base.name(), instead }
}

/// Returns whether boards with `chip` may have PSRAM: the chip has an address for it, or an eFuse
/// field with its size.
pub(super) fn supports_psram(chip: &Chip) -> bool {
    chip.regions.iter().any(|region| region.kind == RegionKind::Psram)
        || chip.efuse.field("psram-cap").is_some()
}
