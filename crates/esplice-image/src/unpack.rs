//! What a file of another format holds of a flash.

use crate::{Content, FormatError, PlannedWrite, from_intel_hex, from_uf2};

/// What a file that says where its bytes belong holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The format.
    pub content: Content,
    /// The number of the chip's family, where the file tells one.
    pub family: Option<u32>,
    /// A write for each stretch without a gap, in order of offset.
    pub writes: Vec<PlannedWrite>,
}

/// Reads Intel HEX and UF2; `None` for a file that is neither.
///
/// # Errors
/// [`FormatError`] for one that is damaged.
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
