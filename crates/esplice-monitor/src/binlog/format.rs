//! Formatting like C's `printf`, with the arguments as sent by ESP-IDF's binary log.

use super::Texts;

/// Maximum field width and precision. No log line needs more.
const WIDEST: usize = 256;

/// The arguments of a packet.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    /// The remaining bytes.
    pub bytes: &'a [u8],
    /// The texts of the ELF, for strings given by address.
    pub texts: Option<&'a Texts>,
}

impl<'a> Arguments<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Returns the bytes of a string stored in the packet itself.
    fn embedded(&mut self) -> Option<&'a [u8]> {
        let [high, low, ..] = self.bytes else { return None };
        if high & 0xfc != 0xfc {
            return None;
        }
        let len = 1 - i32::from(i16::from_be_bytes([*high, *low]));
        self.take(2)?;
        self.take(usize::try_from(len).ok()?)
    }

    /// Returns a string, or a placeholder for an unknown one.
    pub fn string(&mut self) -> Option<String> {
        if self.bytes.first().is_some_and(|high| high & 0xfc == 0xfc) {
            let bytes = self.embedded()?;
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            return Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned());
        }
        let addr = self.u32()?;
        let text = self.texts.and_then(|texts| texts.string(addr));
        Some(text.unwrap_or_else(|| format!("<text at {addr:#010x}, not in the ELF>")))
    }

    /// Returns a buffer of `len` bytes.
    pub fn buffer(&mut self, len: usize) -> Option<Vec<u8>> {
        if self.bytes.first().is_some_and(|high| high & 0xfc == 0xfc) {
            let bytes = self.embedded()?;
            return Some(bytes.get(..len).unwrap_or(bytes).to_vec());
        }
        let addr = self.u32()?;
        self.texts?.buffer(addr, len).map(<[u8]>::to_vec)
    }
}

/// One conversion specification (`%…`).
#[derive(Debug, Default, Clone)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    /// Length modifier as written: `hh`, `h`, `ll`, …
    length: String,
    conversion: char,
}

/// Returns `format` with its arguments filled in. If they run out, the rest of the format is
/// copied.
pub(crate) fn formatted(format: &str, arguments: &mut Arguments<'_>) -> String {
    let mut text = String::with_capacity(format.len());
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let Some((spec, behind)) = spec(from, arguments) else {
            text.push('%');
            rest = from.get(1..).unwrap_or_default();
            continue;
        };
        match shown(&spec, arguments) {
            Some(shown) => text.push_str(&shown),
            None => {
                text.push_str(from);
                return text;
            }
        }
        rest = behind;
    }
    text.push_str(rest);
    text
}

/// Parses the specification at the start of `text`. Returns it with the text that follows.
fn spec<'t>(text: &'t str, arguments: &mut Arguments<'_>) -> Option<(Spec, &'t str)> {
    let mut spec = Spec::default();
    let mut rest = text.strip_prefix('%')?;
    loop {
        match rest.chars().next()? {
            '-' => spec.left = true,
            '+' => spec.plus = true,
            ' ' => spec.space = true,
            '#' => spec.alternate = true,
            '0' => spec.zero = true,
            _ => break,
        }
        rest = rest.get(1..)?;
    }
    let mut number = |rest: &mut &'t str| -> Option<i64> {
        if let Some(behind) = rest.strip_prefix('*') {
            *rest = behind;
            return Some((arguments.u32()? as i32).into());
        }
        let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, behind) = rest.split_at(end);
        *rest = behind;
        Some(digits.parse().unwrap_or(0))
    };
    let bounded =
        |number: i64| usize::try_from(number.unsigned_abs()).map_or(WIDEST, |n| n.min(WIDEST));
    let width = number(&mut rest)?;
    spec.left |= width < 0;
    spec.width = bounded(width);
    if let Some(behind) = rest.strip_prefix('.') {
        rest = behind;
        let precision = number(&mut rest)?;
        spec.precision = (precision >= 0).then(|| bounded(precision));
    }
    let end = rest.find(|char: char| !"hlzjtLq".contains(char))?;
    spec.length = rest.get(..end)?.to_owned();
    let rest = rest.get(end..)?;
    spec.conversion = rest.chars().next()?;
    let is_known = "diuoxXfFeEgGaAcsSp%".contains(spec.conversion);
    is_known.then(|| (spec, rest.get(1..).unwrap_or_default()))
}

