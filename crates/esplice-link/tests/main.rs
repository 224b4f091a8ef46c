//! Tests of this crate's public interface, in one program. Each file is a module.

#[path = "support/objects.rs"]
mod objects;
mod support;

mod elves;
mod inputs;
mod stable;
mod stable_edits;
