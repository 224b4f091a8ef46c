//! Writes several files together or not at all.

use std::{
    ffi::OsString,
    fs, io,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    files::{
        output_place::{OutputPlace, cannot_write, followed, write_stream},
        read,
    },
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

/// Names of the files that `build` writes, derived from `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The app image.
    pub image: PathBuf,
    /// The whole flash, from offset 0.
    pub merged: PathBuf,
    pub elf: PathBuf,
    pub plan: PathBuf,
}

impl Names {
    /// Returns the names for `output`; the other files replace its last extension.
    pub fn new(output: &Path) -> Result<Names, Failure> {
        let shown = output.display();
        let stem = output.file_stem().filter(|_| !output.is_dir());
        let Some(stem) = stem else {
            return Err(Failure::usage(format!("--output {shown} is not a file name")));
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
                .hint("use a name that ends in .bin"));
        }
        Ok(names)
    }

    /// Returns the path of the plan for the image at `path`.
    pub fn plan_beside(path: &Path) -> Option<PathBuf> {
        path.file_name()?;
        let mut name = read::stem(path);
        name.push(".plan.json");
        Some(path.with_file_name(name))
    }
}

/// An output that is ready to be committed.
#[derive(Debug)]
pub struct Staged {
    /// Path as the user named it.
    named: PathBuf,
    ready: Ready,
    /// Directories that were created for it, the outermost first.
    made: Vec<PathBuf>,
}

#[derive(Debug)]
enum Ready {
    /// A temporary file next to `place`, which it will replace.
    File { file: tempfile::TempPath, place: PathBuf },
    /// The file at `place` already has this content.
    /// `held` keeps its inode number from being reused.
    There { place: PathBuf, identity: Identity, held: Option<fs::File> },
    /// Bytes for a pipe or device.
    Stream { stream: fs::File, bytes: Vec<u8> },
    /// Already committed, or given up.
    Nothing,
}

impl Staged {
    /// Writes `bytes` to a temporary file next to `place`, or keeps them for a pipe or device. On
    /// failure, existing files remain.
    pub fn write(place: &OutputPlace, bytes: &[u8]) -> Result<Staged, Failure> {
        let named = place.named();
        let cannot = |error: io::Error| cannot_write(named, &error);
        let mut staged = Staged { named: named.to_owned(), ready: Ready::Nothing, made: vec![] };
        if let Some(stream) = place.stream().map_err(cannot)? {
            staged.ready = Ready::Stream { stream, bytes: bytes.to_vec() };
            return Ok(staged);
        }
        let path = place.file().unwrap_or(named);
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        staged.made = made_directories(directory).map_err(cannot)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".esplice-").suffix(".tmp");
        // The same mode as for plain files: the user's umask decides.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(directory).map_err(cannot)?;
        file.write_all(bytes).map_err(cannot)?;
        // Closed at once: a command may write more files than it may have open.
        staged.ready = Ready::File { file: file.into_temp_path(), place: path.to_owned() };
        Ok(staged)
    }

    /// Like [`Staged::write`], for files that may already have the content. Such a file only gets a
    /// new modification time, which is faster and spares the disk.
    pub fn write_changed(place: &OutputPlace, bytes: &[u8]) -> Result<Staged, Failure> {
        if let Some(path) = place.file()
            && let Ok(Some((file, identity))) = holds(path, bytes)
        {
            let ready = Ready::There { place: path.to_owned(), identity, held: Some(file) };
            return Ok(Staged { named: place.named().to_owned(), ready, made: vec![] });
        }
        Staged::write(place, bytes)
    }

    /// Returns the directory that will change.
    #[cfg(unix)]
    fn directory(&self) -> Option<PathBuf> {
        let place = match &self.ready {
            Ready::File { place, .. } | Ready::There { place, .. } => place,
            Ready::Stream { .. } | Ready::Nothing => return None,
        };
        match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => Some(parent.to_owned()),
            _ => Some(PathBuf::from(".")),
        }
    }

    /// Fails if the destination has changed since it was prepared.
    fn check(&self) -> Result<(), Failure> {
        let changed = |what: &str| {
            let message = format!("{} {what} in the meantime", self.named.display());
            Err(Failure::new(Exit::Internal, message)
                .hint("another program writes the same files; run it again"))
        };
        match &self.ready {
            Ready::There { place, identity, .. } => match fs::metadata(place) {
                Ok(found) if Identity::of(&found) == *identity => Ok(()),
                _ => changed("was replaced"),
            },
            Ready::File { place, .. } => match fs::symlink_metadata(place) {
                Ok(found) if !found.is_file() => changed("has become something else"),
                _ => Ok(()),
            },
            Ready::Stream { .. } | Ready::Nothing => Ok(()),
        }
    }
}

