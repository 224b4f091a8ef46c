use minicbor::{
    Decoder, Encoder,
    encode::{Error, Write},
};

use crate::{
    Refusal,
    cbor::Canonical,
    keyring::{exact, field},
};

const TAG: &str = "esplice-ota-manifest";
const SCHEMA: u32 = 1;

/// Description of a release, which a signing key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// Vendor of the device.
    pub vendor: &'a str,
    /// Class of the device: what the firmware is made for.
    pub class: &'a str,
    /// Name of the chip.
    pub chip: &'a str,
    /// Version of the firmware, for people.
    pub version: &'a str,
    /// Security counter: a device refuses a lower one than it has run.
    pub counter: u32,
    /// When it was made, in seconds since 1970.
    pub issued: u64,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// Length of the image.
    pub image_len: u32,
    /// SHA-256 of the image.
    pub image_sha256: [u8; 32],
    /// SHA-256 of the image that the payload is a patch to, or `None` if it needs none.
    pub base_sha256: Option<[u8; 32]>,
    /// Payload that the device downloads.
    pub payload: Payload<'a>,
}

/// The bytes that a device downloads: the image or a patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Where they are, or empty if the server knows.
    pub url: &'a str,
    /// Their number.
    pub len: u32,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

impl<'a> Manifest<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Manifest<'a>, Refusal> {
        let mut d = Decoder::new(bytes);
        if d.array()? != Some(2) || d.str()? != TAG {
            return Err(Refusal::Malformed);
        }
        let fields = d.map()?;
        let schema = field(&mut d, 0)?.u32()?;
        if schema != SCHEMA {
            return Err(Refusal::Schema { schema });
        }
        let found = Manifest {
            vendor: field(&mut d, 1)?.str()?,
            class: field(&mut d, 2)?.str()?,
            chip: field(&mut d, 3)?.str()?,
            version: field(&mut d, 4)?.str()?,
            counter: field(&mut d, 5)?.u32()?,
            issued: field(&mut d, 6)?.u64()?,
            expires: field(&mut d, 7)?.u64()?,
            image_len: field(&mut d, 8)?.u32()?,
            image_sha256: exact(field(&mut d, 9)?.bytes()?)?,
            payload: Payload {
                url: field(&mut d, 10)?.str()?,
                len: field(&mut d, 11)?.u32()?,
                sha256: exact(field(&mut d, 12)?.bytes()?)?,
            },
            base_sha256: match fields {
                Some(13) => None,
                Some(14) => Some(exact(field(&mut d, 13)?.bytes()?)?),
                _ => return Err(Refusal::Malformed),
            },
        };
        found.check(bytes)?;
        Ok(found)
    }
}

impl Canonical for Manifest<'_> {
    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        e.array(2)?.str(TAG)?.map(if self.base_sha256.is_some() { 14 } else { 13 })?;
        e.u8(0)?.u32(SCHEMA)?;
        e.u8(1)?.str(self.vendor)?.u8(2)?.str(self.class)?.u8(3)?.str(self.chip)?;
        e.u8(4)?.str(self.version)?.u8(5)?.u32(self.counter)?;
        e.u8(6)?.u64(self.issued)?.u8(7)?.u64(self.expires)?;
        e.u8(8)?.u32(self.image_len)?.u8(9)?.bytes(&self.image_sha256)?;
        e.u8(10)?.str(self.payload.url)?.u8(11)?.u32(self.payload.len)?;
        e.u8(12)?.bytes(&self.payload.sha256)?;
        if let Some(base) = &self.base_sha256 {
            e.u8(13)?.bytes(base)?;
        }
        Ok(())
    }
}
