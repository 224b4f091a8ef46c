//! Selection of a firmware's log lines by level and module.

use std::str::FromStr;

/// The level of a log line. A filter shows a level and all above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Errors.
    Error,
    /// Warnings.
    Warn,
    /// Information.
    Info,
    /// Debug messages.
    Debug,
    /// Everything, ESP-IDF's "verbose".
    Trace,
}

impl Level {
    /// Returns the level's word in capitals, as in logs.
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
            Level::Trace => "TRACE",
        }
    }

    /// Parses a level's word, or its letter as printed by ESP-IDF, in upper or lower case.
    fn parse(word: &str) -> Option<Level> {
        const WORDS: &[(&str, &str, Level)] = &[
            ("error", "e", Level::Error),
            ("warn", "w", Level::Warn),
            ("warning", "w", Level::Warn),
            ("info", "i", Level::Info),
            ("debug", "d", Level::Debug),
            ("trace", "t", Level::Trace),
            ("verbose", "v", Level::Trace),
        ];
        let is = |known: &str| word.eq_ignore_ascii_case(known);
        WORDS.iter().find(|(long, short, _)| is(long) || is(short)).map(|(_, _, level)| *level)
    }
}

/// A filter for log lines, such as `warn,wifi=debug`.
///
/// A rule is either a level, for all modules without their own rule, or `MODULE=LEVEL`. The level
/// `off` shows nothing. A module's rule also applies to the modules within it (`wifi` to
/// `wifi::scan`).
///
/// ESP-IDF's `*:W wifi:D` means the same. As in ESP-IDF, a module without a level (`wifi`) is shown
/// at all levels. Such a rule, or one such as `wifi:D`, hides lines that no rule applies to, and so
/// does `*:N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Level for modules without a rule. `None` means `off`.
    others: Option<Level>,
    /// True if lines without a level are shown.
    plain: bool,
    modules: Vec<(String, Option<Level>)>,
}

/// An error in a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The level is unknown.
    #[error("{0:?} is not a level")]
    Level(String),
    /// A word is neither a level nor a possible module name.
    #[error("{0:?} is neither a level nor a module")]
    Rule(String),
    /// The filter has no rules.
    #[error("the filter is empty")]
    Empty,
}

impl FilterError {
    /// Returns a hint about how to fix the problem, if there is one.
    pub fn hint(&self) -> Option<String> {
        Some(
            "write it as warn,wifi=debug: levels are off, error, warn, info, debug and trace; \
             a module without a level hides all others"
                .into(),
        )
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Filter, FilterError> {
        let mut filter = Filter { others: Some(Level::Trace), plain: true, modules: vec![] };
        let (mut alone, mut says_others) = (false, false);
        let mut rules = text.split([',', ' ']).filter(|rule| !rule.is_empty()).peekable();
        if rules.peek().is_none() {
            return Err(FilterError::Empty);
        }
        for rule in rules {
            // Rust paths contain double colons.
            let parts = rule
                .split_once('=')
                .or_else(|| rule.rsplit_once(':').filter(|(module, _)| !module.ends_with(':')));
            // ESP-IDF's letter for no level also hides lines without a level; the word does not.
            let is_none = |word: &str| word.eq_ignore_ascii_case("n");
            // A rule in ESP-IDF's form hides lines that no rule applies to.
            alone |= parts.is_some_and(|(_, word)| word.len() == 1 && !rule.contains('='));
            let (module, level) = match parts {
                Some((module, word)) => (module, of_word(word)?),
                None => match of_word(rule) {
                    Ok(level) => ("*", level),
                    Err(_) if is_module(rule) => {
                        alone = true;
                        (rule, Some(Level::Trace))
                    }
                    Err(_) => return Err(FilterError::Rule(rule.to_owned())),
                },
            };
            match module {
                "" | "*" => {
                    filter.others = level;
                    filter.plain = !is_none(parts.map_or(rule, |(_, word)| word));
                    says_others = true;
                }
                module => filter.modules.push((module.to_owned(), level)),
            }
        }
        if alone && !says_others {
            filter.others = None;
            filter.plain = false;
        }
        Ok(filter)
    }
}

impl Filter {
    /// Returns whether `line`, without escape sequences, is shown. A line without a level is shown,
    /// as it may be part of a panic, unless the filter hides all but some modules.
    pub fn shows(&self, line: &str) -> bool {
        let Some(LogLine { level, module }) = LogLine::parse(line) else { return self.plain };
        let most = module.and_then(|module| self.rule(module)).unwrap_or(self.others);
        most.is_some_and(|most| level <= most)
    }

