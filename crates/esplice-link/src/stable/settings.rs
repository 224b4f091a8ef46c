//! Settings for the room that sections get, and for when a link starts over.

use super::items::Item;

/// Maximum room after a variable, in bytes.
const VARIABLE: u32 = 64;
/// Divisor that yields the default tail of an output section from its length, within bounds.
const SHARE: u32 = 32;
/// Divisor that yields the lower bound from the upper one.
const LEAST: u32 = 8;

/// Room after sections and zones, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Names of the crates being edited, as in symbols (`my_app`); only these get room.
    pub own: Vec<String>,
    /// Room after each of their functions and variables: bytes, and percent of its length.
    pub code: (u32, u32),
    /// Room after each string that they use: bytes, and percent of its length.
    pub texts: (u32, u32),
    /// Room in each output section for new sections. Half of it follows the sections of the own
    /// crates, if there are any, and the rest is at the end.
    pub tails: Vec<(String, Tail)>,
    /// Percent of the linked bytes that may be lost in gaps before everything is laid out again.
    pub waste: u32,
}

/// Room at the end of an output section, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// This number of bytes.
    Fixed(u32),
    /// A share of the section's length, at most this many bytes: a small program grows by little.
    Share(u32),
}

impl Tail {
    /// Returns one of `parts` equal parts of the room in a section of length `len`.
    pub(crate) fn part_of(self, len: u32, parts: u32) -> u32 {
        match self {
            Tail::Fixed(tail) => tail / parts,
            Tail::Share(most) => (len / (SHARE * parts)).clamp(most / LEAST / parts, most / parts),
        }
    }

    /// Returns the same for `output` as an expression for the linker.
    pub(crate) fn expression(self, output: &str, parts: u32) -> String {
        match self {
            Tail::Fixed(tail) => (tail / parts).to_string(),
            Tail::Share(most) => format!(
                "MAX({}, MIN({}, (ABSOLUTE(.) - ADDR({output})) / {}))",
                most / LEAST / parts,
                most / parts,
                SHARE * parts
            ),
        }
    }
}

impl Default for Settings {
    /// Returns values measured on a firmware of 570 KB: one-line edits change 3 to 12 sectors of
    /// 4 KB, and the image is 2.4 % larger.
    fn default() -> Settings {
        let tails = [
            (".text", 4096),
            (".rodata", 1024),
            (".bss", 512),
            (".data", 128),
            (".rwtext", 128),
            (".trap", 32),
        ];
        Settings {
            own: Vec::new(),
            code: (32, 2),
            texts: (16, 25),
            tails: tails.map(|(name, most)| (name.to_owned(), Tail::Share(most))).to_vec(),
            waste: 4,
        }
    }
}

impl Settings {
    /// Returns the room at the end of an output section.
    pub(crate) fn tail(&self, output: &str) -> Tail {
        self.tails.iter().find(|(name, _)| name == output).map_or(Tail::Fixed(0), |(_, tail)| *tail)
    }

    /// Returns the room after a section, in bytes.
    pub(crate) fn slack(&self, item: &Item) -> u32 {
        let (bytes, percent) = match item {
            Item { own: false, .. } => return 0,
            Item { anonymous: false, piece: false, .. } => self.code,
            Item { align: 0 | 1, .. } => self.texts,
            // Tables and source locations do not grow by an edit.
            _ => return 0,
        };
        // Room in RAM is scarce, and a heap or a buffer does not grow by an edit.
        let most = if item.writable { VARIABLE } else { u32::MAX };
        let share = u64::from(item.size) * u64::from(percent) / 100;
        bytes.saturating_add(u32::try_from(share).unwrap_or(u32::MAX)).min(most)
    }

    /// Returns whether a mangled name contains that of an own crate, such as `6my_app`.
    pub(crate) fn is_own(&self, name: &str) -> bool {
        self.own.iter().any(|own| {
            let mangled = format!("{}{own}", own.len());
            name.match_indices(&mangled).any(|(at, _)| {
                let before = name.get(..at).and_then(|before| before.bytes().last());
                !before.is_some_and(|byte| byte.is_ascii_digit())
            })
        })
    }

    /// Returns a text that differs if any setting differs.
    pub(crate) fn text(&self) -> String {
        format!("{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, Tail};

    #[test]
    fn tails_are_a_share_within_bounds_unless_they_are_given() {
        let given = ("own".to_owned(), Tail::Fixed(100));
        let mut settings = Settings::default();
        settings.tails.push(given);
        for (output, len, tail) in [
            (".text", 0, 512),
            (".text", 32_000, 1000),
            (".text", 1 << 30, 4096),
            (".bss", 400, 64),
            ("own", 0, 100),
            ("own", 1 << 20, 100),
            (".other", 1 << 20, 0),
        ] {
            assert_eq!(settings.tail(output).part_of(len, 1), tail, "{output} of {len}");
            assert_eq!(
                settings.tail(output).part_of(len, 2),
                tail / 2,
                "half of {output} of {len}"
            );
        }
    }
}
