//! Watches the output of boards until everything expected has arrived.

pub mod backtrace;
mod console;
mod event_printer;
mod keys;
mod line;
mod log_file;
mod report;
mod screen;
mod session;
mod shared;
mod test_printer;
mod verdict;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use esplice_flash::Strategy;
use esplice_monitor::{
    Addresses, BootCheck, ExpectError, Expectation, MonitorEvent, Outcome, Script, Step,
    TestSelection, Tests, Watch, Watcher, watch_until,
};
use esplice_protocol::{Moment, Port};

use self::{
    console::Console,
    event_printer::{Display, EventPrinter},
    keys::KEYS,
    line::Line,
    log_file::LogFile,
    report::{Part, ReportFiles, Verdict, WatchReport, parts_of},
    screen::{Screen, ScreenOptions},
    session::{End, Session},
    shared::SharedOutput,
    test_printer::TestPrinter,
    verdict::{Case, command_result, last_lines},
};
use crate::{
    cli::{args::WatchArgs, value},
    config::{port_name, project::Project},
    device::flashing::RESET_BY_HAND,
    files::{outputs::make_room_for, read},
    firmware::firmware_elf::FirmwareElf,
    monitor::backtrace::{Decoder, RomElfs},
    ui::{
        event::StageState,
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

/// How long to wait for the first line of a board's ROM. It arrives within milliseconds of a reset;
/// the rest is for slow USB bridges.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// Default time without test output before giving up: cargo's own harness warns of tests that take
/// longer.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Default timeout of a step of a script.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Size of the largest script that is read, in bytes.
const LARGEST_SCRIPT: u64 = 1 << 20;

/// Checks, by its first output, how a board that was released at `since` boots. Returns true if the
/// ROM starts the program that was written, as described by `check`. Otherwise prints what to do.
///
/// # Errors
/// Fails if the ROM starts another program, or none.
pub fn boots(
    port: &mut dyn Port,
    since: Option<Moment>,
    check: BootCheck,
    shell: &mut Shell,
) -> Result<bool, Failure> {
    // If it is unknown what boots, as after writing plain data, there may be no program.
    let must_boot = check.entry.is_some();
    let job = Watch::default().timeout(Some(FIRST_WORDS)).since(since).boots(check);
    let mut watcher = Watcher::new(&job, since.unwrap_or_else(|| port.now()));
    let (waits, starts, failure) = (Cell::new(false), Cell::new(false), RefCell::new(None));
    let mut events = |event: MonitorEvent<'_>| match event {
        MonitorEvent::Boot(banner) => waits.set(waits.get() || banner.is_download()),
        MonitorEvent::Entry(_) => starts.set(true),
        MonitorEvent::OtherProgram(other) => {
            let message = format!("the written firmware does not run: {other}");
            failure.replace(Some(Failure::new(Exit::Verify, message)));
        }
        MonitorEvent::BootError(error) => {
            let words = error.kind.description();
            let message = format!("the board does not boot: {words} ({:?})", error.line);
            failure.replace(Some(Failure::new(Exit::BootLoop, message)));
        }
        _ => {}
    };
    let mut is_known = || waits.get() || starts.get() || failure.borrow().is_some();
    watch_until(port, &mut watcher, &mut events, &mut is_known)?;
    let (waits, failure) = (waits.get(), failure.take());
    if let Some(failure) = failure {
        if must_boot || failure.exit == Exit::Verify {
            return Err(failure);
        }
        shell.warning(&failure.message);
        return Ok(false);
    }
    if waits {
        shell.warning(&waits_for_download());
        return Ok(false);
    }
    if watcher.seen() == 0 {
        let within = value::duration_text(&FIRST_WORDS);
        let remedy = if port.caps().lines { "press its RESET button" } else { RESET_BY_HAND };
        shell.warning(&format!(
            "the board printed nothing in {within}: if it does not run, {remedy}"
        ));
        return Ok(false);
    }
    Ok(true)
}

fn waits_for_download() -> String {
    format!("the board waits in download mode and runs no firmware: {RESET_BY_HAND}")
}

/// A board to be watched.
pub struct Watched<'a> {
    pub port: &'a mut (dyn Port + Send),
    pub strategies: &'a [Strategy],
    /// When the board was released from reset; `None` if it was not reset.
    pub since: Option<Moment>,
    /// Baud rate of the firmware's output.
    pub baud: u32,
}

/// Expectations of a watch and how to report them, prepared before the board is released.
#[derive(Debug)]
pub struct Watching {
    expect: Vec<Expectation>,
    reject: Vec<Expectation>,
    script: Script,
    /// Name of the script, for messages.
    script_name: String,
    timeout: Option<Duration>,
    tests_wanted: bool,
    selection: TestSelection,
    nocapture: bool,
    allow_resets: bool,
    addresses: Addresses,
    screen_options: ScreenOptions,
    log: Option<PathBuf>,
    reports: ReportFiles,
    reconnect: bool,
    boots: BootCheck,
    elf: Option<FirmwareElf>,
    rom: RomElfs,
}

