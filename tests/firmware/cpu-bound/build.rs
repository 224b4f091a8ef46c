//! Passes the linker the script for programs in RAM, and this package's regions for it.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let scripts = format!("{here}/../../../linker-scripts");
    for directory in [&here, &scripts] {
        println!("cargo:rustc-link-search={directory}");
    }
    println!("cargo:rustc-link-arg-bins=-Tram.x");
    println!("cargo:rerun-if-changed=regions.x");
    println!("cargo:rerun-if-changed={scripts}/ram.x");
}
