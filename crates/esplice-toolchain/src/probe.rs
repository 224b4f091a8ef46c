//! Queries about a machine, and their answers for the real machine.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::environment::outer_cargo_variables;

/// The queries made while searching for a toolchain.
pub trait Probe {
    /// Returns whether there is a file or directory at `path`.
    fn exists(&self, path: &Path) -> bool;

    /// Returns the entries of the directory at `path`, none if it does not exist.
    fn entries(&self, path: &Path) -> Vec<PathBuf>;

    /// Returns the text of the file at `path`, if it exists.
    fn text(&self, path: &Path) -> Option<String>;

    /// Returns `path` with symbolic links resolved, if it exists.
    fn resolved(&self, path: &Path) -> Option<PathBuf>;

    /// Returns the absolute path of the project's directory, where programs are started.
    fn directory(&self) -> PathBuf;

    /// Returns cargo's home: `CARGO_HOME`, or `.cargo` in the user's home.
    fn cargo_home(&self) -> Option<PathBuf>;

    /// Returns the standard output of `program`, if it starts and succeeds.
    fn output(&self, program: &Path, args: &[&str]) -> Option<String>;

    /// Returns the standard error of `program`, if it starts and fails.
    fn error_output(&self, _program: &Path, _args: &[&str]) -> Option<String> {
        None
    }

    /// Returns the programs on the search path whose names start with `prefix`, in path order. The
    /// names exclude the system's suffix for programs.
    fn on_path(&self, prefix: &str) -> Vec<PathBuf>;

    /// Returns an environment variable set by the user. Variables set by an outer cargo are hidden.
    fn variable(&self, name: &str) -> Option<OsString>;
}

/// This machine, seen from a directory: the answers of rustup's proxies depend on it.
#[derive(Debug, Clone)]
pub struct Machine {
    directory: PathBuf,
    hidden: Vec<OsString>,
}

impl Machine {
    /// Returns this machine as seen from `directory`.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Machine {
            directory: directory.into(),
            hidden: outer_cargo_variables(std::env::vars_os().map(|(name, _)| name)),
        }
    }

    /// Returns a command that starts in the directory, without an outer cargo's variables.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.directory).stdin(Stdio::null());
        for name in &self.hidden {
            command.env_remove(name);
        }
        command
    }

    /// Returns the variables that programs started here must not see.
    pub(crate) fn hidden(&self) -> &[OsString] {
        &self.hidden
    }
}

impl Probe for Machine {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn entries(&self, path: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten();
        entries.flatten().map(|entry| entry.path()).collect()
    }

    fn text(&self, path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    fn resolved(&self, path: &Path) -> Option<PathBuf> {
        fs::canonicalize(path).ok()
    }

    fn directory(&self) -> PathBuf {
        // Resolved as in cargo, which asks the system for its current directory.
        fs::canonicalize(&self.directory).unwrap_or_else(|_| self.directory.clone())
    }

    fn cargo_home(&self) -> Option<PathBuf> {
        match self.variable("CARGO_HOME") {
            Some(home) => Some(self.directory().join(home)),
            None => Some(std::env::home_dir()?.join(".cargo")),
        }
    }

    fn output(&self, program: &Path, args: &[&str]) -> Option<String> {
        tracing::debug!(program = %program.display(), ?args, "querying");
        // RUSTC_BOOTSTRAP lets a stable cargo answer questions about its configuration.
        let output = self
            .command(program)
            .args(args)
            .env("RUSTC_BOOTSTRAP", "1")
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn error_output(&self, program: &Path, args: &[&str]) -> Option<String> {
        tracing::debug!(program = %program.display(), ?args, "querying");
        let output = self.command(program).args(args).output().ok()?;
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn on_path(&self, prefix: &str) -> Vec<PathBuf> {
        programs_on(&std::env::var_os("PATH").unwrap_or_default(), prefix)
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        if self.hidden.iter().any(|hidden| hidden == name) {
            return None;
        }
        std::env::var_os(name).filter(|value| !value.is_empty())
    }
}

fn programs_on(search_path: &OsStr, prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in std::env::split_paths(search_path) {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        let mut here: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| program_name(path).is_some_and(|name| name.starts_with(prefix)))
            .filter(|path| is_program(path))
            .collect();
        // A directory lists its files in arbitrary order.
        here.sort();
        found.append(&mut here);
    }
    found
}

/// Returns the name of a program without the system's suffix, such as `.exe`.
pub(crate) fn program_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(std::env::consts::EXE_SUFFIX)
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn programs_come_in_the_paths_order_and_files_are_none() {
        let root = tempfile::tempdir().unwrap();
        for (name, mode) in [
            ("b/ld.lld-19", 0o755),
            ("b/ld.lld", 0o755),
            ("a/ld.lld-14", 0o755),
            ("a/ld.lld.txt", 0o644),
            ("a/other", 0o755),
        ] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(root.path().join("a/ld.lld-dir")).unwrap();

        let search = ["b", "nowhere", "a"].map(|name| root.path().join(name));
        let found = programs_on(&std::env::join_paths(&search).unwrap(), "ld.lld");
        let expected = ["b/ld.lld", "b/ld.lld-19", "a/ld.lld-14"].map(|n| root.path().join(n));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_machine_answers_for_what_runs_and_not_for_what_fails() {
        let machine = Machine::in_directory("/");
        assert_eq!(machine.output(Path::new("sh"), &["-c", "pwd"]).as_deref(), Some("/\n"));
        assert_eq!(machine.output(Path::new("sh"), &["-c", "echo no; exit 1"]), None);
        assert_eq!(machine.output(Path::new("/nowhere/sh"), &[]), None);
    }
}
