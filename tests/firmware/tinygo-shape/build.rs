//! Gives the linker the script.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rustc-link-search={here}");
    println!("cargo:rustc-link-arg-bins=-Tshape.x");
    println!("cargo:rerun-if-changed=shape.x");
}
