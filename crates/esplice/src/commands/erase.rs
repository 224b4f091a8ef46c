use esplice_flash::{FlashError, FlashRange};
use serde_json::json;

use crate::{
    cli::args::BoardArgs,
    device::at_board::{FlashAccess, work},
    firmware::places::{Range, RangeArgs},
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    board: BoardArgs,
}

/// Arguments of `erase-flash`, which needs no range.
#[derive(Debug, clap::Args)]
pub struct WholeArgs {
    #[command(flatten)]
    board: BoardArgs,
}

/// Arguments of `erase-parts`, which takes partition names.
#[derive(Debug, clap::Args)]
pub struct PartsArgs {
    /// Partitions of the board's own table
    #[arg(value_name = "NAMES", required = true, value_delimiter = ',')]
    names: Vec<String>,
    #[command(flatten)]
    board: BoardArgs,
}

impl WholeArgs {
    pub fn into_erase(self) -> Args {
        let range = RangeArgs { all: true, ..RangeArgs::default() };
        Args { range, board: self.board }
    }
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    if args.range.is_empty() {
        return Err(Failure::usage("nothing to erase was given")
            .hint("pass OFFSET and LEN, --partition NAME, or --all for the whole flash"));
    }
    erase(&[args.range.range()?], &args.board, shell, interrupt)
}

/// Erases partitions. None is erased before all are found.
pub fn run_parts(
    args: &PartsArgs,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let ranges: Vec<Range> = args.names.iter().cloned().map(Range::Partition).collect();
    erase(&ranges, &args.board, shell, interrupt)
}

fn erase(
    ranges: &[Range],
    board: &BoardArgs,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let done = work(board, FlashAccess::Writes, shell, interrupt, |session, info, options| {
        let found = ranges.iter().map(|range| range.find(session, info, options));
        let found: Vec<FlashRange> = found.collect::<Result<_, _>>()?;
        let erased = found.into_iter().map(|range| {
            let sectors = session.erase_range(info, options, &range)?;
            Ok((range, sectors))
        });
        erased.collect::<Result<Vec<_>, FlashError>>()
    })?;
    for (found, sectors) in done {
        let (offset, len) = (found.offset, found.len);
        let text = match sectors {
            0 => format!("{}: {len} bytes at {offset} were blank already\n", found.name),
            _ => format!("{}: {len} bytes at {offset} erased\n", found.name),
        };
        let value = json!({ "offset": offset.0, "len": len, "sectors_erased": sectors });
        shell.result("erase", &text, value);
    }
    Ok(())
}
