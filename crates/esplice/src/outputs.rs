//! Files that are written together or not at all.

use std::{
    ffi::OsString,
    fs, io,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    exit::{Exit, Failure},
    shell::Shell,
    source,
};

/// The names of what `build` writes, made from `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The app image alone.
    pub image: PathBuf,
    /// The flash from offset 0.
    pub merged: PathBuf,
    pub elf: PathBuf,
    pub plan: PathBuf,
}

impl Names {
    /// The names beside `output`, whose last extension the others replace.
    pub fn new(output: &Path) -> Result<Names, Failure> {
        let shown = output.display();
        let stem = output.file_stem().filter(|_| !output.is_dir());
        let Some(stem) = stem else {
            return Err(Failure::usage(format!("--output {shown} names no file")));
        };
        let beside = |end: &str| {
            let mut name = OsString::from(stem);
            name.push(end);
            output.with_file_name(name)
        };
        let names = Names {
            image: output.to_owned(),
            merged: beside(".merged.bin"),
            elf: beside(".elf"),
            plan: beside(".plan.json"),
        };
        if [&names.merged, &names.elf, &names.plan].contains(&&names.image) {
            return Err(Failure::usage(format!("--output {shown} is the name of another output"))
                .hint("let it end in .bin"));
        }
        Ok(names)
    }

    /// The plan that belongs to the image at `path`.
    pub fn plan_beside(path: &Path) -> Option<PathBuf> {
        path.file_name()?;
        let mut name = source::stem(path);
        name.push(".plan.json");
        Some(path.with_file_name(name))
    }
}

/// A file on its way: beside its place, under another name.
#[derive(Debug)]
pub struct Staged {
    /// None where the place holds these bytes already.
    file: Option<tempfile::TempPath>,
    path: PathBuf,
    /// The directories that were made for it, the outermost first.
    made: Vec<PathBuf>,
}

