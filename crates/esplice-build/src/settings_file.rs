//! Reading of settings and target files.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use crate::Error;

/// Maximum size of such a file in bytes, as in esplice itself.
const LARGEST: u64 = 1 << 20;

/// Returns the text of the file at `path`.
///
/// # Errors
/// Returns [`Error::Io`], also for a file over 1 MiB: it is a wrong file or an endless device.
pub fn read(path: &Path) -> Result<String, Error> {
    text(path).map_err(|source| Error::Io { verb: "read", path: path.to_owned(), source })
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let len = File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)? as u64;
    if len > LARGEST {
        let message = format!("it has more than {LARGEST} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("esplice.toml");
        std::fs::write(&path, "[layout]\n").unwrap();
        assert_eq!(read(&path).unwrap(), "[layout]\n");
        std::fs::write(&path, "#".repeat(LARGEST as usize + 1)).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("it has more than 1048576 bytes"), "{message}");
    }
}
