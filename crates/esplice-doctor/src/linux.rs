//! Linux: permissions, programs that take ports, drivers, WSL, containers, hubs.

use crate::{
    Finding, Fix, SerialPort, System,
    rule::RULE_PATH,
    usb::{kind, no_port},
};

/// USB devices in the kernel's file system.
const USB: &str = "/sys/bus/usb/devices";

/// Directories of udev rules. Source: udev(7), "Rules Files".
const RULES: [&str; 4] =
    ["/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"];

pub(crate) fn examine(system: &dyn System, ports: &[SerialPort]) -> Vec<Finding> {
    let on_usb: Vec<&SerialPort> = ports.iter().filter(|port| port.usb.is_some()).collect();
    let devices = devices(system);
    let mut findings = Vec::new();
    for port in &on_usb {
        findings.extend(permission(system, &port.name));
        findings.extend(holders(system, &port.name));
    }
    findings.extend(brltty(system));
    findings.extend(modem_manager(system));
    for device in &devices {
        findings.extend(without_driver(system, device));
        findings.extend(hubs(device));
    }
    if on_usb.is_empty() && devices.iter().all(|device| device.has_port) {
        findings.push(no_port(elsewhere(system)));
    }
    findings
}

/// A USB device of a board.
struct Device {
    /// Place on the bus, such as `1-1.4`: the bus, then the ports of hubs.
    place: String,
    vid: u16,
    pid: u16,
    /// True if a driver has made a serial port of it.
    has_port: bool,
}

fn devices(system: &dyn System) -> Vec<Device> {
    let names = system.entries(USB);
    let mut found = Vec::new();
    // An interface is named after its device: `1-1.4:1.0`.
    for place in names.iter().filter(|name| !name.contains(':')) {
        let number = |file: &str| {
            let text = system.text(&format!("{USB}/{place}/{file}"))?;
            u16::from_str_radix(text.trim(), 16).ok()
        };
        let (Some(vid), Some(pid)) = (number("idVendor"), number("idProduct")) else { continue };
        if kind(vid, pid).is_none() {
            continue;
        }
        let interfaces = names
            .iter()
            .filter(|name| name.split_once(':').is_some_and(|(device, _)| device == place));
        let has_port = interfaces.clone().any(|interface| {
            let inside = system.entries(&format!("{USB}/{interface}"));
            inside.iter().any(|name| name == "tty" || name.starts_with("ttyUSB"))
        });
        found.push(Device { place: place.clone(), vid, pid, has_port });
    }
    found
}

/// Examines whether the user may open a port.
fn permission(system: &dyn System, port: &str) -> Option<Finding> {
    if system.may_use(port) {
        return None;
    }
    let owner = system.output("stat", &["-c", "%G %a", port]).unwrap_or_default();
    let (group, mode) = owner.trim().split_once(' ').unwrap_or(("", ""));
    let may = mode.chars().rev().nth(1).is_some_and(|digit| matches!(digit, '6' | '7'));
    let may = may && group != "root" && !group.is_empty();
    let has = |words: &str| words.split_whitespace().any(|word| word == group);
    let user = system.variable("USER").or_else(|| system.variable("LOGNAME")).unwrap_or_default();
    let session = system.output("id", &["-nG"]).unwrap_or_default();
    let accounts = system.output("id", &["-nG", &user]).unwrap_or_default();
    if may && has(&accounts) && !has(&session) {
        let text = format!("{port} is for the group {group}, which this session does not have yet");
        return Some(
            Finding::problem("port-permission", text).remedy("log out and in again, or restart"),
        );
    }
    let whose = if may { format!(": it is for the group {group}") } else { String::new() };
    let mut finding =
        Finding::problem("port-permission", format!("{port} may not be opened{whose}"));
    // The tag has an effect only with logind.
    if system.entries("/run/systemd").iter().any(|name| name == "seats") {
        let text = "install the udev rule, and plug the board in again";
        finding = finding.remedy(text).fixed_by(Fix::UdevRule);
    }
    if may {
        let command = format!("`sudo usermod -aG {group} \"$USER\"`, then log out and in again");
        let or = if finding.remedies.is_empty() { "" } else { "or " };
        finding = finding.remedy(format!("{or}{command}"));
    } else if finding.fix.is_none() {
        finding = finding.remedy(
            "no group may use it: ask the administrator for a udev rule with GROUP and MODE=\"0660\"",
        );
    }
    Some(finding)
}

/// Examines whether a program has the port open, of those that the system shows to this user.
fn holders(system: &dyn System, port: &str) -> Option<Finding> {
    let mut holders = Vec::new();
    let is_number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    for process in system.entries("/proc").into_iter().filter(is_number) {
        let files = format!("/proc/{process}/fd");
        let is_it = |file: &String| {
            system.link(&format!("{files}/{file}")).is_some_and(|open| open == port)
        };
        if system.entries(&files).iter().any(is_it) {
            let name = system.text(&format!("/proc/{process}/comm")).unwrap_or_default();
            holders.push(format!("{} (process {process})", name.trim()));
        }
    }
    if holders.is_empty() {
        return None;
    }
    let text = format!("{port} is open in {}", holders.join(", "));
    Some(Finding::problem("port-busy", text).remedy("close that program"))
}

