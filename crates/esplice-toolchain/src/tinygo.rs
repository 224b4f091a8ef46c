//! Runs TinyGo and finds the resulting ELF.

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use derive_setters::Setters;
use esplice_chip::Chip;
use esplice_layout::Layout;

use crate::{Machine, Probe, ToolchainError, cargo::signal_of, find::program};

/// Options of a TinyGo build other than the package and the chip. TinyGo's target decides options
/// that are not set.
#[derive(Debug, Clone, Default, Setters)]
#[non_exhaustive]
pub struct TinyGoOptions {
    /// TinyGo's name of the board, or the path of a custom target file ending in `.json`.
    pub target: Option<String>,
    /// TinyGo's names of the board, used if `target` is not set. The first known one is used. If
    /// the list is empty, the chip's data name some.
    pub board_targets: Vec<String>,
    /// Build tags in addition to `esplice` and the chip's name.
    pub tags: Vec<String>,
    /// Optimisation level: `z`, `s`, `2`, …
    pub opt: Option<String>,
    /// Garbage collector: `conservative`, `leaking`, …
    pub gc: Option<String>,
    /// Scheduler: `tasks`, `none`, …
    pub scheduler: Option<String>,
    /// Console: `uart`, `usb`, `none`.
    pub serial: Option<String>,
    /// Behaviour on panic: `print`, `trap`.
    pub panic: Option<String>,
    /// Stack size of a goroutine in bytes.
    pub stack_size: Option<u32>,
    /// Flags for Go's linker, such as `-X main.version=1.2`.
    pub ldflags: Option<String>,
    /// More arguments for the linker.
    pub link_args: Vec<String>,
    /// The memory layout to link with. Its base must be TinyGo.
    pub layout: Option<Layout>,
}

/// An ELF built by TinyGo. Its directory is removed when this value is dropped.
#[derive(Debug)]
pub struct GoArtifact {
    /// The ELF.
    pub elf: PathBuf,
    /// The name of the package: that of its directory or file.
    pub name: String,
    /// The TinyGo it was built with.
    pub tinygo: TinyGo,
    /// TinyGo's target.
    pub target: String,
    _directory: tempfile::TempDir,
}

/// An installed TinyGo.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TinyGo {
    /// The program.
    pub program: PathBuf,
    /// The version: major, minor, patch.
    pub version: (u32, u32, u32),
}

/// The first release with `-extldflags` (TinyGo, pull request 4472).
const EXTLDFLAGS: (u32, u32, u32) = (0, 34, 0);

/// The first release whose own images have no SHA-256. 0.41.1 appends one; its builder/esp.go no
/// longer does after that.
const WITHOUT_HASH: (u32, u32, u32) = (0, 42, 0);

impl TinyGo {
    /// Returns whether TinyGo's own images end in a SHA-256.
    pub fn appends_hash(&self) -> bool {
        self.version < WITHOUT_HASH
    }
}

/// Finds TinyGo on the path and queries its version.
///
/// # Errors
/// Returns [`ToolchainError::TinyGoMissing`], [`ToolchainError::TinyGoVersion`] if it prints no
/// version, or [`ToolchainError::GoMissing`] if it reports that it cannot find Go.
pub fn find_tinygo(probe: &dyn Probe) -> Result<TinyGo, ToolchainError> {
    let program = program(probe, "tinygo").ok_or(ToolchainError::TinyGoMissing)?;
    let said = probe.output(&program, &["version"]).unwrap_or_default();
    match version(&said) {
        // Printed for the version of a Go that TinyGo cannot find.
        Some(_) if said.contains("go version <unknown>") => Err(ToolchainError::GoMissing),
        Some(version) => Ok(TinyGo { program, version }),
        None => Err(ToolchainError::TinyGoVersion { program, said: said.trim().to_owned() }),
    }
}

/// Returns the numbers of `tinygo version 0.33.0 linux/amd64 (using go version …)`.
fn version(said: &str) -> Option<(u32, u32, u32)> {
    let word = said.trim().strip_prefix("tinygo version ")?.split_whitespace().next()?;
    // A development version continues after a hyphen.
    let mut numbers = word.split('-').next()?.split('.').map(|number| number.parse().ok());
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Some(major)), Some(Some(minor)), Some(Some(patch))) => Some((major, minor, patch)),
        (Some(Some(major)), Some(Some(minor)), None) => Some((major, minor, 0)),
        _ => None,
    }
}

