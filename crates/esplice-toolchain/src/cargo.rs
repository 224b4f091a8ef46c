//! Runs cargo and finds the resulting ELF.

use std::{
    ffi::OsString,
    io::BufReader,
    path::{Path, PathBuf},
    process::{ChildStdout, Command, ExitStatus, Stdio},
    thread,
};

use cargo_metadata::{Message, Metadata, MetadataCommand, diagnostic::DiagnosticLevel};
use derive_setters::Setters;
use std::sync::Arc;

use esplice_chip::{Chip, ChipDb};
use esplice_layout::{Layout, Linker};

use crate::{
    Machine, Probe as _, RustToolchain, SOURCE_DATE_EPOCH, ToolchainError, find, find_rust,
    project::{self, Selection},
    scripts, triple,
};

/// Options of a cargo build other than the project and the chip.
#[derive(Debug, Clone, Default, Setters)]
#[non_exhaustive]
pub struct CargoOptions {
    /// The known chips: the feature or target of a chip other than the built one is not used.
    pub chips: ChipDb,
    /// The package, for projects with several that have binaries.
    pub package: Option<String>,
    /// The binary, for packages with several.
    pub bin: Option<String>,
    /// The example to build instead of a binary.
    pub example: Option<String>,
    /// The main file of the binary or example, instead of its name.
    pub source: Option<PathBuf>,
    /// Features to enable in addition to the chip's own.
    pub features: Vec<String>,
    /// True to disable the package's default features.
    pub no_default_features: bool,
    /// True to enable all features of the package.
    pub all_features: bool,
    /// The profile, `release` by default.
    pub profile: Option<String>,
    /// True to fail rather than change the project's lock file.
    pub locked: bool,
    /// True to build without network access.
    pub offline: bool,
    /// The target directory, instead of the project's own.
    pub target_dir: Option<PathBuf>,
    /// More arguments for the linker. Changing them rebuilds only the last crate.
    pub link_args: Vec<String>,
    /// More environment variables for cargo and its child processes.
    pub variables: Vec<(String, OsString)>,
    /// The memory layout to link with.
    pub layout: Option<Layout>,
    /// The link wrapper that keeps sections at their addresses. Used only with lld.
    pub stable: Option<StableLink>,
    /// The program that checks the linker's inputs against the layout: esplice, called instead of
    /// the linker. Used only if the layout has something to check.
    pub checker: Option<PathBuf>,
}

/// A program that is called instead of the linker and calls the linker itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StableLink {
    /// The program: esplice.
    pub program: PathBuf,
    /// Arguments for the program in addition to the linker's.
    pub arguments: Vec<String>,
}

/// A callback for messages of the compiler and the linker, called as they arrive.
pub type OnDiagnostic<'a> = dyn FnMut(&Diagnostic) + 'a;

/// A message of the compiler or the linker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// `error`, `warning`, `note` or `help`.
    pub level: String,
    /// The message without code and place.
    pub message: String,
    /// The error code, such as `E0425`.
    pub code: Option<String>,
    /// The file, line and column of the message.
    pub place: Option<(String, u32, u32)>,
    /// The whole message, formatted for people.
    pub rendered: String,
}

impl From<cargo_metadata::diagnostic::Diagnostic> for Diagnostic {
    fn from(told: cargo_metadata::diagnostic::Diagnostic) -> Diagnostic {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let primary = told.spans.iter().find(|span| span.is_primary);
        Diagnostic {
            level: level(told.level).to_owned(),
            code: told.code.map(|code| code.code),
            place: primary.map(|span| {
                (span.file_name.clone(), number(span.line_start), number(span.column_start))
            }),
            rendered: told.rendered.unwrap_or_else(|| told.message.clone()),
            message: told.message,
        }
    }
}

/// Returns the level's name. A compiler bug in rustc counts as an error, and a "failure note" as a
/// note.
fn level(level: DiagnosticLevel) -> &'static str {
    match level {
        DiagnosticLevel::Ice | DiagnosticLevel::Error => "error",
        DiagnosticLevel::Warning => "warning",
        DiagnosticLevel::Help => "help",
        _ => "note",
    }
}

