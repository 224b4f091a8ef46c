//! All that is said: results to stdout, talk to stderr, events as lines of JSON. Text passes one filter
//! on its way out ([`crate::ui::printable`]); colours are added here and nowhere else.

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

/// How a command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line on stdout.
    Json,
}

/// Where everything that is said goes through.
pub struct Shell {
    format: Format,
    quiet: bool,
    /// Stderr is a terminal: bars are drawn.
    bars: bool,
    colors: bool,
    /// Facts go to stderr, because stdout is the board's.
    board_has_stdout: bool,
    stdout_closed: bool,
    /// Why a result could not be written.
    stdout_error: Option<String>,
    bar: Option<Bar>,
    /// Stdout and stderr are seen together: on a terminal, or in one file or pipe.
    streams_meet: bool,
    /// The board's last byte on stdout ended its line.
    board_line_ended: bool,
    /// Bytes of a line of the board's that has not ended yet, with `--format json`.
    board_line: Vec<u8>,
    /// The board that talks, where there are several.
    board: Option<String>,
    /// Panics that were told.
    panics: Vec<String>,
    /// The wish to stop.
    interrupt: Interrupt,
    /// When the command began.
    began: Instant,
    /// What the last event will tell.
    pub summary: Summary,
}

struct Bar {
    stage: String,
    drawn: Option<ProgressBar>,
    /// The last step of a quarter that was told, where no bar is drawn.
    told: u64,
}

/// Panics that are kept for reports.
const MOST_PANICS: usize = 100;

