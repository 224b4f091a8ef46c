//! The ROM's printf: d D u U x X c s p %, flags - 0 + space #, width, precision, h l ll z.

use super::Work;

/// The memory and arguments of a call to printf.
pub(super) trait Source {
    /// Returns the next 32-bit argument.
    fn word(&mut self) -> u32;
    /// Returns the next 64-bit argument (in an even pair of registers, or aligned on the stack).
    fn long(&mut self) -> u64;
    /// Returns the bytes of a NUL-terminated string, at most `most`.
    fn text(&mut self, addr: u32, most: u32) -> Vec<u8>;
}

/// Longest output of one call; a longer one comes from a wild pointer.
const MOST: usize = 0x1000;

/// Formats `format`. Returns the output and the count that the ROM's function returns, and adds the
/// work other than sending characters to `work`.
pub(super) fn format(format: &[u8], source: &mut impl Source, work: &mut Work) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    // Characters that the ROM prints but does not count, and the length of the last number or
    // string. The ROM leaves that one short and uses it as the length of `%%` and unknown
    // conversions (ROM: `ets_vprintf`).
    let (mut uncounted, mut stale) = (0, 0_i32);
    let mut rest = format;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if out.len() > MOST {
            out.truncate(MOST);
            break;
        }
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut spec = Spec::default();
        let before = rest.len();
        rest = spec.parse(rest, source);
        work.add("flag", (before - rest.len()) as u64);
        let Some((&conversion, tail)) = rest.split_first() else { break };
        rest = tail;
        work.add(
            match conversion {
                b'c' => "character",
                b's' => "string",
                b'p' => "pointer",
                b'x' | b'X' => "hex-number",
                b'd' | b'D' | b'u' | b'U' => "number",
                b'%' => "percent",
                _ => "unknown",
            },
            1,
        );
        match conversion {
            b'c' | b's' | b'p' | b'd' | b'D' | b'u' | b'U' | b'x' | b'X' => {
                spec.convert(conversion, source, &mut out, work);
                uncounted += if conversion == b'p' { 2 } else { 0 };
                stale = if conversion == b'c' { stale } else { -1 };
            }
            other => {
                match other {
                    b'%' => uncounted += 1,
                    _ => out.push(b'%'),
                }
                out.push(other);
                let width = i32::try_from(spec.width).unwrap_or(i32::MAX);
                let fill = usize::try_from(width.saturating_sub(stale)).unwrap_or(0).min(MOST);
                let with = if spec.zero { b'0' } else { b' ' };
                out.extend(std::iter::repeat_n(with, fill));
                stale = stale.saturating_sub(1 + stale.max(0));
            }
        }
    }
    let count = out.len().saturating_sub(uncounted);
    (out, count)
}

#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    long: usize,
}

