//! What goes wrong on a virtual board, and when: a plan, from a file or made by a program.
//!
//! The same plan on the same board does the same each time: what happens by chance happens by the
//! plan's seed. Bytes are counted from 0 since the board was made, each direction by itself, and
//! flash operations (page programs and erases) likewise.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use esplice_chip::nearest;
use toml::{Table, Value};

/// Which way a byte goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the host to the board.
    ToBoard,
    /// From the board to the host.
    ToHost,
}

impl Direction {
    const ALL: [(&str, Direction); 2] =
        [("to-board", Direction::ToBoard), ("to-host", Direction::ToHost)];
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::ToBoard => "to the board",
            Direction::ToHost => "to the host",
        })
    }
}

/// Which bytes are hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// This one.
    Byte(u64),
    /// One in so many, by chance.
    OneIn(u32),
}

/// What happens to a byte on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireFault {
    /// It is lost.
    Drop,
    /// A bit (0–7) of it is the other way round; without a number one by chance.
    Flip(Option<u8>),
    /// It comes twice.
    Double,
    /// It comes later, and all behind it.
    Delay(Duration),
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planned {
    /// On the line.
    Wire {
        /// Which way.
        direction: Direction,
        /// Which bytes.
        when: When,
        /// What.
        fault: WireFault,
    },
    /// Some bytes are sent at another rate than both sides have set.
    WrongBaud {
        /// Which way.
        direction: Direction,
        /// The first of them.
        byte: u64,
        /// How many.
        len: u64,
        /// The rate.
        baud: u32,
    },
    /// The port is gone once so many bytes have passed, as when the cable is pulled.
    Vanish {
        /// Which way.
        direction: Direction,
        /// Bytes that pass before.
        byte: u64,
        /// When it can be opened again.
        back_after: Duration,
    },
    /// A flash operation is torn.
    Tear {
        /// The operation, counted from 0.
        operation: u64,
        /// Bytes of it that are done; without a number half of them.
        done: Option<u32>,
        /// What tears it.
        by: TornBy,
    },
    /// A bit of the flash chip can't be changed.
    Stuck {
        /// The byte's place in the flash.
        offset: u32,
        /// The bit, 0–7.
        bit: u8,
        /// What it always is.
        level: bool,
    },
}

/// What tears a flash operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TornBy {
    /// The board is reset, with its flash chip.
    Reset,
    /// The power goes; it comes back after so long, or never.
    PowerCut(Option<Duration>),
}

/// All that is to go wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// What happens by chance, happens by this.
    pub seed: u64,
    /// What happens.
    pub faults: Vec<Planned>,
}

/// Something that went wrong as planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struck {
    /// The board's clock.
    pub at: Duration,
    /// What, in words.
    pub what: String,
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault at {:.6} s: {}", self.at.as_secs_f64(), self.what)
    }
}

/// Why a file is no plan.
#[derive(Debug, thiserror::Error)]
pub enum FaultPlanError {
    /// It can't be read.
    #[error("fault file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no TOML.
    #[error("not TOML: {0}")]
    Toml(String),
    /// A key is not known there.
    #[error("{place}: unknown key {key:?}")]
    Key {
        /// Where it stands.
        place: String,
        /// The key.
        key: String,
        /// Keys that are known there.
        known: Vec<&'static str>,
    },
    /// A value is none of those that there are.
    #[error("{place}: {key} is {value}, which is none of {}", known.join(", "))]
    Choice {
        /// Where it stands.
        place: String,
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// Values that are known.
        known: Vec<&'static str>,
    },
    /// A key is missing.
    #[error("{place}: {key} is missing")]
    Missing {
        /// Where it should stand.
        place: String,
        /// The key.
        key: &'static str,
    },
    /// A number is too large, too small or no number.
    #[error("{place}: {key} is {value}, and must be a whole number from {least} to {most}")]
    Number {
        /// Where it stands.
        place: String,
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// The smallest that is taken.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// `byte` and `one-in` stand both there.
    #[error("{place}: byte and one-in exclude each other")]
    Both {
        /// Where.
        place: String,
    },
    /// One of the above, in this file.
    #[error("fault file {}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Box<FaultPlanError>,
    },
}

