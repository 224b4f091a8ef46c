//! Runs the dialogues of `tests/loader/*.txt`, which specify the modelled loader, on a whole board
//! that executes the ROM: its interrupts, its UART, its flash access. The file format is described
//! in `tests/loader.rs`.

use std::{fs, path::Path, time::Duration};

use esplice_protocol::slip;
use md5::{Digest, Md5};

use super::mask_rom;
use crate::{Board, TimeMode, cpu::Bus, nor::Nor};

/// Longest time the ROM computes between two bytes of a reply: it hashes a whole flash chip.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time without output after which a reply is complete.
const SILENCE: Duration = Duration::from_millis(20);
const EFUSES: std::ops::Range<u32> = 0x6000_8800..0x6000_9000;

#[test]
fn replies_of_a_board_that_executes_the_rom_are_those_of_the_hooked_one() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loader");
    let mut files: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut exchanges = 0;
    let mut different = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy();
        let mut lines: Vec<(usize, &str)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()).chain([(0, "==")]) {
            let line = line.split('#').next().unwrap().trim();
            if !line.starts_with("==") {
                lines.push((number, line));
                continue;
            }
            match dialogue(&lines) {
                Ok(count) => exchanges += count,
                Err(message) => different.push(format!("{name}:{message}")),
            }
            lines.clear();
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    assert!(exchanges >= 300, "only {exchanges} exchanges");
}

/// Runs a dialogue. Returns its number of exchanges, or the difference found.
fn dialogue(lines: &[(usize, &str)]) -> Result<usize, String> {
    let mut talk = None;
    let mut exchanges = 0;
    for (index, (number, line)) in lines.iter().enumerate() {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        if verb.is_empty() {
            continue;
        }
        let talk = talk.get_or_insert_with(|| Talk::new(lines));
        let next = lines[index + 1..].iter().map(|(_, line)| *line).find(|line| !line.is_empty());
        let gone = next.is_some_and(|line| line.starts_with("then"));
        exchanges += usize::from(matches!(verb, ">" | "raw"));
        talk.step(verb, rest, gone).map_err(|message| format!("{number}: {line}\n{message}"))?;
        if talk.over {
            break;
        }
    }
    Ok(exchanges)
}

struct Talk {
    board: Board,
    baud: u32,
    got: Vec<u8>,
    resets: u64,
    over: bool,
}

impl Talk {
    /// Returns a board in download mode that has measured the host's rate.
    fn new(lines: &[(usize, &str)]) -> Talk {
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
        let nor = Nor::in_memory(4 << 20, &chip.sim.as_ref().unwrap().flash);
        let mut board = Board::with_flash(chip, nor, TimeMode::None).unwrap();
        board = board.with_rom(mask_rom::image());
        board.hold_boot_pin(true);
        for (_, line) in lines {
            if let Some((at, word)) = line.strip_prefix("mem ").and_then(|m| m.split_once(' ')) {
                board.poke(number(at), number(word), true);
            }
        }
        board.run_for(Duration::from_millis(50)).unwrap();
        // As if SPI_ATTACH had come before each dialogue.
        board.soc.fabric.flash.attach(true);
        board.host_send(&[0x55; 40], 115_200);
        board.run_for(Duration::from_millis(50)).unwrap();
        let resets = board.resets();
        Talk { board, baud: 115_200, got: Vec::new(), resets, over: false }
    }

