//! Embeds every file of `targets/`, so that to add a chip is to add a file.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../targets");
    println!("cargo::rerun-if-changed={}", targets.display());
    let mut files: Vec<_> =
        fs::read_dir(&targets)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    let mut list = String::from("pub(crate) const FILES: &[(&str, &str)] = &[\n");
    for path in &files {
        println!("cargo::rerun-if-changed={}", path.display());
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let full = fs::canonicalize(path)?;
        list.push_str(&format!("    ({name:?}, include_str!({full:?})),\n"));
    }
    list.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    fs::write(Path::new(&out).join("targets.rs"), list)
}
