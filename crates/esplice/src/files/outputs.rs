//! Files that are written together or not at all.

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
        let mut name = read::stem(path);
        name.push(".plan.json");
        Some(path.with_file_name(name))
    }
}

/// An output that is ready to be put into its place.
#[derive(Debug)]
pub struct Staged {
    /// As the user named it.
    named: PathBuf,
    ready: Ready,
    /// The directories that were made for it, the outermost first.
    made: Vec<PathBuf>,
}

#[derive(Debug)]
enum Ready {
    /// Written beside `place`, which it will replace.
    File { file: tempfile::TempPath, place: PathBuf },
    /// The file at `place` holds these bytes already.
    /// `held` keeps its number from being given to another file.
    There { place: PathBuf, identity: Identity, held: Option<fs::File> },
    /// Bytes for a pipe or device.
    Stream { stream: fs::File, bytes: Vec<u8> },
    /// Done, or given up.
    Nothing,
}

impl Staged {
    /// Writes `bytes` beside `place`, or keeps them for a pipe or device. A failure takes nothing away.
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
        // As plain files are made: the user's umask decides.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(directory).map_err(cannot)?;
        file.write_all(bytes).map_err(cannot)?;
        // Closed at once: a command may write more files than it may have open.
        staged.ready = Ready::File { file: file.into_temp_path(), place: path.to_owned() };
        Ok(staged)
    }

    /// [`Staged::write`] for files that may be there already: one that holds these bytes gets the time of
    /// now and no others, which is faster, and spares the disk.
    pub fn write_changed(place: &OutputPlace, bytes: &[u8]) -> Result<Staged, Failure> {
        if let Some(path) = place.file()
            && let Ok(Some((file, identity))) = holds(path, bytes)
        {
            let ready = Ready::There { place: path.to_owned(), identity, held: Some(file) };
            return Ok(Staged { named: place.named().to_owned(), ready, made: vec![] });
        }
        Staged::write(place, bytes)
    }

    /// The directory that will change.
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

    /// Refuses what is not as it was when this was made ready.
    fn check(&self) -> Result<(), Failure> {
        let changed = |what: &str| {
            let message = format!("{} {what} meanwhile", self.named.display());
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

/// What was not committed goes, and the directories made for it.
impl Drop for Staged {
    fn drop(&mut self) {
        self.ready = Ready::Nothing;
        for directory in self.made.iter().rev() {
            // One that holds something else by now stays.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// What tells one file from another that has taken its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    /// Device and number; of systems that have none, nothing.
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

/// Replaces the file at `path`, or the one that a symlink there leads to, as a whole.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = followed(path)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut file =
        tempfile::Builder::new().prefix(".esplice-").suffix(".tmp").tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// Makes the directories that are missing for a file that is written as it comes, and says so.
pub fn make_room_for(path: &Path, shell: &mut Shell) -> Result<(), Failure> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Some(directory) = directory.filter(|directory| !directory.exists()) else { return Ok(()) };
    let mut made = made_directories(directory).map_err(|error| cannot_write(path, &error))?;
    if let Some(innermost) = made.pop() {
        shell.status(&format!("Made the directory {}", innermost.display()));
    }
    Ok(())
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
    /// Makes `bytes` ready for `path`, unless that holds them already. A failure takes nothing away.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        self.add_at(&OutputPlace::find(path)?, bytes)
    }

    /// [`Outputs::add`] for a place that was found before.
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

    /// Adds a file that was made ready apart.
    pub fn add_staged(&mut self, staged: Staged) {
        self.files.push(staged);
    }

    /// Puts all files into their places, in the order in which they were added, and reports which
    /// directories were made for them. Two programs that write to one directory do it one after the
    /// other, so that what is there at the end is all of one of them.
    pub fn commit(mut self, shell: &mut Shell) -> Result<(), Failure> {
        let mut told: Option<PathBuf> = None;
        let mut files = std::mem::take(&mut self.files);
        let locks = Locks::take(&files, shell);
        files.iter().try_for_each(Staged::check)?;
        for staged in &mut files {
            match std::mem::replace(&mut staged.ready, Ready::Nothing) {
                Ready::File { file, place } => {
                    file.persist(&place).map_err(|e| cannot_write(&staged.named, &e.error))?;
                    // A mistyped place is seen.
                    if let Some(innermost) = std::mem::take(&mut staged.made).pop()
                        && told.as_ref() != Some(&innermost)
                    {
                        shell.status(&format!("Made the directory {}", innermost.display()));
                        told = Some(innermost);
                    }
                }
                Ready::There { place, .. } => touch(&place),
                // Nobody else waits for its reader.
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

/// Unchanged outputs that are kept open until the commit; a command may write more files than it may
/// have open.
const MOST_HELD: usize = 64;

/// Directories that are locked against other programs of this kind, until this goes.
struct Locks {
    #[cfg(unix)]
    _directories: Vec<fs::File>,
}

impl Locks {
    /// Locks the directories of `files`. Where that can't be had in time, it goes on without: what is
    /// mixed then is noticed by its hashes.
    #[cfg(unix)]
    fn take(files: &[Staged], shell: &Shell) -> Locks {
        let real = |staged: &Staged| fs::canonicalize(staged.directory()?).ok();
        let mut directories: Vec<PathBuf> = files.iter().filter_map(real).collect();
        // Always in one order, so that no two programs wait for each other.
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

/// How often a directory's lock is tried, [`PAUSE`] apart: five seconds.
#[cfg(unix)]
const LOCK_TRIES: u32 = 1000;
#[cfg(unix)]
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// Waits for another program of the host's, which no port's clock counts.
#[cfg(unix)]
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(PAUSE);
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

/// Whether the file at `path` holds `bytes`, and which file that is; read piece by piece up to the
/// first difference.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<Option<(fs::File, Identity)>> {
    // Nothing else is opened: a pipe would wait.
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

/// Whether both are one file.
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
        // What others put there meanwhile stays.
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
        assert!(failure.message.ends_with("a.bin was replaced meanwhile"), "{failure}");
        assert!(!at("b.bin").exists());
        // A pipe that was put there is not replaced either.
        let mut outputs = Outputs::default();
        outputs.add(&at("b.bin"), b"new").unwrap();
        nix::unistd::mkfifo(&at("b.bin"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        outputs.commit(&mut shell()).unwrap_err();
        assert!(!fs::symlink_metadata(at("b.bin")).unwrap().is_file());
    }

    /// Many writers of one set of files: whoever comes last, all files are of one of them.
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