/// Returns the text of each rule file whose name contains `part`, with its path.
fn rules(system: &dyn System, part: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for directory in RULES {
        for name in system.entries(directory) {
            let seen = found.iter().any(|(path, _)| path.ends_with(&format!("/{name}")));
            // A file hides others of its name in later directories.
            if name.contains(part) && !seen {
                let path = format!("{directory}/{name}");
                let text = system.text(&path).unwrap_or_default();
                found.push((path, text));
            }
        }
    }
    found
}

/// Examines whether brltty, a driver of Braille displays, takes CH340 and CP210x bridges: some
/// displays have the same ids.
fn brltty(system: &dyn System) -> Option<Finding> {
    let takes = |line: &str| {
        let line = line.trim();
        !line.starts_with('#') && (line.contains("1a86/7523") || line.contains("10c4/ea60"))
    };
    let (path, _) =
        rules(system, "brltty").into_iter().find(|(_, text)| text.lines().any(takes))?;
    let has_program = ["/usr/bin/brltty", "/bin/brltty", "/sbin/brltty", "/usr/sbin/brltty"]
        .iter()
        .any(|program| exists(system, program));
    if !has_program {
        return None;
    }
    let text = format!("brltty takes boards with CH340 or CP210x bridges away ({path})");
    let name = path.rsplit('/').next().unwrap_or_default();
    Some(
        Finding::problem("brltty", text)
            .remedy("without a Braille display: `sudo apt remove brltty`")
            .remedy(format!(
                "with one on another port: `sudo ln -s /dev/null /etc/udev/rules.d/{name}`, then plug \
                 the board in again"
            )),
    )
}

fn exists(system: &dyn System, path: &str) -> bool {
    let Some((directory, name)) = path.rsplit_once('/') else { return false };
    system.entries(directory).iter().any(|entry| entry == name)
}

/// Examines whether ModemManager opens the ports of new boards, to look for modems.
fn modem_manager(system: &dyn System) -> Option<Finding> {
    let state = system.output("systemctl", &["is-active", "ModemManager"])?;
    if state.trim() != "active" || exists(system, RULE_PATH) {
        return None;
    }
    let text = "ModemManager opens the port of a new board for some seconds, to look for a modem";
    Some(
        Finding::note("modem-manager", text)
            .remedy("install the udev rule, which makes it ignore boards")
            .remedy("or, without a modem: `sudo systemctl disable --now ModemManager`")
            .fixed_by(Fix::UdevRule),
    )
}

/// Examines whether a device has no serial port for lack of a driver.
fn without_driver(system: &dyn System, device: &Device) -> Option<Finding> {
    if device.has_port {
        return None;
    }
    let kind = kind(device.vid, device.pid)?;
    let (vid, pid, module) = (device.vid, device.pid, kind.module);
    let text = format!("the USB device {vid:04x}:{pid:04x} ({}) has no serial port", kind.name);
    let is_loaded = exists(system, &format!("/sys/module/{module}"));
    let finding = Finding::problem("no-driver", text);
    Some(if is_loaded {
        finding.remedy("plug the board in again; `sudo dmesg --follow` shows which driver takes it")
    } else {
        let finding = finding.remedy(format!("`sudo modprobe {module}` loads its driver"));
        let is_ubuntu = system.text("/etc/os-release").is_some_and(|text| {
            text.lines().any(|line| line == "ID=ubuntu" || line == "ID=\"ubuntu\"")
        });
        match is_ubuntu {
            true => finding.remedy(
                "if there is no such module: `sudo apt install linux-modules-extra-$(uname -r)`",
            ),
            false => finding,
        }
    })
}

/// Hubs in a row that are worth a hint.
const MANY_HUBS: usize = 2;

/// Examines how many hubs are between the computer and the board.
fn hubs(device: &Device) -> Option<Finding> {
    // `1-2.3.4`: port 2 of the computer, port 3 of a hub there, port 4 of a hub there.
    let hubs = device.place.matches('.').count();
    if hubs < MANY_HUBS {
        return None;
    }
    let (vid, pid) = (device.vid, device.pid);
    let text = format!("the board {vid:04x}:{pid:04x} is behind {hubs} hubs");
    Some(
        Finding::note("hubs", text)
            .remedy("if transfers fail or the port disappears, connect it to the computer itself"),
    )
}

/// Returns what to do if the devices of the computer are not those that this system sees.
fn elsewhere(system: &dyn System) -> Option<String> {
    let kernel = system.text("/proc/version").unwrap_or_default().to_lowercase();
    if kernel.contains("microsoft") {
        return Some(
            "this is WSL: in Windows, `usbipd list` shows the board's BUSID, `usbipd bind --busid \
             BUSID` (once, as administrator) shares it, `usbipd attach --wsl --busid BUSID` connects it"
                .into(),
        );
    }
    if exists(system, "/.dockerenv") || exists(system, "/run/.containerenv") {
        return Some(
            "this is a container: start it with `--device /dev/ttyUSB0`, or reach the port by \
             rfc2217://HOST:PORT"
                .into(),
        );
    }
    None
}
