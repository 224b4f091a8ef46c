//! The ELF that a running firmware was made of, for decoding what the board prints.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use esplice_monitor::{BinaryLog, DefmtTable, Symbols};

use crate::{
    cli::args::DecodeArgs,
    files::{elf_file::Elf, of_file, read},
    ui::{exit::Failure, shell::Shell},
};

/// The ELF of the running firmware.
#[derive(Debug)]
pub struct FirmwareElf {
    bytes: Arc<Vec<u8>>,
    /// Path of the ELF, if it was read from a file.
    path: Option<PathBuf>,
}

impl FirmwareElf {
    /// Wraps an ELF that the firmware was made from.
    pub fn of_firmware(elf: Elf) -> FirmwareElf {
        FirmwareElf { bytes: elf.bytes, path: elf.path }
    }

    /// Reads the ELF that the user named, which must contain code.
    pub fn from_args(args: &DecodeArgs) -> Result<Option<FirmwareElf>, Failure> {
        args.elf.as_deref().map(FirmwareElf::read).transpose()
    }

    /// Reads an ELF, which must contain code.
    pub fn read(path: &Path) -> Result<FirmwareElf, Failure> {
        let bytes = read::read(path)?;
        if let Err(error) = Symbols::from_elf(&bytes) {
            return Err(of_file(path, Failure::input(error.to_string())));
        }
        Ok(FirmwareElf { bytes: Arc::new(bytes), path: Some(path.to_owned()) })
    }

    /// Returns the path of the file, if it was read from one.
    pub fn path(&self) -> Option<PathBuf> {
        self.path.clone()
    }

    /// Returns its symbols, if its debug information can be read.
    pub fn symbols(&self) -> Option<Symbols<'_>> {
        Symbols::from_elf(&self.bytes).ok()
    }

    /// Returns whether the ELF contains `text`.
    pub fn holds(&self, text: &str) -> bool {
        self.bytes.windows(text.len().max(1)).any(|part| part == text.as_bytes())
    }

    /// Returns the SHA-256 of the ELF in hex.
    pub fn hash(&self) -> String {
        hex::encode(esplice_image::sha256(&self.bytes))
    }

    /// Returns the format strings of ESP-IDF's binary log, if there are any and they can be read.
    pub fn binary_log(&self, shell: &mut Shell) -> Option<Arc<BinaryLog>> {
        let log = match BinaryLog::from_elf(&self.bytes) {
            Ok(log) => log?,
            Err(error) => {
                shell.warning(&format!("the log is shown undecoded: {error}"));
                return None;
            }
        };
        // The bootloader has a log of its own, and is built in a subdirectory next to the app.
        let bootloader = self.path.as_deref().and_then(Path::parent);
        let bootloader = bootloader.map(|directory| directory.join("bootloader/bootloader.elf"));
        let bytes = bootloader.and_then(|path| read::read_bounded(&path).ok());
        let with = bytes.and_then(|bytes| log.clone().with_bootloader(&bytes).ok());
        Some(Arc::new(with.unwrap_or(log)))
    }

    /// Returns the format strings of the defmt log, if there are any and they can be read.
    pub fn defmt(&self, shell: &mut Shell) -> Option<Arc<DefmtTable>> {
        match DefmtTable::from_elf(&self.bytes) {
            Ok(table) => table.map(Arc::new),
            Err(error) => {
                shell.warning(&format!("the log is shown undecoded: {error}"));
                None
            }
        }
    }
}

/// Returns the ELF next to the image at `path`, if the image was made from it. `hash` is the ELF's
/// hash according to the image.
pub fn elf_next_to(path: &Path, hash: &[u8; 32], shell: &mut Shell) -> Option<FirmwareElf> {
    let elf_path: PathBuf = path.with_extension("elf");
    let bytes = read::read_bounded(&elf_path).ok()?;
    if esplice_image::sha256(&bytes) != *hash {
        let (elf, image) = (elf_path.display(), path.display());
        shell.status(&format!(
            "{elf} is not the ELF that {image} was made from: panics are not decoded"
        ));
        return None;
    }
    Some(FirmwareElf { bytes: Arc::new(bytes), path: Some(elf_path) })
}
