//! Firmware built as part of a host program's build.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, cargo, watch};

/// Builds the firmware project at `project`, relative to the package's directory, and returns the
/// path of its app image in `OUT_DIR`.
///
/// This is [`Firmware::new`] and [`Firmware::build`] with no options.
///
/// # Errors
/// The same as [`Firmware::build`].
pub fn firmware(project: impl AsRef<Path>) -> Result<PathBuf, Error> {
    Ok(Firmware::new(project).build()?.image)
}

/// A firmware project to build from `build.rs`, with the options of `esplice build`.
///
/// ```no_run
/// # fn main() -> Result<(), esplice_build::Error> {
/// let built = esplice_build::Firmware::new("../fw").chip("esp32c6").bin("blink").build()?;
/// println!("cargo::rustc-env=FIRMWARE={}", built.merged.display());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Firmware {
    project: PathBuf,
    chip: Option<String>,
    bin: Option<String>,
    arguments: Vec<OsString>,
}

/// The files built for a firmware, all in `OUT_DIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuiltFirmware {
    /// The app image.
    pub image: PathBuf,
    /// The whole flash from offset 0: bootloader, partition table and app.
    pub merged: PathBuf,
    /// The program with its symbols.
    pub elf: PathBuf,
    /// The flash plan: which bytes go where, with their hashes.
    pub plan: PathBuf,
}

impl Firmware {
    /// Creates a build of `project`, a directory relative to the package's directory.
    pub fn new(project: impl AsRef<Path>) -> Firmware {
        let project = project.as_ref().to_owned();
        Firmware { project, chip: None, bin: None, arguments: Vec::new() }
    }

    /// Sets the chip or board, such as `esp32c3`.
    #[must_use]
    pub fn chip(mut self, name: &str) -> Firmware {
        self.chip = Some(name.to_owned());
        self
    }

    /// Sets the cargo package, for projects with several.
    #[must_use]
    pub fn package(self, name: &str) -> Firmware {
        self.option("--package", name)
    }

    /// Sets the binary, for packages with several.
    #[must_use]
    pub fn bin(mut self, name: &str) -> Firmware {
        self.bin = Some(name.to_owned());
        self
    }

    /// Sets the cargo profile; `release` by default.
    #[must_use]
    pub fn profile(self, name: &str) -> Firmware {
        self.option("--profile", name)
    }

    /// Enables cargo features in addition to the chip's own.
    #[must_use]
    pub fn features<S: AsRef<str>>(self, names: impl IntoIterator<Item = S>) -> Firmware {
        let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        if names.is_empty() { self } else { self.option("--features", &names.join(",")) }
    }

    /// Disables the package's default features.
    #[must_use]
    pub fn no_default_features(self) -> Firmware {
        self.arg("--no-default-features")
    }

    /// Passes one more argument to `esplice build`, such as `--flash-size=8MB`.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Firmware {
        self.arguments.push(argument.into());
        self
    }

    fn option(self, flag: &str, value: &str) -> Firmware {
        self.arg(format!("{flag}={value}"))
    }

    /// Builds the firmware with the program that the variable `ESPLICE` names, or else with
    /// `esplice` from the search path.
    ///
    /// Cargo builds it in a directory below `OUT_DIR`, not in the project's own target directory,
    /// which may be locked by the build that runs this build script. Cargo runs the build script
    /// again when a source of the firmware or a part of its configuration changes: the manifests of
    /// its workspace and path dependencies, the lock file, cargo's configuration, the toolchain
    /// file, `esplice.toml`, or the program `esplice` itself.
    ///
    /// # Errors
    /// Returns [`Error::Start`] if the program cannot be started, and [`Error::Firmware`] with its
    /// output if the build fails.
    pub fn build(&self) -> Result<BuiltFirmware, Error> {
        let build = cargo::Build::read()?;
        let project = build.manifest_dir.join(&self.project);
        let program = env::var_os("ESPLICE").map_or_else(|| "esplice".into(), PathBuf::from);
        let mut watched = watch::Watched::new(&build.out_dir);
        // Report these first, so that cargo tries a failed build again after a change.
        let is_project = watched.project(&project, &program)?;
        watched.report()?;

        let built = BuiltFirmware::named(&build.out_dir, &self.stem(&project));
        let target_dir = build.out_dir.join("esplice-target");
        let mut command = Command::new(&program);
        command.args(["build", "--quiet", "--output"]).arg(&built.image);
        if is_project {
            command.arg("--target-dir").arg(&target_dir);
            // Cargo's configuration may set a directory for intermediate files that both builds
            // share.
            command.env("CARGO_BUILD_BUILD_DIR", &target_dir);
        }
        for (flag, value) in [("--target", &self.chip), ("--bin", &self.bin)] {
            command.args(value.iter().map(|value| format!("{flag}={value}")));
        }
        command.args(&self.arguments).arg(&project);
        // These belong to the outer build if that one builds firmware too.
        for name in ["ESPLICE_LAYOUT", "ESPLICE_PROJECT_TARGET", "ESPLICE_PROJECT_TARGET_FILE"] {
            command.env_remove(name);
        }
        let output =
            command.output().map_err(|source| Error::Start { program: program.clone(), source })?;
        watched.sources(&target_dir);
        watched.report()?;
        if !output.status.success() {
            return Err(Error::Firmware {
                program,
                project,
                code: output.status.code().unwrap_or(-1),
                output: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
            });
        }
        Ok(built)
    }

    /// Returns the stem of the output names. Different chips or binaries get different stems.
    fn stem(&self, project: &Path) -> String {
        let name = project.canonicalize().unwrap_or_else(|_| project.to_owned());
        let name = name.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let parts = [Some(name), self.bin.clone(), self.chip.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("-")
    }
}

