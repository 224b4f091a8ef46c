//! Entries that ESP-IDF's generator adds to the settings of Wi-Fi.
//!
//! With the keys `sta.ssid` or `sta.pswd` it adds an empty record of the last access point; with
//! `ap.ssid`, `ap.passwd` and `ap.authmode` together, the pairwise master key.

use sha1::Sha1;

/// A key and its bytes.
type Added = (&'static str, Vec<u8>);

/// Rounds of the key derivation. Source: IEEE 802.11-2020, J.4.1.
const ROUNDS: u32 = 4096;
/// Bytes before the key in `ap.pmk_info`, as the generator writes it.
const PMK_PREFIX: usize = 100;

/// Settings seen so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wifi {
    ssid: String,
    password: String,
    mode: String,
    has_station: bool,
}

/// Entries to add to a row.
pub(crate) struct Addition {
    pub(crate) before: Vec<Added>,
    pub(crate) after: Vec<Added>,
    pub(crate) state: Wifi,
}

impl Wifi {
    /// Returns what to add to the row of this key, whose value is `text` in the CSV.
    pub(crate) fn with(mut self, key: &str, text: &str) -> Addition {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        match key {
            "ap.ssid" => self.ssid = text.to_owned(),
            "ap.passwd" => self.password = text.to_owned(),
            // The mode 0 is an open network, which has no key.
            "ap.authmode" if text != "0" => self.mode = text.to_owned(),
            _ => {}
        }
        let is_access_point = matches!(key, "ap.ssid" | "ap.passwd" | "ap.authmode");
        let complete = ![&self.ssid, &self.password, &self.mode].iter().any(|text| text.is_empty());
        if is_access_point && complete {
            let mut bytes = vec![0; PMK_PREFIX + 32];
            let (password, ssid) = (self.password.as_bytes(), self.ssid.as_bytes());
            pbkdf2::pbkdf2_hmac::<Sha1>(password, ssid, ROUNDS, &mut bytes[PMK_PREFIX..]);
            before.push(("ap.pmk_info", bytes));
        }
        if matches!(key, "sta.ssid" | "sta.pswd") && !self.has_station {
            self.has_station = true;
            after.push(("sta.apinfo", vec![0xff; 140]));
            after.push(("sta.pmk", vec![0; 32]));
            after.push(("sta.apsw", vec![0; 2]));
        }
        Addition { before, after, state: self }
    }
}
