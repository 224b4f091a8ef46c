//! Detection of a file's format by its first bytes.

use std::fmt;

use crate::{ImageHeader, PartitionTable};

/// The format of a file that was passed where an ELF or an image is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An empty file.
    Empty,
    /// An ELF.
    Elf,
    /// An image with the usual header.
    Image,
    /// An image without a header, executed in place.
    DirectImage,
    /// A partition table.
    PartitionTable,
    /// Erased flash: all bytes are 0xFF.
    Erased,
    /// An xz stream.
    Xz,
    /// A gzip stream.
    Gzip,
    /// A zip archive.
    Zip,
    /// A static library.
    Archive,
    /// A UF2 file.
    Uf2,
    /// An Intel HEX file.
    IntelHex,
    /// A WebAssembly module.
    Wasm,
    /// A Windows program.
    Pe,
    /// A macOS program.
    MachO,
    /// Any other text.
    Text,
    /// An unknown format.
    Unknown,
}

/// First bytes that identify a format, each from the format's specification.
const MAGICS: &[(&[u8], Content)] = &[
    (b"\x7fELF", Content::Elf),
    (&[ImageHeader::MAGIC], Content::Image),
    (&[0x1d, 0x04, 0xdb, 0xae], Content::DirectImage),
    (b"\xfd7zXZ\0", Content::Xz),
    (b"\x1f\x8b", Content::Gzip),
    (b"PK\x03\x04", Content::Zip),
    (b"!<arch>\n", Content::Archive),
    (b"UF2\n", Content::Uf2),
    (b"\0asm", Content::Wasm),
    (b"MZ", Content::Pe),
    (b"\xcf\xfa\xed\xfe", Content::MachO),
    (b"\xca\xfe\xba\xbe", Content::MachO),
];

impl Content {
    /// Detects the format of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Content::Empty;
        }
        if PartitionTable::looks_like(bytes) {
            return Content::PartitionTable;
        }
        if let Some((_, content)) = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            return *content;
        }
        let start = &bytes[..bytes.len().min(512)];
        if start.iter().all(|byte| *byte == 0xff) {
            return Content::Erased;
        }
        let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..);
        if start.iter().all(printable) && is_utf8_prefix(start) {
            // A byte order mark and blank lines may come first.
            let first =
                start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
            let hex = |line: &[u8]| line.len() > 10 && line[1..9].iter().all(u8::is_ascii_hexdigit);
            let is_hex = first.first() == Some(&b':') && hex(first);
            return if is_hex { Content::IntelHex } else { Content::Text };
        }
        Content::Unknown
    }
}

/// Returns whether `start` is UTF-8, apart from a character that is cut off at the end.
fn is_utf8_prefix(start: &[u8]) -> bool {
    std::str::from_utf8(start).map_or_else(|error| error.error_len().is_none(), |_| true)
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Content::Empty => "an empty file",
            Content::Elf => "an ELF",
            Content::Image => "an ESP32 image",
            Content::DirectImage => "a headerless ESP32 image",
            Content::PartitionTable => "a partition table",
            Content::Erased => "erased flash",
            Content::Xz => "an xz file",
            Content::Gzip => "a gzip file",
            Content::Zip => "a zip archive",
            Content::Archive => "a static library",
            Content::Uf2 => "a UF2 file",
            Content::IntelHex => "an Intel HEX file",
            Content::Wasm => "a WebAssembly module",
            Content::Pe => "a Windows program",
            Content::MachO => "a macOS program",
            Content::Text => "a text file",
            Content::Unknown => "binary data of unknown format",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_first_bytes() {
        let cases: &[(&[u8], Content)] = &[
            (b"", Content::Empty),
            (b"\x7fELF\x01", Content::Elf),
            (b"\xe9\x05", Content::Image),
            (b"\xaa\x50\x01\x02", Content::PartitionTable),
            (&[0xff; 600], Content::Erased),
            (b"\xfd7zXZ\0rest", Content::Xz),
            (b"hello\n", Content::Text),
            ("grüße".as_bytes(), Content::Text),
            (b":10000000010203040506070809", Content::IntelHex),
            (b"\r\n\n:10000000010203040506070809", Content::IntelHex),
            (b"\xef\xbb\xbf:10000000010203040506070809", Content::IntelHex),
            (b"\n\n", Content::Text),
            (b":-)", Content::Text),
            (&[0, 1, 2, 3], Content::Unknown),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Content::of(bytes), *expected, "{bytes:02x?}");
        }
    }
}
