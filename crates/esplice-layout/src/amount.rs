//! Sizes as written, and in bytes.

use std::fmt;

use crate::Cause;

/// A size as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Bytes: `96K`, `0x18000`, `4096`.
    Bytes(u32),
    /// A percentage of the region: `25%`.
    Percent(u32),
    /// All bytes of the region that nothing else takes: `rest`.
    Rest,
}

impl Size {
    /// Parses a size. `key` is its name in messages.
    ///
    /// # Errors
    /// [`Cause::BadSize`], [`Cause::BadPercent`], [`Cause::ZeroSize`].
    pub fn parse(key: &str, text: &str) -> Result<Size, Box<Cause>> {
        let trimmed = text.trim();
        let bad = || Box::new(Cause::BadSize { key: key.to_owned(), text: text.to_owned() });
        if trimmed == "rest" {
            return Ok(Size::Rest);
        }
        let size = match trimmed.strip_suffix('%') {
            Some(number) => {
                let percent: u32 = number.trim().parse().map_err(|_| bad())?;
                if percent == 0 || percent > 100 {
                    return Err(Cause::BadPercent { key: key.to_owned(), percent }.into());
                }
                Size::Percent(percent)
            }
            None => Size::Bytes(esplice_chip::parse_size(trimmed).ok_or_else(bad)?),
        };
        match size {
            Size::Bytes(0) => Err(Cause::ZeroSize { key: key.to_owned() }.into()),
            size => Ok(size),
        }
    }
}

/// A number of bytes, with its text as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount {
    /// The text as written.
    pub written: String,
    /// The number of bytes.
    pub bytes: u32,
}

impl Amount {
    /// Formats `bytes` in the shortest form: `96K`, `1000`.
    pub fn of(bytes: u32) -> Amount {
        let written = match bytes {
            0 => "0".to_owned(),
            b if b % (1 << 20) == 0 => format!("{}M", b >> 20),
            b if b % (1 << 10) == 0 => format!("{}K", b >> 10),
            b => b.to_string(),
        };
        Amount { written, bytes }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.written == self.bytes.to_string() {
            return write!(f, "{} bytes", self.bytes);
        }
        write!(f, "{} ({} bytes)", self.written, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_all_their_ways() {
        let size = |text: &str| Size::parse("size", text).unwrap();
        assert_eq!(size("96K"), Size::Bytes(98_304));
        assert_eq!(size("0x18000"), Size::Bytes(98_304));
        assert_eq!(size("4096"), Size::Bytes(4096));
        assert_eq!(size("25%"), Size::Percent(25));
        assert_eq!(size("rest"), Size::Rest);
        for bad in ["", "%", "-1", "96 apples", "1.5K", "101%", "0%", "0", "4G", "99999999999"] {
            assert!(Size::parse("size", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_as_people_read_them() {
        assert_eq!(Amount::of(98_304).to_string(), "96K (98304 bytes)");
        assert_eq!(Amount::of(1000).to_string(), "1000 bytes");
        assert_eq!(Amount::of(2 << 20).to_string(), "2M (2097152 bytes)");
    }
}
