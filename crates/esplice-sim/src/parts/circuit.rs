//! The file with the parts on a board's I2C bus.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use esplice_chip::nearest;

use super::{
    Eeprom, I2cPart, PartsError, Sht3x, Thermometer, ThermometerKind,
    eeprom::{SIZES, WRITE_TIME},
    table::{Entry, parse, read},
};

/// Names of the parts that a file can have, as `type`.
pub const KINDS: [&str; 10] =
    ["24c01", "24c02", "24c32", "24c64", "24c128", "24c256", "24c512", "tmp102", "lm75b", "sht3x"];
/// Lowest and highest address that are not reserved (I2C-bus specification, table 4).
const ADDRESSES: (u64, u64) = (0x08, 0x77);
/// Most I2C controllers of a chip.
const MOST_BUSES: u64 = 2;

const EXAMPLE: &str = "a part begins with [[part]], followed by lines like type = \"tmp102\"";

/// The parts on a board's I2C buses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Circuit {
    parts: Vec<Part>,
}

/// A part that was made, and its place.
pub(crate) struct Built<'a> {
    pub name: &'a str,
    pub bus: usize,
    pub address: u8,
    pub part: Box<dyn I2cPart>,
}

/// A part of the file.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    name: String,
    bus: usize,
    address: u8,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Eeprom { size: &'static str, write_time: Duration, contents: Option<PathBuf> },
    Thermometer(ThermometerKind, f64),
    Sht3x(f64, f64),
}

impl Circuit {
    /// Reads a file of parts. A relative name in it, of a part's contents, begins at the file's
    /// directory.
    ///
    /// # Errors
    /// [`PartsError::Read`] and [`PartsError::Wrong`].
    pub fn open(path: &Path) -> Result<Circuit, PartsError> {
        let text = read(path)?;
        let mut circuit = Circuit::parse(&text).map_err(|error| error.in_file(path))?;
        for part in &mut circuit.parts {
            if let Kind::Eeprom { contents: Some(file), .. } = &mut part.kind
                && let Some(directory) = path.parent()
            {
                *file = directory.join(&file);
            }
        }
        Ok(circuit)
    }

    /// Parses the text of a file of parts.
    ///
    /// # Errors
    /// [`PartsError::Wrong`].
    pub fn parse(text: &str) -> Result<Circuit, PartsError> {
        let table = parse(text, EXAMPLE)?;
        let top = Entry { text, table: table.get_ref(), span: table.span() };
        top.known(&["part"])?;
        let mut circuit = Circuit::default();
        for entry in top.tables("part")? {
            let (part, place) = Part::parse(&entry)?;
            let before = circuit.parts.iter();
            if before.clone().any(|other| (other.bus, other.address) == (part.bus, part.address)) {
                let message = format!("another part has address 0x{:02x}", part.address);
                let hint = "give each part on a bus its own address".into();
                return Err(entry.wrong(place, message, hint));
            }
            if before.clone().any(|other| other.name == part.name) {
                let message = format!("another part is called {:?}", part.name);
                let hint = "give each part its own name = \"…\"".into();
                return Err(entry.wrong(place, message, hint));
            }
            circuit.parts.push(part);
        }
        Ok(circuit)
    }

    /// Makes the parts. Opens the files with contents.
    pub(crate) fn build(&self) -> Result<Vec<Built<'_>>, PartsError> {
        let mut built = Vec::new();
        for part in &self.parts {
            let made: Box<dyn I2cPart> = match &part.kind {
                Kind::Thermometer(kind, celsius) => Box::new(Thermometer::new(*kind, *celsius)),
                Kind::Sht3x(celsius, humidity) => Box::new(Sht3x::new(*celsius, *humidity)),
                Kind::Eeprom { size, write_time, contents } => {
                    Box::new(eeprom(size, *write_time, contents.as_deref(), &part.name)?)
                }
            };
            built.push(Built {
                name: &part.name,
                bus: part.bus,
                address: part.address,
                part: made,
            });
        }
        Ok(built)
    }
}