impl BuiltFirmware {
    /// Returns the paths of the outputs, named as by `esplice build`.
    fn named(directory: &Path, stem: &str) -> BuiltFirmware {
        let file = |end: &str| directory.join(format!("{stem}{end}"));
        BuiltFirmware {
            image: file(".bin"),
            merged: file(".merged.bin"),
            elf: file(".elf"),
            plan: file(".plan.json"),
        }
    }

    /// Returns all four paths.
    pub fn files(&self) -> [&Path; 4] {
        [&self.image, &self.merged, &self.elf, &self.plan]
    }
}

/// Returns a hint with the builder methods that replace the flags `esplice build` recommends.
pub(crate) fn advice(output: &str) -> Option<String> {
    const METHODS: &[(&str, &str)] = &[
        ("--target", "chip(\"esp32c3\")"),
        ("--chip", "chip(\"esp32c3\")"),
        ("--package", "package(\"NAME\")"),
        ("--bin", "bin(\"NAME\")"),
        ("--profile", "profile(\"NAME\")"),
        ("--features", "features([\"NAME\"])"),
        ("--no-default-features", "no_default_features()"),
    ];
    let hints = output.lines().filter_map(|line| line.trim_start().strip_prefix("hint: "));
    let mut methods: Vec<String> = Vec::new();
    for word in hints.flat_map(str::split_whitespace) {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let flag = word.split(['=', ',']).next().unwrap_or_default();
        if !flag.starts_with("--") {
            continue;
        }
        let known = METHODS.iter().find(|(name, _)| *name == flag);
        let method = match known {
            Some((_, method)) => format!(".{method} for {flag}"),
            None => format!(".arg(\"{flag}\")"),
        };
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    let methods = methods.join(", ");
    (!methods.is_empty()).then(|| format!("in build.rs, call esplice_build::Firmware's {methods}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_methods() {
        let output = "error: fw has several binaries\nhint: name one with --bin a or --bin b, or \
                      with \
                      `--flash-size=8MB`\n--target is not in a hint";
        assert_eq!(
            advice(output).as_deref(),
            Some(
                "in build.rs, call esplice_build::Firmware's .bin(\"NAME\") for --bin, \
                 .arg(\"--flash-size\")"
            )
        );
        assert_eq!(advice("error: no\nhint: do something else"), None);
    }

    #[test]
    fn outputs_of_other_chips_and_binaries_have_other_names() {
        let fw = Firmware::new("fw");
        assert_eq!(fw.stem(Path::new("/p/fw")), "fw");
        assert_eq!(fw.chip("esp32c6").bin("blink").stem(Path::new("/p/fw")), "fw-blink-esp32c6");
        let built = BuiltFirmware::named(Path::new("/out"), "fw");
        assert_eq!(built.plan, Path::new("/out/fw.plan.json"));
    }
}
