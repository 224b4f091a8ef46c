//! Check that a board boots the program written to it, based on the output of ROM, bootloader and
//! app.

use crate::panic::elf_sha256;

/// The output expected when a board boots a program. Unknown facts are not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootCheck {
    /// Entry point of the image booted by the ROM.
    pub entry: Option<u32>,
    /// Flash offset of the app booted by the second-stage bootloader.
    pub app: Option<u32>,
    /// SHA-256 of the app's ELF in lowercase hex.
    pub elf_sha256: Option<String>,
}

/// A program that was booted instead of the one written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherProgram {
    /// The ROM booted another image.
    Entry {
        /// Entry point printed by the ROM.
        found: u32,
        /// Entry point of the written image.
        expected: u32,
    },
    /// The bootloader booted another app.
    App {
        /// Offset printed by the bootloader.
        found: u32,
        /// Offset the app was written to.
        expected: u32,
    },
    /// The app was built from another ELF.
    Elf {
        /// Start of the SHA-256 printed by the app.
        found: String,
        /// SHA-256 of the written ELF.
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
    /// Compares the facts in `line`. Each fact is compared only once, at the first boot, since the
    /// firmware may boot something else later.
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

/// Returns the entry point of the image, the last thing the ROM prints before starting it.
pub(crate) fn rom_entry(line: &str) -> Option<u32> {
    if line.starts_with("entry ") { hex_after(line, "entry 0x") } else { None }
}

/// Returns the hexadecimal number that follows `words`.
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
