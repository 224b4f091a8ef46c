//! Reads the user's input: keys of a terminal in raw mode, or bytes from a pipe.

use std::{
    io::{self, IsTerminal as _, Read as _},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use super::keys::{Key, Keys};
use crate::ui::{
    interrupt::Interrupt,
    terminal::{RawMode, in_foreground},
};

/// Number of input pieces that wait for the board; the rest stays with the system.
const WAITING: usize = 16;

/// Size of a piece in bytes.
const PIECE: usize = 1024;

/// Standard input, read in parallel with the ports.
pub struct Console {
    keys: Receiver<Key>,
    /// Raw mode, held as long as keys are read.
    raw: Option<RawMode>,
}

impl Console {
    /// Starts reading standard input: keys if it is a terminal that this program has to itself,
    /// else bytes for the board. Returns `None` if the terminal is in use by another program, such
    /// as a pager for the output, or if this program is in the background.
    pub fn open(interrupt: &Interrupt) -> Option<Console> {
        let terminal = io::stdin().is_terminal();
        let raw = if terminal {
            if !io::stdout().is_terminal() || !in_foreground() {
                return None;
            }
            Some(RawMode::enter().ok()?)
        } else {
            None
        };
        let (sender, keys) = sync_channel(WAITING);
        let interrupt = interrupt.clone();
        std::thread::spawn(move || read(&sender, terminal, &interrupt));
        Some(Console { keys, raw })
    }

    /// Returns whether keys are read.
    pub fn has_keys(&self) -> bool {
        self.raw.is_some()
    }

    /// Returns the next key, if there is one.
    pub fn next(&mut self) -> Option<Key> {
        // The monitor continues after the end of its input.
        self.keys.try_recv().ok()
    }
}

fn read(sender: &SyncSender<Key>, terminal: bool, interrupt: &Interrupt) {
    let mut keys = Keys::default();
    let mut buf = [0; PIECE];
    loop {
        let read = match io::stdin().lock().read(&mut buf) {
            Ok(0) => return,
            Ok(count) => buf.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let found = if terminal { keys.push(read) } else { vec![Key::Send(read.to_vec())] };
        for key in found {
            let leaves = matches!(key, Key::Quit | Key::Interrupt);
            // No receiver is left: the program is ending.
            if leaves {
                // If the channel is full, the interrupt below must suffice.
                let _ = sender.try_send(key);
                // Wakes a port that is waiting.
                interrupt.ask();
            } else if sender.send(key).is_err() {
                return;
            }
        }
    }
}
