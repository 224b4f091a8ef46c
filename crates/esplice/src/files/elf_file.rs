//! Reads an ELF into memory and computes its SHA-256 at the same time.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use esplice_image::{Content, ElfUse, sha256, spare_ranges};
use sha2::{Digest as _, Sha256};

use crate::files::read::read_rest;

/// An ELF and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// Content of the file. If only an image was [`Wanted`], unused parts are zero.
    pub bytes: Arc<Vec<u8>>,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
    /// Path of the file, if it was read from one.
    pub path: Option<PathBuf>,
}

impl Elf {
    /// Creates an ELF, with its hash if already known.
    pub fn new(bytes: Vec<u8>, hash: Option<[u8; 32]>) -> Elf {
        let sha256 = hash.unwrap_or_else(|| sha256(&bytes));
        Elf { bytes: Arc::new(bytes), sha256, path: None }
    }

    /// Adds the path of the file that was read.
    #[must_use]
    pub fn at(self, path: &Path) -> Elf {
        Elf { path: Some(path.to_owned()), ..self }
    }
}

/// The parts of an ELF that are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// The parts that an image is made of, and the sections requested in addition. The rest, most
    /// of the file, is hashed but not kept, which saves memory.
    Image(ElfUse),
}

/// Number of bytes read at once: small enough to be hashed from the cache.
const PIECE: usize = 0x4_0000;
/// Number of buffers for pieces that are not kept: one is read while another is hashed.
const ROOMS: usize = 3;

/// A piece of the file on its way to the hasher.
enum Piece<'b> {
    Kept(&'b [u8]),
    /// A piece in a buffer that is returned afterwards.
    Passing(Vec<u8>),
}

/// Reads `file` after `first`, unless the total exceeds `most`. A regular file that begins like an
/// ELF is hashed on another core at the same time. The hash is always returned if parts were not
/// kept.
pub fn read(
    mut file: File,
    first: Vec<u8>,
    most: u64,
    wanted: Wanted,
) -> io::Result<(Vec<u8>, Option<[u8; 32]>)> {
    let metadata = file.metadata()?;
    let len = metadata.len();
    if !metadata.is_file() || !first.is_empty() || len > most || len < PIECE as u64 {
        return Ok((read_rest(file, first, most)?, None));
    }
    let start = file.stream_position()?;
    let passing = match wanted {
        Wanted::Image(asked) if start == 0 => passing(asked, &mut file, len),
        _ => Vec::new(),
    };
    file.seek(SeekFrom::Start(start))?;
    // Reports a lack of memory as an error, which the next allocation would not.
    Vec::<u8>::new().try_reserve_exact(len as usize)?;
    // Zeroed by the system, page by page on first write.
    let mut bytes = vec![0; len as usize];
    let (head, rest) = bytes.split_at_mut(PIECE);
    let mut filled = fill(&mut file, head)?;
    if filled < head.len() || Content::of(head) != Content::Elf {
        bytes.truncate(filled);
        return Ok((read_rest(file, bytes, most)?, None));
    }
    let hash = thread::scope(|scope| {
        let (sender, pieces) = mpsc::channel::<Piece<'_>>();
        let (giver, rooms) = mpsc::channel::<Vec<u8>>();
        let hashing = scope.spawn(move || {
            let mut hash = Sha256::new();
            for piece in pieces {
                match piece {
                    Piece::Kept(bytes) => hash.update(bytes),
                    Piece::Passing(room) => {
                        hash.update(&room);
                        // At the end, nobody needs the buffer.
                        let _ = giver.send(room);
                    }
                }
            }
            <[u8; 32]>::from(hash.finalize())
        });
        // Sending fails only if the hasher panicked, which `join` reports.
        let _ = sender.send(Piece::Kept(head));
        let (mut rest, mut made) = (rest, 0);
        while !rest.is_empty() {
            let (kept, piece_len) = next_piece(&passing, len as usize - rest.len());
            let (piece, behind) = rest.split_at_mut(piece_len.min(rest.len()));
            rest = behind;
            let asked = piece.len();
            let read = if kept {
                let read = fill(&mut file, piece)?;
                let _ = sender.send(Piece::Kept(piece));
                read
            } else {
                let mut room = if made < ROOMS {
                    made += 1;
                    vec![0; PIECE]
                } else {
                    rooms.recv().unwrap_or_default()
                };
                room.resize(asked, 0);
                let read = fill(&mut file, &mut room)?;
                let _ = sender.send(Piece::Passing(room));
                read
            };
            filled += read;
            // The hash is useless then.
            if read < asked {
                break;
            }
        }
        drop(sender);
        Ok::<_, io::Error>(hashing.join().ok())
    })?;
    let whole = filled == bytes.len();
    if hash.is_none() || !whole || file.read(&mut [0])? > 0 {
        // The file shrank or grew in the meantime, and was not read completely.
        file.seek(SeekFrom::Start(start))?;
        return Ok((read_rest(file, Vec::new(), most)?, None));
    }
    Ok((bytes, hash))
}

