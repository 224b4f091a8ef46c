//! ESP-IDF's binary log. The texts of its packets are stored only in the ELF, not in the firmware.
//!
//! A packet (ESP-IDF 6, `CONFIG_LOG_MODE_BINARY`, `components/log/src/log_format_binary.c`), with
//! big-endian numbers:
//!
//! | bytes | content |
//! |---|---|
//! | 1 | 1: from the bootloader, 2: from the app |
//! | 2 | bits 0-9: packet length, 10-12: level (1 is error), 13: 64-bit time, 14-15: version 0 |
//! | 4 | address of the format, or a string |
//! | 4 | address of the tag, or a string |
//! | 4 or 8 | time |
//! | … | arguments, at least 4 bytes each |
//! | 1 | CRC-8 with polynomial 7, which makes the CRC of the whole packet zero |
//!
//! A string that is not in the ELF is stored in the packet: 2 bytes with 1 minus its length, then
//! its bytes. The six highest bits of the 2 bytes are ones, which no address has.

mod format;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use format::{Arguments, formatted};

/// Length of the shortest packet: no arguments, and an empty string as tag.
const SHORTEST: usize = 13;

/// Maximum length of a string in bytes.
const MAX_STRING: usize = 4096;

/// Number of bytes of a buffer shown per line.
const BUFFER_LINE: usize = 16;

/// An ELF whose binary log strings cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("no readable strings for the binary log: {reason}")]
#[non_exhaustive]
pub struct BinaryLogError {
    /// The cause.
    pub reason: String,
}

/// The texts of a firmware's binary log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryLog {
    app: Texts,
    bootloader: Option<Texts>,
}

impl BinaryLog {
    /// Reads the texts of an app's ELF. Returns `None` if the firmware does not use the binary log.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is not an ELF.
    pub fn from_elf(elf: &[u8]) -> Result<Option<BinaryLog>, BinaryLogError> {
        let file = parse(elf)?;
        let logs = file.symbol_by_name("esp_log_format_binary").is_some_and(|s| s.is_definition());
        // In a stripped ELF only the section of these texts remains.
        let has_texts = || file.section_by_name(NOLOAD).is_some_and(|section| section.size() > 0);
        if !logs && !has_texts() {
            return Ok(None);
        }
        Ok(Some(BinaryLog { app: Texts::of(&file), bootloader: None }))
    }

    /// Adds the texts of the bootloader's ELF, which writes its own log.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is not an ELF.
    pub fn with_bootloader(self, elf: &[u8]) -> Result<BinaryLog, BinaryLogError> {
        Ok(BinaryLog { bootloader: Some(Texts::of(&parse(elf)?)), ..self })
    }

    /// Returns the lines of a packet with their line ends, or `None` if it is not a packet.
    fn lines(&self, package: &[u8]) -> Option<String> {
        let (_, content) = package.split_last()?;
        let control = Control::read(content)?;
        let texts = match content.first()? {
            1 => self.bootloader.as_ref(),
            _ => Some(&self.app),
        };
        let mut arguments = Arguments { bytes: content.get(3..)?, texts };
        let format = arguments.string()?;
        let tag = arguments.string()?;
        let time = match control.has_long_time {
            true => arguments.u64()?,
            false => arguments.u32()?.into(),
        };
        let letter = ["E", "W", "I", "D", "V"].get(control.level.checked_sub(1)?)?;
        let head = format!("{letter} ({time}) {tag}: ");
        let texts = match Buffer::of(&format) {
            Some(buffer) => buffer.lines(&mut arguments)?,
            None => vec![formatted(&format, &mut arguments)],
        };
        Some(texts.iter().map(|text| format!("{head}{text}\r\n")).collect())
    }
}

fn parse(elf: &[u8]) -> Result<object::File<'_>, BinaryLogError> {
    object::File::parse(elf).map_err(|error| BinaryLogError { reason: error.to_string() })
}

