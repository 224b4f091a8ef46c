//! Reads files with flash content: raw bytes, or a format that contains offsets.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
};

use esplice_chip::{ChipDb, FlashOffset};
use esplice_image::{
    Content, ImageReport, Uf2, Uf2Reader, Unpacked, inspect, inspect_writes, merge, unpack,
};

use crate::{
    files::{of_file, read},
    ui::exit::Failure,
};

/// Content of a file.
#[derive(Debug)]
pub enum FlashFile {
    /// Bytes without offsets.
    Raw(Vec<u8>),
    /// HEX or UF2.
    Places { len: usize, unpacked: Unpacked },
}

impl FlashFile {
    /// Reads a file and determines its kind by its content.
    pub fn read(path: &Path) -> Result<FlashFile, Failure> {
        if let Some(file) = read_uf2(path)? {
            return Ok(file);
        }
        let bytes = read::read(path)?;
        match unpack(&bytes) {
            Ok(Some(unpacked)) => Ok(FlashFile::Places { len: bytes.len(), unpacked }),
            Ok(None) => Ok(FlashFile::Raw(bytes)),
            Err(error) => Err(of_file(path, error.into())),
        }
    }

    /// Inspects the content, for one of `chips`, and returns its parts and defects.
    pub fn inspect(&self, chips: &ChipDb) -> ImageReport {
        match self {
            FlashFile::Raw(bytes) => inspect(bytes, chips),
            FlashFile::Places { len, unpacked } => {
                inspect_writes(unpacked.content, *len, &unpacked.writes, chips)
            }
        }
    }

    /// Returns the flash content from offset 0.
    pub fn flash(&self) -> Result<std::borrow::Cow<'_, [u8]>, Failure> {
        Ok(match self {
            FlashFile::Raw(bytes) => bytes.as_slice().into(),
            FlashFile::Places { unpacked, .. } => {
                merge(&unpacked.writes, FlashOffset(0), None)?.into()
            }
        })
    }
}

/// Reads a UF2 file block by block, because it is several times as large as its content. Returns
/// `None` for another file, and for one that cannot be opened twice.
fn read_uf2(path: &Path) -> Result<Option<FlashFile>, Failure> {
    let failed = |error: io::Error| read::cannot_read(path, &error);
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    if Content::of(file.fill_buf().map_err(failed)?) != Content::Uf2 {
        return Ok(None);
    }
    let mut reader = Uf2Reader::default();
    let (mut block, mut len) = (Vec::new(), 0);
    loop {
        block.clear();
        let read = file.by_ref().take(Uf2Reader::BLOCK_LEN as u64).read_to_end(&mut block);
        if read.map_err(failed)? == 0 {
            break;
        }
        len += block.len();
        if len as u64 > read::LARGEST {
            let message = format!("it has more than {} bytes", read::LARGEST);
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, message)));
        }
        reader.add(&block).map_err(|error| of_file(path, error.into()))?;
    }
    let Uf2 { family, writes } = reader.finish().map_err(|error| of_file(path, error.into()))?;
    let unpacked = Unpacked { content: Content::Uf2, family, writes };
    Ok(Some(FlashFile::Places { len, unpacked }))
}

/// Returns the first defect of an inspected file, in words.
pub fn first_defect(report: &ImageReport) -> Option<String> {
    report.all_defects().find(|(_, defect)| !defect.is_remark()).map(|(part, defect)| match part {
        Some(part) if report.parts.len() > 1 => format!("{}: {defect}", part.name),
        _ => defect.to_string(),
    })
}
