//! Detects from the ROM's boot messages whether it waits for a download.

/// Maximum number of bytes kept of the board's output.
const LIMIT: usize = 512;

/// Last message before the loader listens, the same in all ROMs since the ESP32
/// (ESP-IDF documentation, esptool, "Boot Mode Selection", Boot Log).
const WAITING: &[u8] = b"waiting for download";

/// Text that precedes the ROM's boot mode: `boot:0xc (SPI_FAST_FLASH_BOOT)`,
/// `boot:0x4 (DOWNLOAD(…))` (same page).
const MODE: &[u8] = b"boot:0x";

/// The last bytes that a board printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Banner(Vec<u8>);

impl Banner {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // The banner comes first: once it is known, the rest can be discarded.
        if self.is_clear() {
            return;
        }
        self.0.extend_from_slice(bytes);
        let excess = self.0.len().saturating_sub(LIMIT);
        self.0.drain(..excess);
    }

    /// Returns whether the board waits for a download.
    pub(crate) fn is_waiting(&self) -> bool {
        find(&self.0, WAITING).is_some()
    }

    /// Returns whether the board boots from flash.
    pub(crate) fn is_running(&self) -> bool {
        !self.is_waiting() && self.mode().is_some_and(|mode| find(mode, b"DOWNLOAD").is_none())
    }

    /// Returns whether either is known.
    pub(crate) fn is_clear(&self) -> bool {
        self.is_waiting() || self.is_running()
    }

    /// Returns the line from the boot mode on.
    fn mode(&self) -> Option<&[u8]> {
        let from = find(&self.0, MODE)?;
        let rest = self.0.get(from..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        rest.get(..end)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::Banner;

    fn check(text: &str, waiting: bool, running: bool) {
        let mut banner = Banner::default();
        for byte in text.bytes() {
            banner.push(&[byte]);
        }
        assert_eq!((banner.is_waiting(), banner.is_running()), (waiting, running), "{text:?}");
    }

    #[test]
    fn tells_download_from_boot() {
        check("", false, false);
        check("\0\u{fffd}x boot", false, false);
        check("rst:0x1 (POWERON),boot:0xc (SPI_FAST", false, false);
        check("rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n", false, true);
        check("rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/1))\r\n", false, false);
        check("boot:0x4 (DOWNLOAD(USB/UART0/1))\r\nwaiting for download\r\n", true, false);
        let long = "hello ".repeat(400);
        check(&format!("boot:0x8 (SPI_FAST_FLASH_BOOT)\n{long}"), false, true);
        check(&format!("{long}boot:0x8 (SPI_FAST_FLASH_BOOT)\n"), false, true);
    }
}
