//! Which part of a board's flash is meant, and what is to be there.

use std::path::{Path, PathBuf};

use clap::Args;
use esplice_chip::FlashOffset;
use esplice_flash::{ChipInfo, FlashError, FlashOptions, FlashRange, Session};
use esplice_image::{DeviceFacts, ImageHeader, PlanError, PlannedWrite, Write, WriteKind, merge};
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

/// A part of the flash.
#[derive(Debug, Clone, Default, Args)]
pub struct RangeArgs {
    /// Offset in flash, such as 0x10000, and bytes, such as 0x1000 or 64K
    #[arg(value_name = "OFFSET LEN", num_args = 2)]
    pub words: Vec<String>,
    /// This partition of the board's own table
    #[arg(long, value_name = "NAME", conflicts_with = "words")]
    pub partition: Option<String>,
    /// All of the flash
    #[arg(long, conflicts_with_all = ["words", "partition"])]
    pub all: bool,
}

/// A part of the flash, of which the board may have to tell where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    Whole,
    Partition(String),
    /// From this offset on so many bytes, or to the end.
    At(FlashOffset, Option<u32>),
}

/// Files and their places in flash.
#[derive(Debug, Clone, Default, Args)]
pub struct FilesArgs {
    /// Offset in flash and file, several times; a HEX or UF2 file says its offsets itself
    #[arg(value_name = "OFFSET FILE", required = true)]
    words: Vec<PathBuf>,
    /// The partition of the board's own table that the one file is for
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    #[command(flatten)]
    header: HeaderArgs,
}

/// Files that were read, of which the board may have to tell where they go.
#[derive(Debug)]
pub struct Files {
    writes: Vec<PlannedWrite>,
    /// The partition that the one write, whose offset is not known yet, is for.
    partition: Option<String>,
    /// What is set in the image at the boot offset.
    header: Option<Header>,
}

impl RangeArgs {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.partition.is_none() && !self.all
    }

    /// What is named; nothing is all of the flash. A length may be `all`, for the rest of it.
    pub fn range(&self) -> Result<Range, Failure> {
        if let Some(partition) = &self.partition {
            if !self.words.is_empty() {
                return Err(Failure::usage("--partition and an offset exclude each other"));
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
                    0 => Err(Failure::usage("a length of 0 bytes is nothing")),
                    len => Ok(Range::At(offset, Some(len))),
                }
            }
            _ => Err(Failure::usage("an offset stands without a length")),
        }
    }
}

impl Range {
    /// Where it is on this board.
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
    /// Reads the files, for the chip that the flags name or else that of their images.
    pub fn read(&self, target: &TargetArgs) -> Result<Files, Failure> {
        let Some(partition) = &self.partition else {
            let mut writes = read_all(&self.words, None)?;
            // For its errors: no byte may be there twice.
            merge(&writes, FlashOffset(0), None)?;
            let chip = target::target_of(target)?.map(|target| target.chip());
            let data = writes.iter().map(|write| write.data.as_slice());
            let header = self.header.header(chip, data)?;
            if let Some(header) = header {
                for write in &mut writes {
                    header.set(&write.name, write.offset, &mut write.data)?;
                }
            }
            return Ok(Files { writes, partition: None, header });
        };
        let [path] = self.words.as_slice() else {
            return Err(Failure::usage("a partition takes one file, without an offset"));
        };
        let FlashFile::Raw(data) = FlashFile::read(path)? else {
            let message = format!("{} says its offsets itself", path.display());
            return Err(Failure::usage(message).hint("leave --partition out"));
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let write = PlannedWrite { name, ..PlannedWrite::unnamed(FlashOffset(0), &data) };
        Ok(Files { writes: vec![write], partition: Some(partition.clone()), header: None })
    }
}

impl Files {
    /// Whether the board's partition table must be known.
    pub fn needs_table(&self) -> bool {
        self.partition.is_some()
    }

    /// What goes where on the board of `facts`. An image of another chip is refused: it would not boot.
    pub fn writes(&self, facts: &DeviceFacts) -> Result<Vec<Write>, PlanError> {
        let chip = esplice_chip::find(&facts.chip)?;
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
                && esplice_chip::find_by_id(header.chip_id).is_some()
            {
                return Err(PlanError::ImageForOtherChip {
                    name: write.name.clone(),
                    found: header.chip_id,
                    chip: chip.name.clone(),
                    expected: chip.image.chip_id,
                });
            }
            let (name, mut data) = (write.name.clone(), write.data.clone());
            if let Some(header) = self.header.filter(Header::detects) {
                // What could go wrong with the image has come up when the other fields were set.
                let _ = header.on_board(facts.flash_size).set(&name, offset, &mut data);
            }
            writes.push(Write { name, kind: WriteKind::Data, offset, data });
        }
        Ok(writes)
    }
}

/// Reads the files, each with the offset before it where it needs one; none of them may be `output`.
pub fn read_all(words: &[PathBuf], output: Option<&Path>) -> Result<Vec<PlannedWrite>, Failure> {
    let mut writes = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let offset = word.to_str().and_then(esplice_chip::parse_size).map(FlashOffset);
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
        assert!(range(&["0", "0"], None).unwrap_err().contains("nothing"));
        assert!(range(&["0", "1"], Some("nvs")).unwrap_err().contains("exclude"));
    }
}