/// The section of texts that are not stored in the chip's memory.
const NOLOAD: &str = ".noload";

/// Parts of an ELF that hold strings, by address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts {
    /// The contents of [`NOLOAD`]. The highest byte of its addresses is zero.
    noload: Vec<(u64, Vec<u8>)>,
    loaded: Vec<(u64, Vec<u8>)>,
}

impl Texts {
    fn of(file: &object::File<'_>) -> Texts {
        let mut texts = Texts { noload: vec![], loaded: vec![] };
        for section in file.sections() {
            let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
            let is_loaded = sh_flags.contains(object::elf::SHF_ALLOC);
            let place = match section.name() {
                Ok(NOLOAD) => &mut texts.noload,
                // Code holds no strings.
                _ if is_loaded && section.kind() != object::SectionKind::Text => &mut texts.loaded,
                _ => continue,
            };
            if let Ok(bytes) = section.data() {
                place.push((section.address(), bytes.to_vec()));
            }
        }
        texts
    }

    /// Returns the bytes from `addr` to the end of their section.
    fn bytes(&self, addr: u32) -> Option<&[u8]> {
        let parts = if addr >> 24 == 0 { &self.noload } else { &self.loaded };
        parts.iter().find_map(|(start, bytes)| {
            let at = u64::from(addr).checked_sub(*start)?;
            bytes.get(usize::try_from(at).ok()?..).filter(|bytes| !bytes.is_empty())
        })
    }

    /// Returns the string at `addr`.
    pub fn string(&self, addr: u32) -> Option<String> {
        let bytes = self.bytes(addr)?;
        let end = bytes.iter().take(MAX_STRING).position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
    }

    /// Returns `len` bytes at `addr`.
    pub fn buffer(&self, addr: u32, len: usize) -> Option<&[u8]> {
        self.bytes(addr)?.get(..len)
    }
}

/// The second and third byte of a packet.
struct Control {
    len: usize,
    level: usize,
    has_long_time: bool,
}

impl Control {
    /// Reads the bytes. Returns `None` if they cannot be a packet's.
    fn read(bytes: &[u8]) -> Option<Control> {
        let word = u16::from_be_bytes([*bytes.get(1)?, *bytes.get(2)?]);
        let control = Control {
            len: usize::from(word & 0x3ff),
            level: usize::from(word >> 10 & 7),
            has_long_time: word >> 13 & 1 == 1,
        };
        let fits = word >> 14 == 0 && (1..=5).contains(&control.level) && control.len >= SHORTEST;
        fits.then_some(control)
    }
}

/// The form in which a buffer is logged. Source: ESP-IDF, components/log/src/buffer/log_buffers.c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Buffer {
    Hex,
    Char,
    Hexdump,
}

impl Buffer {
    fn of(format: &str) -> Option<Buffer> {
        const KINDS: [(&str, Buffer); 3] = [
            ("__ESP_BUFFER_HEX_FORMAT__", Buffer::Hex),
            ("__ESP_BUFFER_CHAR_FORMAT__", Buffer::Char),
            ("__ESP_BUFFER_HEXDUMP_FORMAT__", Buffer::Hexdump),
        ];
        KINDS.iter().find(|(name, _)| format.starts_with(name)).map(|(_, kind)| *kind)
    }

    /// Returns the lines for a buffer. Its length, bytes and address are the arguments.
    fn lines(self, arguments: &mut Arguments<'_>) -> Option<Vec<String>> {
        let len = usize::try_from(arguments.u32()?).ok()?;
        let bytes = arguments.buffer(len)?;
        let addr = arguments.u32().unwrap_or(0);
        let lines = bytes.chunks(BUFFER_LINE).enumerate();
        Some(
            lines
                .map(|(index, line)| {
                    let addr = addr.wrapping_add((BUFFER_LINE * index) as u32);
                    self.line(addr, line)
                })
                .collect(),
        )
    }

