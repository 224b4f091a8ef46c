//! All output of the program: results on stdout, status messages on stderr, events as lines of
//! JSON. All text passes through [`crate::ui::printable`] first, and colours are added only here.

use std::{
    io::{self, IsTerminal as _, Write},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::ui::{
    event::{Event, StageState, Summary, to_line},
    exit::{Exit, Failure},
    interrupt::Interrupt,
    printable::{printable, printable_colored, printable_message},
};

/// Output format of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line on stdout.
    Json,
}

/// The object that prints all output.
pub struct Shell {
    format: Format,
    quiet: bool,
    /// True if progress bars are drawn, which requires stderr to be a terminal.
    bars: bool,
    colors: bool,
    /// True if facts go to stderr, because stdout carries the board's output.
    board_has_stdout: bool,
    stdout_closed: bool,
    /// The error of writing a result to stdout.
    stdout_error: Option<String>,
    bar: Option<Bar>,
    /// True if stdout and stderr end up in the same terminal, file or pipe.
    streams_meet: bool,
    /// True if the board's last byte on stdout ended a line.
    board_line_ended: bool,
    /// The board's current line, not yet complete, with `--format json`.
    board_line: Vec<u8>,
    /// Name of the board whose output is printed, if there are several.
    board: Option<String>,
    /// Panics that were reported.
    panics: Vec<String>,
    /// The user's request to stop.
    interrupt: Interrupt,
    /// Start time of the command.
    began: Instant,
    /// Content of the last event.
    pub summary: Summary,
}

struct Bar {
    stage: String,
    drawn: Option<ProgressBar>,
    /// The last quarter that was reported, when no bar is drawn.
    told: u64,
}

/// Target of the `tracing` events that repeat what the shell prints.
pub const MESSAGES: &str = "esplice::messages";

/// Maximum number of panics kept for reports.
const MOST_PANICS: usize = 100;

/// Length in bytes at which a line of the board's is reported in pieces.
const LONGEST_LINE: usize = 4096;

impl Shell {
    pub fn new(format: Format, quiet: bool) -> Shell {
        let terminal = io::stderr().is_terminal();
        Shell {
            format,
            quiet,
            bars: terminal && !is_dumb() && !quiet && format == Format::Text,
            colors: may_color(&io::stderr()),
            streams_meet: streams_meet(),
            board_has_stdout: false,
            stdout_closed: false,
            stdout_error: None,
            bar: None,
            board_line_ended: true,
            board_line: Vec::new(),
            board: None,
            panics: Vec::new(),
            interrupt: Interrupt::default(),
            began: now(),
            summary: Summary::default(),
        }
    }

    /// Sets the interrupt to watch, for code that waits without a port.
    pub fn listen_to(&mut self, interrupt: &Interrupt) {
        self.interrupt = interrupt.clone();
    }

