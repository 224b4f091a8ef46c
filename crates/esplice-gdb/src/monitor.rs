//! The commands after GDB's `monitor`.

use std::fmt::Write as _;

use crate::{debugger::Debugger, history::Input};

const HELP: &str = "\
monitor reset          resets the board and halts it at its first instruction
monitor halt           shows where the board is halted
monitor flash          shows the flash chip's size and file
monitor uart           shows whether the board's output goes to the terminal
monitor uart on|off    shows or hides the board's output
monitor uart send TEXT sends TEXT and a line feed to the board
monitor time           shows the board's clock, and how far back it can run
monitor trace [N]      shows the last N instructions that were executed (10)
monitor help           shows this list
";

/// Advice after a change that gdb does not know of.
const FLUSH: &str =
    "after a reset, `maintenance flush register-cache` makes gdb read the registers again\n";

/// Most instructions that `trace` shows.
const MOST_TRACED: usize = 1000;

impl Debugger<'_> {
    /// Executes a monitor command and returns its output.
    pub(crate) fn monitor(&mut self, command: &str) -> String {
        let mut words = command.split_whitespace();
        let (name, argument) = (words.next().unwrap_or("help"), words.next());
        match (name, argument) {
            ("help", _) => HELP.to_owned(),
            ("reset", None | Some("halt")) => match self.reset() {
                Ok(()) => self.place("the board was reset; it is halted"),
                Err(error) => format!("the board can't run: {error}\n"),
            },
            ("halt", None) => self.place("the board is halted"),
            ("flash", None) => self.board.with(|board| {
                let flash = board.flash();
                let file = flash.path().map(|path| format!(", in {}", path.display()));
                format!("{} KB{}\n", flash.size() / 1024, file.unwrap_or_default())
            }),
            ("uart", None) => match self.show_output {
                true => "the board's output goes to the server's terminal\n".to_owned(),
                false => "the board's output is not shown\n".to_owned(),
            },
            ("uart", Some(choice @ ("on" | "off"))) => {
                self.show_output = choice == "on";
                String::new()
            }
            ("uart", Some("send")) => {
                let text = command.split_once("send").map_or("", |(_, text)| text.trim_start());
                let mut bytes = text.as_bytes().to_vec();
                bytes.push(b'\n');
                self.input(Input::Send(bytes));
                String::new()
            }
            ("time", None) => {
                let (history, board) = (&self.history, &self.board);
                let (now, reach) = board.with(|board| (board.now(), history.reach(board)));
                let (now, reach) = (now.as_secs_f64(), reach.as_secs_f64());
                format!("{now:.6} s since power-on; {reach:.3} s can be run backwards\n")
            }
            ("trace", count) => match count.unwrap_or("10").parse() {
                Ok(count) if (1..=MOST_TRACED).contains(&count) => self.trace(count),
                _ => format!("trace shows 1 to {MOST_TRACED} instructions\n"),
            },
            _ => format!("unknown command {command:?}; monitor help lists all\n"),
        }
    }

    fn place(&self, what: &str) -> String {
        let (pc, time) = self.board.with(|board| (board.pc(), board.now()));
        format!("{what} at {pc:#010x}, {:.6} s after power-on\n{FLUSH}", time.as_secs_f64())
    }

    /// Lists the last instructions: goes back, and executes them again.
    fn trace(&mut self, count: usize) -> String {
        let history = &mut self.history;
        let traced = self.board.with(|board| history.last_instructions(board, count));
        match traced {
            Ok(traced) if traced.is_empty() => "nothing was executed yet\n".to_owned(),
            Ok(traced) => traced.iter().fold(String::new(), |mut text, (pc, bits)| {
                // Writing to a string does not fail.
                let _ = match bits & 3 {
                    3 => writeln!(text, "{pc:#010x}: {bits:08x}"),
                    _ => writeln!(text, "{pc:#010x}: {:04x}", bits & 0xffff),
                };
                text
            }),
            Err(error) => format!("the board can't run: {error}\n"),
        }
    }
}
