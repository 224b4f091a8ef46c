//! Decodes the functions and lines of panics, for people and for programs.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::Scope,
};

use esplice_monitor::{
    BacktraceEnd, CoreDump, Frame, OtherCore, PanicReport, Symbols, TraceKind, TraceReport, decode,
    decode_core, decode_trace, sanitise,
};

use crate::{
    firmware::firmware_elf::FirmwareElf,
    ui::{
        event::{CoreFrames, Event, PanicFrame, Place, TaskFrames},
        exit::Failure,
        shell::Shell,
    },
};

/// Size of the largest source file that is quoted, in bytes.
const LARGEST_SOURCE: u64 = 4 << 20;

/// Maximum number of ROM ELFs in a directory; all chips and revisions together have 17.
const MOST_ROMS: usize = 100;

/// Maximum number of characters quoted from a source line.
const LONGEST_QUOTE: usize = 160;

/// The available ELFs of mask ROMs.
#[derive(Debug)]
pub enum RomElfs {
    /// The ELF that the user named, if any.
    One(Option<FirmwareElf>),
    /// The ELFs of a directory. The board's ROM decides which one is used.
    Directory(Vec<FirmwareElf>),
}

impl RomElfs {
    /// Reads the ELF at `path`, or all ELFs of a directory.
    pub fn read(path: Option<&Path>) -> Result<RomElfs, Failure> {
        let Some(directory) = path.filter(|path| path.is_dir()) else {
            return Ok(RomElfs::One(path.map(FirmwareElf::read).transpose()?));
        };
        let trouble = |error: std::io::Error| {
            Failure::input(format!("cannot read {}: {error}", directory.display()))
        };
        let mut paths = vec![];
        for entry in std::fs::read_dir(directory).map_err(trouble)? {
            let path = entry.map_err(trouble)?.path();
            if path.extension().is_some_and(|extension| extension == "elf") && path.is_file() {
                paths.push(path);
            }
        }
        if paths.is_empty() || paths.len() > MOST_ROMS {
            let count = paths.len();
            let failure = Failure::input(format!(
                "{} contains {count} *.elf files instead of the ELFs of mask ROMs",
                directory.display()
            ));
            return Err(failure.hint("give the directory of esp-rom-elfs, or a ROM's ELF itself"));
        }
        paths.sort();
        let read = |path: &PathBuf| FirmwareElf::read(path);
        Ok(RomElfs::Directory(paths.iter().map(read).collect::<Result<_, _>>()?))
    }
}

/// Decodes and prints panics with the help of an ELF.
pub struct Decoder<'a> {
    elf: Option<&'a FirmwareElf>,
    roms: &'a RomElfs,
    /// Name of the board's ROM, as last reported, and its ELF from a directory, until that is read.
    rom: Mutex<(String, Option<&'a FirmwareElf>)>,
    symbols: Mutex<Prepared<'a>>,
    /// True if the prepared symbols are needed now or no longer.
    hurry: Arc<AtomicBool>,
    elf_hash: Arc<OnceLock<String>>,
    told: Mutex<PrintedOnce>,
}

