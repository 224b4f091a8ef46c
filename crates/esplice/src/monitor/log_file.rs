//! The file that all output of a board goes to, byte by byte as it came.

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

/// How often, a tenth of a second apart, a pipe's reader is waited for: the board goes on meanwhile.
const PATIENCE: u32 = 10;

/// A log, written through at once: what is in it at any moment is all that has come.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// None since a write has failed.
    file: Option<File>,
    /// It is a pipe or device.
    is_stream: bool,
    written: u64,
    /// What went wrong.
    failed: Option<String>,
}

impl LogFile {
    /// Begins the log: a regular file is emptied, a pipe or device is written to as it is.
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

    /// The name of the log of the port at `index` of several: `a.2.log`.
    pub fn name(path: &Path, index: usize) -> PathBuf {
        let mut name = path.file_stem().unwrap_or_default().to_owned();
        name.push(format!(".{}", index + 1));
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        path.with_file_name(name)
    }

    /// Adds bytes. Where that fails, it is told once and the log ends; the board is watched on.
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
                    io::ErrorKind::Interrupted => io::Error::other("its reader takes no more"),
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

    /// Whether all is in it.
    pub fn finish(self) -> Result<(), Failure> {
        match self.failed {
            None => Ok(()),
            Some(message) => Err(Failure::new(Exit::Internal, message)
                .hint("make room there, or give --log another place")),
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
