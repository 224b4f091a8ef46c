use ed25519_dalek::{Signature, VerifyingKey};

/// A public Ed25519 key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublicKey(
    /// The key's bytes (RFC 8032, section 5.1.5).
    pub [u8; 32],
);

impl PublicKey {
    /// Returns whether a signature of `message` is valid. Weak keys and signatures that could be
    /// altered are refused.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        key.verify_strict(message, &signature).is_ok()
    }
}
