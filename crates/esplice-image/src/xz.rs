//! Files compressed with xz.

use liblzma::stream::{Action, CONCATENATED, Error as Lzma, Status, Stream};

use crate::FormatError;

/// Memory limit for decompression in bytes: `xz -9` needs 65 MiB.
const MEMORY: u64 = 96 << 20;

/// Number of bytes to decompress at a time.
const PIECE: usize = 1 << 16;

/// Decompresses an xz file with at most `most` bytes of content.
///
/// # Errors
/// [`FormatError::Xz`] for a damaged file, with the offset in it; [`FormatError::XzLarge`] for
/// content larger than `most`; [`FormatError::XzMemory`] for a file that needs too much memory.
pub fn unxz(bytes: &[u8], most: usize) -> Result<Vec<u8>, FormatError> {
    let fault = |offset: u64, fault: &'static str| FormatError::Xz { offset, fault };
    let mut stream = Stream::new_stream_decoder(MEMORY, CONCATENATED)
        .map_err(|_| fault(0, "there is not enough memory to unpack it"))?;
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
                fault(stream.total_in(), "it uses an unsupported xz feature")
            }
            Lzma::MemLimit => FormatError::XzMemory { limit: MEMORY },
            Lzma::Mem => fault(stream.total_in(), "there is not enough memory to unpack it"),
            _ => fault(stream.total_in(), "it is cut off"),
        })?;
        let made = usize::try_from(stream.total_out() - before).unwrap_or(PIECE).min(PIECE);
        if made > most.saturating_sub(unpacked.len()) {
            return Err(FormatError::XzLarge { most });
        }
        unpacked.extend_from_slice(&piece[..made]);
        match status {
            Status::StreamEnd => return Ok(unpacked),
            // No output is left, and no more input follows.
            _ if rest.is_empty() && made == 0 => {
                return Err(fault(bytes.len() as u64, "it is cut off"));
            }
            _ => {}
        }
    }
}
