use std::path::PathBuf;

use esplice_image::{CsvColumn, CsvOptions, PartitionTable};
use serde_json::json;

use super::{place, table_json};
use crate::{
    cli::args::BoardArgs,
    files::{outputs::Outputs, read},
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the partition
    #[arg(value_name = "NAME")]
    name: String,
    /// Values to set: name, type, subtype, offset, size or flags, such as size=1536K
    #[arg(value_name = "COLUMN=VALUE", required = true)]
    values: Vec<String>,
    /// The table, as CSV, which is changed in place
    #[arg(long, value_name = "FILE", default_value = "partitions.csv")]
    file: PathBuf,
    #[command(flatten)]
    board: BoardArgs,
}

/// Size of the largest table that is read, in bytes.
const LARGEST: u64 = 1 << 20;

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let values = args.values.iter().map(|text| value(text)).collect::<Result<Vec<_>, _>>()?;
    let path = args.file.as_path();
    let shown = path.display();
    let bytes = read::read_up_to(path, LARGEST).map_err(|error| read::cannot_read(path, &error))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::input(format!("{shown} is not a table in CSV"))
            .hint("`esplice partition convert` makes CSV of a binary table")
    })?;
    let place = place(&args.board)?;
    let offset = place.offset_or_usual();
    let boot_offset = place.chip.as_ref().map(|chip| chip.image.boot_offset);
    let options = CsvOptions::new(offset).boot_offset(boot_offset);
    let edited = PartitionTable::edit_csv(&text, &args.name, &values, &options);
    let (edited, table) = edited.map_err(|error| Failure {
        hint: error.hint(),
        ..Failure::input(format!("{shown}:{error}"))
    })?;
    table.check(offset, None).map_err(|error| {
        let hint = error.hint();
        Failure { hint, ..Failure::new(Exit::PlanRefused, format!("{shown}: {error}")) }
    })?;
    let mut outputs = Outputs::default();
    outputs.add(path, edited.as_bytes())?;
    outputs.commit(shell)?;
    let value = json!({ "file": path, "partitions": table_json(&table) });
    shell.result("partition-set", &format!("{shown}: {}\n", args.values.join(", ")), value);
    Ok(())
}

/// Parses `COLUMN=VALUE`.
fn value(text: &str) -> Result<(CsvColumn, String), Failure> {
    let names = CsvColumn::ALL.map(CsvColumn::name);
    let known = || format!("the columns are {}", names.join(", "));
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Failure::usage(format!("{text:?} is not COLUMN=VALUE, such as size=1536K")).hint(known())
    })?;
    let column = CsvColumn::ALL.into_iter().find(|column| column.name() == name);
    let column = column.ok_or_else(|| {
        let hint = match esplice_chip::nearest(name, &names) {
            Some(nearest) => format!("did you mean {nearest:?}?"),
            None => known(),
        };
        Failure::usage(format!("a partition table has no column {name:?}")).hint(hint)
    })?;
    Ok((column, value.to_owned()))
}
