//! Prints what happens on a board while it is watched.

use esplice_monitor::{BootErrorKind, MonitorEvent, TestEvent};
use esplice_protocol::Moment;

use super::{screen::Screen, test_printer::TestPrinter, verdict::resets_again, waits_for_download};
use crate::{
    monitor::backtrace::Decoder,
    ui::{event::Event, interrupt::Interrupt, shell::Shell},
};

/// The display shared by several boards.
#[derive(Debug, Default)]
pub struct Display {
    /// True if there are several boards.
    several: bool,
    /// The board whose last line is incomplete.
    unfinished: Option<usize>,
}

impl Display {
    pub fn new(several: bool) -> Display {
        Display { several, unfinished: None }
    }
}

/// Prints the events of one board, and keeps facts for the report.
pub struct EventPrinter<'a, 'e> {
    /// The board's index, and its port's name.
    pub index: usize,
    pub name: String,
    pub screen: Screen,
    /// Start of the board's times: its last reset, or the start of the watch.
    pub began: Moment,
    /// When the watch began.
    pub started: Moment,
    pub decoder: &'a Decoder<'e>,
    pub interrupt: &'a Interrupt,
    pub tests: TestPrinter,
    /// True if something is expected; errors are then reported at the end.
    pub waits: bool,
    /// Expected texts by step of the watch, `None` for other steps.
    pub expected: Vec<Option<String>>,
    /// When each expected text arrived.
    pub met: Vec<(usize, Moment)>,
    /// True if the board's output is hidden in favour of its tests.
    pub captures: bool,
    told_of_download: bool,
    told_errors: Vec<BootErrorKind>,
}

impl<'a, 'e> EventPrinter<'a, 'e> {
    pub fn new(
        decoder: &'a Decoder<'e>,
        interrupt: &'a Interrupt,
        screen: Screen,
        began: Moment,
    ) -> EventPrinter<'a, 'e> {
        EventPrinter {
            index: 0,
            name: String::new(),
            screen,
            began,
            started: began,
            decoder,
            interrupt,
            tests: TestPrinter { told: false },
            waits: false,
            expected: vec![],
            met: vec![],
            captures: false,
            told_of_download: false,
            told_errors: vec![],
        }
    }

    pub fn print(
        &mut self,
        event: &MonitorEvent<'_>,
        now: Moment,
        display: &mut Display,
        shell: &mut Shell,
    ) {
        match event {
            MonitorEvent::Text(bytes) if !self.captures || shell.is_json() => {
                let time = now.since(self.began);
                self.show(display, shell, |screen| screen.push(bytes, time));
                // Without readers there is nothing left to do, unless output is expected.
                if shell.stdout_closed() && !self.waits {
                    self.interrupt.ask();
                }
            }
            MonitorEvent::Expected { index, .. } => {
                self.met.push((*index, now));
                let text = self.expected.get(*index).cloned().flatten().unwrap_or_default();
                let seconds = now.since_start().as_secs_f64();
                let host_seconds = shell.host_seconds();
                shell.event(&Event::Expected { text, seconds, host_seconds });
            }
            MonitorEvent::Test(event) => {
                if let TestEvent::Begin { .. } = event {
                    self.waits = true;
                }
                self.tests.print(event, shell);
            }
            MonitorEvent::Panic(report) => {
                self.decoder.print_panic(report, shell);
            }
            MonitorEvent::Trace(report) => self.decoder.print_trace(report, shell),
            MonitorEvent::Rom(name) => self.decoder.rom_is(name, shell),
            MonitorEvent::Boot(banner) if banner.is_download() && !self.told_of_download => {
                self.told_of_download = true;
                shell.warning(&waits_for_download());
            }
            MonitorEvent::BootError(error) if !self.told_errors.contains(&error.kind) => {
                self.told_errors.push(error.kind);
                shell.warning(&format!("the board does not start: {}", error.kind.description()));
            }
            MonitorEvent::CoreDump(dump) => self.decoder.print_core_dump(dump, shell),
            MonitorEvent::CoreDumpBroken(error) => shell.warning(&error.to_string()),
            MonitorEvent::SavedPc(pc) => self.decoder.print_saved_pc(*pc, shell),
            MonitorEvent::ElfSha256(told) => self.decoder.compare(told, shell),
            MonitorEvent::OtherProgram(found) if !self.waits => {
                shell.warning(&format!("the written firmware does not run: {found}"));
            }
            MonitorEvent::BootLoop(found) if !self.waits => shell.warning(&resets_again(found)),
            _ => {}
        }
    }
    /// Shows output that was held back long enough.
    pub fn show_late(&mut self, now: Moment, display: &mut Display, shell: &mut Shell) {
        let time = now.since(self.began);
        self.show(display, shell, |screen| screen.quiet(time));
    }

    /// Shows all output that was held back.
    pub fn show_rest(&mut self, display: &mut Display, shell: &mut Shell) {
        self.show(display, shell, Screen::finish);
    }

    /// Starts a new line for a board that was reset.
    pub fn begin_anew(&mut self, display: &mut Display, shell: &mut Shell) {
        self.show_rest(display, shell);
        if shell.is_json() {
            shell.flush_board();
        } else if self.screen.is_within_line() && display.unfinished == Some(self.index) {
            shell.board_output(b"\n");
            display.unfinished = None;
        }
        self.screen.was_cut();
    }

    fn show(
        &mut self,
        display: &mut Display,
        shell: &mut Shell,
        give: impl FnOnce(&mut Screen) -> Vec<u8>,
    ) {
        if display.unfinished != Some(self.index) {
            self.screen.was_cut();
        }
        let text = give(&mut self.screen);
        if text.is_empty() {
            return;
        }
        if display.several {
            shell.name_board(&self.name);
            if display.unfinished.is_some_and(|other| other != self.index) && !shell.is_json() {
                shell.board_output(b"\n");
            }
        }
        display.unfinished = self.screen.is_within_line().then_some(self.index);
        shell.board_output(&text);
    }
}
