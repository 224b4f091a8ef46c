//! The files that a firmware build depends on, reported to cargo as inputs of the build script.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, cargo};

/// Files in the project's directory or above it that configure cargo, rustup or esplice.
const CONFIGURATION: &[&str] = &[
    ".cargo/config",
    ".cargo/config.toml",
    "esplice.toml",
    "rust-toolchain",
    "rust-toolchain.toml",
];

/// Prefixes of variables that change the result of `esplice build`.
const SETTINGS: &[&str] = &["ESPLICE_BUILD_", "ESPLICE_IMAGE_"];

/// The paths that cargo should watch. Each one is reported once.
pub(crate) struct Watched {
    /// The output directory of the build. No directory above it can be watched.
    out_dir: PathBuf,
    /// The lock file, which the first build may write.
    lock: Option<PathBuf>,
    paths: BTreeSet<PathBuf>,
    reported: BTreeSet<PathBuf>,
}

impl Watched {
    pub fn new(out_dir: &Path) -> Watched {
        Watched {
            out_dir: out_dir.to_owned(),
            lock: None,
            paths: BTreeSet::new(),
            reported: BTreeSet::new(),
        }
    }

    /// Adds the paths known before the build. Returns whether cargo, not TinyGo, will build the
    /// project.
    pub fn project(&mut self, project: &Path, program: &Path) -> Result<bool, Error> {
        let is_go =
            project.join("go.mod").is_file() || project.extension().is_some_and(|e| e == "go");
        self.directory(project)?;
        for above in project.ancestors() {
            for name in CONFIGURATION {
                self.file(&above.join(name));
            }
        }
        let manifest =
            project.ancestors().map(|above| above.join("Cargo.toml")).find(|p| p.is_file());
        if let (false, Some(manifest)) = (is_go, &manifest) {
            self.file(manifest);
            if let Some(root) = workspace_manifest(manifest) {
                self.file(&root);
                let lock = root.with_file_name("Cargo.lock");
                self.file(&lock);
                self.lock = Some(lock);
            }
        }
        if is_go {
            self.go_replacements(project)?;
        }
        if let Some(program) = found(program) {
            self.file(&program);
        }
        cargo::emit_instruction("rerun-if-env-changed", "ESPLICE");
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if SETTINGS.iter().any(|start| name.starts_with(start)) {
                cargo::emit_instruction("rerun-if-env-changed", &name);
            }
        }
        Ok(!is_go && manifest.is_some())
    }

    /// Adds the files named by cargo's dep-info files below the target directory, and the manifests
    /// of the packages they belong to. Sources and lock file may be new since [`Watched::project`].
    pub fn sources(&mut self, target_dir: &Path) {
        if let Some(lock) = self.lock.clone() {
            self.file(&lock);
        }
        let mut variables = BTreeSet::new();
        for file in compiler_dep_infos(target_dir) {
            variables.extend(environment(&fs::read_to_string(&file).unwrap_or_default()));
        }
        for name in variables {
            cargo::emit_instruction("rerun-if-env-changed", &name);
        }
        let mut packages = BTreeSet::new();
        for file in dep_infos(target_dir) {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            for path in dependencies(&text) {
                // A relative path starts at a directory set in the project's configuration.
                if !path.is_absolute() || path.starts_with(&self.out_dir) {
                    continue;
                }
                self.file(&path);
                let package =
                    path.ancestors().skip(1).find(|above| above.join("Cargo.toml").is_file());
                packages.extend(package.map(Path::to_owned));
            }
        }
        for package in packages {
            let manifest = package.join("Cargo.toml");
            self.file(&manifest);
            self.file(&package.join("build.rs"));
            if let Some(root) = workspace_manifest(&manifest) {
                self.file(&root);
            }
        }
    }

    /// Adds local modules that replace others in a Go module, as in `replace A => ../b`.
    fn go_replacements(&mut self, project: &Path) -> Result<(), Error> {
        let text = fs::read_to_string(project.join("go.mod")).unwrap_or_default();
        for line in text.lines() {
            let Some((_, to)) = line.split_once("=>") else { continue };
            let to = to.split_whitespace().next().unwrap_or_default().trim_matches('"');
            if to.starts_with("./") || to.starts_with("../") {
                let module = project.join(to);
                if module.is_dir() {
                    self.directory(&module)?;
                }
            }
        }
        Ok(())
    }

    /// Adds everything in a directory except build outputs.
    fn directory(&mut self, directory: &Path) -> Result<(), Error> {
        let failed = |source| Error::Io { verb: "read", path: directory.to_owned(), source };
        if directory.is_file() {
            self.file(directory);
            return Ok(());
        }
        let entries = fs::read_dir(directory).map_err(failed)?;
        let entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let built = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            name == "target" || name == ".git" || self.out_dir.starts_with(path)
        };
        // Cargo watches directories with everything in them. A directory without build outputs is
        // watched as a whole, which also covers new files.
        if !entries.iter().any(|path| built(path)) && !self.out_dir.starts_with(directory) {
            self.paths.insert(directory.to_owned());
            return Ok(());
        }
        let sources: Vec<PathBuf> = entries.into_iter().filter(|path| !built(path)).collect();
        self.paths.extend(sources);
        Ok(())
    }

    /// Adds a file if it exists. Cargo treats a missing file as changed every time.
    fn file(&mut self, path: &Path) {
        if path.is_file() {
            self.paths.insert(path.to_owned());
        }
    }

    /// Reports new paths to cargo.
    pub fn report(&mut self) -> Result<(), Error> {
        for path in std::mem::take(&mut self.paths) {
            if !self.reported.contains(&path) {
                cargo::emit_instruction("rerun-if-changed", cargo::text(&path)?);
                self.reported.insert(path);
            }
        }
        Ok(())
    }
}

