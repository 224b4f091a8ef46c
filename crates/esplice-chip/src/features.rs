//! The rule by which cargo features name a chip, shared by `esplice build` and build scripts.

use crate::{Chip, chip_names, find};

/// The chip that a package's enabled features name.
#[derive(Debug, Clone)]
pub enum FeatureChip {
    /// No feature has the name of a chip.
    None,
    /// Exactly one chip is named.
    One(&'static Chip),
    /// More than one chip is named.
    Several(Vec<String>),
}

/// Returns the chip named by `enabled`, all enabled features of a package. A feature names a chip
/// if it is spelled exactly like the chip's name, such as `esp32c3`.
///
/// ```
/// use esplice_chip::{FeatureChip, chip_from_features};
///
/// let FeatureChip::One(chip) = chip_from_features(&["default", "esp32c3"]) else { panic!() };
/// assert_eq!(chip.name, "esp32c3");
/// assert!(matches!(chip_from_features(&["esp32c3-board"]), FeatureChip::None));
/// ```
pub fn chip_from_features<S: AsRef<str>>(enabled: &[S]) -> FeatureChip {
    let mut names: Vec<&str> = chip_names();
    names.retain(|name| enabled.iter().any(|feature| feature.as_ref() == *name));
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => FeatureChip::None,
        [one] => find(one).map_or(FeatureChip::None, FeatureChip::One),
        several => FeatureChip::Several(several.iter().map(|name| (*name).to_owned()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_name_chips() {
        let check = |enabled: &str, expected: &str| {
            let enabled: Vec<&str> = enabled.split_whitespace().collect();
            let found = match chip_from_features(&enabled) {
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