    /// Returns the rule for a module: the one with the longest matching name, and of equal ones the
    /// last.
    fn rule(&self, module: &str) -> Option<Option<Level>> {
        let within = |rule: &str| {
            let rest = module.strip_prefix(rule);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let rules = self.modules.iter().filter(|(rule, _)| within(rule));
        rules.max_by_key(|(rule, _)| rule.len()).map(|(_, level)| *level)
    }
}

/// Returns the level for `word`, or `None` for one that shows nothing.
fn of_word(word: &str) -> Result<Option<Level>, FilterError> {
    if word.eq_ignore_ascii_case("off") || word.eq_ignore_ascii_case("n") {
        return Ok(None);
    }
    // ESP-IDF's `*` means all levels.
    if word == "*" {
        return Ok(Some(Level::Trace));
    }
    Level::parse(word).map(Some).ok_or_else(|| FilterError::Level(word.to_owned()))
}

/// Returns whether `word` could be a module name or a tag.
fn is_module(word: &str) -> bool {
    let fits = |char: char| char.is_alphanumeric() || matches!(char, '_' | ':' | '-' | '.');
    !word.is_empty() && word.chars().all(fits)
}

/// The level and module of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine<'a> {
    /// The level.
    pub level: Level,
    /// The module, if the line states it.
    pub module: Option<&'a str>,
}

impl<'a> LogLine<'a> {
    /// Parses the start of a line without escape sequences. Returns `None` if it is not a log line.
    ///
    /// Supported are ESP-IDF (`I (123) wifi: text`, without a time `I wifi: text`), esp-println
    /// (`INFO - text`, `INFO (123) - text`) and the usual forms of Rust loggers including defmt
    /// (`[INFO  wifi::scan] text`, `[WARN] text`, `0.001 INFO text`, `INFO wifi: text`).
    pub fn parse(line: &'a str) -> Option<LogLine<'a>> {
        let line = line.trim_start();
        esp_idf(line).or_else(|| worded(line))
    }
}

/// Parses a line of ESP-IDF. Source: ESP-IDF, components/log/include/esp_log_format.h: letter, time
/// in parentheses, tag, colon. The time is in milliseconds, or the system time with a date, and may
/// be missing.
fn esp_idf(line: &str) -> Option<LogLine<'_>> {
    let (letter, rest) = line.split_once(' ')?;
    let level = matches!(letter, "E" | "W" | "I" | "D" | "V").then(|| Level::parse(letter))??;
    let is_time = |byte: u8| {
        byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b',' | b'-' | b'/' | b' ' | b'T')
    };
    let timed = rest.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    let timed = timed.filter(|(time, _)| !time.is_empty() && time.bytes().all(is_time));
    let text = timed.map_or(rest, |(_, text)| text);
    let (tag, _) = text.split_once(": ").or_else(|| Some((text.strip_suffix(':')?, "")))?;
    // Without a time only the tag shows that this is a log line, and a tag is a single word.
    let is_word = |tag: &str| !tag.starts_with('(') && !tag.contains(' ') && !tag.is_empty();
    (timed.is_some() || is_word(tag)).then_some(LogLine { level, module: Some(tag) })
}

/// Parses a line with the level's word in capitals: bare, in brackets, or after a time.
fn worded(line: &str) -> Option<LogLine<'_>> {
    // A time or an uptime: digits and separators.
    let is_time = |word: &str| {
        word.starts_with(|char: char| char.is_ascii_digit())
            && word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':' | b's'))
    };
    let first = line.split(' ').next().unwrap_or_default();
    let line = match line.strip_prefix(first).filter(|_| is_time(first)) {
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let (in_brackets, line) = match line.strip_prefix('[') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let end = line.find(|char: char| !char.is_ascii_uppercase()).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let level = Level::parse(word).filter(|_| word.len() > 1)?;
    let known = |module: &str| {
        let fits =
            |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | ':' | '-' | '.');
        !module.is_empty() && module.chars().all(fits)
    };
    if in_brackets {
        let (within, behind) = rest.split_once(']')?;
        let module = within.split_whitespace().next_back().filter(|module| known(module));
        // `[INFO] wifi: text`.
        let module = module.or_else(|| leading_module(behind).filter(|module| known(module)));
        return Some(LogLine { level, module });
    }
    // The bare word, followed by a space, a colon or a parenthesis.
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => rest.trim_start(),
        None => rest,
    };
    let module = match rest.strip_prefix("- ") {
        // esp-println prints no module, and text before a colon is not one.
        Some(_) => None,
        None => leading_module(rest).filter(|module| known(module)),
    };
    Some(LogLine { level, module })
}

