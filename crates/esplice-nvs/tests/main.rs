//! Tests of this crate's public interface, in one program. Each file is a module.

mod bad_csv;
mod damaged;
mod generator;
mod round_trip;
