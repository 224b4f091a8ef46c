//! ESP32-family chips and boards as data files, embedded as text.
//!
//! Each chip is a file `<chip>.toml`, each board a file `boards/<board>.toml`, and each value in them
//! names its source. The flasher stubs in `stubs/` are built from the crate `esplice-stub`. The crate `esplice-chip` has the schema and the checks.
//!
//! ```
//! let chip = esplice_targets::file("esp32c3.toml").unwrap();
//! assert!(chip.contains("ESP32-C3"));
//! ```

include!(concat!(env!("OUT_DIR"), "/targets.rs"));

/// Returns the text of the file called `name`, such as `esp32c3.toml` or `boards/xiao-esp32c3.toml`.
pub fn file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(file, _)| *file == name).map(|(_, text)| *text)
}
