//! Reads releases, and takes the input as a signed keyring and as a signed manifest.
#![no_main]

use esplice_ota::{Device, Refusal, Release, SecretKey, Trust, signed_manifest};

/// A keyring with one key, signed by the root of seed 1: see `esplice_ota::Keyring`.
fn keyring(key: &SecretKey) -> Vec<u8> {
    let mut bytes = vec![0x82, 0x73];
    bytes.extend(b"esplice-ota-keyring");
    // Schema 1, serial 1, issued 0, one key that does not expire before 2^32.
    bytes.extend([0xa4, 0, 1, 1, 1, 2, 0, 3, 0x81, 0x82, 0x58, 32]);
    bytes.extend(key.public().0);
    bytes.extend([0x1a, 0xff, 0xff, 0xff, 0xff]);
    bytes
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Release::parse(bytes);
    let key = SecretKey::from_seed(&[1; 32]);
    let (trust, device) = (Trust::new(key.public()), Device::default());
    let keyring = keyring(&key);
    let as_manifest = Release {
        keyring: &keyring,
        keyring_signature: key.sign(&keyring),
        manifest: bytes,
        key: 0,
        signature: key.sign(bytes),
    };
    match trust.check(&as_manifest, &device) {
        Ok(accepted) => assert_eq!(signed_manifest(&accepted.manifest), bytes),
        Err(error) => assert!(!matches!(error, Refusal::KeyringSignature | Refusal::Signature)),
    }
    let as_keyring = Release { keyring: bytes, keyring_signature: key.sign(bytes), ..as_manifest };
    let _ = trust.check(&as_keyring, &device);
});
