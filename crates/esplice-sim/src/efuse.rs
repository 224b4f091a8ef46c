//! What is burnt into a virtual board's eFuses beside its identity: security settings above all.

use esplice_chip::{Chip, nearest};

/// A field and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burn {
    /// Name of the field, one of the chip data's.
    pub field: String,
    /// Its value.
    pub value: u64,
}

/// Why something can't be burnt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BurnError {
    /// It is not `FIELD:VALUE`.
    #[error("{text:?} is not FIELD:VALUE")]
    Shape {
        /// What it is.
        text: String,
    },
    /// The chip has no such field, or its data do not tell of it.
    #[error("{chip} has no eFuse field {field:?}")]
    Field {
        /// The field.
        field: String,
        /// The chip.
        chip: String,
        /// The nearest name that is known.
        nearest: Option<String>,
    },
    /// The field is too short.
    #[error("{value} does not fit into the {bits} bits of eFuse field {field:?}")]
    TooLarge {
        /// The field.
        field: String,
        /// The value.
        value: u64,
        /// Bits of the field.
        bits: u32,
    },
}

impl BurnError {
    /// What the user can do about it.
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
    /// Reads `FIELD:VALUE`, with a field of `chip` and a decimal value that fits it.
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
