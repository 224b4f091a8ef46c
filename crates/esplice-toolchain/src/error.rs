//! Errors of finding and running a compiler.

use std::{io, path::PathBuf};

/// An error that left the build without an ELF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolchainError {
    /// No Rust toolchain on this machine compiles for the chip.
    #[error("no Rust toolchain here can build for {target}")]
    RustMissing {
        /// Cargo's target triple.
        target: String,
        /// The command that installs a compiler, if neither rustup nor Debian has one.
        install: Option<String>,
        /// The toolchain pinned by the project, the only one that may build it.
        pinned: Option<String>,
        /// True if rustup is on the path.
        rustup: bool,
        /// True if apt-get is on the path.
        apt: bool,
    },
    /// The toolchain pinned by the project does not run.
    #[error("{place} asks for the toolchain {channel}: {said}")]
    PinnedMissing {
        /// The name of the toolchain.
        channel: String,
        /// The file or variable that names it.
        place: String,
        /// The message from rustup.
        said: String,
        /// The command that installs it.
        install: String,
    },
    /// The project sets a cargo target whose code does not run on the chip.
    #[error("{place} builds for {}, and the {chip} runs {target}", asked.join(" and "))]
    OtherTarget {
        /// The file or variable that names the target.
        place: String,
        /// The requested targets.
        asked: Vec<String>,
        /// The chip's name.
        chip: String,
        /// Cargo's target triple for the chip.
        target: String,
    },
    /// Parts needed to build a project with the standard library are missing.
    #[error("a project with the standard library ({target} in {place}) needs {}", listed(missing))]
    StdMissing {
        /// The target of the project.
        target: String,
        /// The file or variable that names the target.
        place: String,
        /// The missing parts.
        missing: Vec<Missing>,
    },
    /// A project on ESP-IDF's standard library does not set the matching target.
    #[error("{package} depends on esp-idf, but the project does not build for {target}")]
    StdTarget {
        /// The package.
        package: String,
        /// The target it needs.
        target: String,
    },
    /// Enabled features name more than one chip.
    #[error("features name more than one chip: {}", names.join(", "))]
    ManyChips {
        /// The chips.
        names: Vec<String>,
    },
    /// A toolchain was found, but no linker.
    #[error("no linker for {target}: neither rust-lld in {sysroot} nor ld.lld on the path")]
    LinkerMissing {
        /// Cargo's target triple.
        target: String,
        /// The sysroot of the toolchain.
        sysroot: PathBuf,
        /// True if apt-get is on the path.
        apt: bool,
    },
    /// TinyGo was not found.
    #[error("tinygo, the Go compiler for the chip, is not on the path")]
    TinyGoMissing,
    /// Go was not found. TinyGo needs it.
    #[error("tinygo cannot find go, which it needs to read the program")]
    GoMissing,
    /// TinyGo does not support the installed release of Go.
    #[error("tinygo does not work with the installed go: {said}")]
    GoVersion {
        /// The message from TinyGo.
        said: String,
    },
    /// This release of TinyGo does not have the flag yet.
    #[error("TinyGo {}.{}.{} has no -extldflags in -ldflags", version.0, version.1, version.2)]
    GoLinkerFlags {
        /// TinyGo's version.
        version: (u32, u32, u32),
    },
    /// TinyGo did not report its version.
    #[error("{program} did not print its version but {said:?}")]
    TinyGoVersion {
        /// The program.
        program: PathBuf,
        /// The output of the program.
        said: String,
    },
    /// The installed TinyGo does not have the requested target.
    #[error("TinyGo {}.{}.{} has no target {name:?}", version.0, version.1, version.2)]
    TinyGoTarget {
        /// The target.
        name: String,
        /// TinyGo's version.
        version: (u32, u32, u32),
        /// The existing target with the most similar name.
        nearest: Option<String>,
    },
    /// The installed TinyGo has no target for the chip.
    #[error("TinyGo {}.{}.{} does not know the {chip}{}", version.0, version.1, version.2,
        if targets.is_empty() { String::new() }
        else { format!(", it has no target {}", targets.join(" or ")) })]
    TinyGoChip {
        /// The chip's name.
        chip: String,
        /// TinyGo's version.
        version: (u32, u32, u32),
        /// TinyGo's targets for the chip in other releases.
        targets: Vec<String>,
    },
    /// TinyGo failed after printing the reason to the standard error stream.
    #[error("tinygo could not build {package} (exit code {code})")]
    GoFailed {
        /// The package.
        package: String,
        /// TinyGo's exit code.
        code: i32,
        /// The file that was compiled on its own, and the other files of its package.
        single_file: Option<(String, Vec<String>)>,
    },
    /// TinyGo succeeded but wrote no ELF.
    #[error("tinygo wrote no ELF for {package}")]
    GoWithoutElf {
        /// The package.
        package: String,
    },
    /// Files that a compiler needs could not be written.
    #[error("cannot write files for the compiler: {source}")]
    Files {
        /// The error from the operating system.
        source: io::Error,
    },
    /// A program that was found could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The connection to the running compiler broke.
    #[error("cannot read what {program} reports: {source}")]
    Report {
        /// The program.
        program: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// TinyGo did not report the linker script of a target.
    #[error(
        "tinygo did not report the linker script of target {target}, which the memory layout \
         extends"
    )]
    TinyGoScript {
        /// The target.
        target: String,
    },
    /// The files of the memory layout could not be written.
    #[error("cannot write the memory layout to {path}: {source}")]
    WriteLayout {
        /// The directory of the files.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The compiler or the linker failed after printing the reason to the standard error stream.
    #[error("cargo could not build {bin} of {package} (exit code {code})")]
    CompileFailed {
        /// The package.
        package: String,
        /// The binary.
        bin: String,
        /// Cargo's exit code.
        code: i32,
    },
    /// A signal, such as from Ctrl-C, ended the compiler.
    #[error("the build was interrupted by signal {signal}")]
    Interrupted {
        /// The signal's number.
        signal: i32,
    },
    /// Cargo succeeded but reported no ELF.
    #[error("cargo reported no executable for {bin} of {package}")]
    NoExecutable {
        /// The package.
        package: String,
        /// The binary.
        bin: String,
    },
    /// The directory is not a cargo project.
    #[error("{path} has no Cargo.toml")]
    NoManifest {
        /// The directory.
        path: PathBuf,
    },
    /// Cargo cannot read the project.
    #[error("cargo cannot read the project at {path}: {message}")]
    BadManifest {
        /// The directory.
        path: PathBuf,
        /// The message from cargo.
        message: String,
    },
    /// The project has nothing to run.
    #[error("{path} has no binary, only libraries{}",
        if examples.is_empty() { "" } else { " and examples" })]
    NoBinary {
        /// The directory.
        path: PathBuf,
        /// The names of its examples.
        examples: Vec<String>,
    },
    /// The given source file is not the main file of a program.
    #[error("{path} is not the main file of a binary or an example")]
    NotMain {
        /// The file.
        path: PathBuf,
    },
    /// The project has several binaries and none was chosen.
    #[error("{path} has {} binaries: {}", bins.len(), bins.join(", "))]
    ManyBinaries {
        /// The directory.
        path: PathBuf,
        /// The names of the binaries, with the package where two share a name.
        bins: Vec<String>,
        /// The flags that choose the first binary.
        choice: String,
    },
    /// The project does not have the requested binary.
    #[error("no binary {name:?} in {path}, which has {}",
        if bins.is_empty() { "none".to_owned() } else { bins.join(", ") })]
    UnknownBinary {
        /// The directory.
        path: PathBuf,
        /// The requested name.
        name: String,
        /// The names of the project's binaries.
        bins: Vec<String>,
        /// True if an example has that name.
        is_example: bool,
    },
    /// The project does not have the requested example.
    #[error("no example {name:?} in {path}, which has {}",
        if examples.is_empty() { "none".to_owned() } else { examples.join(", ") })]
    UnknownExample {
        /// The directory.
        path: PathBuf,
        /// The requested name.
        name: String,
        /// The names of the project's examples.
        examples: Vec<String>,
    },
    /// Several packages have a binary or an example of this name.
    #[error("{name:?} is in more than one package: {}", packages.join(", "))]
    SameBinary {
        /// Cargo's flag that selects the target.
        flag: &'static str,
        /// The name.
        name: String,
        /// The packages that have it.
        packages: Vec<String>,
    },
    /// The project does not have the requested package.
    #[error("no package {name:?} in {path}, which has {}", packages.join(", "))]
    UnknownPackage {
        /// The directory.
        path: PathBuf,
        /// The requested name.
        name: String,
        /// The packages with binaries.
        packages: Vec<String>,
    },
}

