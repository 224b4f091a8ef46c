//! How much room sections are given, and when a link starts anew.

use super::items::Item;

/// The most room behind a variable, in bytes.
const VARIABLE: u32 = 64;
/// By default an output section's tail is this part of it, within bounds.
const SHARE: u32 = 32;
/// The bounds: the most, and this part of the most.
const LEAST: u32 = 8;

/// Room behind sections and zones, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Names of the crates that are edited, as in symbols (`my_app`): theirs alone is given room.
    pub own: Vec<String>,
    /// Behind each of their functions and variables: bytes, and percent of its length.
    pub code: (u32, u32),
    /// Behind each text that they use: bytes, and percent of its length.
    pub texts: (u32, u32),
    /// In each output section, for what is new: half of it follows what belongs to the own crates,
    /// where there is any, and the rest is at the end.
    pub tails: Vec<(String, Tail)>,
    /// Percent of what is linked that may be lost in gaps before all is laid out anew.
    pub waste: u32,
}

/// Room at the end of an output section, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// This much.
    Fixed(u32),
    /// A share of the section's length, this much at most: a small program grows by little.
    Share(u32),
}

impl Tail {
    /// Returns one of `parts` equal parts of the room in a section that is `len` long.
    pub(crate) fn part_of(self, len: u32, parts: u32) -> u32 {
        match self {
            Tail::Fixed(tail) => tail / parts,
            Tail::Share(most) => (len / (SHARE * parts)).clamp(most / LEAST / parts, most / parts),
        }
    }

    /// Returns the same for `output`, for the linker to compute.
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
    /// As measured on a firmware of 570 KB: edits of a line change 3 to 12 sectors of 4 KB at 2.4 %
    /// more image.
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
    /// What stays free at the end of an output section.
    pub(crate) fn tail(&self, output: &str) -> Tail {
        self.tails.iter().find(|(name, _)| name == output).map_or(Tail::Fixed(0), |(_, tail)| *tail)
    }

    /// Bytes behind a section.
    pub(crate) fn slack(&self, item: &Item) -> u32 {
        let (bytes, percent) = match item {
            Item { own: false, .. } => return 0,
            Item { anonymous: false, piece: false, .. } => self.code,
            Item { align: 0 | 1, .. } => self.texts,
            // Tables and places in the source: they do not grow by an edit.
            _ => return 0,
        };
        // Room in RAM is dear, and a heap or a buffer does not grow by an edit.
        let most = if item.writable { VARIABLE } else { u32::MAX };
        let share = u64::from(item.size) * u64::from(percent) / 100;
        bytes.saturating_add(u32::try_from(share).unwrap_or(u32::MAX)).min(most)
    }

    /// Whether a name has one of the own crates' in it, as mangling writes it: `6my_app`.
    pub(crate) fn is_own(&self, name: &str) -> bool {
        self.own.iter().any(|own| {
            let mangled = format!("{}{own}", own.len());
            name.match_indices(&mangled).any(|(at, _)| {
                let before = name.get(..at).and_then(|before| before.bytes().last());
                !before.is_some_and(|byte| byte.is_ascii_digit())
            })
        })
    }

    /// A text that differs where a setting does.
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