/// An ELF built by cargo.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Artifact {
    /// The path of the ELF.
    pub elf: PathBuf,
    /// The package of the binary.
    pub package: String,
    /// The name of the binary.
    pub bin: String,
    /// True if the ELF was already up to date.
    pub fresh: bool,
    /// The toolchain it was built with.
    pub toolchain: RustToolchain,
    /// True if it was linked through the program of [`CargoOptions::stable`].
    pub stable: bool,
}

/// Builds a binary of the cargo project at `project` (its directory, or its `Cargo.toml`) for
/// `chip`. Cargo's progress and the compiler's messages go to this process's standard error stream
/// as they arrive.
///
/// # Errors
/// Returns a [`ToolchainError`]. [`ToolchainError::kind`] classifies it.
pub fn build_cargo(
    project: &Path,
    chip: &Chip,
    options: &CargoOptions,
) -> Result<Artifact, ToolchainError> {
    build(project, chip, options, None)
}

/// Builds like [`build_cargo`], but passes the messages of compiler and linker to `on_diagnostic`
/// instead of the standard error stream, formatted for a terminal if `colors` is set.
///
/// # Errors
/// See [`build_cargo`].
pub fn build_cargo_with_diagnostics(
    project: &Path,
    chip: &Chip,
    options: &CargoOptions,
    colors: bool,
    on_diagnostic: &mut OnDiagnostic<'_>,
) -> Result<Artifact, ToolchainError> {
    build(project, chip, options, Some((colors, on_diagnostic)))
}

/// Returns the chip named by the project's enabled cargo features, including default ones and those
/// in `options`, or `None` if they name no chip. Build scripts find the chip by the same rule.
///
/// # Errors
/// Returns [`ToolchainError::ManyChips`], and the errors of [`build_cargo`] for a project that
/// cargo cannot read.
pub fn chip_of_project(
    project: &Path,
    options: &CargoOptions,
) -> Result<Option<Arc<Chip>>, ToolchainError> {
    let directory = project::directory(project)?;
    let machine = Machine::in_directory(&directory);
    let cargo = find::program(&machine, "cargo");
    // Nothing can be built without cargo. The build itself reports that.
    let Some(cargo) = cargo else { return Ok(None) };
    let metadata = read_metadata(&directory, &machine, &cargo, Vec::new())?;
    project::chip_of(&metadata, &directory, options)
}

fn build(
    project: &Path,
    chip: &Chip,
    options: &CargoOptions,
    on_diagnostic: Option<(bool, &mut OnDiagnostic<'_>)>,
) -> Result<Artifact, ToolchainError> {
    let directory = project::directory(project)?;
    let machine = Machine::in_directory(&directory);
    let (toolchain, metadata) = toolchain_and_metadata(chip, &options.chips, &directory, &machine)?;
    let selection = project::select(&metadata, &directory, options)?;
    if selection.needs_idf && !toolchain.is_std {
        return Err(ToolchainError::StdTarget {
            package: selection.package,
            target: triple::std_triple(&chip.toolchain.rust_target),
        });
    }

    let injected = match &options.layout {
        Some(layout) => Some(injected(layout, options, &toolchain, &metadata)?),
        None => None,
    };
    let options = injected.as_ref().unwrap_or(options);
    let stable = options
        .stable
        .as_ref()
        .and_then(|stable| rustc_arguments(stable, options, &toolchain, &selection, &metadata));
    let is_stable = stable.is_some();
    let stable = stable.or_else(|| checked_link(options, &toolchain));
    let format = match &on_diagnostic {
        None => "json-render-diagnostics",
        Some((true, _)) => "json-diagnostic-rendered-ansi",
        Some((false, _)) => "json",
    };

    let mut command = machine.command(&toolchain.cargo);
    command.args(build_arguments(
        &toolchain,
        &selection,
        chip,
        options,
        &stable.unwrap_or_default(),
        format,
    ));
    if std::env::var_os("SOURCE_DATE_EPOCH").is_none() {
        command.env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH);
    }
    command.envs(toolchain.variables());
    command.envs(options.variables.iter().map(|(name, value)| (name, value)));
    let mut deaf = |_: &Diagnostic| {};
    let on_diagnostic = match on_diagnostic {
        Some((_, on_diagnostic)) => on_diagnostic,
        None => &mut deaf,
    };
    let (status, made) = run(command, &toolchain.cargo, &selection, on_diagnostic)?;

    if !status.success() {
        return Err(failure(status, selection));
    }
    match made {
        Some((elf, fresh)) => {
            let Selection { package, bin, .. } = selection;
            Ok(Artifact { elf, package, bin, fresh, toolchain, stable: is_stable })
        }
        None => {
            Err(ToolchainError::NoExecutable { package: selection.package, bin: selection.bin })
        }
    }
}