    fn step(&mut self, verb: &str, rest: &str, gone: bool) -> Result<(), String> {
        match verb {
            ">" => self.send(&slip::encode(&hex(rest))),
            "raw" => self.send(&hex(rest)),
            "<" | "gets" => {
                let expected = if verb == "gets" { hex(rest) } else { reply(rest) };
                self.hear(expected.len(), if gone { Duration::ZERO } else { SILENCE });
                let got = std::mem::take(&mut self.got);
                if gone && got.starts_with(&expected) {
                    self.got = got[expected.len()..].to_vec();
                    return Ok(());
                }
                if got != expected {
                    return Err(format!("expected {}\ngot      {}", show(&expected), show(&got)));
                }
                Ok(())
            }
            "silence" => {
                self.hear(0, SILENCE);
                // The ROM prints the exception that stops it; the modelled loader stops silently.
                if gone && self.got.starts_with(b"Guru Meditation Error") {
                    self.got.clear();
                }
                self.nothing()
            }
            "then" => self.then(rest),
            "md5" => {
                let found = Md5::digest(self.board.flash().bytes()).to_vec();
                self.found(&found, &hex(rest))
            }
            "flash" => {
                let (at, bytes) = rest.split_once(' ').unwrap();
                let bytes = hex(bytes);
                let found =
                    self.board.flash().read(number(at), bytes.len() as u32).unwrap().to_vec();
                self.found(&found, &bytes)
            }
            "ram" => {
                let (at, bytes) = rest.split_once(' ').unwrap();
                let (at, bytes) = (number(at), hex(bytes));
                let found: Vec<u8> =
                    (at..).take(bytes.len()).map(|at| self.board.soc.load8(at).unwrap()).collect();
                self.found(&found, &bytes)
            }
            "mem" => {
                let (at, word) = rest.split_once(' ').unwrap();
                self.board.poke(number(at), number(word), false);
                Ok(())
            }
            "word" => {
                let (at, word) = rest.split_once(' ').unwrap();
                let found = self.board.soc.load32(number(at)).unwrap();
                if found != number(word) {
                    return Err(format!("found {found:x}"));
                }
                Ok(())
            }
            "program" => {
                let (at, bytes) = rest.split_once(' ').unwrap();
                self.board.put_into_flash(number(at), &hex(bytes)).unwrap();
                Ok(())
            }
            // Expected busy times apply only to the modelled loader.
            "busy" | "busy-ns" => Ok(()),
            _ => Err("unknown line".into()),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.hear(0, Duration::ZERO);
        self.nothing()?;
        self.board.host_send(bytes, self.baud);
        Ok(())
    }

    /// Runs until `len` bytes have come, and then until nothing more comes.
    fn hear(&mut self, len: usize, silence: Duration) {
        let give_up = self.board.now() + PATIENCE;
        while self.got.len() < len && self.board.now() < give_up {
            self.board.run_to(give_up, true).unwrap();
            self.take();
        }
        // Everything sent must be taken before the silence counts.
        while !silence.is_zero() && self.board.host_waiting() > 0 && self.board.now() < give_up {
            self.board.run_to(self.board.now() + Duration::from_millis(1), false).unwrap();
        }
        self.board.run_to(self.board.now() + silence, false).unwrap();
        self.take();
    }

    fn take(&mut self) {
        while let Some(sent) = self.board.host_take_sent() {
            self.got.push(sent.heard_at(self.baud));
        }
    }

    fn then(&mut self, rest: &str) -> Result<(), String> {
        let (what, value) = rest.split_once(' ').unwrap_or((rest, ""));
        self.board.run_to(self.board.now() + SILENCE, false).unwrap();
        let resets = self.board.resets() - self.resets;
        self.over = matches!(what, "reset" | "gone" | "run");
        match what {
            "nothing" => self.nothing(),
            "baud" => {
                self.baud = value.parse().unwrap();
                let found = self.board.baud();
                if found == self.baud { Ok(()) } else { Err(format!("found {found}")) }
            }
            "reset" if resets != 1 => Err(format!("{resets} resets")),
            "gone" if resets != 0 => Err(format!("{resets} resets")),
            _ => Ok(()),
        }
    }

    fn nothing(&mut self) -> Result<(), String> {
        let got = std::mem::take(&mut self.got);
        if got.is_empty() { Ok(()) } else { Err(format!("unexpected reply {}", show(&got))) }
    }

    fn found(&self, found: &[u8], expected: &[u8]) -> Result<(), String> {
        if found == expected { Ok(()) } else { Err(format!("found {}", show(found))) }
    }
}

impl Board {
    /// Puts a word on the bus; into eFuses `before` the board starts, elsewhere while it runs.
    fn poke(&mut self, addr: u32, value: u32, before: bool) {
        match (EFUSES.contains(&addr), before) {
            (true, true) => self.soc.burn(addr, value),
            (false, false) => self.soc.store32(addr, value).unwrap(), // Dropped in the ROM.
            _ => {}
        }
    }
}

/// Returns one or several framed replies, and the bytes after them.
fn reply(text: &str) -> Vec<u8> {
    let (text, after) = text.split_once('+').unwrap_or((text, ""));
    let (text, times) = match text.trim().strip_suffix("x8") {
        Some(text) => (text, 8),
        None => (text, 1),
    };
    [slip::encode(&hex(text)).repeat(times), hex(after)].concat()
}

fn number(text: &str) -> u32 {
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).unwrap()
}

/// Parses hex digits with spaces anywhere; `55*32` repeats a byte, `'text'` is text.
fn hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if let Some((byte, times)) = word.split_once('*') {
            let byte = u8::from_str_radix(byte, 16).unwrap();
            bytes.extend(std::iter::repeat_n(byte, times.parse().unwrap()));
        } else if let Some(text) = word.strip_prefix('\'') {
            bytes.extend(text.trim_end_matches('\'').replace('_', " ").bytes());
        } else {
            for at in (0..word.len()).step_by(2) {
                bytes.push(u8::from_str_radix(&word[at..at + 2], 16).unwrap());
            }
        }
    }
    bytes
}

fn show(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}
