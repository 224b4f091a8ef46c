//! Releases that a device takes, and those that it refuses.

use esplice_ota::{
    Accepted, Device, Keyring, MakeError, Manifest, Payload, PublicKey, Refusal, Release,
    SecretKey, Signer, SigningKey, Trust, make_release,
};

use crate::support::{DEVICE, NOW, YEAR, key, keyring, manifest, release, root, trust};

fn check<'a>(
    release: &'a [u8],
    trust: &Trust,
    device: &Device<'_>,
) -> Result<Accepted<'a>, Refusal> {
    trust.check(&Release::parse(release)?, device)
}

#[test]
fn a_release_is_taken() {
    let release = release(&manifest());
    let accepted = check(&release, &trust(), &DEVICE).unwrap();
    assert_eq!(accepted.manifest, manifest());
    assert_eq!(accepted.key, key(0).public());
    assert_eq!(accepted.trust, Trust { keyring: 1, time: NOW, ..trust() });
    assert_eq!(accepted.trust.confirmed(3).counter, 3);
    assert_eq!(accepted.trust.confirmed(3).confirmed(1).counter, 3);
}

#[test]
fn releases_are_reproducible_and_small() {
    assert_eq!(release(&manifest()), release(&manifest()));
    let len = release(&manifest()).len();
    assert!(len < 512, "{len} bytes");
}

/// Each field that a device compares, and what it says.
#[test]
fn firmware_for_others_is_refused() {
    let with = |change: &dyn Fn(&mut Manifest<'static>)| {
        let mut manifest = manifest();
        change(&mut manifest);
        check(&release(&manifest), &Trust { counter: 2, ..trust() }, &DEVICE).map(|_| ())
    };
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|m| m.vendor = "acme2"), Err(Refusal::WrongVendor));
    assert_eq!(with(&|m| m.class = "thermo"), Err(Refusal::WrongClass));
    assert_eq!(with(&|m| m.chip = "esp32c6"), Err(Refusal::WrongChip));
    assert_eq!(with(&|m| m.counter = 2), Ok(()));
    assert_eq!(with(&|m| m.counter = 1), Err(Refusal::Downgrade { counter: 1, floor: 2 }));
    assert_eq!(with(&|m| m.base_sha256 = Some([9; 32])), Err(Refusal::WrongBase));
    assert_eq!(with(&|m| m.base_sha256 = None), Ok(()));
    assert_eq!(with(&|m| m.image_len = 1001), Err(Refusal::TooLong { len: 1001, room: 1000 }));
}

#[test]
fn a_patch_needs_to_know_what_runs() {
    let unknown = Device { running_sha256: None, ..DEVICE };
    assert_eq!(check(&release(&manifest()), &trust(), &unknown), Err(Refusal::WrongBase));
}

/// Time only goes forward: by what was signed, and by a clock if there is one.
#[test]
fn what_expired_is_refused_without_a_clock() {
    let release = release(&manifest());
    let at = |time: u64| check(&release, &Trust { time, ..trust() }, &DEVICE).map(|_| ());
    assert_eq!(at(0), Ok(()));
    assert_eq!(at(NOW + YEAR - 1), Ok(()));
    let (expires, now) = (NOW + YEAR, NOW + YEAR);
    assert_eq!(at(now), Err(Refusal::Expired { expires, now }));
    let (expires, now) = (NOW + 2 * YEAR, NOW + 3 * YEAR);
    assert_eq!(at(now), Err(Refusal::KeyExpired { expires, now }));
    let with_clock = Device { clock: Some(now), ..DEVICE };
    let refused = check(&release, &trust(), &with_clock).unwrap_err();
    assert_eq!(refused, Refusal::KeyExpired { expires, now });
    // A clock that was reset does not turn time back.
    let reset = Device { clock: Some(5), ..DEVICE };
    let seen = Trust { time: now, ..trust() };
    assert_eq!(check(&release, &seen, &reset), Err(Refusal::KeyExpired { expires, now }));
}

