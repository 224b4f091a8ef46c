//! The error of parsing a name.

/// A name that is not one of a few known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{what} {found:?} is not one of {}", known.join(", "))]
pub struct NameError {
    /// Kind of the name, such as `flash mode`.
    pub what: &'static str,
    /// The name.
    pub found: String,
    /// The known names.
    pub known: Vec<&'static str>,
}