/// Returns the text before the first colon that is followed by a space.
fn leading_module(text: &str) -> Option<&str> {
    text.trim_start().split_once(": ").map(|(module, _)| module)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(Level, Option<&str>)>) {
        let found = LogLine::parse(line).map(|line| (line.level, line.module));
        assert_eq!(found, expected, "{line:?}");
    }

    #[test]
    fn lines_of_logs_are_known() {
        check("I (123) wifi: started", Some((Level::Info, Some("wifi"))));
        check("E (00:00:01.123) main task: no", Some((Level::Error, Some("main task"))));
        check("V (1) a:", Some((Level::Trace, Some("a"))));
        check("INFO - Hello: world", Some((Level::Info, None)));
        check("WARN (1234) - text", Some((Level::Warn, None)));
        check("[INFO  wifi::scan] text", Some((Level::Info, Some("wifi::scan"))));
        check("[ERROR] net: text", Some((Level::Error, Some("net"))));
        check("[DEBUG] text", Some((Level::Debug, None)));
        check("0.001234 TRACE text", Some((Level::Trace, None)));
        check("12:00:01 WARN app::net: text", Some((Level::Warn, Some("app::net"))));
        check("DEBUG: text", Some((Level::Debug, None)));
        check("W wifi: weak", Some((Level::Warn, Some("wifi"))));
        check("E boot.esp32:", Some((Level::Error, Some("boot.esp32"))));
        check("E (24-06-19 10:12:51.035) b: date", Some((Level::Error, Some("b"))));
        check("W (12:00:01.123) b: clock", Some((Level::Warn, Some("b"))));
    }

    #[test]
    fn other_lines_are_not() {
        for line in [
            "",
            "Hello",
            "I (abc) x: y",
            "I am (12) x: y",
            "I think so: yes",
            "I () x: y",
            "I : x",
            "X (12) x: y",
            "INFORMATION - x",
            "[boot] x",
            "Guru Meditation Error: Core  0 panic'ed",
            "panicked at src/main.rs:3:5:",
            "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)",
            "0x42000010",
        ] {
            check(line, None);
        }
    }

    #[track_caller]
    fn shown(filter: &str, lines: &[(&str, bool)]) {
        let parsed: Filter = filter.parse().unwrap();
        for (line, shown) in lines {
            assert_eq!(parsed.shows(line), *shown, "{filter:?}: {line:?}");
        }
    }

    #[test]
    fn rules_choose() {
        let lines = |info: bool, wifi: bool, scan: bool| {
            [
                ("I (1) main: x", info),
                ("D (1) wifi: x", wifi),
                ("[DEBUG wifi::scan] x", scan),
                ("E (1) main: x", true),
                ("Hello", true),
            ]
        };
        shown("trace", &lines(true, true, true));
        shown("warn", &lines(false, false, false));
        shown("warn,wifi=debug", &lines(false, true, true));
        shown("*:W wifi:D wifi::scan:I", &lines(false, true, false));
        shown("wifi::scan=D,info", &lines(true, false, true));
        shown("main=error,wif=off", &lines(false, true, true));
        shown("off", &[("E (1) main: x", false), ("Hello", true)]);
        shown("Info", &[("INFO - x", true), ("DEBUG - x", false)]);
        shown("warn", &[("I wifi: no time", false), ("W wifi: no time", true)]);
    }

    #[test]
    fn rules_of_esp_idf_choose() {
        let lines = |wifi: bool, scan: bool, main: bool, error: bool, plain: bool| {
            [
                ("V (1) wifi: x", wifi),
                ("I wifi: x", wifi),
                ("D (1) scan: x", scan),
                ("I (1) main: x", main),
                ("E (1) main: x", error),
                ("Hello", plain),
            ]
        };
        shown("*:N", &lines(false, false, false, false, false));
        shown("*:n wifi:V", &lines(true, false, false, false, false));
        shown("wifi", &lines(true, false, false, false, false));
        shown("wifi scan:W", &lines(true, false, false, false, false));
        shown("wifi,scan", &lines(true, true, false, false, false));
        shown("wifi *:E", &lines(true, false, false, true, true));
        shown("*:V wifi:N", &lines(false, true, true, true, true));
        shown("*:* wifi:*", &lines(true, true, true, true, true));
        shown("wifi:V", &lines(true, false, false, false, false));
        shown("wifi=V", &lines(true, true, true, true, true));
    }

    #[test]
    fn others_are_refused() {
        for (filter, message) in [
            ("", "the filter is empty"),
            (" ,", "the filter is empty"),
            ("lo!ud", "\"lo!ud\" is neither a level nor a module"),
            ("wifi=loud", "\"loud\" is not a level"),
            ("wifi=", "\"\" is not a level"),
        ] {
            let error = filter.parse::<Filter>().unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(error.hint().is_some());
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in r#"([A-Z]{1,7}|[ \[\](): -]|[0-9.]{1,4}|ü){0,12}"#) {
            let filter: Filter = "warn,a=debug".parse().unwrap();
            filter.shows(&line);
        }
    }
}