fn eeprom(
    size: &str,
    write_time: Duration,
    contents: Option<&Path>,
    part: &str,
) -> Result<Eeprom, PartsError> {
    let eeprom = Eeprom::new(size).map(|eeprom| eeprom.with_write_time(write_time));
    let failed =
        |path: &Path, source| PartsError::Contents { part: part.into(), path: path.into(), source };
    let unknown = || PartsError::NotOnChip {
        message: format!("there is no EEPROM {size}"),
        hint: format!("known parts are {}", KINDS.join(", ")),
    };
    let eeprom = eeprom.ok_or_else(unknown)?;
    match contents {
        Some(path) => eeprom.with_file(path).map_err(|source| failed(path, source)),
        None => Ok(eeprom),
    }
}

impl Part {
    /// Returns a part, and the place of its address or else of the whole part.
    fn parse(entry: &Entry<'_>) -> Result<(Part, Range<usize>), PartsError> {
        let kinds = || format!("known types are {}", KINDS.join(", "));
        let (kind, place) = entry.text("type")?.ok_or_else(|| entry.missing("type", kinds()))?;
        let size = SIZES.into_iter().find(|(name, ..)| *name == kind).map(|(name, ..)| name);
        let celsius = || Ok(entry.number("temperature", -273.15, 1000.0)?.unwrap_or(20.0));
        let (kind, usual, own): (Kind, u8, &[&'static str]) = match (kind, size) {
            (_, Some(size)) => {
                let millis = entry.whole("write-ms", 0, 1000)?.map(|(millis, _)| millis);
                let contents = entry.text("contents")?;
                let kind = Kind::Eeprom {
                    size,
                    write_time: millis.map_or(WRITE_TIME, Duration::from_millis),
                    contents: contents.map(|(name, _)| PathBuf::from(name)),
                };
                (kind, 0x50, &["contents", "write-ms"])
            }
            ("tmp102", _) => {
                let kind = Kind::Thermometer(ThermometerKind::Tmp102, celsius()?);
                (kind, 0x48, &["temperature"])
            }
            ("lm75b", _) => {
                (Kind::Thermometer(ThermometerKind::Lm75b, celsius()?), 0x48, &["temperature"])
            }
            ("sht3x", _) => {
                let humidity = entry.number("humidity", 0.0, 100.0)?.unwrap_or(50.0);
                (Kind::Sht3x(celsius()?, humidity), 0x44, &["temperature", "humidity"])
            }
            (other, _) => {
                let hint = match nearest(other, &KINDS) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => kinds(),
                };
                return Err(entry.wrong(place, format!("unknown type {other:?}"), hint));
            }
        };
        let keys: Vec<&'static str> =
            ["type", "name", "address", "bus"].into_iter().chain(own.iter().copied()).collect();
        entry.known(&keys)?;
        let type_name = entry.text("type")?.map_or("", |(name, _)| name);
        let name = entry.text("name")?.map_or(type_name, |(name, _)| name);
        let address = entry.whole("address", ADDRESSES.0, ADDRESSES.1)?;
        let place = address.as_ref().map_or(entry.span.clone(), |(_, place)| place.clone());
        let bus = entry.whole("bus", 0, MOST_BUSES - 1)?.map_or(0, |(bus, _)| bus);
        let part = Part {
            name: name.into(),
            bus: bus as usize,
            address: address.map_or(usual, |(address, _)| address as u8),
            kind,
        };
        Ok((part, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_its_parts() {
        let circuit = Circuit::parse(
            "[[part]]\ntype = \"24c32\"\nname = \"settings\"\naddress = 0x57\nwrite-ms = 3\n\
             [[part]]\ntype = \"tmp102\"\ntemperature = -4.5\n\
             [[part]]\ntype = \"sht3x\"\ntemperature = 21\nbus = 1\n",
        )
        .unwrap();
        let found: Vec<_> = circuit
            .build()
            .unwrap()
            .into_iter()
            .map(|built| {
                let contents = built.part.contents().map(<[u8]>::len);
                (built.name.to_owned(), built.bus, built.address, contents)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("settings".to_owned(), 0, 0x57, Some(4096)),
                ("tmp102".to_owned(), 0, 0x48, None),
                ("sht3x".to_owned(), 1, 0x44, None),
            ]
        );
        assert_eq!(Circuit::parse("").unwrap(), Circuit::default());
        for kind in KINDS {
            Circuit::parse(&format!("[[part]]\ntype = {kind:?}")).unwrap();
        }
    }

    #[test]
    fn a_mistake_is_shown_with_its_place_and_with_what_is_right() {
        for (text, message, hint) in [
            ("[[part]]\ntype = tmp", "2:8: ", "[[part]]"),
            ("[[parts]]\n", "1:3: unknown key \"parts\"", "\"part\""),
            ("part = 1", "1:8: part is not a list", "[[part]]"),
            ("part = [1]", "1:9: part is not a list", "[[part]]"),
            ("[[part]]\nname = \"x\"", "1:1: type is missing", "24c32"),
            ("[[part]]\ntype = 5", "2:8: type is not a text", "type = \"…\""),
            ("[[part]]\ntype = \"24c33\"", "2:8: unknown type \"24c33\"", "24c32"),
            ("[[part]]\ntype = \"fridge\"", "2:8: unknown type", "known types are 24c01"),
            (
                "[[part]]\ntype = \"tmp102\"\n# ä\n  adress = 1",
                "4:3: unknown key \"adress\"",
                "\"address\"",
            ),
            (
                "[[part]]\ntype = \"tmp102\"\naddress = 0x78",
                "3:11: address is not a whole number from 8 to 119",
                "address = 8",
            ),
            (
                "[[part]]\ntype = \"tmp102\"\ntemperature = \"warm\"",
                "3:15: temperature is not a number from -273.15 to 1000",
                "temperature = ",
            ),
            ("[[part]]\ntype = \"tmp102\"\ntemperature = nan", "3:15: temperature", ""),
            (
                "[[part]]\ntype = \"24c02\"\ntemperature = 1",
                "3:1: unknown key \"temperature\"",
                "known keys are",
            ),
            (
                "[[part]]\ntype = \"24c02\"\n[[part]]\ntype = \"24c32\"\naddress = 0x50",
                "5:11: another part has address 0x50",
                "own address",
            ),
            (
                "[[part]]\ntype = \"24c02\"\n[[part]]\ntype = \"24c02\"\naddress = 0x51",
                "5:11: another part is called \"24c02\"",
                "own name",
            ),
        ] {
            let error = Circuit::parse(text).unwrap_err();
            assert!(error.to_string().starts_with(message), "{text}: {error}");
            assert!(error.hint().unwrap().contains(hint), "{text}: {:?}", error.hint());
        }
    }

    #[test]
    fn an_error_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("i2c.toml");
        let missing = Circuit::open(&path).unwrap_err();
        assert!(missing.to_string().contains("i2c.toml: "), "{missing}");
        std::fs::write(&path, "[[part]]\ntype = \"24c02\"\ncontents = \"e.bin\"\nwrite = 1")
            .unwrap();
        let wrong = Circuit::open(&path).unwrap_err().to_string();
        assert!(wrong.ends_with("i2c.toml:4:1: unknown key \"write\""), "{wrong}");
        std::fs::write(&path, "[[part]]\ntype = \"24c02\"\ncontents = \"e.bin\"").unwrap();
        Circuit::open(&path).unwrap().build().map(drop).unwrap();
        std::fs::write(directory.path().join("e.bin"), "short").unwrap();
        let short = Circuit::open(&path).unwrap().build().map(drop).unwrap_err();
        assert!(short.to_string().contains("it has 5 bytes instead of 256"), "{short}");
    }
}
