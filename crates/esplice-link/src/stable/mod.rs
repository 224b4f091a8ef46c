//! Layout-stable linking: sections stay at the addresses of the last link.
//!
//! A linker puts sections one behind the other, so that one that grows moves all that follow, and a
//! firmware with one line changed differs in nearly every sector of flash. Here each section is
//! pinned to where it was ([`Record`]), those of the program's own crates have some room to grow,
//! and what is new or has outgrown its place goes to the end of its output section.
//!
//! From a link's files ([`Job`]), [`Link`] makes other files and another script for the same linker
//! (lld), and reads from the linker's map where everything went. [`Link::run`] repeats that through a
//! [`Linker`] until every section has settled. Nothing here opens files or starts linkers.
//!
//! Nothing depends on the record: without one, or with one of another program, the link is as good,
//! only that more has moved.

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

/// Why a link is not layout-stable. A normal link is always possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StableError {
    /// A linker script is beyond what is understood.
    #[error("the linker script has {what}, which is not understood")]
    Script {
        /// What it has.
        what: String,
    },
    /// A linker script includes one that is not there.
    #[error("the linker script includes {name}, which is not there")]
    NoInclude {
        /// The name of the file.
        name: String,
    },
    /// A linker script without patterns for sections.
    #[error("the linker script has no place for sections by name")]
    NothingToPin,
    /// An object is broken or of another kind.
    #[error("not a sound object: {message}")]
    Object {
        /// What is wrong.
        message: String,
    },
    /// A record is none, or damaged.
    #[error("the record of the last link cannot be used: {message}")]
    BadRecord {
        /// What is wrong.
        message: String,
    },
    /// The linker put a section elsewhere than its script says.
    #[error("section {section} went to {output}, against the script")]
    Misplaced {
        /// The section.
        section: String,
        /// The output section that it is in.
        output: String,
    },
}
