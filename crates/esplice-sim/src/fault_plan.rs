//! Fault plans: which faults happen on a virtual board and when, from a file or built by a program.
//!
//! A plan is reproducible: random faults are drawn from the plan's seed, so the same plan on the
//! same board always does the same. Bytes are counted from 0 since the board was created,
//! separately for each direction. Flash operations (page programs and erases) are counted from 0 as
//! well.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use esplice_chip::nearest;
use toml::{Table, Value};

/// Direction of a byte on the line.
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

/// Selects the bytes that a fault affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The byte with this number.
    Byte(u64),
    /// Random bytes, on average one in this many.
    OneIn(u32),
}

/// A fault of a byte on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireFault {
    /// The byte is lost.
    Drop,
    /// One bit (0–7) of the byte is flipped, a random one if no number is given.
    Flip(Option<u8>),
    /// The byte is sent twice.
    Double,
    /// The byte and all bytes after it are delayed.
    Delay(Duration),
}

/// A planned fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlannedFault {
    /// A fault of single bytes on the line.
    Wire {
        /// Direction of the bytes.
        direction: Direction,
        /// Affected bytes.
        when: When,
        /// Fault of each affected byte.
        fault: WireFault,
    },
    /// Some bytes are sent at a different rate from the one both sides have set.
    WrongBaud {
        /// Direction of the bytes.
        direction: Direction,
        /// First affected byte.
        byte: u64,
        /// Number of affected bytes.
        len: u64,
        /// Rate in baud at which they are sent.
        baud: u32,
    },
    /// The port disappears after a number of bytes, as if the cable were pulled.
    Vanish {
        /// Direction of the counted bytes.
        direction: Direction,
        /// Number of bytes transferred before the port disappears.
        byte: u64,
        /// Time until the port can be opened again.
        back_after: Duration,
    },
    /// A flash operation is interrupted part-way.
    Tear {
        /// Number of the operation, counted from 0.
        operation: u64,
        /// Number of bytes that are completed, by default half of them.
        done: Option<u32>,
        /// Cause of the interruption.
        by: TornBy,
    },
    /// A bit of the flash chip is stuck.
    Stuck {
        /// Flash offset of the byte.
        offset: u32,
        /// Number of the bit, 0–7.
        bit: u8,
        /// Level at which the bit is stuck.
        level: bool,
    },
}

/// Cause of an interrupted flash operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TornBy {
    /// The board is reset, including its flash chip.
    Reset,
    /// The power is cut and returns after this time, or never.
    PowerCut(Option<Duration>),
}

/// A set of planned faults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Seed of all random faults.
    pub seed: u64,
    /// Planned faults.
    pub faults: Vec<PlannedFault>,
}

/// A planned fault that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultEvent {
    /// Time on the board's clock.
    pub at: Duration,
    /// Description of the fault.
    pub what: String,
}

impl fmt::Display for FaultEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault at {:.6} s: {}", self.at.as_secs_f64(), self.what)
    }
}

/// Why a fault file was rejected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultPlanError {
    /// The file can't be read.
    #[error("fault file {}: {source}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is not valid TOML.
    #[error("not TOML: {0}")]
    Toml(String),
    /// A key is unknown in its table.
    #[error("{place}: unknown key {key:?}")]
    Key {
        /// Place in the file.
        place: String,
        /// Unknown key.
        key: String,
        /// Keys that the table accepts.
        known: Vec<&'static str>,
    },
    /// A value is not one of the accepted ones.
    #[error("{place}: {key} is {value}, expected one of {}", known.join(", "))]
    Choice {
        /// Place in the file.
        place: String,
        /// Key of the value.
        key: &'static str,
        /// Rejected value.
        value: String,
        /// Accepted values.
        known: Vec<&'static str>,
    },
    /// A required key is missing.
    #[error("{place}: {key} is missing")]
    Missing {
        /// Place in the file.
        place: String,
        /// Missing key.
        key: &'static str,
    },
    /// A number is too large, too small or not a whole number.
    #[error("{place}: {key} is {value}, expected a whole number from {min} to {max}")]
    Number {
        /// Place in the file.
        place: String,
        /// Key of the number.
        key: &'static str,
        /// Rejected value.
        value: String,
        /// Smallest accepted number.
        min: u64,
        /// Largest accepted number.
        max: u64,
    },
    /// Both `byte` and `one-in` are given.
    #[error("{place}: byte and one-in exclude each other")]
    Both {
        /// Place in the file.
        place: String,
    },
    /// One of the errors above, with the path of the file.
    #[error("fault file {}: {error}", path.display())]
    InFile {
        /// Path of the file.
        path: PathBuf,
        /// Error in its contents.
        error: Box<FaultPlanError>,
    },
}