/// Formats the next argument as `spec` requires. Returns `None` if there is none.
fn shown(spec: &Spec, arguments: &mut Arguments<'_>) -> Option<String> {
    Some(match spec.conversion {
        '%' => "%".into(),
        'd' | 'i' => {
            let value = match spec.length.as_str() {
                "ll" | "j" | "q" => arguments.u64()? as i64,
                "h" => i64::from(arguments.u32()? as i16),
                "hh" => i64::from(arguments.u32()? as i8),
                _ => i64::from(arguments.u32()? as i32),
            };
            let sign = sign(spec, value < 0);
            padded(
                spec,
                sign,
                &digits(spec, value.unsigned_abs().to_string()),
                spec.precision.is_none(),
            )
        }
        'u' | 'o' | 'x' | 'X' => {
            let value = match spec.length.as_str() {
                "ll" | "j" | "q" => arguments.u64()?,
                "h" => (arguments.u32()? & 0xffff).into(),
                "hh" => (arguments.u32()? & 0xff).into(),
                _ => arguments.u32()?.into(),
            };
            let text = match spec.conversion {
                'u' => value.to_string(),
                'o' => format!("{value:o}"),
                'x' => format!("{value:x}"),
                _ => format!("{value:X}"),
            };
            let prefix = match spec.conversion {
                'o' if spec.alternate && !text.starts_with('0') => "0",
                'x' if spec.alternate && value != 0 => "0x",
                'X' if spec.alternate && value != 0 => "0X",
                _ => "",
            };
            padded(spec, prefix, &digits(spec, text), spec.precision.is_none())
        }
        'p' => padded(spec, "0x", &format!("{:x}", arguments.u32()?), true),
        'c' => {
            let byte = arguments.u32()? as u8;
            padded(spec, "", &String::from_utf8_lossy(&[byte]), false)
        }
        's' | 'S' => {
            let text = arguments.string()?;
            let text: String = match spec.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text,
            };
            padded(spec, "", &text, false)
        }
        _ => {
            let value = f64::from_bits(arguments.u64()?);
            let text = float(spec, value.abs());
            padded(spec, sign(spec, value.is_sign_negative()), &text, value.is_finite())
        }
    })
}

fn sign(spec: &Spec, is_negative: bool) -> &'static str {
    match (is_negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    }
}

/// Adds leading zeros to reach the precision.
fn digits(spec: &Spec, text: String) -> String {
    match spec.precision {
        Some(0) if text == "0" => String::new(),
        Some(least) => format!("{}{text}", "0".repeat(least.saturating_sub(text.len()))),
        None => text,
    }
}

/// Pads the text to its field width. Zeros go between the prefix and the digits.
fn padded(spec: &Spec, prefix: &str, text: &str, may_zero: bool) -> String {
    let len = prefix.chars().count() + text.chars().count();
    let missing = spec.width.saturating_sub(len);
    match (spec.left, spec.zero && may_zero) {
        (true, _) => format!("{prefix}{text}{}", " ".repeat(missing)),
        (false, true) => format!("{prefix}{}{text}", "0".repeat(missing)),
        (false, false) => format!("{}{prefix}{text}", " ".repeat(missing)),
    }
}

/// Formats a number without its sign.
fn float(spec: &Spec, value: f64) -> String {
    let upper = spec.conversion.is_ascii_uppercase();
    let text = if value.is_nan() {
        "nan".to_owned()
    } else if value.is_infinite() {
        "inf".to_owned()
    } else {
        let precision = spec.precision.unwrap_or(6);
        match spec.conversion.to_ascii_lowercase() {
            'f' => format!("{value:.precision$}"),
            'g' => general(value, precision.max(1), spec.alternate),
            // `%a` is shown in decimal, since nobody reads hexadecimal mantissas.
            _ => exponential(value, precision),
        }
    };
    if upper { text.to_ascii_uppercase() } else { text }
}

