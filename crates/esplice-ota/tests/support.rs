//! Keys and releases.

use esplice_ota::{Device, Keyring, Manifest, Payload, SecretKey, SigningKey, Trust};

/// Times, in seconds since 1970.
pub const YEAR: u64 = 31_536_000;
pub const NOW: u64 = 1_800_000_000;

pub const DEVICE: Device<'static> = Device {
    vendor: "acme",
    class: "thermostat",
    chip: "esp32c3",
    running_sha256: Some([1; 32]),
    slot_len: 1000,
    clock: None,
};

pub fn root() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[100 + number; 32])
}

pub fn trust() -> Trust {
    Trust::new(root().public())
}

pub fn manifest() -> Manifest<'static> {
    Manifest {
        vendor: "acme",
        class: "thermostat",
        chip: "esp32c3",
        version: "1.2.0",
        counter: 3,
        issued: NOW,
        expires: NOW + YEAR,
        image_len: 900,
        image_sha256: [2; 32],
        base_sha256: Some([1; 32]),
        payload: Payload { url: "/fw/1.2.0", len: 77, sha256: [3; 32] },
    }
}

/// Returns a keyring file with keys of these numbers, each valid for two years.
pub fn keyring(serial: u32, keys: &[u8]) -> Vec<u8> {
    let keys: Vec<SigningKey> = keys
        .iter()
        .map(|number| SigningKey { public: key(*number).public(), expires: NOW + 2 * YEAR })
        .collect();
    let keyring = Keyring { serial, issued: NOW - YEAR, keys: &keys, next_root: None };
    root().sign_keyring(&keyring).unwrap()
}

/// Returns a release of a manifest by key 0.
pub fn release(manifest: &Manifest<'_>) -> Vec<u8> {
    key(0).sign_manifest(&keyring(1, &[0]), manifest).unwrap()
}
