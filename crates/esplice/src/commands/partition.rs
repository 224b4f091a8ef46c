//! Commands for partition tables, in files and on boards, and for the contents of partitions.

pub mod check;
pub mod convert;
pub mod diff;
pub mod erase;
pub mod read;
pub mod set;
pub mod show;
pub mod write;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use esplice_image::{DeviceFacts, PartitionTable};
use serde_json::{Value, json};

use crate::{
    cli::args::BoardArgs,
    files::of_file,
    firmware::{
        flash_file::FlashFile,
        table_file::{Place, facts_of},
    },
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

/// Name for reading and writing the table itself, unless a partition has this name.
pub const TABLE_NAME: &str = "partition-table";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the partitions of a table, from a file or a board
    Show(show::Args),
    /// Convert a table from CSV to binary, or from binary to CSV
    Convert(convert::Args),
    /// Check a table, from a file or a board, as ESP-IDF's bootloader does
    Check(check::Args),
    /// List what changes from one table to another
    Diff(diff::Args),
    /// Change a table in a CSV file, and keep its comments
    Set(set::Args),
    /// Read a partition into a file
    Read(read::Args),
    /// Write a file to a partition
    Write(write::Args),
    /// Erase partitions
    Erase(erase::Args),
}

pub fn run(command: &Command, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    match command {
        Command::Show(args) => show::run(args, shell, interrupt),
        Command::Convert(args) => convert::run(args, shell),
        Command::Check(args) => check::run(args, shell, interrupt),
        Command::Diff(args) => diff::run(args, shell),
        Command::Set(args) => set::run(args, shell),
        Command::Read(args) => read::run(args, shell, interrupt),
        Command::Write(args) => write::run(args, shell, interrupt),
        Command::Erase(args) => erase::run(args, shell, interrupt),
    }
}

/// A board, or a file with its flash content.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FlashArgs {
    /// Work on this file, a flash image from offset 0, instead of on a board
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    #[command(flatten)]
    pub board: BoardArgs,
}

/// Returns the table location that these arguments select.
pub fn place(board: &BoardArgs) -> Result<Place, Failure> {
    let project = board.settle()?;
    let (chip, offset) = (project.chip().cloned(), project.image.own_table_offset());
    Ok(Place { chips: project.chips, chip, offset })
}

/// Returns the content of a flash, and its facts about the partition table.
pub fn flash_image(path: &Path, place: &Place) -> Result<(Vec<u8>, DeviceFacts), Failure> {
    let flash = match FlashFile::read(path)? {
        FlashFile::Raw(bytes) => bytes,
        FlashFile::Places { .. } => {
            let message = format!("{} is not a raw flash image", path.display());
            return Err(Failure::input(message).hint("`esplice image merge --as raw` converts it"));
        }
    };
    let facts = facts_of(&flash, place);
    Ok((flash, facts))
}

/// Returns the range of a partition within the content of a flash.
pub fn range_in(
    path: &Path,
    flash: &[u8],
    facts: &DeviceFacts,
    name: &str,
) -> Result<std::ops::Range<usize>, Failure> {
    let of = |error: esplice_image::PlanError| of_file(path, error.into());
    let (_, table) = facts.device_table().map_err(of)?;
    let partition = table.named(name, false).map_err(of)?;
    let start = partition.offset.0 as usize;
    let end = usize::try_from(partition.end()).unwrap_or(usize::MAX);
    if end > flash.len() {
        let message = format!(
            "{}: partition {name} ends at 0x{end:x}, the file at 0x{:x}",
            path.display(),
            flash.len()
        );
        return Err(Failure::input(message).hint("pass an image of the whole flash"));
    }
    Ok(start..end)
}

/// Returns a table as JSON.
pub fn table_json(table: &PartitionTable) -> Value {
    let rows = table.partitions.iter().map(|partition| {
        json!({
            "name": partition.name,
            "type": partition.kind_name(),
            "subtype": partition.subtype_name(),
            "offset": partition.offset.0,
            "len": partition.len,
            "flags": partition.flag_names(),
        })
    });
    rows.collect()
}

/// Reads a file of any format that a partition can hold.
pub fn content(path: &Path) -> Result<Vec<u8>, Failure> {
    crate::files::read::read_for_flash(path)
}
