//! Everything that is printed: results, events, errors and exit codes.

pub mod event;
pub mod exit;
pub mod interrupt;
pub mod printable;
pub mod shell;
pub mod terminal;
