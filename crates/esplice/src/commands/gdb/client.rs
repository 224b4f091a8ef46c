//! Finds a gdb that knows RISC-V, and runs it in the terminal.

use std::{
    io,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use crate::ui::{
    exit::{Exit, Failure},
    interrupt::Interrupt,
};

/// Names under which gdb is installed, the most specific first.
const NAMES: [&str; 5] = [
    "riscv32-esp-elf-gdb",
    "riscv32-unknown-elf-gdb",
    "riscv64-unknown-elf-gdb",
    "gdb-multiarch",
    "gdb",
];

/// A gdb that knows the chip's architecture.
pub struct Client {
    program: &'static str,
}

/// A gdb that was started.
pub struct Started {
    child: Arc<Mutex<Child>>,
    waiter: JoinHandle<()>,
}

/// Returns the first gdb on the path that knows the architecture.
pub fn find() -> Result<Client, Failure> {
    let mut other = None;
    for program in NAMES {
        match knows_riscv(program) {
            Ok(true) => return Ok(Client { program }),
            Ok(false) => other = other.or(Some(program)),
            Err(_) => {}
        }
    }
    let message = match other {
        Some(program) => format!("{program} does not know the architecture riscv:rv32"),
        None => "no gdb was found".to_owned(),
    };
    Err(Failure::new(Exit::ToolchainMissing, message).hint(
        "install gdb-multiarch (Debian, Ubuntu) or riscv32-esp-elf-gdb, or start a gdb yourself \
         without --launch",
    ))
}

/// Asks a gdb for the architecture, which fails if it was built for others.
fn knows_riscv(program: &str) -> io::Result<bool> {
    let arguments = ["-nx", "-batch", "-ex", "set architecture riscv:rv32"];
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    let refused = String::from_utf8_lossy(&output.stderr).contains("Undefined item");
    Ok(output.status.success() && !refused)
}

impl Client {
    /// Starts gdb with the ELF and connects it. `stop` is set when it ends. Ctrl-C is gdb's
    /// meanwhile.
    pub fn start(
        &self,
        elf: Option<&Path>,
        remote: &str,
        interrupt: &Interrupt,
        stop: Arc<AtomicBool>,
    ) -> Result<Started, Failure> {
        let mut command = Command::new(self.program);
        command.args(elf).args(["-ex", &format!("target remote {remote}")]);
        let child = command.spawn().map_err(|error| {
            let message = format!("cannot start {}: {error}", self.program);
            Failure::new(Exit::ToolchainMissing, message)
        })?;
        interrupt.leave_to_child();
        let child = Arc::new(Mutex::new(child));
        let waited = Arc::clone(&child);
        let waiter = std::thread::spawn(move || {
            // A shared child can't be waited for, because ending it needs the lock.
            while !stop.load(Ordering::Relaxed) {
                let ended = waited.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
                if !matches!(ended, Ok(None)) {
                    stop.store(true, Ordering::Relaxed);
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a program of the host is waited for"
                )]
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        });
        Ok(Started { child, waiter })
    }
}

impl Started {
    /// Ends gdb, if it has not ended, and waits for it.
    pub fn end(self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
        drop(child);
        let _ = self.waiter.join();
    }
}
