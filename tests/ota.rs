//! Tests `esplice ota`: keys, signatures and patches.

use std::{fs, path::Path, process::Command};

use crate::support::{Said, built_hello, result, run};

const AUTHORIZE: &str =
    "ota authorize ci.pub=2028-01-31 --key root --serial 1 --issued 2027-01-31 -o keys.ring";
const SIGN: &str = "ota sign hello.bin --key ci --keyring keys.ring --vendor acme --class lamp \
    --firmware-version 1.2.0 --counter 3 --issued 2027-02-01 --expires 2027-08-01";
const VERIFY: &str = "ota verify hello.bin --release hello.bin.release --root root.pub --vendor acme \
    --class lamp";

/// A directory with an image, a root key and a signing key.
fn directory() -> tempfile::TempDir {
    let directory = built_hello("Hello from the second version\n");
    let at = directory.path();
    let first = built_hello("Hello\n");
    fs::copy(first.path().join("hello.bin"), at.join("old.bin")).unwrap();
    run(at, "ota keygen root --no-passphrase").check(0, &[]);
    run(at, "ota keygen ci --no-passphrase").check(0, &[]);
    run(at, AUTHORIZE).check(0, &[]);
    directory
}

fn alter(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_release_is_signed_and_verified() {
    let directory = directory();
    let at = directory.path();
    let said = run(at, &format!("{SIGN} --format json")).check(0, &[]);
    let value = &result(&said)["value"];
    assert_eq!(value["signature"], "hello.bin.sig");
    assert_eq!(value["release"], "hello.bin.release");
    let key = value["key"].as_str().unwrap().to_owned();
    let said = run(at, &format!("{VERIFY} --key ci.pub")).check(0, &[]);
    assert_eq!(said.out, format!("hello.bin: signed by {key}\nhello.bin.release: release 1.2.0\n"));
    let value = &result(&run(at, &format!("{VERIFY} --format json")))["value"]["release"];
    assert_eq!((&value["chip"], &value["counter"]), (&"esp32c3".into(), &3.into()));
    assert_eq!((&value["keyring"], &value["expires"]), (&1.into(), &1_817_078_400_u64.into()));
    // The same again.
    let first = fs::read(at.join("hello.bin.release")).unwrap();
    run(at, SIGN).check(0, &[]);
    assert_eq!(fs::read(at.join("hello.bin.release")).unwrap(), first);
}

#[test]
fn openssl_verifies_the_signature() {
    let directory = directory();
    let at = directory.path();
    run(at, "ota sign hello.bin --key ci").check(0, &[]);
    let words = "pkeyutl -verify -pubin -inkey ci.pub -rawin -in hello.bin -sigfile hello.bin.sig";
    let verify = || {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(at).output();
        output.expect("openssl is installed").status.success()
    };
    assert!(verify());
    alter(&at.join("hello.bin"), 100);
    assert!(!verify());
    run(at, "ota verify hello.bin --key ci.pub")
        .check(16, &["hello.bin.sig: not a signature of hello.bin by ci.pub"]);
}

#[test]
fn what_a_device_refuses_ends_with_16() {
    let directory = directory();
    let at = directory.path();
    run(at, SIGN).check(0, &[]);
    let refused = |words: &str, told: &str| {
        run(at, words).check(16, &[&format!("hello.bin.release: {told}")]);
    };
    refused(&VERIFY.replace("lamp", "door"), "the release is for another class of devices");
    refused(&VERIFY.replace("acme", "acne"), "the release is for devices of another vendor");
    refused(&format!("{VERIFY} --counter 4"), "security counter 3 is lower than 4");
    refused(&format!("{VERIFY} --serial 2"), "keyring 1 is older than 2");
    refused(&format!("{VERIFY} --time 2027-08-01"), "the manifest expired at 1817078400");
    refused(&format!("{VERIFY} --time 2028-01-31"), "the signing key expired at 1832889600");
    refused(&VERIFY.replace("root.pub", "ci.pub"), "the keyring is not signed by the root key");
    let release = at.join("hello.bin.release");
    let len = fs::read(&release).unwrap().len();
    alter(&release, len - 1);
    refused(VERIFY, "the signature of the manifest is not valid");
    run(at, SIGN).check(0, &[]);
    alter(&at.join("hello.bin"), 100);
    refused(VERIFY, "it is not for hello.bin");
}

#[test]
fn keys_that_are_not_permitted_do_not_sign() {
    let directory = directory();
    let at = directory.path();
    run(at, "ota keygen other --no-passphrase").check(0, &[]);
    run(at, &SIGN.replace("--key ci", "--key other"))
        .check(16, &["the keyring does not have the signing key"]);
    run(at, &SIGN.replace("2027-02-01", "2028-02-01")).check(16, &["the signing key expired at"]);
    run(at, &SIGN.replace("keys.ring", "ci.pub")).check(3, &["ci.pub: this is not a keyring"]);
    assert!(!at.join("hello.bin.release").exists());
}

#[test]
fn a_patch_is_made_signed_and_applied() {
    let directory = directory();
    let at = directory.path();
    let said = run(at, "ota diff old.bin hello.bin -o p --format json").check(0, &[]);
    let value = &result(&said)["value"];
    let len = fs::metadata(at.join("p")).unwrap().len();
    assert_eq!((&value["len"], &value["whole"]), (&len.into(), &false.into()));
    assert!(len < 150, "{len} bytes");
    let said = run(at, "ota apply old.bin p -o new.bin").check(0, &[]);
    let image = fs::read(at.join("hello.bin")).unwrap();
    assert_eq!(fs::read(at.join("new.bin")).unwrap(), image);
    assert_eq!(said.out, format!("new.bin: {} bytes\n", image.len()));

    run(at, "ota apply hello.bin p -o new.bin").check(17, &["p: the patch does not fit its base"]);
    run(at, "ota apply old.bin old.bin -o new.bin").check(3, &["old.bin: not a patch"]);
    run(at, "ota apply old.bin p -o p").check(2, &["p is an input and the output"]);

    run(at, &format!("{SIGN} --patch p --base old.bin")).check(0, &[]);
    run(at, &format!("{VERIFY} --base old.bin --payload p")).check(0, &[]);
    run(at, VERIFY).check(16, &["the patch is for another base than the firmware that runs"]);
    run(at, &format!("{VERIFY} --base old.bin --payload old.bin"))
        .check(16, &["its payload has another hash"]);
    run(at, &format!("{SIGN} --patch p --base hello.bin"))
        .check(17, &["p: the patch does not fit its base"]);
    // Damage that only the checksum of the image shows.
    alter(&at.join("p"), 16);
    run(at, "ota apply old.bin p -o new.bin").check(16, &["p: the new image is damaged"]);
}

#[test]
fn unrelated_images_become_whole_patches() {
    let directory = directory();
    let at = directory.path();
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    let noise: Vec<u8> = (0..3000).map(|_| noise()).collect();
    fs::write(at.join("noise"), &noise).unwrap();
    let said = run(at, "ota diff old.bin noise -o p").check(0, &[]);
    assert!(said.out.ends_with("of noise, the whole image compressed\n"), "{said:#?}");
    run(at, "ota apply old.bin p -o new.bin").check(0, &[]);
    assert_eq!(fs::read(at.join("new.bin")).unwrap(), noise);
}

#[test]
fn secret_keys_are_protected() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let refused =
        |words: &str, exit: i32, told: &str| -> Said { run(at, words).check(exit, &[told]) };
    refused("ota keygen k", 2, "the secret key needs a passphrase");
    fs::write(at.join("empty"), "\n").unwrap();
    refused("ota keygen k --passphrase-file empty", 3, "empty has no passphrase");
    assert!(!at.join("k").exists());
    fs::write(at.join("phrase"), "correct horse\r\n").unwrap();
    run(at, "ota keygen k --passphrase-file phrase").check(0, &[]);
    let pem = fs::read_to_string(at.join("k")).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{pem}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(at.join("k")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    refused("ota keygen k --no-passphrase", 2, "k exists already, and keys are not replaced");
    fs::write(at.join("image"), "any bytes").unwrap();
    refused("ota sign image --key k", 3, "k: the key needs a passphrase");
    fs::write(at.join("wrong"), "incorrect").unwrap();
    refused("ota sign image --key k --passphrase-file wrong", 3, "k: the passphrase is wrong");
    refused("ota sign image --key k.pub", 3, "k.pub: not an Ed25519 key");
    run(at, "ota sign image --key k --passphrase-file phrase").check(0, &[]);
    run(at, "ota verify image --key k.pub").check(0, &[]);
}

/// A script that signs with OpenSSL, as one for a key in hardware would.
#[cfg(unix)]
#[test]
fn another_program_may_hold_the_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = directory();
    let at = directory.path();
    let script = |name: &str, text: &str| {
        let path = at.join(name);
        fs::write(&path, format!("#!/bin/sh\nset -e\ncd '{}'\n{text}", at.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let public = "openssl pkey -in ci -pubout -outform DER | tail -c 32";
    script(
        "signer",
        &format!(
            "case $1 in\npublic) {public} ;;\n\
             sign) cat > message; openssl pkeyutl -sign -inkey ci -rawin -in message ;;\nesac\n"
        ),
    );
    let by = |name: &str| SIGN.replace("--key ci", &format!("--signer ./{name}"));
    run(at, &by("signer")).check(0, &[]);
    let first = fs::read(at.join("hello.bin.release")).unwrap();
    run(at, SIGN).check(0, &[]);
    assert_eq!(fs::read(at.join("hello.bin.release")).unwrap(), first);

    script("fails", "exit 3\n");
    run(at, &by("fails")).check(3, &["./fails public failed: exit status: 3"]);
    script("short", "echo short\n");
    run(at, &by("short")).check(3, &["./short public printed 6 bytes, and 32 were expected"]);
    script(
        "lies",
        &format!("case $1 in\npublic) {public} ;;\nsign) head -c 64 /dev/zero ;;\nesac\n"),
    );
    run(at, &by("lies")).check(16, &["the signer's signature is not valid"]);
    run(at, &by("nowhere")).check(3, &["cannot run ./nowhere public: "]);
}
