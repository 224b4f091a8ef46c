//! OpenSSL reads the same keys and signatures.

use std::{fs, path::Path, process::Command};

use esplice_ota::{
    KeyFileError, SecretKey, public_from_pem, public_to_pem, secret_from_pem, secret_to_pem,
};

/// Runs `openssl`, which the tests need.
#[track_caller]
fn openssl(at: &Path, words: &str) -> (bool, String) {
    let output = Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(at)
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn openssl_verifies_signatures() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let (key, image) = (SecretKey::from_seed(&[5; 32]), b"an image".repeat(1000));
    fs::write(at.join("key.pub"), public_to_pem(&key.public()).unwrap()).unwrap();
    fs::write(at.join("image"), &image).unwrap();
    fs::write(at.join("image.sig"), key.sign(&image)).unwrap();
    let verify = "pkeyutl -verify -pubin -inkey key.pub -rawin -in image -sigfile image.sig";
    let (is_valid, text) = openssl(at, verify);
    assert!(is_valid, "{text}");
    fs::write(at.join("image"), &image[1..]).unwrap();
    assert!(!openssl(at, verify).0);
}

#[test]
fn openssl_reads_key_files() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let key = SecretKey::generate().unwrap();
    for (name, passphrase) in [("plain", None), ("secret", Some(&b"correct horse"[..]))] {
        let pem = secret_to_pem(&key, passphrase).unwrap();
        fs::write(at.join(name), &pem).unwrap();
        let (done, text) =
            openssl(at, &format!("pkey -in {name} -passin file:phrase -pubout -out {name}.pub"));
        if passphrase.is_some() {
            assert!(!done, "without the passphrase: {text}");
            fs::write(at.join("phrase"), "correct horse").unwrap();
            let (done, text) = openssl(
                at,
                &format!("pkey -in {name} -passin file:phrase -pubout -out {name}.pub"),
            );
            assert!(done, "{text}");
        } else {
            assert!(openssl(at, &format!("pkey -in {name} -pubout -out {name}.pub")).0);
        }
        let public = fs::read_to_string(at.join(format!("{name}.pub"))).unwrap();
        assert_eq!(public, public_to_pem(&key.public()).unwrap());
        assert_eq!(public_from_pem(&public), Ok(key.public()));
        assert_eq!(secret_from_pem(&pem, passphrase).unwrap().public(), key.public());
    }
}

#[test]
fn keys_of_openssl_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    assert!(openssl(at, "genpkey -algorithm ed25519 -out plain").0);
    fs::write(at.join("phrase"), "correct horse").unwrap();
    assert!(openssl(at, "pkey -in plain -aes256 -passout file:phrase -out secret").0);
    let read = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    let plain = secret_from_pem(&read("plain"), None).unwrap();
    let secret = secret_from_pem(&read("secret"), Some(b"correct horse")).unwrap();
    assert_eq!(plain.public(), secret.public());
    let refused =
        |pem: &str, passphrase: Option<&[u8]>| secret_from_pem(pem, passphrase).unwrap_err();
    assert_eq!(refused(&read("secret"), None), KeyFileError::NeedsPassphrase);
    assert_eq!(refused(&read("secret"), Some(b"wrong")), KeyFileError::WrongPassphrase);
    assert_eq!(refused("nonsense", None), KeyFileError::NotAKey);
    assert!(openssl(at, "genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:1024 -out rsa").0);
    assert_eq!(refused(&read("rsa"), None), KeyFileError::NotAKey);
    assert_eq!(public_from_pem(&read("plain")), Err(KeyFileError::NotAKey));
}