impl FaultPlanError {
    /// Returns a hint on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            FaultPlanError::Key { key, known, .. } => Some(key_hint(key, known)),
            FaultPlanError::Choice { value, known, .. } => nearest(value.trim_matches('"'), known)
                .map(|near| format!("did you mean {near:?}?")),
            FaultPlanError::InFile { error, .. } => error.hint(),
            _ => None,
        }
    }
}

fn key_hint(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("known keys are {}", known.join(", ")),
    }
}

/// Fault kinds, each with the keys that it takes in addition to `kind`.
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
/// Keys at the top level of the file.
const TOP_LEVEL_KEYS: [&str; 2] = ["seed", "fault"];
/// Largest value for most keys, because TOML integers are signed.
const MAX_INTEGER: u64 = i64::MAX as u64;

impl FaultPlan {
    /// Reads a plan from the file at `path`.
    ///
    /// # Errors
    /// [`FaultPlanError::Read`] and [`FaultPlanError::InFile`].
    pub fn open(path: &Path) -> Result<FaultPlan, FaultPlanError> {
        let text =
            read(path).map_err(|source| FaultPlanError::Read { path: path.into(), source })?;
        FaultPlan::parse(&text)
            .map_err(|error| FaultPlanError::InFile { path: path.into(), error: Box::new(error) })
    }

    /// Parses a plan from TOML text.
    ///
    /// # Errors
    /// Any [`FaultPlanError`] except the two that name a file.
    pub fn parse(text: &str) -> Result<FaultPlan, FaultPlanError> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| FaultPlanError::Toml(error.message().into()))?;
        let top = Entry { place: "top level".into(), table: &table };
        top.reject_unknown_keys(&TOP_LEVEL_KEYS)?;
        let faults = match table.get("fault") {
            None => &[],
            Some(Value::Array(faults)) => faults.as_slice(),
            Some(_) => return Err(top.missing("[[fault]]")),
        };
        let mut plan =
            FaultPlan { seed: top.number("seed", 0, MAX_INTEGER)?.unwrap_or(0), faults: vec![] };
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

