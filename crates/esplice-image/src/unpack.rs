//! Reads flash content from files of other formats.

use crate::{Content, FormatError, Write, from_intel_hex, from_uf2};

/// The content of a file that contains its own flash offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The format.
    pub content: Content,
    /// The chip's family ID, if the file has one.
    pub family: Option<u32>,
    /// A write for each gapless run of bytes, in order of offset.
    pub writes: Vec<Write>,
}

/// Parses Intel HEX and UF2; returns `None` for any other file.
///
/// # Errors
/// [`FormatError`] for a damaged file.
pub fn unpack(bytes: &[u8]) -> Result<Option<Unpacked>, FormatError> {
    let content = Content::of(bytes);
    let (family, writes) = match content {
        Content::IntelHex => (None, from_intel_hex(bytes)?),
        Content::Uf2 => {
            let file = from_uf2(bytes)?;
            (file.family, file.writes)
        }
        _ => return Ok(None),
    };
    Ok(Some(Unpacked { content, family, writes }))
}
