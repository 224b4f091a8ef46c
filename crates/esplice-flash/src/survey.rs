//! What a board is, also where it tells hardly anything.

use esplice_chip::Chip;
use esplice_protocol::{Opcode, Port, SecurityInfo};

use crate::{
    ChipInfo, ErrorClass, FlashError, FlashEvent, FlashOptions, Security, Session,
    detect::chip_of_id, flash::with_session,
};

/// What a board is.
#[derive(Debug, Clone, PartialEq)]
pub enum Survey {
    /// All of it.
    Full(ChipInfo),
    /// In secure download mode a loader tells no more than this.
    Secure {
        /// The chip, if it tells which.
        chip: Option<&'static str>,
        /// Its security state.
        security: Security,
    },
}

/// Does `work` with a board that was found and asked what it is ([`Session::bring_up`]). The last event
/// is always [`FlashEvent::Statistics`], also before an error.
///
/// # Errors
/// See [`FlashError`], and `work`'s.
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

/// Finds a board and tells what it is, by the ROM loader; nothing is written.
///
/// # Errors
/// See [`FlashError`]; secure download mode is none, but a chip id that is not known is.
pub fn survey<P: Port + ?Sized>(
    port: &mut P,
    options: &FlashOptions,
    events: &mut dyn FnMut(FlashEvent),
) -> Result<Survey, FlashError> {
    with_session(port, options, events, |session| match session.bring_up(options) {
        Ok(info) => Ok(Survey::Full(info)),
        Err(error) if error.class() == ErrorClass::Security => {
            let read = |session: &mut Session<'_, P>| session.security_info();
            let info = session.agreed(Opcode::GetSecurityInfo, read)?;
            let Some(info) = info else { return Err(error) };
            let chip = match info.chip_id {
                Some(id) => Some(chip_of_id(id)?),
                None => None,
            };
            Ok(Survey::Secure {
                chip: chip.map(|chip: &'static Chip| chip.display_name.as_str()),
                security: Security::of(&info),
            })
        }
        Err(error) => Err(error),
    })
}

impl Security {
    /// As the ROM tells it.
    pub fn of(info: &SecurityInfo) -> Security {
        Security {
            secure_boot: info.flags & SecurityInfo::SECURE_BOOT != 0,
            flash_encryption: info.flash_crypt_cnt.count_ones() % 2 == 1,
            secure_download: info.flags & SecurityInfo::SECURE_DOWNLOAD != 0,
        }
    }
}
