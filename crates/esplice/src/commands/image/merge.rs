use std::path::{Path, PathBuf};

use esplice_chip::{Chip, FlashOffset, parse_size};
use esplice_image::{
    Content, FlashMode, ImageHeader, PlannedWrite, Uf2Options, merge, patch_flash, to_intel_hex,
    to_uf2,
};
use serde_json::json;

use crate::{
    args::TargetArgs,
    exit::Failure,
    firmware::of_file,
    flash_file::FlashFile,
    outputs::{Outputs, same_file},
    project,
    shell::Shell,
    value,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Offset in flash and file, several times; a HEX or UF2 file says its offsets itself
    #[arg(value_name = "OFFSET FILE", required = true)]
    words: Vec<PathBuf>,
    /// Where the merged file goes
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// What is written: raw, hex or uf2 [default: by the output's extension, else raw]
    #[arg(long = "as", value_name = "FORMAT", hide_possible_values = true)]
    kind: Option<Kind>,
    #[command(flatten)]
    target: TargetArgs,
    /// Raw: the offset in flash that the file will be written to
    #[arg(long, short, value_name = "OFFSET", value_parser = value::offset, default_value = "0")]
    target_offset: u32,
    /// Raw: fill up with 0xFF to a flash of this size, such as 4MB
    #[arg(long, value_name = "SIZE", value_parser = value::offset, alias = "fill-flash-size")]
    pad_to_size: Option<u32>,
    /// UF2: bytes of data in a block [default: as many as fit]
    #[arg(long, value_name = "BYTES")]
    chunk_size: Option<usize>,
    /// UF2: leave the MD5 of each block out
    #[arg(long)]
    md5_disable: bool,
    /// Set the flash mode in the image at the boot offset: qio, qout, dio, dout or keep
    #[arg(long, value_name = "MODE", default_value = KEEP, hide_default_value = true)]
    flash_mode: String,
    /// Set the flash frequency there, such as 80m, or keep
    #[arg(long, value_name = "FREQ", default_value = KEEP, hide_default_value = true)]
    flash_freq: String,
    /// Set the flash size there, such as 4MB, or keep
    #[arg(long, value_name = "SIZE", default_value = KEEP, hide_default_value = true)]
    flash_size: String,
}

/// Most parts that the result lists.
const MOST_LISTED: usize = 10_000;

/// Leaves a field of the header as it is.
const KEEP: &str = "keep";

/// What a merged file can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum Kind {
    /// The bytes of the flash.
    Raw,
    /// Intel HEX.
    Hex,
    /// UF2.
    Uf2,
}

impl Kind {
    /// What a file of that name is to be.
    pub fn of_output(output: &Path) -> Kind {
        let is = |name: &str| output.extension().is_some_and(|end| end.eq_ignore_ascii_case(name));
        match () {
            () if is("hex") || is("ihex") => Kind::Hex,
            () if is("uf2") => Kind::Uf2,
            () => Kind::Raw,
        }
    }

    /// As programs have it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Raw => "raw",
            Kind::Hex => "hex",
            Kind::Uf2 => "uf2",
        }
    }

    /// For people.
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
    let chip = project::target_of(&args.target)?.map(|target| target.chip());
    let mut writes = read_all(&args.words, Some(&args.output))?;
    if [&args.flash_mode, &args.flash_freq, &args.flash_size].iter().any(|set| *set != KEEP) {
        set_flash(args, chip.or_else(|| chip_of(&writes)), &mut writes)?;
    }
    let start = FlashOffset(args.target_offset);
    let bytes = match kind {
        Kind::Raw => merge(&writes, start, args.pad_to_size)?,
        Kind::Hex => to_intel_hex(&writes)?.into_bytes(),
        Kind::Uf2 => {
            let family = chip.or_else(|| chip_of(&writes)).ok_or_else(no_chip)?;
            let family = family.image.uf2_family;
            let (chunk, md5) = (args.chunk_size, !args.md5_disable);
            to_uf2(&writes, &Uf2Options { family, chunk, md5 })?
        }
    };

    let mut outputs = Outputs::default();
    outputs.add(&args.output, &bytes)?;
    outputs.commit(shell)?;
    // A HEX file may have a million stretches, and JSON is many times as large as they are.
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

