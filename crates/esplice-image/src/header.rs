//! The header of app and bootloader images, and the extent of an image.

use std::fmt;
use std::str::FromStr;

use esplice_chip::Addr;

use crate::NameError;

/// The way the flash chip is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashMode {
    /// Address and data on four lines.
    Qio,
    /// Data on four lines.
    Qout,
    /// Address and data on two lines.
    Dio,
    /// Data on two lines.
    Dout,
}

impl FlashMode {
    const ALL: [(FlashMode, u8, &'static str); 4] = [
        (FlashMode::Qio, 0, "qio"),
        (FlashMode::Qout, 1, "qout"),
        (FlashMode::Dio, 2, "dio"),
        (FlashMode::Dout, 3, "dout"),
    ];

    /// Returns the code in byte 2 of the header (esptool documentation, "Firmware Image Format",
    /// file header).
    pub fn code(self) -> u8 {
        match self {
            FlashMode::Qio => 0,
            FlashMode::Qout => 1,
            FlashMode::Dio => 2,
            FlashMode::Dout => 3,
        }
    }

    /// Returns the mode for a code in byte 2 of the header.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, c, _)| *c == code).map(|(mode, _, _)| *mode)
    }

    /// Returns the name in options and plans, such as `dio`.
    pub fn name(self) -> &'static str {
        match self {
            FlashMode::Qio => "qio",
            FlashMode::Qout => "qout",
            FlashMode::Dio => "dio",
            FlashMode::Dout => "dout",
        }
    }
}

impl fmt::Display for FlashMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FlashMode {
    type Err = NameError;

    /// # Errors
    /// [`NameError`] for an unknown mode.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = Self::ALL.iter().find(|(_, _, name)| *name == text);
        found.map(|(mode, _, _)| *mode).ok_or_else(|| NameError {
            what: "flash mode",
            found: text.into(),
            known: Self::ALL.map(|(_, _, name)| name).into(),
        })
    }
}

/// The reason why bytes are not a complete image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Too short for a header.
    #[error("{len} bytes are too few for the 24-byte image header")]
    TooShort {
        /// Number of bytes.
        len: usize,
    },
    /// The first byte is not 0xE9.
    #[error("the first byte is 0x{found:02x}, an image begins with 0xe9")]
    BadMagic {
        /// The first byte.
        found: u8,
    },
    /// A segment, the checksum or the hash ends past the last byte.
    #[error("image is truncated at {len} of {needed} bytes, in {within}")]
    Truncated {
        /// Number of bytes.
        len: usize,
        /// Number of bytes needed up to the end of the incomplete part.
        needed: u64,
        /// The incomplete part: `segment 3`, `the checksum`, `the SHA-256`.
        within: String,
    },
}

/// The 24 bytes at the start of an image.
///
/// | byte | |
/// |---|---|
/// | 0 | magic 0xE9 |
/// | 1 | number of segments |
/// | 2 | flash mode |
/// | 3 | flash size (high nibble), flash frequency (low nibble) |
/// | 4–7 | entry point |
/// | 8 | WP pin |
/// | 9–11 | drive settings of the flash pins |
/// | 12–13 | chip id |
/// | 14 | minimum revision, the deprecated field |
/// | 15–16 | minimum revision, major × 100 + minor |
/// | 17–18 | maximum revision, major × 100 + minor |
/// | 19–22 | reserved |
/// | 23 | whether a SHA-256 is appended |
///
/// Source: esptool documentation, "Firmware Image Format", file header and extended file header.
#[doc(alias = "esp_image_header_t")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Number of segments.
    pub segment_count: u8,
    /// Code of the flash mode, see [`FlashMode::from_code`].
    pub flash_mode: u8,
    /// Codes of flash size (high nibble) and frequency (low nibble) from the chip's tables.
    pub flash_size_freq: u8,
    /// Entry point.
    pub entry: Addr,
    /// WP pin, 0xEE if not set by the header.
    pub wp_pin: u8,
    /// Drive settings of the flash pins.
    pub drive: [u8; 3],
    /// The vendor's chip ID.
    pub chip_id: u16,
    /// Minimum revision, the deprecated field.
    pub min_rev_deprecated: u8,
    /// Minimum revision, major × 100 + minor.
    pub min_rev: u16,
    /// Maximum revision, major × 100 + minor.
    pub max_rev: u16,
    /// Reserved bytes.
    pub reserved: [u8; 4],
    /// True if a SHA-256 is appended: 0 for no, any other number (usually 1) for yes.
    pub append_sha256: u8,
}

