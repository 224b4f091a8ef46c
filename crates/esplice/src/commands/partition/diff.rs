use std::{fmt::Write as _, path::PathBuf};

use esplice_image::{Partition, PartitionTable};
use serde_json::{Value, json};

use super::place;
use crate::{
    cli::args::BoardArgs,
    firmware::table_file::TableFile,
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Old table: CSV, binary, or a flash image
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// New table
    #[arg(value_name = "NEW")]
    new: PathBuf,
    #[command(flatten)]
    board: BoardArgs,
}

/// A partition that differs.
struct Change<'t> {
    old: Option<&'t Partition>,
    new: Option<&'t Partition>,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let place = place(&args.board)?;
    let old = TableFile::read(&args.old, &place)?;
    let new = TableFile::read(&args.new, &place)?;
    let changes = changes(&old.table, &new.table);
    let mut text = String::new();
    if old.offset != new.offset {
        let _ = writeln!(text, "the table moves from {} to {}", old.offset, new.offset);
    }
    changes.iter().for_each(|change| text.push_str(&line(change)));
    if text.is_empty() {
        text.push_str("the tables are the same\n");
    }
    let value = json!({
        "old_offset": old.offset.0,
        "new_offset": new.offset.0,
        "changes": changes.iter().map(|change| json!({
            "old": change.old.map(row),
            "new": change.new.map(row),
        })).collect::<Vec<_>>(),
    });
    shell.result("partition-diff", &text, value);
    Ok(())
}

/// Returns the partitions that differ: those of the old table, then new ones.
fn changes<'t>(old: &'t PartitionTable, new: &'t PartitionTable) -> Vec<Change<'t>> {
    let of_old =
        old.partitions.iter().map(|row| Change { old: Some(row), new: new.find(&row.name) });
    let added = new.partitions.iter().filter(|row| old.find(&row.name).is_none());
    let added = added.map(|row| Change { old: None, new: Some(row) });
    of_old.chain(added).filter(|change| change.old != change.new).collect()
}

fn line(change: &Change<'_>) -> String {
    let place = |row: &Partition| {
        let (kind, subtype) = (row.kind_name(), row.subtype_name());
        format!("{kind} {subtype}, 0x{:x} bytes at {}", row.len, row.offset)
    };
    match (change.old, change.new) {
        (Some(old), Some(new)) => {
            let mut parts = Vec::new();
            let mut part = |what: &str, old: String, new: String| {
                if old != new {
                    parts.push(format!("{what} {old} → {new}"));
                }
            };
            let kind = |row: &Partition| format!("{} {}", row.kind_name(), row.subtype_name());
            part("type", kind(old), kind(new));
            part("offset", old.offset.to_string(), new.offset.to_string());
            part("size", format!("0x{:x}", old.len), format!("0x{:x}", new.len));
            let flags = |row: &Partition| match row.flag_names().join(":") {
                flags if flags.is_empty() => "none".to_owned(),
                flags => flags,
            };
            part("flags", flags(old), flags(new));
            let moved =
                if old.offset == new.offset { "" } else { "; its content does not move along" };
            format!("~ {}: {}{moved}\n", old.name, parts.join(", "))
        }
        (Some(old), None) => format!("- {}: {}\n", old.name, place(old)),
        (None, Some(new)) => format!("+ {}: {}\n", new.name, place(new)),
        (None, None) => String::new(),
    }
}

fn row(row: &Partition) -> Value {
    json!({
        "name": row.name,
        "type": row.kind_name(),
        "subtype": row.subtype_name(),
        "offset": row.offset.0,
        "len": row.len,
        "flags": row.flag_names(),
    })
}
