use minicbor::{
    Decoder, Encoder,
    encode::{Error, Write},
};

use crate::{PublicKey, Refusal, cbor::Canonical};

/// Text that starts a keyring, so that no other signature can be taken for one of a keyring.
const TAG: &str = "esplice-ota-keyring";
const SCHEMA: u32 = 1;
/// Most keys of a keyring.
pub const MAX_KEYS: usize = 8;

/// A key that signs manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigningKey {
    /// The public key.
    pub public: PublicKey,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
}

/// The signing keys that the root key permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyring<'a> {
    /// Number that rises with each keyring: keys that are missing in a later one are revoked.
    pub serial: u32,
    /// When it was made, in seconds since 1970.
    pub issued: u64,
    /// The keys, at most [`MAX_KEYS`].
    pub keys: &'a [SigningKey],
    /// Root key that will sign keyrings after this one, if the present one is to be replaced.
    pub next_root: Option<PublicKey>,
}

impl Keyring<'_> {
    /// Reads a keyring, whose keys are put into `keys`.
    pub(crate) fn parse<'k>(
        bytes: &[u8],
        keys: &'k mut [SigningKey; MAX_KEYS],
    ) -> Result<Keyring<'k>, Refusal> {
        let mut d = Decoder::new(bytes);
        if d.array()? != Some(2) || d.str()? != TAG {
            return Err(Refusal::Malformed);
        }
        let fields = d.map()?;
        if key(&mut d)? != 0 {
            return Err(Refusal::Malformed);
        }
        let schema = d.u32()?;
        if schema != SCHEMA {
            return Err(Refusal::Schema { schema });
        }
        let serial = field(&mut d, 1)?.u32()?;
        let issued = field(&mut d, 2)?.u64()?;
        let count = field(&mut d, 3)?.array()?.ok_or(Refusal::Malformed)?;
        let count = usize::try_from(count).ok().filter(|count| *count <= MAX_KEYS);
        let keys = &mut keys[..count.ok_or(Refusal::Malformed)?];
        for key in keys.iter_mut() {
            if d.array()? != Some(2) {
                return Err(Refusal::Malformed);
            }
            let public = PublicKey(exact(d.bytes()?)?);
            *key = SigningKey { public, expires: d.u64()? };
        }
        let next_root = match fields {
            Some(4) => None,
            Some(5) => Some(PublicKey(exact(field(&mut d, 4)?.bytes()?)?)),
            _ => return Err(Refusal::Malformed),
        };
        let found = Keyring { serial, issued, keys, next_root };
        found.check(bytes)?;
        Ok(found)
    }
}

impl Canonical for Keyring<'_> {
    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        e.array(2)?.str(TAG)?.map(if self.next_root.is_some() { 5 } else { 4 })?;
        e.u8(0)?.u32(SCHEMA)?.u8(1)?.u32(self.serial)?.u8(2)?.u64(self.issued)?;
        e.u8(3)?.array(self.keys.len() as u64)?;
        for key in self.keys {
            e.array(2)?.bytes(&key.public.0)?.u64(key.expires)?;
        }
        if let Some(root) = &self.next_root {
            e.u8(4)?.bytes(&root.0)?;
        }
        Ok(())
    }
}

/// Reads the key of a field.
pub(crate) fn key(d: &mut Decoder<'_>) -> Result<u8, Refusal> {
    Ok(d.u8()?)
}

/// Reads the key of a field, which must be `number`. Returns the decoder for its value.
pub(crate) fn field<'d, 'b>(
    d: &'d mut Decoder<'b>,
    number: u8,
) -> Result<&'d mut Decoder<'b>, Refusal> {
    if key(d)? == number { Ok(d) } else { Err(Refusal::Malformed) }
}

/// Returns bytes of a fixed length.
pub(crate) fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Refusal> {
    bytes.try_into().map_err(|_| Refusal::Malformed)
}
