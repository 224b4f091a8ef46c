//! Gives the linker this package's own script.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rustc-link-search={here}");
    println!("cargo:rustc-link-arg-bins=-Tcpu-bound.x");
    println!("cargo:rerun-if-changed=cpu-bound.x");
}