    /// Returns whether the user has asked to stop.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_asked()
    }

    /// Draws no progress bars, which diagnostics on stderr would break.
    pub fn without_bars(&mut self) {
        self.bars = false;
    }

    /// Reserves stdout for the board's output from now on.
    pub fn reserve_stdout_for_board(&mut self) {
        self.board_has_stdout = true;
    }

    /// Returns the host time since the command began, in seconds.
    pub fn host_seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Returns whether the reader of stdout has closed it.
    pub fn stdout_closed(&self) -> bool {
        self.stdout_closed
    }

    /// Returns whether the user can be asked a question: a person is there and sees the output.
    pub fn may_ask(&self) -> bool {
        self.bars
    }

    /// Prints a question, which the user answers on standard input.
    pub fn ask(&self, text: &str) {
        // A write error cannot be reported anywhere else.
        let _ = writeln!(io::stderr().lock(), "{}", printable(text));
    }

    /// Prints a status message, which says what is being done.
    pub fn status(&mut self, text: &str) {
        tracing::info!(target: MESSAGES, "{text}");
        if !self.quiet {
            self.line(&printable_message(text));
        }
    }

    /// Prints a fact that the command is run for, such as `Chip is ESP32-C3`.
    pub fn fact(&mut self, text: &str) {
        if self.format == Format::Json || self.board_has_stdout {
            self.status(text);
        } else {
            self.clear_bar();
            self.stdout(format!("{}\n", printable_message(text)).as_bytes());
        }
    }

    /// Prints the result of the command: text for people, `value` with `--format json`.
    pub fn result(&mut self, name: &'static str, text: &str, value: serde_json::Value) {
        match self.format {
            Format::Text => self.stdout(printable(text).as_bytes()),
            Format::Json => self.event(&Event::Result { name, value }),
        }
    }

    /// Prints an event, only with `--format json`.
    pub fn event(&mut self, event: &Event) {
        if self.format == Format::Json {
            self.stdout(format!("{}\n", to_line(event)).as_bytes());
        }
    }

    pub fn stage(&mut self, name: &'static str, state: StageState) {
        self.event(&Event::Stage { name, state });
    }

    pub fn warning(&mut self, message: &str) {
        tracing::warn!(target: MESSAGES, "{message}");
        self.event(&Event::Warning { message: message.into() });
        self.headed("warning:", YELLOW, message);
    }

    /// Returns whether stderr may have colours.
    pub fn has_colors(&self) -> bool {
        self.colors
    }

    /// Prints a message of the compiler or the linker, in its own words and colours.
    pub fn compiler(&mut self, text: &str) {
        let text = printable_colored(text.trim_end(), self.colors);
        self.line(&format!("{text}\n"));
    }

    /// Prints a decoded panic, only for people; programs get the event.
    pub fn panic(&mut self, text: &str) {
        if self.panics.len() < MOST_PANICS {
            self.panics.push(text.to_owned());
        }
        if !self.is_json() {
            self.talk(text);
        }
    }

    /// Prints decoded addresses that the firmware printed, only for people; programs get the event.
    pub fn trace(&mut self, text: &str) {
        if !self.is_json() {
            self.talk(text);
        }
    }

    /// Returns the reported panics, decoded, oldest first.
    pub fn reported_panics(&self) -> &[String] {
        &self.panics
    }

    /// Prints the board's last lines again next to an error, if the user may not have seen them.
    pub fn last_lines(&mut self, lines: &[String]) {
        if lines.is_empty() || self.is_json() || io::stdout().is_terminal() {
            return;
        }
        let mut text = String::from("The board's last lines:");
        lines.iter().for_each(|line| text.push_str(&format!("\n  | {line}")));
        self.talk(&text);
    }

    pub fn error(&mut self, failure: &Failure) {
        tracing::error!(target: MESSAGES, "{}", failure.message);
        self.end_bar(false);
        self.flush_board();
        self.event(&Event::Error {
            code: failure.exit.number(),
            message: failure.message.clone(),
            hint: failure.hint.clone(),
        });
        self.headed("error:", RED, &failure.message);
        if let Some(hint) = &failure.hint {
            self.headed("hint:", CYAN, hint);
        }
    }

    /// Prints the summary and returns the exit code, which changes if results could not be written.
    pub fn finish(&mut self, exit: Exit) -> Exit {
        self.end_bar(exit == Exit::Done);
        self.flush_board();
        let mut exit = exit;
        if let Some(error) = self.stdout_error.take()
            && exit == Exit::Done
        {
            let failure = Failure::new(Exit::Internal, format!("cannot write to stdout: {error}"));
            self.error(&failure);
            exit = failure.exit;
        }
        let summary = Summary {
            ok: exit == Exit::Done,
            exit: exit.number(),
            host_seconds: self.host_seconds(),
            ..self.summary.clone()
        };
        self.event(&Event::Summary(summary));
        exit
    }

    /// Reports that `done` of `total` bytes of a stage are finished: as a bar on a terminal, else
    /// as a line at each quarter.
    pub fn progress(&mut self, stage: &str, done: u64, total: u64) {
        self.event(&Event::Progress { stage: stage.into(), done, total });
        if self.bar.as_ref().is_some_and(|bar| bar.stage != stage) {
            self.end_bar(true);
        }
        let draws = self.bars;
        let bar = self.bar.get_or_insert_with(|| Bar {
            stage: stage.to_owned(),
            drawn: draws.then(|| new_bar(&printable(stage), total)),
            told: 0,
        });
        if let Some(drawn) = &bar.drawn {
            drawn.set_length(total);
            drawn.set_position(done);
        } else {
            let quarter = done.saturating_mul(4).checked_div(total).unwrap_or(4);
            if quarter > bar.told {
                bar.told = quarter;
                self.status(&format!("{stage}: {} %", quarter * 25));
            }
        }
        if done >= total {
            self.end_bar(true);
        }
    }

    /// Attributes the output that follows to the board at the port `name`.
    pub fn name_board(&mut self, name: &str) {
        if self.board.as_deref() != Some(name) {
            self.flush_board();
            self.board = Some(name.to_owned());
        }
    }

    /// Prints text about the board instead of its own output: the results of its tests.
    pub fn print_instead_of_board(&mut self, text: &str) {
        self.board_output(printable(text).as_bytes());
    }

    /// Prints the board's output as it arrives. The caller has filtered it, unless the user wants
    /// it raw.
    pub fn board_output(&mut self, bytes: &[u8]) {
        match self.format {
            Format::Text => {
                self.clear_bar();
                self.stdout(bytes);
                if let Some(last) = bytes.last() {
                    self.board_line_ended = *last == b'\n';
                }
            }
            Format::Json => {
                for byte in bytes {
                    self.board_line.push(*byte);
                    if *byte == b'\n' || self.board_line.len() >= LONGEST_LINE {
                        self.flush_board();
                    }
                }
            }
        }
    }

    /// Prints the board's last line even though it is not complete.
    pub fn flush_board(&mut self) {
        if self.board_line.is_empty() {
            return;
        }
        let event = match String::from_utf8(std::mem::take(&mut self.board_line)) {
            Ok(text) => Event::Output { text: Some(text), bytes: None, port: self.board.clone() },
            Err(error) => Event::Output {
                text: None,
                bytes: Some(hex::encode(error.as_bytes())),
                port: self.board.clone(),
            },
        };
        self.event(&event);
    }

    fn talk(&mut self, text: &str) {
        self.line(&printable(text));
    }

    /// Prints a message with a coloured prefix.
    fn headed(&mut self, head: &str, color: &str, message: &str) {
        let head = self.paint(head, color);
        self.line(&format!("{head} {}", printable_message(message)));
    }

    /// Prints a line of text that has already been filtered.
    fn line(&mut self, text: &str) {
        let start = if self.streams_meet && !self.board_line_ended { "\n" } else { "" };
        self.board_line_ended = true;
        let line = format!("{start}{text}\n");
        let write = || {
            let mut stderr = io::stderr().lock();
            // A write error cannot be reported anywhere else.
            let _ = stderr.write_all(line.as_bytes());
        };
        match self.bar.as_ref().and_then(|bar| bar.drawn.as_ref()) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn stdout(&mut self, bytes: &[u8]) {
        if self.stdout_closed {
            return;
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            self.stdout_closed = true;
            // A reader that closes the pipe (`| head`) is not an error.
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.stdout_error = Some(error.to_string());
            }
        }
    }

    fn clear_bar(&mut self) {
        if let Some(bar) = self.bar.take()
            && let Some(drawn) = bar.drawn
        {
            drawn.finish_and_clear();
        }
    }

    fn end_bar(&mut self, done: bool) {
        if let Some(bar) = self.bar.take()
            && let Some(drawn) = bar.drawn
        {
            if done { drawn.finish() } else { drawn.abandon() }
        }
    }

    fn paint(&self, text: &str, color: &str) -> String {
        if self.colors { format!("\x1b[1;{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Returns whether stdout and stderr end up in the same place.
#[cfg(unix)]
fn streams_meet() -> bool {
    use std::os::{fd::AsFd as _, unix::fs::MetadataExt as _};
    let place = |stream: std::os::fd::BorrowedFd<'_>| {
        let file = std::fs::File::from(stream.try_clone_to_owned().ok()?);
        let metadata = file.metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    place(io::stdout().as_fd()).is_some_and(|out| Some(out) == place(io::stderr().as_fd()))
}

/// Returns whether both are terminals: on other systems, only terminals are known to be one place.
#[cfg(not(unix))]
fn streams_meet() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// Returns whether `stream` may have colours.
pub fn may_color(stream: &impl io::IsTerminal) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !no_color && !is_dumb()
}

/// Returns whether the terminal understands no control sequences.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

// SGR parameters of ECMA-48.
const RED: &str = "31";
const YELLOW: &str = "33";
const CYAN: &str = "36";

fn new_bar(stage: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    // The template is a constant; a mistake in it would show in the first bar drawn.
    if let Ok(style) =
        ProgressStyle::with_template("{msg:20} [{bar:32}] {percent:>3} % {bytes}/{total_bytes}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(stage.to_owned());
    bar
}

/// Returns the host time, which is reported next to the port's time and decides nothing.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
