//! Watches what a board says, until what is expected has come.

use std::time::Duration;

use esplice_monitor::{
    BootErrorKind, BootLoop, ExpectError, Expectation, MonitorError, MonitorEvent, Outcome,
    PanicReport, Sanitiser, Watch, watch,
};
use esplice_protocol::{Moment, Port, PortError};

use crate::{
    args::WatchArgs,
    backtrace::{Decoder, FirmwareElf},
    exit::{Exit, Failure},
    flashing::RESET_BY_HAND,
    interrupt::Interrupt,
    project::Project,
    shell::Shell,
    value,
};

/// How long a board is listened to for the first line of its ROM, which comes within milliseconds of
/// a reset; the rest is for slow USB bridges.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// Whether a board that was let go at `since`, through a port that may not have reset it, boots its
/// firmware as far as can be heard. If not, the user is told what to do.
pub fn boots(
    port: &mut dyn Port,
    since: Option<Moment>,
    shell: &mut Shell,
) -> Result<bool, Failure> {
    let job = Watch { timeout: Some(FIRST_WORDS), since, ..Watch::default() };
    let mut waits = false;
    let outcome = watch(port, &job, &mut |event| {
        if let MonitorEvent::Boot(banner) = event {
            waits |= banner.is_download();
        }
    })?;
    if waits {
        shell.warning(&waits_for_download());
    } else if let Outcome::Ended { seen: 0 } = outcome {
        shell.warning(&format!(
            "the board said nothing in {}: if it does not run, {RESET_BY_HAND}",
            value::duration_text(&FIRST_WORDS)
        ));
        return Ok(false);
    }
    Ok(!waits)
}

fn waits_for_download() -> String {
    format!("the board waits for a download and runs no firmware: {RESET_BY_HAND}")
}

/// What is to come, ready before the board is let go.
#[derive(Debug)]
pub struct Watching {
    expect: Vec<Expectation>,
    reject: Vec<Expectation>,
    timeout: Option<Duration>,
    raw: bool,
    elf: Option<FirmwareElf>,
    rom: Option<FirmwareElf>,
}

impl Watching {
    /// What settings and arguments ask for.
    pub fn new(project: &Project, args: &WatchArgs) -> Result<Watching, Failure> {
        let parse = |what: &str, texts: &[String]| {
            let parsed: Result<_, ExpectError> =
                texts.iter().map(|text| Expectation::parse(text)).collect();
            parsed.map_err(|error| {
                let failure = Failure::usage(format!("{what} text: {error}"));
                Failure { hint: error.hint(), ..failure }
            })
        };
        Ok(Watching {
            expect: parse("expected", &project.expect)?,
            reject: parse("rejected", &args.reject)?,
            timeout: project.timeout,
            raw: args.raw,
            elf: None,
            rom: project.rom.as_deref().map(FirmwareElf::read).transpose()?,
        })
    }

    /// Panics are to be decoded with `elf`.
    pub fn with_elf(self, elf: Option<FirmwareElf>) -> Watching {
        Watching { elf, ..self }
    }

