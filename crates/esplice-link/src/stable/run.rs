//! Links until every section has settled.

use super::{Link, Outcome, Replacement, Retry, StableError};

/// A linker that [`Link::run`] drives. Starting processes and writing files is its side.
pub trait Linker {
    /// Why it cannot be driven: a file that cannot be written, a program that cannot be started.
    type Error;

    /// Takes the files to link instead of the inputs, from the next attempt on. Each must have the
    /// name of its input, in a directory of its own.
    ///
    /// # Errors
    /// Where a file cannot be written.
    fn replace(&mut self, files: Vec<Replacement>) -> Result<(), Self::Error>;

    /// Links with `script` as the linker script.
    ///
    /// # Errors
    /// Where the linker cannot be started, or its map cannot be read.
    fn link(&mut self, script: &str) -> Result<Attempt, Self::Error>;

    /// Returns the number of the input that the file called `path` in the map is linked instead of.
    fn input_of(&self, path: &str) -> Option<usize>;
}

/// The result of one attempt of a [`Linker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The link succeeded.
    Linked {
        /// The text of the map file.
        map: String,
    },
    /// The link failed.
    Refused {
        /// The linker's output on standard error.
        message: String,
    },
}

/// A layout-stable link that came to an end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Finished {
    /// Where everything went, and the record for the next link.
    pub outcome: Outcome,
    /// The map file of the last attempt.
    pub map: String,
    /// Attempts that it took, 1 at least.
    pub attempts: u32,
}

/// Why [`Link::run`] did not come to an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The linker could not be driven.
    #[error("{0}")]
    Linker(E),
    /// The linker refused, and no other layout would help.
    #[error("{message}")]
    Refused {
        /// The linker's output on standard error.
        message: String,
    },
    /// The files or the map are beyond what is understood.
    #[error(transparent)]
    Stable(#[from] StableError),
}

impl Link {
    /// Links with `linker` until every section has settled.
    ///
    /// # Errors
    /// [`RunError`]; a normal link is possible then.
    pub fn run<L: Linker>(&mut self, linker: &mut L) -> Result<Finished, RunError<L::Error>> {
        linker.replace(self.replacements()?).map_err(RunError::Linker)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match linker.link(&self.script()).map_err(RunError::Linker)? {
                Attempt::Linked { map } => {
                    let input_of = |path: &str| linker.input_of(path);
                    if let Some(outcome) = self.linked(&map, &input_of)? {
                        tracing::debug!(attempts, basis = ?self.basis(), "every section has settled");
                        return Ok(Finished { outcome, map, attempts });
                    }
                }
                Attempt::Refused { message } => match self.failed(&message) {
                    Retry::Again => continue,
                    Retry::Files => {}
                    Retry::GiveUp => return Err(RunError::Refused { message }),
                },
            }
            tracing::debug!(attempts, "linking again with other files");
            linker.replace(self.replacements()?).map_err(RunError::Linker)?;
        }
    }
}