impl Spec {
    fn parse<'a>(&mut self, mut rest: &'a [u8], source: &mut impl Source) -> &'a [u8] {
        while let Some((&byte, tail)) = rest.split_first() {
            match byte {
                b'-' => self.left = true,
                b'0' => self.zero = true,
                b'+' => self.plus = true,
                b' ' => self.space = true,
                b'#' => self.alternate = true,
                _ => break,
            }
            rest = tail;
        }
        (self.width, rest) = number(rest, source);
        if let Some((b'.', tail)) = rest.split_first() {
            let (precision, tail) = number(tail, source);
            self.precision = Some(precision);
            rest = tail;
        }
        while let Some((&byte, tail)) = rest.split_first() {
            match byte {
                b'l' => self.long += 1,
                b'h' | b'z' | b't' => {}
                _ => break,
            }
            rest = tail;
        }
        rest
    }

    fn convert(
        &self,
        conversion: u8,
        source: &mut impl Source,
        out: &mut Vec<u8>,
        work: &mut Work,
    ) {
        match conversion {
            b'c' => self.pad(&[source.word() as u8], b"", out, work),
            b's' => {
                let addr = source.word();
                let most = self.precision.map_or(MOST as u32, |p| p as u32);
                let text = if addr == 0 { b"<null>".to_vec() } else { source.text(addr, most) };
                work.add("text", text.len() as u64);
                self.pad(&text, b"", out, work);
            }
            b'p' => {
                out.extend(b"0x");
                let digits = format!("{:x}", source.word());
                work.add("hex-digit", digits.len() as u64);
                Spec { zero: true, width: 8, ..Spec::default() }.number(digits, b"", out, work);
            }
            b'd' | b'D' => {
                let value = if self.long > 1 {
                    source.long() as i64
                } else {
                    i64::from(source.word() as i32)
                };
                let sign: &[u8] = match (value < 0, self.plus, self.space) {
                    (true, ..) => b"-",
                    (_, true, _) => b"+",
                    (_, _, true) => b" ",
                    _ => b"",
                };
                let digits = value.unsigned_abs().to_string();
                work.add("digit", digits.len() as u64);
                self.number(digits, sign, out, work);
            }
            b'u' | b'U' | b'x' | b'X' => {
                let value = if self.long > 1 { source.long() } else { u64::from(source.word()) };
                let digits = match conversion {
                    b'x' => format!("{value:x}"),
                    b'X' => format!("{value:X}"),
                    _ => value.to_string(),
                };
                let kind = if matches!(conversion, b'x' | b'X') { "hex-digit" } else { "digit" };
                work.add(kind, digits.len() as u64);
                let prefix: &[u8] = match (self.alternate && value != 0, conversion) {
                    (true, b'x') => b"0x",
                    (true, b'X') => b"0X",
                    _ => b"",
                };
                self.number(digits, prefix, out, work);
            }
            _ => {}
        }
    }

    fn number(&self, digits: String, prefix: &[u8], out: &mut Vec<u8>, work: &mut Work) {
        let zeros = self.precision.unwrap_or(0).min(MOST).saturating_sub(digits.len());
        let mut text = vec![b'0'; zeros];
        text.extend(digits.into_bytes());
        self.pad(&text, prefix, out, work);
    }

    fn pad(&self, text: &[u8], prefix: &[u8], out: &mut Vec<u8>, work: &mut Work) {
        let fill = self.width.min(MOST).saturating_sub(text.len() + prefix.len());
        work.add(if self.left { "left-fill" } else { "fill" }, fill as u64);
        let zeros = self.zero && !self.left && self.precision.is_none();
        if !self.left && !zeros {
            out.extend(std::iter::repeat_n(b' ', fill));
        }
        out.extend(prefix);
        if zeros {
            out.extend(std::iter::repeat_n(b'0', fill));
        }
        out.extend(text);
        if self.left {
            out.extend(std::iter::repeat_n(b' ', fill));
        }
    }
}

fn number<'a>(mut rest: &'a [u8], source: &mut impl Source) -> (usize, &'a [u8]) {
    if let Some((b'*', tail)) = rest.split_first() {
        return (source.word() as usize, tail);
    }
    let mut value = 0_usize;
    while let Some((&digit @ b'0'..=b'9', tail)) = rest.split_first() {
        value = value.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
        rest = tail;
    }
    (value, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Words(Vec<u32>);

    impl Source for Words {
        fn word(&mut self) -> u32 {
            if self.0.is_empty() { 0 } else { self.0.remove(0) }
        }
        fn long(&mut self) -> u64 {
            u64::from(self.word()) | u64::from(self.word()) << 32
        }
        fn text(&mut self, addr: u32, most: u32) -> Vec<u8> {
            let text: &[u8] = if addr == 1 { b"nvs" } else { b"WiFi data" };
            text.iter().copied().take(most as usize).collect()
        }
    }

    #[test]
    fn conversions() {
        for (text, args, expected) in [
            ("plain %%", vec![], "plain %"),
            (
                "I (%lu) %s: %2d %-16s|%02x %08lx",
                vec![41, 1, 0, 2, 1, 0x9000],
                "I (41) nvs:  0 WiFi data       |01 00009000",
            ),
            ("%d %D %u", vec![-5_i32 as u32, 7, u32::MAX], "-5 7 4294967295"),
            // Unknown conversions and percent signs are padded by the length left over from a
            // number.
            ("%i|%u%%|%i", vec![12], "%i|12% |%i  "),
            ("%5lxh (%6lu)", vec![0x1c40, 7232], " 1c40h (  7232)"),
            ("%-4d|%4d|%04d", vec![1, 2, -3_i32 as u32], "1   |   2|-003"),
            ("%p %#x %X", vec![0x3fcd_0000, 0x1f, 0xab], "0x3fcd0000 0x1f AB"),
            ("%llu %lld", vec![0, 1, u32::MAX, u32::MAX], "4294967296 -1"),
            ("%.2s %*d %.3d", vec![2, 4, 9, 5], "Wi    9 005"),
            ("%s", vec![0], "<null>"),
            ("%c%q%", vec![b'x'.into()], "x%q"),
        ] {
            let (out, _) = format(text.as_bytes(), &mut Words(args), &mut Work::default());
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn absurd_widths_are_bounded() {
        let mut work = Work::default();
        let (out, _) = format(b"%99999999999999999999d", &mut Words(vec![1]), &mut work);
        assert!(out.len() <= MOST);
    }
}