/// Maximum size of a fault file in bytes.
const MAX_FILE_LEN: u64 = 1 << 20;

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_FILE_LEN + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_LEN {
        let message = format!("it has more than {MAX_FILE_LEN} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

/// A table of the file with its name for error messages.
struct Entry<'a> {
    place: String,
    table: &'a Table,
}

impl Entry<'_> {
    fn planned(&self) -> Result<PlannedFault, FaultPlanError> {
        let kind = self.choice("kind", &KINDS)?;
        let keys: Vec<&str> = ["kind"].into_iter().chain(kind.1.iter().copied()).collect();
        self.reject_unknown_keys(&keys)?;
        let direction =
            || self.choice("direction", &Direction::ALL).map(|(_, direction)| direction);
        let wire =
            |fault| Ok(PlannedFault::Wire { direction: direction()?, when: self.when()?, fault });
        let millis = |key| Ok(self.number(key, 0, MAX_INTEGER)?.map(Duration::from_millis));
        let bit = || Ok(self.number("bit", 0, 7)?.map(|bit| bit as u8));
        let tear = |by| {
            let done = self.number("done", 0, u32::MAX.into())?.map(|done| done as u32);
            Ok(PlannedFault::Tear {
                operation: self.required_number("operation", 0, MAX_INTEGER)?,
                done,
                by,
            })
        };
        match kind.0 {
            "drop" => wire(WireFault::Drop),
            "flip" => wire(WireFault::Flip(bit()?)),
            "double" => wire(WireFault::Double),
            "delay" => {
                let delay = self.required_number("delay-us", 1, MAX_INTEGER)?;
                wire(WireFault::Delay(Duration::from_micros(delay)))
            }
            "wrong-baud" => Ok(PlannedFault::WrongBaud {
                direction: direction()?,
                byte: self.required_number("byte", 0, MAX_INTEGER)?,
                len: self.required_number("len", 1, MAX_INTEGER)?,
                baud: self.required_number("baud", 1, u32::MAX.into())? as u32,
            }),
            "vanish" => Ok(PlannedFault::Vanish {
                direction: direction()?,
                byte: self.required_number("byte", 0, MAX_INTEGER)?,
                back_after: millis("back-after-ms")?.unwrap_or_default(),
            }),
            "reset" => tear(TornBy::Reset),
            "power-cut" => tear(TornBy::PowerCut(millis("back-after-ms")?)),
            _ => Ok(PlannedFault::Stuck {
                offset: self.required_number("offset", 0, u32::MAX.into())? as u32,
                bit: bit()?.ok_or_else(|| self.missing("bit"))?,
                level: self.required_number("level", 0, 1)? == 1,
            }),
        }
    }

    fn when(&self) -> Result<When, FaultPlanError> {
        let byte = self.number("byte", 0, MAX_INTEGER)?.map(When::Byte);
        let one_in = self.number("one-in", 1, u32::MAX.into())?;
        match (byte, one_in.map(|one_in| When::OneIn(one_in as u32))) {
            (Some(when), None) | (None, Some(when)) => Ok(when),
            (Some(_), Some(_)) => Err(FaultPlanError::Both { place: self.place.clone() }),
            (None, None) => Err(self.missing("byte or one-in")),
        }
    }

    fn reject_unknown_keys(&self, known: &[&'static str]) -> Result<(), FaultPlanError> {
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

    fn required_number(
        &self,
        key: &'static str,
        min: u64,
        max: u64,
    ) -> Result<u64, FaultPlanError> {
        self.number(key, min, max)?.ok_or_else(|| self.missing(key))
    }

    fn number(&self, key: &'static str, min: u64, max: u64) -> Result<Option<u64>, FaultPlanError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| (min..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(FaultPlanError::Number {
                place: self.place.clone(),
                key,
                value: value.to_string(),
                min,
                max,
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

    fn check(text: &str, expected: Result<&[PlannedFault], &str>) {
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
        let wire = |direction, when, fault| PlannedFault::Wire { direction, when, fault };
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
                PlannedFault::WrongBaud { direction: ToBoard, byte: 1, len: 3, baud: 9600 },
            ),
            (
                "kind = 'vanish'\ndirection = 'to-board'\nbyte = 1",
                PlannedFault::Vanish { direction: ToBoard, byte: 1, back_after: Duration::ZERO },
            ),
            (
                "kind = 'reset'\noperation = 3\ndone = 0",
                PlannedFault::Tear { operation: 3, done: Some(0), by: TornBy::Reset },
            ),
            (
                "kind = 'power-cut'\noperation = 3\nback-after-ms = 2",
                PlannedFault::Tear {
                    operation: 3,
                    done: None,
                    by: TornBy::PowerCut(Some(Duration::from_millis(2))),
                },
            ),
            (
                "kind = 'stuck-bit'\noffset = 0x10000\nbit = 3\nlevel = 0",
                PlannedFault::Stuck { offset: 0x1_0000, bit: 3, level: false },
            ),
        ] {
            check(&format!("[[fault]]\n{text}"), Ok(&[expected]));
        }
        check("seed = 9", Ok(&[]));
    }

    #[test]
    fn errors_name_the_problem() {
        let fault = |text: &str| format!("[[fault]]\n{text}");
        for (text, message) in [
            ("sede = 1".into(), "top level: unknown key \"sede\"; did you mean \"seed\"?"),
            ("fault = 1".into(), "top level: [[fault]] is missing"),
            (fault("byte = 1"), "fault 1: kind is missing"),
            (
                fault("kind = 'flp'"),
                "fault 1: kind is \"flp\", expected one of drop, flip, double, delay, wrong-baud, \
                 vanish, reset, power-cut, stuck-bit; did you mean \"flip\"?",
            ),
            (
                fault("kind = 'drop'\ndirection = 'to-host'\nbit = 1\nbyte = 1"),
                "fault 1: unknown key \"bit\"; known keys are kind, direction, byte, one-in",
            ),
            (
                fault("kind = 'drop'\ndirection = 'to-hst'\nbyte = 1"),
                "fault 1: direction is \"to-hst\", expected one of to-board, to-host; did you \
                 mean \"to-host\"?",
            ),
            (fault("kind = 'drop'\ndirection = 'to-host'"), "fault 1: byte or one-in is missing"),
            (
                fault("kind = 'drop'\ndirection = 'to-host'\nbyte = 1\none-in = 1"),
                "fault 1: byte and one-in exclude each other",
            ),
            (
                fault("kind = 'flip'\ndirection = 'to-host'\nbyte = 1\nbit = 8"),
                "fault 1: bit is 8, expected a whole number from 0 to 7",
            ),
            (
                fault("kind = 'drop'\ndirection = 'to-host'\nbyte = -1"),
                "fault 1: byte is -1, expected a whole number from 0 to 9223372036854775807",
            ),
        ] {
            check(&text, Err(message));
        }
        assert!(matches!(FaultPlan::parse("[["), Err(FaultPlanError::Toml(_))));
    }

    #[test]
    fn large_files_are_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("faults.toml");
        let file = fs::File::create(&path).unwrap();
        file.set_len(2 * MAX_FILE_LEN).unwrap();
        let error = FaultPlan::open(&path).unwrap_err().to_string();
        assert!(error.ends_with("it has more than 1048576 bytes"), "{error}");
    }
}
