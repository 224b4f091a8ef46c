//! The patterns of linker scripts: `*`, `?`, `[a-z]`, and a backslash that escapes a character.

/// A pattern. Most are plain text, or text and a star; these are compared directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Glob {
    Any,
    Text(Vec<u8>),
    Prefix(Vec<u8>),
    Parts(Vec<Part>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Byte(u8),
    One,
    Star,
    Class { negated: bool, ranges: Vec<(u8, u8)> },
}

impl Glob {
    pub fn new(pattern: &str) -> Glob {
        let parts = parts(pattern.as_bytes());
        let text = |parts: &[Part]| -> Option<Vec<u8>> {
            let byte = |part: &Part| match part {
                Part::Byte(byte) => Some(*byte),
                _ => None,
            };
            parts.iter().map(byte).collect()
        };
        if parts == [Part::Star] {
            return Glob::Any;
        }
        if let Some(text) = text(&parts) {
            return Glob::Text(text);
        }
        match parts.split_last() {
            Some((Part::Star, head)) if text(head).is_some() => {
                Glob::Prefix(text(head).unwrap_or_default())
            }
            _ => Glob::Parts(parts),
        }
    }

    pub fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        match self {
            Glob::Any => true,
            Glob::Text(text) => text == name,
            Glob::Prefix(prefix) => name.starts_with(prefix),
            Glob::Parts(parts) => matches(parts, name),
        }
    }
}

fn parts(pattern: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let [first, after @ ..] = rest {
        rest = after;
        parts.push(match first {
            b'*' => Part::Star,
            b'?' => Part::One,
            b'[' => match class(after) {
                Some((part, after)) => {
                    rest = after;
                    part
                }
                None => Part::Byte(b'['),
            },
            b'\\' => match after {
                [escaped, after @ ..] => {
                    rest = after;
                    Part::Byte(*escaped)
                }
                [] => Part::Byte(b'\\'),
            },
            byte => Part::Byte(*byte),
        });
    }
    parts
}

/// Parses a class after its opening bracket. Returns it and the rest after the closing one.
fn class(text: &[u8]) -> Option<(Part, &[u8])> {
    let (negated, text) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    // A closing bracket in first position is literal.
    let end = text.iter().skip(1).position(|byte| *byte == b']')? + 1;
    let (mut inside, rest) = (text.get(..end)?, text.get(end + 1..)?);
    let mut ranges = Vec::new();
    while let [first, after @ ..] = inside {
        match after {
            [b'-', last, after @ ..] => {
                ranges.push((*first, *last));
                inside = after;
            }
            _ => {
                ranges.push((*first, *first));
                inside = after;
            }
        }
    }
    Some((Part::Class { negated, ranges }, rest))
}

/// Matches in linear time except for stars, of which only the last one is ever retried.
fn matches(parts: &[Part], name: &[u8]) -> bool {
    let (mut part, mut at) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    loop {
        let step = match (parts.get(part), name.get(at)) {
            (None, None) => return true,
            (Some(Part::Star), _) => {
                again = Some((part + 1, at));
                part += 1;
                continue;
            }
            (Some(Part::Byte(byte)), Some(found)) => byte == found,
            (Some(Part::One), Some(_)) => true,
            (Some(Part::Class { negated, ranges }), Some(found)) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(found)) != *negated
            }
            _ => false,
        };
        if step {
            (part, at) = (part + 1, at + 1);
            continue;
        }
        match &mut again {
            Some((after, from)) if *from < name.len() => {
                *from += 1;
                (part, at) = (*after, *from);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn patterns_match_as_the_linkers_do() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("*", &["", ".text"], &[]),
            (".text", &[".text"], &[".text.a", ".tex", ""]),
            (".text.*", &[".text.", ".text.a.b"], &[".text", ".rodata.a"]),
            (
                ".rodata.*_esp_hal_internal_handler*",
                &[".rodata.x_esp_hal_internal_handler", ".rodata._esp_hal_internal_handler_9"],
                &[".rodata.esp_hal_internal_handler"],
            ),
            ("*:esp_rom.*", &["/t/liba.rlib:esp_rom.o"], &["esp_rom.o", "a:esp_romx.o"]),
            ("*lib[a-c]?.a", &["/x/libb7.a"], &["/x/libd7.a", "/x/libb.a"]),
            ("[!.]*", &["COMMON"], &[".bss", ""]),
            ("a\\*b", &["a*b"], &["axb"]),
            ("a[b", &["a[b"], &["ab"]),
            ("*a*b*c", &["xaybzc", "aabbcc"], &["xaybz", "acb"]),
        ];
        for (pattern, good, bad) in cases {
            let glob = Glob::new(pattern);
            for name in *good {
                assert!(glob.matches(name), "{pattern} and {name:?}");
            }
            for name in *bad {
                assert!(!glob.matches(name), "{pattern} and {name:?}");
            }
        }
    }
}
