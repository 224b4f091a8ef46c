use serde_json::json;

use crate::{
    args::BoardArgs,
    at_board::{Touch, work},
    exit::Failure,
    interrupt::Interrupt,
    places::RangeArgs,
    shell::Shell,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    board: BoardArgs,
}

/// `erase-flash`, which needs no range.
#[derive(Debug, clap::Args)]
pub struct WholeArgs {
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
        return Err(Failure::usage("it is not said what to erase")
            .hint("give OFFSET and LEN, --partition NAME, or --all for the whole flash"));
    }
    let range = args.range.range()?;
    let (found, sectors) =
        work(&args.board, Touch::Writes, shell, interrupt, |session, info, options| {
            let range = range.find(session, info, options)?;
            let sectors = session.erase_range(info, options, &range)?;
            Ok((range, sectors))
        })?;
    let (offset, len) = (found.offset, found.len);
    let text = match sectors {
        0 => format!("{}: {len} bytes at {offset} were blank already\n", found.name),
        _ => format!("{}: {len} bytes at {offset} erased\n", found.name),
    };
    let value = json!({ "offset": offset.0, "len": len, "sectors_erased": sectors });
    shell.result("erase", &text, value);
    Ok(())
}
