//! The file that all output of a board goes to, byte by byte as it came.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{
    exit::{Exit, Failure},
    shell::Shell,
};

/// A log, written through at once: what is in it at any moment is all that has come.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// None since a write has failed.
    file: Option<File>,
    written: u64,
    /// What went wrong.
    failed: Option<String>,
}

impl LogFile {
    /// Makes the file anew.
    pub fn create(path: &Path) -> Result<LogFile, Failure> {
        let file = File::create(path)
            .map_err(|e| Failure::input(format!("cannot write {}: {e}", path.display())))?;
        Ok(LogFile { path: path.to_owned(), file: Some(file), written: 0, failed: None })
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
        match file.write_all(bytes) {
            Ok(()) => self.written += bytes.len() as u64,
            Err(error) => {
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