/// Returns the linker that cargo will use, if one is set.
fn named_linker(toolchain: &RustToolchain) -> Option<String> {
    let linker = match &toolchain.linker {
        Some(linker) => Some(linker.to_string_lossy().into_owned()),
        None => toolchain.user_linker.clone(),
    };
    linker.filter(|linker| Path::new(linker).file_stem() != stable_name())
}

/// Returns whether the linker is a path relative to the configuration's directory, which only cargo
/// knows.
fn is_relative_path(linker: &str) -> bool {
    Path::new(linker).is_relative() && linker.contains(['/', '\\'])
}

/// Returns the arguments that name the no-load arenas and sections.
fn unloaded(layout: Option<&Layout>) -> Vec<String> {
    let Some(layout) = layout else { return Vec::new() };
    let arenas = layout.arenas.iter().filter(|arena| !arena.is_loaded());
    let names: Vec<&str> = arenas.map(|arena| arena.name.as_str()).collect();
    let arenas = (!names.is_empty()).then(|| format!("--esplice-arenas={}", names.join(",")));
    let sections = layout
        .sections
        .iter()
        .filter(|section| section.no_load)
        .map(|section| format!("--esplice-no-load={}={}", section.name, section.pattern));
    arenas.into_iter().chain(sections).map(|argument| format!("link-arg={argument}")).collect()
}

/// Returns rustc's arguments for a normal link with checked inputs, or `None` if there is nothing
/// to check or too little is known about the linker to call it.
fn checked_link(options: &CargoOptions, toolchain: &RustToolchain) -> Option<Vec<String>> {
    let unloaded = unloaded(options.layout.as_ref());
    if unloaded.is_empty() {
        return None;
    }
    let program = options.checker.as_ref()?;
    let linker = named_linker(toolchain);
    match (&linker, &options.layout) {
        (Some(linker), _) if is_relative_path(linker) => return None,
        // The target's default linker is lld if the layout is for lld.
        (None, Some(layout)) if layout.linker_for(None) != Linker::Lld => return None,
        _ => {}
    }
    let mut words = vec![
        format!("linker={}", program.display()),
        "link-arg=--esplice-ld".to_owned(),
        "link-arg=--esplice-plain".to_owned(),
    ];
    words.extend(unloaded);
    words.extend(linker.map(|linker| format!("link-arg=--esplice-linker={linker}")));
    Some(words)
}

/// Returns rustc's arguments for a layout-stable link, or `None` if the linker is not lld.
fn rustc_arguments(
    stable: &StableLink,
    options: &CargoOptions,
    toolchain: &RustToolchain,
    selection: &Selection,
    metadata: &Metadata,
) -> Option<Vec<String>> {
    let linker = named_linker(toolchain);
    let is_lld = |linker: &String| {
        linker.contains("lld")
            && Linker::of_program(linker) == Linker::Lld
            && !is_relative_path(linker)
    };
    if linker.as_ref().is_some_and(|linker| !is_lld(linker)) {
        return None;
    }
    let members = metadata.packages.iter().map(|package| package.name.to_string());
    let mut own: Vec<String> =
        members.chain([selection.bin.clone()]).map(|name| name.replace('-', "_")).collect();
    own.sort_unstable();
    own.dedup();
    let mut words = vec![
        format!("linker={}", stable.program.display()),
        // Merged variables would all move when one is added.
        "llvm-args=-enable-global-merge=false".to_owned(),
        "link-arg=--esplice-ld".to_owned(),
        format!("link-arg=--esplice-own={}", own.join(",")),
        format!("link-arg=--esplice-profile={}", options.profile.as_deref().unwrap_or("release")),
    ];
    words.extend(linker.map(|linker| format!("link-arg=--esplice-linker={linker}")));
    words.extend(stable.arguments.iter().map(|argument| format!("link-arg={argument}")));
    words.extend(unloaded(options.layout.as_ref()));
    Some(words)
}

