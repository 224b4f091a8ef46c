//! Paths of a project's file, which stay inside the project.

use std::path::{Component, Path, PathBuf};

use crate::{
    config::settings::{Origin, Settings, Settled},
    ui::exit::{Exit, Failure},
};

/// Resolves a path by its origin: one from the settings file is relative to that file.
pub fn inside(settings: &Settings, path: Settled<String>) -> Result<PathBuf, Failure> {
    match (&path.origin, settings.root()) {
        (Origin::File { .. }, Some(root)) => inside_root(root, Path::new(&path.value))
            .map_err(|message| Failure::new(Exit::Usage, format!("{}: {message}", path.origin))),
        _ => Ok(path.value.into()),
    }
}

/// Resolves a path of the settings file, which must stay inside the project even after symlinks are
/// followed.
pub fn inside_root(root: &Path, path: &Path) -> Result<PathBuf, String> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.components().all(plain) {
        return Err(format!("{} leaves the project", path.display()));
    }
    let joined = root.join(path);
    let here = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    let Ok(real_root) = here.canonicalize() else { return Ok(joined) };
    // A path that does not exist yet, such as an output, is judged by its nearest existing parent.
    for above in joined.ancestors().filter(|above| !above.as_os_str().is_empty()) {
        let leaves = match (above.canonicalize(), above.symlink_metadata()) {
            (Ok(real), _) => !real.starts_with(&real_root),
            // A dangling link: a file created there could be outside the project.
            (Err(_), Ok(_)) => true,
            (Err(_), Err(_)) => continue,
        };
        if leaves {
            return Err(format!("{} leaves the project through a symlink", path.display()));
        }
        break;
    }
    Ok(joined)
}
