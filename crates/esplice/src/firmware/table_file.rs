//! Reads partition tables from files: CSV, binary, or a flash image.

use std::{path::Path, sync::Arc};

use esplice_chip::{Chip, ChipDb, FlashOffset};
use esplice_image::{BootImage, CsvOptions, DeviceFacts, PartitionTable};

use crate::{files::read, ui::exit::Failure};

/// Size of the largest table that is read, in bytes, as CSV with comments.
const LARGEST: usize = 1 << 20;

/// Default offset of partition tables.
const USUAL_OFFSET: FlashOffset = FlashOffset(0x8000);

/// Form in which a file holds a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    Csv,
    Binary {
        has_md5: bool,
    },
    /// A flash image, with the facts known about its flash.
    Flash(Box<DeviceFacts>),
}

/// A partition table read from a file.
#[derive(Debug)]
pub struct TableFile {
    pub table: PartitionTable,
    pub form: Form,
    /// Offset of the table in flash, actual or intended.
    pub offset: FlashOffset,
}

/// Facts that a file does not contain.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The known chips.
    pub chips: ChipDb,
    pub chip: Option<Arc<Chip>>,
    /// Offset of the table, if the user specified it.
    pub offset: Option<FlashOffset>,
}

impl Place {
    /// Returns the offset that the user or the chip names, else the usual one.
    pub fn offset_or_usual(&self) -> FlashOffset {
        let of_chip = self.chip.as_ref().map(|chip| chip.image.partition_table_offset);
        self.offset.or(of_chip).unwrap_or(USUAL_OFFSET)
    }
}

impl TableFile {
    /// Reads the table at `path`, without checking that it is consistent.
    pub fn read(path: &Path, place: &Place) -> Result<TableFile, Failure> {
        let bytes = read::read_for_flash(path)?;
        let offset = place.offset_or_usual();
        if PartitionTable::looks_like(&bytes) {
            let table = PartitionTable::from_bytes(&bytes).map_err(|error| broken(path, error))?;
            let form = Form::Binary { has_md5: PartitionTable::has_md5(&bytes) };
            return Ok(TableFile { table, form, offset });
        }
        if let Some(text) = text(&bytes) {
            let boot_offset = place.chip.as_ref().map(|chip| chip.image.boot_offset);
            let options = CsvOptions::new(offset).boot_offset(boot_offset);
            let table = PartitionTable::from_csv(&text, &options).map_err(|error| Failure {
                hint: error.hint(),
                ..Failure::input(format!("{}:{error}", path.display()))
            })?;
            return Ok(TableFile { table, form: Form::Csv, offset });
        }
        let facts = facts_of(&bytes, place);
        let own = facts.device_table().map(|(offset, table)| (offset, table.clone()));
        match own {
            Ok((offset, table)) => {
                Ok(TableFile { table, form: Form::Flash(Box::new(facts)), offset })
            }
            Err(_) if facts.tables.found.is_empty() => {
                let message = format!("{} contains no partition table", path.display());
                Err(Failure::input(message)
                    .hint("a table is CSV, binary, or in a flash image from offset 0"))
            }
            Err(error) => Err(crate::files::of_file(path, error.into())),
        }
    }

    /// Reads a table that is to be written: a complete one that ESP-IDF's generator would accept.
    pub fn read_own(path: &Path, place: &Place) -> Result<PartitionTable, Failure> {
        let file = TableFile::read(path, place)?;
        if let Form::Flash(_) = file.form {
            let message = format!("{} is a flash image, not a table", path.display());
            return Err(
                Failure::input(message).hint("`esplice partition convert` extracts the table")
            );
        }
        Ok(file.table)
    }
}

/// Returns the facts about the partition table in a flash image.
pub fn facts_of(flash: &[u8], place: &Place) -> DeviceFacts {
    let is_booted_by = |chip: &&Arc<Chip>| {
        let read = |offset: FlashOffset, len: usize| {
            let rest = flash.get(offset.0 as usize..).unwrap_or_default();
            Ok::<_, std::convert::Infallible>(rest.get(..len).unwrap_or(rest).to_vec())
        };
        let Ok(boot) = BootImage::find(chip, read);
        matches!(boot, BootImage::Bootloader(_) | BootImage::Program(_))
    };
    let chips = || place.chips.chips();
    let chip = place.chip.as_ref().or_else(|| chips().find(is_booted_by));
    // Without a bootloader, only the default table offset counts, which all chips share.
    let chip = chip.or_else(|| chips().next());
    match chip {
        Some(chip) => DeviceFacts::of_flash(flash, chip, place.offset),
        None => DeviceFacts::default(),
    }
}

fn broken(path: &Path, error: esplice_image::TableError) -> Failure {
    let hint = error.hint();
    Failure { hint, ..Failure::input(format!("{}: {error}", path.display())) }
}

/// Decodes the text of a CSV file, in UTF-8, or in UTF-16 with a byte order mark.
fn text(bytes: &[u8]) -> Option<String> {
    if bytes.len() > LARGEST {
        return None;
    }
    let wide = |bytes: &[u8], word: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let words: Vec<u16> = pairs.iter().map(|pair| word(*pair)).collect();
        if rest.is_empty() { String::from_utf16(&words).ok() } else { None }
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] if !rest.is_empty() => wide(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes)?,
        _ => std::str::from_utf8(bytes).ok()?.to_owned(),
    };
    (!text.contains('\0')).then_some(text)
}
