//! Selects one of the listed ports by name, USB IDs, serial number or MAC address, or picks the
//! only likely one.

use std::sync::Arc;

use esplice_chip::{Board, Chip, ChipDb, UsbId, nearest};

/// USB vendors of the chips at boards' USB sockets: Espressif itself, and the makers of UART
/// bridges (the Linux kernel's drivers/usb/serial: cp210x.c, ch341.c, ftdi_sio_ids.h, pl2303.h).
const VENDORS: [u16; 5] = [0x303a, 0x10c4, 0x1a86, 0x0403, 0x067b];

/// A port that the system lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPort {
    /// Name of the port.
    pub name: String,
    /// The USB device behind the port, if any.
    pub usb: Option<UsbDevice>,
}

/// A USB device, as described by its descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbDevice {
    /// Vendor and product ID.
    pub id: UsbId,
    /// Serial number. For a chip's own USB-Serial-JTAG this is its MAC address.
    pub serial: Option<String>,
    /// Manufacturer string.
    pub manufacturer: Option<String>,
    /// Product string.
    pub product: Option<String>,
}

/// Boards and chips that a port may belong to.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PortDevices {
    /// Boards with these USB IDs.
    pub boards: Vec<Arc<Board>>,
    /// Chips whose own USB port has these IDs, or the chips of those boards.
    pub chips: Vec<Arc<Chip>>,
    /// True if this is a chip's own USB port and not a bridge.
    pub own_usb: bool,
}

/// Result of resolving the text that names a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMatch {
    /// Exactly this port.
    One(String),
    /// Any of these ports.
    Several(Vec<String>),
    /// The board with this MAC address, which must be read from the boards themselves.
    Mac([u8; 6]),
    /// No listed port; holds the most similar listed name or serial number.
    Nothing(Option<String>),
}

impl ListedPort {
    /// Returns those of the known boards and chips that the port may belong to.
    pub fn devices(&self, known: &ChipDb) -> PortDevices {
        self.usb.as_ref().map_or_else(PortDevices::default, |usb| PortDevices::of(usb.id, known))
    }

    /// Returns whether a board is likely at this port: a USB port of a chip found on boards.
    pub fn is_likely(&self) -> bool {
        self.usb.as_ref().is_some_and(|usb| VENDORS.contains(&usb.id.vid))
    }

    /// Returns the product string, or else the manufacturer string.
    pub fn product(&self) -> Option<&str> {
        let usb = self.usb.as_ref()?;
        usb.product.as_deref().or(usb.manufacturer.as_deref())
    }
}

impl PortDevices {
    /// Returns those of the known boards and chips that have these USB IDs.
    pub fn of(id: UsbId, known: &ChipDb) -> PortDevices {
        let of_board = |board: &&Arc<Board>| board.usb.iter().any(|usb| usb.id == Some(id));
        let boards: Vec<Arc<Board>> = known.boards().filter(of_board).cloned().collect();
        let has_id = |chip: &&Arc<Chip>| {
            let otg = chip.usb_otg.as_ref().and_then(|otg| otg.id);
            chip.reset.usb_serial_jtag_id == Some(id) || otg == Some(id)
        };
        let mut chips: Vec<Arc<Chip>> = known.chips().filter(has_id).cloned().collect();
        let own_usb = !chips.is_empty();
        if !own_usb {
            let on_board =
                |chip: &&Arc<Chip>| boards.iter().any(|board| board.chip.name == chip.name);
            chips = known.chips().filter(on_board).cloned().collect();
        }
        PortDevices { boards, chips, own_usb }
    }
}

