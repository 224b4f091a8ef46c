//! Arguments of the command line, also in the words of other tools.

pub mod args;
pub mod compat;
pub mod complete;
pub mod harness;
pub mod stub_choice;
pub mod value;