/// Builds the Go package at `source` (a directory, or a `.go` file that is a package by itself) for
/// `chip`. TinyGo's messages go to this process's standard error stream as they arrive.
///
/// # Errors
/// Returns a [`ToolchainError`]. [`ToolchainError::kind`] classifies it.
pub fn build_tinygo(
    source: &Path,
    chip: &Chip,
    options: &TinyGoOptions,
) -> Result<GoArtifact, ToolchainError> {
    let (directory, package) = package(source);
    let machine = Machine::in_directory(&directory);
    let tinygo = find_tinygo(&machine)?;
    let target = target(&tinygo, chip, options, &machine)?;

    let files = |source| ToolchainError::Files { source };
    let output = tempfile::Builder::new().prefix("esplice-go-").tempdir().map_err(files)?;
    let elf = output.path().join("firmware.elf");
    let mut options = options.clone();
    let board = target.clone();
    let layout = options.layout.take();
    let target = with_script(&tinygo, &target, layout, &mut options, &machine, output.path())?;
    let options = &options;
    let told = linker_arguments(&tinygo, &target, options, output.path())?;

    let mut command = machine.command(&tinygo.program);
    command.args(arguments(&elf, &told, &package, chip, options));
    // Standard output is reserved for results.
    command.stdout(Stdio::from(std::io::stderr()));
    let (status, said) = run(command, &tinygo.program)?;
    let name = name(source);
    match (status.success(), signal_of(status), status.code()) {
        (true, ..) if elf.is_file() => {
            Ok(GoArtifact { elf, name, tinygo, target: board, _directory: output })
        }
        (true, ..) => Err(ToolchainError::GoWithoutElf { package: name }),
        (false, Some(signal), _) => Err(ToolchainError::Interrupted { signal }),
        (false, None, code) => Err(failure(source, name, code.unwrap_or(-1), &said)),
    }
}

/// Number of bytes kept from the end of TinyGo's messages.
const KEPT: usize = 0x1_0000;

/// Runs TinyGo to its end. Its messages are passed on as they arrive; the end of them is returned.
fn run(mut command: Command, program: &Path) -> Result<(ExitStatus, String), ToolchainError> {
    tracing::debug!(?command, "starting TinyGo");
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| ToolchainError::Start { program: program.to_owned(), source })?;
    let mut said = Vec::new();
    if let Some(mut messages) = child.stderr.take() {
        let mut buffer = [0; 0x1000];
        // Neither a closed terminal nor a broken pipe must stop the compiler.
        while let Ok(len @ 1..) = messages.read(&mut buffer) {
            let piece = buffer.get(..len).unwrap_or_default();
            let _ = std::io::stderr().write_all(piece);
            said.extend_from_slice(piece);
            let excess = said.len().saturating_sub(KEPT);
            said.drain(..excess);
        }
    }
    let report = |source| ToolchainError::Report { program: program.to_owned(), source };
    let status = child.wait().map_err(report)?;
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// Returns the error for the failed build of `source`, derived from TinyGo's messages.
fn failure(source: &Path, package: String, code: i32, said: &str) -> ToolchainError {
    // TinyGo's builder/config.go and goenv/version.go.
    if said.contains("could not find 'go' command") || said.contains("\"go\": executable file not")
    {
        return ToolchainError::GoMissing;
    }
    if let Some(line) = said.lines().find(|line| line.contains("requires go version")) {
        let said = line.trim().trim_start_matches("error: ").to_owned();
        return ToolchainError::GoVersion { said };
    }
    ToolchainError::GoFailed { package, code, single_file: single_file(source) }
}

/// Returns the file that was compiled on its own and the other files of its package, if any.
fn single_file(source: &Path) -> Option<(String, Vec<String>)> {
    let file = source.file_name().filter(|_| source.is_file())?.to_str()?.to_owned();
    let (directory, _) = package(source);
    let mut others: Vec<String> = std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".go") && !name.ends_with("_test.go") && *name != file)
        .collect();
    others.sort();
    (!others.is_empty()).then_some((file, others))
}

/// Returns the directory to start TinyGo in, and the package argument for it.
fn package(source: &Path) -> (PathBuf, OsString) {
    if source.is_dir() {
        return (source.to_owned(), ".".into());
    }
    let directory = source.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new(".")).to_owned();
    (directory, source.file_name().unwrap_or(source.as_os_str()).to_owned())
}

fn name(source: &Path) -> String {
    // `.` and `..` have no name.
    let named = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let name = if named.is_dir() { named.file_name() } else { named.file_stem() };
    name.map_or_else(|| "firmware".into(), |name| name.to_string_lossy().into_owned())
}