impl ImageHeader {
    /// Length in bytes.
    pub const LEN: usize = 24;
    /// The first byte.
    pub const MAGIC: u8 = 0xe9;

    /// Parses the header at the start of `bytes`.
    ///
    /// # Errors
    /// [`HeaderError::TooShort`], [`HeaderError::BadMagic`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Some(b) = bytes.first_chunk::<{ Self::LEN }>() else {
            return Err(match bytes.first() {
                Some(&found) if found != Self::MAGIC => HeaderError::BadMagic { found },
                _ => HeaderError::TooShort { len: bytes.len() },
            });
        };
        if b[0] != Self::MAGIC {
            return Err(HeaderError::BadMagic { found: b[0] });
        }
        Ok(Self {
            segment_count: b[1],
            flash_mode: b[2],
            flash_size_freq: b[3],
            entry: Addr(u32::from_le_bytes([b[4], b[5], b[6], b[7]])),
            wp_pin: b[8],
            drive: [b[9], b[10], b[11]],
            chip_id: u16::from_le_bytes([b[12], b[13]]),
            min_rev_deprecated: b[14],
            min_rev: u16::from_le_bytes([b[15], b[16]]),
            max_rev: u16::from_le_bytes([b[17], b[18]]),
            reserved: [b[19], b[20], b[21], b[22]],
            append_sha256: b[23],
        })
    }

    /// Returns the header's bytes.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        b[0] = Self::MAGIC;
        b[1] = self.segment_count;
        b[2] = self.flash_mode;
        b[3] = self.flash_size_freq;
        b[4..8].copy_from_slice(&self.entry.0.to_le_bytes());
        b[8] = self.wp_pin;
        b[9..12].copy_from_slice(&self.drive);
        b[12..14].copy_from_slice(&self.chip_id.to_le_bytes());
        b[14] = self.min_rev_deprecated;
        b[15..17].copy_from_slice(&self.min_rev.to_le_bytes());
        b[17..19].copy_from_slice(&self.max_rev.to_le_bytes());
        b[19..23].copy_from_slice(&self.reserved);
        b[23] = self.append_sha256;
        b
    }

    /// Returns the code of the flash size, for the chip's `flash-sizes`.
    pub fn flash_size_code(&self) -> u8 {
        self.flash_size_freq >> 4
    }

    /// Returns the code of the flash frequency, for the chip's `flash-frequencies`.
    pub fn flash_freq_code(&self) -> u8 {
        self.flash_size_freq & 0xf
    }
}

/// A segment of an image: 8 bytes of header, then its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentHeader {
    /// The address it is loaded to or mapped at; 0 for padding.
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
    /// Offset of the first byte of data (after the header) in the image.
    pub offset: usize,
}

impl SegmentHeader {
    /// Length of the header in bytes: load address and length, both little-endian.
    pub const LEN: usize = 8;
}

/// The extent of an image, determined from its segment headers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extent {
    /// The header.
    pub header: ImageHeader,
    /// The segments, in order.
    pub segments: Vec<SegmentHeader>,
    /// Offset of the checksum byte, the last of a 16-byte block.
    pub checksum_at: usize,
    /// Offset of the SHA-256, if the header says that there is one.
    pub sha256_at: Option<usize>,
    /// End of the image.
    pub end: usize,
}

