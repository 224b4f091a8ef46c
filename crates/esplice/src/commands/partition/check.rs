use std::path::PathBuf;

use esplice_chip::FlashOffset;
use esplice_image::{PartitionTable, PlanError};
use serde_json::json;

use super::place;
use crate::{
    cli::{args::BoardArgs, value},
    device::at_board::{FlashAccess, work},
    firmware::table_file::TableFile,
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Table as CSV or binary, or a flash image; without it, a board's table is checked
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Flash size to check a file's table against, such as 4MB [default: not checked]
    #[arg(long, value_name = "SIZE", value_parser = value::offset)]
    flash_size: Option<u32>,
    #[command(flatten)]
    board: BoardArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let (shown, table, offset, flash_size) = match &args.file {
        Some(path) => {
            let shown = path.display().to_string();
            // Whatever the defect, a board with this table would not boot.
            let refused = |failure: Failure| match failure.exit {
                Exit::BadInput if path.is_file() => Failure { exit: Exit::PlanRefused, ..failure },
                _ => failure,
            };
            let file = TableFile::read(path, &place(&args.board)?).map_err(refused)?;
            (shown, file.table, file.offset, args.flash_size)
        }
        None => of_board(args, shell, interrupt)?,
    };
    let faults = table.faults(offset, flash_size);
    let (remarks, faults): (Vec<_>, Vec<_>) =
        faults.into_iter().partition(|fault| fault.is_remark());
    for remark in &remarks {
        shell.warning(&format!("{shown}: {remark}"));
    }
    let texts = |faults: &[esplice_image::TableError]| {
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let value = json!({
        "offset": offset.0,
        "partitions": table.partitions.len(),
        "faults": texts(&faults),
        "remarks": texts(&remarks),
    });
    let Some((first, more)) = faults.split_first() else {
        let count = table.partitions.len();
        shell.result("partition-check", &format!("{shown}: {count} partitions, sound\n"), value);
        return Ok(());
    };
    let listed: String = more.iter().map(|fault| format!("{shown}: {fault}\n")).collect();
    shell.result("partition-check", &listed, value);
    let hint = first.hint();
    Err(Failure { hint, ..Failure::new(Exit::PlanRefused, format!("{shown}: {first}")) })
}

type Found = (String, PartitionTable, FlashOffset, Option<u32>);

fn of_board(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<Found, Failure> {
    let facts =
        work(&args.board, FlashAccess::Reads, shell, interrupt, |session, info, options| {
            session.device_facts(info, &options.table_hint())
        })?;
    let flash_size = facts.flash_size;
    match facts.device_table() {
        Ok((offset, table)) => Ok(("the board".into(), table.clone(), offset, flash_size)),
        Err(PlanError::DeviceTable { offset, source }) => {
            let found = facts.tables.found.into_iter().find(|found| found.offset == offset);
            match found.map(|found| found.table) {
                Some(Ok(table)) => Ok(("the board".into(), table, offset, flash_size)),
                _ => Err(PlanError::DeviceTable { offset, source }.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}