/// Returns TinyGo's target for the chip: the requested one, else the first of the chip's that
/// TinyGo knows.
fn target(
    tinygo: &TinyGo,
    chip: &Chip,
    options: &TinyGoOptions,
    probe: &dyn Probe,
) -> Result<String, ToolchainError> {
    let answer = probe.output(&tinygo.program, &["targets"]).unwrap_or_default();
    let known: Vec<&str> = answer.split_whitespace().collect();
    let version = tinygo.version;
    if let Some(asked) = &options.target {
        // TinyGo does not list custom target files.
        if asked.ends_with(".json") || known.is_empty() || known.contains(&asked.as_str()) {
            return Ok(asked.clone());
        }
        let nearest = esplice_chip::nearest(asked, &known);
        return Err(ToolchainError::TinyGoTarget { name: asked.clone(), version, nearest });
    }
    let of_chip = chip.toolchain.tinygo.as_ref().map_or(&[][..], |tinygo| &tinygo.targets);
    let names = match options.board_targets.as_slice() {
        [] => of_chip,
        of_board => of_board,
    };
    let found = names.iter().find(|name| known.is_empty() || known.contains(&name.as_str()));
    found.cloned().ok_or_else(|| ToolchainError::TinyGoChip {
        chip: chip.display_name.clone(),
        version,
        targets: names.to_vec(),
    })
}

/// Returns the target, or a target file in `directory` that adds `layout` and whatever its linker
/// script lacks to keep code and data apart.
fn with_script(
    tinygo: &TinyGo,
    target: &str,
    layout: Option<Layout>,
    options: &mut TinyGoOptions,
    probe: &dyn Probe,
    directory: &Path,
) -> Result<String, ToolchainError> {
    let question = ["info", "-json", &format!("-target={target}")];
    let answer = probe.output(&tinygo.program, &question).unwrap_or_default();
    let about: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    let script = match (about["target"]["linkerscript"].as_str(), &layout) {
        (Some(script), _) => script,
        (None, None) => return Ok(target.to_owned()),
        (None, Some(_)) => {
            return Err(ToolchainError::TinyGoScript { target: target.to_owned() });
        }
    };
    let apart = lacks_room(tinygo, script, probe);
    let own = directory.join("esplice-layout.ld");
    let own_name = own.to_string_lossy();
    let files = match &layout {
        None if !apart => return Ok(target.to_owned()),
        None => esplice_layout::tinygo_apart(target, script, &own_name),
        Some(layout) => {
            let mut files = esplice_layout::tinygo(layout, target, script, &own_name);
            if apart {
                files.script.push_str(esplice_layout::TINYGO_APART);
            }
            files
        }
    };
    let path = directory.join("esplice-layout.json");
    std::fs::write(&own, files.script)
        .and_then(|()| std::fs::write(&path, files.target))
        .map_err(|source| ToolchainError::Files { source })?;
    if options.stack_size.is_none() {
        options.stack_size = files.stack_size;
    }
    Ok(path.to_string_lossy().into_owned())
}

/// Returns whether a linker script leaves too little room for data where code follows on another
/// bus. That is so if the script, or one it includes, has the dummy section for it. A script that
/// cannot be read is ignored.
fn lacks_room(tinygo: &TinyGo, script: &str, probe: &dyn Probe) -> bool {
    /// Maximum number of scripts to read: TinyGo's own, and a custom one that includes it.
    const MOST: usize = 8;
    let root = probe.output(&tinygo.program, &["env", "TINYGOROOT"]).unwrap_or_default();
    let root = PathBuf::from(root.trim());
    let mut names = vec![script.to_owned()];
    let mut at = 0;
    while let Some(name) = names.get(at).cloned().filter(|_| at < MOST) {
        at += 1;
        let beside = probe.directory().join(&name);
        let Some(text) = probe.text(&root.join(&name)).or_else(|| probe.text(&beside)) else {
            continue;
        };
        if text.contains(esplice_layout::TINYGO_DUMMY) {
            return true;
        }
        let included = text.lines().filter_map(|line| line.trim().strip_prefix("INCLUDE "));
        names.extend(included.map(|name| name.trim().trim_matches('"').to_owned()));
    }
    false
}

/// The form in which TinyGo gets the linker's arguments: the target's name or file, and a flag.
#[derive(Debug, PartialEq, Eq)]
struct LinkerArguments {
    target: OsString,
    ldflags: Option<String>,
}

