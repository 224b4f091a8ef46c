//! Flash ranges, and files with their offsets, as given on the command line.

use std::path::{Path, PathBuf};

use clap::Args;
use esplice_chip::{ChipDb, FlashOffset, Target};
use esplice_flash::{ChipInfo, FlashError, FlashOptions, FlashRange, Session};
use esplice_image::{DeviceFacts, ImageHeader, PlanError, Write, WriteKind, merge};
use esplice_protocol::Port;

use crate::{
    cli::{args::TargetArgs, value},
    config::target,
    files::outputs::same_file,
    firmware::{
        flash_file::FlashFile,
        header::{Header, HeaderArgs},
    },
    ui::exit::Failure,
};

/// A range of flash.
#[derive(Debug, Clone, Default, Args)]
pub struct RangeArgs {
    /// Offset in flash, such as 0x10000, and length, such as 0x1000 or 64K
    #[arg(value_name = "OFFSET LEN", num_args = 2)]
    pub words: Vec<String>,
    /// A partition of the board's partition table
    #[arg(long, value_name = "NAME", conflicts_with = "words")]
    pub partition: Option<String>,
    /// The whole flash
    #[arg(long, conflicts_with_all = ["words", "partition"])]
    pub all: bool,
}

/// A range of flash, which may depend on the board's partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    Whole,
    Partition(String),
    /// A number of bytes from this offset, or all bytes up to the end.
    At(FlashOffset, Option<u32>),
}

/// Files and their offsets in flash.
#[derive(Debug, Clone, Default, Args)]
pub struct FilesArgs {
    /// Pairs of flash offset and file; a HEX or UF2 file contains its own offsets
    #[arg(value_name = "OFFSET FILE", required = true)]
    words: Vec<PathBuf>,
    /// Partition of the board's partition table to use for the only file
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    #[command(flatten)]
    header: HeaderArgs,
}

/// Files that were read, whose offsets may depend on the board's partition table.
#[derive(Debug)]
pub struct Files {
    writes: Vec<Write>,
    /// The partition for the only write, if its offset is not known yet.
    partition: Option<String>,
    /// Header fields to set in the image at the boot offset.
    header: Option<Header>,
    /// The known chips.
    chips: ChipDb,
}

impl RangeArgs {
    /// Returns whether no range was given.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.partition.is_none() && !self.all
    }

    /// Returns the given range, or the whole flash if there is none. A length may be `all`, for the
    /// rest of the flash.
    pub fn range(&self) -> Result<Range, Failure> {
        if let Some(partition) = &self.partition {
            if !self.words.is_empty() {
                return Err(Failure::usage("--partition and an offset cannot be combined"));
            }
            return Ok(Range::Partition(partition.clone()));
        }
        match self.words.as_slice() {
            [] => Ok(Range::Whole),
            [offset, len] => {
                let offset = FlashOffset(value::offset(offset).map_err(Failure::usage)?);
                if len.eq_ignore_ascii_case("all") {
                    return Ok(Range::At(offset, None));
                }
                let len = esplice_chip::parse_size(len).ok_or_else(|| {
                    Failure::usage(format!("{len:?} is not a length such as 0x1000, 64K or all"))
                })?;
                match len {
                    0 => Err(Failure::usage("the length must not be 0")),
                    len => Ok(Range::At(offset, Some(len))),
                }
            }
            _ => Err(Failure::usage("an offset has no length")),
        }
    }
}

impl Range {
    /// Returns the range on this board.
    pub fn find(
        &self,
        session: &mut Session<'_, dyn Port>,
        info: &ChipInfo,
        options: &FlashOptions,
    ) -> Result<FlashRange, FlashError> {
        let range = match self {
            Range::Whole => FlashRange::whole(info.flash_size),
            Range::Partition(name) => {
                let facts = session.device_facts(info, &options.table_hint())?;
                FlashRange::partition(&facts, name)?
            }
            Range::At(offset, len) => {
                let rest = info.flash_size.saturating_sub(offset.0);
                let len = len.unwrap_or(rest.max(1));
                FlashRange { name: "range".into(), offset: *offset, len }
            }
        };
        range.check(info)?;
        Ok(range)
    }
}

