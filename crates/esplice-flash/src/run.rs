//! Out of the loader: reset to run, without losing a byte of what the board then says.

use std::time::Duration;

use esplice_chip::Chip;
use esplice_protocol::{FlashBegin, Moment, Port, PortError, Request};

use crate::{FlashError, FlashEvent, Session, Strategy, reset::EN_LOW};

/// After the release of reset the ROM has read the strapping pins, also where EN rises slowly: what the
/// classic strategies wait.
const STRAPS_READ: Duration = Duration::from_millis(50);

/// Time for the ROM to answer before it resets.
const END: Duration = Duration::from_millis(500);

/// Resets the board to run what is in its flash: EN low by RTS, boot pin left alone. Returns the
/// moment at which the reset was released, from which on the port's input is all of the new boot
/// and nothing of before; `None` if the port has no lines and nothing was done.
///
/// The caller arms what it looks for before it calls this, and reads the same port afterwards.
///
/// # Errors
/// The port's.
pub fn reset_to_run<P: Port + ?Sized>(
    port: &mut P,
    baud: u32,
) -> Result<Option<Moment>, PortError> {
    if !hold_in_reset(port)? {
        return Ok(None);
    }
    port.set_baud(baud)?;
    // The board is silent while it is held: what is there is old.
    port.clear_input()?;
    release(port).map(Some)
}

/// Resets the board into download mode by `strategy`, where its ROM waits for a loader. The boot pin is
/// let go as soon as the ROM has surely read it.
///
/// # Errors
/// The port's.
pub fn reset_to_download<P: Port + ?Sized>(
    port: &mut P,
    strategy: &Strategy,
) -> Result<(), PortError> {
    // No loader runs that could be asked for more.
    strategy.perform(port)?;
    if strategy.holds_boot() {
        let until = port.now() + STRAPS_READ;
        port.wait_until(until)?;
        port.set_lines(false, false)?;
    }
    Ok(())
}

/// Holds the board in reset, at least as long as EN needs; false if the port has no lines.
///
/// # Errors
/// The port's.
pub fn hold_in_reset<P: Port + ?Sized>(port: &mut P) -> Result<bool, PortError> {
    if !port.caps().lines {
        return Ok(false);
    }
    port.set_lines(false, true)?;
    let until = port.now() + EN_LOW;
    port.wait_until(until)?;
    Ok(true)
}

/// Lets the board go; returns the moment just before.
///
/// # Errors
/// The port's.
pub fn release<P: Port + ?Sized>(port: &mut P) -> Result<Moment, PortError> {
    let moment = port.now();
    port.set_lines(false, false)?;
    Ok(moment)
}

/// Starts what is in flash, by the lines if the port has them; else the loader is asked to reset,
/// which boots from flash unless the boot pin is still held. The port is then at `baud`, at which the
/// firmware talks. Returns the moment from which on the port's input is all of the new boot (but for
/// the rest of the loader's reply); `None`, and a warning, if nobody could be asked.
///
/// # Errors
/// The port's.
pub fn start<P: Port + ?Sized>(
    port: &mut P,
    chip: &'static Chip,
    baud: u32,
    events: &mut dyn FnMut(FlashEvent),
) -> Result<Option<Moment>, FlashError> {
    if let Some(moment) = reset_to_run(port, baud)? {
        return Ok(Some(moment));
    }
    let mut session = Session::new(port, Some(chip), events);
    if session.ask_to_reset(chip)? {
        let moment = session.port.now();
        session.set_port_baud(baud)?;
        return Ok(Some(moment));
    }
    session.warn("the port has no DTR and RTS to reset the board with: press its RESET".into());
    session.set_port_baud(baud)?;
    Ok(None)
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// An END with flag 0 makes a ROM loader reset. It counts only where all announced blocks have
    /// come, so a BEGIN for nothing, which erases nothing, goes before it. The deflated kind is
    /// preferred: refused, it leaves the loader as it was, while the plain one leaves it dead.
    /// True if the loader agreed.
    ///
    /// Where the chip's watchdog can reset it, that is done instead: it samples the boot pin again, while
    /// the reset by software that an END leads to would end in download mode as before. A stub has no END
    /// at all.
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
