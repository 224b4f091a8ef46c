use minicbor::{
    Decoder, Encoder,
    encode::{Error, Write},
};

use crate::{Refusal, cbor::Canonical, keyring::exact};

/// A manifest with its signature, and the keyring that permits its key. Nothing of it is trusted
/// before [`Trust::check`](crate::Trust::check).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release<'a> {
    /// The encoded keyring.
    pub keyring: &'a [u8],
    /// Signature of the keyring by the root key.
    pub keyring_signature: [u8; 64],
    /// The encoded manifest.
    pub manifest: &'a [u8],
    /// Number of the key in the keyring.
    pub key: u8,
    /// Signature of the manifest by that key.
    pub signature: [u8; 64],
}

impl<'a> Release<'a> {
    /// Reads a release.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if it is not encoded as a release is.
    pub fn parse(bytes: &'a [u8]) -> Result<Release<'a>, Refusal> {
        let mut d = Decoder::new(bytes);
        if d.array()? != Some(5) {
            return Err(Refusal::Malformed);
        }
        let found = Release {
            keyring: d.bytes()?,
            keyring_signature: exact(d.bytes()?)?,
            manifest: d.bytes()?,
            key: d.u8()?,
            signature: exact(d.bytes()?)?,
        };
        found.check(bytes)?;
        Ok(found)
    }
}

impl Canonical for Release<'_> {
    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        e.array(5)?.bytes(self.keyring)?.bytes(&self.keyring_signature)?;
        e.bytes(self.manifest)?.u8(self.key)?.bytes(&self.signature)?;
        Ok(())
    }
}
