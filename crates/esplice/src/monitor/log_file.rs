//! Logs all output of a board to a file, byte by byte.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    files::output_place::{OutputPlace, cannot_write, write_stream},
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

/// Number of attempts, a tenth of a second apart, to wait for a pipe's reader while the board runs.
const PATIENCE: u32 = 10;

/// An unbuffered log: the file always contains everything received.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// The file; `None` after a write has failed.
    file: Option<File>,
    /// True if it is a pipe or device.
    is_stream: bool,
    written: u64,
    /// The error, if a write failed.
    failed: Option<String>,
}

impl LogFile {
    /// Creates the log: truncates a regular file, opens a pipe or device.
    pub fn create(path: &Path) -> Result<LogFile, Failure> {
        let place = OutputPlace::find(path)?;
        let opened = match place.file() {
            Some(file) => File::create(file).map(|file| (file, false)),
            None => place.stream().and_then(|stream| {
                stream.map(|stream| (stream, true)).ok_or(io::ErrorKind::NotFound.into())
            }),
        };
        let (file, is_stream) = opened.map_err(|error| cannot_write(path, &error))?;
        let path = path.to_owned();
        Ok(LogFile { path, file: Some(file), is_stream, written: 0, failed: None })
    }

    /// Returns the name of the log for the port at `index` of several, such as `a.2.log`.
    pub fn name(path: &Path, index: usize) -> PathBuf {
        let mut name = path.file_stem().unwrap_or_default().to_owned();
        name.push(format!(".{}", index + 1));
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        path.with_file_name(name)
    }

    /// Appends bytes. If that fails, the error is reported once and the log ends; watching
    /// continues.
    pub fn write(&mut self, bytes: &[u8], shell: &mut Shell) {
        let Some(file) = &mut self.file else { return };
        let mut looks = 0;
        let written = if self.is_stream {
            write_stream(file, bytes, || {
                looks += 1;
                looks <= PATIENCE && !shell.is_interrupted()
            })
        } else {
            file.write_all(bytes)
        };
        match written {
            Ok(()) => self.written += bytes.len() as u64,
            Err(error) => {
                let error = match error.kind() {
                    io::ErrorKind::Interrupted => io::Error::other("its reader stopped reading"),
                    _ => error,
                };
                let message = format!(
                    "the log {} ends here, after {} bytes: {error}",
                    self.path.display(),
                    self.written
                );
                shell.warning(&message);
                self.failed = Some(message);
                self.file = None;
            }
        }
    }

    /// Returns an error if the log is incomplete.
    pub fn finish(self) -> Result<(), Failure> {
        match self.failed {
            None => Ok(()),
            Some(message) => Err(Failure::new(Exit::Internal, message)
                .hint("free some space there, or choose another path for --log")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_has_a_log_of_its_own() {
        assert_eq!(LogFile::name(Path::new("a/b.log"), 1), Path::new("a/b.2.log"));
        assert_eq!(LogFile::name(Path::new("b"), 0), Path::new("b.1"));
    }
}
