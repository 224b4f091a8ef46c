//! Describes a board, even one that reveals hardly anything.

use std::sync::Arc;

use esplice_chip::Chip;
use esplice_protocol::{Opcode, Port, SecurityInfo};

use crate::{
    ChipInfo, ErrorClass, FlashError, FlashEvent, FlashOptions, Security, Session,
    detect::chip_of_id, flash::with_session,
};

/// Description of a board.
#[derive(Debug, Clone, PartialEq)]
pub enum Survey {
    /// The complete description.
    Full(ChipInfo),
    /// The little that a loader reveals in secure download mode.
    Secure {
        /// The chip, if the loader reports it.
        chip: Option<Arc<Chip>>,
        /// Security state of the chip.
        security: Security,
    },
}

/// Does `work` with a board that was found and identified ([`Session::bring_up`]). The last event
/// is always [`FlashEvent::Statistics`], even if an error follows.
///
/// # Errors
/// See [`FlashError`], and the errors of `work`.
pub fn with_board<P: Port + ?Sized, T>(
    port: &mut P,
    options: &FlashOptions,
    events: &mut dyn FnMut(FlashEvent),
    work: impl FnOnce(&mut Session<'_, P>, &ChipInfo) -> Result<T, FlashError>,
) -> Result<T, FlashError> {
    with_session(port, options, events, |session| {
        let info = session.bring_up(options)?;
        work(session, &info)
    })
}

/// Finds a board and describes it, using the ROM loader. Nothing is written.
///
/// # Errors
/// See [`FlashError`]. Secure download mode is not an error, but an unknown chip ID is.
pub fn survey<P: Port + ?Sized>(
    port: &mut P,
    options: &FlashOptions,
    events: &mut dyn FnMut(FlashEvent),
) -> Result<Survey, FlashError> {
    with_session(port, options, events, |session| match session.bring_up(options) {
        Ok(info) => Ok(Survey::Full(info)),
        Err(error) if error.class() == ErrorClass::Security => {
            let read = |session: &mut Session<'_, P>| session.security_info();
            let info = session.read_until_equal(Opcode::GetSecurityInfo, read)?;
            let Some(info) = info else { return Err(error) };
            let chip = match info.chip_id {
                Some(id) => Some(chip_of_id(&session.chips, id)?),
                None => None,
            };
            Ok(Survey::Secure { chip, security: Security::of(&info) })
        }
        Err(error) => Err(error),
    })
}

impl Security {
    /// Decodes the security state that the ROM reports.
    pub fn of(info: &SecurityInfo) -> Security {
        Security {
            secure_boot: info.flags & SecurityInfo::SECURE_BOOT != 0,
            flash_encryption: info.flash_crypt_cnt.count_ones() % 2 == 1,
            secure_download: info.flags & SecurityInfo::SECURE_DOWNLOAD != 0,
        }
    }
}
