//! Keys in files: PKCS #8 and SubjectPublicKeyInfo in PEM, as OpenSSL reads and writes them (RFC 8410,
//! RFC 7468).

use std::string::String;

use ed25519_dalek::{SigningKey as Ed25519, VerifyingKey, pkcs8::KeypairBytes};
use pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
    EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef,
    der::{Document, pem::PemLabel as _},
    pkcs5::pbes2,
};
use thiserror::Error;

use crate::{PublicKey, SecretKey};

/// Reason why a key file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file has no Ed25519 key of this kind in PEM.
    #[error("not an Ed25519 key in PEM")]
    NotAKey,
    /// The key is encrypted, and no passphrase was given.
    #[error("the key needs a passphrase")]
    NeedsPassphrase,
    /// The passphrase is wrong, or the file is damaged.
    #[error("the passphrase is wrong, or the file is damaged")]
    WrongPassphrase,
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
}

/// Rounds of PBKDF2 with SHA-256 (OWASP Password Storage Cheat Sheet, 2023).
const ROUNDS: u32 = 600_000;

/// Returns a secret key as PEM, encrypted with AES-256 if there is a passphrase.
///
/// # Errors
/// [`KeyFileError::NoRandomness`].
pub fn secret_to_pem(key: &SecretKey, passphrase: Option<&[u8]>) -> Result<String, KeyFileError> {
    let Some(passphrase) = passphrase else {
        let pem = pair(key).to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyFileError::NotAKey)?;
        return Ok(String::from(pem.as_str()));
    };
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    let filled = getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut iv));
    filled.map_err(|_| KeyFileError::NoRandomness)?;
    let encrypt = || {
        let parameters =
            pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, iv).ok()?;
        let plain = pair(key).to_pkcs8_der().ok()?;
        let plain = PrivateKeyInfoRef::try_from(plain.as_bytes()).ok()?;
        let encrypted = plain.encrypt_with_params(parameters, passphrase);
        let pem = encrypted.ok()?.to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF);
        Some(String::from(pem.ok()?.as_str()))
    };
    encrypt().ok_or(KeyFileError::NotAKey)
}

/// Returns the key without its public half, which OpenSSL 3.0 does not read in this form.
fn pair(key: &SecretKey) -> KeypairBytes {
    KeypairBytes { secret_key: key.0.to_bytes(), public_key: None }
}

/// Reads a secret key from PEM.
///
/// # Errors
/// [`KeyFileError`].
pub fn secret_from_pem(pem: &str, passphrase: Option<&[u8]>) -> Result<SecretKey, KeyFileError> {
    let pem = pem.trim_start();
    let (label, _) = Document::from_pem(pem).map_err(|_| KeyFileError::NotAKey)?;
    let key = if label == EncryptedPrivateKeyInfoRef::PEM_LABEL {
        let passphrase = passphrase.ok_or(KeyFileError::NeedsPassphrase)?;
        Ed25519::from_pkcs8_encrypted_pem(pem, passphrase)
            .map_err(|_| KeyFileError::WrongPassphrase)?
    } else if label == PrivateKeyInfoRef::PEM_LABEL {
        Ed25519::from_pkcs8_pem(pem).map_err(|_| KeyFileError::NotAKey)?
    } else {
        return Err(KeyFileError::NotAKey);
    };
    Ok(SecretKey(key))
}

/// Returns a public key as PEM.
pub fn public_to_pem(key: &PublicKey) -> Option<String> {
    VerifyingKey::from_bytes(&key.0).ok()?.to_public_key_pem(LineEnding::LF).ok()
}

/// Reads a public key from PEM.
///
/// # Errors
/// [`KeyFileError::NotAKey`].
pub fn public_from_pem(pem: &str) -> Result<PublicKey, KeyFileError> {
    let key = VerifyingKey::from_public_key_pem(pem.trim_start());
    key.map(|key| PublicKey(key.to_bytes())).map_err(|_| KeyFileError::NotAKey)
}
