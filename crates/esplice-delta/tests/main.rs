//! Tests of patches.

mod hostile;
mod prediction;
mod program;
mod round_trips;