/// Prepares the linker's arguments. Releases from 0.34 on take them as a flag; earlier ones need a
/// target file that inherits from the target. All releases take flags for Go's linker through the
/// same flag.
fn linker_arguments(
    tinygo: &TinyGo,
    target: &str,
    options: &TinyGoOptions,
    directory: &Path,
) -> Result<LinkerArguments, ToolchainError> {
    let by_flag = tinygo.version >= EXTLDFLAGS;
    let own = options.ldflags.clone().filter(|flags| !flags.trim().is_empty());
    if own.as_ref().is_some_and(|flags| flags.contains("-extldflags")) && !by_flag {
        return Err(ToolchainError::GoLinkerFlags { version: tinygo.version });
    }
    let link_args = &options.link_args;
    if link_args.is_empty() {
        return Ok(LinkerArguments { target: target.into(), ldflags: own });
    }
    if by_flag {
        let words: Vec<String> = link_args.iter().map(|word| quoted(word)).collect();
        let ldflags = format!("-extldflags={}", quoted(&words.join(" ")));
        let ldflags = own.into_iter().chain([ldflags]).collect::<Vec<_>>().join(" ");
        return Ok(LinkerArguments { target: target.into(), ldflags: Some(ldflags) });
    }
    let path = directory.join("esplice.json");
    let spec = serde_json::json!({ "inherits": [target], "ldflags": link_args });
    std::fs::write(&path, spec.to_string()).map_err(|source| ToolchainError::Files { source })?;
    Ok(LinkerArguments { target: path.into(), ldflags: own })
}

/// Returns a size in TinyGo's form, which requires a unit, `B` or `KB` of 1024 bytes.
fn size_word(bytes: u32) -> String {
    match bytes % 1024 {
        0 => format!("{}KB", bytes / 1024),
        _ => format!("{bytes}B"),
    }
}

