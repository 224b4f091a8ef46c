//! Reads files and refuses those that have no end.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use esplice_image::{Content, unxz};

use crate::{
    files::{
        elf_file::{self, Elf, Wanted},
        missing, of_file,
    },
    ui::exit::{Exit, Failure},
};

/// Size of the largest file that is read, in bytes: far more than any flash or debug information.
pub const LARGEST: u64 = 1 << 30;

/// Size of the largest file that is unpacked, in bytes: far more than any flash.
const LARGEST_UNPACKED: usize = 256 << 20;
/// Limit for flash content, in bytes: more than any flash chip of these boards has (1 Gbit).
const LARGEST_FLASH: u64 = 256 << 20;

/// Reads the whole file at `path`, and unpacks an xz file.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    unpacked(path, read_bounded(path).map_err(|error| missing::unreadable(path, &error))?)
}

/// Like [`read`], with the SHA-256 if it was computed along the way.
pub fn read_hashed(path: &Path, wanted: Wanted) -> Result<(Vec<u8>, Option<[u8; 32]>), Failure> {
    let read = open(path).and_then(|(file, first)| elf_file::read(file, first, LARGEST, wanted));
    let (bytes, sha256) = read.map_err(|error| missing::unreadable(path, &error))?;
    Ok((unpacked(path, bytes)?, sha256))
}

/// Reads the ELF at `path`, which a compiler has just written.
pub fn read_elf(path: &Path) -> Result<Elf, Failure> {
    let (bytes, sha256) = read_hashed(path, Wanted::Whole)?;
    Ok(Elf::new(bytes, sha256).at(path))
}

/// Reads a file for a range of flash: a bootloader, a table, or the content of a partition. Its
/// size is limited to that of the largest flash chip, which bounds memory.
pub fn read_for_flash(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read_up_to(path, LARGEST_FLASH).map_err(|error| cannot_read(path, &error))?;
    unpacked(path, bytes)
}

fn unpacked(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if Content::of(&bytes) != Content::Xz {
        return Ok(bytes);
    }
    unxz(&bytes, LARGEST_UNPACKED).map_err(|error| of_file(path, error.into()))
}

/// Returns the name of a file without its extension, and without the extension of xz.
pub fn stem(path: &Path) -> OsString {
    let packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xz"));
    let plain = if packed { path.with_extension("") } else { path.to_owned() };
    plain.file_stem().unwrap_or_default().to_owned()
}

pub fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        // No file can have such a name.
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => Exit::Usage,
        io::ErrorKind::OutOfMemory => Exit::Internal,
        _ => Exit::BadInput,
    };
    let failure = Failure::new(exit, format!("cannot read {}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::OutOfMemory => failure.hint("close other programs, or give a smaller file"),
        io::ErrorKind::FileTooLarge => failure.hint("is it a device, or another file?"),
        _ => failure,
    }
}

/// Like [`read`], but without unpacking, and with the system's error.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    read_up_to(path, LARGEST)
}

/// Reads the whole file at `path`, unless it is larger than `most`: a device may have no end.
pub fn read_up_to(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, bytes) = open(path)?;
    read_rest(file, bytes, most)
}

/// Reads the first `most` bytes of the file at `path`, or all of it.
pub fn read_first(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, mut bytes) = open(path)?;
    file.take(most.saturating_sub(bytes.len() as u64)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the rest of `file` after `bytes`, which were already read, unless the total exceeds
/// `most`.
pub fn read_rest(file: File, mut bytes: Vec<u8>, most: u64) -> io::Result<Vec<u8>> {
    // Reserves memory for the expected rest at once.
    let more = file.metadata()?.len().min(most).saturating_sub(bytes.len() as u64);
    bytes.try_reserve(more as usize)?;
    file.take((most + 1).saturating_sub(bytes.len() as u64)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("it has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Opens a file, and returns it with the bytes read to probe it. A pipe is opened only if it has a
/// writer, because reading would otherwise block forever.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<(File, Vec<u8>)> {
    use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    if !std::fs::metadata(path)?.file_type().is_fifo() {
        return Ok((File::open(path)?, Vec::new()));
    }
    let no_wait = OFlag::O_NONBLOCK;
    let mut file = File::options().read(true).custom_flags(no_wait.bits()).open(path)?;
    let mut first = [0];
    let first = match file.read(&mut first) {
        Ok(0) => return Err(io::Error::other("it is a pipe that nothing writes to")),
        Ok(_) => first.to_vec(),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Vec::new(),
        Err(error) => return Err(error),
    };
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((file, first))
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<(File, Vec<u8>)> {
    Ok((File::open(path)?, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_read_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.bin");
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read_up_to(&path, 100).unwrap(), [7; 100]);
        let error = read_up_to(&path, 99).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 99 bytes");
        #[cfg(unix)]
        assert!(read_up_to(Path::new("/dev/zero"), 1000).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_read_to_its_end_and_without_a_writer_not_at_all() {
        use std::io::Write as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = read_up_to(&path, 100).unwrap_err();
        assert_eq!(error.to_string(), "it is a pipe that nothing writes to");

        // Opened for both directions, so that the pipe has a writer before the reader starts.
        let mut writer = File::options().read(true).write(true).open(&path).unwrap();
        let reader = std::thread::spawn(move || {
            let (file, mut bytes) = open(&path).unwrap();
            let left = 10 - bytes.len() as u64;
            file.take(left).read_to_end(&mut bytes).map(|_| bytes)
        });
        writer.write_all(&[7; 4]).unwrap();
        writer.write_all(&[7; 6]).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), [7; 10]);
    }
}
