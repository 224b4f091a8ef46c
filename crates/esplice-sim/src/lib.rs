//! Placeholder

pub mod cpu;
mod error;
pub mod memory;
pub mod nor;

pub use error::SimError;