    fn line(self, addr: u32, bytes: &[u8]) -> String {
        let hex = |bytes: &[u8]| {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        };
        let printable = |byte: &u8| matches!(byte, b' '..=b'~');
        match self {
            Buffer::Hex => hex(bytes),
            Buffer::Char => {
                bytes.iter().filter(|byte| printable(byte)).map(|byte| char::from(*byte)).collect()
            }
            Buffer::Hexdump => {
                let (left, right) = bytes.split_at(bytes.len().min(BUFFER_LINE / 2));
                let text: String =
                    bytes.iter().map(|b| if printable(b) { char::from(*b) } else { '.' }).collect();
                format!("{addr:#010x}   {:<23}  {:<23}  |{text}|", hex(left), hex(right))
            }
        }
    }
}

/// Extracts packets from a stream.
#[derive(Debug, Default)]
pub(crate) struct PacketReader {
    /// An incomplete packet.
    partial: Vec<u8>,
}

impl PacketReader {
    /// Takes the next bytes. Returns text in which packets are replaced by their lines.
    pub fn push(&mut self, bytes: &[u8], log: &BinaryLog) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.partial.is_empty() && !matches!(byte, 1 | 2) {
                text.push(*byte);
            } else {
                self.partial.push(*byte);
                self.settle(log, &mut text);
            }
        }
        text
    }

    /// Returns whether bytes are held back.
    pub fn holds(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Ends the stream. The bytes held back are not a packet and are returned.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    /// Outputs the bytes held back, as far as they are a packet or cannot be one.
    fn settle(&mut self, log: &BinaryLog, text: &mut Vec<u8>) {
        while let Some(first) = self.partial.first() {
            let whole = match self.partial.as_slice() {
                [1 | 2] | [1 | 2, _] => return,
                [1 | 2, ..] => match Control::read(&self.partial) {
                    Some(control) if self.partial.len() < control.len => return,
                    Some(control) => Some(control.len),
                    None => None,
                },
                _ => None,
            };
            let package = whole.and_then(|len| self.partial.get(..len));
            let lines = package.filter(|p| crc8(p) == 0).and_then(|package| log.lines(package));
            match (lines, whole) {
                (Some(lines), Some(len)) => {
                    text.extend(lines.as_bytes());
                    self.partial.drain(..len);
                }
                // The packet may begin later.
                _ => {
                    text.push(*first);
                    let next = self.partial.iter().skip(1).position(|byte| matches!(byte, 1 | 2));
                    let end = next.map_or(self.partial.len(), |at| at + 1);
                    text.extend(self.partial.get(1..end).unwrap_or_default());
                    self.partial.drain(..end);
                }
            }
        }
    }
}

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 7 })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a log whose app has these strings at these addresses.
    pub(crate) fn log(strings: &[(u32, &str)]) -> BinaryLog {
        let part =
            |(addr, text): &(u32, &str)| (u64::from(*addr), [text.as_bytes(), b"\0"].concat());
        let (noload, loaded): (Vec<_>, Vec<_>) =
            strings.iter().partition(|(addr, _)| addr >> 24 == 0);
        let texts = Texts {
            noload: noload.into_iter().map(part).collect(),
            loaded: loaded.into_iter().map(part).collect(),
        };
        BinaryLog { app: texts, bootloader: None }
    }

    /// Returns a packet of the app with these bytes after its control word.
    pub(crate) fn package(level: u16, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len() + 4).unwrap();
        let mut bytes = vec![2];
        bytes.extend((level << 10 | len).to_be_bytes());
        bytes.extend(rest);
        // The CRC of the rest makes the CRC of the whole zero.
        bytes.push(crc8(&bytes));
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    const STRINGS: &[(u32, &str)] = &[
        (0x100, "Hello %s, %d"),
        (0x200, "main"),
        (0x300, "__ESP_BUFFER_HEX_FORMAT__ %d %s"),
        (0x400, "__ESP_BUFFER_CHAR_FORMAT__ %d %s"),
        (0x500, "__ESP_BUFFER_HEXDUMP_FORMAT__ %d %s %p"),
        (0x3f40_0000, "world"),
    ];

    fn shown(stream: &[u8], cut: usize) -> String {
        let (log, mut packages) = (log(STRINGS), PacketReader::default());
        let mut text: Vec<u8> =
            stream.chunks(cut).flat_map(|piece| packages.push(piece, &log)).collect();
        text.extend(packages.finish());
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn packages_among_text_become_lines() {
        let of_elf = package(3, &words(&[0x100, 0x200, 1234, 0x3f40_0000, -5_i32 as u32]));
        let mut embedded = words(&[0x100, 0x200, 7]);
        embedded.extend([0xff, 0xfe, b'y', b'o', b'u', 0, 0, 0, 1]);
        let stream =
            [b"ets\r\n".as_slice(), &of_elf, &package(1, &embedded), b"> \x01 and on\r\n"].concat();
        let expected = "ets\r\nI (1234) main: Hello world, -5\r\nE (7) main: Hello you, 1\r\n\
                        > \x01 and on\r\n";
        for cut in [1, 2, 3, 7, 1000] {
            assert_eq!(shown(&stream, cut), expected);
        }
    }

    #[test]
    fn buffers_are_shown_as_esp_idf_does() {
        let bytes: Vec<u8> = (0x41..0x41 + 18).collect();
        let of = |format: u32| {
            let mut rest = words(&[format, 0x200, 5, 18]);
            rest.extend((1 - bytes.len() as i16).to_be_bytes());
            rest.extend(&bytes);
            rest.extend(0x3ffb_0000_u32.to_be_bytes());
            shown(&package(3, &rest), 1000)
        };
        assert_eq!(
            of(0x300),
            "I (5) main: 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f 50\r\nI (5) main: 51 52\r\n"
        );
        assert_eq!(of(0x400), "I (5) main: ABCDEFGHIJKLMNOP\r\nI (5) main: QR\r\n");
        assert_eq!(
            of(0x500),
            "I (5) main: 0x3ffb0000   41 42 43 44 45 46 47 48  49 4a 4b 4c 4d 4e 4f 50  \
             |ABCDEFGHIJKLMNOP|\r\n\
             I (5) main: 0x3ffb0010   51 52                                             |QR|\r\n"
        );
    }

    #[test]
    fn what_is_broken_stays_text() {
        let mut wrong = package(3, &words(&[0x100, 0x200, 1, 0x3f40_0000, 5]));
        wrong[6] ^= 1;
        let good = package(4, &words(&[0x200, 0x200, 9]));
        let text = shown(&[wrong.clone(), good].concat(), 1000);
        assert!(text.starts_with('\u{2}') && text.ends_with("D (9) main: main\r\n"), "{text:?}");
        // A text that is not in the ELF is shown by its address.
        let text = shown(&package(3, &words(&[0x900, 0x200, 9])), 1000);
        assert_eq!(text, "I (9) main: <text at 0x00000900, not in the ELF>\r\n");
        assert_eq!(shown(&wrong[..9], 1000).chars().count(), 9);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(prop_oneof![Just(1), Just(2), any::<u8>()], 0..200),
            rest in proptest::collection::vec(any::<u8>(), 12..200),
            cut in 1usize..50,
        ) {
            let stream = [bytes, package(3, &rest)].concat();
            prop_assert_eq!(shown(&stream, cut), shown(&stream, 1000));
        }

        #[test]
        fn no_format_makes_it_panic(format in "(%|[-+ #0*.]|[0-9]{1,9}|[hlzjt]{1,2}|[diouxXfFeEgGaAcspqn%]|a){0,20}", rest in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut arguments = Arguments { bytes: &rest, texts: None };
            prop_assert!(formatted(&format, &mut arguments).len() < 200_000);
        }
    }
}
