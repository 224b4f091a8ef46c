//! What a layout gives the linker, as files beside the project's other build outputs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use esplice_layout::Injection;

use crate::ToolchainError;

/// How many layouts stay: those of some chips and profiles in turn, and of builds at the same time.
const KEPT: usize = 16;

/// In each layout's directory, written anew with each use: its age is the layout's.
const USED: &str = "used";

/// Writes the files into a directory below `root` and gives it. It is named by their content, since cargo
/// links anew only if an argument differs; those of layouts that were not used for long are removed.
pub(crate) fn write(injection: &Injection, root: &Path) -> Result<PathBuf, ToolchainError> {
    let directory = root.join(injection.digest());
    let failed = |source| ToolchainError::WriteLayout { path: directory.clone(), source };
    let is_new = !directory.is_dir();
    fs::create_dir_all(&directory).map_err(failed)?;
    // First, so that a build at the same time does not take it for an old one.
    fs::write(directory.join(USED), "").map_err(failed)?;
    for file in &injection.files {
        let path = directory.join(file.name);
        if fs::read(&path).is_ok_and(|there| there == file.bytes) {
            continue;
        }
        // Another build may be reading it: it is there whole or not at all.
        let beside = directory.join(format!("{}.{}", file.name, std::process::id()));
        fs::write(&beside, &file.bytes)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(failed)?;
    }
    if is_new {
        // What can't be removed costs a few kilobytes, and no build.
        let _ = remove_old(root);
    }
    Ok(directory)
}

/// Removes all layouts below `root` but the [`KEPT`] that were used last. Directories with names of
/// another form are not ours.
fn remove_old(root: &Path) -> io::Result<()> {
    let mut layouts = Vec::new();
    for entry in fs::read_dir(root)?.flatten() {
        let path = entry.path();
        if is_digest(&entry.file_name().to_string_lossy()) && path.is_dir() {
            // One without the mark is of an earlier release.
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

/// Whether `name` is of the form that [`Injection::digest`] gives.
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
            // The first is used again and again.
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
        // One that was removed comes again.
        let again = write(&injection(1), &root).unwrap();
        assert_eq!(again, made[1]);
        assert_eq!(fs::read_to_string(again.join("a.x")).unwrap(), "number 1");
    }
}
