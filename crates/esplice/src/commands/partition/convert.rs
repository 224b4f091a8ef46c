use std::path::{Path, PathBuf};

use serde_json::json;

use super::{place, table_json};
use crate::{
    cli::args::BoardArgs,
    files::{
        of_file,
        outputs::{Outputs, same_file},
    },
    firmware::table_file::{Form, TableFile},
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Table as CSV or binary, or a flash image
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write the converted table [default: standard output, for CSV]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Output format: csv or binary [default: by the output's extension, else the one FILE is not]
    #[arg(long = "to", value_name = "FORMAT", hide_possible_values = true)]
    to: Option<Kind>,
    /// Omit the MD5 row, for bootloaders built without it
    #[arg(long)]
    no_md5: bool,
    #[command(flatten)]
    board: BoardArgs,
}

/// Format of a converted table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum Kind {
    /// Rows of text.
    Csv,
    /// The binary form, as stored in flash.
    #[value(alias = "bin")]
    Binary,
}

impl Kind {
    /// Returns the format for a file of that name.
    fn of_output(output: &Path) -> Option<Kind> {
        let end = output.extension()?.to_str()?.to_ascii_lowercase();
        match end.as_str() {
            "csv" => Some(Kind::Csv),
            "bin" => Some(Kind::Binary),
            _ => None,
        }
    }
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let path = args.file.as_path();
    if args.output.as_deref().is_some_and(|output| same_file(path, output)) {
        return Err(Failure::usage(format!("{} is the input and the output", path.display()))
            .hint("give --output another name"));
    }
    let file = TableFile::read(path, &place(&args.board)?)?;
    let by_name = args.output.as_deref().and_then(Kind::of_output);
    let kind = args.to.or(by_name).unwrap_or(match file.form {
        Form::Csv => Kind::Binary,
        _ => Kind::Csv,
    });
    // A binary table that ESP-IDF's generator would refuse is not written. Converting a defective
    // table to CSV is allowed, so that it can be inspected.
    if kind == Kind::Binary {
        file.table.check(file.offset, None).map_err(|error| {
            let hint = error.hint();
            let message = format!("{}: {error}", path.display());
            Failure { hint, ..Failure::new(Exit::PlanRefused, message) }
        })?;
    }
    let made = match kind {
        Kind::Csv => file.table.to_csv().map(String::into_bytes),
        Kind::Binary if args.no_md5 => file.table.to_bytes_without_md5(),
        Kind::Binary => file.table.to_bytes(),
    };
    let bytes =
        made.map_err(|error| of_file(path, esplice_image::PlanError::from(error).into()))?;
    let value = json!({
        "output": args.output,
        "format": match kind { Kind::Csv => "csv", Kind::Binary => "binary" },
        "len": bytes.len(),
        "partitions": table_json(&file.table),
    });
    match &args.output {
        Some(output) => {
            let mut outputs = Outputs::default();
            outputs.add(output, &bytes)?;
            outputs.commit(shell)?;
            let count = file.table.partitions.len();
            let text = format!("{}: {count} partitions\n", output.display());
            shell.result("partition-convert", &text, value);
            Ok(())
        }
        None => match String::from_utf8(bytes) {
            Ok(text) if kind == Kind::Csv => {
                shell.result("partition-convert", &text, value);
                Ok(())
            }
            _ => Err(Failure::usage("a binary table is not written to standard output")
                .hint("give --output FILE")),
        },
    }
}
