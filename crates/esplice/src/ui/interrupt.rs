//! Ctrl-C: the first asks the work to stop, so that the board is left in a known state; the second
//! ends the program. Other signals that stop or end it find the terminal as the shell expects it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::ui::{exit::Exit, terminal};

/// The wish to stop, which ports look at whenever they wait.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// What the ports see: it goes down again when the board is to be left in order.
    ports: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens for Ctrl-C, and for the signal that asks a program to end.
    pub fn listen() -> Interrupt {
        let interrupt = Interrupt::default();
        let on_signal = interrupt.clone();
        let handler = move || {
            if on_signal.is_asked() {
                // No destructor runs any more.
                terminal::restore_terminal();
                std::process::exit(Exit::Interrupted.number().into());
            }
            on_signal.ask();
        };
        // Without a handler Ctrl-C just ends the program, which is no reason to refuse to work.
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

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Has ports wait for nothing any more: what they were for is over.
    pub fn stop_ports(&self) {
        self.ports.store(true, Ordering::SeqCst);
    }

    /// Lets ports work again, for what is to be put in order before the end.
    pub fn let_ports_work(&self) {
        self.ports.store(false, Ordering::SeqCst);
    }

    /// What a port looks at.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ports)
    }
}

/// Restores the terminal before SIGQUIT ends the program or SIGTSTP stops it, and takes it again when it
/// goes on.
#[cfg(unix)]
fn give_terminal_back() {
    use signal_hook::{
        consts::{SIGCONT, SIGQUIT, SIGTSTP},
        iterator::Signals,
        low_level::emulate_default_handler,
    };
    // Without it these signals do what they always do.
    let Ok(mut signals) = Signals::new([SIGQUIT, SIGTSTP, SIGCONT]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCONT {
                terminal::resume_terminal();
            } else {
                terminal::suspend_terminal();
                // A stopped program goes on from here.
                let _ = emulate_default_handler(signal);
            }
        }
    });
}
