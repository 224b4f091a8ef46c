//! The ELF that a running firmware was made of, for decoding what the board prints.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use esplice_monitor::{BinaryLog, DefmtTable, Symbols};

use crate::{
    cli::args::DecodeArgs,
    files::{of_file, read},
    ui::{
        exit::Failure,
        shell::{Shell, hex},
    },
};

/// The ELF of the firmware that runs.
#[derive(Debug)]
pub struct FirmwareElf {
    bytes: Arc<Vec<u8>>,
    /// Where it was read, if it was.
    path: Option<PathBuf>,
}

impl FirmwareElf {
    /// An ELF that has become the firmware.
    pub fn of_firmware(bytes: Arc<Vec<u8>>) -> FirmwareElf {
        FirmwareElf { bytes, path: None }
    }

    /// The ELF that the user names, if it tells of code.
    pub fn from_args(args: &DecodeArgs) -> Result<Option<FirmwareElf>, Failure> {
        args.elf.as_deref().map(FirmwareElf::read).transpose()
    }

    /// Reads an ELF, which must tell of code.
    pub fn read(path: &Path) -> Result<FirmwareElf, Failure> {
        let bytes = read::read(path)?;
        if let Err(error) = Symbols::from_elf(&bytes) {
            return Err(of_file(path, Failure::input(error.to_string())));
        }
        Ok(FirmwareElf { bytes: Arc::new(bytes), path: Some(path.to_owned()) })
    }

    /// Returns its symbols, if its debug information can be read.
    pub fn symbols(&self) -> Option<Symbols<'_>> {
        Symbols::from_elf(&self.bytes).ok()
    }

    /// Whether `text` stands in it.
    pub fn holds(&self, text: &str) -> bool {
        self.bytes.windows(text.len().max(1)).any(|part| part == text.as_bytes())
    }

    /// Its SHA-256 in hex.
    pub fn hash(&self) -> String {
        hex(&esplice_image::sha256(&self.bytes))
    }

    /// The texts of ESP-IDF's binary log, if it has one that can be read.
    pub fn binary_log(&self, shell: &mut Shell) -> Option<Arc<BinaryLog>> {
        let log = match BinaryLog::from_elf(&self.bytes) {
            Ok(log) => log?,
            Err(error) => {
                shell.warning(&format!("the log stays as it comes: {error}"));
                return None;
            }
        };
        // The bootloader logs by itself, and is built into a directory beside the app.
        let bootloader = self.path.as_deref().and_then(Path::parent);
        let bootloader = bootloader.map(|directory| directory.join("bootloader/bootloader.elf"));
        let bytes = bootloader.and_then(|path| read::read_bounded(&path).ok());
        let with = bytes.and_then(|bytes| log.clone().with_bootloader(&bytes).ok());
        Some(Arc::new(with.unwrap_or(log)))
    }

    /// The texts of its defmt log, if it has one that can be read.
    pub fn defmt(&self, shell: &mut Shell) -> Option<Arc<DefmtTable>> {
        match DefmtTable::from_elf(&self.bytes) {
            Ok(table) => table.map(Arc::new),
            Err(error) => {
                shell.warning(&format!("the log stays as it comes: {error}"));
                None
            }
        }
    }
}

/// The ELF beside an image at `path`, if the image was made of it: `hash` is what the image says of
/// its ELF.
pub fn beside(path: &Path, hash: &[u8; 32], shell: &mut Shell) -> Option<FirmwareElf> {
    let beside: PathBuf = path.with_extension("elf");
    let bytes = read::read_bounded(&beside).ok()?;
    if esplice_image::sha256(&bytes) != *hash {
        let (elf, image) = (beside.display(), path.display());
        shell.status(&format!("{elf} is not what {image} was made of: panics are not decoded"));
        return None;
    }
    Some(FirmwareElf { bytes: Arc::new(bytes), path: Some(beside) })
}
