//! Commands for updates over the air: keys, signatures and patches.

mod apply;
mod authorize;
mod date;
mod diff;
mod keygen;
mod keys;
mod sign;
mod verify;

use clap::Subcommand;

use crate::ui::{exit::Failure, shell::Shell};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key pair for signing
    Keygen(keygen::Args),
    /// Permit signing keys, with the root key
    Authorize(authorize::Args),
    /// Sign an image, and make its release
    Sign(Box<sign::Args>),
    /// Check the signature of an image, or a release as a device does
    Verify(Box<verify::Args>),
    /// Make a patch between two images
    Diff(diff::Args),
    /// Apply a patch to an image
    Apply(apply::Args),
}

pub fn run(command: &Command, shell: &mut Shell) -> Result<(), Failure> {
    match command {
        Command::Keygen(args) => keygen::run(args, shell),
        Command::Authorize(args) => authorize::run(args, shell),
        Command::Sign(args) => sign::run(args, shell),
        Command::Verify(args) => verify::run(args, shell),
        Command::Diff(args) => diff::run(args, shell),
        Command::Apply(args) => apply::run(args, shell),
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(bytes).into()
}