/// Returns the program name under which esplice acts as a linker.
fn stable_name() -> Option<&'static std::ffi::OsStr> {
    Some(std::ffi::OsStr::new("esplice-ld"))
}

/// Returns `options` with the layout's additions.
fn injected(
    layout: &Layout,
    options: &CargoOptions,
    toolchain: &RustToolchain,
    metadata: &Metadata,
) -> Result<CargoOptions, ToolchainError> {
    let linker = match &toolchain.linker {
        Some(linker) => Some(linker.to_string_lossy().into_owned()),
        None => toolchain.user_linker.clone(),
    };
    let injection = esplice_layout::inject(layout, layout.linker_for(linker.as_deref()));
    let target = match &options.target_dir {
        Some(target) => std::path::absolute(target).unwrap_or_else(|_| target.clone()),
        None => metadata.target_directory.clone().into_std_path_buf(),
    };
    let directory = scripts::write(&injection, &target.join("esplice"))?;
    let mut options = options.clone();
    options.link_args.extend(injection.link_args(&directory.to_string_lossy()));
    options.variables.push(("ESPLICE_LAYOUT".into(), "injected".into()));
    Ok(options)
}

/// Returns the toolchain and cargo's metadata of the project. The first cargo on the path reads the
/// metadata while the toolchain is being searched, as manifests mean the same to every cargo. If
/// that fails, the toolchain's own cargo is used.
fn toolchain_and_metadata(
    chip: &Chip,
    chips: &ChipDb,
    directory: &Path,
    machine: &Machine,
) -> Result<(RustToolchain, Metadata), ToolchainError> {
    // rustup may install the toolchain named in such a file when one of its proxies starts, so
    // start only one at a time.
    let is_pinned = machine.directory().ancestors().any(|above| {
        ["rust-toolchain", "rust-toolchain.toml"].iter().any(|file| above.join(file).exists())
    });
    let first = find::program(machine, "cargo").filter(|_| !is_pinned);
    let (toolchain, early) = thread::scope(|scope| {
        let early = first.map(|cargo| {
            scope.spawn(move || read_metadata(directory, machine, &cargo, Vec::new()).ok())
        });
        let toolchain = find_rust(chip, chips, machine);
        (toolchain, early.and_then(|early| early.join().ok().flatten()))
    });
    let toolchain = toolchain?;
    let metadata = match early {
        Some(metadata) => metadata,
        None => read_metadata(directory, machine, &toolchain.cargo, toolchain.variables())?,
    };
    Ok((toolchain, metadata))
}