/// State of the symbols.
enum Prepared<'a> {
    /// Not begun: the ELFs are read on first use.
    Not,
    /// Being read by a thread.
    Coming(Receiver<Known<'a>>),
    Ready(Known<'a>),
}

/// The symbols; `None` if no ELF can be read.
type Known<'a> = Option<Box<Symbols<'a>>>;

/// Messages that are printed only once.
#[derive(Debug, Default)]
struct PrintedOnce {
    stale: bool,
    pc: Option<u32>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<'a>(elf: Option<&'a FirmwareElf>, rom: Option<&'a FirmwareElf>) -> Known<'a> {
    let read = |elf: &'a FirmwareElf| elf.symbols();
    let known = match (elf.and_then(read), rom.and_then(read)) {
        (Some(symbols), Some(rom)) => Some(symbols.with_rom(rom)),
        (symbols, rom) => symbols.or(rom),
    };
    known.map(Box::new)
}

impl<'a> Decoder<'a> {
    /// Creates a decoder with the ELF of the firmware and those of mask ROMs.
    pub fn new(elf: Option<&'a FirmwareElf>, roms: &'a RomElfs) -> Decoder<'a> {
        Decoder {
            elf,
            roms,
            rom: Mutex::default(),
            symbols: Mutex::new(Prepared::Not),
            hurry: Arc::default(),
            elf_hash: Arc::default(),
            told: Mutex::default(),
        }
    }

    /// Starts reading the ELFs on a thread of `scope`, so that a panic need not wait for it.
    pub fn prepare<'scope>(&self, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let (elf, rom) = (self.elf, self.named_rom());
        if elf.is_none() && rom.is_none() {
            return;
        }
        let (sender, receiver) = sync_channel(1);
        let (hurry, hash) = (Arc::clone(&self.hurry), Arc::clone(&self.elf_hash));
        scope.spawn(move || {
            let symbols = read(elf, rom);
            if let Some(symbols) = &symbols {
                symbols.prepare(&|| !hurry.load(Ordering::Relaxed));
            }
            let _ = sender.send(symbols);
            if let Some(elf) = elf.filter(|_| !hurry.load(Ordering::Relaxed)) {
                hash.get_or_init(|| elf.hash());
            }
        });
        *lock(&self.symbols) = Prepared::Coming(receiver);
    }

    /// Stops preparing symbols in the background.
    pub fn stop_preparing(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Calls `work` with the symbols.
    fn with_symbols<T>(&self, work: impl FnOnce(Option<&Symbols<'a>>) -> T) -> T {
        let mut prepared = lock(&self.symbols);
        if let Prepared::Coming(receiver) = &*prepared {
            self.stop_preparing();
            // If the thread returned nothing, the ELFs are read here.
            *prepared = receiver.recv().map_or(Prepared::Not, Prepared::Ready);
        }
        if let Prepared::Not = &*prepared {
            *prepared = Prepared::Ready(read(self.elf, self.named_rom()));
        }
        let rom = lock(&self.rom).1.take().and_then(|rom| rom.symbols());
        if let (Prepared::Ready(known), Some(rom)) = (&mut *prepared, rom) {
            *known = Some(Box::new(match known.take() {
                Some(symbols) if self.elf.is_some() => symbols.with_rom(rom),
                _ => rom,
            }));
        }
        match &*prepared {
            Prepared::Ready(symbols) => work(symbols.as_deref()),
            _ => work(None),
        }
    }

    /// Returns the ROM ELF that the user named.
    fn named_rom(&self) -> Option<&'a FirmwareElf> {
        match self.roms {
            RomElfs::One(rom) => rom.as_ref(),
            RomElfs::Directory(_) => None,
        }
    }

    /// Notes that the board's ROM is called `name`, a string that its ELF contains.
    pub fn rom_is(&self, name: &str, shell: &mut Shell) {
        let mut heard = lock(&self.rom);
        if heard.0 == name {
            return;
        }
        name.clone_into(&mut heard.0);
        match self.roms {
            RomElfs::One(Some(rom)) if !rom.holds(name) => shell.warning(&format!(
                "the board's ROM is {name}, but the ROM ELF given is of another ROM: ROM function \
                 names may be wrong"
            )),
            RomElfs::One(_) => {}
            RomElfs::Directory(roms) => {
                heard.1 = roms.iter().find(|rom| rom.holds(name));
                if heard.1.is_none() {
                    let count = roms.len();
                    shell.warning(&format!("none of the {count} ROM ELFs is that of {name}"));
                }
            }
        }
    }

    /// Warns, once, if the firmware was not built from the ELF. `told` is the start of the SHA-256
    /// that the firmware reported.
    pub fn compare(&self, told: &str, shell: &mut Shell) {
        let Some(elf) = self.elf.filter(|_| !lock(&self.told).stale) else { return };
        if !self.elf_hash.get_or_init(|| elf.hash()).starts_with(told) {
            lock(&self.told).stale = true;
            shell.warning(&format!(
                "the firmware was built from another ELF, whose SHA-256 begins with {told}: \
                 functions and lines may be wrong"
            ));
        }
    }

    /// Prints the code position at which the chip was reset, if it is known and new.
    pub fn print_saved_pc(&self, pc: u32, shell: &mut Shell) {
        let frames = self.with_symbols(|symbols| symbols.map(|symbols| symbols.frames(pc.into())));
        let frames = frames.unwrap_or_default();
        if frames.is_empty() || lock(&self.told).pc.replace(pc) == Some(pc) {
            return;
        }
        let frame = |symbol| Frame { addr: pc, symbol: Some(symbol), times: 1 };
        let frames: Vec<Frame> = frames.into_iter().map(frame).collect();
        shell.status(&format!("At the reset, the program was in{}", lines_of(&frames)));
    }

    /// Prints addresses that the firmware printed without stopping.
    pub fn print_trace(&self, report: &TraceReport, shell: &mut Shell) {
        let frames = self.with_symbols(|symbols| decode_trace(report, symbols));
        if frames.is_empty() {
            return;
        }
        shell.event(&Event::Trace {
            kind: report.kind.name(),
            message: report.message.clone(),
            frames: frames.iter().map(PanicFrame::from).collect(),
        });
        if frames.iter().all(|frame| frame.symbol.is_none()) {
            return;
        }
        let head = match report.kind {
            TraceKind::TaskWatchdog | TraceKind::Backtrace => "Backtrace, innermost first:",
            TraceKind::ErrorCheck => "The check is in:",
            TraceKind::HeapTrace if report.message.starts_with("freed") => "Freed by:",
            TraceKind::HeapTrace => "Allocated by:",
            _ => "Code at:",
        };
        let end = end_in_words(report.backtrace_end);
        shell.trace(&format!("{head}{}{end}", lines_of(&frames)));
    }

    /// Prints a panic.
    pub fn print_panic(&self, report: &PanicReport, shell: &mut Shell) {
        let (frames, others, is_foreign) = self.with_symbols(|symbols| {
            let frames = decode(report, symbols);
            let of_core = |other: &OtherCore| (other.core, decode_core(report, other, symbols));
            let others: Vec<(u32, Vec<Frame>)> = report.other_cores.iter().map(of_core).collect();
            let is_foreign =
                symbols.is_some_and(|symbols| !frames.is_empty() && knows_none(symbols, &frames));
            (frames, others, is_foreign)
        });
        if let Some(told) = report.elf_sha256() {
            self.compare(told, shell);
        }
        shell.event(&Event::Panic {
            kind: report.kind.name().to_owned(),
            message: report.message.lines().collect::<Vec<_>>().join(" "),
            place: report.location.as_ref().map(|place| Place {
                file: place.file.clone(),
                line: place.line,
                column: place.column,
            }),
            frames: frames.iter().map(PanicFrame::from).collect(),
            other_cores: others
                .iter()
                .map(|(core, frames)| CoreFrames {
                    core: *core,
                    frames: frames.iter().map(PanicFrame::from).collect(),
                })
                .collect(),
        });
        if frames.iter().any(|frame| frame.symbol.is_some()) {
            let mut text = in_words(&frames);
            text.push_str(end_in_words(report.backtrace_end));
            for (core, frames) in &others {
                text.push_str(&format!("\nBacktrace of core {core}:{}", lines_of(frames)));
            }
            shell.panic(&text);
        } else if is_foreign {
            shell.warning(
                "no address of the panic lies in the code of the ELF: does the ELF belong to the \
                 running firmware?",
            );
        }
    }
}

impl Decoder<'_> {
    /// Prints a core dump: each task with its backtrace.
    pub fn print_core_dump(&self, dump: &CoreDump, shell: &mut Shell) {
        if let Some(told) = &dump.elf_sha256 {
            self.compare(told, shell);
        }
        if !dump.is_sound {
            shell.warning("the core dump's checksum is wrong: part of it was corrupted on the way");
        }
        let mut text = match dump.tasks.len() {
            1 => "Core dump of 1 task:".to_owned(),
            count => format!("Core dump of {count} tasks:"),
        };
        if let Some(reason) = &dump.reason {
            text.push_str(&format!(" {}", clean(reason)));
        }
        let mut tasks = vec![];
        for task in &dump.tasks {
            let frames = self.with_symbols(|symbols| dump.frames(task, symbols));
            let name = task.name.as_deref().unwrap_or("without a name");
            let state = match (task.crashed, task.is_broken) {
                (true, _) => ", which crashed",
                (false, true) => ", whose stack is corrupted",
                (false, false) => "",
            };
            text.push_str(&format!("\nTask {}{state}:{}", clean(name), lines_of(&frames)));
            tasks.push(TaskFrames {
                name: task.name.clone(),
                tcb: task.tcb,
                crashed: task.crashed,
                frames: frames.iter().map(PanicFrame::from).collect(),
            });
        }
        shell.event(&Event::CoreDump { sound: dump.is_sound, reason: dump.reason.clone(), tasks });
        shell.panic(&text);
    }
}

