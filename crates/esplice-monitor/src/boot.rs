//! Output of the mask ROM at reset.

/// The ROM's line after a reset, such as `rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootBanner {
    /// The reset reason as the chip's number.
    pub reset_code: u32,
    /// The ROM's name for the reset reason.
    pub reset_reason: String,
    /// The value of the strapping pins.
    pub boot_code: u32,
    /// The ROM's name for the boot mode they select.
    pub boot_mode: String,
}

impl BootBanner {
    /// Returns whether the chip is in download mode and runs no firmware.
    pub fn is_download(&self) -> bool {
        // Source: ROM boot log, "boot:0x4 (DOWNLOAD(USB/UART0/1))"; ESP32 "DOWNLOAD_BOOT(…)".
        self.boot_mode.starts_with("DOWNLOAD")
    }

    /// Returns whether the chip woke from deep sleep, which starts the firmware like a reset.
    pub fn is_wake(&self) -> bool {
        // Source: ROM boot log, "DSLEEP"; ESP32 and ESP32-S2 "DEEPSLEEP_RESET".
        self.reset_reason.contains("SLEEP")
    }

    /// Returns the banner in `line`. Noise from the reset may precede it.
    pub(crate) fn find(line: &str) -> Option<BootBanner> {
        let (_, rest) = line.split_once("rst:0x")?;
        let (reset_code, rest) = hex(rest)?;
        let (reset_reason, rest) = rest.strip_prefix(" (")?.split_once("),boot:0x")?;
        let (boot_code, rest) = hex(rest)?;
        // The mode itself may contain parentheses.
        let (boot_mode, _) = rest.strip_prefix(" (")?.rsplit_once(')')?;
        Some(BootBanner {
            reset_code,
            reset_reason: reset_reason.to_owned(),
            boot_code,
            boot_mode: boot_mode.to_owned(),
        })
    }
}

impl std::fmt::Display for BootBanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let BootBanner { reset_code, reset_reason, boot_code, boot_mode } = self;
        write!(f, "rst:{reset_code:#x} ({reset_reason}),boot:{boot_code:#x} ({boot_mode})")
    }
}

/// The reason why the firmware is not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BootErrorKind {
    /// There is no image at the expected offset.
    NoImage,
    /// The contents of the image do not match its checksum or hash.
    Damaged,
    /// The flash chip cannot be read.
    FlashRead,
    /// The partition table has no bootable app, or is invalid.
    NoPartition,
    /// The image is for another chip or chip revision.
    WrongChip,
    /// Secure boot rejects the image.
    Signature,
}

/// A line in which the ROM or the bootloader reports a failed boot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootError {
    /// The kind of failure.
    pub kind: BootErrorKind,
    /// The line as received.
    pub line: String,
}

impl BootErrorKind {
    /// Returns a short description.
    pub fn description(self) -> &'static str {
        match self {
            BootErrorKind::NoImage => "no image at the expected offset",
            BootErrorKind::Damaged => "the image does not match its checksum or hash",
            BootErrorKind::FlashRead => "the flash chip cannot be read",
            BootErrorKind::NoPartition => "no partition holds a bootable app",
            BootErrorKind::WrongChip => "the image is for another chip or revision",
            BootErrorKind::Signature => "secure boot rejects the image",
        }
    }
}

/// Start of such lines, and their meaning. Sources: output of the mask ROMs; ESP-IDF 5.5,
/// `components/bootloader_support/src/{esp_image_format,bootloader_utility,flash_partitions,
/// bootloader_common_loader}.c`. The bootloader prints its lines as `E (time) tag: text`.
const BOOT_ERRORS: &[(&str, BootErrorKind)] = &[
    ("invalid header: 0x", BootErrorKind::NoImage),
    ("invalid magic byte", BootErrorKind::NoImage),
    ("image at 0x", BootErrorKind::NoImage),
    ("SHA-256 comparison failed", BootErrorKind::Damaged),
    ("csum err:", BootErrorKind::Damaged),
    ("Checksum failed. Calculated 0x", BootErrorKind::Damaged),
    ("Image hash failed", BootErrorKind::Damaged),
    ("Invalid image block, can't boot", BootErrorKind::Damaged),
    ("invalid segment length 0x", BootErrorKind::Damaged),
    ("flash read err,", BootErrorKind::FlashRead),
    ("Failed to load partition table", BootErrorKind::NoPartition),
    ("load partition table error", BootErrorKind::NoPartition),
    ("No bootable app partitions in the partition table", BootErrorKind::NoPartition),
    ("Factory app partition is not bootable", BootErrorKind::NoPartition),
    ("OTA app partition slot ", BootErrorKind::NoPartition),
    ("mismatch chip ID, expected", BootErrorKind::WrongChip),
    ("Image requires chip rev", BootErrorKind::WrongChip),
    ("secure boot verification failed", BootErrorKind::Signature),
    ("Sig block 0 invalid", BootErrorKind::Signature),
];

