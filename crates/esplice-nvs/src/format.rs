//! The layout of pages and entries.
//!
//! Source: ESP-IDF Programming Guide, "Non-Volatile Storage Library", section "Internals".

/// Length of a page in bytes: one sector of flash.
pub const PAGE_LEN: usize = 4096;

/// Length of an entry in bytes.
pub(crate) const ENTRY_LEN: usize = 32;
/// Entries of a page.
pub(crate) const ENTRIES: usize = 126;
/// Offset of the first entry, after the header and the bitmap of entry states.
pub(crate) const FIRST_ENTRY: usize = 64;
/// Offset of the bitmap of entry states.
pub(crate) const BITMAP: usize = 32;
/// Offset of the checksum in the page header. It covers the bytes from 4 on.
pub(crate) const HEADER_CRC: usize = 28;
/// Offset of the version in the page header.
pub(crate) const HEADER_VERSION: usize = 8;
/// Length of a key's field, with its final zero.
pub(crate) const KEY_FIELD: usize = 16;
/// Chunk index of entries that are not a chunk of a blob.
pub(crate) const NO_CHUNK: u8 = 0xff;
/// Index of the namespace that contains the names of namespaces.
pub(crate) const NAMES: u8 = 0;
/// Largest index of a namespace.
pub(crate) const MOST_NAMESPACES: usize = 254;
/// Chunks of one version of a blob: the other version has the indices from 128 on.
pub(crate) const MOST_CHUNKS: usize = 127;

/// State of a page, the first word of its header. Each state clears more bits of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageState {
    /// Erased and unused.
    Empty,
    /// New entries are written here.
    Active,
    /// No more entries fit, or none are written.
    Full,
    /// Being freed: its entries are moved to another page.
    Freeing,
    /// Marked as damaged by ESP-IDF.
    Corrupt,
    /// A word that means none of these.
    Unknown(u32),
}

impl PageState {
    pub(crate) const fn word(self) -> u32 {
        match self {
            PageState::Empty => 0xffff_ffff,
            PageState::Active => 0xffff_fffe,
            PageState::Full => 0xffff_fffc,
            PageState::Freeing => 0xffff_fff8,
            PageState::Corrupt => 0xffff_fff0,
            PageState::Unknown(word) => word,
        }
    }

    pub(crate) fn from_word(word: u32) -> PageState {
        let known = [
            PageState::Empty,
            PageState::Active,
            PageState::Full,
            PageState::Freeing,
            PageState::Corrupt,
        ];
        let found = known.into_iter().find(|state| state.word() == word);
        found.unwrap_or(PageState::Unknown(word))
    }

    /// Returns the state's name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            PageState::Empty => "empty",
            PageState::Active => "active",
            PageState::Full => "full",
            PageState::Freeing => "freeing",
            PageState::Corrupt => "corrupt",
            PageState::Unknown(_) => "unknown",
        }
    }
}

/// Version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Version {
    /// A blob fits into one page. ESP-IDF before 3.2 reads only this.
    V1,
    /// A blob may span several pages.
    #[default]
    V2,
}

impl Version {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Version::V1 => 0xff,
            Version::V2 => 0xfe,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Version> {
        match byte {
            0xff => Some(Version::V1),
            0xfe => Some(Version::V2),
            _ => None,
        }
    }

    /// Returns the number: 1 or 2.
    pub const fn number(self) -> u8 {
        match self {
            Version::V1 => 1,
            Version::V2 => 2,
        }
    }
}

/// State of an entry, two bits of the bitmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryState {
    Erased,
    Invalid,
    Written,
    Empty,
}

impl EntryState {
    pub(crate) fn of(bitmap: &[u8], entry: usize) -> EntryState {
        let byte = bitmap.get(entry / 4).copied().unwrap_or(0xff);
        match byte >> (entry % 4 * 2) & 3 {
            0 => EntryState::Erased,
            1 => EntryState::Invalid,
            2 => EntryState::Written,
            _ => EntryState::Empty,
        }
    }
}

/// Type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    Text,
    /// A blob in one page.
    Blob,
    /// A part of a blob.
    Chunk,
    /// The length of a blob, and which chunks it consists of.
    Index,
}

impl EntryType {
    const ALL: [(EntryType, u8); 12] = [
        (EntryType::U8, 0x01),
        (EntryType::I8, 0x11),
        (EntryType::U16, 0x02),
        (EntryType::I16, 0x12),
        (EntryType::U32, 0x04),
        (EntryType::I32, 0x14),
        (EntryType::U64, 0x08),
        (EntryType::I64, 0x18),
        (EntryType::Text, 0x21),
        (EntryType::Blob, 0x41),
        (EntryType::Chunk, 0x42),
        (EntryType::Index, 0x48),
    ];

    pub(crate) fn byte(self) -> u8 {
        let found = EntryType::ALL.iter().find(|(kind, _)| *kind == self);
        found.map_or(0xff, |(_, byte)| *byte)
    }

    pub(crate) fn from_byte(byte: u8) -> Option<EntryType> {
        EntryType::ALL.iter().find(|(_, known)| *known == byte).map(|(kind, _)| *kind)
    }

    /// Returns whether entries of data follow.
    pub(crate) fn has_data(self) -> bool {
        matches!(self, EntryType::Text | EntryType::Blob | EntryType::Chunk)
    }
}

/// Returns the checksum of ESP-IDF's NVS: CRC-32 that continues from 0xFFFFFFFF.
pub(crate) fn crc(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(0xffff_ffff);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// Returns the checksum of an entry, which covers all but itself.
pub(crate) fn entry_crc(entry: &[u8; ENTRY_LEN]) -> u32 {
    crc(&[&entry[..4], &entry[8..]])
}
