//! Simulated sensors: a deterministic signal, smoothed.

use serde::{Deserialize, Serialize};

/// A sample of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Number of the sensor.
    pub channel: u8,
    /// Samples taken before this one.
    pub index: u32,
    /// The smoothed value.
    pub value: f32,
    /// Level of the value.
    pub level: Level,
}

/// Position of a reading relative to its limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Below the lower limit.
    TooLow,
    /// Between the limits.
    Good,
    /// Above the upper limit.
    TooHigh,
}

/// A source of readings.
pub struct Sensor {
    channel: u8,
    index: u32,
    state: u32,
    smoothed: f32,
}

impl Sensor {
    /// Creates a sensor whose signal depends only on its channel.
    pub fn new(channel: u8) -> Self {
        Sensor { channel, index: 0, state: 0x9e37_79b9 ^ u32::from(channel), smoothed: 0.0 }
    }

    /// Returns the next reading.
    pub fn read(&mut self) -> Reading {
        let raw = self.next_raw();
        self.smoothed = smooth(self.smoothed, raw);
        let reading = Reading {
            channel: self.channel,
            index: self.index,
            value: self.smoothed,
            level: level_of(self.smoothed),
        };
        self.index = self.index.wrapping_add(1);
        reading
    }

    /// Returns the next raw value: xorshift, scaled to ±100.
    fn next_raw(&mut self) -> f32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        (self.state % 20_001) as f32 / 100.0 - 100.0
    }
}

#[cfg(not(feature = "edit-function"))]
#[inline(never)]
fn smooth(old: f32, new: f32) -> f32 {
    old * 0.9 + new * 0.1
}

// The edit is longer than the original, so that the code after it in the section moves.
#[cfg(feature = "edit-function")]
#[inline(never)]
fn smooth(old: f32, new: f32) -> f32 {
    let step = (new - old) * 0.1;
    if step > 5.0 {
        old + 5.0
    } else if step < -5.0 {
        old - 5.0
    } else {
        old + step
    }
}

fn level_of(value: f32) -> Level {
    #[cfg(feature = "edit-new-function")]
    let value = calibrate(value);
    if value < -20.0 {
        Level::TooLow
    } else if value > 20.0 {
        Level::TooHigh
    } else {
        Level::Good
    }
}

/// Applies a cubic correction.
#[cfg(feature = "edit-new-function")]
#[inline(never)]
fn calibrate(value: f32) -> f32 {
    let x = value / 100.0;
    100.0 * (x + 0.02 * x * x - 0.004 * x * x * x)
}
