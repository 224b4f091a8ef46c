//! Placeholder

pub mod cpu;
pub mod download;
mod error;
pub mod memory;
pub mod nor;

pub use error::SimError;
