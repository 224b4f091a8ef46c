//! Scripts: steps that expect output from a board and act on it, in order.

use std::{str::FromStr, time::Duration};

use crate::{
    escape::{EscapeError, unescape},
    expect::{ExpectError, Expectation},
};

/// Maximum number of statements in a script, far more than anyone writes.
const MOST_STEPS: usize = 10_000;

/// One step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Waits for text.
    Expect {
        /// The expected text.
        what: Expectation,
        /// The time allowed, counted from the end of the previous step. `None` means as long as the
        /// watch.
        within: Option<Duration>,
    },
    /// Rejects this text from here on.
    Reject(Expectation),
    /// Sends bytes to the board.
    Send(Vec<u8>),
    /// Waits for a time.
    Wait(Duration),
    /// Resets the board. Earlier output no longer counts.
    Reset,
    /// Lets the watch continue after a panic from here on.
    AllowPanic,
    /// Does not treat resets by the board itself as a boot loop from here on.
    AllowResets,
}

/// A script as read from a file.
///
/// ```text
/// # Comments and empty lines are passed over.
/// expect "login: " within 5s
/// send "root\r"
/// expect /temp=[0-9]+/
/// reject "ERROR"
/// wait 500ms
/// reset
/// allow panic
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The steps, each with its line number in the file, from 1.
    pub steps: Vec<(usize, Step)>,
}

/// An error in a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
#[non_exhaustive]
pub struct ScriptError {
    /// The line number, from 1.
    pub line: usize,
    /// The cause.
    pub kind: ScriptErrorKind,
}

/// The kind of error in a line of a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptErrorKind {
    /// The line begins with an unknown word.
    #[error("unknown statement {0:?}")]
    Unknown(String),
    /// An argument is missing or of the wrong kind.
    #[error("{statement} needs {wanted}")]
    MissingArgument {
        /// The statement.
        statement: &'static str,
        /// The required argument.
        wanted: &'static str,
    },
    /// The closing quotation mark or slash of a text is missing.
    #[error("unterminated text: {0} is missing")]
    Unterminated(char),
    /// Unexpected text follows the statement.
    #[error("unexpected {0:?} at the end")]
    Trailing(String),
    /// An expected text is invalid.
    #[error(transparent)]
    Expect(#[from] ExpectError),
    /// A text to send is invalid.
    #[error(transparent)]
    Escape(#[from] EscapeError),
    /// A time is invalid.
    #[error("{0:?} is not a time such as 5s or 500ms")]
    Time(String),
    /// The script has too many statements.
    #[error("more than {MOST_STEPS} statements")]
    TooLong,
}

impl ScriptError {
    /// Returns a hint about how to fix the problem, if there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match &self.kind {
            ScriptErrorKind::Unknown(_) => {
                "statements are expect, reject, send, wait, reset, allow panic and allow resets"
                    .into()
            }
            ScriptErrorKind::Unterminated('/') => {
                r"write a regular expression between slashes, and \/ for a slash in it".into()
            }
            ScriptErrorKind::Unterminated(_) => r#"write \" for a quotation mark in a text"#.into(),
            ScriptErrorKind::Expect(error) => return error.hint(),
            ScriptErrorKind::Escape(error) => return error.hint(),
            _ => return None,
        })
    }
}

impl Script {
    /// Parses a script.
    ///
    /// # Errors
    /// Returns an error for the first invalid line.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let mut steps = vec![];
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let refused = |kind| ScriptError { line: line_number, kind };
            if let Some(step) = statement(line).map_err(refused)? {
                if steps.len() >= MOST_STEPS {
                    return Err(refused(ScriptErrorKind::TooLong));
                }
                steps.push((line_number, step));
            }
        }
        Ok(Script { steps })
    }
}

impl FromStr for Script {
    type Err = ScriptError;
    fn from_str(text: &str) -> Result<Script, ScriptError> {
        Script::parse(text)
    }
}

/// Parses a line. Returns `None` if it is empty or a comment.
fn statement(line: &str) -> Result<Option<Step>, ScriptErrorKind> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (word, rest) = first_word(line);
    let (step, rest) = match word {
        "expect" => {
            let (what, rest) = expectation("expect", rest)?;
            match first_word(rest) {
                ("within", rest) => {
                    let (within, rest) = time("within", rest)?;
                    (Step::Expect { what, within: Some(within) }, rest)
                }
                _ => (Step::Expect { what, within: None }, rest),
            }
        }
        "reject" => {
            let (what, rest) = expectation("reject", rest)?;
            (Step::Reject(what), rest)
        }
        "send" => match quoted("send", rest)? {
            (Literal::Text(text), rest) => {
                let bytes = unescape(text)?;
                if bytes.is_empty() {
                    let wanted = "a text in quotation marks, of at least one byte";
                    return Err(ScriptErrorKind::MissingArgument { statement: "send", wanted });
                }
                (Step::Send(bytes), rest)
            }
            (Literal::Regex(_), _) => {
                let wanted = "a text in quotation marks";
                return Err(ScriptErrorKind::MissingArgument { statement: "send", wanted });
            }
        },
        "wait" => {
            let (time, rest) = time("wait", rest)?;
            (Step::Wait(time), rest)
        }
        "reset" => (Step::Reset, rest),
        "allow" => match first_word(rest) {
            ("panic", rest) => (Step::AllowPanic, rest),
            ("resets", rest) => (Step::AllowResets, rest),
            _ => {
                let wanted = "panic or resets";
                return Err(ScriptErrorKind::MissingArgument { statement: "allow", wanted });
            }
        },
        word => return Err(ScriptErrorKind::Unknown(word.to_owned())),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(Some(step))
    } else {
        Err(ScriptErrorKind::Trailing(rest.to_owned()))
    }
}

