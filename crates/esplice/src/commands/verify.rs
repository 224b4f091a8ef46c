use serde_json::json;

use crate::{
    cli::args::BoardArgs,
    device::at_board::{FlashAccess, work},
    firmware::places::FilesArgs,
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

/// Maximum number of ranges named in an error.
const MOST_RANGES: usize = 8;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: FilesArgs,
    #[command(flatten)]
    board: BoardArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let files = args.files.read(&args.board.target)?;
    let found =
        work(&args.board, FlashAccess::Reads, shell, interrupt, |session, info, options| {
            let facts = session.device_facts(info, &options.table_hint())?;
            let mut found = Vec::new();
            for write in files.writes(&facts)? {
                let ranges =
                    session.differences(info, options, &write.name, write.offset, &write.data)?;
                found.extend(ranges.into_iter().map(|range| (write.name.clone(), range)));
            }
            Ok(found)
        })?;
    let value: Vec<_> = found
        .iter()
        .map(|(name, (offset, len))| json!({ "name": name, "offset": offset.0, "len": len }))
        .collect();
    if shell.is_json() {
        shell.result("verify", "", json!({ "differences": value }));
    }
    if found.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = found
        .iter()
        .take(MOST_RANGES)
        .map(|(name, (offset, len))| format!("{name}: {len} bytes at {offset}"))
        .collect();
    let more = match found.len().saturating_sub(MOST_RANGES) {
        0 => String::new(),
        more => format!(", and {more} more ranges"),
    };
    let message = format!("flash differs from {}{more}", shown.join(", "));
    Err(Failure::new(Exit::Verify, message)
        .hint("ranges are whole sectors that differ; `esplice write` rewrites them"))
}
