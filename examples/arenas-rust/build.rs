//! Gives the linker the memory layout of `esplice.toml`, and this package a module for it.

fn main() -> Result<(), esplice_build::Error> {
    esplice_build::Layout::from_file("esplice.toml")?.emit()
}
