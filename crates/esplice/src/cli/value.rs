//! Parsers for values on the command line, in environment variables and in `esplice.toml`.

use std::time::Duration;

use esplice_flash::Strategy;
use esplice_image::{BootLayout, ImageSource, NameError, SecurePad};
use esplice_monitor::{Addresses, Filter, FilterError};

/// Notation of a value: how it is parsed and how it is printed.
pub struct Form<T> {
    pub parse: fn(&str) -> Result<T, String>,
    pub show: fn(&T) -> String,
}

pub const TEXT: Form<String> = Form { parse: |text| Ok(text.to_owned()), show: String::clone };
pub const SWITCH: Form<bool> = Form { parse: switch, show: bool::to_string };
pub const BAUD: Form<u32> = Form { parse: baud, show: u32::to_string };
pub const SIZE: Form<u32> = Form { parse: offset, show: u32::to_string };
pub const BYTES: Form<u32> = Form { parse: bytes, show: u32::to_string };
pub const OFFSET: Form<u32> = Form { parse: offset, show: |offset| format!("{offset:#x}") };
pub const DURATION: Form<Duration> = Form { parse: duration, show: duration_text };
pub const RESET: Form<ResetChoice> = Form { parse: reset, show: ResetChoice::to_string };
pub const BOOT: Form<BootLayout> = Form { parse: boot, show: BootLayout::to_string };
pub const REVISION: Form<u16> = Form { parse: revision, show: revision_text };
pub const SECURE_PAD: Form<SecurePad> = Form { parse: secure_pad, show: secure_pad_text };
pub const IMAGE_SOURCE: Form<ImageSource> = Form { parse: image_source, show: image_source_text };

/// Parses a duration: a number and its unit, such as `500ms`, `5s`, `1.5s` or `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "" => return Err(format!("{text:?} has no unit; write it as 5s or 500ms")),
        _ => return Err(format!("{text:?} is not a duration such as 5s or 500ms")),
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * factor).ok())
        .ok_or_else(|| format!("{text:?} is not a duration such as 5s or 500ms"))
}

/// Formats a duration as [`duration`] parses it.
pub fn duration_text(value: &Duration) -> String {
    if value.subsec_millis() == 0 {
        format!("{}s", value.as_secs())
    } else {
        format!("{}ms", value.as_millis())
    }
}

/// Parses the filter for log lines.
pub fn filter(text: &str) -> Result<Filter, String> {
    text.parse().map_err(|error: FilterError| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

/// Parses which addresses outside of panics are decoded.
pub fn addresses(text: &str) -> Result<Addresses, String> {
    match text {
        "reports" => Ok(Addresses::Reports),
        "all" => Ok(Addresses::All),
        "none" => Ok(Addresses::Ignored),
        _ => Err("must be reports, all or none".into()),
    }
}

/// Reset strategies, with the text that they were parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetChoice {
    /// Strategies to be tried in turn.
    pub strategies: Vec<Strategy>,
    text: String,
}

impl std::fmt::Display for ResetChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parses reset strategies.
pub fn reset(text: &str) -> Result<ResetChoice, String> {
    match Strategy::parse(text) {
        Ok(strategies) => Ok(ResetChoice { strategies, text: text.to_owned() }),
        Err(error) => Err(match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        }),
    }
}

/// Parses a baud rate.
pub fn baud(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a baud rate such as 921600")),
        Ok(baud) => Ok(baud),
    }
}

/// Parses an offset in flash, decimal or hex.
pub fn offset(text: &str) -> Result<u32, String> {
    esplice_chip::parse_size(text)
        .ok_or_else(|| format!("{text:?} is not an offset such as 0x10000"))
}

/// Parses a number of bytes above zero.
pub fn bytes(text: &str) -> Result<u32, String> {
    esplice_chip::parse_size(text)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("{text:?} is not a size such as 4K or 4096"))
}

/// Parses the boot method of an image.
pub fn boot(text: &str) -> Result<BootLayout, String> {
    text.parse().map_err(|error: NameError| error.to_string())
}

/// Parses a chip revision, such as 1.3, into the encoding of image headers: major × 100 + minor.
pub fn revision(text: &str) -> Result<u16, String> {
    let wrong = || format!("{text:?} is not a chip revision such as 1.3");
    let (major, minor) = text.trim_start_matches('v').split_once('.').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    let (major, minor) = (number(major)?, number(minor)?);
    let whole = major.checked_mul(100).and_then(|hundreds| hundreds.checked_add(minor));
    whole.filter(|_| minor < 100).ok_or_else(wrong)
}

/// Formats a revision as the user writes it.
pub fn revision_text(revision: &u16) -> String {
    format!("{}.{}", revision / 100, revision % 100)
}

/// Parses a version of Secure Boot.
pub fn secure_pad(text: &str) -> Result<SecurePad, String> {
    match text {
        "v1" => Ok(SecurePad::V1),
        "v2" => Ok(SecurePad::V2),
        _ => Err(format!("{text:?} is neither v1 nor v2")),
    }
}

/// Formats a version of Secure Boot.
pub fn secure_pad_text(pad: &SecurePad) -> String {
    match pad {
        SecurePad::V1 => "v1".into(),
        SecurePad::V2 => "v2".into(),
    }
}

/// Parses which parts of an ELF are used.
pub fn image_source(text: &str) -> Result<ImageSource, String> {
    match text {
        "auto" => Ok(ImageSource::Auto),
        "sections" => Ok(ImageSource::Sections),
        "segments" => Ok(ImageSource::ProgramHeaders),
        _ => Err(format!("{text:?} is not one of auto, sections, segments")),
    }
}

/// Formats which parts of an ELF are used.
pub fn image_source_text(source: &ImageSource) -> String {
    match source {
        ImageSource::Auto => "auto".into(),
        ImageSource::Sections => "sections".into(),
        ImageSource::ProgramHeaders => "segments".into(),
    }
}

/// Parses a switch.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, millis: u64| {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        };
        check("5s", 5000);
        check("500ms", 500);
        check("1.5s", 1500);
        check("2m", 120_000);
        check("0s", 0);
        for bad in ["", "s", "5", "5 s", "-5s", "5h", "1e9s", "..s", "99999999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for text in ["5s", "500ms", "0s"] {
            assert_eq!(duration_text(&duration(text).unwrap()), text);
        }
    }

    #[test]
    fn baud_rates_are_above_zero() {
        assert_eq!(baud("921600"), Ok(921_600));
        for bad in ["0", "-1", "fast", "", "99999999999"] {
            assert!(baud(bad).is_err(), "{bad}");
        }
    }
}