/// Returns the manifest of a package's workspace, as found by cargo.
fn workspace_manifest(manifest: &Path) -> Option<PathBuf> {
    let cargo = env::var_os("CARGO")?;
    let output = Command::new(cargo)
        .args(["locate-project", "--workspace", "--message-format=plain", "--manifest-path"])
        .arg(manifest)
        .output()
        .ok()?;
    // `esplice` reports errors in a manifest.
    let path = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !path.trim().is_empty()).then(|| path.trim().into())
}

/// Returns the path of a program. A bare name is looked up on the search path.
fn found(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_owned());
    }
    let name = format!("{}{}", program.display(), env::consts::EXE_SUFFIX);
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(&name)).find(|path| path.is_file())
}

/// Returns the dep-info files that cargo writes next to executables: `TARGET/PROFILE/NAME.d`.
fn dep_infos(target_dir: &Path) -> Vec<PathBuf> {
    profile_directories(target_dir).iter().flat_map(|profile| dep_infos_in(profile)).collect()
}

/// Returns the compiler's dep-info files: `TARGET/PROFILE/deps/NAME-HASH.d`.
fn compiler_dep_infos(target_dir: &Path) -> Vec<PathBuf> {
    let profiles = profile_directories(target_dir);
    profiles.iter().flat_map(|profile| dep_infos_in(&profile.join("deps"))).collect()
}

fn dep_infos_in(directory: &Path) -> Vec<PathBuf> {
    let is_dep_info = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "d");
    inside(directory).into_iter().filter(is_dep_info).collect()
}

fn profile_directories(target_dir: &Path) -> Vec<PathBuf> {
    inside(target_dir).iter().flat_map(|target| inside(target)).filter(|p| p.is_dir()).collect()
}

fn inside(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Returns the environment variables named by rustc's dep-info, except those that cargo sets.
fn environment(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# env-dep:"));
    let names = lines.map(|line| line.split('=').next().unwrap_or_default());
    let by_cargo = |name: &&str| name.starts_with("CARGO") || *name == "OUT_DIR";
    names.filter(|name| !by_cargo(name)).map(str::to_owned).collect()
}

/// Returns the files listed after the colon of each line of a dep-info file, in make's syntax: a
/// backslash escapes a space in a name.
fn dependencies(text: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        // A colon within a path, such as after a drive letter, is not followed by a space.
        let Some((_, names)) = line.split_once(": ") else { continue };
        let mut name = String::new();
        let mut chars = names.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' if chars.peek() == Some(&' ') => name.extend(chars.next()),
                ' ' => all.push(std::mem::take(&mut name)),
                c => name.push(c),
            }
        }
        all.push(name);
    }
    all.into_iter().filter(|name| !name.is_empty()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_infos_name_their_sources() {
        let text = "/t/riscv/release/app: /p/src/main.rs /p/with\\ blank/lib.rs  C:\\x\\y.rs\n\n# \
                    env-dep:A=1\n\
                    /t/other: /p/build.rs\nno colon";
        let expected = ["/p/src/main.rs", "/p/with blank/lib.rs", "C:\\x\\y.rs", "/p/build.rs"];
        assert_eq!(dependencies(text), expected.map(PathBuf::from));
        let text = "# env-dep:CARGO_PKG_NAME=x\n# env-dep:VERSION=1=2\n# env-dep:UNSET\n/a: b\n";
        assert_eq!(environment(text), ["VERSION", "UNSET"]);
    }

    #[test]
    fn a_directory_is_watched_without_what_builds_leave_there() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for folder in ["fw/src", "fw/target", "plain/src", "host/out"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("fw/Cargo.toml"), "").unwrap();
        let watched = |folder: &str| {
            let mut watched = Watched::new(&at("host/out/x"));
            watched.directory(&at(folder)).unwrap();
            watched.paths.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(watched("fw"), [at("fw/Cargo.toml"), at("fw/src")]);
        assert_eq!(watched("plain"), [at("plain")]);
        assert_eq!(watched("host"), Vec::<PathBuf>::new());
    }
}
