//! Leaves the loader: resets the board to run, without losing a byte of its output.

use std::{sync::Arc, time::Duration};

use esplice_chip::{Chip, ChipDb};
use esplice_protocol::{FlashBegin, Moment, Port, PortError, Request};

use crate::{FlashError, FlashEvent, Session, Strategy, reset::EN_LOW};

/// Time after which the ROM has read the strapping pins, even where EN rises slowly: the wait of
/// the classic strategies.
const STRAPS_READ: Duration = Duration::from_millis(50);

/// Time for the ROM to answer before it resets.
const END: Duration = Duration::from_millis(500);

/// Resets the board to run the program in its flash: holds EN low by RTS and leaves the boot pin
/// high. Returns the moment at which the reset was released. From then on the port's input is the
/// complete output of the new boot and nothing from before. Returns `None` if the port has no
/// lines and nothing was done.
///
/// The caller sets up its searches before the call, and reads the same port afterwards.
///
/// # Errors
/// Port errors.
pub fn reset_to_run<P: Port + ?Sized>(
    port: &mut P,
    baud: u32,
) -> Result<Option<Moment>, PortError> {
    if !hold_in_reset(port)? {
        return Ok(None);
    }
    port.set_baud(baud)?;
    // The board is silent while it is held, so pending input is old.
    port.clear_input()?;
    release(port).map(Some)
}

/// Resets the board into download mode by `strategy`, where its ROM loader waits. The boot pin is
/// released as soon as the ROM has certainly read it.
///
/// # Errors
/// Port errors.
pub fn reset_to_download<P: Port + ?Sized>(
    port: &mut P,
    strategy: &Strategy,
) -> Result<(), PortError> {
    // No loader is running that could take commands.
    strategy.perform(port)?;
    if strategy.holds_boot() {
        let until = port.now() + STRAPS_READ;
        port.wait_until(until)?;
        port.set_lines(false, false)?;
    }
    Ok(())
}

/// Holds the board in reset, for the time that EN needs. Returns false if the port has no lines.
///
/// # Errors
/// Port errors.
pub fn hold_in_reset<P: Port + ?Sized>(port: &mut P) -> Result<bool, PortError> {
    if !port.caps().lines {
        return Ok(false);
    }
    port.set_lines(false, true)?;
    let until = port.now() + EN_LOW;
    port.wait_until(until)?;
    Ok(true)
}

/// Releases the board from reset. Returns the moment just before.
///
/// # Errors
/// Port errors.
pub fn release<P: Port + ?Sized>(port: &mut P) -> Result<Moment, PortError> {
    let moment = port.now();
    port.set_lines(false, false)?;
    Ok(moment)
}

/// Starts the program in flash, by the lines if the port has them. Otherwise the loader is
/// requested to reset, which boots from flash unless the boot pin is still held. The port is then
/// set to `baud`, the firmware's rate. Returns the moment from which on the port's input is the
/// complete output of the new boot (except for the rest of the loader's reply). Returns `None`,
/// after a warning, if no loader answered.
///
/// # Errors
/// Port errors.
pub fn start<P: Port + ?Sized>(
    port: &mut P,
    chip: &Arc<Chip>,
    baud: u32,
    events: &mut dyn FnMut(FlashEvent),
) -> Result<Option<Moment>, FlashError> {
    if let Some(moment) = reset_to_run(port, baud)? {
        return Ok(Some(moment));
    }
    // The chip is known, so no other is looked up.
    let mut session = Session::new(port, ChipDb::embedded(), Some(chip), events);
    if session.ask_to_reset(chip)? {
        let moment = session.port.now();
        session.set_port_baud(baud)?;
        return Ok(Some(moment));
    }
    session.warn("the port has no DTR and RTS to reset the board: press its RESET button".into());
    session.set_port_baud(baud)?;
    Ok(None)
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Requests a reset from the loader. Returns true if the loader agreed.
    ///
    /// An END with flag 0 makes a ROM loader reset. It only counts once all announced blocks have
    /// arrived, so a BEGIN without blocks, which erases nothing, is sent first. The deflated kind
    /// is preferred: if refused, it leaves the loader usable, while the plain kind does not.
    ///
    /// If the chip's watchdog can reset it, the watchdog is used instead. That reset samples the
    /// boot pin again, while the software reset after an END would end in download mode again. A
    /// stub has no END at all.
    fn ask_to_reset(&mut self, chip: &Chip) -> Result<bool, FlashError> {
        if !self.resync()? {
            return Ok(false);
        }
        let is_stub = self.loader().is_stub();
        match chip.watchdog.reset().map(|reset| self.write_chip_regs(&reset)) {
            Some(Ok(())) => return Ok(true),
            Some(Err(error)) if !error.is_transient() => return Err(error),
            // In secure download mode the ROM refuses.
            Some(Err(_)) if !is_stub && self.resync()? => {}
            _ if is_stub => return Ok(false),
            _ => {}
        }
        let begin = FlashBegin {
            erase_len: 0,
            blocks: 0,
            block_len: chip.loader.rom_block,
            offset: 0,
            encrypt: chip.loader.begin_has_encrypt_word.then_some(0),
        };
        let (begin, end) = if chip.loader.deflate {
            (Request::FlashDeflBegin(begin), Request::FlashDeflEnd { stay: false })
        } else {
            (Request::FlashBegin(begin), Request::FlashEnd { stay: false })
        };
        let result = self.command(&begin, END).and_then(|_| self.last_command(&end, END));
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.is_transient() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
