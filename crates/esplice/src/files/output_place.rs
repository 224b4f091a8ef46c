//! Decides how an output is written by what exists at its path.
//!
//! A regular file is replaced as a whole: a file next to it is renamed over it. Symlinks are
//! followed, so that their target is replaced. Pipes and character devices are written to directly.
//! Block devices, sockets and directories are refused.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::ui::exit::{Exit, Failure};

/// Maximum number of consecutive symlinks, the same as on Linux.
const MOST_LINKS: usize = 40;

/// The destination of an output.
#[derive(Debug)]
pub struct OutputPlace {
    /// Path as the user named it.
    named: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A regular file, or a path that does not exist yet; the path is not a symlink.
    File(PathBuf),
    /// A pipe or device, opened for writing.
    Stream(File),
}

impl OutputPlace {
    /// Inspects `path`, and opens it unless it is a regular file.
    pub fn find(path: &Path) -> Result<OutputPlace, Failure> {
        let kind = kind_of(path).map_err(|error| cannot_write(path, &error))?;
        Ok(OutputPlace { named: path.to_owned(), kind })
    }

    /// Returns the path as the user named it.
    pub fn named(&self) -> &Path {
        &self.named
    }

    /// Returns the path of the regular file, or `None` for a pipe or device.
    pub fn file(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(path) => Some(path),
            Kind::Stream(_) => None,
        }
    }

    /// Returns a new handle to the pipe or device.
    pub fn stream(&self) -> io::Result<Option<File>> {
        match &self.kind {
            Kind::File(_) => Ok(None),
            Kind::Stream(file) => file.try_clone().map(Some),
        }
    }

    /// Removes the regular file, if it exists.
    pub fn remove(&self) -> Result<(), Failure> {
        match self.file().map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                Err(cannot_write(&self.named, &error))
            }
            _ => Ok(()),
        }
    }
}

fn kind_of(path: &Path) -> io::Result<Kind> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if found.is_file() => {
            let target = followed(path)?;
            // `/dev/stdout` and the like: another program has the file open and keeps it.
            let is_open = target.starts_with("/proc") || target.starts_with("/dev/fd");
            let append = || File::options().append(true).open(path);
            if is_open { append().map(Kind::Stream) } else { Ok(Kind::File(target)) }
        }
        Ok(found) => open_special(path, &found).map(Kind::Stream),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let target = followed(path)?;
            if target.file_name().is_none() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok(Kind::File(target))
        }
        Err(error) => Err(error),
    }
}

/// Follows the symlinks at the end of `path`, even to a target that does not exist.
pub fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if path.starts_with("/proc") {
            return Ok(path);
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            _ => return Ok(path),
        }
    }
    Err(io::Error::other("too many symlinks in a row"))
}

/// Opens a pipe or a character device for writing, without blocking.
#[cfg(unix)]
fn open_special(path: &Path, found: &fs::Metadata) -> io::Result<File> {
    use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};

    use nix::{errno::Errno, fcntl::OFlag};

    let kind = found.file_type();
    let refused = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if kind.is_block_device() {
        return refused("it is a block device");
    }
    if kind.is_socket() {
        return refused("it is a socket");
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    match File::options().write(true).custom_flags(flags.bits()).open(path) {
        Err(error) if kind.is_fifo() && error.raw_os_error() == Some(Errno::ENXIO as i32) => {
            refused("it is a pipe that nothing reads from")
        }
        opened => opened,
    }
}

#[cfg(not(unix))]
fn open_special(path: &Path, _: &fs::Metadata) -> io::Result<File> {
    File::options().write(true).open(path)
}

/// Writes all `bytes` to the stream that [`OutputPlace::stream`] returned. Waits for a slow reader
/// as long as `goes_on` returns true.
///
/// # Errors
/// Returns [`io::ErrorKind::Interrupted`] when `goes_on` returns false, and errors of the system.
pub fn write_stream(
    stream: &File,
    mut bytes: &[u8],
    mut goes_on: impl FnMut() -> bool,
) -> io::Result<()> {
    use io::Write as _;
    while !bytes.is_empty() {
        match (&mut &*stream).write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !goes_on() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                wait(stream)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until `stream` accepts more bytes, a tenth of a second at most.
#[cfg(unix)]
fn wait(stream: &File) -> io::Result<()> {
    use std::os::fd::AsFd as _;

    use nix::{
        errno::Errno,
        poll::{PollFd, PollFlags, poll},
    };
    let mut ready = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut ready, WAIT_MS) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Milliseconds between checks whether to keep waiting for a stream.
#[cfg(unix)]
const WAIT_MS: u16 = 100;

#[cfg(not(unix))]
fn wait(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Returns the failure for an output at `path` that could not be written.
pub fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    use io::ErrorKind::{
        InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied,
        ReadOnlyFilesystem, StorageFull,
    };
    let exit = match error.kind() {
        // The path is at fault, not the machine.
        NotFound | NotADirectory | IsADirectory | PermissionDenied | ReadOnlyFilesystem
        | InvalidFilename | InvalidInput => Exit::Usage,
        io::ErrorKind::Interrupted => Exit::Interrupted,
        _ => Exit::Internal,
    };
    let failure = Failure::new(exit, format!("cannot write {}: {error}", path.display()));
    match error.kind() {
        StorageFull => failure.hint("free some space, or choose another path"),
        _ => failure,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[track_caller]
    fn refused(path: &Path, words: &str) {
        let failure = OutputPlace::find(path).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }

    #[test]
    fn what_is_there_decides() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(OutputPlace::find(&at("new")).unwrap().file(), Some(at("new").as_path()));
        refused(directory.path(), "directory");
        refused(&at(&"n".repeat(300)), "name");
        refused(Path::new("a\0b"), "NUL");

        // A link leads to the file that is replaced, whether or not it exists.
        symlink("new", at("to-new")).unwrap();
        symlink(at("to-new"), at("twice")).unwrap();
        assert_eq!(OutputPlace::find(&at("twice")).unwrap().file(), Some(at("new").as_path()));
        symlink("around", at("around")).unwrap();
        assert!(OutputPlace::find(&at("around")).is_err());

        let null = OutputPlace::find(Path::new("/dev/null")).unwrap();
        assert_eq!(null.file(), None);
        write_stream(&null.stream().unwrap().unwrap(), b"gone", || true).unwrap();
        null.remove().unwrap();

        std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        refused(&at("socket"), "it is a socket");
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        refused(&at("pipe"), "it is a pipe that nothing reads from");
    }

    #[test]
    fn a_pipe_that_is_full_is_waited_for_and_given_up_when_told() {
        use std::io::Read as _;
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = File::options().read(true).write(true).open(&pipe).unwrap();
        let place = OutputPlace::find(&pipe).unwrap();
        let stream = place.stream().unwrap().unwrap();
        let bytes = vec![7; 1 << 20];
        let mut looks = 0;
        let error = write_stream(&stream, &bytes, || {
            looks += 1;
            looks < 3
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::Interrupted);
        // Drains the bytes written before, so that the next ones arrive complete.
        let mut old = vec![0; 1 << 16];
        assert!(reader.read(&mut old).unwrap() > 0);
        let reading = std::thread::spawn(move || {
            let mut read = vec![0; 1 << 20];
            reader.read_exact(&mut read).map(|()| read)
        });
        write_stream(&stream, &bytes, || true).unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), bytes);
    }
}
