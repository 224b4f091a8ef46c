//! Collection of core dumps from the lines of a board's output.

use base64::Engine as _;

use super::{CoreDump, CoreDumpError, MAX_DUMP};

// Source: ESP-IDF, `components/espcoredump/src/core_dump_uart.c`.
const START: &str = "================= CORE DUMP START =================";
const END: &str = "================= CORE DUMP END =================";

/// The role of a line.
#[derive(Debug)]
pub(crate) enum Step {
    /// The line is not part of a dump.
    Outside,
    /// The line is part of a dump.
    Taken,
    /// The line completes or cuts off a dump.
    Whole(Result<CoreDump, CoreDumpError>),
}

/// A collector for one dump at a time.
#[derive(Debug, Default)]
pub(crate) struct CoreDumpCollector {
    current: Option<Vec<u8>>,
}

impl CoreDumpCollector {
    /// Returns whether a dump has begun but not ended.
    pub fn is_collecting(&self) -> bool {
        self.current.is_some()
    }

    /// Takes the next line.
    pub fn line(&mut self, line: &str) -> Step {
        let line = line.trim();
        if line == START {
            // An unfinished dump is lost when the board resets.
            self.current = Some(vec![]);
            return Step::Taken;
        }
        let Some(bytes) = &mut self.current else { return Step::Outside };
        if line == END {
            let bytes = self.current.take().unwrap_or_default();
            return Step::Whole(if bytes.len() > MAX_DUMP {
                Err(CoreDumpError::TooLarge { most: MAX_DUMP })
            } else {
                CoreDump::from_bytes(&bytes)
            });
        }
        if line.starts_with("ESP-ROM:") || line.contains("rst:0x") {
            return match self.cut() {
                Some(error) => Step::Whole(Err(error)),
                None => Step::Outside,
            };
        }
        // A line that is not base64 is noise or another task's. The checksum shows whether data is
        // lost.
        if bytes.len() <= MAX_DUMP {
            bytes.extend(base64(line).unwrap_or_default());
        }
        Step::Taken
    }

    /// Ends the output. Returns the error for an unfinished dump.
    pub fn cut(&mut self) -> Option<CoreDumpError> {
        let bytes = self.current.take()?;
        Some(CoreDumpError::Cut { len: bytes.len() })
    }
}

/// Decodes a line.
fn base64(line: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_cuts_a_dump_off() {
        let mut collector = CoreDumpCollector::default();
        assert!(matches!(collector.line("hello"), Step::Outside));
        assert!(matches!(collector.line(START), Step::Taken));
        assert!(matches!(collector.line("Zm9v"), Step::Taken));
        let Step::Whole(Err(error)) = collector.line("ESP-ROM:esp32c3-api1-20210207") else {
            panic!()
        };
        assert_eq!(error, CoreDumpError::Cut { len: 3 });
        assert!(!collector.is_collecting());
    }
}
