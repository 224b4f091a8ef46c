//! Handles Ctrl-C: the first asks the work to stop, so that the board is left in a known state; the
//! second ends the program. Other signals that stop or end the program restore the terminal first.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::ui::{exit::Exit, terminal};

/// A request to stop, which ports check whenever they wait.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// The flag that ports check; cleared when the board is put into a safe state.
    ports: Arc<AtomicBool>,
    /// True while Ctrl-C is meant for a program that esplice has started in the terminal.
    left: Arc<AtomicBool>,
}

impl Interrupt {
    /// Starts listening for Ctrl-C and for the signal that asks a program to end.
    pub fn listen() -> Interrupt {
        let interrupt = Interrupt::default();
        let on_signal = interrupt.clone();
        let handler = move || {
            if on_signal.left.load(Ordering::SeqCst) {
                return;
            }
            if on_signal.is_asked() {
                // No destructors run after this.
                terminal::restore_terminal();
                std::process::exit(Exit::Interrupted.number().into());
            }
            on_signal.ask();
        };
        // Without a handler, Ctrl-C just ends the program; that is acceptable.
        let _ = ctrlc::set_handler(handler);
        #[cfg(unix)]
        give_terminal_back();
        interrupt
    }

    /// Asks the work to stop.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.ports.store(true, Ordering::SeqCst);
    }

    /// Ignores Ctrl-C from now on, because a program started in the same terminal handles it.
    pub fn leave_to_child(&self) {
        self.left.store(true, Ordering::SeqCst);
    }

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Makes ports stop waiting, because their task is over.
    pub fn stop_ports(&self) {
        self.ports.store(true, Ordering::SeqCst);
    }

    /// Lets ports work again, to put the board into a safe state.
    pub fn let_ports_work(&self) {
        self.ports.store(false, Ordering::SeqCst);
    }

    /// Returns the flag that a port checks.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ports)
    }
}

/// Restores the terminal before SIGQUIT ends the program or SIGTSTP stops it, and returns to raw
/// mode when the program continues.
#[cfg(unix)]
fn give_terminal_back() {
    use signal_hook::{
        consts::{SIGCONT, SIGQUIT, SIGTSTP},
        iterator::Signals,
        low_level::emulate_default_handler,
    };
    // Without it, these signals have their default effect.
    let Ok(mut signals) = Signals::new([SIGQUIT, SIGTSTP, SIGCONT]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCONT {
                terminal::resume_terminal();
            } else {
                terminal::suspend_terminal();
                // A stopped program continues here.
                let _ = emulate_default_handler(signal);
            }
        }
    });
}