fn read_metadata(
    directory: &Path,
    machine: &Machine,
    cargo: &Path,
    variables: Vec<(&'static str, OsString)>,
) -> Result<Metadata, ToolchainError> {
    let mut command = MetadataCommand::new();
    // Without dependencies cargo needs neither the registry nor a lock file.
    command.cargo_path(cargo).current_dir(directory).no_deps();
    for name in machine.hidden() {
        command.env_remove(name);
    }
    for (name, value) in variables {
        command.env(name, value);
    }
    command.exec().map_err(|error| match error {
        cargo_metadata::Error::Io(source) => {
            ToolchainError::Start { program: cargo.to_owned(), source }
        }
        cargo_metadata::Error::CargoMetadata { stderr } => ToolchainError::BadManifest {
            path: directory.to_owned(),
            message: stderr.trim().trim_start_matches("error: ").to_owned(),
        },
        other => {
            ToolchainError::BadManifest { path: directory.to_owned(), message: other.to_string() }
        }
    })
}

fn build_arguments(
    toolchain: &RustToolchain,
    selection: &Selection,
    chip: &Chip,
    options: &CargoOptions,
    rustc: &[String],
    format: &str,
) -> Vec<OsString> {
    let by_chip = project::chip_features(&selection.features, chip, &options.chips);
    // `cargo rustc` is `cargo build` with extra arguments for the last crate.
    let plain = options.link_args.is_empty() && rustc.is_empty();
    let verb = if plain { "build" } else { "rustc" };
    let mut arguments: Vec<OsString> = vec![verb.into()];
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));

    add(&["--message-format", format]);
    add(&["--package", &selection.package, selection.kind.flag(), &selection.bin]);
    add(&["--profile", options.profile.as_deref().unwrap_or("release")]);
    if by_chip.no_default || options.no_default_features {
        add(&["--no-default-features"]);
    }
    let features: Vec<&str> =
        by_chip.enable.iter().chain(&options.features).map(String::as_str).collect();
    if !features.is_empty() {
        add(&["--features", &features.join(",")]);
    }
    if options.all_features {
        add(&["--all-features"]);
    }
    if options.locked {
        add(&["--locked"]);
    }
    if options.offline {
        add(&["--offline"]);
    }
    if let Some(target_dir) = &options.target_dir {
        // Cargo starts in the project's directory, but a relative path is relative to the current
        // one.
        arguments.push("--target-dir".into());
        arguments
            .push(std::path::absolute(target_dir).unwrap_or_else(|_| target_dir.clone()).into());
    }
    arguments.extend(toolchain.arguments());
    if !plain {
        arguments.push("--".into());
        for argument in rustc {
            arguments.extend(["-C".into(), argument.into()]);
        }
        for argument in &options.link_args {
            arguments.push("-C".into());
            arguments.push(format!("link-arg={argument}").into());
        }
    }
    arguments
}

/// Runs cargo to its end. Returns its exit status, and the ELF it reported with its freshness.
fn run(
    mut command: Command,
    program: &Path,
    selection: &Selection,
    on_diagnostic: &mut OnDiagnostic<'_>,
) -> Result<(ExitStatus, Option<(PathBuf, bool)>), ToolchainError> {
    tracing::debug!(?command, "starting cargo");
    // The child stays in the terminal's process group, so that Ctrl-C also reaches cargo and the
    // compilers.
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| ToolchainError::Start { program: program.to_owned(), source })?;
    let made = child.stdout.take().map(|stdout| find_executable(stdout, selection, on_diagnostic));
    let report = |source| ToolchainError::Report { program: program.to_owned(), source };
    // Wait before reporting any error, so that no child process is left running.
    let status = child.wait().map_err(report)?;
    Ok((status, made.transpose().map_err(report)?.flatten()))
}

fn find_executable(
    stdout: ChildStdout,
    selection: &Selection,
    on_diagnostic: &mut OnDiagnostic<'_>,
) -> std::io::Result<Option<(PathBuf, bool)>> {
    let mut made = None;
    for message in Message::parse_stream(BufReader::new(stdout)) {
        match message? {
            Message::CompilerArtifact(artifact)
                if selection.kind.is_of(&artifact.target)
                    && artifact.target.name == selection.bin =>
            {
                if let Some(elf) = artifact.executable {
                    made = Some((elf.into_std_path_buf(), artifact.fresh));
                }
            }
            Message::CompilerMessage(message) => on_diagnostic(&message.message.into()),
            _ => {}
        }
    }
    Ok(made)
}

fn failure(status: ExitStatus, selection: Selection) -> ToolchainError {
    match (signal_of(status), status.code()) {
        (Some(signal), _) => ToolchainError::Interrupted { signal },
        (None, code) => ToolchainError::CompileFailed {
            package: selection.package,
            bin: selection.bin,
            code: code.unwrap_or(-1),
        },
    }
}

