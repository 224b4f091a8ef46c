use std::path::PathBuf;

use esplice_chip::FlashOffset;
use esplice_flash::FlashRange;
use esplice_image::{DeviceFacts, PartitionTable, PlanError};
use serde_json::json;

use super::{FlashArgs, TABLE_NAME, flash_image, place, range_in};
use crate::{
    device::at_board::{FlashAccess, work},
    files::{
        of_file,
        output_place::OutputPlace,
        outputs::{Outputs, Staged},
    },
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the partition, or partition-table for the table itself
    #[arg(value_name = "NAME")]
    name: String,
    /// Where to write its content; a table is written as CSV if the name ends with .csv
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    flash: FlashArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    // Checks that the output can be written before minutes of reading.
    drop(Staged::write(&OutputPlace::find(&args.file)?, &[])?);
    let (offset, bytes) = match &args.flash.image {
        Some(path) => {
            let (flash, facts) = flash_image(path, &place(&args.flash.board)?)?;
            let range = match table_range(&facts, &args.name) {
                Some(range) => {
                    let range = range.map_err(|error| of_file(path, error.into()))?;
                    let start = range.offset.0 as usize;
                    start..(start + range.len as usize).min(flash.len())
                }
                None => range_in(path, &flash, &facts, &args.name)?,
            };
            let bytes = flash.get(range.clone()).unwrap_or_default().to_vec();
            (FlashOffset(u32::try_from(range.start).unwrap_or(u32::MAX)), bytes)
        }
        None => work(
            &args.flash.board,
            FlashAccess::Reads,
            shell,
            interrupt,
            |session, info, options| {
                let facts = session.device_facts(info, &options.table_hint())?;
                let range = match table_range(&facts, &args.name) {
                    Some(range) => range?,
                    None => FlashRange::partition(&facts, &args.name)?,
                };
                range.check(info)?;
                Ok((range.offset, session.read_range(info, options, &range)?))
            },
        )?,
    };
    let is_csv = args.file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let bytes = if args.name == TABLE_NAME && is_csv {
        let table = PartitionTable::from_bytes(&bytes).and_then(|table| table.to_csv());
        table.map_err(PlanError::from)?.into_bytes()
    } else {
        bytes
    };
    let mut outputs = Outputs::default();
    outputs.add(&args.file, &bytes)?;
    outputs.commit(shell)?;
    let (shown, len, name) = (args.file.display(), bytes.len(), &args.name);
    let text = format!("{shown}: {len} bytes of {name} at {offset}\n");
    let value = json!({ "output": args.file, "name": name, "offset": offset.0, "len": len });
    shell.result("partition-read", &text, value);
    Ok(())
}

/// Returns the range of the table itself, if `name` selects it.
fn table_range(facts: &DeviceFacts, name: &str) -> Option<Result<FlashRange, PlanError>> {
    if name != TABLE_NAME {
        return None;
    }
    match facts.device_table() {
        Ok((_, table)) if table.find(name).is_some() => None,
        Ok((offset, _)) => {
            let len = PartitionTable::LEN as u32;
            Some(Ok(FlashRange { name: name.to_owned(), offset, len }))
        }
        Err(error) => Some(Err(error)),
    }
}
