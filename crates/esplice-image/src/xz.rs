//! Files that are packed with xz.

use liblzma::stream::{Action, CONCATENATED, Error as Lzma, Status, Stream};

use crate::FormatError;

/// Bytes of memory that unpacking may take: `xz -9` asks for 65 MiB.
const MEMORY: u64 = 96 << 20;

/// Bytes unpacked at a time.
const PIECE: usize = 1 << 16;

/// Unpacks an xz file of at most `most` bytes of content.
///
/// # Errors
/// [`FormatError::Xz`] for damage, with the place in the file; [`FormatError::XzLarge`] for more
/// content than `most`; [`FormatError::XzMemory`] for a file that only a large machine can unpack.
pub fn unxz(bytes: &[u8], most: usize) -> Result<Vec<u8>, FormatError> {
    let fault = |offset: u64, fault: &'static str| FormatError::Xz { offset, fault };
    let mut stream = Stream::new_stream_decoder(MEMORY, CONCATENATED)
        .map_err(|_| fault(0, "there is no memory to unpack it"))?;
    let mut unpacked = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        let at = stream.total_in();
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let before = stream.total_out();
        let action = if rest.is_empty() { Action::Finish } else { Action::Run };
        let status = stream.process(rest, &mut piece, action).map_err(|error| match error {
            Lzma::Data => fault(stream.total_in(), "its data are damaged"),
            Lzma::Format => fault(stream.total_in(), "no xz stream begins here"),
            Lzma::Options | Lzma::UnsupportedCheck => {
                fault(stream.total_in(), "it is packed in a way that is not known here")
            }
            Lzma::MemLimit => FormatError::XzMemory { limit: MEMORY },
            Lzma::Mem => fault(stream.total_in(), "there is no memory to unpack it"),
            _ => fault(stream.total_in(), "it is cut off"),
        })?;
        let made = usize::try_from(stream.total_out() - before).unwrap_or(PIECE).min(PIECE);
        if made > most.saturating_sub(unpacked.len()) {
            return Err(FormatError::XzLarge { most });
        }
        unpacked.extend_from_slice(&piece[..made]);
        match status {
            Status::StreamEnd => return Ok(unpacked),
            // Nothing more to give, and nothing more comes.
            _ if rest.is_empty() && made == 0 => {
                return Err(fault(bytes.len() as u64, "it is cut off"));
            }
            _ => {}
        }
    }
}