/// A missing part of a toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The description of the part.
    pub what: String,
    /// The command that installs it.
    pub install: String,
}

fn listed(missing: &[Missing]) -> String {
    missing.iter().map(|missing| missing.what.as_str()).collect::<Vec<_>>().join(", and ")
}

/// The kind of failure. A front end maps these to exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something must be installed.
    ToolchainMissing,
    /// The source does not compile or link.
    CompileFailed,
    /// The request does not fit the project.
    Usage,
    /// The project itself is not usable.
    BadInput,
    /// The user ended the build.
    Interrupted,
    /// A failure the user did not cause.
    Internal,
}

impl ToolchainError {
    /// Returns the kind of failure.
    pub fn kind(&self) -> ErrorKind {
        use ToolchainError::*;
        match self {
            RustMissing { .. } | LinkerMissing { .. } | Start { .. } => ErrorKind::ToolchainMissing,
            TinyGoMissing
            | TinyGoVersion { .. }
            | TinyGoChip { .. }
            | GoMissing
            | GoVersion { .. } => ErrorKind::ToolchainMissing,
            PinnedMissing { .. } | OtherTarget { .. } | StdMissing { .. } | StdTarget { .. } => {
                ErrorKind::ToolchainMissing
            }
            CompileFailed { .. } | GoFailed { .. } => ErrorKind::CompileFailed,
            TinyGoTarget { .. } | GoLinkerFlags { .. } => ErrorKind::Usage,
            ManyBinaries { .. }
            | ManyChips { .. }
            | UnknownBinary { .. }
            | UnknownExample { .. }
            | SameBinary { .. }
            | UnknownPackage { .. } => ErrorKind::Usage,
            NoManifest { .. } | BadManifest { .. } | NoBinary { .. } | NotMain { .. } => {
                ErrorKind::BadInput
            }
            Interrupted { .. } => ErrorKind::Interrupted,
            Report { .. }
            | NoExecutable { .. }
            | GoWithoutElf { .. }
            | Files { .. }
            | WriteLayout { .. }
            | TinyGoScript { .. } => ErrorKind::Internal,
        }
    }