impl Watching {
    /// Resolves what settings and arguments request.
    pub fn new(project: &Project, args: &WatchArgs) -> Result<Watching, Failure> {
        let parse = |what: &str, texts: &[String]| {
            let parse = |text: &String| Ok(on_bytes(Expectation::parse(text)?, args.raw));
            let parsed: Result<_, ExpectError> = texts.iter().map(parse).collect();
            parsed.map_err(|error| {
                let failure = Failure::usage(format!("{what} text: {error}"));
                Failure { hint: error.hint(), ..failure }
            })
        };
        let mut script = match &args.script {
            Some(path) => read_script(path)?,
            None => Script::default(),
        };
        if args.raw {
            script.steps.iter_mut().for_each(|(_, step)| match step {
                Step::Expect { what, .. } | Step::Reject(what) => {
                    *what = what.clone().in_raw_bytes();
                }
                _ => {}
            });
        }
        // The expected text of the settings applies only if nothing else is requested.
        let expect = if args.script.is_some() || args.tests {
            vec![]
        } else {
            parse("expected", &project.monitor.expect)?
        };
        let reports = ReportFiles::open(args.junit.as_deref(), args.report.as_deref())?;
        let script_name = args.script.as_deref().unwrap_or(Path::new("")).display().to_string();
        if let Some(port) = &project.port
            && port_name::lacks_lines(&port.value)
        {
            refuse_reset(&script, &script_name, &port.value)?;
        }
        Ok(Watching {
            expect,
            reject: parse("rejected", &args.reject)?,
            script,
            script_name,
            timeout: project.monitor.timeout,
            tests_wanted: args.tests,
            selection: TestSelection {
                filters: args.test_filter.clone(),
                skip: args.test_skip.clone(),
                exact: args.test_exact,
                list: args.test_list,
            },
            nocapture: args.nocapture,
            allow_resets: args.allow_resets,
            addresses: args.decode.unwrap_or_default(),
            screen_options: ScreenOptions {
                raw: args.raw,
                // A file or another program has no cursor to move.
                backspace: io::stdout().is_terminal(),
                time_stamps: args.timestamps,
                filter: args.filter.clone(),
                prefix: None,
            },
            log: args.log.clone(),
            reports,
            reconnect: args.reconnect,
            boots: BootCheck::default(),
            elf: None,
            rom: RomElfs::read(project.monitor.rom.as_deref())?,
        })
    }

    /// Requires that the program just written runs, and no other.
    pub fn that_boots(self, boots: BootCheck) -> Watching {
        Watching { boots, ..self }
    }

    /// Decodes panics with `elf`.
    pub fn with_elf(self, elf: Option<FirmwareElf>) -> Watching {
        Watching { elf, ..self }
    }

    /// Marks the firmware as cargo's test of this name. It must report tests, unless something else
    /// is expected. Its reports contain the name, because cargo starts one command for each test
    /// binary.
    pub fn of_cargo_test(self, name: Option<&str>) -> Result<Watching, Failure> {
        let Some(name) = name else { return Ok(self) };
        let tests_wanted = self.tests_wanted || !self.expects();
        let reports = self.reports.named(name)?;
        Ok(Watching { tests_wanted, reports, ..self })
    }

    fn expects(&self) -> bool {
        !self.expect.is_empty() || !self.script.steps.is_empty()
    }