/// Returns the ranges of an ELF file after its first piece that no image is made of; empty for
/// other files.
fn passing(asked: ElfUse, file: &mut File, len: u64) -> Vec<Range<usize>> {
    let ranges = spare_ranges(asked, |at, len_wanted| {
        // Requests never exceed some ten thousand bytes.
        (at.checked_add(len_wanted as u64)? <= len).then_some(())?;
        let mut bytes = vec![0; len_wanted];
        file.seek(SeekFrom::Start(at)).ok()?;
        (fill(file, &mut bytes).ok()? == len_wanted).then_some(bytes)
    });
    let behind_first =
        |range: Range<u64>| range.start.max(PIECE as u64) as usize..range.end as usize;
    let inside = ranges.unwrap_or_default().into_iter().filter(|range| range.end <= len);
    inside.map(behind_first).filter(|range| !range.is_empty()).collect()
}

/// Returns whether the piece at `at` is kept, and its length.
fn next_piece(passing: &[Range<usize>], at: usize) -> (bool, usize) {
    let next = passing.iter().find(|range| range.end > at);
    match next {
        Some(range) if range.start <= at => (false, (range.end - at).min(PIECE)),
        Some(range) => (true, (range.start - at).min(PIECE)),
        None => (true, PIECE),
    }
}

/// Reads until `room` is full or the file ends, and returns the number of bytes read.
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
    use std::path::Path;

    use super::*;

    const IMAGE: Wanted = Wanted::Image(ElfUse::ImagesAndChip);

    fn whole(path: &Path, most: u64) -> io::Result<(Vec<u8>, Option<[u8; 32]>)> {
        read(File::open(path)?, Vec::new(), most, Wanted::Whole)
    }

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
            let (read_bytes, hash) = whole(&path, 1 << 30).unwrap();
            assert!(read_bytes == bytes, "{len}");
            assert_eq!(hash, hashed.then(|| sha256(&bytes)), "{len}");
            assert_eq!(Elf::new(read_bytes, hash).sha256, sha256(&bytes));
            let error = whole(&path, len as u64 - 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        }
        // Not an ELF: whoever needs its hash computes it.
        let other = vec![7; 2 * PIECE];
        std::fs::write(&path, &other).unwrap();
        let read_bytes = whole(&path, 1 << 30).unwrap();
        assert!(read_bytes == (other, None));
    }

    #[test]
    fn a_file_that_changes_is_not_told_a_wrong_hash() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.elf");
        let mut bytes = b"8 bytes.\x7fELF".to_vec();
        bytes.resize(2 * PIECE, 1);
        std::fs::write(&path, &bytes).unwrap();
        // As if the file had been truncated while it is read: the handle is past the start.
        let mut file = File::open(&path).unwrap();
        let mut skipped = [0; 8];
        file.read_exact(&mut skipped).unwrap();
        let (rest, hash) = read(file, Vec::new(), 1 << 30, IMAGE).unwrap();
        assert_eq!((rest.len(), hash), (2 * PIECE - 8, None));
    }
    /// Makes an ELF of program, debug information, notes and debug information, with these lengths.
    fn elf_of(lens: [usize; 4]) -> Vec<u8> {
        let names = b"\0.text\0.debug_info\0.note\0.shstrtab\0";
        let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
        let mut at = 52;
        let mut headers = vec![0; 40];
        let mut content = Vec::new();
        // Name, type PROGBITS, flag ALLOC of the first, and its address.
        let kinds = [(1, 2, 0x4200_0000), (7, 0, 0), (19, 0, 0), (7, 0, 0)];
        for ((name, flags, addr), len) in kinds.into_iter().zip(lens) {
            headers.extend(words(&[name, 1, flags, addr, at, len as u32, 0, 0, 1, 0]));
            content.extend((0..len).map(|byte| (byte * 7 % 251) as u8 | 1));
            at += len as u32;
        }
        headers.extend(words(&[25, 3, 0, 0, at, names.len() as u32, 0, 0, 1, 0]));
        let headers_at = at + names.len() as u32;
        let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0".to_vec();
        elf.extend(words(&[1, 0, 0, headers_at, 0]));
        elf.extend(words(&[52 | 32 << 16, 40 << 16, 6 | 5 << 16]));
        [&elf[..], &content, names, &headers].concat()
    }

    #[test]
    fn debug_information_is_hashed_and_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.elf");
        for lens in [
            [PIECE, 5 * PIECE + 3, 10, 1000],
            [1000, 7 * PIECE, 2 * PIECE, PIECE],
            [PIECE - 52, PIECE, 1, 0],
            [PIECE, 0, 7, 0],
            [10, 10, 10, 10],
        ] {
            let bytes = elf_of(lens);
            std::fs::write(&path, &bytes).unwrap();
            let file = File::open(&path).unwrap();
            let (kept, hash) = read(file, Vec::new(), 1 << 30, IMAGE).unwrap();
            assert_eq!(Elf::new(kept.clone(), hash).sha256, sha256(&bytes), "{lens:?}");
            let mut expected = bytes.clone();
            // The first piece is always kept, as is a small file.
            let first = if bytes.len() < PIECE { bytes.len() } else { PIECE };
            let ends = lens.iter().scan(52, |at, len| {
                *at += len;
                Some(*at)
            });
            let ends: Vec<usize> = ends.collect();
            for range in [ends[0]..ends[1], ends[2]..ends[3]] {
                let start = range.start.max(first);
                expected[start.min(range.end)..range.end].fill(0);
            }
            assert!(kept == expected, "{lens:?}");
        }
    }
}