impl FaultPlanError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            FaultPlanError::Key { key, known, .. } => Some(near(key, known)),
            FaultPlanError::Choice { value, known, .. } => nearest(value.trim_matches('"'), known)
                .map(|near| format!("did you mean {near:?}?")),
            FaultPlanError::InFile { error, .. } => error.hint(),
            _ => None,
        }
    }
}

fn near(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("known are {}", known.join(", ")),
    }
}

/// Kinds of faults, and the keys each takes beside `kind`.
const KINDS: [(&str, &[&str]); 9] = [
    ("drop", &["direction", "byte", "one-in"]),
    ("flip", &["direction", "byte", "one-in", "bit"]),
    ("double", &["direction", "byte", "one-in"]),
    ("delay", &["direction", "byte", "one-in", "delay-us"]),
    ("wrong-baud", &["direction", "byte", "len", "baud"]),
    ("vanish", &["direction", "byte", "back-after-ms"]),
    ("reset", &["operation", "done"]),
    ("power-cut", &["operation", "done", "back-after-ms"]),
    ("stuck-bit", &["offset", "bit", "level"]),
];
/// Keys beside the faults.
const TOP: [&str; 2] = ["seed", "fault"];
/// Largest number of most keys: TOML's whole numbers are signed.
const MOST: u64 = i64::MAX as u64;

impl FaultPlan {
    /// Reads a plan from a file.
    ///
    /// # Errors
    /// [`FaultPlanError::Read`] and [`FaultPlanError::InFile`].
    pub fn open(path: &Path) -> Result<FaultPlan, FaultPlanError> {
        let text =
            read(path).map_err(|source| FaultPlanError::Read { path: path.into(), source })?;
        FaultPlan::parse(&text)
            .map_err(|error| FaultPlanError::InFile { path: path.into(), error: Box::new(error) })
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// All of [`FaultPlanError`] but the two that name a file.
    pub fn parse(text: &str) -> Result<FaultPlan, FaultPlanError> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| FaultPlanError::Toml(error.message().into()))?;
        let top = Entry { place: "at the top".into(), table: &table };
        top.only(&TOP)?;
        let faults = match table.get("fault") {
            None => &[],
            Some(Value::Array(faults)) => faults.as_slice(),
            Some(_) => return Err(top.missing("[[fault]]")),
        };
        let mut plan =
            FaultPlan { seed: top.number("seed", 0, MOST)?.unwrap_or(0), faults: vec![] };
        for (number, fault) in (1..).zip(faults) {
            let place = format!("fault {number}");
            let Value::Table(table) = fault else {
                return Err(FaultPlanError::Missing { place, key: "kind" });
            };
            plan.faults.push(Entry { place, table }.planned()?);
        }
        Ok(plan)
    }
}

/// Bytes of the largest file that is read.
const LARGEST: u64 = 1 << 20;

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        let message = format!("it has more than {LARGEST} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

/// A table of the file, and how it is called in messages.
struct Entry<'a> {
    place: String,
    table: &'a Table,
}

