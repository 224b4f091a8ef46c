//! Embeds every data file of this directory: adding a chip only takes a new file.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    // Read at run time: a script compiled in another checkout must not embed that checkout's files.
    let here = env::var_os("CARGO_MANIFEST_DIR");
    let here = here.ok_or_else(|| io::Error::other("CARGO_MANIFEST_DIR is not set"))?;
    let targets = Path::new(&here);
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for folder in ["", "boards/", "stubs/"] {
        println!("cargo::rerun-if-changed={}", targets.join(folder).display());
        for entry in fs::read_dir(targets.join(folder))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let wanted = if folder == "stubs/" { "json" } else { "toml" };
            if path.extension().is_some_and(|e| e == wanted) && name != "Cargo.toml" {
                files.push((format!("{folder}{name}"), path));
            }
        }
    }
    files.sort();
    let mut list = String::from(
        "/// All files, sorted by name: the name and the text.\n\
         pub const FILES: &[(&str, &str)] = &[\n",
    );
    for (name, path) in &files {
        println!("cargo::rerun-if-changed={}", path.display());
        let full = fs::canonicalize(path)?;
        list.push_str(&format!("    ({name:?}, include_str!({full:?})),\n"));
    }
    list.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    fs::write(Path::new(&out).join("targets.rs"), list)
}
