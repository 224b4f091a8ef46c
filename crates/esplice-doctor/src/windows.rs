//! Windows: the state of devices and their drivers, as `pnputil` lists it.

use crate::{
    Finding, SerialPort, System,
    usb::{kind, no_port},
};

/// Codes of the device manager: name, meaning, and what to do. Source: Microsoft, "Device Manager
/// error messages"; cfg.h.
const PROBLEMS: &[(&str, &str)] = &[
    ("CM_PROB_FAILED_INSTALL", "has no driver"),
    ("CM_PROB_NOT_CONFIGURED", "has no driver that is set up"),
    ("CM_PROB_DISABLED", "is disabled"),
    ("CM_PROB_FAILED_START", "can't be started by its driver"),
    ("CM_PROB_FAILED_ADD", "can't be started by its driver"),
    ("CM_PROB_DRIVER_FAILED_LOAD", "has a driver that can't be loaded"),
    ("CM_PROB_UNSIGNED_DRIVER", "has a driver without a valid signature"),
    ("CM_PROB_FAILED_POST_START", "reported a fault"),
];

pub(crate) fn examine(system: &dyn System, ports: &[SerialPort]) -> Vec<Finding> {
    let list = system.output("pnputil", &["/enum-devices", "/problem"]).unwrap_or_default();
    let mut findings: Vec<Finding> = devices(&list).filter_map(finding).collect();
    if findings.is_empty() && !ports.iter().any(|port| port.usb.is_some()) {
        findings.push(no_port(None));
    }
    findings
}

/// A device with a problem.
struct Device<'t> {
    instance: &'t str,
    vid: u16,
    pid: u16,
    /// Name of the problem, such as `CM_PROB_DISABLED`.
    problem: &'t str,
}

/// Returns the USB devices of a list. Its labels are in the user's language, so only values count.
fn devices(list: &str) -> impl Iterator<Item = Device<'_>> {
    let blocks = list.split("\n\n").flat_map(|block| block.split("\r\n\r\n"));
    blocks.filter_map(|block| {
        let values = block.lines().filter_map(|line| Some(line.split_once(':')?.1.trim()));
        let instance =
            values.clone().find(|value| value.to_ascii_uppercase().starts_with("USB\\VID_"))?;
        let upper = instance.to_ascii_uppercase();
        let number = |key: &str| {
            let (_, rest) = upper.split_once(key)?;
            u16::from_str_radix(rest.get(..4)?, 16).ok()
        };
        let problem = values.rev().find_map(|value| {
            let (_, rest) = value.split_once("(CM_PROB_")?;
            let start = value.len() - rest.len() - "CM_PROB_".len();
            value.get(start..)?.strip_suffix(')').or_else(|| value.get(start..))
        });
        let problem = problem?;
        Some(Device { instance, vid: number("VID_")?, pid: number("PID_")?, problem })
    })
}

fn finding(device: Device<'_>) -> Option<Finding> {
    let kind = kind(device.vid, device.pid)?;
    let (vid, pid, problem) = (device.vid, device.pid, device.problem);
    let meaning = PROBLEMS.iter().find(|(name, _)| *name == problem);
    let meaning = meaning.map_or("has a problem", |(_, meaning)| meaning);
    let text = format!("the USB device {vid:04x}:{pid:04x} ({}) {meaning} ({problem})", kind.name);
    let finding = Finding::problem("device-problem", text);
    Some(match problem {
        "CM_PROB_DISABLED" => finding.remedy(format!(
            "as administrator: `pnputil /enable-device \"{}\"`",
            device.instance
        )),
        _ if kind.vid == 0x303a => finding
            .remedy("remove the device in the Device Manager, and plug the board in again: Windows has its driver")
            .remedy("a driver that another tool has installed (WinUSB, libusb) has to be removed first"),
        _ => finding.remedy(format!("install the vendor's driver: {}", kind.driver)),
    })
}
