//! Prepares a board's output for people: filters it and adds prefixes to lines.

use std::time::Duration;

use esplice_monitor::{Backspace, Filter, Sanitiser, sanitise};

/// Time without further bytes after which an incomplete line is shown, because it may be a prompt.
const HELD: Duration = Duration::from_millis(50);

/// Length at which an incomplete line is shown.
const LONGEST: usize = 4096;

/// Options of displaying a board's output.
#[derive(Debug, Clone, Default)]
pub struct ScreenOptions {
    /// True if escape sequences are passed through.
    pub raw: bool,
    /// True if backspaces move the cursor back, as on a terminal; otherwise they are shown as
    /// symbols.
    pub backspace: bool,
    /// True if each line begins with its time.
    pub time_stamps: bool,
    pub filter: Option<Filter>,
    /// Prefix of each line.
    pub prefix: Option<String>,
}

/// The display of one board's output.
#[derive(Debug)]
pub struct Screen {
    options: ScreenOptions,
    sanitiser: Sanitiser,
    /// Bytes of the line that are held back.
    held: Vec<u8>,
    /// True if a part of the line has been shown.
    within: bool,
    /// True if the rest of the line is hidden, like its beginning.
    hidden: bool,
    /// When the line's first and last byte arrived.
    began: Duration,
    last: Duration,
}

impl Screen {
    pub fn new(options: ScreenOptions) -> Screen {
        let backspace = if options.backspace { Backspace::Passed } else { Backspace::Pictured };
        Screen {
            options,
            sanitiser: Sanitiser::new(backspace),
            held: vec![],
            within: false,
            hidden: false,
            began: Duration::ZERO,
            last: Duration::ZERO,
        }
    }

    /// Toggles the time stamps.
    pub fn switch_time_stamps(&mut self) -> bool {
        self.options.time_stamps = !self.options.time_stamps;
        self.options.time_stamps
    }

    /// Replaces the filter, and returns the previous one.
    pub fn swap_filter(&mut self, filter: Option<Filter>) -> Option<Filter> {
        std::mem::replace(&mut self.options.filter, filter)
    }

    /// Returns whether lines are shown only when complete: a filter needs the whole line, or lines
    /// of several boards would mix.
    fn holds(&self) -> bool {
        self.options.filter.is_some() || self.options.prefix.is_some()
    }

    /// Takes the bytes received at `now`, counted from the board's start. Returns what to show.
    pub fn push(&mut self, bytes: &[u8], now: Duration) -> Vec<u8> {
        let text =
            if self.options.raw { bytes.to_vec() } else { self.sanitiser.push(bytes).into_bytes() };
        if !self.holds() && !self.options.time_stamps && self.held.is_empty() && !self.hidden {
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

    /// Returns the bytes that were held back for too long.
    pub fn quiet(&mut self, now: Duration) -> Vec<u8> {
        let mut shown = vec![];
        if !self.held.is_empty() && now.saturating_sub(self.last) >= HELD {
            self.show(&mut shown);
        }
        shown
    }

    /// Returns all remaining bytes.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut shown = vec![];
        if !self.options.raw {
            let rest = self.sanitiser.finish();
            self.held.extend_from_slice(rest.as_bytes());
        }
        if !self.held.is_empty() {
            self.show(&mut shown);
        }
        shown
    }

    /// Returns whether the last output shown ended in the middle of a line.
    pub fn is_within_line(&self) -> bool {
        self.within
    }

    /// Notes that other output was shown after the incomplete line.
    pub fn was_cut(&mut self) {
        self.within = false;
    }

    fn show(&mut self, shown: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if !self.within && !self.hidden {
            let text = sanitise(&held);
            let line = text.trim_end_matches(['\r', '\n']);
            self.hidden = self.options.filter.as_ref().is_some_and(|filter| !filter.shows(line));
        }
        if self.hidden {
            return;
        }
        if !self.within {
            if let Some(prefix) = &self.options.prefix {
                shown.extend_from_slice(prefix.as_bytes());
            }
            if self.options.time_stamps {
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

    /// Returns everything shown for pieces at their times in milliseconds, with `quiet` called
    /// between.
    fn shown(options: &ScreenOptions, pieces: &[(u64, &str)]) -> String {
        let mut screen = Screen::new(options.clone());
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
        let mut screen = Screen::new(ScreenOptions::default());
        assert_eq!(screen.push(b"a\x1b[1mb", ms(0)), b"ab");
        assert!(screen.is_within_line());
        assert_eq!(screen.push(b"c\r\n", ms(1)), b"c\r\n");
        assert!(!screen.is_within_line());
        let terminal = ScreenOptions { backspace: true, ..ScreenOptions::default() };
        assert_eq!(shown(&terminal, &[(0, "helo\x08lo\r\n\x08")]), "helo\x08lo\r\n");
        assert_eq!(shown(&ScreenOptions::default(), &[(0, "a\x08")]), "a\u{2408}");
        let raw = ScreenOptions { raw: true, ..ScreenOptions::default() };
        assert_eq!(shown(&raw, &[(0, "\x1b[1mb\0")]), "\x1b[1mb\0");
    }

    #[test]
    fn times_are_those_of_a_lines_first_byte() {
        let options = ScreenOptions { time_stamps: true, ..ScreenOptions::default() };
        let pieces = [(5, "a"), (1500, "b\r\n"), (61_000, "c\r\n\r\nd")];
        assert_eq!(
            shown(&options, &pieces),
            "[    0.005] ab\r\n[   61.000] c\r\n[   61.000] \r\n[   61.000] d"
        );
    }

    #[test]
    fn filtered_lines_vanish_whole_and_prompts_do_not_wait() {
        let options =
            ScreenOptions { filter: Some("warn".parse().unwrap()), ..ScreenOptions::default() };
        let pieces = [
            (0, "I (1) a: no\r\nW (2) a: y"),
            (10, "es\r\n> "),
            (100, "ls\r\nI (3) a"),
            (110, ": no\r\n"),
            (200, "\x1b[32mI (4) a: no\x1b[0m\r\nend"),
        ];
        assert_eq!(shown(&options, &pieces), "W (2) a: yes\r\n> ls\r\nend");
        // A prompt that was shown stays, and hidden text does not reappear.
        let pieces = [(0, "I (1) a: n"), (100, "o\r\nyes\r\n")];
        assert_eq!(shown(&options, &pieces), "yes\r\n");
    }

    #[test]
    fn prefixes_of_several_ports() {
        let options = ScreenOptions { prefix: Some("2| ".into()), ..ScreenOptions::default() };
        let mut screen = Screen::new(options);
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
        let mut screen = Screen::new(ScreenOptions::default());
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
        let options =
            ScreenOptions { filter: Some("warn".parse().unwrap()), ..ScreenOptions::default() };
        let long = "x".repeat(3 * LONGEST);
        assert_eq!(shown(&options, &[(0, &long)]), long);
    }
}