impl BootError {
    /// Returns the boot error in `line`, if any.
    pub(crate) fn find(line: &str) -> Option<BootError> {
        // `E (123) esp_image: text` from the bootloader, plain text from the ROM.
        let text = match line.trim_start().strip_prefix("E (") {
            Some(rest) => rest.split_once(") ")?.1.split_once(": ")?.1,
            None => line.trim_start(),
        };
        let (_, kind) = BOOT_ERRORS.iter().find(|(opening, _)| {
            let tells = text.starts_with(opening);
            // These bootloader lines must also continue as expected.
            let whole = match *opening {
                "image at 0x" => text.contains("has invalid magic byte"),
                "OTA app partition slot " => text.ends_with("is not bootable"),
                _ => true,
            };
            tells && whole
        })?;
        Some(BootError { kind: *kind, line: line.trim().to_owned() })
    }
}

/// Returns the program counter at the time of the reset. Source: ROMs of RISC-V chips from the
/// ESP32-C3 on, which print `Saved PC:0x40380abc` after the reset line.
pub(crate) fn saved_pc(line: &str) -> Option<u32> {
    let (addr, rest) = hex(line.strip_prefix("Saved PC:0x")?)?;
    rest.trim().is_empty().then_some(addr)
}

/// A board that resets repeatedly.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootLoop {
    /// Number of unexpected resets, or of the ROM's failed attempts to find an image.
    pub resets: u32,
    /// The reset reason as in the ROM's line.
    pub reason: String,
    /// The last line before the last reset, often an error from the bootloader.
    pub last_line: Option<String>,
    /// True if the ROM finds no image, so the firmware cannot be the cause.
    pub without_image: bool,
}

/// A counter of resets.
#[derive(Debug)]
pub(crate) struct ResetCounter {
    expected: u32,
    limit: u32,
    /// True if resets of running firmware are intended.
    allowed: bool,
    resets: u32,
    bad_headers: u32,
    /// The last line not printed by the ROM.
    complaint: Option<String>,
}

impl ResetCounter {
    pub fn new(expected: u32, limit: u32, allowed: bool) -> Self {
        ResetCounter { expected, limit, allowed, resets: 0, bad_headers: 0, complaint: None }
    }

    /// Allows one more reset.
    pub fn expect_one_more(&mut self) {
        self.expected = self.expected.saturating_add(1);
    }

    /// Takes the next line and the banner found in it. Returns the boot loop once the limit is
    /// reached.
    pub fn line(&mut self, line: &str, banner: Option<&BootBanner>) -> Option<BootLoop> {
        if let Some(banner) = banner {
            // The firmware itself schedules a wake from deep sleep.
            if self.allowed || banner.is_wake() {
                return None;
            }
            self.resets = self.resets.saturating_add(1);
        } else if line.starts_with("invalid header: 0x") {
            // The ROM repeats this line as long as flash holds no image. Its watchdog resets it
            // after several attempts.
            self.bad_headers = self.bad_headers.saturating_add(1);
        } else {
            if !is_rom_talk(line) {
                self.complaint = Some(line.to_owned());
            }
            return None;
        }
        let beyond = self.resets.saturating_sub(self.expected).max(self.bad_headers);
        if beyond != self.limit {
            return None;
        }
        let without_image = self.bad_headers == beyond;
        let reason = if without_image {
            line.trim().to_owned()
        } else {
            banner.map(|b| format!("rst:{:#x} ({})", b.reset_code, b.reset_reason))?
        };
        Some(BootLoop { resets: beyond, reason, last_line: self.complaint.clone(), without_image })
    }
}

/// Returns whether the mask ROM prints such a line at each boot, so that it explains nothing.
fn is_rom_talk(line: &str) -> bool {
    // Source: the ROMs' boot logs.
    const OPENINGS: &[&str] = &[
        "ESP-ROM:",
        "Build:",
        "Saved PC:",
        "SPIWP:",
        "mode:",
        "load:",
        "entry 0x",
        "clock div:",
        "ets ",
        "configsip:",
        "clk_drv:",
    ];
    line.trim().is_empty() || OPENINGS.iter().any(|opening| line.starts_with(opening))
}

