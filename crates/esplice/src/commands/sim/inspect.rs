//! Inspects a running virtual board: its state, its activity, and accesses to registers without a
//! device.

use std::{
    io::{self, BufRead, BufWriter, IsTerminal, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use esplice_monitor::Symbols;
use esplice_sim::{Board, Counters, RomNames, TraceEvent, TraceKinds, Traced};

use crate::{
    files::read,
    ui::{exit::Failure, printable::printable},
};

/// Maximum number of registers without a device that the summary names.
const MOST_UNKNOWN: usize = 24;
/// Maximum call depth by which a line of the trace is indented.
const DEEPEST: u32 = 40;

#[derive(Debug, Clone, clap::Args)]
pub struct InspectArgs {
    /// Trace the board to standard error: insn, device or calls, or several separated by commas
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    trace: Vec<Trace>,
    /// ELF of the firmware, for the names of its functions
    #[arg(long, value_name = "FILE")]
    elf: Option<PathBuf>,
    /// Print the board's state at this interval; on a terminal, Enter prints it as well
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    status: Option<u64>,
}

// Without doc comments, which would make the help of all flags long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Trace {
    Insn,
    Device,
    Calls,
}

/// Inspects one board.
pub struct Inspector {
    names: Arc<Names>,
    trace: Arc<Mutex<BufWriter<io::Stderr>>>,
    every: Option<Duration>,
    enter: Enter,
    /// Number of Enter key presses at the last check.
    pressed: u64,
    started: Instant,
    told: Instant,
    before: Counters,
}

impl Inspector {
    /// Sets up the tracing that `args` request, before `board` runs.
    pub fn new(args: &InspectArgs, enter: &Enter, board: &mut Board) -> Result<Self, Failure> {
        let elf = match &args.elf {
            None => None,
            Some(path) => {
                // The names are needed until the program ends.
                let bytes: &'static [u8] = Vec::leak(read::read(path)?);
                let symbols = Symbols::from_elf(bytes)
                    .map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
                Some(Mutex::new(symbols))
            }
        };
        let names = Arc::new(Names { elf, rom: board.rom_names() });
        let trace = Arc::new(Mutex::new(BufWriter::new(io::stderr())));
        let what = TraceKinds {
            instructions: args.trace.contains(&Trace::Insn),
            devices: args.trace.contains(&Trace::Device),
            calls: args.trace.contains(&Trace::Calls),
        };
        let (out, named) = (Arc::clone(&trace), Arc::clone(&names));
        board.trace(
            what,
            Arc::new(move |traced: &Traced| {
                if let Ok(mut out) = out.lock() {
                    // The board keeps running even if nobody reads the trace any more.
                    let _ = writeln!(out, "{}", printable(&line(traced, &named)));
                }
            }),
        );
        Ok(Inspector {
            names,
            trace,
            every: args.status.map(Duration::from_secs),
            enter: enter.clone(),
            pressed: 0,
            started: now(),
            told: now(),
            before: Counters::default(),
        })
    }

    /// Prints pending output; called between the board's turns.
    pub fn look(&mut self, board: &Board, tell: &mut dyn FnMut(String)) {
        self.flush();
        let pressed = self.enter.0.load(Ordering::Relaxed);
        let asked = std::mem::replace(&mut self.pressed, pressed) != pressed;
        let now = now();
        let since = now.saturating_duration_since(self.told);
        if asked || self.every.is_some_and(|every| since >= every) {
            let counters = board.counters();
            let executed = counters.instructions.saturating_sub(self.before.instructions);
            let mips = executed as f64 / since.as_secs_f64().max(1e-6) / 1e6;
            tell(self.status(board, &counters, mips));
            (self.told, self.before) = (now, counters);
        }
    }

    /// Prints the summary when the board is switched off.
    pub fn end(&mut self, board: &Board, tell: &mut dyn FnMut(String)) {
        self.flush();
        let counters = board.counters();
        let time = now().saturating_duration_since(self.started).as_secs_f64().max(1e-6);
        tell(self.status(board, &counters, counters.instructions as f64 / time / 1e6));
        let unknown = board.unlisted_accesses();
        if unknown.is_empty() {
            return;
        }
        tell(match unknown.len() {
            1 => "1 register without a device was accessed:".to_owned(),
            count => format!("{count} registers without a device were accessed:"),
        });
        for (addr, accesses) in unknown.iter().take(MOST_UNKNOWN) {
            tell(format!(
                "  {addr:#010x} read {} times, written {} times",
                accesses.reads, accesses.writes
            ));
        }
        if let Some(more) = unknown.len().checked_sub(MOST_UNKNOWN).filter(|more| *more > 0) {
            tell(format!("  and {more} more"));
        }
    }

    fn status(&self, board: &Board, counters: &Counters, mips: f64) -> String {
        let name = match self.names.of(board.pc()) {
            Some(name) => format!(" ({name})"),
            None => String::new(),
        };
        format!(
            "the board {}{name} at {:.3} s; {mips:.1} MIPS, {} bytes out and {} in, {} flash \
             operations of {} commands, {} resets",
            board.status(),
            board.now().as_secs_f64(),
            counters.sent,
            counters.received,
            counters.flash_operations,
            counters.flash_commands,
            counters.resets,
        )
    }

    fn flush(&self) {
        if let Ok(mut out) = self.trace.lock() {
            let _ = out.flush();
        }
    }
}

/// Names of addresses.
struct Names {
    elf: Option<Mutex<Symbols<'static>>>,
    rom: RomNames,
}

impl Names {
    fn of(&self, addr: u32) -> Option<String> {
        if let Some(name) = self.rom.name(addr) {
            return Some(name.to_owned());
        }
        let symbols = self.elf.as_ref()?.lock().ok()?;
        // The last frame is the function itself; those before it were inlined.
        symbols.frames(addr.into()).pop()?.function
    }

    fn with_addr(&self, addr: u32) -> String {
        match self.of(addr) {
            Some(name) => format!("{addr:#010x} {name}"),
            None => format!("{addr:#010x}"),
        }
    }
}

/// Formats a line of the trace: milliseconds on the board's clock, event and place.
fn line(traced: &Traced, names: &Names) -> String {
    let at = traced.at.as_secs_f64() * 1000.0;
    let pc = traced.pc;
    let place = |device: Option<&str>, addr: u32| match device {
        Some(device) => format!("{device} {addr:#010x}"),
        None => format!("no device {addr:#010x}"),
    };
    let what = match &traced.event {
        TraceEvent::Instruction { bits, len: 2 } => format!("insn   {pc:#010x} {bits:04x}"),
        TraceEvent::Instruction { bits, .. } => format!("insn   {pc:#010x} {bits:08x}"),
        TraceEvent::Load { device, addr, value } => {
            format!("load   {pc:#010x} {} gives {value:#x}", place(device.as_deref(), *addr))
        }
        TraceEvent::Store { device, addr, value } => {
            format!("store  {pc:#010x} {} gets {value:#x}", place(device.as_deref(), *addr))
        }
        TraceEvent::Call { to, depth } => {
            let indent = (depth.min(&DEEPEST) * 2) as usize;
            format!("call   {:indent$}{} from {pc:#010x}", "", names.with_addr(*to))
        }
        TraceEvent::Return { to, depth } => {
            let indent = (depth.min(&DEEPEST) * 2) as usize;
            format!("return {:indent$}to {to:#010x}", "")
        }
        TraceEvent::Trap { cause, to } => {
            format!("trap   {pc:#010x} mcause {cause:#x} to {}", names.with_addr(*to))
        }
        other => format!("{other:?}"),
    };
    format!("{at:12.6} {what}")
}

/// Counts presses of Enter at a terminal.
#[derive(Debug, Clone, Default)]
pub struct Enter(Arc<AtomicU64>);

impl Enter {
    /// Starts listening to the terminal, if there is one.
    pub fn listen() -> Self {
        let enter = Self::default();
        if io::stdin().is_terminal() {
            let pressed = Arc::clone(&enter.0);
            std::thread::spawn(move || {
                for _ in io::stdin().lock().lines().take_while(Result::is_ok) {
                    pressed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        enter
    }
}

#[allow(clippy::disallowed_methods)] // Measures the host's instructions per second.
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_what_happened_and_where() {
        let board = Board::new("esp32c3").unwrap();
        let names = Names { elf: None, rom: board.rom_names() };
        for (event, expected) in [
            (
                TraceEvent::Instruction { bits: 0x8082, len: 2 },
                "    1.500000 insn   0x42000020 8082",
            ),
            (
                TraceEvent::Instruction { bits: 0x13, len: 4 },
                "    1.500000 insn   0x42000020 00000013",
            ),
            (
                TraceEvent::Load { device: Some("uart0".into()), addr: 0x6000_001c, value: 2 },
                "    1.500000 load   0x42000020 uart0 0x6000001c gives 0x2",
            ),
            (
                TraceEvent::Store { device: None, addr: 0x6004_0000, value: 0x41 },
                "    1.500000 store  0x42000020 no device 0x60040000 gets 0x41",
            ),
            (
                TraceEvent::Call { to: 0x4000_0068, depth: 2 },
                "    1.500000 call       0x40000068 uart_tx_one_char from 0x42000020",
            ),
            (
                TraceEvent::Return { to: 0x4200_0024, depth: 1 },
                "    1.500000 return   to 0x42000024",
            ),
            (
                TraceEvent::Trap { cause: 11, to: 0x4038_0000 },
                "    1.500000 trap   0x42000020 mcause 0xb to 0x40380000",
            ),
        ] {
            let traced = Traced { at: Duration::from_micros(1500), pc: 0x4200_0020, event };
            assert_eq!(line(&traced, &names), expected);
        }
    }
}
