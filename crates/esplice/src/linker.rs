//! esplice as the linker: prepares a layout-stable link, starts the installed linker, and keeps the
//! record. On any failure, it links as without esplice.

mod command;
mod program;

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{ExitCode, Output},
    time::SystemTime,
};

use esplice_link::{
    initialised,
    stable::{
        Attempt, Basis, InputFile, Job, Link, Linker, Outcome, Record, Replacement, RunError,
        Settings,
    },
};
use esplice_toolchain::{Artifact, StableLink};
use serde_json::json;

use crate::{
    config::{project::Project, stable_link},
    files::outputs,
    ui::{
        exit::{Exit, Failure},
        printable::printable_message,
        shell::Shell,
    },
};

use self::{
    command::{CommandLine, Word, report_beside},
    program::Program,
};

/// Returns how cargo links a project whose link is to be layout-stable.
pub fn stable_link(project: &Project) -> Result<Option<StableLink>, Failure> {
    let Some(arguments) = &project.build.stable else { return Ok(None) };
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Internal, format!("esplice's own path: {error}")))?;
    Ok(Some(StableLink { program, arguments: arguments.clone() }))
}

/// Prints the outcome of a link that was to be layout-stable.
pub fn print_outcome(artifact: &Artifact, asked: bool, shell: &mut Shell) {
    if !asked {
        return;
    }
    if !artifact.stable {
        shell.warning("linked normally: only lld supports placing sections");
    } else if let Some(warning) =
        Report::warning_at(&report_beside(&artifact.elf)).filter(|_| !artifact.fresh)
    {
        shell.warning(&warning);
    }
}

/// Returns whether esplice is to act as the linker: its name is `esplice-ld`, or an argument says
/// so.
pub fn is_asked(args: &[OsString]) -> bool {
    let name = args.first().map(Path::new).and_then(Path::file_stem);
    name.is_some_and(|name| name == "esplice-ld")
        || command::is_marked(args.get(1..).unwrap_or(&[]))
}

/// Links as described by `args`, the linker's arguments without the program's name.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let marked = command::is_marked(&args);
    let mut line = match CommandLine::parse(args) {
        Ok(line) => line,
        Err(message) => return fail(&message),
    };
    let Some(program) = Program::find(line.settings.linker.as_deref()) else {
        return fail("no lld found: set ESPLICE_LINKER, or add ld.lld to the PATH");
    };
    if !marked {
        // Called by cargo, so only the project's settings file applies.
        let directory = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let asked =
            stable_link::link_arguments_under_cargo(&directory.unwrap_or_else(|| ".".into()));
        let heard = asked.and_then(|arguments| {
            arguments.iter().try_for_each(|argument| line.parse_own_argument(argument))
        });
        if let Err(message) = heard {
            return fail(&message);
        }
    }
    if let Some(message) = initialised_in(&line) {
        return fail(&message);
    }
    if line.settings.plain {
        return link_normally(&line, &program);
    }
    match stable(&line, &program) {
        Ok(report) => {
            report.tell();
            ExitCode::SUCCESS
        }
        Err(why) => link_normally_with_warning(&line, &program, &why),
    }
}

fn fail(message: &str) -> ExitCode {
    #[allow(clippy::print_stderr)]
    {
        eprintln!("esplice-ld: error: {}", printable_message(message));
    }
    ExitCode::FAILURE
}

/// Finds initialised data that is placed in memory which nothing is loaded into, and returns the
/// message that `esplice_layout::explain` expects.
fn initialised_in(line: &CommandLine) -> Option<String> {
    let unloaded = &line.settings.unloaded;
    if unloaded.is_empty() {
        return None;
    }
    line.files().into_iter().find_map(|(_, path, _)| {
        // The linker reports a missing file.
        let bytes = fs::read(&path).ok()?;
        let first = initialised(&bytes, unloaded).into_iter().next()?;
        let readable = |one: &String| {
            let (symbol, len) = one.split_once(' ').unwrap_or((one, ""));
            format!("{:#} {len}", rustc_demangle::demangle(symbol))
        };
        let statics: Vec<String> = first.statics.iter().map(readable).collect();
        Some(esplice_layout::initialised_message(&first.what, &statics.join(", ")))
    })
}

