use std::path::{Path, PathBuf};

use esplice_chip::{ChipDb, FlashOffset};
use esplice_flash::{FlashRange, flash};
use esplice_image::{
    DeviceFacts, ImageHeader, PartitionTable, PlanError, ResolvedPlan, Write, WriteKind,
};
use serde_json::json;

use super::{FlashArgs, TABLE_NAME, content, flash_image, place, range_in};
use crate::{
    device::{
        at_board::{FlashAccess, with_options},
        flashing,
    },
    files::{of_file, outputs::Outputs},
    firmware::table_file::{Place, TableFile},
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the partition, or partition-table for the table itself
    #[arg(value_name = "NAME")]
    name: String,
    /// File to write; for the table, CSV or binary
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    flash: FlashArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let data = if args.name == TABLE_NAME {
        Data::Table(new_table(&args.file, &place(&args.flash.board)?)?)
    } else {
        Data::File(content(&args.file)?)
    };
    if let Some(path) = &args.flash.image {
        return to_image(args, path, &data, shell);
    }
    let board = &args.flash.board;
    with_options(board, FlashAccess::Writes, shell, interrupt, |board, options, shell| {
        let options = &options.clone().find_table(true);
        let port = board.port.as_mut();
        let plan = |facts: &DeviceFacts| {
            let writes = vec![data.write(&args.name, &args.file, facts, &options.chips)?];
            Ok(ResolvedPlan::from(writes))
        };
        let done = flash(port, options, plan, &mut |event| flashing::print_event(event, shell));
        (done.as_ref().ok().map(|report| report.chip.chip.clone()), done.map(|_| ()))
    })
}

/// Data to write.
enum Data {
    File(Vec<u8>),
    Table(PartitionTable),
}

impl Data {
    /// Returns the write for a device, checked against its partition table.
    fn write(
        &self,
        name: &str,
        file: &Path,
        facts: &DeviceFacts,
        chips: &ChipDb,
    ) -> Result<Write, PlanError> {
        match self {
            Data::File(bytes) => {
                let range = FlashRange::partition(facts, name)?;
                check_len(name, file, bytes, range.len)?;
                check_chip(file, bytes, &facts.chip, chips)?;
                Ok(write(name, WriteKind::Data, range.offset, bytes.clone()))
            }
            Data::Table(table) => {
                let offset = table_offset(facts)?;
                let end = facts.boot.bootloader().map(|head| head.end);
                if let Some(end) = end.filter(|end| *end > offset) {
                    return Err(PlanError::TableInBootloader { offset, end });
                }
                table.check(offset, facts.flash_size)?;
                Ok(write(name, WriteKind::PartitionTable, offset, table.to_bytes()?))
            }
        }
    }
}

fn write(name: &str, kind: WriteKind, offset: FlashOffset, data: Vec<u8>) -> Write {
    Write { name: name.to_owned(), kind, offset, data }
}

/// Returns where to write a new table: over the old one, whose place must be certain.
fn table_offset(facts: &DeviceFacts) -> Result<FlashOffset, PlanError> {
    match facts.device_table() {
        Ok((offset, _)) => Ok(offset),
        // A damaged table may be repaired.
        Err(PlanError::DeviceTable { offset, .. }) => Ok(offset),
        Err(PlanError::TableNotFound { known: Some(offset), .. }) => Ok(offset),
        Err(error) => Err(error),
    }
}

fn new_table(path: &Path, place: &Place) -> Result<PartitionTable, Failure> {
    TableFile::read_own(path, place)
}

fn check_len(name: &str, file: &Path, bytes: &[u8], room: u32) -> Result<(), PlanError> {
    let excess = bytes.len().saturating_sub(room as usize);
    if excess == 0 {
        return Ok(());
    }
    Err(PlanError::DataTooLarge {
        name: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        len: bytes.len(),
        excess,
        partition: name.to_owned(),
        partition_len: room,
    })
}

/// Refuses an image of another chip, which would not boot.
fn check_chip(file: &Path, bytes: &[u8], chip: &str, chips: &ChipDb) -> Result<(), PlanError> {
    let chip = chips.find(chip)?;
    match ImageHeader::from_bytes(bytes) {
        Ok(header)
            if header.chip_id != chip.image.chip_id
                && chips.find_by_id(header.chip_id).is_some() =>
        {
            Err(PlanError::ImageForOtherChip {
                name: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                found: header.chip_id,
                chip: chip.name.clone(),
                expected: chip.image.chip_id,
            })
        }
        _ => Ok(()),
    }
}

/// Writes into a flash image, as on a board.
fn to_image(args: &Args, path: &Path, data: &Data, shell: &mut Shell) -> Result<(), Failure> {
    let place = place(&args.flash.board)?;
    let (mut flash, mut facts) = flash_image(path, &place)?;
    facts.flash_size = u32::try_from(flash.len()).ok();
    let of = |error: PlanError| of_file(path, error.into());
    if let Data::File(_) = data {
        range_in(path, &flash, &facts, &args.name)?;
    }
    let write = data.write(&args.name, &args.file, &facts, &place.chips).map_err(of)?;
    let start = write.offset.0 as usize;
    let sector = PartitionTable::SECTOR_LEN as usize;
    let end = start + write.data.len().next_multiple_of(sector);
    let room = flash.get_mut(start..end).ok_or_else(|| {
        let message = format!("{} ends before 0x{end:x}", path.display());
        Failure::input(message).hint("pass an image of the whole flash")
    })?;
    // The rest of the last sector is erased, as on a board.
    room.fill(0xff);
    if let Some(place) = room.get_mut(..write.data.len()) {
        place.copy_from_slice(&write.data);
    }
    let mut outputs = Outputs::default();
    outputs.add(path, &flash)?;
    outputs.commit(shell)?;
    let (len, offset, name) = (write.data.len(), write.offset, &args.name);
    let text = format!("{}: {len} bytes of {name} at {offset} written\n", path.display());
    let value = json!({ "output": path, "name": name, "offset": offset.0, "len": len });
    shell.result("partition-write", &text, value);
    Ok(())
}
