//! The description of a virtual board in a port's name:
//! `sim:esp32c3,flash=board.flash,time=virtual`.

use std::{path::PathBuf, sync::Arc};

use crate::{
    board::Bridge,
    efuse::{Burn, BurnError},
    rom,
    soc::Cable,
    uart_tcp::PeerAddr,
};
use esplice_chip::{Chip, ChipDb, ChipError, Target, UsbKind, nearest};

/// Prefix of a virtual board's name.
pub const SCHEME: &str = "sim:";
/// Keys that [`Spec::parse`] accepts.
const KEYS: [&str; 11] = [
    "adc",
    "bridge",
    "efuse",
    "faults",
    "flash",
    "flash-time",
    "i2c",
    "line",
    "rom",
    "time",
    "uart1",
];
/// Flash timing: typical or maximum values of the data sheet.
const FLASH_TIMES: [(&str, bool); 2] = [("typical", false), ("worst", true)];

/// Operations that take time on a virtual board. Instructions always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeMode {
    /// Wire, flash and reset take no time.
    None,
    /// Wire, flash and reset take time on the board's clock only.
    #[default]
    Virtual,
    /// Like `Virtual`, and the host waits for the board's clock.
    Real,
}

impl TimeMode {
    const ALL: [(&str, TimeMode); 3] =
        [("none", TimeMode::None), ("virtual", TimeMode::Virtual), ("real", TimeMode::Real)];

    /// Returns the mode called `name`.
    ///
    /// # Errors
    /// [`SpecError::Time`] for an unknown name.
    pub fn parse(name: &str) -> Result<TimeMode, SpecError> {
        let known = TimeMode::ALL.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, mode)| mode).ok_or_else(|| SpecError::Time { value: name.into() })
    }
}

impl Cable {
    const ALL: [(&str, Cable); 2] = [("uart", Cable::Uart), ("usb", Cable::Usb)];

    /// Returns the cable position called `name`.
    ///
    /// # Errors
    /// [`SpecError::Line`] for an unknown name.
    pub fn parse(name: &str) -> Result<Cable, SpecError> {
        let known = Cable::ALL.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, cable)| cable).ok_or_else(|| SpecError::Line { value: name.into() })
    }
}

/// A virtual board as described by its name.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Spec {
    /// The chip, which has a virtual board.
    pub chip: Arc<Chip>,
    /// Bytes of flash: those of the named board, else of the chip's usual flash chip. An existing
    /// flash file of another length takes precedence.
    pub flash_size: u32,
    /// File with the flash contents. Without one, the contents are kept in memory and start erased.
    pub flash: Option<PathBuf>,
    /// Burnt eFuse values, in addition to the chip's identity.
    pub burns: Vec<Burn>,
    /// File with the fault plan, see [`crate::fault_plan::FaultPlan`].
    pub faults: Option<PathBuf>,
    /// Place where the host's cable is plugged in: as the name says, else at the USB socket of the
    /// named board.
    pub line: Cable,
    /// ELF file of the mask ROM to execute. Without one, ROM functions are modelled.
    pub rom: Option<PathBuf>,
    /// Operations that take time.
    pub time: TimeMode,
    /// File with the voltages at analog inputs, see [`crate::parts::Voltages`].
    pub adc: Option<PathBuf>,
    /// File with the parts on the I2C bus, see [`crate::parts::Circuit`].
    pub i2c: Option<PathBuf>,
    /// Program that the second UART is connected to.
    pub uart1: Option<PeerAddr>,
    /// The USB bridge at UART0.
    pub bridge: Bridge,
    /// True if the flash chip takes the longest times of its data sheet.
    pub worst_flash: bool,
}