/// Formats an exponent as C does, with a sign and at least two digits.
fn exponential(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn general(value: f64, precision: usize, keeps_zeros: bool) -> String {
    let text = exponential(value, precision - 1);
    let exponent = text.rsplit_once('e').and_then(|(_, e)| e.parse::<i64>().ok()).unwrap_or(0);
    let fits = exponent >= -4 && exponent < precision as i64;
    let trimmed = |text: &str| match text.contains('.') && !keeps_zeros {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if fits {
        let places = usize::try_from(precision as i64 - 1 - exponent).unwrap_or(0);
        return trimmed(&format!("{value:.places$}"));
    }
    match text.split_once('e') {
        Some((mantissa, exponent)) => format!("{}e{exponent}", trimmed(mantissa)),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, arguments: &[u64], wide: &[usize], expected: &str) {
        let bytes: Vec<u8> = arguments
            .iter()
            .enumerate()
            .flat_map(|(index, value)| {
                let bytes = value.to_be_bytes();
                if wide.contains(&index) { bytes.to_vec() } else { bytes[4..].to_vec() }
            })
            .collect();
        let mut arguments = Arguments { bytes: &bytes, texts: None };
        assert_eq!(formatted(format, &mut arguments), expected, "{format}");
    }

    const MINUS: u64 = -42_i64 as u64;

    /// The expected texts are those of C's `printf`.
    #[test]
    fn numbers_are_cs() {
        check("%d|%5d|%-5d|%05d|%+d|% d", &[42; 6], &[], "42|   42|42   |00042|+42| 42");
        check("%d|%5d|%05d", &[MINUS; 3], &[], "-42|  -42|-0042");
        check("%.5d|%8.5d|%08.5d", &[42; 3], &[], "00042|   00042|   00042");
        check("%u|%x|%X|%#x|%#o|%o", &[255; 6], &[], "255|ff|FF|0xff|0377|377");
        check("%08x|%#010x|%hx|%hhx", &[0xbeef; 4], &[], "0000beef|0x0000beef|beef|ef");
        check("%hd|%hhd", &[0xfffe, 0xfe], &[], "-2|-2");
        check("%lld|%llx|%lu", &[u64::MAX, 1 << 40, 7], &[0, 1], "-1|10000000000|7");
        check("%p|%c|%%|%zu", &[0x3ffb_0000, 65, 9], &[], "0x3ffb0000|A|%|9");
        check("%*d|%-*d|%.*d", &[5, 42, 5, 42, 4, 42], &[], "   42|42   |0042");
    }

    #[test]
    fn floats_are_cs() {
        let check = |format: &str, value: f64, expected: &str| {
            check(format, &[value.to_bits()], &[0], expected);
        };
        check("%f", 123.456, "123.456000");
        check("%.2f", -123.456, "-123.46");
        check("%10.2f", 3.254, "      3.25");
        check("%-10.2f|", 3.254, "3.25      |");
        check("%010.2f", -3.254, "-000003.25");
        check("%e", 123456.789, "1.234568e+05");
        check("%E", 0.000012, "1.200000E-05");
        check("%g", 123456.789, "123457");
        check("%g", 1_234_567.0, "1.23457e+06");
        check("%g", 0.0001, "0.0001");
        check("%f", f64::NAN, "nan");
        check("%F", f64::NEG_INFINITY, "-INF");
    }

    #[test]
    fn what_is_missing_or_unknown_stays() {
        check("%d of %d", &[1], &[], "1 of %d");
        check("100 % of %q %y", &[], &[], "100 % of %q %y");
        check("%", &[], &[], "%");
        check("%999999999d", &[1], &[], &format!("{}1", " ".repeat(WIDEST - 1)));
    }
}
