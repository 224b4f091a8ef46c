//! Detects the board: chip, revision, MAC address, flash and security state.

use std::sync::Arc;

use esplice_chip::{Addr, Chip, ChipDb, EfuseField};
use esplice_protocol::{Opcode, Port, Request, SecurityInfo};

use crate::{
    FlashError, FlashEvent, Session,
    event::{ChipInfo, Security, StageState},
    session::SHORT,
};

/// Bytes of a block erase, a sector erase and a page, and the mask of status bits. All flash chips
/// that ROM loaders support share them (esptool documentation, "Serial Protocol", SPI_SET_PARAMS).
const GEOMETRY: (u32, u32, u32, u32) = (0x1_0000, 0x1000, 0x100, 0xffff);

impl<P: Port + ?Sized> Session<'_, P> {
    /// Identifies the chip and its security state. If `wanted` is given, the chip must match it.
    ///
    /// # Errors
    /// [`FlashError::UnknownChip`], [`FlashError::WrongChip`], [`FlashError::Security`] in secure
    /// download mode, where the ROM answers nothing else.
    pub fn identify(&mut self, wanted: Option<&Chip>) -> Result<(Arc<Chip>, Security), FlashError> {
        let found = self.identify_first(wanted)?;
        self.confirm()?;
        Ok(found)
    }

    /// Identifies like [`Session::identify`], but without the second reading. [`Session::prefetch`]
    /// or [`Session::confirm`] must follow before anything is written to the chip or reported.
    pub(crate) fn identify_first(
        &mut self,
        wanted: Option<&Chip>,
    ) -> Result<(Arc<Chip>, Security), FlashError> {
        match self.identify_once(wanted) {
            // Replies carry no checksum, so an error that stops the work is confirmed first.
            Err(
                FlashError::UnknownChip { .. }
                | FlashError::WrongChip { .. }
                | FlashError::Security { .. },
            ) => self.identify_once(wanted),
            other => other,
        }
    }

    /// Reads what identified the chip a second time, unless that was already done.
    ///
    /// # Errors
    /// [`FlashError::Unstable`] if it differs, and the errors of commands.
    pub(crate) fn confirm(&mut self) -> Result<(), FlashError> {
        let Some(claimed) = self.unconfirmed.take() else { return Ok(()) };
        if self.security_info()? == claimed {
            Ok(())
        } else {
            Err(FlashError::Unstable { command: Opcode::GetSecurityInfo })
        }
    }

    fn identify_once(
        &mut self,
        wanted: Option<&Chip>,
    ) -> Result<(Arc<Chip>, Security), FlashError> {
        let info = self.security_info()?;
        self.unconfirmed = Some(info.clone());
        if info.as_ref().is_some_and(|info| info.flags & SecurityInfo::SECURE_DOWNLOAD != 0) {
            return Err(FlashError::Security {
                state: "secure download mode",
                refused: "the ROM loader neither reads registers nor verifies flash",
            });
        }
        let chip = match info.as_ref().and_then(|info| info.chip_id) {
            Some(id) => chip_of_id(&self.chips, id)?,
            None => self.chip_by_magic()?,
        };
        if let Some(wanted) = wanted.filter(|wanted| wanted.name != chip.name) {
            return Err(FlashError::WrongChip {
                found: chip.name.clone(),
                wanted: wanted.name.clone(),
            });
        }
        self.adopt(&chip);
        let security = match info {
            Some(info) => Security::of(&info),
            None => Security {
                secure_boot: self.efuse(&chip, "secure-boot-en")?.is_some_and(|bit| bit != 0)
                    || self.efuse(&chip, "secure-boot-v2-en")?.is_some_and(|bit| bit != 0),
                flash_encryption: self
                    .efuse(&chip, "spi-boot-crypt-cnt")?
                    .is_some_and(|count| count.count_ones() % 2 == 1),
                secure_download: false,
            },
        };
        Ok((chip, security))
    }

    /// Attaches the flash chip, reads the board's description and reports it as
    /// [`FlashEvent::Chip`].
    ///
    /// # Errors
    /// [`FlashError::FlashSize`] if the flash chip does not answer or its size is one that the chip
    /// does not support, and the errors of commands.
    pub fn examine(
        &mut self,
        chip: &Arc<Chip>,
        security: Security,
    ) -> Result<ChipInfo, FlashError> {
        self.prefetch(chip, &[])?;
        let mac = self.efuse(chip, "mac")?.unwrap_or(0).to_be_bytes();
        let [_, _, mac @ ..] = mac;
        let revision = self.revision(chip)?;
        let package = self.efuse(chip, "pkg-version")?;
        let mut features = chip.features.always.clone();
        features.extend(
            package
                .and_then(|package| usize::try_from(package).ok())
                .and_then(|package| chip.features.packages.get(package))
                .filter(|name| !name.is_empty())
                .cloned(),
        );
        let (flash_id, flash_size) = self.attach_flash(chip)?;
        let chip = chip.clone();
        let info = ChipInfo { chip, revision, mac, features, flash_id, flash_size, security };
        self.report(FlashEvent::Chip(info.clone()));
        self.stage("detect", StageState::Done);
        Ok(info)
    }

    /// Returns the chip revision: major, minor.
    pub(crate) fn revision(&mut self, chip: &Chip) -> Result<(u8, u8), FlashError> {
        chip.efuse.revision(|field| Ok(self.efuse(chip, field)?.unwrap_or(0)))
    }

    /// Attaches the flash chip, reads its ID, and sets its size in the loader.
    pub(crate) fn attach_flash(&mut self, chip: &Chip) -> Result<([u8; 3], u32), FlashError> {
        let attach = self.loader().attach();
        let at = |register: u32| chip.spi.base.0.wrapping_add(register);
        let users = [at(chip.spi.usr), at(chip.spi.usr2)];
        let known = self.request_and_read(Some(attach.clone()), &users)?;
        if known.is_none() {
            self.command_with_retry(&attach, SHORT)?;
        }
        let mut id = self.flash_id(&chip.spi, known)?;
        if flash_size(chip, id).is_none() {
            id = self
                .read_until_equal(Opcode::ReadReg, |session| session.flash_id_singly(&chip.spi))?;
        }
        let size = flash_size(chip, id)
            .ok_or_else(|| FlashError::FlashSize { id, chip: chip.name.clone() })?;
        self.set_flash_params(size)?;
        Ok((id, size))
    }

    /// Attaches a flash chip whose size is already known.
    pub(crate) fn set_flash(&mut self, size: u32) -> Result<(), FlashError> {
        self.command_with_retry(&self.loader().attach(), SHORT)?;
        self.set_flash_params(size)
    }

    pub(crate) fn set_flash_params(&mut self, total: u32) -> Result<(), FlashError> {
        let (block, sector, page, status_mask) = GEOMETRY;
        let request = Request::SpiSetParams { total, block, sector, page, status_mask };
        self.command_with_retry(&request, SHORT).map(|_| ())
    }

    pub(crate) fn security_info(&mut self) -> Result<Option<SecurityInfo>, FlashError> {
        match self.command_with_retry(&Request::GetSecurityInfo, SHORT) {
            Ok(answer) => Ok(SecurityInfo::from_bytes(&answer.data)),
            Err(FlashError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn chip_by_magic(&mut self) -> Result<Arc<Chip>, FlashError> {
        let mut read: Vec<(Addr, u32)> = Vec::new();
        for chip in self.chips.clone().chips() {
            let Some(addr) = chip.loader.magic_addr else { continue };
            let magic = match read.iter().find(|(a, _)| *a == addr) {
                Some((_, magic)) => *magic,
                None => {
                    let magic = self.read_reg(addr.0)?;
                    read.push((addr, magic));
                    magic
                }
            };
            if chip.loader.magic_values.contains(&magic) {
                return Ok(chip.clone());
            }
        }
        let magic = read.first().map(|(_, magic)| *magic);
        Err(FlashError::UnknownChip { chip_id: None, magic })
    }

    /// Returns the eFuse field `name`, or `None` if the chip has no such field.
    fn efuse(&mut self, chip: &Chip, name: &str) -> Result<Option<u64>, FlashError> {
        let Some(field) = chip.efuse.field(name) else { return Ok(None) };
        self.efuse_field(field).map(Some)
    }

    fn efuse_field(&mut self, field: &EfuseField) -> Result<u64, FlashError> {
        let mut words = Vec::new();
        for addr in field.addrs() {
            words.push((addr, self.efuse_word(addr)?));
        }
        Ok(field.value(|addr| words.iter().find(|(a, _)| *a == addr).map_or(0, |(_, word)| *word)))
    }
}

/// Returns the chip with that ID.
pub(crate) fn chip_of_id(chips: &ChipDb, id: u32) -> Result<Arc<Chip>, FlashError> {
    let chip = u16::try_from(id).ok().and_then(|id| chips.find_by_id(id));
    chip.cloned().ok_or(FlashError::UnknownChip { chip_id: Some(id), magic: None })
}

/// Returns the flash size encoded in the ID, if the chip supports that size.
fn flash_size(chip: &Chip, id: [u8; 3]) -> Option<u32> {
    let size = 1_u32.checked_shl(u32::from(id[2]))?;
    chip.image.flash_size_code(size).map(|_| size)
}
