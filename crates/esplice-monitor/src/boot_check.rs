//! Whether a board boots the program that was written to it, as far as ROM, bootloader and app say.

use crate::panic::elf_sha256;

/// What a board should print when it boots a program; what is not known is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootCheck {
    /// Entry point of the image that the ROM boots.
    pub entry: Option<u32>,
    /// Offset in flash of the app that the second-stage bootloader boots.
    pub app: Option<u32>,
    /// SHA-256 of the app's ELF in lower-case hex.
    pub elf_sha256: Option<String>,
}

/// What a board booted in place of what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherProgram {
    /// The ROM booted another image.
    Entry {
        /// Entry point that the ROM printed.
        found: u32,
        /// That of what was written.
        expected: u32,
    },
    /// The bootloader booted another app.
    App {
        /// Offset that the bootloader printed.
        found: u32,
        /// Where the app was written to.
        expected: u32,
    },
    /// The app was made of another ELF.
    Elf {
        /// Beginning of the SHA-256 that the app printed.
        found: String,
        /// SHA-256 of the ELF that was written.
        expected: String,
    },
}

impl std::fmt::Display for OtherProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OtherProgram::Entry { found, expected } => {
                write!(
                    f,
                    "the ROM booted an image that starts at 0x{found:08x}, not at 0x{expected:08x}"
                )
            }
            OtherProgram::App { found, expected } => {
                write!(
                    f,
                    "the bootloader booted the app at 0x{found:x}, not the one at 0x{expected:x}"
                )
            }
            OtherProgram::Elf { found, expected } => {
                write!(f, "the app that runs has ELF SHA-256 {found}…, not {expected}")
            }
        }
    }
}

impl BootCheck {
    /// Compares what `line` says. Each fact is compared once, at the first boot: what the firmware
    /// boots later is its own affair.
    pub(crate) fn line(&mut self, line: &str) -> Option<OtherProgram> {
        if let Some(found) = rom_entry(line) {
            let expected = self.entry.take().filter(|expected| *expected != found)?;
            return Some(OtherProgram::Entry { found, expected });
        }
        // Source: ESP-IDF components/bootloader_support/src/bootloader_utility.c.
        if let Some(found) = hex_after(line, "Loaded app from partition at offset 0x") {
            let expected = self.app.take().filter(|expected| *expected != found)?;
            return Some(OtherProgram::App { found, expected });
        }
        let found = elf_sha256(line)?;
        let expected = self.elf_sha256.take().filter(|expected| !expected.starts_with(found))?;
        Some(OtherProgram::Elf { found: found.to_owned(), expected })
    }
}

/// The entry point that the ROM is about to start, which it prints last of all.
pub(crate) fn rom_entry(line: &str) -> Option<u32> {
    if line.starts_with("entry ") { hex_after(line, "entry 0x") } else { None }
}

/// The hexadecimal number that follows `words`.
fn hex_after(line: &str, words: &str) -> Option<u32> {
    let (_, rest) = line.split_once(words)?;
    let len = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
    u32::from_str_radix(rest.get(..len)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_boot_is_compared() {
        let check = || BootCheck {
            entry: Some(0x403c_bf1a),
            app: Some(0x1_0000),
            elf_sha256: Some("0123456789abcdef".into()),
        };
        let cases = [
            ("entry 0x403cbf1a", None),
            (
                "entry 0x40380000",
                Some("the ROM booted an image that starts at 0x40380000, not at 0x403cbf1a"),
            ),
            ("I (48) boot: Loaded app from partition at offset 0x10000", None),
            (
                "I (48) boot: Loaded app from partition at offset 0x110000",
                Some("the bootloader booted the app at 0x110000, not the one at 0x10000"),
            ),
            ("I (75) app_init: ELF file SHA256:  012345678...", None),
            (
                "I (75) app_init: ELF file SHA256:  112345678...",
                Some("the app that runs has ELF SHA-256 112345678…, not 0123456789abcdef"),
            ),
            ("my entry 0x1", None),
            ("entry 0x", None),
        ];
        for (line, expected) in cases {
            let found = check().line(line).map(|found| found.to_string());
            assert_eq!(found.as_deref(), expected, "{line}");
        }
        let mut once = check();
        assert_eq!(once.line("entry 0x403cbf1a"), None);
        assert_eq!(once.line("entry 0x40380000"), None);
        assert_eq!(BootCheck::default().line("entry 0x40380000"), None);
    }
}