    /// Watches `boards` until the outcome is settled. Expectations and the script apply to the
    /// first board.
    pub fn run(
        self,
        boards: Vec<Watched<'_>>,
        shell: &mut Shell,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let decoder = Decoder::new(self.elf.as_ref(), &self.rom);
        let several = boards.len() > 1;
        // With a single board, lines are shown as they arrive, and programs get the raw output.
        let lists = self.selection.list && self.tests_wanted;
        let captures = self.tests_wanted && (!self.nocapture || lists) && !several;
        let defmt = self.elf.as_ref().and_then(|elf| elf.defmt(shell));
        let binary_log = self.elf.as_ref().and_then(|elf| elf.binary_log(shell));
        let mut lines = vec![];
        for (index, board) in boards.into_iter().enumerate() {
            let mut watch = if index == 0 { self.watch() } else { Watch::default() };
            watch.reject = self.reject.clone();
            watch.since = board.since;
            watch.expected_resets = board.since.is_some().into();
            watch.defmt = defmt.clone();
            watch.binary_log = binary_log.clone();
            watch.addresses = self.addresses;
            watch.allow_resets = self.allow_resets;
            let began = board.since.unwrap_or_else(|| board.port.now());
            let options = match shell.is_json() {
                true => ScreenOptions { raw: true, ..ScreenOptions::default() },
                false => self.screen_options.clone(),
            };
            let prefix = several.then(|| format!("{}| ", index + 1));
            let mut printer = EventPrinter::new(
                &decoder,
                interrupt,
                Screen::new(ScreenOptions { prefix, ..options }),
                began,
            );
            printer.index = index;
            printer.name = board.port.name().to_owned();
            printer.waits = !watch.expect.is_empty()
                || !watch.script.is_empty()
                || !watch.reject.is_empty()
                || self.tests_wanted;
            printer.expected = expected(&watch);
            printer.captures = captures;
            printer.tests.told = captures && !lists;
            let log = self.log.as_deref().map(|path| {
                make_room_for(path, shell)?;
                match several {
                    true => LogFile::create(&LogFile::name(path, index)),
                    false => LogFile::create(path),
                }
            });
            if several {
                shell.status(&format!("{}| is {}", index + 1, board.port.name()));
            }
            lines.push(Line {
                watcher: Watcher::new(&watch, began),
                port: board.port,
                strategies: board.strategies,
                baud: board.baud,
                log: log.transpose()?,
                printer,
                outgoing: VecDeque::new(),
                sending: false,
                filter_off: None,
                // A command that waits for output reports a lost port at once.
                reconnects: self.reconnect || !(self.expects() || self.tests_wanted),
            });
        }
        if let Some(first) = lines.first().filter(|first| !first.port.caps().lines) {
            refuse_reset(&self.script, &self.script_name, first.port.name())?;
        }
        let console = if shell.is_json() { None } else { Console::open(interrupt) };
        if console.as_ref().is_some_and(Console::has_keys) {
            shell.status(KEYS);
        }
        let mut session = Session { lines, console };
        shell.stage("watch", StageState::Started);
        let output = Mutex::new(SharedOutput { display: Display::new(several), shell });
        let ended = session.run(&output, &decoder, interrupt);
        let SharedOutput { display, shell } =
            output.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The terminal is restored before anything else is printed.
        session.console = None;
        self.finish(ended, session, display, shell)?;
        shell.stage("watch", StageState::Done);
        Ok(())
    }

    /// Returns the watch of the first board.
    fn watch(&self) -> Watch {
        let within = self.timeout.unwrap_or(TEST_TIMEOUT);
        Watch::default()
            .expect(self.expect.clone())
            .script(self.script.steps.iter().map(|(_, step)| self.bounded(step)).collect())
            .timeout(self.timeout)
            .selection(self.selection.clone())
            .boots(self.boots.clone())
            .tests(match (self.tests_wanted, self.expects()) {
                (true, _) => Tests::Required { within },
                (false, false) => Tests::IfReported { within },
                (false, true) => Tests::Ignored,
            })
    }

    /// Returns a step of the script, with a timeout if it waits and the whole watch has none.
    fn bounded(&self, step: &Step) -> Step {
        match step {
            Step::Expect { what, within: None } if self.timeout.is_none() => {
                Step::Expect { what: what.clone(), within: Some(STEP_TIMEOUT) }
            }
            step => step.clone(),
        }
    }

    /// Reports the outcome and writes the report files.
    fn finish(
        &self,
        ended: Result<End, Failure>,
        mut session: Session<'_, '_>,
        mut display: Display,
        shell: &mut Shell,
    ) -> Result<(), Failure> {
        shell.flush_board();
        let index = if let Ok(End::Settled(index, _)) = &ended { *index } else { 0 };
        let mut tests = None;
        let mut result = match &ended {
            Ok(End::Left) if self.expects() || self.tests_wanted => Err(Failure::interrupted()),
            Err(failure) => Err(failure.clone()),
            _ => Ok(()),
        };
        if let Some(line) = session.lines.get_mut(index) {
            let outcome =
                if let Ok(End::Settled(_, outcome)) = &ended { Some(&**outcome) } else { None };
            if outcome.is_none() {
                line.abandon_test("the watch ended while it ran", &mut display, shell);
            }
            tests = line.watcher.tests().cloned();
            if let Some(report) = tests.as_ref().filter(|_| self.selection.list) {
                TestPrinter::list(report, shell);
            } else if let Some(report) = &tests {
                let complete = matches!(outcome, Some(Outcome::Tests(_)));
                line.printer.tests.finish(report, complete, shell);
            }
            if let Some(outcome) = outcome {
                let step = self.script.steps.get(line.watcher.step());
                let step = step.map(|(line, step)| match self.bounded(step) {
                    Step::Expect { within, .. } => (*line, within),
                    _ => (*line, None),
                });
                let tests = tests.as_ref();
                result = command_result(
                    outcome,
                    &Case { timeout: self.timeout, step, tests, port: line.port },
                    shell,
                );
                if result.is_err() {
                    shell.last_lines(last_lines(outcome));
                }
            }
        }
        for line in &mut session.lines {
            result = result.and(line.log.take().map_or(Ok(()), LogFile::finish));
        }
        let report = self.report(&result, &session, tests.as_ref(), shell);
        result.and(self.reports.write(&report, shell))
    }