/// Resolves `words` among `ports`: a port's name (also without `/dev/`), `VID:PID` in hexadecimal,
/// a USB serial number, or a MAC address. Text that looks like a path is a name, listed or not.
pub fn match_port(words: &str, ports: &[ListedPort]) -> PortMatch {
    if words.contains(['/', '\\']) {
        return PortMatch::One(words.to_owned());
    }
    let short = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let is_named =
        |port: &ListedPort| port.name.eq_ignore_ascii_case(words) || short(&port.name) == words;
    let find = |is_it: &dyn Fn(&ListedPort) -> bool| -> Vec<String> {
        ports.iter().filter(|port| is_it(port)).map(|port| port.name.clone()).collect()
    };
    let serial = |port: &ListedPort| port.usb.as_ref().and_then(|usb| usb.serial.clone());
    let by_serial =
        |port: &ListedPort| serial(port).is_some_and(|serial| serial.eq_ignore_ascii_case(words));
    let mac = parse_mac(words);
    let by_mac = |port: &ListedPort| {
        mac.is_some() && serial(port).is_some_and(|serial| parse_mac(&serial) == mac)
    };
    let id = parse_id(words);
    let by_id = |port: &ListedPort| id.is_some() && port.usb.as_ref().map(|usb| usb.id) == id;
    let mut found = find(&is_named);
    for way in [&by_serial as &dyn Fn(&ListedPort) -> bool, &by_mac, &by_id] {
        if found.is_empty() {
            found = find(way);
        }
    }
    if found.len() > 1 {
        return PortMatch::Several(found);
    }
    match (found.pop(), mac) {
        (Some(name), _) => PortMatch::One(name),
        (None, Some(mac)) => PortMatch::Mac(mac),
        // A Windows name that is not listed: opening it reports the reason.
        (None, None) if is_com(words) => PortMatch::One(words.to_owned()),
        (None, None) => {
            let mut known: Vec<String> = ports.iter().map(|port| short(&port.name)).collect();
            known.extend(ports.iter().filter_map(serial));
            PortMatch::Nothing(nearest(words, &known))
        }
    }
}

/// Returns the ports that are likely to have a board: those of known makers, or else all USB ports.
pub fn likely_ports(ports: &[ListedPort]) -> Vec<&ListedPort> {
    // macOS lists each port twice, and the one that waits for a carrier is the wrong one.
    let is_twin = |port: &ListedPort| {
        let other = port.name.strip_prefix("/dev/tty.").map(|rest| format!("/dev/cu.{rest}"));
        other.is_some_and(|other| ports.iter().any(|port| port.name == other))
    };
    let usb: Vec<&ListedPort> =
        ports.iter().filter(|port| port.usb.is_some() && !is_twin(port)).collect();
    let known: Vec<&ListedPort> = usb.iter().copied().filter(|port| port.is_likely()).collect();
    if known.is_empty() { usb } else { known }
}

/// Parses USB IDs such as `10c4:ea60`.
fn parse_id(words: &str) -> Option<UsbId> {
    let number = |digits: &str| {
        let plain = digits.strip_prefix("0x").unwrap_or(digits);
        let is_number = plain.len() == 4 && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_number.then(|| u16::from_str_radix(plain, 16).ok()).flatten()
    };
    let (vid, pid) = words.split_once(':')?;
    Some(UsbId { vid: number(vid)?, pid: number(pid)? })
}

/// Parses six bytes in hexadecimal, with colons, hyphens or nothing in between.
fn parse_mac(words: &str) -> Option<[u8; 6]> {
    let digits: String = words.chars().filter(|c| !matches!(c, ':' | '-')).collect();
    let parts = [words.split(':').count(), words.split('-').count()];
    let is_mac = digits.len() == 12
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (parts.contains(&6) || digits.len() == words.len());
    if !is_mac {
        return None;
    }
    let number = u64::from_str_radix(&digits, 16).ok()?;
    let [_, _, mac @ ..] = number.to_be_bytes();
    Some(mac)
}

