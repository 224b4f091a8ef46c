//! USB devices that boards have: the chip's own USB, and bridges.

/// A serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPort {
    /// Name, such as `/dev/ttyUSB0`.
    pub name: String,
    /// USB vendor and product, if it is on USB.
    pub usb: Option<(u16, u16)>,
}

/// A kind of USB device, by the vendor's number and optionally products.
pub(crate) struct Kind {
    pub(crate) vid: u16,
    /// All products of the vendor, if empty.
    pub(crate) pids: &'static [u16],
    pub(crate) name: &'static str,
    /// Module of the Linux kernel. Source: its `drivers/usb/serial` and `drivers/usb/class`.
    pub(crate) module: &'static str,
    /// Where the vendor publishes drivers for Windows and macOS.
    pub(crate) driver: &'static str,
}

/// The bridges of common boards, and Espressif's own USB.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        vid: 0x303a,
        pids: &[],
        name: "Espressif's USB",
        module: "cdc_acm",
        driver: "part of the system",
    },
    Kind {
        vid: 0x10c4,
        pids: &[0xea60, 0xea70, 0xea71],
        name: "CP210x",
        module: "cp210x",
        driver: "https://www.silabs.com/software-and-tools/usb-to-uart-bridge-vcp-drivers",
    },
    Kind {
        vid: 0x1a86,
        pids: &[0x7522, 0x7523, 0x5523],
        name: "CH340",
        module: "ch341",
        driver: "https://www.wch-ic.com/downloads/CH341SER_EXE.html",
    },
    Kind {
        vid: 0x1a86,
        pids: &[0x55d3, 0x55d4],
        name: "CH343/CH9102",
        module: "cdc_acm",
        driver: "https://www.wch-ic.com/downloads/CH343SER_EXE.html",
    },
    Kind {
        vid: 0x0403,
        pids: &[0x6001, 0x6010, 0x6011, 0x6014, 0x6015],
        name: "FTDI",
        module: "ftdi_sio",
        driver: "https://ftdichip.com/drivers/vcp-drivers/",
    },
];

/// Returns the kind of a USB device, if boards have it.
pub(crate) fn kind(vid: u16, pid: u16) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.vid == vid && (kind.pids.is_empty() || kind.pids.contains(&pid)))
}

/// Adds what to try if a board shows no port.
pub(crate) fn no_port(has_hint: Option<String>) -> crate::Finding {
    let finding = crate::Finding::note("no-port", "no serial port of a board was found");
    let finding = match has_hint {
        Some(hint) => finding.remedy(hint),
        None => finding,
    };
    finding
        .remedy("try another cable: one that only charges shows no port")
        .remedy("connect the board to the computer itself instead of a hub or a dock")
        .remedy("hold BOOT, press RESET, release BOOT: firmware may have switched the chip's own USB off")
}
