//! Explains why a serial port cannot be opened: which program holds it, and who may use it.

use std::path::Path;

use esplice_protocol::PortError;

use crate::ui::exit::Failure;

/// Converts `error` at the port `name` into a failure, with a hint if the cause can be found.
pub fn explained(name: &str, error: PortError) -> Failure {
    let hint = match &error {
        PortError::Busy { .. } => holders(Path::new(name)),
        PortError::Permission { .. } => permission(Path::new(name)),
        _ => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Returns which processes have the port open, of those that the system shows to this user.
#[cfg(target_os = "linux")]
fn holders(port: &Path) -> Option<String> {
    let device = port.canonicalize().ok()?;
    let mut holders = Vec::new();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(number) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        else {
            continue;
        };
        // The open files of other users' processes are not visible.
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let is_it = |file: std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|open| open == device)
        };
        if number != std::process::id().to_string() && files.flatten().any(is_it) {
            let comm = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            holders.push(format!("{} (process {number})", comm.trim()));
        }
    }
    let verb = if holders.len() == 1 { "holds" } else { "hold" };
    (!holders.is_empty()).then(|| format!("{} {verb} the port: close it first", holders.join(", ")))
}

#[cfg(not(target_os = "linux"))]
fn holders(_port: &Path) -> Option<String> {
    None
}

/// Returns which group may use the port and how to join it. Returns `None` for a port that
/// everybody may write to.
#[cfg(target_os = "linux")]
fn permission(port: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    use nix::unistd::{Gid, Group};

    /// Read and write permission for a file's group (POSIX, sys/stat.h: S_IRGRP and S_IWGRP).
    const GROUP_MAY: u32 = 0o060;
    let file = std::fs::metadata(port).ok()?;
    let group = Group::from_gid(Gid::from_raw(file.gid())).ok()??;
    Some(advice(port, &group.name, file.gid() != 0 && file.mode() & GROUP_MAY == GROUP_MAY))
}

#[cfg(not(target_os = "linux"))]
fn permission(_port: &Path) -> Option<String> {
    None
}

/// Returns the hint for a port of `group`; `may` is whether the group may use it.
#[cfg(target_os = "linux")]
fn advice(port: &Path, group: &str, may: bool) -> String {
    if may {
        return format!(
            "{} is for the group {group}: `sudo usermod -aG {group} $USER`, then log in again",
            port.display()
        );
    }
    // The rules of systemd's logind give devices with this tag to the local user, if the tag is set
    // before logind's own 73-seat-late.rules (systemd, rules.d).
    "no group may use it: `echo 'SUBSYSTEM==\"tty\", SUBSYSTEMS==\"usb\", TAG+=\"uaccess\"' | sudo tee \
     /etc/udev/rules.d/70-esplice.rules`, then `sudo udevadm control --reload`, and plug the board in \
     again"
        .into()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_port_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(holders(file.path()), None);
        let open = std::fs::File::open(file.path()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").stdin(open).spawn().unwrap();
        let told = holders(file.path());
        child.kill().unwrap();
        child.wait().unwrap();
        let expected = format!("sleep (process {}) holds the port: close it first", child.id());
        // Between fork and exec, the child still has the test's name.
        assert!(told.as_ref().is_some_and(|told| told.ends_with(&expected[6..])), "{told:?}");
    }

    #[test]
    fn advice_names_the_group_and_never_everybody() {
        let port = Path::new("/dev/ttyUSB0");
        let group = advice(port, "dialout", true);
        assert!(group.contains("sudo usermod -aG dialout $USER"), "{group}");
        let rule = advice(port, "root", false);
        assert!(rule.contains("uaccess") && !rule.contains("666"), "{rule}");
    }
}
