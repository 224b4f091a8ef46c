//! Selects a port if several are possible or none is named.

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    path::Path,
    sync::mpsc,
    time::Duration,
};

use esplice_chip::ChipDb;
use esplice_flash::{ListedPort, PortMatch, likely_ports, list_ports, match_port};

use crate::{
    config::{port_name::SCHEMES, project::Project},
    device::flashing,
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

/// Number of attempts to ask for a number.
const ASKS: u32 = 3;

/// Time between checks for Ctrl-C while waiting for a number.
const LOOK: Duration = Duration::from_millis(50);

/// Returns the name of the port that `words` select (a name, USB ids, a serial number, a MAC
/// address), or of the only likely one. If several are equally likely, the user is asked on a
/// terminal. The names of `project` are suggested
/// for a wrong one.
pub fn choose(
    words: Option<&str>,
    project: &Project,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<String, Failure> {
    let listed = list_ports();
    let Some(words) = words else {
        let name = only_likely(&listed, shell, interrupt)?;
        shell.status(&format!("Port is {name}"));
        return Ok(name);
    };
    let name = match match_port(words, &listed) {
        PortMatch::One(name) => name,
        PortMatch::Several(names) => {
            let several = listed.iter().filter(|port| names.contains(&port.name)).collect();
            let message = format!("{} ports match {words}", names.len());
            ask(several, &message, shell, interrupt)?
        }
        PortMatch::Mac(mac) => with_mac(mac, &listed, &project.chips, shell, interrupt)?,
        // A file: opening it reports that it is not a port.
        PortMatch::Nothing(_) if Path::new(words).exists() => words.to_owned(),
        PortMatch::Nothing(near) => {
            return Err(missing(words, near, &project.port_aliases, &listed));
        }
    };
    if name != words {
        shell.status(&format!("Port is {name}"));
    }
    Ok(name)
}

/// Lists the names of ports, for a hint.
fn names(ports: &[&ListedPort]) -> String {
    ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn missing(
    words: &str,
    near: Option<String>,
    aliases: &[(String, String)],
    listed: &[ListedPort],
) -> Failure {
    let failure = Failure::new(Exit::Port, format!("no port {words}"));
    let aliases: Vec<&String> = aliases.iter().map(|(alias, _)| alias).collect();
    if let Some(near) = near.or_else(|| esplice_chip::nearest(words, &aliases)) {
        return failure.hint(format!("did you mean {near}?"));
    }
    failure.hint(remedy(listed, "check the cable and the name; a charge-only cable shows no port"))
}

fn remedy(listed: &[ListedPort], first: &str) -> String {
    let all: Vec<&ListedPort> = listed.iter().collect();
    match all.is_empty() {
        true => first.to_owned(),
        false => format!("{first}; available ports: {}", names(&all)),
    }
}

/// Returns the only likely port, or the one that the user selects.
fn only_likely(
    listed: &[ListedPort],
    shell: &Shell,
    interrupt: &Interrupt,
) -> Result<String, Failure> {
    let likely = likely_ports(listed);
    match likely.as_slice() {
        [only] => Ok(only.name.clone()),
        [] => Err(Failure::new(Exit::Port, "no USB serial port found").hint(remedy(
            listed,
            "connect the board, or name a port with --port; --port sim:esp32c3 is a virtual board",
        ))),
        several => {
            let message = format!("{} USB serial ports found", several.len());
            ask(likely, &message, shell, interrupt)
        }
    }
}

/// Asks the user to select one of `ports`, on a terminal; otherwise `message` is the error.
fn ask(
    ports: Vec<&ListedPort>,
    message: &str,
    shell: &Shell,
    interrupt: &Interrupt,
) -> Result<String, Failure> {
    let failure = || {
        Failure::new(Exit::Port, message).hint(format!("choose one with --port: {}", names(&ports)))
    };
    if !shell.may_ask() || !io::stdin().is_terminal() {
        return Err(failure());
    }
    shell.ask(&format!("{message}:"));
    for (number, port) in (1..).zip(&ports) {
        let product = port.product().map(|product| format!("  {product}")).unwrap_or_default();
        shell.ask(&format!("{number:>3}  {}{product}", port.name));
    }
    for _ in 0..ASKS {
        shell.ask(&format!("Number of the port, 1 to {}:", ports.len()));
        let Some(line) = line(interrupt)? else { break };
        if let Some(port) = picked(&line, &ports) {
            return Ok(port.name.clone());
        }
    }
    Err(failure())
}

/// Returns the port with that number, counted from 1.
fn picked<'a>(line: &str, ports: &[&'a ListedPort]) -> Option<&'a ListedPort> {
    let number: usize = line.trim().parse().ok()?;
    ports.get(number.checked_sub(1)?).copied()
}