impl Staged {
    /// Writes `bytes` beside `path`. A failure takes nothing away.
    pub fn write(path: &Path, bytes: &[u8]) -> Result<Staged, Failure> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if path.is_dir() {
            return Err(cannot(path, &io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let made = made_directories(directory).map_err(|e| cannot(path, &e))?;
        let mut staged = Staged { file: None, path: path.to_owned(), made };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".esplice-").suffix(".tmp");
        // As plain files are made: the user's umask decides.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(directory).map_err(|e| cannot(path, &e))?;
        file.write_all(bytes).map_err(|e| cannot(path, &e))?;
        // Closed at once: a command may write more files than it may have open.
        staged.file = Some(file.into_temp_path());
        Ok(staged)
    }

    /// [`Staged::write`] for files that may be there already: one that holds these bytes gets the time of
    /// now and no others, which is faster, and spares the disk.
    pub fn write_changed(path: &Path, bytes: &[u8]) -> Result<Staged, Failure> {
        if holds(path, bytes).unwrap_or(false) {
            return Ok(Staged { file: None, path: path.to_owned(), made: Vec::new() });
        }
        Staged::write(path, bytes)
    }
}

/// What was not committed goes, and the directories made for it.
impl Drop for Staged {
    fn drop(&mut self) {
        drop(self.file.take());
        for directory in self.made.iter().rev() {
            // One that holds something else by now stays.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Makes `directory` and those above it that are missing; gives those it made, the outermost first.
fn made_directories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let above = directory.ancestors().filter(|above| !above.as_os_str().is_empty());
    let mut missing: Vec<_> =
        above.take_while(|above| !above.exists()).map(Path::to_owned).collect();
    missing.reverse();
    fs::create_dir_all(directory)?;
    Ok(missing)
}

/// Files that get their names together, by [`Outputs::commit`].
#[derive(Debug, Default)]
pub struct Outputs {
    files: Vec<Staged>,
}

impl Outputs {
    /// Writes `bytes` beside `path`, unless that holds them already. A failure takes nothing away.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        self.files.push(Staged::write_changed(path, bytes)?);
        Ok(())
    }

    /// Takes in a file that was written apart.
    pub fn add_staged(&mut self, staged: Staged) {
        self.files.push(staged);
    }

    /// Gives all files their names, and tells which directories were made for them.
    pub fn commit(mut self, shell: &mut Shell) -> Result<(), Failure> {
        let mut told: Option<PathBuf> = None;
        for mut staged in std::mem::take(&mut self.files) {
            let Some(file) = staged.file.take() else {
                touch(&staged.path);
                continue;
            };
            file.persist(&staged.path).map_err(|e| cannot(&staged.path, &e.error))?;
            // A mistyped place is seen.
            if let Some(innermost) = std::mem::take(&mut staged.made).pop()
                && told.as_ref() != Some(&innermost)
            {
                shell.status(&format!("Made the directory {}", innermost.display()));
                told = Some(innermost);
            }
        }
        Ok(())
    }
}

/// The first file, for which directories were made, goes last.
impl Drop for Outputs {
    fn drop(&mut self) {
        while self.files.pop().is_some() {}
    }
}

/// Gives the file the time of now, as if it had been written: `make` and its like go by that. Where that
/// can't be done, its bytes are right all the same.
fn touch(path: &Path) {
    #[cfg(unix)]
    {
        use nix::sys::{
            stat::{UtimensatFlags, utimensat},
            time::TimeSpec,
        };
        let now = TimeSpec::UTIME_NOW;
        let _ = utimensat(nix::fcntl::AT_FDCWD, path, &now, &now, UtimensatFlags::FollowSymlink);
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Whether the file at `path` holds `bytes`; read piece by piece up to the first difference.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() != bytes.len() as u64 {
        return Ok(false);
    }
    let mut buffer = vec![0; 0x2_0000];
    for piece in bytes.chunks(buffer.len()) {
        let room = &mut buffer[..piece.len()];
        file.read_exact(room)?;
        if room != piece {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether both are one file.
pub fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied, StorageFull};
    let exit = match error.kind() {
        // The place is wrong, not the machine.
        NotFound | NotADirectory | IsADirectory | PermissionDenied => Exit::Usage,
        _ => Exit::Internal,
    };
    let failure = Failure::new(exit, format!("cannot write {}: {error}", path.display()));
    match error.kind() {
        StorageFull => failure.hint("make room, or give --output another place"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::Format;

    #[test]
    fn names_are_made_from_the_image() {
        let names = Names::new(Path::new("out/hello.bin")).unwrap();
        assert_eq!(names.merged, Path::new("out/hello.merged.bin"));
        assert_eq!(names.elf, Path::new("out/hello.elf"));
        assert_eq!(names.plan, Path::new("out/hello.plan.json"));
        let names = Names::new(Path::new("v1.2.bin")).unwrap();
        assert_eq!(names.elf, Path::new("v1.2.elf"));
        assert!(Names::new(Path::new("hello.elf")).is_err());
        assert!(Names::new(Path::new("/")).is_err());
        assert!(Names::new(Path::new("..")).is_err());
    }

    #[test]
    fn nothing_is_left_of_outputs_that_were_not_committed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.bin");
        fs::write(&path, "old").unwrap();
        let mut outputs = Outputs::default();
        outputs.add(&path, b"new").unwrap();
        outputs.add(&directory.path().join("a.bin/b.bin"), b"").unwrap_err();
        drop(outputs);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

        let mut outputs = Outputs::default();
        outputs.add(&path, b"new").unwrap();
        outputs.commit(&mut shell()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn directories_are_made_and_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let there = directory.path().join("there");
        fs::create_dir(&there).unwrap();
        for path in [there.join("a/b/c.bin"), there.join("d.bin")] {
            let mut outputs = Outputs::default();
            outputs.add(&path, b"new").unwrap();
            outputs.add(&path.with_extension("elf"), b"another").unwrap();
            drop(outputs);
            assert_eq!(fs::read_dir(&there).unwrap().count(), 0, "{}", path.display());
        }
        let path = there.join("a/b/c.bin");
        let mut outputs = Outputs::default();
        outputs.add(&path, b"new").unwrap();
        outputs.commit(&mut shell()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        // What others put there meanwhile stays.
        let staged = Staged::write(&there.join("e/f.bin"), b"new").unwrap();
        fs::write(there.join("e/other"), "other").unwrap();
        drop(staged);
        assert!(there.join("e/other").is_file());
    }

    fn shell() -> Shell {
        Shell::new(Format::Text, true)
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_stays_gets_the_time_of_now() {
        use std::time::{Duration, SystemTime};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.bin");
        fs::write(&path, "same").unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        let mut outputs = Outputs::default();
        outputs.add(&path, b"same").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago);
        outputs.commit(&mut shell()).unwrap();
        assert!(fs::metadata(&path).unwrap().modified().unwrap() >= written);
    }

    #[test]
    fn a_large_file_is_written_only_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.elf");
        let old = vec![7; 300_000];
        let mut last_differs = old.clone();
        last_differs[299_999] = 8;
        let check = |bytes: &[u8], written: bool| {
            let staged = Staged::write_changed(&path, bytes).unwrap();
            assert_eq!(staged.file.is_some(), written);
            let mut outputs = Outputs::default();
            outputs.add_staged(staged);
            outputs.commit(&mut shell()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        };
        check(&old, true);
        check(&old, false);
        check(&last_differs, true);
        check(&old[..1000], true);
        check(&[], true);
        check(&[], false);
    }
}