impl Entry<'_> {
    fn planned(&self) -> Result<Planned, FaultPlanError> {
        let kind = self.choice("kind", &KINDS)?;
        let keys: Vec<&str> = ["kind"].into_iter().chain(kind.1.iter().copied()).collect();
        self.only(&keys)?;
        let direction =
            || self.choice("direction", &Direction::ALL).map(|(_, direction)| direction);
        let wire = |fault| Ok(Planned::Wire { direction: direction()?, when: self.when()?, fault });
        let millis = |key| Ok(self.number(key, 0, MOST)?.map(Duration::from_millis));
        let bit = || Ok(self.number("bit", 0, 7)?.map(|bit| bit as u8));
        let tear = |by| {
            let done = self.number("done", 0, u32::MAX.into())?.map(|done| done as u32);
            Ok(Planned::Tear { operation: self.need("operation", 0, MOST)?, done, by })
        };
        match kind.0 {
            "drop" => wire(WireFault::Drop),
            "flip" => wire(WireFault::Flip(bit()?)),
            "double" => wire(WireFault::Double),
            "delay" => {
                let delay = self.need("delay-us", 1, MOST)?;
                wire(WireFault::Delay(Duration::from_micros(delay)))
            }
            "wrong-baud" => Ok(Planned::WrongBaud {
                direction: direction()?,
                byte: self.need("byte", 0, MOST)?,
                len: self.need("len", 1, MOST)?,
                baud: self.need("baud", 1, u32::MAX.into())? as u32,
            }),
            "vanish" => Ok(Planned::Vanish {
                direction: direction()?,
                byte: self.need("byte", 0, MOST)?,
                back_after: millis("back-after-ms")?.unwrap_or_default(),
            }),
            "reset" => tear(TornBy::Reset),
            "power-cut" => tear(TornBy::PowerCut(millis("back-after-ms")?)),
            _ => Ok(Planned::Stuck {
                offset: self.need("offset", 0, u32::MAX.into())? as u32,
                bit: bit()?.ok_or_else(|| self.missing("bit"))?,
                level: self.need("level", 0, 1)? == 1,
            }),
        }
    }

    fn when(&self) -> Result<When, FaultPlanError> {
        let byte = self.number("byte", 0, MOST)?.map(When::Byte);
        let one_in = self.number("one-in", 1, u32::MAX.into())?;
        match (byte, one_in.map(|one_in| When::OneIn(one_in as u32))) {
            (Some(when), None) | (None, Some(when)) => Ok(when),
            (Some(_), Some(_)) => Err(FaultPlanError::Both { place: self.place.clone() }),
            (None, None) => Err(self.missing("byte or one-in")),
        }
    }

    fn only(&self, known: &[&'static str]) -> Result<(), FaultPlanError> {
        match self.table.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(FaultPlanError::Key {
                place: self.place.clone(),
                key: key.clone(),
                known: known.to_vec(),
            }),
        }
    }

    fn choice<T: Copy>(
        &self,
        key: &'static str,
        known: &[(&'static str, T)],
    ) -> Result<(&'static str, T), FaultPlanError> {
        let value = self.table.get(key).ok_or_else(|| self.missing(key))?;
        let found = known.iter().find(|(name, _)| value.as_str() == Some(name));
        found.copied().ok_or_else(|| FaultPlanError::Choice {
            place: self.place.clone(),
            key,
            value: value.to_string(),
            known: known.iter().map(|(name, _)| *name).collect(),
        })
    }

    fn need(&self, key: &'static str, least: u64, most: u64) -> Result<u64, FaultPlanError> {
        self.number(key, least, most)?.ok_or_else(|| self.missing(key))
    }

    fn number(
        &self,
        key: &'static str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, FaultPlanError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(FaultPlanError::Number {
                place: self.place.clone(),
                key,
                value: value.to_string(),
                least,
                most,
            }),
        }
    }

    fn missing(&self, key: &'static str) -> FaultPlanError {
        FaultPlanError::Missing { place: self.place.clone(), key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[Planned], &str>) {
        let plan = FaultPlan::parse(text);
        let told = plan.map(|plan| plan.faults).map_err(|error| match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        });
        match (&told, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
            (Err(found), Err(expected)) => assert_eq!(found, expected, "{text}"),
            _ => panic!("{text}: {told:?}"),
        }
    }

    #[test]
    fn all_kinds() {
        use Direction::{ToBoard, ToHost};
        let wire = |direction, when, fault| Planned::Wire { direction, when, fault };
        for (text, expected) in [
            (
                "kind = 'drop'\ndirection = 'to-board'\nbyte = 7",
                wire(ToBoard, When::Byte(7), WireFault::Drop),
            ),
            (
                "kind = 'flip'\ndirection = 'to-host'\none-in = 500",
                wire(ToHost, When::OneIn(500), WireFault::Flip(None)),
            ),
            (
                "kind = 'flip'\ndirection = 'to-host'\nbyte = 0\nbit = 7",
                wire(ToHost, When::Byte(0), WireFault::Flip(Some(7))),
            ),
            (
                "kind = 'double'\ndirection = 'to-host'\nbyte = 1",
                wire(ToHost, When::Byte(1), WireFault::Double),
            ),
            (
                "kind = 'delay'\ndirection = 'to-host'\nbyte = 1\ndelay-us = 20",
                wire(ToHost, When::Byte(1), WireFault::Delay(Duration::from_micros(20))),
            ),
            (
                "kind = 'wrong-baud'\ndirection = 'to-board'\nbyte = 1\nlen = 3\nbaud = 9600",
                Planned::WrongBaud { direction: ToBoard, byte: 1, len: 3, baud: 9600 },
            ),
            (
                "kind = 'vanish'\ndirection = 'to-board'\nbyte = 1",
                Planned::Vanish { direction: ToBoard, byte: 1, back_after: Duration::ZERO },
            ),
            (
                "kind = 'reset'\noperation = 3\ndone = 0",
                Planned::Tear { operation: 3, done: Some(0), by: TornBy::Reset },
            ),
            (
                "kind = 'power-cut'\noperation = 3\nback-after-ms = 2",
                Planned::Tear {
                    operation: 3,
                    done: None,
                    by: TornBy::PowerCut(Some(Duration::from_millis(2))),
                },
            ),
            (
                "kind = 'stuck-bit'\noffset = 0x10000\nbit = 3\nlevel = 0",
                Planned::Stuck { offset: 0x1_0000, bit: 3, level: false },
            ),
        ] {
            check(&format!("[[fault]]\n{text}"), Ok(&[expected]));
        }
        check("seed = 9", Ok(&[]));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let fault = |text: &str| format!("[[fault]]\n{text}");
        for (text, message) in [
            ("sede = 1".into(), "at the top: unknown key \"sede\"; did you mean \"seed\"?"),
            ("fault = 1".into(), "at the top: [[fault]] is missing"),
            (fault("byte = 1"), "fault 1: kind is missing"),
            (
                fault("kind = 'flp'"),
                "fault 1: kind is \"flp\", which is none of drop, flip, double, delay, wrong-baud, \
                 vanish, reset, power-cut, stuck-bit; did you mean \"flip\"?",
            ),
            (
                fault("kind = 'drop'\ndirection = 'to-host'\nbit = 1\nbyte = 1"),
                "fault 1: unknown key \"bit\"; known are kind, direction, byte, one-in",
            ),
            (
                fault("kind = 'drop'\ndirection = 'to-hst'\nbyte = 1"),
                "fault 1: direction is \"to-hst\", which is none of to-board, to-host; did you mean \
                 \"to-host\"?",
            ),
            (fault("kind = 'drop'\ndirection = 'to-host'"), "fault 1: byte or one-in is missing"),
            (
                fault("kind = 'drop'\ndirection = 'to-host'\nbyte = 1\none-in = 1"),
                "fault 1: byte and one-in exclude each other",
            ),
            (
                fault("kind = 'flip'\ndirection = 'to-host'\nbyte = 1\nbit = 8"),
                "fault 1: bit is 8, and must be a whole number from 0 to 7",
            ),
            (
                fault("kind = 'drop'\ndirection = 'to-host'\nbyte = -1"),
                "fault 1: byte is -1, and must be a whole number from 0 to 9223372036854775807",
            ),
        ] {
            check(&text, Err(message));
        }
        assert!(matches!(FaultPlan::parse("[["), Err(FaultPlanError::Toml(_))));
    }

    #[test]
    fn no_file_is_read_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("faults.toml");
        let file = fs::File::create(&path).unwrap();
        file.set_len(2 * LARGEST).unwrap();
        let error = FaultPlan::open(&path).unwrap_err().to_string();
        assert!(error.ends_with("it has more than 1048576 bytes"), "{error}");
    }
}
