//! esplice
fn main() {}
