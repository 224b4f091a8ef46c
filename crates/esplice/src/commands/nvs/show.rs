use std::{fmt::Write as _, path::PathBuf};

use esplice_flash::FlashRange;
use esplice_nvs::{Dump, Item, Value, read, to_csv};
use serde_json::json;

use super::KeyArgs;
use crate::{
    commands::partition::{FlashArgs, flash_image, place, range_in},
    device::at_board::{FlashAccess, work},
    files::read::read_for_flash,
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Content of the partition; without it, that of a board is read
    #[arg(value_name = "FILE", conflicts_with = "image")]
    file: Option<PathBuf>,
    /// Name of the partition on the board or in the flash image
    #[arg(long, value_name = "NAME", default_value = "nvs")]
    partition: String,
    /// Print it as CSV, which `nvs make` reads
    #[arg(long)]
    csv: bool,
    /// List the pages, too
    #[arg(long)]
    pages: bool,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    flash: FlashArgs,
}

/// Bytes of a blob that are shown in a row.
const SHOWN: usize = 16;

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let key = args.key.read()?;
    let (name, bytes) = content(args, shell, interrupt)?;
    let dump = read(&bytes, key.as_ref());
    let mut text = String::new();
    if args.csv {
        let csv = to_csv(&dump);
        text = csv.text;
        for left_out in csv.left_out {
            shell.warning(&format!(
                "{left_out} is left out: it is damaged, or CSV can't express it"
            ));
        }
    } else {
        if args.pages {
            text.push_str(&pages(&dump));
        }
        text.push_str(&items(&dump));
    }
    shell.result("nvs-show", &text, value(&dump));
    if dump.pages.is_empty() {
        return Err(Failure::input(format!("{name} is empty")));
    }
    if dump.seems_encrypted() {
        let message = format!("{name}: most entries have wrong checksums");
        let hint = match key {
            None => "if the partition is encrypted, pass its keys with --key or --hmac-key",
            Some(_) => "is it the right key, and is the partition encrypted at all?",
        };
        return Err(Failure::new(Exit::BadInput, message).hint(hint));
    }
    for defect in &dump.defects {
        shell.warning(&defect.to_string());
    }
    match dump.defects.len() {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::BadInput, format!("{name} has a defect"))),
        count => Err(Failure::new(Exit::BadInput, format!("{name} has {count} defects"))),
    }
}

/// Reads the partition, and returns its name for messages.
fn content(
    args: &Args,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<(String, Vec<u8>), Failure> {
    if let Some(path) = &args.file {
        return Ok((path.display().to_string(), read_for_flash(path)?));
    }
    let partition = args.partition.as_str();
    let name = format!("partition {partition}");
    if let Some(path) = &args.flash.image {
        let (flash, facts) = flash_image(path, &place(&args.flash.board)?)?;
        let range = range_in(path, &flash, &facts, partition)?;
        return Ok((name, flash.get(range).unwrap_or_default().to_vec()));
    }
    let access = FlashAccess::Reads;
    let bytes = work(&args.flash.board, access, shell, interrupt, |session, info, options| {
        let facts = session.device_facts(info, &options.table_hint())?;
        let range = FlashRange::partition(&facts, partition)?;
        range.check(info)?;
        session.read_range(info, options, &range)
    })?;
    Ok((name, bytes))
}

fn pages(dump: &Dump) -> String {
    let mut text = String::from("offset   state    sequence  version  written  erased  free\n");
    for page in &dump.pages {
        let number = |number: Option<u32>| number.map_or("-".into(), |number| number.to_string());
        let _ = writeln!(
            text,
            "0x{:<5x}  {:<7}  {:>8}  {:>7}  {:>7}  {:>6}  {:>4}",
            page.offset,
            page.state.name(),
            number(page.sequence),
            number(page.version.map(|version| version.number().into())),
            page.written,
            page.erased,
            page.empty,
        );
    }
    text.push('\n');
    text
}

fn items(dump: &Dump) -> String {
    let cells = |item: &Item| {
        let damaged = if item.damaged { " (damaged)" } else { "" };
        [
            item.namespace.clone(),
            item.key.clone(),
            item.value.type_name().to_owned(),
            shown(&item.value) + damaged,
        ]
    };
    let mut rows = vec![["namespace", "key", "type", "value"].map(str::to_owned)];
    rows.extend(dump.items.iter().map(cells));
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [namespace, key, kind, value] in &rows {
        let [first, second, third] = widths;
        let _ = writeln!(text, "{namespace:<first$}  {key:<second$}  {kind:<third$}  {value}");
    }
    text
}

/// Returns a value for a row: text in quotes, and the first bytes of a blob.
fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Blob(bytes) => {
            let first = hex::encode(&bytes[..bytes.len().min(SHOWN)]);
            let more = if bytes.len() > SHOWN { "…" } else { "" };
            let count =
                if bytes.len() == 1 { "1 byte".into() } else { format!("{} bytes", bytes.len()) };
            if bytes.is_empty() { count } else { format!("{count}: {first}{more}") }
        }
        number => number.to_string(),
    }
}

fn value(dump: &Dump) -> serde_json::Value {
    let pages = dump.pages.iter().map(|page| {
        json!({
            "offset": page.offset,
            "state": page.state.name(),
            "sequence": page.sequence,
            "version": page.version.map(|version| version.number()),
            "written": page.written,
            "erased": page.erased,
            "free": page.empty,
        })
    });
    let items = dump.items.iter().map(|item| {
        let value = match &item.value {
            Value::U8(value) => json!(value),
            Value::I8(value) => json!(value),
            Value::U16(value) => json!(value),
            Value::I16(value) => json!(value),
            Value::U32(value) => json!(value),
            Value::I32(value) => json!(value),
            Value::U64(value) => json!(value),
            Value::I64(value) => json!(value),
            other => json!(other.to_string()),
        };
        json!({
            "namespace": item.namespace,
            "key": item.key,
            "type": item.value.type_name(),
            "value": value,
            "offset": item.offset,
            "damaged": item.damaged,
        })
    });
    json!({
        "namespaces": dump.namespaces,
        "items": items.collect::<Vec<_>>(),
        "pages": pages.collect::<Vec<_>>(),
        "defects": dump.defects.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