/// Reason why a name describes no virtual board.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The name does not start with [`SCHEME`].
    #[error("does not start with {SCHEME:?}")]
    Scheme,
    /// The chip is not known.
    #[error(transparent)]
    Chip(#[from] ChipError),
    /// An eFuse setting can't be burnt.
    #[error(transparent)]
    Burn(#[from] BurnError),
    /// The chip is known but has no virtual board.
    #[error("there is no virtual {chip}")]
    NoBoard {
        /// The chip.
        chip: String,
        /// The chips that have one.
        known: Vec<String>,
    },
    /// The chip's ROM is not modelled, and no file of it was given.
    #[error("the virtual {chip} needs the chip's mask ROM")]
    NeedsRom {
        /// The chip.
        chip: String,
    },
    /// A part is not `KEY=VALUE`.
    #[error("{part:?} is not KEY=VALUE")]
    NotKeyValue {
        /// The part between two commas.
        part: String,
    },
    /// The key is not known.
    #[error("unknown key {key:?}")]
    Key {
        /// The key.
        key: String,
    },
    /// The key occurs twice.
    #[error("{key}= is given twice")]
    Repeated {
        /// The key.
        key: String,
    },
    /// The key does not accept this value.
    #[error("unknown {key} {value:?}")]
    Choice {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// Accepted values.
        known: Vec<&'static str>,
    },
    /// There is no such cable position.
    #[error("unknown line {value:?}")]
    Line {
        /// The value.
        value: String,
    },
    /// The address of the program at the second UART is malformed.
    #[error("uart1={value} is not tcp:HOST:PORT")]
    Peer {
        /// The value.
        value: String,
    },
    /// The time mode is not known.
    #[error("unknown time mode {value:?}")]
    Time {
        /// The value.
        value: String,
    },
}

impl SpecError {
    /// Returns advice for the user.
    pub fn hint(&self) -> Option<String> {
        let did_you_mean = |name: &str, known: &[&str]| match nearest(name, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known are {}", known.join(", ")),
        };
        Some(match self {
            SpecError::Scheme | SpecError::NotKeyValue { .. } => {
                "a virtual board is named like sim:esp32c3 or sim:esp32c3,flash=FILE,time=real"
                    .into()
            }
            SpecError::Chip(error) => return error.hint(),
            SpecError::Burn(error) => return error.hint(),
            SpecError::Key { key } => did_you_mean(key, &KEYS),
            SpecError::Choice { value, known, .. } => did_you_mean(value, known),
            SpecError::Line { value } => did_you_mean(value, &Cable::ALL.map(|(name, _)| name)),
            SpecError::Time { value } => did_you_mean(value, &TimeMode::ALL.map(|(name, _)| name)),
            SpecError::Peer { .. } => {
                "name a program that listens, like uart1=tcp:127.0.0.1:4000".into()
            }
            SpecError::NoBoard { known, .. } => boards_hint(known),
            SpecError::NeedsRom { .. } => crate::error::rom_hint(),
            SpecError::Repeated { .. } => return None,
        })
    }
}

impl Spec {
    /// Reads `sim:CHIP[,KEY=VALUE]…` with the keys `adc=FILE`,
    /// `bridge=none|usb|ftdi`, `efuse=FIELD:VALUE` (may
    /// be repeated), `faults=FILE`, `flash=FILE`, `flash-time=typical|worst`, `i2c=FILE`,
    /// `line=uart|usb`, `rom=FILE`, `time=none|virtual|real` and `uart1=tcp:HOST:PORT`. A file name can't contain a comma. The chip or
    /// board is one of `chips`.
    ///
    /// # Errors
    /// [`SpecError`] if the name describes no virtual board.
    pub fn parse(text: &str, chips: &ChipDb) -> Result<Spec, SpecError> {
        let rest = text.strip_prefix(SCHEME).ok_or(SpecError::Scheme)?;
        let mut parts = rest.split(',');
        let target = chips.find_target(parts.next().unwrap_or_default())?;
        let chip = target.chip();
        let Some(sim) = &chip.sim else {
            let (chip, known) = (chip.display_name.clone(), with_board(chips));
            return Err(SpecError::NoBoard { chip, known });
        };
        let flash_size = target.flash_size().unwrap_or_else(|| sim.flash.size());
        let (mut faults, mut flash, mut line, mut rom, mut time) = (None, None, None, None, None);
        let (mut bridge, mut worst, mut uart1) = (None, None, None);
        let (mut i2c, mut adc) = (None, None);
        let mut burns = Vec::new();
        for part in parts {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) if !value.is_empty() => (key, value),
                _ => return Err(SpecError::NotKeyValue { part: part.into() }),
            };
            let twice = match key {
                "adc" => adc.replace(PathBuf::from(value)).is_some(),
                "bridge" => bridge.replace(choice("bridge", &Bridge::ALL, value)?).is_some(),
                "flash-time" => worst.replace(choice("flash-time", &FLASH_TIMES, value)?).is_some(),
                "efuse" => {
                    burns.push(Burn::parse(chip, value)?);
                    false
                }
                "faults" => faults.replace(PathBuf::from(value)).is_some(),
                "flash" => flash.replace(PathBuf::from(value)).is_some(),
                "i2c" => i2c.replace(PathBuf::from(value)).is_some(),
                "line" => line.replace(Cable::parse(value)?).is_some(),
                "rom" => rom.replace(PathBuf::from(value)).is_some(),
                "time" => time.replace(TimeMode::parse(value)?).is_some(),
                "uart1" => {
                    let wrong = || SpecError::Peer { value: value.into() };
                    uart1.replace(PeerAddr::parse(value).ok_or_else(wrong)?).is_some()
                }
                key => return Err(SpecError::Key { key: key.into() }),
            };
            if twice {
                return Err(SpecError::Repeated { key: key.into() });
            }
        }
        if rom.is_none() && needs_rom(chip) {
            return Err(SpecError::NeedsRom { chip: chip.display_name.clone() });
        }
        let line = line.unwrap_or_else(|| cable_of(&target));
        let time = time.unwrap_or_default();
        let (bridge, worst_flash) = (bridge.unwrap_or_default(), worst.unwrap_or_default());
        let chip = chip.clone();
        Ok(Spec {
            adc,
            bridge,
            worst_flash,
            chip,
            flash_size,
            burns,
            faults,
            flash,
            i2c,
            line,
            rom,
            time,
            uart1,
        })
    }
}

