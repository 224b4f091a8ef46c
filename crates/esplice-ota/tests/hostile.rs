//! Releases that were altered: every one is refused.

use esplice_ota::{
    Keyring, Manifest, Payload, PublicKey, Refusal, Release, SigningKey, signed_manifest,
};
use proptest::prelude::*;

use crate::support::{DEVICE, NOW, YEAR, key, keyring, manifest, release, root, trust};

fn check(release: &[u8]) -> Result<(), Refusal> {
    trust().check(&Release::parse(release)?, &DEVICE).map(|_| ())
}

#[test]
fn each_bit_of_a_release_matters() {
    let release = release(&manifest());
    assert_eq!(check(&release), Ok(()));
    for at in 0..release.len() {
        for bit in 0..8 {
            let mut altered = release.clone();
            altered[at] ^= 1 << bit;
            assert!(check(&altered).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn truncated_and_extended_releases_are_refused() {
    let release = release(&manifest());
    for len in 0..release.len() {
        assert_eq!(check(&release[..len]), Err(Refusal::Malformed), "{len} bytes");
    }
    assert_eq!(check(&[&release[..], &[0]].concat()), Err(Refusal::Malformed));
}

/// Each field is altered as an attacker would, in a manifest that keeps its signature.
#[test]
fn each_field_is_signed() {
    let original = release(&manifest());
    let original = Release::parse(&original).unwrap();
    let payload = manifest().payload;
    let altered: [(&str, Manifest<'_>); 14] = [
        ("vendor", Manifest { vendor: "acmf", ..manifest() }),
        ("class", Manifest { class: "thermostau", ..manifest() }),
        ("chip", Manifest { chip: "esp32c4", ..manifest() }),
        ("version", Manifest { version: "1.2.1", ..manifest() }),
        ("counter", Manifest { counter: 4, ..manifest() }),
        ("issued", Manifest { issued: NOW + 1, ..manifest() }),
        ("expires", Manifest { expires: NOW + 2 * YEAR, ..manifest() }),
        ("image_len", Manifest { image_len: 901, ..manifest() }),
        ("image_sha256", Manifest { image_sha256: [4; 32], ..manifest() }),
        ("base_sha256", Manifest { base_sha256: Some([4; 32]), ..manifest() }),
        ("no base", Manifest { base_sha256: None, ..manifest() }),
        ("url", Manifest { payload: Payload { url: "/fw/1.2.1", ..payload }, ..manifest() }),
        ("payload len", Manifest { payload: Payload { len: 78, ..payload }, ..manifest() }),
        (
            "payload sha256",
            Manifest { payload: Payload { sha256: [4; 32], ..payload }, ..manifest() },
        ),
    ];
    for (name, altered) in altered {
        let bytes = signed_manifest(&altered);
        let release = Release { manifest: &bytes, ..original };
        let refused = trust().check(&release, &DEVICE).map(|_| ());
        assert_eq!(refused, Err(Refusal::Signature), "{name}");
    }
    let same = signed_manifest(&manifest());
    assert!(trust().check(&Release { manifest: &same, ..original }, &DEVICE).is_ok());
}

/// The classes of bytes of a signature: R, S, S plus the order of the group, and all zero.
#[test]
fn altered_signatures_are_refused() {
    let bytes = release(&manifest());
    let original = Release::parse(&bytes).unwrap();
    let mut signatures = Vec::new();
    for at in 0..64 {
        let mut signature = original.signature;
        signature[at] ^= 0x10;
        signatures.push(signature);
    }
    // S + L is congruent to S: a verifier that does not check the range takes it.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut malleable = original.signature;
    let mut carry = 0;
    for (byte, order) in malleable[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    signatures.extend([malleable, [0; 64], [0xff; 64]]);
    // The keyring's signature by the root key is not one of the manifest, nor the reverse.
    signatures.push(original.keyring_signature);
    for signature in signatures {
        let refused = trust().check(&Release { signature, ..original }, &DEVICE).map(|_| ());
        assert_eq!(refused, Err(Refusal::Signature));
        let keyring_signature =
            if signature == original.keyring_signature { original.signature } else { signature };
        let refused =
            trust().check(&Release { keyring_signature, ..original }, &DEVICE).map(|_| ());
        assert_eq!(refused, Err(Refusal::KeyringSignature));
    }
}

/// A point of small order, for which a signature of anything can be made.
#[test]
fn weak_keys_are_refused() {
    let mut weak = [0; 32];
    weak[0] = 1;
    let signature = [&weak[..], &[0; 32]].concat();
    assert!(!PublicKey(weak).verify(b"anything", &signature));
}

#[test]
fn keys_outside_the_keyring_are_refused() {
    let bytes = release(&manifest());
    let original = Release::parse(&bytes).unwrap();
    for number in [1, 7, 8, 255] {
        let refused = trust().check(&Release { key: number, ..original }, &DEVICE).map(|_| ());
        assert_eq!(refused, Err(Refusal::UnknownKey), "{number}");
    }
    // A keyring that its own signing key signed.
    let keys = [SigningKey { public: key(0).public(), expires: NOW + YEAR }];
    let own = Keyring { serial: 9, issued: 0, keys: &keys, next_root: None };
    let own = key(0).sign_keyring(&own).unwrap();
    let release = key(0).sign_manifest(&own, &manifest()).unwrap();
    assert_eq!(check(&release), Err(Refusal::KeyringSignature));
}

/// A manifest is never taken for a keyring, no matter which key signed it.
#[test]
fn signatures_do_not_change_their_meaning() {
    let manifest = signed_manifest(&manifest());
    let by_root = root().sign(&manifest);
    let bytes = release(&crate::support::manifest());
    let original = Release::parse(&bytes).unwrap();
    let release = Release { keyring: &manifest, keyring_signature: by_root, ..original };
    assert_eq!(trust().check(&release, &DEVICE).map(|_| ()), Err(Refusal::Malformed));
    let signed = keyring(1, &[0]);
    let release = Release { manifest: &signed, signature: key(0).sign(&signed), ..original };
    assert_eq!(trust().check(&release, &DEVICE).map(|_| ()), Err(Refusal::Malformed));
}

/// The same content in another encoding, with right signatures.
#[test]
fn only_one_encoding_is_taken() {
    let manifest = signed_manifest(&manifest());
    let bytes = release(&crate::support::manifest());
    let original = Release::parse(&bytes).unwrap();
    let refused = |bytes: &[u8]| {
        let release = Release { manifest: bytes, signature: key(0).sign(bytes), ..original };
        trust().check(&release, &DEVICE).map(|_| ()).unwrap_err()
    };
    assert_eq!(refused(&[&manifest[..], &[0]].concat()), Refusal::Malformed);
    assert_eq!(refused(&manifest[..manifest.len() - 1]), Refusal::Malformed);
    // An array of two, but with the length in a byte of its own.
    assert_eq!(refused(&[&[0x98, 2], &manifest[1..]].concat()), Refusal::Malformed);
    // Schema 2 in the place of schema 1, which follows the map's head and key 0.
    let at = 1 + 1 + "esplice-ota-manifest".len() + 1;
    assert_eq!(manifest[at..at + 2], [0, 1]);
    let mut later = manifest.clone();
    later[at + 1] = 2;
    assert_eq!(refused(&later), Refusal::Schema { schema: 2 });
}

proptest! {
    #[test]
    fn made_up_releases_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(check(&bytes).is_err());
    }

    /// Anything that a signing key has signed is read without harm.
    #[test]
    fn signed_nonsense_is_refused(
        at in any::<prop::sample::Index>(),
        put in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let mut bytes = signed_manifest(&manifest());
        let at = at.index(bytes.len());
        let end = (at + put.len()).min(bytes.len());
        bytes.splice(at..end, put);
        let original = release(&manifest());
        let original = Release::parse(&original).unwrap();
        let release = Release { manifest: &bytes, signature: key(0).sign(&bytes), ..original };
        if let Ok(accepted) = trust().check(&release, &DEVICE) {
            prop_assert_eq!(signed_manifest(&accepted.manifest), bytes);
        }
    }
}