/// Reads a line from the user; `None` at the end of the input.
fn line(interrupt: &Interrupt) -> Result<Option<String>, Failure> {
    let (sender, receiver) = mpsc::channel();
    // A read of the terminal cannot be interrupted, so the thread is abandoned.
    std::thread::spawn(move || {
        let mut line = String::new();
        let count = io::stdin().lock().read_line(&mut line).unwrap_or(0);
        let _ = sender.send((count > 0).then_some(line));
    });
    loop {
        if interrupt.is_asked() {
            return Err(Failure::interrupted());
        }
        match receiver.recv_timeout(LOOK) {
            Ok(line) => return Ok(line),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}

/// Finds the likely port whose board has that MAC address. Each board is reset to read it, and
/// started again.
fn with_mac(
    mac: [u8; 6],
    listed: &[ListedPort],
    chips: &ChipDb,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<String, Failure> {
    let shown = mac.map(|byte| format!("{byte:02x}")).join(":");
    let mut others = Vec::new();
    for port in likely_ports(listed) {
        // A chip's own USB port reports its address as its serial number, which did not match.
        if port.devices(chips).own_usb {
            continue;
        }
        match flashing::probe(&port.name, chips, shell, interrupt) {
            Ok(info) if info.mac == mac => return Ok(port.name.clone()),
            Ok(info) => others.push(format!("{} has {}", port.name, info.mac_text())),
            Err(failure) if failure.exit == Exit::Interrupted => return Err(failure),
            Err(failure) => others.push(format!("{}: {}", port.name, failure.message)),
        }
    }
    let failure = Failure::new(Exit::Port, format!("no board has the MAC address {shown}"));
    Err(match others.is_empty() {
        true => failure.hint("there is no board with a UART bridge to ask"),
        false => failure.hint(others.join("; ")),
    })
}

/// Returns whether `name` describes its own connection, so that no search is needed.
pub fn is_complete(name: &str) -> bool {
    SCHEMES.iter().any(|scheme| name.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use esplice_chip::UsbId;
    use esplice_flash::UsbDevice;

    use super::*;
    use crate::ui::shell::Format;

    fn port(name: &str, usb: bool) -> ListedPort {
        let usb = usb.then_some(UsbDevice {
            id: UsbId { vid: 0x10c4, pid: 0xea60 },
            serial: None,
            manufacturer: None,
            product: None,
        });
        ListedPort { name: name.into(), usb }
    }

    fn likely_one(ports: &[ListedPort]) -> Result<String, Failure> {
        only_likely(ports, &Shell::new(Format::Json, false), &Interrupt::default())
    }

    #[test]
    fn the_only_usb_port_is_taken() {
        let ports = [port("/dev/ttyS0", false), port("/dev/ttyUSB0", true)];
        assert_eq!(likely_one(&ports).as_deref(), Ok("/dev/ttyUSB0"));
    }

    #[test]
    fn else_the_user_is_told_what_is_there() {
        let failure = likely_one(&[port("/dev/ttyS0", false)]).unwrap_err();
        assert_eq!(failure.exit, Exit::Port);
        assert!(failure.hint.unwrap().ends_with("available ports: /dev/ttyS0"));
        let both = [port("/dev/ttyACM0", true), port("/dev/ttyUSB0", true)];
        let failure = likely_one(&both).unwrap_err();
        assert_eq!(failure.message, "2 USB serial ports found");
        let hint = failure.hint.unwrap();
        assert_eq!(hint, "choose one with --port: /dev/ttyACM0, /dev/ttyUSB0");
    }

    #[test]
    fn a_number_takes_a_port() {
        let (one, two) = (port("a", true), port("b", true));
        let both = [&one, &two];
        let check = |line: &str, name: Option<&str>| {
            assert_eq!(picked(line, &both).map(|port| port.name.as_str()), name, "{line:?}");
        };
        check("1\n", Some("a"));
        check(" 2 ", Some("b"));
        check("0", None);
        check("3", None);
        check("", None);
        check("/dev/ttyUSB0", None);
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        let ports = [port("/dev/ttyUSB0", true)];
        let hint = |near: Option<&str>, words, aliases: &[(String, String)]| {
            missing(words, near.map(str::to_owned), aliases, &ports).hint.unwrap()
        };
        assert_eq!(hint(Some("ttyUSB0"), "ttyUSB1", &[]), "did you mean ttyUSB0?");
        assert_eq!(hint(None, "bnech", &[("bench".into(), "x".into())]), "did you mean bench?");
        assert!(
            hint(None, "x", &[("bench".into(), "x".into())])
                .ends_with("available ports: /dev/ttyUSB0")
        );
    }
}