/// Quotes a word for a shell, as TinyGo splits its flags like one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn arguments(
    elf: &Path,
    told: &LinkerArguments,
    package: &OsString,
    chip: &Chip,
    options: &TinyGoOptions,
) -> Vec<OsString> {
    let flag = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        let mut word = OsString::from(format!("-{name}="));
        word.push(value);
        word
    };
    let mut tags = vec!["esplice", chip.name.as_str()];
    tags.extend(options.tags.iter().map(String::as_str));
    let mut arguments: Vec<OsString> = vec!["build".into(), flag("o", &elf)];
    arguments.push(flag("target", &told.target));
    arguments.push(flag("tags", &tags.join(" ")));
    let given = [
        ("opt", &options.opt),
        ("gc", &options.gc),
        ("scheduler", &options.scheduler),
        ("serial", &options.serial),
        ("panic", &options.panic),
        ("stack-size", &options.stack_size.map(size_word)),
        ("ldflags", &told.ldflags),
    ];
    for (name, value) in given {
        arguments.extend(value.as_ref().map(|value| flag(name, value)));
    }
    arguments.push(package.clone());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tinygo(minor: u32) -> TinyGo {
        TinyGo { program: "/usr/local/bin/tinygo".into(), version: (0, minor, 0) }
    }

    #[test]
    fn versions() {
        let text = "tinygo version 0.33.0 linux/amd64 (using go version go1.22.6 and LLVM version \
                    18.1.2)\n";
        assert_eq!(version(text), Some((0, 33, 0)));
        assert_eq!(version("tinygo version 0.42.0-dev-ab12cd3 darwin/arm64"), Some((0, 42, 0)));
        for odd in ["", "tinygo", "tinygo version", "tinygo version x.y.z", "go version go1.22"] {
            assert_eq!(version(odd), None, "{odd}");
        }
        assert!(tinygo(41).appends_hash() && !tinygo(42).appends_hash());
    }

    /// A machine with a TinyGo that knows these targets.
    struct With(&'static str);

    impl Probe for With {
        fn exists(&self, _: &Path) -> bool {
            false
        }
        fn entries(&self, _: &Path) -> Vec<PathBuf> {
            Vec::new()
        }
        fn text(&self, _: &Path) -> Option<String> {
            None
        }
        fn resolved(&self, _: &Path) -> Option<PathBuf> {
            None
        }
        fn directory(&self) -> PathBuf {
            "/".into()
        }
        fn cargo_home(&self) -> Option<PathBuf> {
            None
        }
        fn output(&self, _: &Path, args: &[&str]) -> Option<String> {
            match args {
                ["version"] => Some("tinygo version 0.33.0 linux/amd64".into()),
                ["targets"] => Some(self.0.replace(' ', "\n")),
                _ => None,
            }
        }
        fn on_path(&self, prefix: &str) -> Vec<PathBuf> {
            assert_eq!(prefix, "tinygo");
            vec!["/opt/tinygo-extras".into(), "/opt/tinygo".into()]
        }
        fn variable(&self, _: &str) -> Option<OsString> {
            None
        }
    }

    #[test]
    fn the_first_target_that_it_knows_is_taken() {
        #[track_caller]
        fn check(known: &'static str, chip: &str, asked: Option<&str>, expected: &str) {
            let named = esplice_chip::ChipDb::embedded().find_target(chip).unwrap();
            let (chip, board) = (named.chip(), named.board());
            let found = find_tinygo(&With(known)).unwrap();
            assert_eq!(found.program, Path::new("/opt/tinygo"));
            let options = TinyGoOptions {
                target: asked.map(str::to_owned),
                board_targets: board.map(|b| b.tinygo_targets.clone()).unwrap_or_default(),
                ..TinyGoOptions::default()
            };
            let said = match target(&found, chip, &options, &With(known)) {
                Ok(target) => target,
                Err(error) => format!("{error} | {}", error.hint().unwrap_or_default()),
            };
            assert_eq!(said, expected);
        }
        check("esp32c3 m5stamp-c3 xiao-esp32c3", "esp32c3", None, "m5stamp-c3");
        check("esp32c3-generic xiao-esp32c3", "esp32c3", None, "esp32c3-generic");
        check("", "esp32c3", None, "m5stamp-c3");
        check("m5stamp-c3 xiao-esp32c3", "esp32c3", Some("xiao-esp32c3"), "xiao-esp32c3");
        check("m5stamp-c3", "esp32c3", Some("own.json"), "own.json");
        check("m5stamp-c3 xiao-esp32c3", "xiao-esp32c3", None, "xiao-esp32c3");
        check(
            "m5stamp-c3 xiao-esp32c3",
            "esp32c3",
            Some("xiao-esp32-c3"),
            "TinyGo 0.33.0 has no target \"xiao-esp32-c3\" | did you mean \"xiao-esp32c3\"?",
        );
        check(
            "m5stamp-c3",
            "esp32s3",
            None,
            "TinyGo 0.33.0 does not know the ESP32-S3, it has no target esp32s3-generic | install \
             a \
             newer TinyGo, or name one of its targets with --tinygo-target",
        );
        check(
            "m5stamp-c3",
            "esp32c2",
            None,
            "TinyGo 0.33.0 does not know the ESP32-C2 | name one of its targets with \
             --tinygo-target",
        );
    }

    #[test]
    fn arguments_follow_the_options() {
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
        let line = |told: &LinkerArguments, options: &TinyGoOptions| {
            let words = arguments(Path::new("/t/f.elf"), told, &".".into(), chip, options);
            words.iter().map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join("|")
        };
        let told = LinkerArguments { target: "m5stamp-c3".into(), ldflags: None };
        assert_eq!(
            line(&told, &TinyGoOptions::default()),
            "build|-o=/t/f.elf|-target=m5stamp-c3|-tags=esplice esp32c3|."
        );
        let all = TinyGoOptions {
            tags: vec!["fast".into(), "x".into()],
            opt: Some("2".into()),
            gc: Some("leaking".into()),
            scheduler: Some("none".into()),
            serial: Some("usb".into()),
            panic: Some("trap".into()),
            stack_size: Some(4096),
            ..TinyGoOptions::default()
        };
        let told = LinkerArguments { ldflags: Some("-extldflags=-Map=m".into()), ..told };
        assert_eq!(
            line(&told, &all),
            "build|-o=/t/f.elf|-target=m5stamp-c3|-tags=esplice esp32c3 fast x|-opt=2|-gc=leaking|\
             -scheduler=none|-serial=usb|-panic=trap|-stack-size=4KB|-ldflags=-extldflags=-Map=m|."
        );
    }

    /// Covers both ways to pass the linker's arguments.
    #[test]
    fn the_linkers_arguments_go_by_flag_or_by_file() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let args = ["--defsym=a=1".to_owned(), "-Map=my file".to_owned(), "it's".to_owned()];
        let with = |flags: Option<&str>, args: &[String]| TinyGoOptions {
            ldflags: flags.map(str::to_owned),
            link_args: args.to_vec(),
            ..TinyGoOptions::default()
        };
        let told = linker_arguments(&tinygo(34), "m5stamp-c3", &with(None, &args), at).unwrap();
        assert_eq!(told.target, "m5stamp-c3");
        // Split twice: as -ldflags, then as -extldflags.
        let inner = r#"--defsym=a=1 '-Map=my file' 'it'\''s'"#;
        let expected = format!("-extldflags='{}'", inner.replace('\'', r"'\''"));
        assert_eq!(told.ldflags, Some(expected));
        assert_eq!(std::fs::read_dir(at).unwrap().count(), 0);

        let told = linker_arguments(&tinygo(33), "m5stamp-c3", &with(None, &args), at).unwrap();
        assert_eq!((told.target, told.ldflags), (at.join("esplice.json").into(), None));
        let written = std::fs::read_to_string(at.join("esplice.json")).unwrap();
        let spec: serde_json::Value = serde_json::from_str(&written).unwrap();
        let expected = serde_json::json!({ "inherits": ["m5stamp-c3"], "ldflags": args });
        assert_eq!(spec, expected);

        let told = linker_arguments(&tinygo(33), "m5stamp-c3", &with(None, &[]), at).unwrap();
        assert_eq!(told, LinkerArguments { target: "m5stamp-c3".into(), ldflags: None });

        // Flags for Go's linker precede them, and are the only ones in releases that take no
        // others.
        let own = Some("-X main.version=1.2");
        let one = ["-Map=m".to_owned()];
        for (minor, args, expected) in [
            (34, &one[..], "-X main.version=1.2 -extldflags=-Map=m"),
            (34, &[], "-X main.version=1.2"),
            (33, &one[..], "-X main.version=1.2"),
            (33, &[], "-X main.version=1.2"),
        ] {
            let told =
                linker_arguments(&tinygo(minor), "m5stamp-c3", &with(own, args), at).unwrap();
            assert_eq!(told.ldflags.as_deref(), Some(expected));
        }
        let ext = with(Some("-extldflags=-Map=m"), &[]);
        assert!(linker_arguments(&tinygo(34), "m5stamp-c3", &ext, at).is_ok());
        let error = linker_arguments(&tinygo(33), "m5stamp-c3", &ext, at).unwrap_err();
        assert_eq!(error.to_string(), "TinyGo 0.33.0 has no -extldflags in -ldflags");
    }

    /// TinyGo 0.33 rejects 4096, 4K and 4KiB.
    #[test]
    fn sizes_have_a_unit_that_tinygo_knows() {
        for (bytes, word) in [(4096, "4KB"), (1024, "1KB"), (1000, "1000B"), (65_537, "65537B")] {
            assert_eq!(size_word(bytes), word);
        }
    }

    #[test]
    fn a_go_that_is_missing_is_told_from_bad_source() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["main.go", "app.go", "app_test.go", "notes.txt"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let file = directory.path().join("main.go");
        let check = |source: &Path, said: &str, expected: &str| {
            let error = failure(source, "main".into(), 1, said);
            let hint = error.hint().unwrap_or_default();
            assert_eq!(format!("{error} | {}", hint.split(':').next().unwrap()), expected);
        };
        check(
            &file,
            "main.go:3:2: undefined: start\n",
            "tinygo could not build main (exit code 1) | main.go was compiled without app.go",
        );
        check(
            directory.path(),
            "main.go:3:2: undefined: start\n",
            "tinygo could not build main (exit code 1) | ",
        );
        check(
            &file,
            "error: could not find 'go' command: executable file not found in $PATH\n",
            "tinygo cannot find go, which it needs to read the program | install Go, or put it on \
             the path",
        );
        check(
            &file,
            "error: requires go version 1.19 through 1.22, got go1.25\n",
            "tinygo does not work with the installed go: requires go version 1.19 through 1.22, \
             got go1.25 | install a release of Go that this TinyGo supports, or a newer TinyGo",
        );
    }

    #[test]
    fn packages_are_directories_or_files() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("blink");
        std::fs::create_dir(&at).unwrap();
        std::fs::write(at.join("main.go"), "package main\n").unwrap();
        assert_eq!(package(&at), (at.clone(), ".".into()));
        assert_eq!(package(&at.join("main.go")), (at.clone(), "main.go".into()));
        assert_eq!(package(Path::new("main.go")), (".".into(), "main.go".into()));
        assert_eq!((name(&at), name(&at.join("main.go"))), ("blink".into(), "main".into()));
    }
}
