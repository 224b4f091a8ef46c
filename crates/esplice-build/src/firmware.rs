//! Firmware built on the way to a host program.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, cargo};

/// Builds the firmware project at `project`, relative to the package's directory, and gives the path
/// of its app image, in `OUT_DIR`; the merged flash, the ELF and the flash plan stand beside it.
///
/// The program is `esplice` on the search path, or what the variable `ESPLICE` names. Cargo is told to
/// run the build script again when a file of the project changes.
///
/// # Errors
/// [`Error::Start`] where there is no such program, [`Error::Firmware`] with what it said.
pub fn firmware(project: impl AsRef<Path>) -> Result<PathBuf, Error> {
    let build = cargo::Build::read()?;
    let project = build.manifest_dir.join(project);
    watch(&project)?;
    cargo::tell("rerun-if-env-changed", "ESPLICE");

    let name = project.canonicalize().unwrap_or_else(|_| project.clone());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let image = build.out_dir.join(format!("{name}.bin"));
    let program = env::var_os("ESPLICE").map_or_else(|| "esplice".into(), PathBuf::from);
    let output = Command::new(&program)
        .args(["build", "--quiet", "--output"])
        .arg(&image)
        .arg(&project)
        // Said for the outer build, if it is itself one of esplice's.
        .env_remove("ESPLICE_LAYOUT")
        .env_remove("ESPLICE_PROJECT_TARGET")
        .output()
        .map_err(|source| Error::Start { program: program.clone(), source })?;
    if !output.status.success() {
        return Err(Error::Firmware {
            program,
            project,
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(image)
}

/// Everything in the project but what a build leaves there.
fn watch(project: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(project).map_err(|source| Error::Io {
        verb: "read",
        path: project.to_owned(),
        source,
    })?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        if name != "target" && name != ".git" {
            cargo::tell("rerun-if-changed", cargo::text(&path)?);
        }
    }
    Ok(())
}
