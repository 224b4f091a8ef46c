//! Layout-stable linking: sections stay at the addresses of the last link.
//!
//! A linker places sections one after another, so one that grows moves all that follow, and a
//! firmware with one changed line differs in nearly every sector of flash. Here each section is
//! pinned to its last place ([`Record`]). The sections of the program's own crates have some room
//! to grow. New sections, and those that have outgrown their place, go to the end of their output
//! section.
//!
//! From a link's files ([`Job`]), [`Link`] makes other files and another script for the same linker
//! (lld), and reads from the linker's map where everything went. [`Link::run`] repeats that through a
//! [`Linker`] until every section has settled. Nothing here opens files or starts linkers.
//!
//! Correctness does not depend on the record: without one, or with that of another program, the
//! link is just as good, but more sections move.

mod archive;
mod digest;
pub(crate) mod glob;
mod items;
mod link;
mod map;
mod matching;
mod object;
mod outcome;
mod parser;
mod pinned;
mod plan;
mod record;
mod run;
mod script;
mod settings;
mod split;
mod tokens;

pub use archive::InputFile;
pub(crate) use digest::plain_name;
pub(crate) use link::Retry;
pub use link::{Basis, Job, Link, Replacement};
pub use outcome::Outcome;
pub use record::Record;
pub use run::{Attempt, Finished, Linker, RunError};
pub use settings::{Settings, Tail};
pub use split::split_object;

/// Reason why a link is not layout-stable. A normal link is always possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StableError {
    /// A linker script uses a feature that is not supported.
    #[error("the linker script has {what}, which is not supported")]
    Script {
        /// The feature.
        what: String,
    },
    /// A linker script includes one that does not exist.
    #[error("the linker script includes {name}, which does not exist")]
    NoInclude {
        /// Name of the included file.
        name: String,
    },
    /// The linker script has no patterns for input sections.
    #[error("the linker script has no patterns for input sections")]
    NothingToPin,
    /// An object is broken or of another kind.
    #[error("invalid object: {message}")]
    Object {
        /// Reason why it is invalid.
        message: String,
    },
    /// The file is not a record, or it is damaged.
    #[error("the record of the last link cannot be used: {message}")]
    BadRecord {
        /// Reason why it can't be used.
        message: String,
    },
    /// The linker placed a section other than where its script says.
    #[error("section {section} went to {output}, contrary to the script")]
    Misplaced {
        /// The section.
        section: String,
        /// The output section that contains it.
        output: String,
    },
}