/// Links as without esplice, and reports the reason.
fn link_normally_with_warning(line: &CommandLine, program: &Program, why: &str) -> ExitCode {
    let code = link_normally(line, program);
    if code == ExitCode::SUCCESS {
        let warning = format!("linked normally: {why}");
        let report = Report { warning: Some(warning), ..Report::default() };
        report.write(&line.report_path());
        report.tell();
    }
    code
}

/// Links as without esplice.
fn link_normally(line: &CommandLine, program: &Program) -> ExitCode {
    let mut command = program.command();
    command.args(line.words.iter().flat_map(Word::arguments));
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
        }
        Err(error) => fail(&format!("cannot start {}: {error}", program.path.display())),
    }
}

/// Makes a layout-stable link, or returns why that is not possible.
fn stable(line: &CommandLine, program: &Program) -> Result<Report, String> {
    let started = now();
    if let Some(word) = line.unsupported_word() {
        return Err(format!("{word} prevents a stable link"));
    }
    let version = program.version().ok_or("the linker's version is unknown")?;
    if !version.contains("LLD") {
        return Err(format!("{} is not lld", program.path.display()));
    }
    let (inputs, places) = read_inputs(line);
    let record_path = line.record_path();
    let (record, unread) = match fs::read(&record_path) {
        _ if line.settings.fresh => (None, None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
        Err(error) => (None, Some(format!("{}: {error}", record_path.display()))),
        Ok(bytes) => match Record::from_bytes(&bytes) {
            Ok(record) => (Some(record), None),
            Err(error) => (None, Some(error.to_string())),
        },
    };
    let job = Job {
        contexts: line.contexts(&inputs, &version),
        asked: line.required_symbols(),
        script: line.scripts()?,
        settings: Settings { own: line.own(), ..line.settings.room.clone() },
        inputs,
    };
    let mut include = |name: &str| line.include(name);
    let mut link =
        Link::new(job, record.as_ref(), &mut include).map_err(|error| error.to_string())?;

    let scratch = ScratchDir::beside(&line.output()).map_err(|error| error.to_string())?;
    let mut lld = Lld {
        line,
        program,
        scratch: &scratch,
        places: &places,
        inputs: HashMap::new(),
        instead: HashMap::new(),
        printed: None,
    };
    let finished = link.run(&mut lld).map_err(|error| match error {
        RunError::Refused { message } => {
            let first = message.lines().next().unwrap_or("without a word");
            format!("{} says {first}", program.path.display())
        }
        error => error.to_string(),
    })?;
    if let Some(printed) = lld.printed {
        // Warnings of the program's own link.
        let _ = io::stderr()
            .write_all(&printed.stderr)
            .and_then(|()| io::stdout().write_all(&printed.stdout));
    }
    let outcome = finished.outcome;
    if let Some(wanted) = line.map_path() {
        fs::write(wanted, &finished.map).map_err(|error| error.to_string())?;
    }
    let mut report = Report::of(&outcome, link.basis());
    report.links = finished.attempts;
    report.seconds = now().duration_since(started).unwrap_or_default().as_secs_f64();
    if let Some(unread) = unread {
        report.warning = Some(format!("laid out again: {unread}"));
    }
    if let Err(error) = outputs::replace(&record_path, &outcome.record.to_bytes()) {
        let path = record_path.display();
        report.warning =
            Some(format!("cannot write the record for the next link: {path}: {error}"));
    }
    report.write(&line.report_path());
    Ok(report)
}

/// lld as the linker of a stable link, which reads its files from a [`ScratchDir`].
struct Lld<'a> {
    line: &'a CommandLine,
    program: &'a Program,
    scratch: &'a ScratchDir,
    /// For each input, its place among the words of the command line and its path.
    places: &'a [(usize, PathBuf)],
    /// The input that each file is linked instead of, by path.
    inputs: HashMap<String, usize>,
    /// The arguments that replace a word of the command line.
    instead: HashMap<usize, Vec<OsString>>,
    /// Output of the attempt that linked.
    printed: Option<Output>,
}

