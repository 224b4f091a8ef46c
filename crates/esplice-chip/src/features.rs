//! The rule by which cargo features name a chip, shared by `esplice build` and build scripts.

use std::sync::Arc;

use crate::{Chip, ChipDb};

/// The chip that a package's enabled features name.
#[derive(Debug, Clone)]
pub enum FeatureChip {
    /// No feature has the name of a chip.
    None,
    /// Exactly one chip is named.
    One(Arc<Chip>),
    /// More than one chip is named.
    Several(Vec<String>),
}

impl ChipDb {
    /// Returns the chip named by `enabled`, all enabled features of a package. A feature names a
    /// chip if it is spelled exactly like the chip's name, such as `esp32c3`.
    ///
    /// ```
    /// use esplice_chip::{ChipDb, FeatureChip};
    ///
    /// let of_features = |enabled: &[&str]| ChipDb::embedded().chip_from_features(enabled);
    /// let FeatureChip::One(chip) = of_features(&["default", "esp32c3"]) else { panic!() };
    /// assert_eq!(chip.name, "esp32c3");
    /// assert!(matches!(of_features(&["esp32c3-board"]), FeatureChip::None));
    /// ```
    pub fn chip_from_features<S: AsRef<str>>(&self, enabled: &[S]) -> FeatureChip {
        let mut names: Vec<&str> = self.chip_names();
        names.retain(|name| enabled.iter().any(|feature| feature.as_ref() == *name));
        names.sort_unstable();
        names.dedup();
        match names.as_slice() {
            [] => FeatureChip::None,
            [one] => {
                self.find(one).map_or(FeatureChip::None, |chip| FeatureChip::One(chip.clone()))
            }
            several => FeatureChip::Several(several.iter().map(|name| (*name).into()).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_name_chips() {
        let check = |enabled: &str, expected: &str| {
            let enabled: Vec<&str> = enabled.split_whitespace().collect();
            let found = match ChipDb::embedded().chip_from_features(&enabled) {
                FeatureChip::None => String::new(),
                FeatureChip::One(chip) => chip.name.clone(),
                FeatureChip::Several(names) => names.join(" "),
            };
            assert_eq!(found, expected, "{enabled:?}");
        };
        check("", "");
        check("wifi esp-hal", "");
        check("wifi esp32c3", "esp32c3");
        check("esp32c3 esp32c3", "esp32c3");
        check("esp32h2 esp32c6 std", "esp32c6 esp32h2");
        check("ESP32C3 esp32-c3 esp32c3x", "");
    }
}
