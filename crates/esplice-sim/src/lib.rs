//! Placeholder

pub mod cpu;
pub mod download;
mod error;
pub mod faults;
pub mod memory;
pub mod nor;
pub mod port;
pub mod spec;

pub use error::SimError;
pub use port::SimPort;
pub use spec::TimeMode;