/// Returns where the host's cable is plugged in on that board: at the first of its USB sockets. For
/// a bare chip it is the UART.
pub fn cable_of(target: &Target) -> Cable {
    let socket = target.board().and_then(|board| board.usb.first());
    match socket.map(|usb| usb.kind) {
        Some(UsbKind::SerialJtag) => Cable::Usb,
        Some(UsbKind::Bridge | UsbKind::Otg) | None => Cable::Uart,
    }
}

/// Returns whether the virtual board of a chip needs a file of the chip's mask ROM, because its
/// functions are not modelled.
pub fn needs_rom(chip: &Chip) -> bool {
    chip.sim.as_ref().is_some_and(rom::needs_file)
}

/// Returns the names of those of `chips` that have a virtual board.
pub fn with_board(chips: &ChipDb) -> Vec<String> {
    chips.chips().filter(|chip| chip.sim.is_some()).map(|chip| chip.name.clone()).collect()
}

/// Returns a hint that lists the embedded chips with a virtual board.
pub(crate) fn embedded_hint() -> String {
    boards_hint(&with_board(ChipDb::embedded()))
}

fn boards_hint(known: &[String]) -> String {
    format!("chips with a virtual board: {}", known.join(", "))
}

/// Returns the value called `name` of a key that accepts the values `known`.
fn choice<T: Copy>(
    key: &'static str,
    known: &[(&'static str, T)],
    name: &str,
) -> Result<T, SpecError> {
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| SpecError::Choice {
        key,
        value: name.into(),
        known: known.iter().map(|(known, _)| *known).collect(),
    })
}
