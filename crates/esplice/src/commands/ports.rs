use esplice_chip::ChipDb;
use esplice_flash::{ChipInfo, ListedPort, likely_ports, list_ports};
use serde_json::{Value, json};

use crate::{
    config::project::{Flags, Project},
    device::flashing,
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

/// Maximum number of boards or chips named in a line.
const MOST_NAMES: usize = 4;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// List all serial ports, not only those that may have a board
    #[arg(long)]
    all: bool,
    /// Detect the chip at each port; this resets the board and starts it again
    #[arg(long)]
    probe: bool,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let project = Project::settle(".".as_ref(), Flags::default())?;
    let listed = list_ports();
    let mut ports: Vec<&ListedPort> = listed.iter().collect();
    let at_usb = likely_ports(&listed);
    let hidden = ports.len() - at_usb.len();
    if !args.all {
        ports = at_usb;
    }
    let mut text = String::new();
    let mut values = Vec::new();
    for port in ports {
        let found = match args.probe && port.usb.is_some() {
            true => Some(probe(port, &project.chips, shell, interrupt)?),
            false => None,
        };
        text += &line(port, found.as_ref(), &project.chips);
        values.push(value(port, found.as_ref(), &project.chips));
    }
    for (alias, name) in &project.port_aliases {
        text += &format!("{alias}  {name}, by esplice.toml\n");
        values.push(json!({ "port": name, "alias": alias }));
    }
    shell.result("ports", &text, values.into());
    if text.is_empty() {
        shell.status("No USB serial port found; a charge-only cable shows none");
    }
    if !args.all && hidden > 0 {
        let others = if hidden == 1 { "port is" } else { "ports are" };
        shell.status(&format!("{hidden} other serial {others} available: --all lists them"));
    }
    Ok(())
}

/// Detects the board at a port, or returns why that failed. Fails only if the user wants to stop.
fn probe(
    port: &ListedPort,
    chips: &ChipDb,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<Result<ChipInfo, String>, Failure> {
    match flashing::probe(&port.name, chips, shell, interrupt) {
        Ok(info) => Ok(Ok(info)),
        Err(failure) if failure.exit == Exit::Interrupted => Err(failure),
        Err(failure) => Ok(Err(failure.message)),
    }
}

/// Formats a port as one line, followed by a line about the board at it.
fn line(port: &ListedPort, found: Option<&Result<ChipInfo, String>>, chips: &ChipDb) -> String {
    let Some(usb) = &port.usb else { return format!("{}\n", port.name) };
    let id = format!("{:04x}:{:04x}", usb.id.vid, usb.id.pid);
    let mut parts = vec![port.name.clone(), id];
    parts.extend(port.product().map(str::to_owned));
    parts.extend(usb.serial.as_ref().map(|serial| format!("serial {serial}")));
    let mut text = parts.join("  ") + "\n";
    match found {
        Some(Ok(info)) => {
            text += &format!(
                "    {} (revision {}), MAC {}, {} KB of flash\n",
                info.chip.display_name,
                info.revision_text(),
                info.mac_text(),
                info.flash_size / 1024
            );
        }
        Some(Err(message)) => text += &format!("    {message}\n"),
        None => {
            let devices = port.devices(chips);
            let what = if devices.own_usb { "the chip's own USB" } else { "a UART bridge" };
            let names: Vec<&str> = match devices.own_usb {
                true => devices.chips.iter().map(|chip| chip.display_name.as_str()).collect(),
                false => devices.boards.iter().map(|board| board.name.as_str()).collect(),
            };
            match some_of(&names) {
                Some(names) => text += &format!("    {what}, as on {names}\n"),
                None => text += "    no board with these ids is known\n",
            }
        }
    }
    text
}

fn some_of(names: &[&str]) -> Option<String> {
    let shown = names.get(..MOST_NAMES).unwrap_or(names).join(", ");
    match names.len().saturating_sub(MOST_NAMES) {
        _ if names.is_empty() => None,
        0 => Some(shown),
        more => Some(format!("{shown} and {more} more")),
    }
}

fn value(port: &ListedPort, found: Option<&Result<ChipInfo, String>>, chips: &ChipDb) -> Value {
    let devices = port.devices(chips);
    let usb = port.usb.as_ref().map(|usb| {
        json!({
            "vid": usb.id.vid,
            "pid": usb.id.pid,
            "serial": usb.serial,
            "manufacturer": usb.manufacturer,
            "product": usb.product,
        })
    });
    let boards: Vec<&str> = devices.boards.iter().map(|board| &*board.name).collect();
    let chips: Vec<&str> = devices.chips.iter().map(|chip| &*chip.name).collect();
    let found = found.map(|found| match found {
        Ok(info) => json!({
            "chip": info.chip.name,
            "revision": info.revision_text(),
            "mac": info.mac_text(),
            "flash_size": info.flash_size,
            "error": null,
        }),
        Err(message) => json!({ "error": message }),
    });
    json!({
        "port": port.name,
        "usb": usb,
        "own_usb": devices.own_usb,
        "boards": boards,
        "chips": chips,
        "found": found,
    })
}

#[cfg(test)]
mod tests {
    use esplice_chip::UsbId;
    use esplice_flash::UsbDevice;

    use super::*;

    fn port(vid: u16, pid: u16, serial: Option<&str>) -> ListedPort {
        let usb = UsbDevice {
            id: UsbId { vid, pid },
            serial: serial.map(str::to_owned),
            manufacturer: Some("Maker".into()),
            product: Some("Bridge".into()),
        };
        ListedPort { name: "/dev/ttyUSB0".into(), usb: Some(usb) }
    }

    #[test]
    fn a_port_is_told_with_what_is_behind_it() {
        let bridge = line(&port(0x10c4, 0xea60, Some("0001")), None, ChipDb::embedded());
        let (first, second) = bridge.split_once('\n').unwrap();
        assert_eq!(first, "/dev/ttyUSB0  10c4:ea60  Bridge  serial 0001");
        assert!(second.starts_with("    a UART bridge, as on esp32-"), "{second}");
        assert!(second.ends_with(" more\n"), "{second}");
        let own = line(&port(0x303a, 0x1001, None), None, ChipDb::embedded());
        assert!(own.contains("\n    the chip's own USB, as on ESP32-"), "{own}");
        let other = line(&port(0x2341, 0x43, None), None, ChipDb::embedded());
        assert!(other.ends_with("\n    no board with these ids is known\n"), "{other}");
        let failed =
            line(&port(0x10c4, 0xea60, None), Some(&Err("no answer".into())), ChipDb::embedded());
        assert!(failed.ends_with("\n    no answer\n"), "{failed}");
        assert_eq!(
            line(&ListedPort { name: "COM1".into(), usb: None }, None, ChipDb::embedded()),
            "COM1\n"
        );
    }

    #[test]
    fn programs_get_all_of_it() {
        let value = value(
            &port(0x303a, 0x1001, Some("7C:DF")),
            Some(&Err("busy".into())),
            ChipDb::embedded(),
        );
        assert_eq!(value["usb"]["serial"], "7C:DF");
        assert_eq!(value["own_usb"], true);
        assert!(value["chips"].as_array().unwrap().contains(&"esp32c3".into()));
        assert!(value["boards"].as_array().unwrap().contains(&"xiao-esp32c3".into()));
        assert_eq!(value["found"]["error"], "busy");
    }
}
