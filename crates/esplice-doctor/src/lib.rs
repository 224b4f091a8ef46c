//! Examines a machine for what keeps ESP32 boards from being flashed.
//!
//! [`examine`] returns findings: permissions, drivers, programs that take serial ports, cables and
//! hubs, each with what to do about it. It sees the machine only through the trait [`System`], so
//! that tests can play back recorded ones. It changes nothing and opens no port; compilers are
//! examined by the caller.
//!
//! ```
//! use esplice_doctor::{Os, System, examine};
//!
//! /// A machine without anything.
//! struct Bare;
//!
//! impl System for Bare {
//!     fn os(&self) -> Os {
//!         Os::Linux
//!     }
//! }
//!
//! let findings = examine(&Bare, &[]);
//! assert_eq!(findings[0].id, "no-port");
//! assert!(!findings[0].is_problem);
//! ```

mod finding;
mod linux;
mod macos;
mod rule;
mod usb;
mod windows;

pub use finding::{Finding, Fix};
pub use rule::{RULE_PATH, udev_rule};
pub use usb::SerialPort;

/// An operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Os {
    /// Linux, also in WSL.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

/// Questions about a machine. Paths are absolute, and an answer that the machine does not
/// give is `None` or empty.
pub trait System {
    /// Returns the operating system.
    fn os(&self) -> Os;

    /// Returns the text of a file.
    fn text(&self, _path: &str) -> Option<String> {
        None
    }

    /// Returns the names in a directory, sorted.
    fn entries(&self, _directory: &str) -> Vec<String> {
        Vec::new()
    }

    /// Returns what a symbolic link points to.
    fn link(&self, _path: &str) -> Option<String> {
        None
    }

    /// Returns whether the user may read and write the file.
    fn may_use(&self, _path: &str) -> bool {
        true
    }

    /// Returns the standard output of a program, if it starts and succeeds.
    fn output(&self, _program: &str, _args: &[&str]) -> Option<String> {
        None
    }

    /// Returns an environment variable.
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// Examines a machine with these serial ports, and returns the findings, problems first.
pub fn examine(system: &dyn System, ports: &[SerialPort]) -> Vec<Finding> {
    let mut findings = match system.os() {
        Os::Linux => linux::examine(system, ports),
        Os::MacOs => macos::examine(system, ports),
        Os::Windows => windows::examine(system, ports),
    };
    findings.extend(idf(system));
    findings.sort_by_key(|finding| !finding.is_problem);
    findings
}

/// Examines ESP-IDF's environment.
fn idf(system: &dyn System) -> Option<Finding> {
    let path = system.variable("IDF_PATH")?;
    let (program, export) = match system.os() {
        Os::Windows => ("idf.py.exe", format!("{path}\\export.bat")),
        _ => ("idf.py", format!(". {path}/export.sh")),
    };
    if system.output(program, &["--version"]).is_some() {
        return None;
    }
    let text = format!("IDF_PATH is {path}, but {program} can't be started");
    Some(Finding::note("idf", text).remedy(format!("run `{export}` in this shell")))
}
