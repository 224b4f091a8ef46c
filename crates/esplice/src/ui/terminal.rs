//! The terminal's raw mode, and giving the terminal back.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

/// A terminal in raw mode: each key comes as it is pressed, and none is a signal.
pub struct RawMode;

/// Whether a [`RawMode`] is in use.
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

/// Gives the terminal back as it was, if it is in raw mode; for ends that run no destructors, too.
pub fn restore_terminal() {
    IS_RAW.store(false, Ordering::SeqCst);
    // There is nothing left to try.
    let _ = crossterm::terminal::disable_raw_mode();
}

/// Restores the terminal for as long as the program is stopped.
#[cfg(unix)]
pub fn suspend_terminal() {
    if IS_RAW.load(Ordering::SeqCst) {
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Takes the terminal again after [`suspend_terminal`], unless it is somebody else's now.
#[cfg(unix)]
pub fn resume_terminal() {
    if IS_RAW.load(Ordering::SeqCst) && in_foreground() {
        let _ = make_raw();
    }
}

/// Has the terminal go on to make line ends of `\n`, which raw mode would stop: all that is printed
/// would need `\r` of its own.
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

/// Whether the terminal is this program's at the moment; to touch it from the background would stop it.
#[cfg(unix)]
pub fn in_foreground() -> bool {
    nix::unistd::tcgetpgrp(io::stdin()).is_ok_and(|group| group == nix::unistd::getpgrp())
}

#[cfg(not(unix))]
pub fn in_foreground() -> bool {
    true
}
