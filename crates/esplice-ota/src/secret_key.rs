//! Making keyrings and releases.

use std::vec::Vec;

use ed25519_dalek::{Signer as _, SigningKey as Ed25519};
use minicbor::Encoder;
use thiserror::Error;

use crate::{
    Keyring, MAX_KEYS, Manifest, PublicKey, Refusal, Release, SigningKey, cbor::Canonical,
};

/// Something that signs with one key: a [`SecretKey`], or a program that has the key in hardware.
pub trait Signer {
    /// Error of signing.
    type Error;

    /// Returns the public key.
    ///
    /// # Errors
    /// An error that ends making the release.
    fn public(&mut self) -> Result<PublicKey, Self::Error>;

    /// Returns the Ed25519 signature of a message.
    ///
    /// # Errors
    /// An error that ends making the release.
    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], Self::Error>;
}

/// A secret Ed25519 key. It is erased from memory when it is dropped.
#[derive(Clone)]
pub struct SecretKey(pub(crate) Ed25519);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SecretKey").field(&self.public()).finish()
    }
}

/// Reason why a keyring or a release was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MakeError<E = std::convert::Infallible> {
    /// The signer failed.
    #[error("{0}")]
    Signer(E),
    /// A keyring has too many keys.
    #[error("a keyring has at most {MAX_KEYS} keys, not {0}")]
    TooManyKeys(usize),
    /// The keyring is not a signed keyring.
    #[error("this is not a keyring")]
    NotAKeyring,
    /// The keyring does not have the signing key.
    #[error("the keyring does not have the signing key")]
    NotInKeyring,
    /// No device would take this.
    #[error("{0}")]
    Refused(Refusal),
    /// The signer returned a signature that is not valid.
    #[error("the signature is not valid for the signer's public key")]
    WrongSignature,
}

impl SecretKey {
    /// Returns the key of a seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> SecretKey {
        SecretKey(Ed25519::from_bytes(seed))
    }

    /// Returns a new random key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<SecretKey, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(SecretKey::from_seed(&seed))
    }

    /// Returns the public key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Returns the signature of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Returns a signed keyring, as [`signed_keyring`] does.
    ///
    /// # Errors
    /// [`MakeError::TooManyKeys`].
    pub fn sign_keyring(&self, keyring: &Keyring<'_>) -> Result<Vec<u8>, MakeError> {
        signed_keyring(keyring, &mut self.clone())
    }

    /// Returns a release, as [`make_release`] does.
    ///
    /// # Errors
    /// [`MakeError`].
    pub fn sign_manifest(
        &self,
        keyring: &[u8],
        manifest: &Manifest<'_>,
    ) -> Result<Vec<u8>, MakeError> {
        make_release(keyring, manifest, &mut self.clone())
    }
}

impl Signer for SecretKey {
    type Error = std::convert::Infallible;

    fn public(&mut self) -> Result<PublicKey, Self::Error> {
        Ok(SecretKey::public(self))
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], Self::Error> {
        Ok(SecretKey::sign(self, message))
    }
}

/// Returns a keyring and its signature by the root key: the content of a keyring file. The same
/// arguments yield the same bytes.
///
/// # Errors
/// [`MakeError::TooManyKeys`], and [`MakeError::Signer`] and [`MakeError::WrongSignature`] of the
/// signer.
pub fn signed_keyring<S: Signer>(
    keyring: &Keyring<'_>,
    root: &mut S,
) -> Result<Vec<u8>, MakeError<S::Error>> {
    if keyring.keys.len() > MAX_KEYS {
        return Err(MakeError::TooManyKeys(keyring.keys.len()));
    }
    let bytes = encoded(keyring);
    let signature = sign(root, &bytes)?;
    Ok(encoded(&Signed { bytes: &bytes, signature: &signature }))
}

/// Returns the encoded manifest: what the signing key signs.
pub fn signed_manifest(manifest: &Manifest<'_>) -> Vec<u8> {
    encoded(manifest)
}

/// Returns a release: the manifest, signed by `signer`, together with a keyring file. The same
/// arguments yield the same bytes.
///
/// # Errors
/// [`MakeError`]; a manifest that no device would ever take is [`MakeError::Refused`].
pub fn make_release<S: Signer>(
    keyring: &[u8],
    manifest: &Manifest<'_>,
    signer: &mut S,
) -> Result<Vec<u8>, MakeError<S::Error>> {
    let (keyring, keyring_signature) = Signed::parse(keyring).ok_or(MakeError::NotAKeyring)?;
    let mut keys = [SigningKey::default(); MAX_KEYS];
    let found = Keyring::parse(keyring, &mut keys).map_err(|_| MakeError::NotAKeyring)?;
    let public = signer.public().map_err(MakeError::Signer)?;
    let key = found.keys.iter().position(|key| key.public == public);
    let key = key.ok_or(MakeError::NotInKeyring)?;
    let now = found.issued.max(manifest.issued);
    let expires = found.keys[key].expires;
    if expires <= now {
        return Err(MakeError::Refused(Refusal::KeyExpired { expires, now }));
    }
    if manifest.expires <= now {
        let expires = manifest.expires;
        return Err(MakeError::Refused(Refusal::Expired { expires, now }));
    }
    let manifest = encoded(manifest);
    let signature = sign(signer, &manifest)?;
    let release =
        Release { keyring, keyring_signature, manifest: &manifest, key: key as u8, signature };
    Ok(encoded(&release))
}

fn sign<S: Signer>(signer: &mut S, message: &[u8]) -> Result<[u8; 64], MakeError<S::Error>> {
    let public = signer.public().map_err(MakeError::Signer)?;
    let signature = signer.sign(message).map_err(MakeError::Signer)?;
    if public.verify(message, &signature) { Ok(signature) } else { Err(MakeError::WrongSignature) }
}

fn encoded(value: &impl Canonical) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // Writing to a vector can't fail.
    let Ok(()) = value.write(&mut encoder) else { return Vec::new() };
    encoder.into_writer()
}

/// The content of a keyring file.
struct Signed<'a> {
    bytes: &'a [u8],
    signature: &'a [u8; 64],
}

impl Signed<'_> {
    fn parse(bytes: &[u8]) -> Option<(&[u8], [u8; 64])> {
        let mut d = minicbor::Decoder::new(bytes);
        if d.array().ok()? != Some(2) {
            return None;
        }
        let (inner, signature) = (d.bytes().ok()?, d.bytes().ok()?.try_into().ok()?);
        Signed { bytes: inner, signature: &signature }.check(bytes).ok()?;
        Some((inner, signature))
    }
}

impl Canonical for Signed<'_> {
    fn write<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.bytes(self.bytes)?.bytes(self.signature)?;
        Ok(())
    }
}
