//! Fields burnt into a virtual board's eFuses in addition to its identity, mainly security
//! settings.

use esplice_chip::{Chip, nearest};

/// An eFuse field to burn and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burn {
    /// Name of the field in the chip data.
    pub field: String,
    /// Value of the field.
    pub value: u64,
}

/// Why a field can't be burnt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BurnError {
    /// The text is not of the form `FIELD:VALUE`.
    #[error("{text:?} is not FIELD:VALUE")]
    Shape {
        /// Text that was given.
        text: String,
    },
    /// The chip, or its chip data, has no such field.
    #[error("{chip} has no eFuse field {field:?}")]
    Field {
        /// Name that was given.
        field: String,
        /// Display name of the chip.
        chip: String,
        /// Closest known field name.
        nearest: Option<String>,
    },
    /// The value does not fit into the field.
    #[error("{value} does not fit into the {bits} bits of eFuse field {field:?}")]
    TooLarge {
        /// Name of the field.
        field: String,
        /// Value that was given.
        value: u64,
        /// Width of the field in bits.
        bits: u32,
    },
}

impl BurnError {
    /// Returns a hint on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            BurnError::Shape { .. } => Some("for example enable-security-download:1".into()),
            BurnError::Field { nearest, .. } => {
                nearest.as_ref().map(|near| format!("did you mean {near:?}?"))
            }
            BurnError::TooLarge { .. } => None,
        }
    }
}

impl Burn {
    /// Parses `FIELD:VALUE`, where FIELD is a field of `chip` and VALUE is decimal and fits the
    /// field.
    ///
    /// # Errors
    /// [`BurnError`].
    pub fn parse(chip: &Chip, text: &str) -> Result<Burn, BurnError> {
        let shape = || BurnError::Shape { text: text.into() };
        let (name, value) = text.split_once(':').ok_or_else(shape)?;
        let value: u64 = value.parse().map_err(|_| shape())?;
        let Some(field) = chip.efuse.field(name) else {
            let known: Vec<&str> =
                chip.efuse.fields.iter().map(|field| field.name.as_str()).collect();
            return Err(BurnError::Field {
                field: name.into(),
                chip: chip.display_name.clone(),
                nearest: nearest(name, &known),
            });
        };
        let bits: u32 = field.bits.iter().map(|range| range.count).sum();
        if bits < u64::BITS && value >> bits != 0 {
            return Err(BurnError::TooLarge { field: name.into(), value, bits });
        }
        Ok(Burn { field: name.into(), value })
    }
}
