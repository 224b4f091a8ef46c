use std::path::{Path, PathBuf};

use esplice_flash::FlashRange;
use esplice_image::{PlannedWrite, Uf2Options, to_intel_hex, to_uf2};
use serde_json::json;

use crate::{
    cli::args::BoardArgs,
    commands::image::merge::Kind,
    device::at_board::{FlashAccess, work},
    files::{
        output_place::OutputPlace,
        outputs::{Outputs, Staged},
    },
    firmware::places::RangeArgs,
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Offset, number of bytes and file; without OFFSET and LEN, the whole flash
    #[arg(value_name = "[OFFSET LEN] FILE", required = true, num_args = 1..=3)]
    words: Vec<PathBuf>,
    /// Read this partition of the board's partition table
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// Output format: raw, hex or uf2 [default: by the file's extension, else raw]
    #[arg(long = "as", value_name = "FORMAT", hide_possible_values = true)]
    kind: Option<Kind>,
    #[command(flatten)]
    board: BoardArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let (words, file) = match args.words.as_slice() {
        [file] => (Vec::new(), file),
        [offset, len, file] => (vec![text(offset)?, text(len)?], file),
        _ => {
            return Err(Failure::usage("an offset needs a length and a file")
                .hint("write OFFSET LEN FILE, or only FILE for the whole flash"));
        }
    };
    let range = RangeArgs { words, partition: args.partition.clone(), all: false }.range()?;
    let kind = args.kind.unwrap_or_else(|| Kind::of_output(file));
    // Checks that the output can be written before minutes of reading.
    let place = OutputPlace::find(file)?;
    drop(Staged::write(&place, &[])?);
    let (found, data, family) =
        work(&args.board, FlashAccess::Reads, shell, interrupt, |session, info, options| {
            let range = range.find(session, info, options)?;
            let data = session.read_range(info, options, &range)?;
            Ok((range, data, info.chip.image.uf2_family))
        })?;
    write(&place, kind, &found, data, family, shell)
}

fn text(word: &Path) -> Result<String, Failure> {
    let text = word.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::usage(format!("{} is not a number", word.display())))
}

fn write(
    place: &OutputPlace,
    kind: Kind,
    range: &FlashRange,
    data: Vec<u8>,
    family: u32,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let len = data.len();
    let bytes = match kind {
        Kind::Raw => data,
        Kind::Hex => to_intel_hex(&[PlannedWrite::unnamed(range.offset, &data)])?.into_bytes(),
        Kind::Uf2 => {
            let options = Uf2Options { family, chunk: None, md5: true };
            to_uf2(&[PlannedWrite::unnamed(range.offset, &data)], &options)?
        }
    };
    let mut outputs = Outputs::default();
    outputs.add_at(place, &bytes)?;
    outputs.commit(shell)?;
    let file = place.named();
    let (shown, offset) = (file.display(), range.offset);
    let text = format!("{shown}: {len} bytes from {offset}, {}\n", kind.name());
    let value = json!({ "output": file, "offset": offset.0, "len": len, "format": kind.word() });
    shell.result("read", &text, value);
    Ok(())
}
