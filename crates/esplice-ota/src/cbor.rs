//! The encoding: CBOR (RFC 8949) in the one form that its section 4.2 calls deterministic.

use minicbor::{
    Encoder,
    encode::{Error, Write},
};

use crate::Refusal;

/// Something that is written in exactly one way.
pub(crate) trait Canonical {
    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>>;

    /// Checks that `bytes` are what this is written as: nothing longer, nothing after it.
    fn check(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let mut encoder = Encoder::new(Same { rest: bytes });
        let is_same = self.write(&mut encoder).is_ok() && encoder.into_writer().rest.is_empty();
        if is_same { Ok(()) } else { Err(Refusal::Malformed) }
    }
}

/// Compares what is written with bytes.
struct Same<'a> {
    rest: &'a [u8],
}

impl Write for Same<'_> {
    type Error = ();

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(())?;
        Ok(())
    }
}
