//! The terminal's raw mode, and giving the terminal back.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

/// Raw mode of the terminal: each key arrives as it is pressed, and none raises a signal.
pub struct RawMode;

/// True if a [`RawMode`] is active.
static IS_RAW: AtomicBool = AtomicBool::new(false);

impl RawMode {
    pub fn enter() -> io::Result<RawMode> {
        IS_RAW.store(true, Ordering::SeqCst);
        let mode = RawMode;
        make_raw()?;
        Ok(mode)
    }
}

fn make_raw() -> io::Result<()> {
    crossterm::terminal::enable_raw_mode()?;
    keep_line_ends()
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Restores the terminal if it is in raw mode. Also called on exits that run no destructors.
pub fn restore_terminal() {
    IS_RAW.store(false, Ordering::SeqCst);
    // A failure leaves nothing else to try.
    let _ = crossterm::terminal::disable_raw_mode();
}

/// Restores the terminal while the program is stopped.
#[cfg(unix)]
pub fn suspend_terminal() {
    if IS_RAW.load(Ordering::SeqCst) {
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Returns to raw mode after [`suspend_terminal`], unless another program owns the terminal now.
#[cfg(unix)]
pub fn resume_terminal() {
    if IS_RAW.load(Ordering::SeqCst) && in_foreground() {
        let _ = make_raw();
    }
}

/// Keeps the terminal's conversion of `\n` to line ends, which raw mode disables: otherwise all
/// output would need `\r`.
#[cfg(unix)]
fn keep_line_ends() -> io::Result<()> {
    use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};
    let stdin = io::stdin();
    let mut mode = tcgetattr(&stdin)?;
    mode.output_flags |= OutputFlags::OPOST | OutputFlags::ONLCR;
    Ok(tcsetattr(&stdin, SetArg::TCSANOW, &mode)?)
}

#[cfg(not(unix))]
fn keep_line_ends() -> io::Result<()> {
    Ok(())
}

/// Returns whether this program owns the terminal; changing it from the background would stop the
/// program.
#[cfg(unix)]
pub fn in_foreground() -> bool {
    nix::unistd::tcgetpgrp(io::stdin()).is_ok_and(|group| group == nix::unistd::getpgrp())
}

#[cfg(not(unix))]
pub fn in_foreground() -> bool {
    true
}
