//! Files that commands read and write.

pub mod elf_file;
pub mod missing;
pub mod output_place;
pub mod outputs;
pub mod read;

use std::path::Path;

use crate::ui::exit::{Exit, Failure};

/// Adds the file's name to a failure that the file caused.
pub fn of_file(path: &Path, failure: Failure) -> Failure {
    match failure.exit {
        Exit::BadInput | Exit::PlanRefused | Exit::WrongChip => {
            Failure { message: format!("{}: {}", path.display(), failure.message), ..failure }
        }
        _ => failure,
    }
}
