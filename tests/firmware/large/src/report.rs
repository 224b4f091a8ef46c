//! Batches of readings as JSON.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::sensors::Reading;

/// Number of readings in a batch.
const BATCH: usize = 20;

/// A batch with the name of its device.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    device: String,
    readings: Vec<Reading>,
    #[serde(default)]
    note: Option<String>,
}

/// Why a report was not written.
#[derive(Debug)]
pub enum ReportError {
    /// The text could not be written or read back.
    Json(serde_json::Error),
    /// The text read back differs from the batch.
    Changed(serde_json::Value),
}

impl core::fmt::Display for ReportError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            ReportError::Json(error) => write!(f, "not JSON: {error}"),
            ReportError::Changed(value) => write!(f, "changed on the way: {value}"),
        }
    }
}

impl Report {
    /// Creates an empty batch.
    pub fn new(device: &str) -> Self {
        Report { device: device.into(), readings: Vec::with_capacity(BATCH), note: None }
    }

    /// Adds a reading.
    pub fn add(&mut self, reading: Reading) {
        self.readings.push(reading);
    }

    /// Returns whether the batch is to be written.
    pub fn is_full(&self) -> bool {
        self.readings.len() >= BATCH
    }

    /// Returns the batch as text, after checking that it reads back as the same batch.
    pub fn to_checked_json(&self) -> Result<String, ReportError> {
        let text = serde_json::to_string(self).map_err(ReportError::Json)?;
        let read: Report = serde_json::from_str(&text).map_err(ReportError::Json)?;
        if read != *self {
            let value = serde_json::from_str(&text).map_err(ReportError::Json)?;
            return Err(ReportError::Changed(value));
        }
        Ok(text)
    }
}
