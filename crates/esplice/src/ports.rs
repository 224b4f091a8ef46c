//! Ports by their names: which one is meant, and how it is opened.

use esplice_chip::Chip;
use esplice_flash::{RFC2217_SCHEME, Strategy, TCP_SCHEME, open_rfc2217, open_serial, open_tcp};
use esplice_protocol::Port;
use esplice_sim::{RomImage, SimError, SimPort, fault_plan::FaultPlan, port::FaultLog, spec::Spec};
use serialport::{SerialPortInfo, SerialPortType};

use crate::{
    exit::{Exit, Failure},
    flashing,
    interrupt::Interrupt,
    project::Project,
    shell::Shell,
};

/// Beginning of a virtual board's name.
const SIM: &str = "sim:";

/// Keys of a virtual board's name whose values are files.
const SIM_FILES: &[&str] = &["flash", "rom", "faults"];

/// Baud rate of a port until somebody sets another: that of the ROM's words on all chips.
pub const FIRST_BAUD: u32 = 115_200;

/// An open port, and the ways into download mode that fit it.
pub struct Board {
    pub port: Box<dyn Port>,
    pub strategies: Vec<Strategy>,
    /// What goes wrong on a virtual board as planned.
    faults: Option<FaultLog>,
}

impl Board {
    /// Does `work`, and notes how much of the port's time has passed, however it ends.
    pub fn in_numbers(
        &mut self,
        shell: &mut Shell,
        work: impl FnOnce(&mut Board, &mut Shell) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let result = work(self, shell);
        for struck in self.faults.iter().flat_map(FaultLog::take) {
            shell.warning(&struck.to_string());
        }
        shell.summary.seconds = Some(self.port.now().since_start().as_secs_f64());
        result
    }
}

/// Opens the port that the settings name, or the only likely one.
pub fn open(
    project: &Project,
    chip: Option<&Chip>,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<Board, Failure> {
    let name = match &project.port {
        Some(port) => port.value.clone(),
        None => {
            let name = only_likely(&serialport::available_ports().unwrap_or_default())?;
            shell.status(&format!("Port is {name}"));
            name
        }
    };
    if name.starts_with(RFC2217_SCHEME) {
        let port = open_rfc2217(&name, FIRST_BAUD, interrupt.flag())?;
        let strategies = Strategy::for_chip(chip, None)?;
        return Ok(Board { port: Box::new(port), strategies, faults: None });
    }
    if name.starts_with(TCP_SCHEME) {
        let port = open_tcp(&name, interrupt.flag())?;
        return Ok(Board { port: Box::new(port), strategies: Vec::new(), faults: None });
    }
    if name.starts_with(SIM) {
        let port = open_sim(&name, interrupt)?;
        let strategies = Strategy::for_chip(chip, None)?;
        let faults = Some(port.fault_log());
        return Ok(Board { port: Box::new(port), strategies, faults });
    }
    let port = open_serial(&name, FIRST_BAUD, interrupt.flag())?;
    let strategies = Strategy::for_chip(chip, port.usb_id())?;
    Ok(Board { port: Box::new(port), strategies, faults: None })
}

/// The chip at the port, for firmware that does not say which it is for. A board that had to be
/// asked stays open in `opened`.
pub fn chip(
    project: &Project,
    opened: &mut Option<Board>,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<&'static Chip, Failure> {
    if let Some(port) = &project.port
        && port.value.starts_with(SIM)
    {
        return Ok(spec(&port.value)?.chip);
    }
    let board = opened.insert(open(project, None, shell, interrupt)?);
    flashing::chip(board, shell)
}

fn open_sim(name: &str, interrupt: &Interrupt) -> Result<SimPort, Failure> {
    // Read once more by `open`, which has no place for a hint and for exit codes.
    let parsed = spec(name)?;
    if let Some(path) = &parsed.rom {
        RomImage::open(path, parsed.chip)?;
    }
    if let Some(path) = &parsed.faults {
        FaultPlan::open(path).map_err(SimError::from)?;
    }
    let mut port = SimPort::open(name)?;
    port.set_interrupt(interrupt.flag());
    Ok(port)
}

fn spec(name: &str) -> Result<Spec, Failure> {
    Spec::parse(name).map_err(|error| {
        let failure = Failure::usage(format!("port {name:?}: {error}"));
        Failure { hint: error.hint(), ..failure }
    })
}

/// The one USB serial port there is.
fn only_likely(ports: &[SerialPortInfo]) -> Result<String, Failure> {
    let likely: Vec<&str> = ports
        .iter()
        .filter(|port| matches!(port.port_type, SerialPortType::UsbPort(_)))
        .map(|port| port.port_name.as_str())
        .collect();
    match likely.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => {
            let failure = Failure::new(Exit::Port, "no USB serial port is there");
            let others: Vec<&str> = ports.iter().map(|port| port.port_name.as_str()).collect();
            let remedy = "connect the board, or name a port with --port; \
                          --port sim:esp32c3 is a virtual board";
            Err(match others.as_slice() {
                [] => failure.hint(remedy),
                others => failure.hint(format!("{remedy}; others here: {}", others.join(", "))),
            })
        }
        several => {
            let message = format!("{} USB serial ports are there", several.len());
            Err(Failure::new(Exit::Port, message)
                .hint(format!("choose one with --port: {}", several.join(", "))))
        }
    }
}

/// Gives the files that a port's name carries, as `flash=FILE` of a virtual board, other names.
pub fn map_files(
    name: &str,
    mut map: impl FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let Some(spec) = name.strip_prefix(SIM) else { return Ok(name.to_owned()) };
    let parts: Result<Vec<String>, String> = spec
        .split(',')
        .map(|part| match part.split_once('=') {
            Some((key, file)) if SIM_FILES.contains(&key) => Ok(format!("{key}={}", map(file)?)),
            _ => Ok(part.to_owned()),
        })
        .collect();
    Ok(format!("{SIM}{}", parts?.join(",")))
}

#[cfg(test)]
mod tests {
    use serialport::UsbPortInfo;

    use super::*;

    fn port(name: &str, usb: bool) -> SerialPortInfo {
        let info = UsbPortInfo {
            vid: 0x10c4,
            pid: 0xea60,
            serial_number: None,
            manufacturer: None,
            product: None,
        };
        let port_type = if usb { SerialPortType::UsbPort(info) } else { SerialPortType::Unknown };
        SerialPortInfo { port_name: name.into(), port_type }
    }

    #[test]
    fn the_only_usb_port_is_taken() {
        let ports = [port("/dev/ttyS0", false), port("/dev/ttyUSB0", true)];
        assert_eq!(only_likely(&ports).as_deref(), Ok("/dev/ttyUSB0"));
    }

    #[test]
    fn else_the_user_is_told_what_is_there() {
        let failure = only_likely(&[port("/dev/ttyS0", false)]).unwrap_err();
        assert_eq!(failure.exit, Exit::Port);
        assert!(failure.hint.unwrap().ends_with("others here: /dev/ttyS0"));
        let both = [port("/dev/ttyUSB0", true), port("/dev/ttyACM0", true)];
        let failure = only_likely(&both).unwrap_err();
        assert_eq!(failure.message, "2 USB serial ports are there");
        let hint = failure.hint.unwrap();
        assert_eq!(hint, "choose one with --port: /dev/ttyUSB0, /dev/ttyACM0");
    }
}
