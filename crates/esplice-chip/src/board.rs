//! Boards: a chip with its flash chip, USB sockets, LEDs and other parts.

use std::sync::Arc;

use serde::Deserialize;

use crate::{Chip, ChipDb, ChipError, UsbId, parse_size};

/// A board.
#[derive(Debug, Clone)]
pub struct Board {
    /// Name in commands and files, such as `xiao-esp32c3`.
    pub name: String,
    /// Name as the vendor writes it.
    pub display_name: String,
    /// Manufacturer.
    pub vendor: String,
    /// Page that describes the board.
    pub url: String,
    /// The board's chip.
    pub chip: Arc<Chip>,
    /// Flash size: a key of the chip's `flash-sizes`.
    pub flash_size: String,
    /// Flash mode, if it is not the chip's default.
    pub flash_mode: Option<String>,
    /// Flash frequency, if it is not the chip's default.
    pub flash_freq: Option<String>,
    /// Size of the external RAM in bytes.
    pub psram: Option<u32>,
    /// Crystal frequency in MHz, if it is not the chip's default.
    pub xtal_mhz: Option<u32>,
    /// USB connections, the one usually used for flashing first.
    pub usb: Vec<BoardUsb>,
    /// LEDs.
    pub leds: Vec<Led>,
    /// TinyGo target names. The first one that the installed TinyGo knows is used.
    pub tinygo_targets: Vec<String>,
}

/// A USB connection of a board.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardUsb {
    /// The device at the socket.
    pub kind: UsbKind,
    /// Name of the bridge chip, such as `CP2102N`.
    pub bridge: Option<String>,
    /// USB IDs, if they identify this connection.
    pub id: Option<UsbId>,
}

/// The kind of device at a USB socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsbKind {
    /// A UART bridge whose control lines can reset the chip.
    Bridge,
    /// The chip's own USB-Serial-JTAG.
    SerialJtag,
    /// The chip's own USB-OTG.
    Otg,
}

/// An LED.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Led {
    /// GPIO number.
    pub gpio: u32,
    /// How the LED is driven.
    pub kind: LedKind,
    /// True if the LED is lit while the pin is low.
    #[serde(default)]
    pub active_low: bool,
}

/// The way an LED is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedKind {
    /// By the pin's level.
    Plain,
    /// By a serial bit stream, like a WS2812.
    Ws2812,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    board: RawBoard,
    usb: Vec<BoardUsb>,
    #[serde(default)]
    led: Vec<Led>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawBoard {
    name: String,
    display_name: String,
    vendor: String,
    url: String,
    chip: String,
    flash_size: String,
    flash_mode: Option<String>,
    flash_freq: Option<String>,
    psram: Option<String>,
    xtal_mhz: Option<u32>,
    #[serde(default)]
    tinygo_targets: Vec<String>,
}

impl Board {
    /// Parses `text`, the content of `file` (a name for messages), and runs all checks. The
    /// board's chip is one of `chips`.
    ///
    /// # Errors
    /// [`ChipError::Parse`] for TOML that does not match the schema, [`ChipError::Check`] for a
    /// board that is not possible with its chip.
    pub fn parse(file: &str, text: &str, chips: &ChipDb) -> Result<Board, ChipError> {
        let raw: File = crate::schema::parse_toml(file, text)?;
        let check = |message| ChipError::Check { file: file.into(), message };
        let File { board: raw, usb, led } = raw;
        let chip = chips
            .find(&raw.chip)
            .cloned()
            .map_err(|error| check(format!("{error}{}", crate::hint_suffix(&error))))?;
        let psram = raw.psram.map(|size| {
            parse_size(&size).ok_or_else(|| check(format!("psram {size:?} is not a size")))
        });
        let board = Board {
            name: raw.name,
            display_name: raw.display_name,
            vendor: raw.vendor,
            url: raw.url,
            chip,
            flash_size: raw.flash_size,
            flash_mode: raw.flash_mode,
            flash_freq: raw.flash_freq,
            psram: psram.transpose()?,
            xtal_mhz: raw.xtal_mhz,
            usb,
            leds: led,
            tinygo_targets: raw.tinygo_targets,
        };
        name_is_not_a_chip(&board, chips).map_err(check)?;
        CHECKS.iter().try_for_each(|test| test(&board)).map_err(check)?;
        Ok(board)
    }
}

type Check = fn(&Board) -> Result<(), String>;

const CHECKS: &[Check] = &[
    name_is_plain,
    flash_is_one_of_the_chips,
    crystal_is_one_of_the_chips,
    usb_is_one_of_the_chips,
    tinygo_targets_are_names,
];

fn name_is_plain(board: &Board) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let name = &board.name;
    (name.chars().all(plain) && !name.is_empty())
        .then_some(())
        .ok_or_else(|| format!("name {name:?} is not made of a-z, 0-9 and -"))
}

fn name_is_not_a_chip(board: &Board, chips: &ChipDb) -> Result<(), String> {
    match chips.find(&board.name) {
        Ok(chip) => Err(format!("name {:?} is already used by the chip {}", board.name, chip.name)),
        Err(_) => Ok(()),
    }
}

fn flash_is_one_of_the_chips(board: &Board) -> Result<(), String> {
    let (image, chip) = (&board.chip.image, &board.chip.display_name);
    if !image.flash_sizes.contains_key(&board.flash_size) {
        return Err(format!("flash-size {:?} has no code on the {chip}", board.flash_size));
    }
    match &board.flash_freq {
        Some(freq) if !image.flash_frequencies.contains_key(freq) => {
            Err(format!("flash-freq {freq:?} has no code on the {chip}"))
        }
        _ => crate::check::check_flash_mode(board.flash_mode.as_deref()),
    }
}

fn crystal_is_one_of_the_chips(board: &Board) -> Result<(), String> {
    match board.xtal_mhz {
        Some(mhz) if mhz != board.chip.xtal_mhz && !board.chip.other_xtal_mhz.contains(&mhz) => {
            Err(format!("the {} has no crystal of {mhz} MHz", board.chip.display_name))
        }
        _ => Ok(()),
    }
}

fn usb_is_one_of_the_chips(board: &Board) -> Result<(), String> {
    let chip = &board.chip;
    for usb in &board.usb {
        let there = match usb.kind {
            UsbKind::Bridge => true,
            UsbKind::SerialJtag => chip.reset.usb_serial_jtag_id.is_some(),
            UsbKind::Otg => chip.usb_otg.is_some(),
        };
        if !there {
            return Err(format!("the {} has no usb {:?}", chip.display_name, usb.kind));
        }
        if usb.bridge.is_some() != (usb.kind == UsbKind::Bridge) {
            return Err(format!("usb {:?}: only a bridge has a bridge name", usb.kind));
        }
    }
    if board.usb.is_empty() { Err("no usb".into()) } else { Ok(()) }
}

fn tinygo_targets_are_names(board: &Board) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match board.tinygo_targets.iter().find(|name| name.is_empty() || !name.chars().all(plain)) {
        Some(name) => Err(format!("tinygo-targets: {name:?} is not a valid name")),
        None => Ok(()),
    }
}