/// Returns whether `words` is a name such as `COM3`.
fn is_com(words: &str) -> bool {
    let number = words.get(3..).filter(|_| words.to_ascii_uppercase().starts_with("COM"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, usb: Option<(u16, u16, &str)>) -> ListedPort {
        let usb = usb.map(|(vid, pid, serial)| UsbDevice {
            id: UsbId { vid, pid },
            serial: (!serial.is_empty()).then(|| serial.to_owned()),
            manufacturer: None,
            product: None,
        });
        ListedPort { name: name.into(), usb }
    }

    fn ports() -> Vec<ListedPort> {
        vec![
            port("/dev/ttyS0", None),
            port("/dev/ttyUSB0", Some((0x10c4, 0xea60, "0001"))),
            port("/dev/ttyUSB1", Some((0x10c4, 0xea60, "a5b1"))),
            port("/dev/ttyACM0", Some((0x303a, 0x1001, "7C:DF:A1:00:00:0F"))),
            port("/dev/ttyACM1", Some((0x2341, 0x0043, ""))),
            port("COM7", None),
        ]
    }

    fn one(name: &str) -> PortMatch {
        PortMatch::One(name.into())
    }

    #[track_caller]
    fn check(words: &str, expected: PortMatch) {
        assert_eq!(match_port(words, &ports()), expected, "{words}");
    }

    #[test]
    fn words_mean_ports() {
        check("/dev/ttyUSB0", one("/dev/ttyUSB0"));
        check("/dev/serial/by-id/x", one("/dev/serial/by-id/x"));
        check("ttyACM0", one("/dev/ttyACM0"));
        check("com7", one("COM7"));
        check("COM12", one("COM12"));
        check("0001", one("/dev/ttyUSB0"));
        check("A5B1", one("/dev/ttyUSB1"));
        check("303a:1001", one("/dev/ttyACM0"));
        check("0x303A:0x1001", one("/dev/ttyACM0"));
        let both = vec!["/dev/ttyUSB0".to_owned(), "/dev/ttyUSB1".to_owned()];
        check("10c4:ea60", PortMatch::Several(both));
        check("7c:df:a1:00:00:0f", one("/dev/ttyACM0"));
        check("7cdfa100000f", one("/dev/ttyACM0"));
        check("7c-df-a1-00-00-10", PortMatch::Mac([0x7c, 0xdf, 0xa1, 0, 0, 0x10]));
        check("1a86:7523", PortMatch::Nothing(None));
        check("ttyUSB2", PortMatch::Nothing(Some("ttyUSB0".into())));
        check("a5b2", PortMatch::Nothing(Some("a5b1".into())));
        check("", PortMatch::Nothing(None));
    }

    #[test]
    fn ports_of_known_makers_are_likelier_than_others() {
        let all = ports();
        let names = |ports: &[ListedPort]| -> Vec<String> {
            likely_ports(ports).into_iter().map(|port| port.name.clone()).collect()
        };
        assert_eq!(names(&all), ["/dev/ttyUSB0", "/dev/ttyUSB1", "/dev/ttyACM0"]);
        assert_eq!(names(&all[4..]), ["/dev/ttyACM1"]);
        assert_eq!(names(&all[..1]), [""; 0]);
        let twins = [
            port("/dev/cu.usbmodem1", Some((0x303a, 0x1001, ""))),
            port("/dev/tty.usbmodem1", Some((0x303a, 0x1001, ""))),
        ];
        assert_eq!(names(&twins), ["/dev/cu.usbmodem1"]);
    }

    #[test]
    fn boards_and_chips_are_known_by_their_ids() {
        let chips = ChipDb::embedded();
        let devices = PortDevices::of(UsbId { vid: 0x303a, pid: 0x1001 }, chips);
        assert!(devices.own_usb);
        assert!(devices.chips.iter().any(|chip| chip.name == "esp32c3"));
        assert!(devices.boards.iter().any(|board| board.name == "xiao-esp32c3"));
        let devices = PortDevices::of(UsbId { vid: 0x10c4, pid: 0xea60 }, chips);
        assert!(!devices.own_usb);
        assert!(devices.chips.iter().any(|chip| chip.name == "esp32"));
        assert!(PortDevices::of(UsbId { vid: 1, pid: 2 }, chips).boards.is_empty());
    }
}