#[cfg(unix)]
pub(crate) fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// Windows has no signals. A program ended by Ctrl-C has this exit code (STATUS_CONTROL_C_EXIT).
#[cfg(not(unix))]
pub(crate) fn signal_of(status: ExitStatus) -> Option<i32> {
    const CONTROL_C_EXIT: i32 = 0xC000_013A_u32 as i32;
    const SIGINT: i32 = 2;
    (status.code() == Some(CONTROL_C_EXIT)).then_some(SIGINT)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::{ErrorKind, project::Kind};

    fn selection() -> Selection {
        Selection {
            package: "p".into(),
            kind: Kind::Bin,
            bin: "b".into(),
            features: Default::default(),
            needs_idf: false,
        }
    }

    /// Runs `script` instead of cargo.
    fn outcome(script: &str) -> Result<(ExitStatus, Option<(PathBuf, bool)>), ToolchainError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, Path::new("cargo"), &selection(), &mut |_| {})
    }

    /// Returns cargo's message about an artifact, reduced to the required fields.
    fn artifact(kind: &str, name: &str, executable: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"p","manifest_path":"/p/Cargo.toml",
            "target":{{"kind":["{kind}"],"crate_types":["bin"],"name":"{name}",
            "src_path":"/p/src/main.rs","edition":"2024"}},"profile":{{"opt_level":"3",
            "debuginfo":0,"debug_assertions":false,"overflow_checks":false,"test":false}},
            "features":[],"filenames":[],"executable":{executable},"fresh":false}}"#
        )
        .replace('\n', "")
    }

    #[test]
    fn the_binarys_executable_is_found_among_other_messages() {
        let messages = [
            "a line that is no message".to_owned(),
            artifact("custom-build", "b", r#""/t/build-script""#),
            artifact("bin", "other", r#""/t/other""#),
            artifact("bin", "b", "null"),
            artifact("bin", "b", r#""/t/b""#),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let (status, made) =
            outcome(&format!("cat <<'END'\n{}\nEND", messages.join("\n"))).unwrap();
        assert!(status.success());
        assert_eq!(made, Some((PathBuf::from("/t/b"), false)));
    }

    #[test]
    fn a_failed_compile_and_an_interrupt_are_told_apart() {
        for (script, kind, text) in [
            ("exit 101", ErrorKind::CompileFailed, "cargo could not build b of p (exit code 101)"),
            // Not SIGINT: it may be ignored if the tests run in the background.
            ("kill -KILL $$", ErrorKind::Interrupted, "the build was interrupted by signal 9"),
            ("kill -TERM $$", ErrorKind::Interrupted, "the build was interrupted by signal 15"),
        ] {
            let (status, _) = outcome(script).unwrap();
            let error = failure(status, selection());
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
        }
    }

    #[test]
    fn a_cargo_that_does_not_start_is_named() {
        let command = Command::new("/nowhere/cargo");
        let error =
            run(command, Path::new("/nowhere/cargo"), &selection(), &mut |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ToolchainMissing);
        assert!(error.to_string().starts_with("cannot start /nowhere/cargo: "), "{error}");
    }

    #[test]
    fn arguments_follow_the_options() {
        let chip = ChipDb::embedded().find("esp32c3").unwrap();
        let toolchain = RustToolchain {
            origin: crate::Origin::Installed,
            cargo: "cargo".into(),
            rustc: "rustc".into(),
            target: "T".into(),
            is_std: false,
            build_std: vec![],
            linker: None,
            user_linker: None,
        };
        let mut selection = selection();
        selection.features.insert(chip.name.clone(), vec![]);
        let line = |options: &CargoOptions| {
            let words = build_arguments(
                &toolchain,
                &selection,
                chip,
                options,
                &[],
                "json-render-diagnostics",
            );
            words.iter().map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            line(&CargoOptions::default()),
            "build --message-format json-render-diagnostics --package p --bin b \
             --profile release --features esp32c3 --target T"
        );
        assert_eq!(
            line(&CargoOptions {
                features: vec!["fast".into()],
                no_default_features: true,
                profile: Some("dev".into()),
                locked: true,
                target_dir: Some("/t".into()),
                link_args: vec!["-Tlayout.x".into()],
                ..CargoOptions::default()
            }),
            "rustc --message-format json-render-diagnostics --package p --bin b --profile dev \
             --no-default-features --features esp32c3,fast --locked --target-dir /t --target T \
             -- -C link-arg=-Tlayout.x"
        );
    }
}
