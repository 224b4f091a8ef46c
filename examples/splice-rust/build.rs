//! Passes the memory layout of `esplice.toml` to the linker, and generates a module for this
//! package.

fn main() -> Result<(), esplice_build::Error> {
    esplice_build::Layout::from_file("esplice.toml")?.emit()
}
