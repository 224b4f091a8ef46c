//! Strips the prefixes that loggers and serial terminals add to a line.

/// Maximum number of prefixes stripped from a line: a terminal's time, then a logger's own prefix.
const MOST_PREFIXES: usize = 3;

/// Returns `line` without the prefixes of loggers and serial terminals, so that a report can be
/// read regardless of how it was printed: `[08:34:28] `, `15:10:30.123 > `, `ERROR - `, `[ERROR] `,
/// `E (123) tag: `. A line without a prefix is returned unchanged.
pub(crate) fn strip(line: &str) -> &str {
    let mut rest = line;
    for _ in 0..MOST_PREFIXES {
        let found = bracketed_time(rest).or_else(|| clock(rest)).or_else(|| level(rest));
        match found {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    rest
}

/// Returns `line` without the times of serial terminals, but with a logger's prefix.
pub(crate) fn strip_times(line: &str) -> &str {
    bracketed_time(line).or_else(|| clock(line)).unwrap_or(line)
}

/// Returns `line` without its leading ESP-IDF prefix, `E (123) tag: `.
pub(crate) fn strip_esp_idf(line: &str) -> Option<&str> {
    let (letter, rest) = line.split_at_checked(1)?;
    if !matches!(letter, "E" | "W" | "I" | "D" | "V") {
        return None;
    }
    let (time, rest) = rest.strip_prefix(" (")?.split_once(") ")?;
    let is_time = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'-' | b' ');
    if time.is_empty() || !time.bytes().all(is_time) {
        return None;
    }
    // The text may be empty, and spaces at the end of a line are often lost.
    let (_, text) = rest.split_once(": ").or_else(|| Some((rest.strip_suffix(':')?, "")))?;
    Some(text)
}

/// Strips `[14:43:38] `, `[2024-05-01 12:00:00.123] `, `[    0.005] `. The space may be missing.
fn bracketed_time(line: &str) -> Option<&str> {
    let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
    let is_time = |byte: u8| {
        byte.is_ascii_digit()
            || matches!(byte, b':' | b'.' | b',' | b'-' | b'/' | b' ' | b'T' | b'Z' | b'+')
    };
    let has_digits = time.bytes().any(|byte| byte.is_ascii_digit());
    let has_marks = time.bytes().any(|byte| matches!(byte, b':' | b'.'));
    let fits = time.len() <= 40 && has_digits && has_marks && time.bytes().all(is_time);
    fits.then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

/// Strips `15:10:30.123 > `, `15:10:30.123 -> `, `12:00:01 `, `0.001234 `.
fn clock(line: &str) -> Option<&str> {
    let (time, rest) = line.split_once(' ')?;
    let colons = time.bytes().filter(|byte| *byte == b':').count();
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = match colons {
        // Seconds with a fraction.
        0 => time.split_once('.').is_some_and(|(whole, part)| digits(whole) && digits(part)),
        1 | 2 => {
            let (clock, fraction) = time.split_once(['.', ',']).unwrap_or((time, "0"));
            digits(fraction) && clock.split(':').all(|part| part.len() <= 2 && digits(part))
        }
        _ => false,
    };
    let rest = is_time.then_some(rest)?;
    Some(rest.strip_prefix("-> ").or_else(|| rest.strip_prefix("> ")).unwrap_or(rest))
}

/// Strips a level's word or letter as printed by loggers.
fn level(line: &str) -> Option<&str> {
    if let Some(text) = strip_esp_idf(line) {
        return Some(text);
    }
    const WORDS: [&str; 6] = ["ERROR", "WARN", "WARNING", "INFO", "DEBUG", "TRACE"];
    // `[ERROR] text`, `[ERROR app::net] text`.
    if let Some((within, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let word = within.split(' ').next().unwrap_or_default();
        return WORDS.contains(&word).then(|| rest.strip_prefix(' ').unwrap_or(rest));
    }
    let end = line.find(|char: char| !char.is_ascii_uppercase()).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    if !WORDS.contains(&word) {
        return None;
    }
    // `ERROR - text`, `ERROR (123) - text`.
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => rest.trim_start(),
        None => rest,
    };
    if rest == "-" {
        return Some("");
    }
    match rest.strip_prefix("- ") {
        Some(text) => Some(text),
        // `ERROR text`, the form of defmt frames as lines.
        None if line.len() > end && !rest.is_empty() => Some(rest),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_taken_off() {
        for prefix in [
            "[08:34:28] ",
            "[14:43:38]",
            "[2024-05-01 12:00:00.123] ",
            "[    0.005] ",
            "15:10:30.123 > ",
            "15:10:30.123 -> ",
            "12:00:01 ",
            "0.001234 ",
            "0.001234 ERROR ",
            "ERROR - ",
            "WARN (1234) - ",
            "[ERROR] ",
            "[ERROR app::net] ",
            "E (123) app: ",
            "E (24-06-19 10:12:51.035) app: ",
            "[08:34:28] E (123) task_wdt: ",
        ] {
            assert_eq!(strip(&format!("{prefix}0x42000010")), "0x42000010", "{prefix:?}");
        }
        assert_eq!(strip("ERROR -"), "");
        assert_eq!(strip("[14:43:38]"), "");
    }

    #[test]
    fn lines_of_reports_stay() {
        for line in [
            "",
            "0x42000010",
            "3fc8fd60: 0x00000000 0x00000000",
            "40380100: 0x00000000",
            "[ProCpu] Exception 'Load access fault' mepc=0x420027a0",
            "PC      : 0x400d5950  PS      : 0x00060330",
            "Guru Meditation Error: Core  0 panic'ed",
            "ERROR",
            "E (abc) x: y",
            "[1] x",
            "12:34",
        ] {
            assert_eq!(strip(line), line);
        }
    }
}
