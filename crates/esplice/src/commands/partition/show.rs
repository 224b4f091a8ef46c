use std::path::PathBuf;

use esplice_chip::FlashOffset;
use esplice_image::{Partition, PartitionTable};
use serde_json::json;

use super::{place, table_json};
use crate::{
    cli::args::BoardArgs,
    device::at_board::{FlashAccess, work},
    firmware::table_file::{Form, TableFile},
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Table as CSV or binary, or a flash image; without it, a board's table is shown
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    board: BoardArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let Some(path) = &args.file else { return of_board(args, shell, interrupt) };
    let file = TableFile::read(path, &place(&args.board)?)?;
    show(&file.table, Some(file.offset), None, shell);
    // The length of a flash image is that of its flash only if the image is complete.
    let known = matches!(file.form, Form::Flash(_)).then_some(file.offset);
    for fault in file.table.faults(known.unwrap_or(file.offset), None) {
        shell.warning(&fault.to_string());
    }
    Ok(())
}

fn of_board(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let facts =
        work(&args.board, FlashAccess::Reads, shell, interrupt, |session, info, options| {
            session.device_facts(info, &options.table_hint())
        })?;
    match facts.device_table() {
        Ok((offset, table)) => {
            show(table, Some(offset), facts.flash_size, shell);
            for fault in table.faults(offset, facts.flash_size) {
                shell.warning(&fault.to_string());
            }
            Ok(())
        }
        Err(error) => {
            // Showing what was found helps to see what is wrong with it.
            for found in &facts.tables.found {
                if let Ok(table) = &found.table {
                    show(table, Some(found.offset), facts.flash_size, shell);
                }
            }
            Err(error.into())
        }
    }
}

fn show(
    table: &PartitionTable,
    offset: Option<FlashOffset>,
    flash_size: Option<u32>,
    shell: &mut Shell,
) {
    let value = json!({
        "offset": offset.map(|offset| offset.0),
        "flash_size": flash_size,
        "partitions": table_json(table),
    });
    shell.result("partition-show", &text(table, offset, flash_size), value);
}

/// Formats the table in columns, including ranges that no partition covers.
fn text(table: &PartitionTable, offset: Option<FlashOffset>, flash_size: Option<u32>) -> String {
    let mut sorted: Vec<&Partition> = table.partitions.iter().collect();
    sorted.sort_by_key(|partition| partition.offset);
    let mut rows =
        vec![["name", "type", "subtype", "offset", "end", "size", "flags"].map(String::from)];
    let mut next =
        offset.map_or(0, |offset| u64::from(offset.0)) + u64::from(PartitionTable::SECTOR_LEN);
    let free = |from: u64, to: u64| {
        let (from_text, to_text) = (format!("0x{from:x}"), format!("0x{to:x}"));
        let (name, none) = ("(free)".to_owned(), String::new);
        [name, none(), none(), from_text, to_text, size_text(to - from), none()]
    };
    for partition in sorted {
        let start = u64::from(partition.offset.0);
        if start > next {
            rows.push(free(next, start));
        }
        next = next.max(partition.end());
        rows.push([
            partition.name.clone(),
            partition.kind_name(),
            partition.subtype_name(),
            partition.offset.to_string(),
            format!("0x{:x}", partition.end()),
            size_text(partition.len.into()),
            partition.flag_names().join(":"),
        ]);
    }
    if let Some(size) = flash_size.map(u64::from).filter(|size| *size > next) {
        rows.push(free(next, size));
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..7).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = match offset {
        Some(offset) => format!("partition table at {offset}\n"),
        None => String::new(),
    };
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Numbers are right-aligned.
            let cell = match column {
                3..=5 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            };
            line.push_str(&cell);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Formats a length for people, in MiB or KiB if it is a whole number of them.
fn size_text(len: u64) -> String {
    match len {
        0 => "0".into(),
        _ if len.is_multiple_of(1 << 20) => format!("{}M", len >> 20),
        _ if len.is_multiple_of(1 << 10) => format!("{}K", len >> 10),
        _ => format!("0x{len:x}"),
    }
}