/// Removes an uncommitted file and the directories created for it.
impl Drop for Staged {
    fn drop(&mut self) {
        self.ready = Ready::Nothing;
        for directory in self.made.iter().rev() {
            // A directory that is no longer empty stays.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Identity of a file, to detect that another file replaced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    /// Device and inode number; zero on systems without them.
    number: (u64, u64),
    len: u64,
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Identity {
        #[cfg(unix)]
        let number = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let number = (0, 0);
        Identity { number, len: metadata.len() }
    }
}

/// Atomically replaces the file at `path`, or the target of a symlink there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = followed(path)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file =
        tempfile::Builder::new().prefix(".esplice-").suffix(".tmp").tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// Creates missing directories for a file that is written continuously, and reports that.
pub fn make_room_for(path: &Path, shell: &mut Shell) -> Result<(), Failure> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Some(directory) = directory.filter(|directory| !directory.exists()) else { return Ok(()) };
    let mut made = made_directories(directory).map_err(|error| cannot_write(path, &error))?;
    if let Some(innermost) = made.pop() {
        shell.status(&format!("Created the directory {}", innermost.display()));
    }
    Ok(())
}

/// Creates `directory` and its missing parents. Returns those created, the outermost first.
fn made_directories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let above = directory.ancestors().filter(|above| !above.as_os_str().is_empty());
    let mut missing: Vec<_> =
        above.take_while(|above| !above.exists()).map(Path::to_owned).collect();
    missing.reverse();
    fs::create_dir_all(directory)?;
    Ok(missing)
}

/// Files that are put into place together by [`Outputs::commit`].
#[derive(Debug, Default)]
pub struct Outputs {
    files: Vec<Staged>,
}

impl Outputs {
    /// Prepares `bytes` for `path`, unless it already has this content. On failure, existing files
    /// remain.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        self.add_at(&OutputPlace::find(path)?, bytes)
    }

    /// Like [`Outputs::add`], for a destination already found.
    pub fn add_at(&mut self, place: &OutputPlace, bytes: &[u8]) -> Result<(), Failure> {
        let mut staged = Staged::write_changed(place, bytes)?;
        if self.files.len() >= MOST_HELD
            && let Ready::There { held, .. } = &mut staged.ready
        {
            *held = None;
        }
        self.files.push(staged);
        Ok(())
    }

    /// Adds a file that was prepared separately.
    pub fn add_staged(&mut self, staged: Staged) {
        self.files.push(staged);
    }

    /// Puts all files into place, in the order in which they were added, and reports the
    /// directories created for them. Programs that write to the same directory wait for each other,
    /// so that the final files all come from one of them.
    pub fn commit(mut self, shell: &mut Shell) -> Result<(), Failure> {
        let mut told: Option<PathBuf> = None;
        let mut files = std::mem::take(&mut self.files);
        let locks = Locks::take(&files, shell);
        files.iter().try_for_each(Staged::check)?;
        for staged in &mut files {
            match std::mem::replace(&mut staged.ready, Ready::Nothing) {
                Ready::File { file, place } => {
                    file.persist(&place).map_err(|e| cannot_write(&staged.named, &e.error))?;
                    // Reported so that a mistyped path is noticed.
                    if let Some(innermost) = std::mem::take(&mut staged.made).pop()
                        && told.as_ref() != Some(&innermost)
                    {
                        shell.status(&format!("Created the directory {}", innermost.display()));
                        told = Some(innermost);
                    }
                }
                Ready::There { place, .. } => touch(&place),
                // Written after the locks are released, so that nobody else waits for its reader.
                stream @ Ready::Stream { .. } => staged.ready = stream,
                Ready::Nothing => {}
            }
        }
        drop(locks);
        for staged in &files {
            if let Ready::Stream { stream, bytes } = &staged.ready {
                write_stream(stream, bytes, || !shell.is_interrupted())
                    .map_err(|error| cannot_write(&staged.named, &error))?;
            }
        }
        Ok(())
    }
}

/// Maximum number of unchanged outputs kept open until the commit; a command may write more files
/// than it may have open.
const MOST_HELD: usize = 64;

/// Locks on directories against other instances, held until dropped.
struct Locks {
    #[cfg(unix)]
    _directories: Vec<fs::File>,
}

impl Locks {
    /// Locks the directories of `files`. If a lock is not available in time, continues without it;
    /// a mix of files is then detected by their hashes.
    #[cfg(unix)]
    fn take(files: &[Staged], shell: &Shell) -> Locks {
        let real = |staged: &Staged| fs::canonicalize(staged.directory()?).ok();
        let mut directories: Vec<PathBuf> = files.iter().filter_map(real).collect();
        // Always in the same order, so that two programs cannot deadlock.
        directories.sort();
        directories.dedup();
        let lock = |path: &PathBuf| {
            let directory = fs::File::open(path).ok()?;
            for _ in 0..LOCK_TRIES {
                match directory.try_lock() {
                    Ok(()) => return Some(directory),
                    Err(fs::TryLockError::WouldBlock) if !shell.is_interrupted() => pause(),
                    Err(_) => return None,
                }
            }
            None
        };
        Locks { _directories: directories.iter().filter_map(lock).collect() }
    }