/// Returns the first word and the text after it, without the spaces between.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start())
}

enum Literal<'a> {
    Text(&'a str),
    /// A regular expression with its slashes.
    Regex(&'a str),
}

fn expectation<'a>(
    statement: &'static str,
    rest: &'a str,
) -> Result<(Expectation, &'a str), ScriptErrorKind> {
    match quoted(statement, rest)? {
        // A quoted text is never a regular expression, even if it begins and ends with a slash.
        (Literal::Text(text), rest) => Ok((Expectation::plain(text)?, rest)),
        (Literal::Regex(text), rest) => Ok((Expectation::parse(text)?, rest)),
    }
}

/// Parses a text in quotation marks, returned without them, or between slashes. Returns it with the
/// text that follows.
fn quoted<'a>(
    statement: &'static str,
    rest: &'a str,
) -> Result<(Literal<'a>, &'a str), ScriptErrorKind> {
    let mark = match rest.chars().next() {
        Some(mark @ ('"' | '/')) => mark,
        _ => {
            let wanted = "a text in quotation marks, or a regular expression between slashes";
            return Err(ScriptErrorKind::MissingArgument { statement, wanted });
        }
    };
    let body = rest.get(1..).unwrap_or_default();
    let mut escaped = false;
    let end = body.find(|char| {
        let ends = char == mark && !escaped;
        escaped = char == '\\' && !escaped;
        ends
    });
    let end = end.ok_or(ScriptErrorKind::Unterminated(mark))?;
    let text = body.get(..end).unwrap_or_default();
    let behind = body.get(end + 1..).unwrap_or_default();
    Ok(match mark {
        '"' => (Literal::Text(text), behind),
        _ => (Literal::Regex(rest.get(..end + 2).unwrap_or_default()), behind),
    })
}

/// Parses a time: a whole number and its unit.
fn time<'a>(
    statement: &'static str,
    rest: &'a str,
) -> Result<(Duration, &'a str), ScriptErrorKind> {
    let (word, rest) = first_word(rest);
    if word.is_empty() {
        return Err(ScriptErrorKind::MissingArgument {
            statement,
            wanted: "a time such as 5s or 500ms",
        });
    }
    let wrong = || ScriptErrorKind::Time(word.to_owned());
    let digits = word.find(|char: char| !char.is_ascii_digit()).unwrap_or(word.len());
    let (number, unit) = word.split_at(digits);
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        _ => return Err(wrong()),
    };
    Ok((unit.checked_mul(number).ok_or_else(wrong)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expect(text: &str) -> Step {
        Step::Expect { what: Expectation::parse(text).unwrap(), within: None }
    }

    #[test]
    fn statements_become_steps_with_their_lines() {
        let script = Script::parse(
            "# a comment\n\nexpect \"login: \" within 5s # and why\n  send \"root\\r\"\r\n\
             expect /temp=[0-9]+\\/C/\nreject \"/ERROR/\"\nwait 1500ms\nreset\nallow panic\n\
             allow resets\n",
        );
        let within = Some(Duration::from_secs(5));
        let login = Step::Expect { what: Expectation::parse("login: ").unwrap(), within };
        let expected = [
            (3, login),
            (4, Step::Send(b"root\r".to_vec())),
            (5, expect(r"/temp=[0-9]+\/C/")),
            (6, Step::Reject(Expectation::plain("/ERROR/").unwrap())),
            (7, Step::Wait(Duration::from_millis(1500))),
            (8, Step::Reset),
            (9, Step::AllowPanic),
            (10, Step::AllowResets),
        ];
        assert_eq!(script.unwrap().steps, expected);
    }

    #[track_caller]
    fn refused(text: &str, message: &str) {
        assert_eq!(Script::parse(text).unwrap_err().to_string(), message, "{text:?}");
    }

    #[test]
    fn errors_say_line_and_cause() {
        refused("\nexspect \"a\"", "line 2: unknown statement \"exspect\"");
        refused(
            "expect",
            "line 1: expect needs a text in quotation marks, or a regular expression between \
             slashes",
        );
        refused(
            "expect hello",
            "line 1: expect needs a text in quotation marks, or a regular expression between \
             slashes",
        );
        refused("expect \"a", "line 1: unterminated text: \" is missing");
        refused("expect \"a\\\"", "line 1: unterminated text: \" is missing");
        refused("expect /a\\/", "line 1: unterminated text: / is missing");
        refused("expect \"\"", "line 1: expected text is empty");
        refused("expect \"a\" within", "line 1: within needs a time such as 5s or 500ms");
        refused("expect \"a\" in 5s", "line 1: unexpected \"in 5s\" at the end");
        refused("send /a/", "line 1: send needs a text in quotation marks");
        refused("send \"\"", "line 1: send needs a text in quotation marks, of at least one byte");
        refused("send \"\\q\"", "line 1: unknown escape \\q at character 1");
        refused("wait 5", "line 1: \"5\" is not a time such as 5s or 500ms");
        refused("wait 99999999999s", "line 1: \"99999999999s\" is not a time such as 5s or 500ms");
        refused("wait -1s", "line 1: \"-1s\" is not a time such as 5s or 500ms");
        refused("reset now", "line 1: unexpected \"now\" at the end");
        refused("allow", "line 1: allow needs panic or resets");
        refused("expect /a(/", "line 1: regular expression /a(/: unclosed group");
        let long = "reset\n".repeat(MOST_STEPS + 1);
        refused(&long, "line 10001: more than 10000 statements");
        assert!(Script::parse("exspect").unwrap_err().hint().is_some());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"(expect|send|wait|within|allow|["/\\#ü5ms \n]){0,12}"#) {
            let _ = Script::parse(&text);
        }
    }
}
