//! Out of the loader: reset to run, without losing a byte of what the board then says.

use std::time::Duration;

use esplice_chip::Chip;
use esplice_protocol::{FlashBegin, Moment, Port, PortError, Request};

use crate::{FlashError, Session, reset::EN_LOW};

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

impl<P: Port + ?Sized> Session<'_, P> {
    /// Resets the board to run. Over a port without lines the ROM loader is asked to reset, which
    /// boots from flash only if the boot pin is no longer held: `None` then, and a warning.
    ///
    /// # Errors
    /// The port's.
    pub fn run(&mut self, chip: &Chip) -> Result<Option<Moment>, FlashError> {
        let baud = self.first_baud();
        if let Some(moment) = reset_to_run(self.port, baud)? {
            self.baud = baud;
            return Ok(Some(moment));
        }
        self.ask_to_reset(chip)?;
        self.warn(
            "the port has no DTR and RTS: the loader was asked to reset; if the board stays \
             silent, press its RESET"
                .into(),
        );
        self.set_port_baud(baud)?;
        Ok(None)
    }

    /// An END with flag 0 makes a ROM loader reset. It counts only where all announced blocks have
    /// come, so a BEGIN for nothing, which erases nothing, goes before it. The deflated kind is
    /// preferred: refused, it leaves the loader as it was, while the plain one leaves it dead.
    fn ask_to_reset(&mut self, chip: &Chip) -> Result<(), FlashError> {
        let begin = FlashBegin {
            erase_len: 0,
            blocks: 0,
            block_len: chip.loader.rom_block,
            offset: 0,
            encrypt: chip.loader.begin_has_encrypt_word.then_some(0),
        };
        let requests = if chip.loader.deflate {
            [Request::FlashDeflBegin(begin), Request::FlashDeflEnd { stay: false }]
        } else {
            [Request::FlashBegin(begin), Request::FlashEnd { stay: false }]
        };
        for request in requests {
            match self.command(&request, END) {
                Ok(_) => {}
                Err(error) if error.is_transient() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
