//! Commands for NVS partitions, the key-value storage of ESP-IDF.

pub mod make;
pub mod show;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use esplice_nvs::{Key, KeyError};

use crate::{
    files::read,
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an NVS partition from CSV files
    Make(make::Args),
    /// Show the keys and values of an NVS partition, from a file or a board
    Show(show::Args),
}

pub fn run(command: &Command, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    match command {
        Command::Make(args) => make::run(args, shell),
        Command::Show(args) => show::run(args, shell, interrupt),
    }
}

/// The key of an encrypted partition.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(multiple = false)]
pub struct KeyArgs {
    /// File with the keys of the encryption: 64 bytes, or the content of a partition nvs_keys
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// File with the 32 bytes of the chip's HMAC key, from which the keys are derived
    #[arg(long, value_name = "FILE")]
    hmac_key: Option<PathBuf>,
}

impl KeyArgs {
    fn read(&self) -> Result<Option<Key>, Failure> {
        let parse: fn(&[u8]) -> Result<Key, KeyError>;
        let path: &Path;
        match (&self.key, &self.hmac_key) {
            (Some(key), _) => (path, parse) = (key, Key::from_bytes),
            (None, Some(key)) => (path, parse) = (key, Key::from_hmac_key),
            (None, None) => return Ok(None),
        }
        parse(&read::read_for_flash(path)?).map(Some).map_err(|error| Failure {
            hint: error.hint(),
            ..Failure::input(format!("{}: {error}", path.display()))
        })
    }
}
