use std::path::Path;

use esplice_flash::FlashRange;
use serde_json::json;

use super::{FlashArgs, flash_image, place, range_in};
use crate::{
    device::at_board::{FlashAccess, work},
    files::outputs::Outputs,
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names of the partitions
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    flash: FlashArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    if let Some(path) = &args.flash.image {
        return in_image(args, path, shell);
    }
    let erased = work(
        &args.flash.board,
        FlashAccess::Writes,
        shell,
        interrupt,
        |session, info, options| {
            let facts = session.device_facts(info, &options.table_hint())?;
            let mut ranges = Vec::new();
            // All names are looked up before the first partition is erased.
            for name in &args.names {
                ranges.push(FlashRange::partition(&facts, name)?);
            }
            let mut erased = Vec::new();
            for range in ranges {
                let sectors = session.erase_range(info, options, &range)?;
                erased.push((range.name, range.offset.0, range.len, sectors));
            }
            Ok(erased)
        },
    )?;
    let mut text = String::new();
    let mut values = Vec::new();
    for (name, offset, len, sectors) in erased {
        text.push_str(&match sectors {
            0 => format!("{name}: {len} bytes at 0x{offset:x} were blank already\n"),
            _ => format!("{name}: {len} bytes at 0x{offset:x} erased\n"),
        });
        values.push(json!({
            "name": name, "offset": offset, "len": len, "sectors_erased": sectors,
        }));
    }
    shell.result("partition-erase", &text, json!({ "partitions": values }));
    Ok(())
}

fn in_image(args: &Args, path: &Path, shell: &mut Shell) -> Result<(), Failure> {
    let (mut flash, facts) = flash_image(path, &place(&args.flash.board)?)?;
    let mut text = String::new();
    let mut values = Vec::new();
    for name in &args.names {
        let range = range_in(path, &flash, &facts, name)?;
        let (offset, len) = (range.start, range.len());
        if let Some(bytes) = flash.get_mut(range) {
            bytes.fill(0xff);
        }
        text.push_str(&format!("{name}: {len} bytes at 0x{offset:x} erased\n"));
        values.push(json!({ "name": name, "offset": offset, "len": len }));
    }
    let mut outputs = Outputs::default();
    outputs.add(path, &flash)?;
    outputs.commit(shell)?;
    shell.result("partition-erase", &text, json!({ "partitions": values }));
    Ok(())
}