/// A line of the board's that is longer than this is told in pieces.
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

    /// Takes the wish to stop, for what waits where no port does.
    pub fn listen_to(&mut self, interrupt: &Interrupt) {
        self.interrupt = interrupt.clone();
    }

    /// Whether the user has asked to stop.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_asked()
    }

    /// From here on stdout carries what the board says and nothing else.
    pub fn give_stdout_to_board(&mut self) {
        self.board_has_stdout = true;
    }

    /// The host's time since the command began, in seconds.
    pub fn host_seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether nobody reads stdout any more.
    pub fn stdout_closed(&self) -> bool {
        self.stdout_closed
    }

    /// Whether somebody may be asked something: people are there, and read what is said.
    pub fn may_ask(&self) -> bool {
        self.bars
    }

    /// Asks somebody, who answers on standard input.
    pub fn ask(&self, text: &str) {
        // Nobody may be listening, and there is nobody else to tell.
        let _ = writeln!(io::stderr().lock(), "{}", printable(text));
    }

    /// Talk: what is being done.
    pub fn status(&mut self, text: &str) {
        if !self.quiet {
            self.line(&printable_message(text));
        }
    }

    /// A fact that the command is run for: `Chip is ESP32-C3`.
    pub fn fact(&mut self, text: &str) {
        if self.format == Format::Json || self.board_has_stdout {
            self.status(text);
        } else {
            self.clear_bar();
            self.stdout(format!("{}\n", printable_message(text)).as_bytes());
        }
    }

    /// What the command was asked for: text for people, `value` with `--format json`.
    pub fn result(&mut self, name: &'static str, text: &str, value: serde_json::Value) {
        match self.format {
            Format::Text => self.stdout(printable(text).as_bytes()),
            Format::Json => self.event(&Event::Result { name, value }),
        }
    }

    /// An event, for `--format json` alone.
    pub fn event(&mut self, event: &Event) {
        if self.format == Format::Json {
            self.stdout(format!("{}\n", to_line(event)).as_bytes());
        }
    }

    pub fn stage(&mut self, name: &'static str, state: StageState) {
        self.event(&Event::Stage { name, state });
    }

    pub fn warning(&mut self, message: &str) {
        self.event(&Event::Warning { message: message.into() });
        self.headed("warning:", YELLOW, message);
    }

    /// Whether what goes to stderr may have colours.
    pub fn has_colors(&self) -> bool {
        self.colors
    }

    /// What the compiler or the linker says, in its own words and colours.
    pub fn compiler(&mut self, text: &str) {
        let text = printable_colored(text.trim_end(), self.colors);
        self.line(&format!("{text}\n"));
    }

    /// The firmware's last words, decoded: for people alone, as programs have the event.
    pub fn panic(&mut self, text: &str) {
        if self.panics.len() < MOST_PANICS {
            self.panics.push(text.to_owned());
        }
        if !self.is_json() {
            self.talk(text);
        }
    }

    /// Addresses that the firmware printed, decoded: for people alone, as programs have the event.
    pub fn trace(&mut self, text: &str) {
        if !self.is_json() {
            self.talk(text);
        }
    }

    /// The panics that were told, decoded, the first of them.
    pub fn told_panics(&self) -> &[String] {
        &self.panics
    }

    /// The board's last lines once more, where somebody may not have seen them: beside an error.
    pub fn last_lines(&mut self, lines: &[String]) {
        if lines.is_empty() || self.is_json() || io::stdout().is_terminal() {
            return;
        }
        let mut text = String::from("The board's last lines:");
        lines.iter().for_each(|line| text.push_str(&format!("\n  | {line}")));
        self.talk(&text);
    }

    pub fn error(&mut self, failure: &Failure) {
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

    /// The last word; gives the exit code, which is another where results went nowhere.
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

    /// `done` of `total` bytes of a stage: a bar on a terminal, else a line at each quarter.
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

    /// What follows is said by the board at the port `name`.
    pub fn name_board(&mut self, name: &str) {
        if self.board.as_deref() != Some(name) {
            self.flush_board();
            self.board = Some(name.to_owned());
        }
    }

    /// What is told of the board where its own output would be: its tests.
    pub fn in_place_of_board(&mut self, text: &str) {
        self.board_output(printable(text).as_bytes());
    }

    /// What the board says, as it comes: the caller has filtered it, or the user wants it as it is.
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

    /// Tells the board's last line, though it has not ended.
    pub fn flush_board(&mut self) {
        if self.board_line.is_empty() {
            return;
        }
        let event = match String::from_utf8(std::mem::take(&mut self.board_line)) {
            Ok(text) => Event::Output { text: Some(text), bytes: None, port: self.board.clone() },
            Err(error) => Event::Output {
                text: None,
                bytes: Some(hex(error.as_bytes())),
                port: self.board.clone(),
            },
        };
        self.event(&event);
    }

    fn talk(&mut self, text: &str) {
        self.line(&printable(text));
    }

    /// A message with a head in this colour.
    fn headed(&mut self, head: &str, color: &str, message: &str) {
        let head = self.paint(head, color);
        self.line(&format!("{head} {}", printable_message(message)));
    }

    /// A line of text that is harmless already.
    fn line(&mut self, text: &str) {
        let start = if self.streams_meet && !self.board_line_ended { "\n" } else { "" };
        self.board_line_ended = true;
        let line = format!("{start}{text}\n");
        let write = || {
            let mut stderr = io::stderr().lock();
            // Nobody may be listening, and there is nobody else to tell.
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
            // A reader that has seen enough (`| head`) is no error.
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

/// Whether what goes to stdout and to stderr ends up in one place.
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

/// Elsewhere terminals alone are known to be one place.
#[cfg(not(unix))]
fn streams_meet() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// Whether what goes to `stream` may have colours.
pub fn may_color(stream: &impl io::IsTerminal) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !no_color && !is_dumb()
}

/// Whether the terminal can do nothing but write.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

// ECMA-48, SGR parameters.
const RED: &str = "31";
const YELLOW: &str = "33";
const CYAN: &str = "36";

fn new_bar(stage: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    // A template of our own: that it is one is seen by the first bar that is drawn.
    if let Ok(style) =
        ProgressStyle::with_template("{msg:20} [{bar:32}] {percent:>3} % {bytes}/{total_bytes}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(stage.to_owned());
    bar
}

/// The host's time, which is told next to the port's and decides nothing.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

/// Lower-case hex without separators.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
