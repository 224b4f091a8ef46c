//! What can go wrong on the way to an ELF.

use std::{io, path::PathBuf};

/// Why there is no ELF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolchainError {
    /// No Rust toolchain of this machine makes code for the chip.
    #[error("no Rust toolchain here can build for {target}")]
    RustMissing {
        /// Cargo's target triple.
        target: String,
        /// What installs a compiler for it, where neither rustup nor Debian has one.
        install: Option<String>,
        /// The toolchain that the project pins, the only one that may build it.
        pinned: Option<String>,
        /// Whether rustup is on the path.
        rustup: bool,
        /// Whether apt-get is on the path.
        apt: bool,
    },
    /// The toolchain that the project pins does not run.
    #[error("{place} asks for the toolchain {channel}: {said}")]
    PinnedMissing {
        /// Its name.
        channel: String,
        /// The file or the variable that names it.
        place: String,
        /// What rustup says of it.
        said: String,
        /// What installs it.
        install: String,
    },
    /// The project asks cargo for a target whose code the chip does not run.
    #[error("{place} builds for {}, and the {chip} runs {target}", asked.join(" and "))]
    OtherTarget {
        /// The file or the variable that names the target.
        place: String,
        /// The targets asked for.
        asked: Vec<String>,
        /// The chip's name.
        chip: String,
        /// Cargo's target triple for the chip.
        target: String,
    },
    /// A project with the standard library lacks some of what builds it.
    #[error("a project with the standard library ({target} in {place}) needs {}", listed(missing))]
    StdMissing {
        /// Its target.
        target: String,
        /// The file or the variable that names the target.
        place: String,
        /// What is missing.
        missing: Vec<Missing>,
    },
    /// A project on ESP-IDF's standard library does not ask for its target.
    #[error("{package} depends on esp-idf, and the project does not build for {target}")]
    StdTarget {
        /// The package.
        package: String,
        /// The target that it needs.
        target: String,
    },
    /// Enabled features name more than one chip.
    #[error("features name more than one chip: {}", names.join(", "))]
    ManyChips {
        /// The chips.
        names: Vec<String>,
    },
    /// A toolchain was found, and nothing to link with.
    #[error("no linker for {target}: neither rust-lld in {sysroot} nor ld.lld on the path")]
    LinkerMissing {
        /// Cargo's target triple.
        target: String,
        /// Where the toolchain stands.
        sysroot: PathBuf,
        /// Whether apt-get is on the path.
        apt: bool,
    },
    /// There is no TinyGo.
    #[error("no tinygo on the path, which compiles Go for the chip")]
    TinyGoMissing,
    /// There is no Go, without which TinyGo does not work.
    #[error("tinygo finds no go, which it needs to read the program")]
    GoMissing,
    /// TinyGo refuses the release of Go that is there.
    #[error("tinygo does not work with the go that is installed: {said}")]
    GoVersion {
        /// What TinyGo says.
        said: String,
    },
    /// TinyGo has no such flag yet.
    #[error("TinyGo {}.{}.{} has no -extldflags in -ldflags", version.0, version.1, version.2)]
    GoLinkerFlags {
        /// TinyGo's version.
        version: (u32, u32, u32),
    },
    /// TinyGo does not say which version it is.
    #[error("{program} does not tell its version, but {said:?}")]
    TinyGoVersion {
        /// The program.
        program: PathBuf,
        /// What it says.
        said: String,
    },
    /// The installed TinyGo does not have the target asked for.
    #[error("TinyGo {}.{}.{} has no target {name:?}", version.0, version.1, version.2)]
    TinyGoTarget {
        /// The target.
        name: String,
        /// TinyGo's version.
        version: (u32, u32, u32),
        /// A target that it has with nearly the same name.
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
        /// Its targets for the chip in other releases.
        targets: Vec<String>,
    },
    /// TinyGo refused; it has said why on the standard error stream.
    #[error("tinygo could not build {package} (exit code {code})")]
    GoFailed {
        /// The package.
        package: String,
        /// What TinyGo ended with.
        code: i32,
        /// The file that was compiled alone, and the other files of its package.
        alone: Option<(String, Vec<String>)>,
    },
    /// TinyGo was content and made no ELF.
    #[error("tinygo made no ELF of {package}")]
    GoWithoutElf {
        /// The package.
        package: String,
    },
    /// Files that a compiler needs could not be written.
    #[error("cannot write files for the compiler: {source}")]
    Files {
        /// What the system said.
        source: io::Error,
    },
    /// A program that was found could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection to the running compiler broke.
    #[error("cannot read what {program} reports: {source}")]
    Report {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// TinyGo does not say which linker script a target of its has.
    #[error(
        "tinygo does not tell the linker script of its target {target}, which the memory layout adds to"
    )]
    TinyGoScript {
        /// The target.
        target: String,
    },
    /// The files of the memory layout could not be written.
    #[error("cannot write the memory layout to {path}: {source}")]
    WriteLayout {
        /// Their directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The compiler or the linker refused; it has told why on the standard error stream.
    #[error("cargo could not build {bin} of {package} (exit code {code})")]
    CompileFailed {
        /// The package.
        package: String,
        /// The binary.
        bin: String,
        /// What cargo ended with.
        code: i32,
    },
    /// The compiler was ended by a signal, such as Ctrl-C.
    #[error("the build was interrupted by signal {signal}")]
    Interrupted {
        /// The signal's number.
        signal: i32,
    },
    /// Cargo was content and named no ELF.
    #[error("cargo named no executable for {bin} of {package}")]
    NoExecutable {
        /// The package.
        package: String,
        /// The binary.
        bin: String,
    },
    /// The directory is no cargo project.
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
        /// What cargo says.
        message: String,
    },
    /// There is nothing to run in the project.
    #[error("{path} has no binary, only libraries{}",
        if examples.is_empty() { "" } else { " and examples" })]
    NoBinary {
        /// The directory.
        path: PathBuf,
        /// The names of its examples.
        examples: Vec<String>,
    },
    /// A source file was given that is no program's main file.
    #[error("{path} is not the main file of a binary or an example")]
    NotMain {
        /// The file.
        path: PathBuf,
    },
    /// More than one binary, and none was chosen.
    #[error("{path} has {} binaries: {}", bins.len(), bins.join(", "))]
    ManyBinaries {
        /// The directory.
        path: PathBuf,
        /// Their names, with the package where two share one.
        bins: Vec<String>,
        /// The flags that choose the first.
        choice: String,
    },
    /// A binary was asked for that the project does not have.
    #[error("no binary {name:?} in {path}, which has {}",
        if bins.is_empty() { "none".to_owned() } else { bins.join(", ") })]
    UnknownBinary {
        /// The directory.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The names it has.
        bins: Vec<String>,
        /// Whether an example has the name.
        is_example: bool,
    },
    /// An example was asked for that the project does not have.
    #[error("no example {name:?} in {path}, which has {}",
        if examples.is_empty() { "none".to_owned() } else { examples.join(", ") })]
    UnknownExample {
        /// The directory.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The names it has.
        examples: Vec<String>,
    },
    /// More than one package has a binary or an example of the name.
    #[error("{name:?} is in more than one package: {}", packages.join(", "))]
    SameBinary {
        /// Cargo's flag that names it.
        flag: &'static str,
        /// The name.
        name: String,
        /// The packages that have it.
        packages: Vec<String>,
    },
    /// A package was asked for that the project does not have.
    #[error("no package {name:?} in {path}, which has {}", packages.join(", "))]
    UnknownPackage {
        /// The directory.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The packages with binaries.
        packages: Vec<String>,
    },
}

