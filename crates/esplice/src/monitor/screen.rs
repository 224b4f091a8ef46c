//! A board's output on its way to people: made harmless, filtered, and with what stands before a line.

use std::time::Duration;

use esplice_monitor::{Backspace, Filter, Sanitiser, sanitise};

/// A line that is held back is shown as far as it has come when nothing follows for so long: a prompt.
const HELD: Duration = Duration::from_millis(50);

/// A line that is held back is shown when it has become so long.
const LONGEST: usize = 4096;

/// What is done to a board's output.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Escape sequences are passed on.
    pub raw: bool,
    /// Backspaces move back, as on a terminal; else they are shown as pictures.
    pub backspace: bool,
    /// Each line begins with its time.
    pub time_stamps: bool,
    pub filter: Option<Filter>,
    /// Before each line.
    pub prefix: Option<String>,
}

/// The output of one board.
#[derive(Debug)]
pub struct Screen {
    look: Look,
    sanitiser: Sanitiser,
    /// What is held back of the line.
    held: Vec<u8>,
    /// Whether a part of the line is shown already.
    within: bool,
    /// Whether what follows of the line is hidden, as what came of it was.
    hidden: bool,
    /// When the line began, and when its last byte came.
    began: Duration,
    last: Duration,
}

impl Screen {
    pub fn new(look: Look) -> Screen {
        let backspace = if look.backspace { Backspace::Passed } else { Backspace::Pictured };
        Screen {
            look,
            sanitiser: Sanitiser::new(backspace),
            held: vec![],
            within: false,
            hidden: false,
            began: Duration::ZERO,
            last: Duration::ZERO,
        }
    }

    /// Turns the lines' times on or off.
    pub fn switch_time_stamps(&mut self) -> bool {
        self.look.time_stamps = !self.look.time_stamps;
        self.look.time_stamps
    }

    /// Puts another filter in the place of its own, which it gives.
    pub fn swap_filter(&mut self, filter: Option<Filter>) -> Option<Filter> {
        std::mem::replace(&mut self.look.filter, filter)
    }

    /// Whether lines are shown only when they are whole: a filter has to see them, or another board's
    /// would come between.
    fn holds(&self) -> bool {
        self.look.filter.is_some() || self.look.prefix.is_some()
    }