impl FilesArgs {
    /// Reads the files, for the chip that the flags name, or else that of the images.
    pub fn read(&self, target: &TargetArgs) -> Result<Files, Failure> {
        let (chips, target) = target::target_of(target)?;
        let Some(partition) = &self.partition else {
            let mut writes = read_all(&self.words, None)?;
            // Called only for its errors: no two files may overlap.
            merge(&writes, FlashOffset(0), None)?;
            let chip = target.as_ref().map(Target::chip);
            let data = writes.iter().map(|write| write.data.as_slice());
            let header = self.header.header(chip, &chips, data)?;
            if let Some(header) = &header {
                for write in &mut writes {
                    header.set(&write.name, write.offset, &mut write.data)?;
                }
            }
            return Ok(Files { writes, partition: None, header, chips });
        };
        let [path] = self.words.as_slice() else {
            return Err(Failure::usage("a partition takes one file, without an offset"));
        };
        let FlashFile::Raw(data) = FlashFile::read(path)? else {
            let message = format!("{} contains its own offsets", path.display());
            return Err(Failure::usage(message).hint("leave --partition out"));
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let write = Write { name, ..Write::unnamed(FlashOffset(0), &data) };
        let partition = Some(partition.clone());
        Ok(Files { writes: vec![write], partition, header: None, chips })
    }
}

impl Files {
    /// Returns whether the board's partition table must be known.
    pub fn needs_table(&self) -> bool {
        self.partition.is_some()
    }

    /// Returns the writes for the board of `facts`. An image for another chip is refused, because
    /// it would not boot.
    pub fn writes(&self, facts: &DeviceFacts) -> Result<Vec<Write>, PlanError> {
        let chip = self.chips.find(&facts.chip)?;
        let place = match &self.partition {
            Some(name) => Some(FlashRange::partition(facts, name)?),
            None => None,
        };
        let mut writes = Vec::new();
        for write in &self.writes {
            if let Some(range) = &place
                && write.data.len() > range.len as usize
            {
                return Err(PlanError::DataTooLarge {
                    name: write.name.clone(),
                    len: write.data.len(),
                    excess: write.data.len() - range.len as usize,
                    partition: range.name.clone(),
                    partition_len: range.len,
                });
            }
            let offset = place.as_ref().map_or(write.offset, |range| range.offset);
            if let Ok(header) = ImageHeader::from_bytes(&write.data)
                && header.chip_id != chip.image.chip_id
                && self.chips.find_by_id(header.chip_id).is_some()
            {
                return Err(PlanError::ImageForOtherChip {
                    name: write.name.clone(),
                    found: header.chip_id,
                    chip: chip.name.clone(),
                    expected: chip.image.chip_id,
                });
            }
            let (name, mut data) = (write.name.clone(), write.data.clone());
            if let Some(header) = self.header.clone().filter(Header::detects) {
                // Errors of the image were reported when the other fields were set.
                let _ = header.on_board(facts.flash_size).set(&name, offset, &mut data);
            }
            writes.push(Write { name, kind: WriteKind::Data, offset, data });
        }
        Ok(writes)
    }
}

/// Reads the files, each preceded by its offset if it needs one. None may be `output`.
pub fn read_all(words: &[PathBuf], output: Option<&Path>) -> Result<Vec<Write>, Failure> {
    let mut writes = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let offset = word.to_str().and_then(esplice_chip::parse_size).map(FlashOffset);
        let path = match offset {
            None => word,
            Some(offset) => words
                .next()
                .ok_or_else(|| Failure::usage(format!("no file follows offset {offset}")))?,
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
                    Write { name: format!("{name}{at}"), ..write }
                }));
            }
            (FlashFile::Places { .. }, Some(offset)) => {
                return Err(Failure::usage(format!("{shown} contains its own offsets"))
                    .hint(format!("leave {offset} out")));
            }
            (FlashFile::Raw(data), Some(offset)) => {
                writes.push(Write { name, ..Write::unnamed(offset, &data) });
            }
            (FlashFile::Raw(_), None) => {
                return Err(Failure::usage(format!("{shown} has no offset of its own"))
                    .hint(format!("give its offset before it, such as 0x10000 {shown}")));
            }
        }
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(words: &[&str], partition: Option<&str>) -> Result<Range, String> {
        let words = words.iter().map(|word| word.to_string()).collect();
        let partition = partition.map(str::to_owned);
        let args = RangeArgs { words, partition, all: false };
        args.range().map_err(|failure| failure.message)
    }

    #[test]
    fn ranges_are_offsets_and_lengths_or_partitions() {
        assert_eq!(range(&[], None), Ok(Range::Whole));
        assert_eq!(range(&[], Some("nvs")), Ok(Range::Partition("nvs".into())));
        let at = |offset, len| Ok(Range::At(FlashOffset(offset), len));
        assert_eq!(range(&["0x1000", "64K"], None), at(0x1000, Some(0x1_0000)));
        assert_eq!(range(&["4096", "ALL"], None), at(0x1000, None));
        assert!(range(&["x", "1"], None).unwrap_err().contains("not an offset"));
        assert!(range(&["0", "much"], None).unwrap_err().contains("not a length"));
        assert!(range(&["0", "0"], None).unwrap_err().contains("must not be 0"));
        assert!(range(&["0", "1"], Some("nvs")).unwrap_err().contains("cannot be combined"));
    }
}
