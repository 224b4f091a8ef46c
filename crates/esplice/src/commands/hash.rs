use serde_json::json;

use crate::{
    cli::args::BoardArgs,
    device::at_board::{FlashAccess, work},
    firmware::places::RangeArgs,
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    board: BoardArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let range = args.range.range()?;
    let (found, hash) =
        work(&args.board, FlashAccess::Reads, shell, interrupt, |session, info, options| {
            let range = range.find(session, info, options)?;
            let hash = session.hash_range(info, options, &range)?;
            Ok((range, hash))
        })?;
    let (offset, len) = (found.offset, found.len);
    let text = format!("{hash}  {} ({len} bytes at {offset})\n", found.name);
    shell.result("hash", &text, json!({ "offset": offset.0, "len": len, "md5": hash }));
    Ok(())
}