    #[cfg(not(unix))]
    fn take(_: &[Staged], _: &Shell) -> Locks {
        Locks {}
    }
}

/// Number of attempts to lock a directory, [`PAUSE`] apart: five seconds in total.
#[cfg(unix)]
const LOCK_TRIES: u32 = 1000;
#[cfg(unix)]
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// Waits for another program on the host, on no port's clock.
#[cfg(unix)]
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// Removes the files in reverse order, so that the first file, for which directories were created,
/// goes last.
impl Drop for Outputs {
    fn drop(&mut self) {
        while self.files.pop().is_some() {}
    }
}

/// Sets the modification time to now, as if the file had been written, because `make` and similar
/// tools depend on it. Errors are ignored: the content is right.
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

/// Returns the file at `path` and its identity if its content is `bytes`. Reads it piece by piece
/// up to the first difference.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<Option<(fs::File, Identity)>> {
    // Nothing else is opened: a pipe would block.
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() != bytes.len() as u64 {
        return Ok(None);
    }
    let mut buffer = vec![0; 0x2_0000];
    for piece in bytes.chunks(buffer.len()) {
        let room = &mut buffer[..piece.len()];
        file.read_exact(room)?;
        if room != piece {
            return Ok(None);
        }
    }
    Ok(Some((file, Identity::of(&metadata))))
}

/// Returns whether both paths lead to the same file.
pub fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::shell::Format;

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
        // Files put there by others in the meantime stay.
        let place = OutputPlace::find(&there.join("e/f.bin")).unwrap();
        let staged = Staged::write(&place, b"new").unwrap();
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
            let place = OutputPlace::find(&path).unwrap();
            let staged = Staged::write_changed(&place, bytes).unwrap();
            assert_eq!(matches!(staged.ready, Ready::File { .. }), written);
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

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("elsewhere")).unwrap();
        fs::write(at("elsewhere/a.bin"), "old").unwrap();
        for (link, target) in [("a.bin", "elsewhere/a.bin"), ("b.bin", "elsewhere/new.bin")] {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
            let mut outputs = Outputs::default();
            outputs.add(&at(link), b"new").unwrap();
            outputs.commit(&mut shell()).unwrap();
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
            assert_eq!(fs::read(at(target)).unwrap(), b"new");
            replace(&at(link), b"newer").unwrap();
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
            assert_eq!(fs::read(at(target)).unwrap(), b"newer");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_another_program_replaced_is_not_taken_for_this_ones() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("a.bin"), "same").unwrap();
        let mut outputs = Outputs::default();
        outputs.add(&at("a.bin"), b"same").unwrap();
        outputs.add(&at("b.bin"), b"new").unwrap();
        replace(&at("a.bin"), b"else").unwrap();
        let failure = outputs.commit(&mut shell()).unwrap_err();
        assert!(failure.message.ends_with("a.bin was replaced in the meantime"), "{failure}");
        assert!(!at("b.bin").exists());
        // A pipe that was put there is not replaced either.
        let mut outputs = Outputs::default();
        outputs.add(&at("b.bin"), b"new").unwrap();
        nix::unistd::mkfifo(&at("b.bin"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        outputs.commit(&mut shell()).unwrap_err();
        assert!(!fs::symlink_metadata(at("b.bin")).unwrap().is_file());
    }

    /// Many writers of one set of files: in the end, all files come from one of them.
    #[cfg(unix)]
    #[test]
    fn outputs_of_one_program_are_one_unit() {
        let directory = tempfile::tempdir().unwrap();
        let names = ["a.bin", "a.merged.bin", "a.elf", "a.plan.json"];
        let mut refused = 0;
        for round in 0..20_u8 {
            let threads: Vec<_> = (0..4_u8)
                .map(|thread| {
                    let at = directory.path().to_owned();
                    std::thread::spawn(move || {
                        let mut outputs = Outputs::default();
                        for name in names {
                            outputs.add(&at.join(name), &[round % 2, thread % 2]).unwrap();
                        }
                        outputs.commit(&mut shell()).is_err()
                    })
                })
                .collect();
            refused += threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|refused| *refused)
                .count();
            let first = fs::read(directory.path().join(names[0])).unwrap();
            for name in names {
                assert_eq!(fs::read(directory.path().join(name)).unwrap(), first, "{name}");
            }
        }
        assert!(refused < 80, "all are refused");
    }
}
