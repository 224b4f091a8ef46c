//! The file with the voltages at a board's analog inputs.

use std::path::Path;

use super::{
    PartsError,
    table::{Entry, parse, read},
};

const EXAMPLE: &str =
    "an input is written as [[input]], pin = 2, millivolts = 1500, on a line each";
/// Highest voltage of an input, in mV. Real pins bear 3.6 V.
const MOST_MILLIVOLTS: f64 = 3600.0;
/// Highest number of a pin.
const MOST_PIN: u64 = 63;

/// Voltages at pins, and noise.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Voltages {
    /// Pins and their voltages in mV.
    pub inputs: Vec<(u32, f64)>,
    /// Standard deviation of the noise in mV.
    pub noise_millivolts: f64,
    /// Seed of the noise.
    pub seed: u64,
}

impl Voltages {
    /// Reads a file of voltages.
    ///
    /// # Errors
    /// [`PartsError::Read`] and [`PartsError::Wrong`].
    pub fn open(path: &Path) -> Result<Voltages, PartsError> {
        Voltages::parse(&read(path)?).map_err(|error| error.in_file(path))
    }

    /// Parses the text of a file of voltages.
    ///
    /// # Errors
    /// [`PartsError::Wrong`].
    pub fn parse(text: &str) -> Result<Voltages, PartsError> {
        let table = parse(text, EXAMPLE)?;
        let top = Entry { text, table: table.get_ref(), span: table.span() };
        top.known(&["noise-mv", "seed", "input"])?;
        let mut inputs: Vec<(u32, f64)> = Vec::new();
        for entry in top.tables("input")? {
            entry.known(&["pin", "millivolts"])?;
            let missing = |key| entry.missing(key, EXAMPLE.into());
            let (pin, place) = entry.whole("pin", 0, MOST_PIN)?.ok_or_else(|| missing("pin"))?;
            let millivolts = entry.number("millivolts", 0.0, MOST_MILLIVOLTS)?;
            let millivolts = millivolts.ok_or_else(|| missing("millivolts"))?;
            if inputs.iter().any(|(other, _)| u64::from(*other) == pin) {
                let message = format!("pin {pin} has a voltage already");
                return Err(entry.wrong(place, message, "name each pin once".into()));
            }
            inputs.push((pin as u32, millivolts));
        }
        Ok(Voltages {
            inputs,
            noise_millivolts: top.number("noise-mv", 0.0, 1000.0)?.unwrap_or(0.0),
            seed: top.whole("seed", 0, i64::MAX as u64)?.map_or(0, |(seed, _)| seed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_pins_and_voltages() {
        let voltages = Voltages::parse(
            "noise-mv = 2.5\nseed = 7\n[[input]]\npin = 2\nmillivolts = 1500\n\
             [[input]]\npin = 0\nmillivolts = 0.5",
        )
        .unwrap();
        assert_eq!(voltages.inputs, [(2, 1500.0), (0, 0.5)]);
        assert_eq!((voltages.noise_millivolts, voltages.seed), (2.5, 7));
        assert_eq!(Voltages::parse("").unwrap(), Voltages::default());
    }

    #[test]
    fn a_mistake_is_shown_with_its_place() {
        for (text, message) in [
            ("noise = 1", "1:1: unknown key \"noise\""),
            ("noise-mv = -1", "1:12: noise-mv is not a number from 0 to 1000"),
            ("[[input]]\npin = 2", "1:1: millivolts is missing"),
            ("[[input]]\nmillivolts = 2", "1:1: pin is missing"),
            ("[[input]]\npin = 2.0\nmillivolts = 1", "2:7: pin is not a whole number"),
            ("[[input]]\npin = 2\nmillivolts = 5000", "3:14: millivolts is not a number from 0 to"),
            ("[[input]]\npin = 2\nmillivolts = inf", "3:14: millivolts is not a number"),
            (
                "[[input]]\npin = 2\nmillivolts = 1\n[[input]]\npin = 2\nmillivolts = 1",
                "5:7: pin 2 has a voltage already",
            ),
        ] {
            let error = Voltages::parse(text).unwrap_err();
            assert!(error.to_string().starts_with(message), "{text}: {error}");
            assert!(error.hint().is_some());
        }
    }
}