    /// Returns a hint about how to fix the problem, if there is one.
    pub fn hint(&self) -> Option<String> {
        use ToolchainError::*;
        Some(match self {
            RustMissing { install: Some(command), .. } => {
                format!(
                    "run `{command}`, then choose that toolchain, such as with `rustup override \
                     set esp`"
                )
            }
            RustMissing { target, pinned: Some(channel), .. } => {
                format!("run `rustup target add --toolchain {channel} {target}`")
            }
            RustMissing { target, rustup, apt, .. } => install_rust(target, *rustup, *apt),
            PinnedMissing { install, .. } => format!("run `{install}`"),
            OtherTarget { target, .. } => format!(
                "set it to {target}, or pass the chip that the project is for with --target"
            ),
            StdMissing { missing, .. } => {
                let commands: Vec<String> =
                    missing.iter().map(|missing| format!("`{}`", missing.install)).collect();
                format!(
                    "run {}; \"The Rust on ESP Book\" lists what else ESP-IDF needs",
                    commands.join(", and ")
                )
            }
            StdTarget { target, .. } => {
                format!("set target = \"{target}\" in [build] of .cargo/config.toml")
            }
            ManyChips { .. } => {
                "choose one with --target, or with --no-default-features and --features".into()
            }
            LinkerMissing { apt: true, .. } => format!("run `{APT_INSTALL} lld-19`"),
            LinkerMissing { .. } => "install LLVM's linker, lld".into(),
            ManyBinaries { choice, .. } => format!("choose one: {choice}"),
            UnknownBinary { name, is_example: true, .. } => {
                format!("it is an example: --example {name}")
            }
            UnknownExample { name, examples, .. } => {
                format!("did you mean --example {}?", esplice_chip::nearest(name, examples)?)
            }
            UnknownBinary { name, bins, .. } => {
                format!("did you mean --bin {}?", esplice_chip::nearest(name, bins)?)
            }
            UnknownPackage { name, packages, .. } => {
                format!("did you mean --package {}?", esplice_chip::nearest(name, packages)?)
            }
            SameBinary { flag, name, packages } => {
                format!("choose one: --package {} {flag} {name}", packages.first()?)
            }
            NotMain { .. } => "pass that file or the directory of the project".into(),
            NoBinary { examples, .. } if !examples.is_empty() => {
                format!("choose one: --example {}", examples.first()?)
            }
            NoManifest { .. } => "pass the directory of a cargo project".into(),
            NoBinary { .. } => "firmware is a package with src/main.rs or a [[bin]]".into(),
            TinyGoMissing => "install TinyGo and Go: \
                https://tinygo.org/getting-started/install/ has a package for each system"
                .into(),
            GoMissing => "install Go, or put it on the path: https://go.dev/doc/install".into(),
            GoVersion { .. } => {
                "install a release of Go that this TinyGo supports, or a newer TinyGo".into()
            }
            GoLinkerFlags { .. } => {
                "set the linker's arguments as link-args in [build] of esplice.toml".into()
            }
            TinyGoVersion { .. } => "check that `tinygo version` prints a version".into(),
            TinyGoTarget { nearest: Some(near), .. } => format!("did you mean {near:?}?"),
            TinyGoTarget { .. } => "`tinygo targets` lists the known ones".into(),
            TinyGoChip { targets, .. } if targets.is_empty() => {
                "name one of its targets with --tinygo-target".into()
            }
            TinyGoChip { .. } => {
                "install a newer TinyGo, or name one of its targets with --tinygo-target".into()
            }
            GoFailed { single_file: Some((file, others)), .. } => format!(
                "{file} was compiled without {}: pass the directory to compile the whole package",
                others.join(", ")
            ),
            GoFailed { .. } | GoWithoutElf { .. } | Files { .. } => return None,
            CompileFailed { .. } => return None,
            Start { .. }
            | Report { .. }
            | WriteLayout { .. }
            | TinyGoScript { .. }
            | Interrupted { .. }
            | NoExecutable { .. } => return None,
            BadManifest { .. } => return None,
        })
    }
}

const APT_INSTALL: &str = "apt-get install --no-install-recommends";

fn install_rust(target: &str, rustup: bool, apt: bool) -> String {
    let with_rustup = format!("run `rustup target add {target}`");
    // The newest Rust that Debian has, with its library sources, and a linker.
    let with_apt = format!("`{APT_INSTALL} rustc-web cargo-web rust-web-src lld-19`");
    match (rustup, apt) {
        (true, true) => format!("{with_rustup}, or {with_apt}"),
        (true, false) => with_rustup,
        (false, true) => format!("run {with_apt}"),
        (false, false) => {
            format!("install Rust with rustup (https://rustup.rs), then {with_rustup}")
        }
    }
}
