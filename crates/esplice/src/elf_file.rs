//! An ELF in memory with its SHA-256, which is computed while the file is read.

use std::{
    fs::File,
    io::{self, Read as _},
    sync::{Arc, mpsc},
    thread,
};

use esplice_image::{Content, sha256};
use sha2::{Digest as _, Sha256};

use crate::source::read_rest;

/// An ELF and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    pub bytes: Arc<Vec<u8>>,
    pub sha256: [u8; 32],
}

impl Elf {
    /// With `hash`, where that is known already.
    pub fn new(bytes: Vec<u8>, hash: Option<[u8; 32]>) -> Elf {
        let sha256 = hash.unwrap_or_else(|| sha256(&bytes));
        Elf { bytes: Arc::new(bytes), sha256 }
    }
}

/// Bytes that are read at once: small enough to be hashed out of the cache.
const PIECE: usize = 0x4_0000;

/// Reads `file` behind `first`, unless it is more than `most` in all. A plain file that begins like an
/// ELF is hashed meanwhile, on another core.
pub fn read(mut file: File, first: Vec<u8>, most: u64) -> io::Result<(Vec<u8>, Option<[u8; 32]>)> {
    let metadata = file.metadata()?;
    let len = metadata.len();
    if !metadata.is_file() || !first.is_empty() || len > most || len < PIECE as u64 {
        return Ok((read_rest(file, first, most)?, None));
    }
    let mut bytes = vec![0; len as usize];
    let (head, rest) = bytes.split_at_mut(PIECE);
    let mut filled = fill(&mut file, head)?;
    if filled < head.len() || Content::of(head) != Content::Elf {
        bytes.truncate(filled);
        return Ok((read_rest(file, bytes, most)?, None));
    }
    let mut hash = thread::scope(|scope| {
        let (sender, pieces) = mpsc::channel::<&[u8]>();
        let hashing = scope.spawn(move || {
            let mut hash = Sha256::new();
            for piece in pieces {
                hash.update(piece);
            }
            <[u8; 32]>::from(hash.finalize())
        });
        // Only a hasher that panicked hears nothing, which `join` tells.
        let _ = sender.send(head);
        for piece in rest.chunks_mut(PIECE) {
            let read = fill(&mut file, piece)?;
            filled += read;
            if read < piece.len() {
                break;
            }
            let _ = sender.send(piece);
        }
        drop(sender);
        Ok::<_, io::Error>(hashing.join().ok())
    })?;
    let whole = filled == bytes.len();
    bytes.truncate(filled);
    let bytes = read_rest(file, bytes, most)?;
    // It shrank or grew in between.
    if !whole || bytes.len() != filled {
        hash = None;
    }
    Ok((bytes, hash))
}

/// Reads until `room` is full or the file ends; gives how much was read.
fn fill(file: &mut File, room: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < room.len() {
        match file.read(&mut room[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_while_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.elf");
        let elf = |len: usize| {
            let mut bytes = b"\x7fELF".to_vec();
            bytes.extend((4..len).map(|at| (at * 7 % 251) as u8));
            bytes
        };
        for (len, hashed) in [
            (100, false),
            (PIECE - 1, false),
            (PIECE, true),
            (PIECE + 1, true),
            (3 * PIECE, true),
            (3 * PIECE + 1000, true),
        ] {
            let bytes = elf(len);
            std::fs::write(&path, &bytes).unwrap();
            let (read_bytes, hash) = read(File::open(&path).unwrap(), Vec::new(), 1 << 30).unwrap();
            assert!(read_bytes == bytes, "{len}");
            assert_eq!(hash, hashed.then(|| sha256(&bytes)), "{len}");
            assert_eq!(Elf::new(read_bytes, hash).sha256, sha256(&bytes));
            let error = read(File::open(&path).unwrap(), Vec::new(), len as u64 - 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        }
        // No ELF: whoever asks for its hash computes it.
        let other = vec![7; 2 * PIECE];
        std::fs::write(&path, &other).unwrap();
        let read_bytes = read(File::open(&path).unwrap(), Vec::new(), 1 << 30).unwrap();
        assert!(read_bytes == (other, None));
    }

    #[test]
    fn a_file_that_changes_is_not_told_a_wrong_hash() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.elf");
        let mut bytes = b"8 bytes.\x7fELF".to_vec();
        bytes.resize(2 * PIECE, 1);
        std::fs::write(&path, &bytes).unwrap();
        // As if it had been cut while it is read: the handle stands further than the start.
        let mut file = File::open(&path).unwrap();
        let mut skipped = [0; 8];
        file.read_exact(&mut skipped).unwrap();
        let (rest, hash) = read(file, Vec::new(), 1 << 30).unwrap();
        assert_eq!((rest.len(), hash), (2 * PIECE - 8, None));
    }
}