    /// Takes what came at `now`, counted from the board's start; gives what is to be shown.
    pub fn push(&mut self, bytes: &[u8], now: Duration) -> Vec<u8> {
        let text =
            if self.look.raw { bytes.to_vec() } else { self.sanitiser.push(bytes).into_bytes() };
        if !self.holds() && !self.look.time_stamps && self.held.is_empty() && !self.hidden {
            self.within = text.last().map_or(self.within, |last| *last != b'\n');
            return text;
        }
        let mut shown = vec![];
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if self.held.is_empty() && !self.within && !self.hidden {
                self.began = now;
            }
            self.last = now;
            self.held.extend_from_slice(line);
            let ends = line.ends_with(b"\n");
            if ends || !self.holds() || self.held.len() >= LONGEST {
                self.show(&mut shown);
            }
            if ends {
                self.within = false;
                self.hidden = false;
            }
        }
        shown
    }

    /// Gives what was held back for too long.
    pub fn quiet(&mut self, now: Duration) -> Vec<u8> {
        let mut shown = vec![];
        if !self.held.is_empty() && now.saturating_sub(self.last) >= HELD {
            self.show(&mut shown);
        }
        shown
    }

    /// Gives all that is left.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut shown = vec![];
        if !self.look.raw {
            let rest = self.sanitiser.finish();
            self.held.extend_from_slice(rest.as_bytes());
        }
        if !self.held.is_empty() {
            self.show(&mut shown);
        }
        shown
    }

    /// Whether what was shown last is the middle of a line.
    pub fn is_within_line(&self) -> bool {
        self.within
    }

    /// Something else was shown behind the unfinished line.
    pub fn was_cut(&mut self) {
        self.within = false;
    }

    fn show(&mut self, shown: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if !self.within && !self.hidden {
            let text = sanitise(&held);
            let line = text.trim_end_matches(['\r', '\n']);
            self.hidden = self.look.filter.as_ref().is_some_and(|filter| !filter.shows(line));
        }
        if self.hidden {
            return;
        }
        if !self.within {
            if let Some(prefix) = &self.look.prefix {
                shown.extend_from_slice(prefix.as_bytes());
            }
            if self.look.time_stamps {
                let stamp = format!("[{:>9.3}] ", self.began.as_secs_f64());
                shown.extend_from_slice(stamp.as_bytes());
            }
        }
        self.within = !held.ends_with(b"\n");
        shown.extend_from_slice(&held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Everything shown of pieces at their milliseconds, each asked for what it held since.
    fn shown(look: &Look, pieces: &[(u64, &str)]) -> String {
        let mut screen = Screen::new(look.clone());
        let mut text = vec![];
        for (at, piece) in pieces {
            text.extend(screen.quiet(ms(*at)));
            text.extend(screen.push(piece.as_bytes(), ms(*at)));
        }
        text.extend(screen.finish());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn without_wishes_all_is_shown_as_it_comes() {
        let mut screen = Screen::new(Look::default());
        assert_eq!(screen.push(b"a\x1b[1mb", ms(0)), b"ab");
        assert!(screen.is_within_line());
        assert_eq!(screen.push(b"c\r\n", ms(1)), b"c\r\n");
        assert!(!screen.is_within_line());
        let terminal = Look { backspace: true, ..Look::default() };
        assert_eq!(shown(&terminal, &[(0, "helo\x08lo\r\n\x08")]), "helo\x08lo\r\n");
        assert_eq!(shown(&Look::default(), &[(0, "a\x08")]), "a\u{2408}");
        let raw = Look { raw: true, ..Look::default() };
        assert_eq!(shown(&raw, &[(0, "\x1b[1mb\0")]), "\x1b[1mb\0");
    }

    #[test]
    fn times_are_those_of_a_lines_first_byte() {
        let look = Look { time_stamps: true, ..Look::default() };
        let pieces = [(5, "a"), (1500, "b\r\n"), (61_000, "c\r\n\r\nd")];
        assert_eq!(
            shown(&look, &pieces),
            "[    0.005] ab\r\n[   61.000] c\r\n[   61.000] \r\n[   61.000] d"
        );
    }

    #[test]
    fn filtered_lines_vanish_whole_and_prompts_do_not_wait() {
        let look = Look { filter: Some("warn".parse().unwrap()), ..Look::default() };
        let pieces = [
            (0, "I (1) a: no\r\nW (2) a: y"),
            (10, "es\r\n> "),
            (100, "ls\r\nI (3) a"),
            (110, ": no\r\n"),
            (200, "\x1b[32mI (4) a: no\x1b[0m\r\nend"),
        ];
        assert_eq!(shown(&look, &pieces), "W (2) a: yes\r\n> ls\r\nend");
        // What was shown of a prompt is not taken back, and what was hidden does not come back.
        let pieces = [(0, "I (1) a: n"), (100, "o\r\nyes\r\n")];
        assert_eq!(shown(&look, &pieces), "yes\r\n");
    }

    #[test]
    fn prefixes_of_several_ports() {
        let look = Look { prefix: Some("2| ".into()), ..Look::default() };
        let mut screen = Screen::new(look);
        assert_eq!(screen.push(b"a", ms(0)), b"");
        assert_eq!(screen.push(b"b\nc", ms(1)), b"2| ab\n");
        assert_eq!(screen.quiet(ms(20)), b"");
        assert_eq!(screen.quiet(ms(51)), b"2| c");
        assert!(screen.is_within_line());
        screen.was_cut();
        assert_eq!(screen.push(b"d\n", ms(60)), b"2| d\n");
    }

    #[test]
    fn switches() {
        let mut screen = Screen::new(Look::default());
        assert!(screen.switch_time_stamps());
        assert_eq!(screen.push(b"a\n", ms(0)), b"[    0.000] a\n");
        assert!(!screen.switch_time_stamps());
        assert_eq!(screen.swap_filter(Some("off".parse().unwrap())), None);
        assert_eq!(screen.push(b"I (1) a: b\nc\n", ms(0)), b"c\n");
        assert!(screen.swap_filter(None).is_some());
        assert_eq!(screen.push(b"I (1) a: b\n", ms(0)), b"I (1) a: b\n");
    }

    #[test]
    fn lines_without_end_are_shown() {
        let look = Look { filter: Some("warn".parse().unwrap()), ..Look::default() };
        let long = "x".repeat(3 * LONGEST);
        assert_eq!(shown(&look, &[(0, &long)]), long);
    }
}
