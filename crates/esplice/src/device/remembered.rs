//! Remembers the baud rate that worked with each adapter, in the user's cache folder. A damaged or
//! unwritable file is ignored.

use std::path::{Path, PathBuf};

use esplice_flash::list_ports;
use etcetera::BaseStrategy as _;

use crate::files::{outputs, read};

/// Maximum number of remembered adapters; the oldest are dropped first.
const MOST: usize = 100;

/// Prefixes of the names of wired serial ports, which need not be on USB.
const SERIAL: [&str; 4] = ["/dev/tty", "/dev/cu.", "COM", "rfc2217://"];

/// Size of the largest file that is read, in bytes.
const LARGEST: u64 = 1 << 16;

/// Remembered facts of the adapter at a port.
#[derive(Debug)]
pub struct Adapter {
    file: PathBuf,
    key: String,
}

impl Adapter {
    /// Identifies the adapter at the port called `name`: by its USB ids and serial number, else by
    /// the name of a serial port. Returns `None` for a port without a wire, or without a cache
    /// folder.
    pub fn of_port(name: &str) -> Option<Adapter> {
        let usb = list_ports().into_iter().find(|port| port.name == name).and_then(|port| {
            let usb = port.usb?;
            let serial = usb.serial.as_deref().unwrap_or(name);
            Some(format!("{:04x}:{:04x}:{serial}", usb.id.vid, usb.id.pid))
        });
        let is_serial = SERIAL.iter().any(|beginning| name.starts_with(beginning));
        let key = usb.or_else(|| is_serial.then(|| name.to_owned()))?;
        Some(Adapter { file: cache_folder()?.join("baud-rates"), key })
    }

    /// Returns the rate that worked.
    pub fn rate(&self) -> Option<u32> {
        read(&self.file).into_iter().rev().find(|(key, _)| *key == self.key).map(|(_, rate)| rate)
    }

    /// Saves the rate that worked.
    pub fn remember(&self, rate: u32) {
        if self.rate() == Some(rate) {
            return;
        }
        let mut known = read(&self.file);
        known.retain(|(key, _)| *key != self.key);
        known.push((self.key.clone(), rate));
        let excess = known.len().saturating_sub(MOST);
        let lines = known.iter().skip(excess).map(|(key, rate)| format!("{rate} {key}\n"));
        // On failure, the rate is found again next time.
        let _ = outputs::replace(&self.file, lines.collect::<String>().as_bytes());
    }
}

/// Reads adapters and their rates; invalid lines are skipped.
fn read(file: &Path) -> Vec<(String, u32)> {
    let bytes = read::read_up_to(file, LARGEST).unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    let pair = |line: &str| {
        let (rate, key) = line.split_once(' ')?;
        let rate = rate.parse().ok().filter(|rate| *rate > 0)?;
        Some((key.to_owned(), rate))
    };
    text.lines().filter_map(pair).collect()
}

/// Returns this program's folder among the user's caches.
fn cache_folder() -> Option<PathBuf> {
    // Windows and macOS have folders of their own, other systems the XDG base directories.
    let caches = if cfg!(target_os = "macos") {
        etcetera::base_strategy::choose_native_strategy().ok()?.cache_dir()
    } else {
        etcetera::base_strategy::choose_base_strategy().ok()?.cache_dir()
    };
    Some(caches.join("esplice"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn adapter(file: &Path, key: &str) -> Adapter {
        Adapter { file: file.to_owned(), key: key.to_owned() }
    }

    #[test]
    fn rates_are_kept_for_each_adapter() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/b/baud-rates");
        let (one, other) = (adapter(&file, "10c4:ea60:0001"), adapter(&file, "/dev/tty USB0"));
        assert_eq!(one.rate(), None);
        one.remember(460_800);
        other.remember(115_200);
        one.remember(921_600);
        assert_eq!((one.rate(), other.rate()), (Some(921_600), Some(115_200)));
        assert_eq!(read(&file).len(), 2);
        for number in 0..2 * MOST {
            adapter(&file, &format!("port {number}")).remember(1 + number as u32);
        }
        assert_eq!(read(&file).len(), MOST);
        assert_eq!(one.rate(), None);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("baud-rates");
        for damaged in [&b"\xff\xfe"[..], b"fast port\n0 port\n-1 port\n", b"921600", b"\0"] {
            fs::write(&file, damaged).unwrap();
            let adapter = adapter(&file, "port");
            assert_eq!(adapter.rate(), None, "{damaged:?}");
            adapter.remember(230_400);
            assert_eq!(adapter.rate(), Some(230_400));
        }
        // A folder instead of the file.
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        adapter(&file, "port").remember(1);
        assert_eq!(adapter(&file, "port").rate(), None);
        assert!(Adapter::of_port("sim:esp32c3").is_none());
    }
}
