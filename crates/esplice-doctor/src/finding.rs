//! Findings.

/// Something about the machine that the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// A short name that does not change, such as `port-permission`.
    pub id: &'static str,
    /// True if boards can't be used because of it; false for something that may matter.
    pub is_problem: bool,
    /// The fact.
    pub text: String,
    /// Remedies, each a sentence or a command.
    pub remedies: Vec<String>,
    /// Automatic remedy, if there is one.
    pub fix: Option<Fix>,
}

/// Something that can be done automatically.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fix {
    /// Install the udev rule, see [`crate::udev_rule`].
    UdevRule,
}

impl Finding {
    /// Returns a finding that keeps boards from being used.
    pub fn problem(id: &'static str, text: impl Into<String>) -> Finding {
        Finding { is_problem: true, ..Finding::note(id, text) }
    }

    /// Returns a finding that may matter.
    pub fn note(id: &'static str, text: impl Into<String>) -> Finding {
        Finding { id, is_problem: false, text: text.into(), remedies: Vec::new(), fix: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Finding {
        self.remedies.push(text.into());
        self
    }

    pub(crate) fn fixed_by(mut self, fix: Fix) -> Finding {
        self.fix = Some(fix);
        self
    }
}
