//! Passes the linker the script in `SHAPE_SCRIPT`, which may include this package's.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rustc-link-search={here}");
    let script = std::env::var("SHAPE_SCRIPT").unwrap_or("shape.x".into());
    println!("cargo:rustc-link-arg-bins=-T{script}");
    println!("cargo:rerun-if-changed=shape.x");
    println!("cargo:rerun-if-env-changed=SHAPE_SCRIPT");
}