/// A part of a toolchain that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What it is.
    pub what: String,
    /// The command that installs it.
    pub install: String,
}

fn listed(missing: &[Missing]) -> String {
    missing.iter().map(|missing| missing.what.as_str()).collect::<Vec<_>>().join(", and ")
}

/// What sort of failure it was; a front end maps these to exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something is to be installed.
    ToolchainMissing,
    /// The source does not compile or link.
    CompileFailed,
    /// What was asked for does not fit the project.
    Usage,
    /// The project itself is not usable.
    BadInput,
    /// The user ended it.
    Interrupted,
    /// None of the user's doing.
    Internal,
}

impl ToolchainError {
    /// What sort of failure it was.
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

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        use ToolchainError::*;
        Some(match self {
            RustMissing { install: Some(command), .. } => {
                format!(
                    "run `{command}`, then choose that toolchain, such as with `rustup override set esp`"
                )
            }
            RustMissing { target, pinned: Some(channel), .. } => {
                format!("run `rustup target add --toolchain {channel} {target}`")
            }
            RustMissing { target, rustup, apt, .. } => install_rust(target, *rustup, *apt),
            PinnedMissing { install, .. } => format!("run `{install}`"),
            OtherTarget { target, .. } => format!(
                "let it be {target}, or name the chip that the project is for with --target"
            ),
            StdMissing { missing, .. } => {
                let commands: Vec<String> =
                    missing.iter().map(|missing| format!("`{}`", missing.install)).collect();
                format!(
                    "run {}; \"The Rust on ESP Book\" says what else ESP-IDF needs",
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
            NotMain { .. } => "give that file, or the directory of the project".into(),
            NoBinary { examples, .. } if !examples.is_empty() => {
                format!("choose one: --example {}", examples.first()?)
            }
            NoManifest { .. } => "give the directory of a cargo project".into(),
            NoBinary { .. } => "firmware is a package with src/main.rs or a [[bin]]".into(),
            TinyGoMissing => "install TinyGo, and Go beside it: \
                https://tinygo.org/getting-started/install/ has a package for each system"
                .into(),
            GoMissing => "install Go, or put it on the path: https://go.dev/doc/install".into(),
            GoVersion { .. } => {
                "install a release of Go that this TinyGo takes, or a newer TinyGo".into()
            }
            GoLinkerFlags { .. } => {
                "give the linker's arguments as link-args in [build] of esplice.toml".into()
            }
            TinyGoVersion { .. } => "is it TinyGo? `tinygo version` must tell".into(),
            TinyGoTarget { nearest: Some(near), .. } => format!("did you mean {near:?}?"),
            TinyGoTarget { .. } => "`tinygo targets` lists those it has".into(),
            TinyGoChip { targets, .. } if targets.is_empty() => {
                "name one of its targets with --tinygo-target".into()
            }
            TinyGoChip { .. } => {
                "install a newer TinyGo, or name one of its targets with --tinygo-target".into()
            }
            GoFailed { alone: Some((file, others)), .. } => format!(
                "{file} was compiled alone, without {}: give the directory to compile the package",
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
    // Debian's newest Rust with its library sources, and a linker.
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