    /// Reads `port` until it is settled. `since` is when the board was let go, none if it was not
    /// reset.
    pub fn run(
        self,
        port: &mut dyn Port,
        since: Option<Moment>,
        shell: &mut Shell,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let timeout = self.timeout;
        let job = Watch {
            expect: self.expect,
            reject: self.reject,
            timeout: self.timeout,
            since,
            expected_resets: since.is_some().into(),
            defmt: self.elf.as_ref().and_then(|elf| elf.defmt(shell)),
            ..Watch::default()
        };
        let expects = !job.expect.is_empty();
        let waits = expects || !job.reject.is_empty();
        let decoder = Decoder::new(self.elf.as_ref(), self.rom.as_ref());
        let mut told_of_download = false;
        let mut told_errors: Vec<BootErrorKind> = vec![];
        let mut output = Output { sanitiser: (!self.raw).then(Sanitiser::default) };
        let outcome = watch(port, &job, &mut |event| match event {
            MonitorEvent::Output(bytes) => output.count(bytes, shell),
            MonitorEvent::Text(bytes) => {
                output.push(bytes, shell);
                // Without readers there is nothing left to do, unless something is waited for.
                if shell.stdout_closed() && !waits {
                    interrupt.ask();
                }
            }
            MonitorEvent::Panic(report) => decoder.tell(report, in_words(report), shell),
            MonitorEvent::Boot(banner) if banner.is_download() && !told_of_download => {
                told_of_download = true;
                shell.warning(&waits_for_download());
            }
            MonitorEvent::BootError(error) if !told_errors.contains(&error.kind) => {
                told_errors.push(error.kind);
                shell.warning(&format!("the board does not start: {}", error.kind.in_words()));
            }
            MonitorEvent::CoreDump(dump) => decoder.tell_core_dump(dump, shell),
            MonitorEvent::CoreDumpBroken(error) => shell.warning(&error.to_string()),
            MonitorEvent::SavedPc(pc) => decoder.tell_saved_pc(pc, shell),
            MonitorEvent::ElfSha256(told) => decoder.compare(told, shell),
            // With something to wait for it is an error, told in the end.
            MonitorEvent::BootLoop(found) if !expects => shell.warning(&resets_again(found)),
            _ => {}
        });
        output.finish(shell);
        match outcome {
            Ok(outcome) => settled(outcome, timeout, port, shell),
            Err(MonitorError::Port(PortError::Interrupted)) if shell.stdout_closed() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The board's output on its way to people.
struct Output {
    sanitiser: Option<Sanitiser>,
}

impl Output {
    fn count(&self, bytes: &[u8], shell: &mut Shell) {
        let received = shell.summary.bytes_received.unwrap_or(0);
        shell.summary.bytes_received = Some(received + bytes.len() as u64);
    }

    fn push(&mut self, bytes: &[u8], shell: &mut Shell) {
        match &mut self.sanitiser {
            Some(sanitiser) if !shell.is_json() => {
                let text = sanitiser.push(bytes);
                shell.board_output(text.as_bytes());
            }
            _ => shell.board_output(bytes),
        }
    }

    fn finish(&mut self, shell: &mut Shell) {
        if let Some(mut sanitiser) = self.sanitiser.take()
            && !shell.is_json()
        {
            shell.board_output(sanitiser.finish().as_bytes());
        }
        shell.flush_board();
    }
}

fn settled(
    outcome: Outcome,
    timeout: Option<Duration>,
    port: &dyn Port,
    shell: &mut Shell,
) -> Result<(), Failure> {
    match outcome {
        Outcome::Matched { .. } => {
            shell.status("Expected output found");
            Ok(())
        }
        Outcome::Ended { .. } => Ok(()),
        Outcome::Rejected { text, last_lines, .. } => {
            let failure = Failure::new(Exit::Rejected, format!("rejected output \"{text}\" came"));
            Err(match last_lines.last() {
                Some(line) => failure.hint(format!("it came in the line {line:?}")),
                None => failure,
            })
        }
        Outcome::TimedOut { missing, seen, last_lines } => {
            let within = timeout.as_ref().map(value::duration_text).unwrap_or_default();
            let failure = Failure::new(
                Exit::ExpectationTimedOut,
                format!(
                    "expected output \"{missing}\" did not come within {within}: {seen} bytes came"
                ),
            );
            Err(match last_lines.last() {
                Some(line) => failure.hint(format!("the last line was {line:?}")),
                None => {
                    let mut hint = format!(
                        "the board said nothing: check that {} is the UART that the firmware writes to",
                        port.name()
                    );
                    if !port.caps().lines {
                        hint.push_str(&format!(", or {RESET_BY_HAND}"));
                    }
                    failure.hint(hint)
                }
            })
        }
        Outcome::WrongBaud { seen, percent } => Err(Failure::new(
            Exit::WrongBaud,
            format!("{percent} % of the {seen} bytes that came are no text"),
        )
        .hint("give the firmware's baud rate with --monitor-baud")),
        Outcome::Panic(report) => {
            Err(Failure::new(Exit::Panic, format!("the firmware panicked: {}", in_words(&report))))
        }
        Outcome::BootLoop(found) => {
            let failure = Failure::new(Exit::BootLoop, resets_again(&found));
            Err(match found.last_line {
                Some(line) => failure.hint(format!("before it the board said {line:?}")),
                None => failure,
            })
        }
        other => Err(Failure::new(Exit::Internal, format!("unknown outcome {other:?}"))),
    }
}

fn resets_again(found: &BootLoop) -> String {
    format!("the board reset {} times more: {}", found.resets, found.reason)
}

/// The message in one line, with its place where that is known.
fn in_words(report: &PanicReport) -> String {
    let message = report.message.lines().collect::<Vec<_>>().join(" ");
    match &report.location {
        Some(place) => format!("{message} at {place}"),
        None => message,
    }
}
