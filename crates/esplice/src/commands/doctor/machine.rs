//! The machine that esplice runs on.

use std::{
    fs,
    process::{Command, Stdio},
};

use esplice_doctor::{Os, System};

/// This machine.
pub struct ThisMachine;

impl System for ThisMachine {
    fn os(&self) -> Os {
        match std::env::consts::OS {
            "windows" => Os::Windows,
            "macos" => Os::MacOs,
            _ => Os::Linux,
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    fn entries(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn link(&self, path: &str) -> Option<String> {
        fs::read_link(path).ok()?.into_os_string().into_string().ok()
    }

    #[cfg(unix)]
    fn may_use(&self, path: &str) -> bool {
        use nix::unistd::{AccessFlags, access};
        access(path, AccessFlags::R_OK | AccessFlags::W_OK).is_ok()
    }

    fn output(&self, program: &str, args: &[&str]) -> Option<String> {
        tracing::debug!(program, ?args, "querying");
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}
