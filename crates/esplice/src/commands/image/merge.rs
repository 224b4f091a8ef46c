use std::path::{Path, PathBuf};

use esplice_chip::{FlashOffset, Target};
use esplice_image::{Uf2Options, Write, merge, to_intel_hex, to_uf2};
use serde_json::json;

use crate::{
    cli::{args::TargetArgs, value},
    config::target,
    files::outputs::Outputs,
    firmware::{
        header::{HeaderArgs, chip_of, no_chip},
        places::read_all,
    },
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pairs of flash offset and file; a HEX or UF2 file contains its own offsets
    #[arg(value_name = "OFFSET FILE", required = true)]
    words: Vec<PathBuf>,
    /// Where to write the merged file
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Output format: raw, hex or uf2 [default: by the output's extension, else raw]
    #[arg(long = "as", value_name = "FORMAT", hide_possible_values = true)]
    kind: Option<Kind>,
    #[command(flatten)]
    target: TargetArgs,
    /// Raw: flash offset that the file will be written to
    #[arg(long, short, value_name = "OFFSET", value_parser = value::offset, default_value = "0")]
    target_offset: u32,
    /// Raw: pad with 0xFF to a flash of this size, such as 4MB
    #[arg(long, value_name = "SIZE", value_parser = value::offset, alias = "fill-flash-size")]
    pad_to_size: Option<u32>,
    /// UF2: data bytes per block [default: as many as fit]
    #[arg(long, value_name = "BYTES")]
    chunk_size: Option<usize>,
    /// UF2: omit the MD5 of each block
    #[arg(long)]
    md5_disable: bool,
    #[command(flatten)]
    header: HeaderArgs,
}

/// Maximum number of parts listed in the result.
const MOST_LISTED: usize = 10_000;

/// Format of a merged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum Kind {
    /// Raw bytes of the flash.
    Raw,
    /// Intel HEX.
    Hex,
    /// UF2.
    Uf2,
}

impl Kind {
    /// Returns the format for a file of that name.
    pub fn of_output(output: &Path) -> Kind {
        let is = |name: &str| output.extension().is_some_and(|end| end.eq_ignore_ascii_case(name));
        match () {
            () if is("hex") || is("ihex") => Kind::Hex,
            () if is("uf2") => Kind::Uf2,
            () => Kind::Raw,
        }
    }

    /// Returns the name for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Raw => "raw",
            Kind::Hex => "hex",
            Kind::Uf2 => "uf2",
        }
    }

    /// Returns the name for people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Raw => "raw",
            Kind::Hex => "Intel HEX",
            Kind::Uf2 => "UF2",
        }
    }
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let kind = args.kind.unwrap_or_else(|| Kind::of_output(&args.output));
    let (chips, target) = target::target_of(&args.target)?;
    let chip = target.as_ref().map(Target::chip);
    let mut writes = read_all(&args.words, Some(&args.output))?;
    let header = args.header.header(chip, &chips, data(&writes))?;
    if header.as_ref().is_some_and(|header| header.detects()) {
        return Err(Failure::usage("--flash-size detect needs a board")
            .hint("give a size, such as 4MB; `esplice detect` shows a board's"));
    }
    if let Some(header) = header {
        for write in &mut writes {
            header.set(&write.name, write.offset, &mut write.data)?;
        }
    }
    let start = FlashOffset(args.target_offset);
    let bytes = match kind {
        Kind::Raw => merge(&writes, start, args.pad_to_size)?,
        Kind::Hex => to_intel_hex(&writes)?.into_bytes(),
        Kind::Uf2 => {
            let family = chip.or_else(|| chip_of(data(&writes), &chips)).ok_or_else(no_chip)?;
            let family = family.image.uf2_family;
            let (chunk, md5) = (args.chunk_size, !args.md5_disable);
            to_uf2(&writes, &Uf2Options { family, chunk, md5 })?
        }
    };

    let mut outputs = Outputs::default();
    outputs.add(&args.output, &bytes)?;
    outputs.commit(shell)?;
    // A HEX file may have a million ranges, and their JSON is many times as large.
    let listed = if shell.is_json() { writes.len().min(MOST_LISTED) } else { 0 };
    let parts = writes.iter().take(listed).map(
        |write| json!({ "name": write.name, "offset": write.offset.0, "len": write.data.len() }),
    );
    let value = json!({
        "output": args.output,
        "format": kind.word(),
        "offset": (kind == Kind::Raw).then_some(start.0),
        "len": bytes.len(),
        "parts": parts.collect::<Vec<_>>(),
        "left_out": writes.len() - listed,
    });
    let place = match kind {
        Kind::Raw => format!(", for offset {start}"),
        Kind::Hex | Kind::Uf2 => String::new(),
    };
    let (shown, len) = (args.output.display(), bytes.len());
    shell.result("image-merge", &format!("{shown}: {len} bytes, {}{place}\n", kind.name()), value);
    Ok(())
}

fn data(writes: &[Write]) -> impl Iterator<Item = &[u8]> {
    writes.iter().map(|write| write.data.as_slice())
}
