//! Linker scripts for ESP32-family firmware, embedded as text. `esplice-layout` fills them in.

/// Sections of firmware that runs from RAM, without flash.
pub const RAM: &str = include_str!("ram.x");
