//! Compares the functions and variables of two ELFs: which stayed, moved or changed.

use std::collections::BTreeMap;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind, SymbolKind};

use crate::{LinkError, stable::plain_name};

/// Result of comparing a function or variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PieceChange {
    /// Grew and moved.
    Evicted,
    /// Moved.
    Moved,
    /// Has other contents at the same address.
    Changed,
    /// Did not exist before.
    New,
    /// No longer exists.
    Gone,
}

impl PieceChange {
    /// Returns the word for the result.
    pub fn name(self) -> &'static str {
        match self {
            PieceChange::Evicted => "evicted",
            PieceChange::Moved => "moved",
            PieceChange::Changed => "changed",
            PieceChange::New => "new",
            PieceChange::Gone => "gone",
        }
    }
}

/// A function or variable that changed or moved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// Result of the comparison.
    pub fate: PieceChange,
    /// Symbol in the newer ELF.
    pub symbol: String,
    /// Address and length before.
    pub old: Option<(u32, u32)>,
    /// Address and length after.
    pub new: Option<(u32, u32)>,
}

/// Differences between the functions and variables of two ELFs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Pieces {
    /// Number of those that are the same, at the same address.
    pub kept: usize,
    /// The others, by fate and address.
    pub pieces: Vec<Piece>,
}

impl Pieces {
    /// Returns the number of pieces with this result.
    pub fn count(&self, fate: PieceChange) -> usize {
        self.pieces.iter().filter(|piece| piece.fate == fate).count()
    }
}

/// Compares the functions and variables of two ELFs, by their symbols without the parts that
/// compilers number again in each build.
///
/// # Errors
/// [`LinkError::BadElf`] if a file is not a valid ELF.
pub fn compare_pieces(old: &[u8], new: &[u8]) -> Result<Pieces, LinkError> {
    let (mut old, new) = (read(old)?, read(new)?);
    let mut pieces = Pieces::default();
    for (name, found) in new {
        let mut before = old.remove(&name).unwrap_or_default().into_iter();
        for (addr, len, bytes, symbol) in found {
            let (fate, was) = match before.next() {
                None => (PieceChange::New, None),
                Some((a, l, b, _)) => {
                    let fate = match (a == addr, l == len && b == bytes) {
                        (true, true) => {
                            pieces.kept += 1;
                            continue;
                        }
                        (true, false) => PieceChange::Changed,
                        (false, _) if len > l => PieceChange::Evicted,
                        (false, _) => PieceChange::Moved,
                    };
                    (fate, Some((a, l)))
                }
            };
            let symbol = symbol.to_owned();
            pieces.pieces.push(Piece { fate, symbol, old: was, new: Some((addr, len)) });
        }
        old.entry(name).or_default().extend(before);
    }
    for (addr, len, _, symbol) in old.into_values().flatten() {
        let symbol = symbol.to_owned();
        pieces.pieces.push(Piece {
            fate: PieceChange::Gone,
            symbol,
            old: Some((addr, len)),
            new: None,
        });
    }
    pieces.pieces.sort_by_key(|piece| (piece.fate, piece.new.or(piece.old)));
    Ok(pieces)
}

/// Address, length, bytes and symbol of a piece.
type Found<'a> = (u32, u32, &'a [u8], &'a str);

/// Reads functions and variables by plain name, sorted by address.
fn read(elf: &[u8]) -> Result<BTreeMap<String, Vec<Found<'_>>>, LinkError> {
    let bad = |error: object::Error| LinkError::BadElf { message: error.to_string() };
    let file = object::File::parse(elf).map_err(bad)?;
    let mut found: BTreeMap<String, Vec<Found<'_>>> = BTreeMap::new();
    for symbol in file.symbols() {
        let kind = matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data);
        let (Ok(name), Some(section), true) = (symbol.name(), symbol.section_index(), kind) else {
            continue;
        };
        let Ok(section) = file.section_by_index(section) else { continue };
        let (Ok(addr), Ok(len)) = (u32::try_from(symbol.address()), u32::try_from(symbol.size()))
        else {
            continue;
        };
        if len == 0 || matches!(section.kind(), SectionKind::Debug | SectionKind::Other) {
            continue;
        }
        let bytes = section.data_range(symbol.address(), symbol.size()).ok().flatten();
        let piece = (addr, len, bytes.unwrap_or_default(), name);
        found.entry(plain_name(name)).or_default().push(piece);
    }
    for pieces in found.values_mut() {
        pieces.sort_unstable();
        // Aliases count as one piece.
        pieces.dedup_by_key(|piece| piece.0);
    }
    Ok(found)
}