/// Reads the files, each with the offset before it where it needs one; none of them may be `output`.
pub fn read_all(words: &[PathBuf], output: Option<&Path>) -> Result<Vec<PlannedWrite>, Failure> {
    let mut writes = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let offset = word.to_str().and_then(parse_size).map(FlashOffset);
        let path = match offset {
            None => word,
            Some(offset) => words
                .next()
                .ok_or_else(|| Failure::usage(format!("no file stands behind offset {offset}")))?,
        };
        let shown = path.display();
        if output.is_some_and(|output| same_file(path, output)) {
            return Err(Failure::usage(format!("{shown} is an input and the output"))
                .hint("give --output another name"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match (FlashFile::read(path)?, offset) {
            (FlashFile::Places { unpacked, .. }, None | Some(FlashOffset(0))) => {
                let many = unpacked.writes.len() > 1;
                writes.extend(unpacked.writes.into_iter().map(|write| {
                    let at = if many { format!(" at {}", write.offset) } else { String::new() };
                    PlannedWrite { name: format!("{name}{at}"), ..write }
                }));
            }
            (FlashFile::Places { .. }, Some(offset)) => {
                return Err(Failure::usage(format!("{shown} says its offsets itself"))
                    .hint(format!("leave {offset} out")));
            }
            (FlashFile::Raw(data), Some(offset)) => {
                writes.push(PlannedWrite { name, ..PlannedWrite::unnamed(offset, &data) });
            }
            (FlashFile::Raw(_), None) => {
                return Err(Failure::usage(format!("{shown} does not say where it belongs"))
                    .hint(format!("give its offset before it, such as 0x10000 {shown}")));
            }
        }
    }
    Ok(writes)
}

/// The chip that the first image is for.
fn chip_of(writes: &[PlannedWrite]) -> Option<&'static Chip> {
    let header = writes.iter().find_map(|write| ImageHeader::from_bytes(&write.data).ok())?;
    esplice_chip::find_by_id(header.chip_id)
}

fn no_chip() -> Failure {
    Failure::usage("no file says which chip it is for")
        .hint("give --target, such as --target esp32c3")
}

/// Sets what the image at the boot offset says of the flash.
fn set_flash(args: &Args, chip: Option<&Chip>, writes: &mut [PlannedWrite]) -> Result<(), Failure> {
    let chip = chip.ok_or_else(no_chip)?;
    let image = &chip.image;
    let set = |value: &'_ str| (value != KEEP).then(|| value.to_owned());
    let mode = set(&args.flash_mode).map(|mode| mode.parse::<FlashMode>()).transpose();
    let mode = mode.map_err(|message| Failure::usage(format!("--flash-mode: {message}")))?;
    let known = |names: Vec<&String>| {
        let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        format!("known are {}", names.join(", "))
    };
    let code = |flag: &str, value: &str, code: Option<u8>, names: Vec<&String>| {
        let name = &chip.display_name;
        code.ok_or_else(|| {
            Failure::usage(format!("{flag}: {name} has no code for {value}")).hint(known(names))
        })
    };
    let freq = set(&args.flash_freq).map(|freq| {
        let of_chip = image.flash_frequencies.get(&freq).copied();
        code("--flash-freq", &freq, of_chip, image.flash_frequencies.keys().collect())
    });
    let size = set(&args.flash_size).map(|size| {
        let of_chip = parse_size(&size).and_then(|bytes| image.flash_size_code(bytes));
        code(
            "--flash-size",
            &size,
            of_chip.map(|(code, _)| code),
            image.flash_sizes.keys().collect(),
        )
    });
    let (freq, size) = (freq.transpose()?, size.transpose()?);
    for write in writes {
        if write.offset == image.boot_offset && Content::of(&write.data) == Content::Image {
            patch_flash(&mut write.data, mode, freq, size)
                .map_err(|e| of_file(Path::new(&write.name), Failure::input(e.to_string())))?;
        }
    }
    Ok(())
}