fn knows_none(symbols: &Symbols<'_>, frames: &[Frame]) -> bool {
    frames.iter().all(|frame| !symbols.contains(frame.addr.into()))
}

/// Formats the frames for people.
fn in_words(frames: &[Frame]) -> String {
    format!("Backtrace, innermost first:{}", lines_of(frames))
}

/// Explains how a backtrace ended.
fn end_in_words(end: BacktraceEnd) -> &'static str {
    match end {
        BacktraceEnd::Corrupted => "\n      the stack is corrupted from here on",
        BacktraceEnd::Continues => "\n      the firmware printed no more frames",
        BacktraceEnd::NoTable => "\n      the firmware cannot unwind any further",
        _ => "",
    }
}

/// Formats one or two lines for each frame, each preceded by a line ending.
pub fn lines_of(frames: &[Frame]) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let mut text = String::new();
    for (index, frame) in frames.iter().enumerate() {
        let times = match frame.times {
            1 => String::new(),
            times => format!(" ({times} times)"),
        };
        let symbol = frame.symbol.as_ref();
        let function = symbol.and_then(|symbol| symbol.function.as_deref()).unwrap_or("??");
        text.push_str(&format!("\n{index:>4}: {:#010x} {}", frame.addr, clean(function)));
        let Some(file) = symbol.and_then(|symbol| symbol.file.as_deref()) else {
            text.push_str(&times);
            continue;
        };
        let path = Path::new(file);
        let shown = path.strip_prefix(&here).unwrap_or(path).display().to_string();
        text.push_str(&format!(" at {}", clean(&shown)));
        let Some(line) = symbol.and_then(|symbol| symbol.line) else {
            text.push_str(&times);
            continue;
        };
        text.push_str(&format!(":{line}{times}"));
        if let Some(source) = source_line(path, line) {
            text.push_str(&format!("\n{:10} | {source}", line));
        }
    }
    text
}

