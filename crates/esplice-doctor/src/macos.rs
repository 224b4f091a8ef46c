//! macOS: drivers, and the two names of a port.

use crate::{
    Finding, SerialPort, System,
    usb::{kind, no_port},
};

pub(crate) fn examine(system: &dyn System, ports: &[SerialPort]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let on_usb = ports.iter().filter(|port| port.usb.is_some());
    let has_port = |vid: u16, pid: u16| on_usb.clone().any(|port| port.usb == Some((vid, pid)));
    let devices =
        devices(&system.output("ioreg", &["-p", "IOUSB", "-l", "-w", "0"]).unwrap_or_default());
    let mut is_missing = false;
    for (vid, pid) in devices {
        let Some(kind) = kind(vid, pid).filter(|_| !has_port(vid, pid)) else { continue };
        is_missing = true;
        let text = format!("the USB device {vid:04x}:{pid:04x} ({}) has no serial port", kind.name);
        let finding = Finding::problem("no-driver", text);
        findings.push(if waits(system) {
            finding.remedy(
                "its driver waits for your permission: System Settings, General, Login Items & \
                 Extensions, or Privacy & Security",
            )
        } else if kind.vid == 0x303a {
            finding.remedy("hold BOOT, press RESET, release BOOT; its driver is part of macOS")
        } else {
            finding
                .remedy("update macOS: recent versions contain a driver for this bridge")
                .remedy(format!("or install the vendor's driver: {}", kind.driver))
        });
    }
    if on_usb.clone().next().is_none() && !is_missing {
        findings.push(no_port(None));
    }
    if let Some(port) = system.variable("ESPLICE_PROJECT_PORT")
        && let Some(rest) = port.strip_prefix("/dev/tty.")
    {
        let text = format!("ESPLICE_PROJECT_PORT is {port}, which waits for a carrier signal");
        let remedy = format!("use the other name of the port: /dev/cu.{rest}");
        findings.push(Finding::problem("tty-port", text).remedy(remedy));
    }
    findings
}

/// Returns the ids of USB devices in the output of `ioreg`, which has decimal numbers.
fn devices(text: &str) -> Vec<(u16, u16)> {
    let mut found = Vec::new();
    let (mut vid, mut pid) = (None, None);
    for line in text.lines() {
        // A device begins.
        if line.contains("+-o ") {
            (vid, pid) = (None, None);
        }
        let number = |key: &str| {
            let (_, rest) = line.split_once(&format!("\"{key}\" = "))?;
            rest.trim().parse::<u16>().ok()
        };
        vid = number("idVendor").or(vid);
        pid = number("idProduct").or(pid);
        if let (Some(vendor), Some(product)) = (vid, pid) {
            found.push((vendor, product));
            (vid, pid) = (None, None);
        }
    }
    found
}

/// Returns whether a driver waits for the user's permission.
fn waits(system: &dyn System) -> bool {
    let list = system.output("systemextensionsctl", &["list"]).unwrap_or_default();
    list.lines().any(|line| line.contains("waiting for user"))
}
