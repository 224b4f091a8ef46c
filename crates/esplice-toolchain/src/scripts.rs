//! The layout's linker files, stored among the project's other build outputs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use esplice_layout::Injection;

use crate::ToolchainError;

/// Number of layouts to keep, enough for alternating chips and profiles and for parallel builds.
const KEPT: usize = 16;

/// File in each layout's directory, rewritten on each use. Its age is the layout's age.
const USED: &str = "used";

/// Writes the files into a directory below `root` and returns its path. The directory is named
/// after the content, since cargo links again only if an argument differs. The least recently used
/// layouts are removed.
pub(crate) fn write(injection: &Injection, root: &Path) -> Result<PathBuf, ToolchainError> {
    let directory = root.join(injection.digest());
    let failed = |source| ToolchainError::WriteLayout { path: directory.clone(), source };
    let is_new = !directory.is_dir();
    fs::create_dir_all(&directory).map_err(failed)?;
    // Write this first, so that a parallel build does not take the layout for an old one.
    fs::write(directory.join(USED), "").map_err(failed)?;
    for file in &injection.files {
        let path = directory.join(file.name);
        if fs::read(&path).is_ok_and(|there| there == file.bytes) {
            continue;
        }
        // Another build may be reading the file, so it must appear complete or not at all.
        let beside = directory.join(format!("{}.{}", file.name, std::process::id()));
        fs::write(&beside, &file.bytes)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(failed)?;
    }
    if is_new {
        // A layout that cannot be removed wastes a few kilobytes but must not fail the build.
        let _ = remove_old(root);
    }
    Ok(directory)
}

/// Removes all layouts below `root` except the [`KEPT`] most recently used ones. Directories with
/// other names are left alone.
fn remove_old(root: &Path) -> io::Result<()> {
    let mut layouts = Vec::new();
    for entry in fs::read_dir(root)?.flatten() {
        let path = entry.path();
        if is_digest(&entry.file_name().to_string_lossy()) && path.is_dir() {
            // Earlier releases did not write this file.
            let used = fs::metadata(path.join(USED)).or_else(|_| entry.metadata());
            layouts.push((used?.modified()?, path));
        }
    }
    layouts.sort();
    layouts.reverse();
    for (_, path) in layouts.into_iter().skip(KEPT) {
        fs::remove_dir_all(path)?;
    }
    Ok(())
}

/// Returns whether `name` has the form of an [`Injection::digest`].
fn is_digest(name: &str) -> bool {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    name.len() == 16 && name.chars().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn injection(number: u32) -> Injection {
        let file = |name, text: String| esplice_layout::File { name, bytes: text.into_bytes() };
        Injection { files: vec![file("a.x", format!("number {number}")), file("a.o", "o".into())] }
    }

    #[test]
    fn the_layouts_that_were_used_last_stay() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("esplice");
        let stranger = root.join("somebody-else");
        fs::create_dir_all(&stranger).unwrap();
        let before = SystemTime::UNIX_EPOCH;
        let mut made = Vec::new();
        let count = KEPT as u32 + 4;
        for number in 0..count {
            // The first layout is used again in every round.
            let first = write(&injection(0), &root).unwrap();
            let directory = write(&injection(number), &root).unwrap();
            assert_eq!(
                fs::read_to_string(directory.join("a.x")).unwrap(),
                format!("number {number}")
            );
            for (path, age) in [(&directory, number), (&first, count)] {
                let used = fs::File::options().write(true).open(path.join(USED)).unwrap();
                used.set_modified(before + Duration::from_secs(u64::from(age))).unwrap();
            }
            made.push(directory);
        }
        let stays: Vec<bool> = made.iter().map(|directory| directory.is_dir()).collect();
        let gone: Vec<usize> = (0..made.len()).filter(|at| !stays[*at]).collect();
        assert_eq!(gone, [1, 2, 3, 4]);
        assert!(stranger.is_dir());
        // A removed layout is written again.
        let again = write(&injection(1), &root).unwrap();
        assert_eq!(again, made[1]);
        assert_eq!(fs::read_to_string(again.join("a.x")).unwrap(), "number 1");
    }
}