    fn report(
        &self,
        result: &Result<(), Failure>,
        session: &Session<'_, '_>,
        tests: Option<&esplice_monitor::TestReport>,
        shell: &Shell,
    ) -> WatchReport {
        let failure = result.as_ref().err();
        let message = failure.map(|failure| failure.message.clone());
        let first = session.lines.first();
        let now = first.map(|line| line.port.now().since(line.printer.started)).unwrap_or_default();
        let mut parts = match (tests, first) {
            (Some(tests), _) => parts_of(tests),
            (None, Some(line)) => expected_parts(&line.printer, message.as_deref()),
            _ => vec![],
        };
        let told = parts.iter().any(|part| part.verdict == Verdict::Failed);
        if parts.is_empty() || failure.is_some() && !told {
            parts.push(Part {
                name: "watch".into(),
                verdict: if failure.is_some() { Verdict::Failed } else { Verdict::Passed },
                seconds: Some(now.as_secs_f64()),
                message: message.clone(),
                output: vec![],
            });
        }
        WatchReport {
            v: 1,
            name: self.reports.name.clone(),
            port: first.map(|line| line.port.name().to_owned()).unwrap_or_default(),
            ok: failure.is_none(),
            exit: failure.map_or(Exit::Done, |failure| failure.exit).number(),
            hint: failure.and_then(|failure| failure.hint.clone()),
            message,
            seconds: now.as_secs_f64(),
            parts,
            panics: shell.reported_panics().to_vec(),
            last_lines: first.map(|line| line.watcher.last_lines()).unwrap_or_default(),
        }
    }
}

/// Returns the text that each step waits for.
fn expected(watch: &Watch) -> Vec<Option<String>> {
    let of_flags = watch.expect.iter().map(|what| Some(what.text().to_owned()));
    let of_script = watch.script.iter().map(|step| match step {
        Step::Expect { what, .. } => Some(what.text().to_owned()),
        _ => None,
    });
    of_flags.chain(of_script).collect()
}

/// Returns a part for each expected text; the first that did not arrive has failed.
fn expected_parts(printer: &EventPrinter<'_, '_>, message: Option<&str>) -> Vec<Part> {
    let mut since = printer.started;
    let mut failed = false;
    let mut parts = vec![];
    for (index, text) in printer.expected.iter().enumerate() {
        let Some(text) = text else { continue };
        let met = printer.met.iter().find(|(place, _)| *place == index).map(|(_, at)| *at);
        let (verdict, message) = match (met, failed, message) {
            (Some(_), ..) => (Verdict::Passed, None),
            (None, false, Some(message)) => (Verdict::Failed, Some(message.to_owned())),
            _ => (Verdict::Skipped, Some("the wait ended before it".to_owned())),
        };
        failed |= verdict == Verdict::Failed;
        let seconds = met.map(|at| at.since(since).as_secs_f64());
        since = met.unwrap_or(since);
        parts.push(Part {
            name: format!("expect {text}"),
            verdict,
            seconds,
            message,
            output: vec![],
        });
    }
    parts
}

/// Makes the expectation match raw bytes, if requested.
fn on_bytes(what: Expectation, raw: bool) -> Expectation {
    if raw { what.in_raw_bytes() } else { what }
}

/// Refuses a script that resets the board through a port without reset lines.
fn refuse_reset(script: &Script, name: &str, port: &str) -> Result<(), Failure> {
    let resets = script.steps.iter().find(|(_, step)| *step == Step::Reset);
    let Some((number, _)) = resets else { return Ok(()) };
    let message =
        format!("{name}:{number}: the script resets the board, and {port} has no reset line");
    Err(Failure::usage(message).hint("remove the reset, or use another port"))
}

fn read_script(path: &Path) -> Result<Script, Failure> {
    let shown = path.display();
    let bytes = read::read_up_to(path, LARGEST_SCRIPT)
        .map_err(|e| Failure::input(format!("cannot read {shown}: {e}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Failure::input(format!("{shown} is not UTF-8: {}", e.utf8_error())))?;
    Script::parse(&text).map_err(|error| {
        let failure = Failure::input(format!("{shown}:{}: {}", error.line, error.kind));
        Failure { hint: error.hint(), ..failure }
    })
}
