//! The user's end of the line: a terminal in raw mode, or what is piped in.

use std::{
    io::{self, IsTerminal as _, Read as _},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use super::keys::{Key, Keys};
use crate::ui::{
    interrupt::Interrupt,
    terminal::{RawMode, in_foreground},
};

/// Pieces of input that wait for the board; more are left with the system.
const WAITING: usize = 16;

/// Bytes of a piece.
const PIECE: usize = 1024;

/// Input, read beside the ports.
pub struct Console {
    keys: Receiver<Key>,
    /// Held for as long as keys are read.
    raw: Option<RawMode>,
}

impl Console {
    /// Begins to read standard input: keys where it is a terminal that this program has to itself, else
    /// bytes for the board. None if it is a terminal that belongs to somebody else, such as when output
    /// goes to a pager, or the program is in the background.
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

    /// Whether keys are read.
    pub fn has_keys(&self) -> bool {
        self.raw.is_some()
    }

    /// The next key, if there is one.
    pub fn next(&mut self) -> Option<Key> {
        // The input's end is not the monitor's.
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
            // Nobody listens any more: the program ends.
            if leaves {
                // Where the channel is full the wish alone has to do.
                let _ = sender.try_send(key);
                // A port that waits is told so.
                interrupt.ask();
            } else if sender.send(key).is_err() {
                return;
            }
        }
    }
}