impl Extent {
    /// Determines the extent of the image at the start of `bytes`. Bytes after its end are ignored.
    ///
    /// # Errors
    /// [`HeaderError`] if the header, a segment, the checksum or the hash is incomplete.
    pub fn of(bytes: &[u8]) -> Result<Self, HeaderError> {
        let header = ImageHeader::from_bytes(bytes)?;
        let (segments, end) = read_segment_headers(bytes, header.segment_count);
        let checksum_at = end? | 0xf;
        let mut end = checked_end(bytes, checksum_at as u64 + 1, || "the checksum".to_owned())?;
        let sha256_at = (header.append_sha256 != 0).then_some(end);
        if sha256_at.is_some() {
            end = checked_end(bytes, end as u64 + 32, || "the SHA-256".to_owned())?;
        }
        Ok(Self { header, segments, checksum_at, sha256_at, end })
    }

    /// Returns the XOR of all segments' bytes and 0xEF, which the checksum byte must equal.
    pub fn checksum(&self, bytes: &[u8]) -> u8 {
        self.segments
            .iter()
            .filter_map(|s| bytes.get(s.offset..s.offset + s.len as usize))
            .fold(0xef, |sum, data| sum ^ xor(data))
    }
}

/// Reads `count` segment headers. Returns the complete ones and the end of the last.
pub(crate) fn read_segment_headers(
    bytes: &[u8],
    count: u8,
) -> (Vec<SegmentHeader>, Result<usize, HeaderError>) {
    let mut segments = Vec::new();
    let mut at = ImageHeader::LEN;
    for number in 0..count {
        let within = || format!("segment {number}");
        let offset = match checked_end(bytes, at as u64 + SegmentHeader::LEN as u64, within) {
            Ok(offset) => offset,
            Err(error) => return (segments, Err(error)),
        };
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
            word.map_or(0, |word| u32::from_le_bytes(*word))
        };
        let (addr, len) = (Addr(word(at)), word(at + 4));
        at = match checked_end(bytes, offset as u64 + u64::from(len), within) {
            Ok(end) => end,
            Err(error) => return (segments, Err(error)),
        };
        segments.push(SegmentHeader { addr, len, offset });
    }
    (segments, Ok(at))
}

/// Returns `end`, if `bytes` are at least that long.
fn checked_end(bytes: &[u8], end: u64, within: impl Fn() -> String) -> Result<usize, HeaderError> {
    match usize::try_from(end) {
        Ok(end) if end <= bytes.len() => Ok(end),
        _ => Err(HeaderError::Truncated { len: bytes.len(), needed: end, within: within() }),
    }
}

/// Returns the XOR of all bytes, computed eight at a time.
pub(crate) fn xor(data: &[u8]) -> u8 {
    let (words, rest) = data.as_chunks::<8>();
    let wide = words.iter().fold(0_u64, |sum, word| sum ^ u64::from_ne_bytes(*word));
    wide.to_ne_bytes().iter().chain(rest).fold(0, |sum, byte| sum ^ byte)
}

/// Sets the given flash parameters in the header of `image` and updates its SHA-256.
///
/// The checksum does not cover the header, so it stays the same.
///
/// # Errors
/// [`HeaderError`] if `image` is not a complete image.
pub fn patch_flash(
    image: &mut [u8],
    mode: Option<FlashMode>,
    freq_code: Option<u8>,
    size_code: Option<u8>,
) -> Result<(), HeaderError> {
    let extent = Extent::of(image)?;
    let mut header = extent.header;
    if let Some(mode) = mode {
        header.flash_mode = mode.code();
    }
    let freq = freq_code.unwrap_or(header.flash_freq_code());
    let size = size_code.unwrap_or(header.flash_size_code());
    header.flash_size_freq = (size << 4) | (freq & 0xf);
    if header == extent.header {
        return Ok(());
    }
    image[..ImageHeader::LEN].copy_from_slice(&header.to_bytes());
    if let Some(at) = extent.sha256_at {
        let (hashed, rest) = image.split_at_mut(at);
        rest[..32].copy_from_slice(&crate::sha256(hashed));
    }
    Ok(())
}
