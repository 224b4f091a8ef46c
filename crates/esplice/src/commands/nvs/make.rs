use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use esplice_nvs::{Csv, Key, MakeError, MakeFault, MakeOptions, PAGE_LEN, Record, Version, make};
use serde_json::json;

use super::KeyArgs;
use crate::{
    cli::value,
    files::{
        output_place::cannot_write,
        outputs::{Outputs, same_file},
        read,
    },
    firmware::table_file::{Place, TableFile},
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rows of key, type, encoding and value; several files are read in order
    #[arg(value_name = "CSV", required = true)]
    files: Vec<PathBuf>,
    /// Where to write the partition
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Size of the partition, such as 0x6000 or 24K
    #[arg(long, value_name = "SIZE", value_parser = value::bytes, required_unless_present = "partition_table", conflicts_with = "partition_table")]
    size: Option<u32>,
    /// Take the size from this partition table, CSV or binary
    #[arg(long, value_name = "FILE")]
    partition_table: Option<PathBuf>,
    /// Name of the partition in that table
    #[arg(long, value_name = "NAME", default_value = "nvs", requires = "partition_table")]
    partition: String,
    /// Version of the format: 2, or 1 for ESP-IDF before 3.2
    #[arg(long, value_name = "VERSION", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    nvs_version: u8,
    #[command(flatten)]
    key: KeyArgs,
    /// Encrypt with new random keys, and write them to this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "hmac_key"])]
    new_key: Option<PathBuf>,
}

/// Size of the largest CSV that is read, in bytes.
const LARGEST_CSV: u64 = 64 << 20;

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    check_names(args)?;
    let size = size(args)?;
    let mut csv = Csv::default();
    for path in &args.files {
        add(&mut csv, path)?;
    }
    let mut options = MakeOptions::new(size);
    options.version = if args.nvs_version == 1 { Version::V1 } else { Version::V2 };
    options.key = match &args.new_key {
        Some(_) => Some(new_key()?),
        None => args.key.read()?,
    };
    let bytes = make(&csv, &options).map_err(|error| placed(&args.files, &csv, error))?;
    if options.is_read_only() {
        shell.warning(&format!(
            "firmware can only read a partition of 0x{size:x} bytes: mark it readonly in the \
             partition table, or use 0x3000 or more"
        ));
    }
    let added = csv.lines().iter().filter(|line| line.added);
    let added: Vec<&str> = added.map(|line| name(&line.record)).collect();
    if !added.is_empty() {
        let added = added.join(", ");
        shell.status(&format!("Added {added} to the settings of Wi-Fi, as ESP-IDF does"));
    }
    let mut outputs = Outputs::default();
    outputs.add(&args.output, &bytes)?;
    if let (Some(path), Some(key)) = (&args.new_key, &options.key) {
        write_key(path, key)?;
        shell.status(&format!("The keys are in {}", path.display()));
    }
    outputs.commit(shell)?;
    let keys = csv.lines().iter().filter(|line| matches!(line.record, Record::Pair { .. })).count();
    let used = bytes.chunks(PAGE_LEN).filter(|page| page.iter().any(|byte| *byte != 0xff)).count();
    let shown = args.output.display();
    let text = format!(
        "{shown}: {keys} keys in {used} of {} pages{}\n",
        bytes.len() / PAGE_LEN,
        if options.key.is_some() { ", encrypted" } else { "" },
    );
    let value = json!({
        "output": args.output,
        "len": bytes.len(),
        "keys": keys,
        "pages": used,
        "version": args.nvs_version,
        "encrypted": options.key.is_some(),
        "added": added,
    });
    shell.result("nvs-make", &text, value);
    Ok(())
}

/// Refuses an output that is also an input, and keys in the place of the partition.
fn check_names(args: &Args) -> Result<(), Failure> {
    if args.files.iter().any(|file| same_file(file, &args.output)) {
        let message = format!("{} is the input and the output", args.output.display());
        return Err(Failure::usage(message).hint("give --output another name"));
    }
    let Some(path) = &args.new_key else { return Ok(()) };
    if *path == args.output {
        let message = format!("{} can't hold the partition and its keys", path.display());
        return Err(Failure::usage(message).hint("give --new-key another name"));
    }
    Ok(())
}

fn size(args: &Args) -> Result<u32, Failure> {
    let Some(path) = &args.partition_table else { return Ok(args.size.unwrap_or(0)) };
    let table = TableFile::read_own(path, &Place::default())?;
    match table.find(&args.partition) {
        Some(partition) => Ok(partition.len),
        None => {
            let names: Vec<&str> = table.partitions.iter().map(|row| row.name.as_str()).collect();
            let (shown, name) = (path.display(), &args.partition);
            Err(Failure::input(format!("{shown} has no partition {name:?}"))
                .hint(format!("--partition selects one of {}", names.join(", "))))
        }
    }
}

/// Reads a CSV and the files that it names.
fn add(csv: &mut Csv, path: &Path) -> Result<(), Failure> {
    let bytes = read::read_up_to(path, LARGEST_CSV).map_err(|e| read::cannot_read(path, &e))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Failure::input(format!("{}:{line}: the line is not UTF-8", path.display()))
    })?;
    let mut file = |name: &str| {
        let bytes = read::read_up_to(Path::new(name), LARGEST_CSV);
        bytes.map_err(|error| error.to_string())
    };
    csv.add(&text, &mut file).map_err(|error| Failure {
        hint: error.hint(),
        ..Failure::input(format!("{}:{error}", path.display()))
    })
}

/// Adds the place in the CSV to an error.
fn placed(files: &[PathBuf], csv: &Csv, error: MakeError) -> Failure {
    let place = |record: usize| {
        let line = csv.lines().get(record)?;
        let file = files.get(line.source)?;
        Some(format!("{}:{}:{}", file.display(), line.line, line.column))
    };
    let exit = match error.fault {
        MakeFault::BadSize { .. } => Exit::Usage,
        MakeFault::Full { .. } => Exit::PlanRefused,
        _ => Exit::BadInput,
    };
    let mut hint = error.fault.hint();
    if let MakeFault::Duplicate { first, .. } = &error.fault {
        let is_added = |record: usize| csv.lines().get(record).is_some_and(|line| line.added);
        hint = if is_added(*first) || error.record.is_some_and(is_added) {
            Some(
                "ESP-IDF's generator adds this key to the settings of Wi-Fi: remove its row".into(),
            )
        } else {
            place(*first).map(|place| format!("it is set first at {place}"))
        };
    }
    let message = match error.record.and_then(place) {
        Some(place) => format!("{place}: {}", error.fault),
        None => error.fault.to_string(),
    };
    Failure { hint, ..Failure::new(exit, message) }
}

fn name(record: &Record) -> &str {
    match record {
        Record::Pair { key, .. } => key,
        Record::Namespace { name } => name,
        _ => "",
    }
}

fn new_key() -> Result<Key, Failure> {
    let mut bytes = [0; 64];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Internal, format!("the system has no random numbers: {error}"))
    })?;
    Ok(Key::new(bytes))
}

/// Writes keys to a new file that only its owner can read.
fn write_key(path: &Path, key: &Key) -> Result<(), Failure> {
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(&key.to_partition()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{} exists already, and keys are not replaced", path.display()))
                .hint("use it with --key, or give --new-key another name")
        }
        _ => cannot_write(path, &error),
    })
}
