//! Defects in the content of a partition.

use crate::format::PAGE_LEN;

/// A defect, and its offset in the partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("0x{offset:x}: {fault}")]
#[non_exhaustive]
pub struct Defect {
    /// Offset in the partition.
    pub offset: usize,
    /// The defect.
    pub fault: Fault,
}

/// The kind of a defect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The content ends within a page.
    #[error("the content ends after {len} bytes of a page of {PAGE_LEN}")]
    Truncated {
        /// Length of the last page in bytes.
        len: usize,
    },
    /// A page whose first word is no known state.
    #[error("the page has the state 0x{word:08x}, which has no meaning")]
    BadState {
        /// The word.
        word: u32,
    },
    /// A page marked as damaged.
    #[error("the page is marked as corrupt")]
    CorruptPage,
    /// A page that should be erased.
    #[error("the page is marked as empty, but is not erased")]
    NotErased,
    /// The checksum of a page header.
    #[error(
        "the header's checksum is 0x{stored:08x}, computed 0x{computed:08x}: firmware ignores the page"
    )]
    HeaderCrc {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the header.
        computed: u32,
    },
    /// An unknown version.
    #[error("the page has the version 0x{byte:02x}, known are 0xff (1) and 0xfe (2)")]
    BadVersion {
        /// The byte.
        byte: u8,
    },
    /// Two pages with one sequence number.
    #[error("the page has the sequence number {number}, like another page")]
    SameSequence {
        /// The number.
        number: u32,
    },
    /// A state of an entry that has no meaning.
    #[error("the bitmap has an impossible state for entry {entry}")]
    BadEntryState {
        /// Number of the entry in the page.
        entry: usize,
    },
    /// An entry that was written without being marked.
    #[error("entry {entry} has data but is marked as empty: writing it was interrupted")]
    Unmarked {
        /// Number of the entry in the page.
        entry: usize,
    },
    /// The checksum of an entry.
    #[error("entry {entry} has the checksum 0x{stored:08x}, computed 0x{computed:08x}")]
    EntryCrc {
        /// Number of the entry in the page.
        entry: usize,
        /// The checksum in the entry.
        stored: u32,
        /// The checksum of the entry.
        computed: u32,
    },
    /// An unknown type of an entry.
    #[error("entry {entry} has the unknown type 0x{byte:02x}")]
    BadType {
        /// Number of the entry in the page.
        entry: usize,
        /// The byte.
        byte: u8,
    },
    /// A number of entries that can't be right.
    #[error("entry {entry}, {key:?}, spans {span} entries of which the page has too few")]
    BadSpan {
        /// Number of the entry in the page.
        entry: usize,
        /// The key.
        key: String,
        /// Number of entries.
        span: u8,
    },
    /// A length that does not fit the entries.
    #[error("{key:?} has {len} bytes in {span} entries")]
    BadLen {
        /// The key.
        key: String,
        /// Length in bytes.
        len: usize,
        /// Number of entries.
        span: u8,
    },
    /// The checksum of a value.
    #[error("the value of {key:?} has the checksum 0x{stored:08x}, computed 0x{computed:08x}")]
    DataCrc {
        /// The key.
        key: String,
        /// The checksum in the entry.
        stored: u32,
        /// The checksum of the data.
        computed: u32,
    },
    /// A key that is not text.
    #[error("entry {entry} has a key that is not text with a final zero")]
    BadKey {
        /// Number of the entry in the page.
        entry: usize,
    },
    /// A string that is not text.
    #[error("the string {key:?} is not UTF-8 with a final zero")]
    NotText {
        /// The key.
        key: String,
    },
    /// A namespace that is used but not named.
    #[error("{key:?} is in namespace {index}, which has no name")]
    NoNamespace {
        /// The key.
        key: String,
        /// Index of the namespace.
        index: u8,
    },
    /// A blob without some of its chunks.
    #[error("the blob {key:?} lacks chunk {chunk}")]
    NoChunk {
        /// The key.
        key: String,
        /// Number of the chunk.
        chunk: u8,
    },
    /// A blob whose chunks have another length.
    #[error("the blob {key:?} has {found} bytes in its chunks, its index says {wanted}")]
    BlobLen {
        /// The key.
        key: String,
        /// Bytes in the chunks.
        found: usize,
        /// Length in the index.
        wanted: usize,
    },
    /// A chunk that belongs to no blob.
    #[error("chunk {chunk} of the blob {key:?} belongs to no index")]
    StrayChunk {
        /// The key.
        key: String,
        /// Number of the chunk.
        chunk: u8,
    },
    /// A value that a later one replaces.
    #[error("{key:?} is set again later: erasing this entry was interrupted")]
    Replaced {
        /// The key.
        key: String,
    },
}