impl Linker for Lld<'_> {
    type Error = String;

    fn replace(&mut self, files: Vec<Replacement>) -> Result<(), String> {
        self.inputs.clear();
        self.instead.clear();
        for replacement in files {
            let Some((place, path)) = self.places.get(replacement.input) else { continue };
            let directory = self.scratch.path.join(replacement.input.to_string());
            let file = directory.join(path.file_name().unwrap_or_default());
            fs::create_dir_all(&directory)
                .and_then(|()| fs::write(&file, &replacement.bytes))
                .map_err(|error| format!("{}: {error}", file.display()))?;
            self.inputs.insert(file.to_string_lossy().into_owned(), replacement.input);
            let mut words = vec![file.into_os_string()];
            if replacement.before {
                words.extend(self.line.words.get(*place).into_iter().flat_map(Word::arguments));
            }
            self.instead.insert(*place, words);
        }
        Ok(())
    }

    fn link(&mut self, script: &str) -> Result<Attempt, String> {
        let (script_file, map) =
            (self.scratch.path.join("link.x"), self.scratch.path.join("link.map"));
        fs::write(&script_file, script).map_err(|error| error.to_string())?;
        let arguments = self.line.arguments(&self.instead, &script_file, &map);
        let output =
            self.program.command().args(&arguments).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            return Ok(Attempt::Refused { message });
        }
        self.printed = Some(output);
        let map = fs::read_to_string(&map).map_err(|error| error.to_string())?;
        Ok(Attempt::Linked { map })
    }

    fn input_of(&self, path: &str) -> Option<usize> {
        self.inputs.get(path).copied()
    }
}

/// A temporary directory for the files of one link, removed afterwards. Leftovers of an interrupted
/// link are removed first: nothing else links the same output at the same time.
struct ScratchDir {
    path: PathBuf,
}

impl ScratchDir {
    fn beside(output: &Path) -> io::Result<ScratchDir> {
        let mut name = OsString::from(".esplice-ld-");
        name.push(output.file_name().unwrap_or_default());
        let path = output.with_file_name(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir(&path)?;
        Ok(ScratchDir { path })
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The host's clock, used only to measure duration.
#[allow(clippy::disallowed_methods)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Reads the input files among the arguments, and returns the word index and path of each.
fn read_inputs(line: &CommandLine) -> (Vec<InputFile>, Vec<(usize, PathBuf)>) {
    let (mut inputs, mut places) = (Vec::new(), Vec::new());
    for (place, path, whole) in line.files() {
        let Ok(bytes) = fs::read(&path) else { continue };
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        inputs.push(InputFile { name: name.to_owned(), bytes, whole });
        places.push((place, path));
    }
    (inputs, places)
}

/// Report of a link, for whoever started it, because rustc hides the linker's output.
#[derive(Debug, Default)]
pub struct Report {
    /// A line about an unexpected condition.
    pub warning: Option<String>,
    kept: usize,
    moved: Vec<(String, u32, u32)>,
    new: usize,
    gone: usize,
    evicted: usize,
    links: u32,
    seconds: f64,
    fresh: bool,
}

impl Report {
    fn of(outcome: &Outcome, basis: &Basis) -> Report {
        let warning = match basis {
            Basis::Record | Basis::Fresh => None,
            Basis::Stale(what) => {
                Some(format!("laid out again: the record has another {}", what.join(", ")))
            }
            Basis::Fragmented(percent) => {
                Some(format!("laid out again: gaps took more than {percent} % of the program"))
            }
        };
        Report {
            warning,
            kept: outcome.kept,
            moved: outcome.moved.clone(),
            new: outcome.new,
            gone: outcome.gone,
            evicted: outcome.evicted,
            fresh: *basis != Basis::Record,
            ..Report::default()
        }
    }

    /// Reads the warning of the report at `path`.
    pub fn warning_at(path: &Path) -> Option<String> {
        let text = fs::read(path).ok()?;
        let report: serde_json::Value = serde_json::from_slice(&text).ok()?;
        report.get("warning")?.as_str().map(str::to_owned)
    }

    fn write(&self, path: &Path) {
        let moved = self.moved.iter().map(|(name, old, new)| json!([name, old, new]));
        let value = json!({
            "warning": self.warning,
            "fresh": self.fresh,
            "kept": self.kept,
            "moved": moved.collect::<Vec<_>>(),
            "new": self.new,
            "gone": self.gone,
            "evicted": self.evicted,
            "links": self.links,
            "seconds": self.seconds,
        });
        // The report is optional, so an error is ignored.
        let _ = outputs::replace(path, format!("{value:#}\n").as_bytes());
    }

    fn tell(&self) {
        #[allow(clippy::print_stderr)]
        if let Some(warning) = &self.warning {
            eprintln!("esplice-ld: warning: {}", printable_message(warning));
        }
    }
}