/// Returns a line of source, counted from 1 and filtered for the terminal, or `None` if it cannot
/// be read.
fn source_line(path: &Path, line: u32) -> Option<String> {
    // On Windows, opening such a path would contact another machine and identify the user to it.
    let text = path.to_str()?;
    if text.starts_with("\\\\") || text.starts_with("//") {
        return None;
    }
    // The path comes from the ELF and could be anything, even a device.
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > LARGEST_SOURCE {
        return None;
    }
    let lines = BufReader::new(File::open(path).ok()?.take(LARGEST_SOURCE)).split(b'\n');
    let bytes = lines.map_while(Result::ok).nth(line.checked_sub(1)? as usize)?;
    let text = clean(String::from_utf8_lossy(&bytes).trim());
    let quote: String = text.chars().take(LONGEST_QUOTE).collect();
    (!quote.is_empty()).then_some(quote)
}

/// Removes terminal control sequences from text of an ELF or a file.
fn clean(text: &str) -> String {
    sanitise(text.as_bytes())
}

impl From<&Frame> for PanicFrame {
    fn from(frame: &Frame) -> PanicFrame {
        let symbol = frame.symbol.as_ref();
        PanicFrame {
            addr: frame.addr,
            function: symbol.and_then(|symbol| symbol.function.clone()),
            file: symbol.and_then(|symbol| symbol.file.clone()),
            line: symbol.and_then(|symbol| symbol.line),
            inlined: symbol.is_some_and(|symbol| symbol.inlined),
            times: frame.times,
        }
    }
}

#[cfg(test)]
mod tests {
    use esplice_monitor::SymbolFrame;

    use super::*;

    #[test]
    fn frames_are_told_as_far_as_they_are_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("main.rs");
        std::fs::write(&path, "fn main() {\n\tpanic!();\x1b[2J\n}\n").unwrap();
        let file = path.to_str().unwrap().to_owned();
        let symbol = |line, file: Option<&String>| {
            let function = Some("a::b\x1b[2J".into());
            Some(SymbolFrame { function, file: file.cloned(), line, inlined: false })
        };
        let frame = |symbol, times| Frame { addr: 0x4200_0010, symbol, times };
        let frames = [
            frame(symbol(Some(2), Some(&file)), 1),
            frame(symbol(Some(9), Some(&file)), 3),
            frame(symbol(None, Some(&file)), 1),
            frame(symbol(None, None), 2),
            frame(None, 1),
        ];
        let expected = format!(
            "Backtrace, innermost first:\n\
             \x20  0: 0x42000010 a::b at {file}:2\n\
             \x20        2 | panic!();\n\
             \x20  1: 0x42000010 a::b at {file}:9 (3 times)\n\
             \x20  2: 0x42000010 a::b at {file}\n\
             \x20  3: 0x42000010 a::b (2 times)\n\
             \x20  4: 0x42000010 ??"
        );
        assert_eq!(in_words(&frames), expected);
    }

    #[test]
    fn only_files_are_quoted() {
        assert_eq!(source_line(Path::new("/dev/zero"), 1), None);
        assert_eq!(source_line(Path::new("/"), 1), None);
        assert_eq!(source_line(Path::new("//server/share/main.rs"), 1), None);
        assert_eq!(source_line(Path::new("/no/such/file.rs"), 1), None);
    }
}