#[test]
fn a_later_keyring_revokes_keys() {
    let by = |number: u8, keyring: &[u8]| key(number).sign_manifest(keyring, &manifest()).unwrap();
    let first = by(0, &keyring(1, &[0, 1]));
    let second = by(1, &keyring(2, &[1]));
    let seen = check(&first, &trust(), &DEVICE).unwrap().trust;
    let seen = check(&second, &seen, &DEVICE).unwrap().trust;
    assert_eq!(seen.keyring, 2);
    let refused = check(&first, &seen, &DEVICE);
    assert_eq!(refused, Err(Refusal::OldKeyring { serial: 1, known: 2 }));
    assert_eq!(check(&by(1, &keyring(2, &[1])), &seen, &DEVICE).unwrap().trust, seen);
    let error = key(0).sign_manifest(&keyring(2, &[1]), &manifest());
    assert_eq!(error, Err(MakeError::NotInKeyring));
}

#[test]
fn the_root_key_is_replaced() {
    let new_root = SecretKey::from_seed(&[8; 32]);
    let keys = [SigningKey { public: key(0).public(), expires: NOW + 2 * YEAR }];
    let ring = |serial, next_root| Keyring { serial, issued: NOW, keys: &keys, next_root };
    let by = |root: &SecretKey, ring: &Keyring<'_>| {
        key(0).sign_manifest(&root.sign_keyring(ring).unwrap(), &manifest()).unwrap()
    };
    let announced = by(&root(), &ring(2, Some(new_root.public())));
    let replaced = by(&new_root, &ring(3, None));
    assert_eq!(check(&replaced, &trust(), &DEVICE), Err(Refusal::KeyringSignature));
    let seen = check(&announced, &trust(), &DEVICE).unwrap().trust;
    // The old root still counts, so that devices may come late.
    assert_eq!(check(&announced, &seen, &DEVICE).unwrap().trust, seen);
    let seen = check(&replaced, &seen, &DEVICE).unwrap().trust;
    assert_eq!((seen.root, seen.next_root), (new_root.public(), None));
    assert_eq!(check(&announced, &seen, &DEVICE), Err(Refusal::KeyringSignature));
    let more = by(&root(), &ring(4, None));
    assert_eq!(check(&more, &seen, &DEVICE), Err(Refusal::KeyringSignature));
}

#[test]
fn a_release_that_no_device_would_take_is_not_made() {
    let make =
        |manifest: &Manifest<'_>| key(0).sign_manifest(&keyring(1, &[0]), manifest).map(|_| ());
    let (expires, now) = (NOW, NOW);
    let error = MakeError::Refused(Refusal::Expired { expires, now });
    assert_eq!(make(&Manifest { expires, ..manifest() }), Err(error));
    let (issued, expires, now) = (NOW + 2 * YEAR, NOW + 2 * YEAR, NOW + 2 * YEAR);
    let error = MakeError::Refused(Refusal::KeyExpired { expires, now });
    assert_eq!(make(&Manifest { issued, expires: u64::MAX, ..manifest() }), Err(error));
    assert_eq!(key(0).sign_manifest(b"no keyring", &manifest()), Err(MakeError::NotAKeyring));
    let keys = [SigningKey::default(); 9];
    let many = Keyring { serial: 1, issued: NOW, keys: &keys, next_root: None };
    assert_eq!(root().sign_keyring(&many), Err(MakeError::TooManyKeys(9)));
}

/// An external program that signs with another key than it claims.
#[test]
fn a_wrong_signature_of_a_signer_is_noticed() {
    struct Liar;
    impl Signer for Liar {
        type Error = &'static str;
        fn public(&mut self) -> Result<PublicKey, Self::Error> {
            Ok(key(0).public())
        }
        fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], Self::Error> {
            Ok(key(1).sign(message))
        }
    }
    let made = make_release(&keyring(1, &[0]), &manifest(), &mut Liar);
    assert_eq!(made, Err(MakeError::WrongSignature));
}

#[test]
fn longest_fields_are_taken() {
    let text = "x".repeat(300);
    let payload = Payload { url: &text, len: u32::MAX, sha256: [0xff; 32] };
    let manifest = Manifest { version: &text, payload, counter: u32::MAX, ..manifest() };
    let release = release(&manifest);
    assert_eq!(check(&release, &trust(), &DEVICE).unwrap().manifest, manifest);
}