fn hex(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

/// Maximum length of a ROM name in bytes. The longest known one has 20.
const MAX_ROM_NAME: usize = 64;

/// Returns the ROM's name in `line`. Noise from the reset may precede it. The ROMs of ESP32 and
/// ESP32-S2 print none.
pub(crate) fn rom_name(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("ESP-ROM:")?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let len = rest.bytes().take_while(|byte| is_name(*byte)).count();
    rest.get(..len).filter(|name| (1..=MAX_ROM_NAME).contains(&name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rom_names_itself() {
        assert_eq!(rom_name("ESP-ROM:esp32c3-api1-20210207"), Some("esp32c3-api1-20210207"));
        assert_eq!(rom_name("\u{fffd}ESP-ROM:esp32c6-20220919 x"), Some("esp32c6-20220919"));
        assert_eq!(rom_name("ESP-ROM:"), None);
        assert_eq!(rom_name(&format!("ESP-ROM:{}", "a".repeat(65))), None);
        assert_eq!(rom_name("ets Jun  8 2016 00:22:57"), None);
    }

    #[track_caller]
    fn check(line: &str, expected: Option<(u32, &str, u32, &str, bool)>) {
        let found = BootBanner::find(line);
        let found = found.as_ref().map(|b| {
            let download = b.is_download();
            (b.reset_code, b.reset_reason.as_str(), b.boot_code, b.boot_mode.as_str(), download)
        });
        assert_eq!(found, expected, "{line:?}");
    }

    #[test]
    fn banners_are_read() {
        check(
            "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)",
            Some((1, "POWERON", 12, "SPI_FAST_FLASH_BOOT", false)),
        );
        check(
            "rst:0x15 (USB_UART_CHIP_RESET),boot:0x4 (DOWNLOAD(USB/UART0/1))",
            Some((0x15, "USB_UART_CHIP_RESET", 4, "DOWNLOAD(USB/UART0/1)", true)),
        );
        check(
            "\u{fffd}\u{2400}rst:0x7 (TG0WDT_SYS_RST),boot:0xf (SPI_FAST_FLASH_BOOT) ",
            Some((7, "TG0WDT_SYS_RST", 15, "SPI_FAST_FLASH_BOOT", false)),
        );
    }

    #[test]
    fn what_stops_a_boot_is_told() {
        let kind = |line| BootError::find(line).map(|error| error.kind);
        assert_eq!(kind("invalid header: 0xffffffff"), Some(BootErrorKind::NoImage));
        assert_eq!(kind("SHA-256 comparison failed:"), Some(BootErrorKind::Damaged));
        assert_eq!(kind("flash read err, 1000"), Some(BootErrorKind::FlashRead));
        assert_eq!(
            kind("E (57) boot: No bootable app partitions in the partition table"),
            Some(BootErrorKind::NoPartition)
        );
        assert_eq!(
            kind(
                "E (93) esp_image: image at 0x10000 has invalid magic byte (nothing flashed here?)"
            ),
            Some(BootErrorKind::NoImage)
        );
        assert_eq!(kind("E (93) app: image at 0x10000 loaded"), None);
        assert_eq!(kind("I (57) app: flash read err, they say"), None);
        assert_eq!(kind("E (57"), None);
    }

    #[test]
    fn a_saved_program_counter_is_read() {
        assert_eq!(saved_pc("Saved PC:0x4038050c"), Some(0x4038_050c));
        assert_eq!(saved_pc("Saved PC:0x4038050c and more"), None);
        assert_eq!(saved_pc("Saved PC:"), None);
    }

    #[test]
    fn wakes_and_allowed_resets_are_no_loop() {
        let told = |line: &str, allowed| {
            let mut counter = ResetCounter::new(1, 3, allowed);
            let mut told = None;
            for _ in 0..8 {
                let banner = BootBanner::find(line);
                told = told.or(counter.line(line, banner.as_ref()));
            }
            told.map(|found| (found.resets, found.without_image))
        };
        let reset = "rst:0x3 (RTC_SW_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)";
        assert_eq!(told(reset, false), Some((3, false)));
        assert_eq!(told(reset, true), None);
        assert_eq!(told("rst:0x5 (DSLEEP),boot:0xc (SPI_FAST_FLASH_BOOT)", false), None);
        assert_eq!(told("rst:0x5 (DEEPSLEEP_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)", false), None);
        assert_eq!(told("invalid header: 0xffffffff", true), Some((3, true)));
    }

    #[test]
    fn other_lines_are_not() {
        check("first:0x1 (A)", None);
        check("rst:0x", None);
        check("rst:0x123456789 (POWERON),boot:0xc (X)", None);
        check("rst:0x1 (POWERON)", None);
        check("rst:0x1 (POWERON),boot:0xc (X", None);
    }
}
