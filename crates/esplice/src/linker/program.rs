//! Finds and starts the real linker.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// A linker.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
}

impl Program {
    /// Returns the requested linker, else lld under one of its names on the PATH, where rustc puts
    /// its own first. Of `ld.lld-NN`, the newest is used.
    pub fn find(asked: Option<&Path>) -> Option<Program> {
        let variable = env::var_os("ESPLICE_LINKER").map(PathBuf::from);
        if let Some(path) = asked.map(Path::to_owned).or(variable) {
            return Some(Program { path });
        }
        let path = env::var_os("PATH")?;
        let directories: Vec<PathBuf> = env::split_paths(&path).collect();
        let end = env::consts::EXE_SUFFIX;
        for name in ["rust-lld", "ld.lld"] {
            let mut found =
                directories.iter().map(|directory| directory.join(format!("{name}{end}")));
            if let Some(path) = found.find(|path| path.is_file()) {
                return Some(Program { path });
            }
        }
        let mut newest: Option<(u32, PathBuf)> = None;
        for entry in directories.iter().flat_map(std::fs::read_dir).flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix("ld.lld-")?.parse().ok());
            if let Some(version) = version
                && newest.as_ref().is_none_or(|(best, _)| version > *best)
            {
                newest = Some((version, entry.path()));
            }
        }
        newest.map(|(_, path)| Program { path })
    }

    /// Returns a command that starts the program, with the leading arguments it needs.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        // lld selects its flavor by its name; rustc passes a flavor to a linker with another name.
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if stem.contains("lld") && !stem.starts_with("ld") {
            command.args(["-flavor", "gnu"]);
        }
        command
    }

    /// Returns the version that the program prints.
    pub fn version(&self) -> Option<String> {
        let output = self.command().arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
