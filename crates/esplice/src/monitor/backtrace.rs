//! A panic's functions and lines, for people and for programs.

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

/// Bytes of the largest source file that is quoted.
const LARGEST_SOURCE: u64 = 4 << 20;

/// ELFs of ROMs in a directory; there are 17 of all chips and revisions.
const MOST_ROMS: usize = 100;

/// Characters of a source line that are quoted.
const LONGEST_QUOTE: usize = 160;

/// The ELFs of mask ROMs at hand.
#[derive(Debug)]
pub enum RomElfs {
    /// The one that the user names, if any.
    One(Option<FirmwareElf>),
    /// Those of a directory: which it is, the board's ROM tells.
    Directory(Vec<FirmwareElf>),
}

impl RomElfs {
    /// Reads the ELF at `path`, or all of a directory.
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
                "{} holds {count} files *.elf, where the ELFs of mask ROMs are looked for",
                directory.display()
            ));
            return Err(failure.hint("give the directory of esp-rom-elfs, or a ROM's ELF itself"));
        }
        paths.sort();
        let read = |path: &PathBuf| FirmwareElf::read(path);
        Ok(RomElfs::Directory(paths.iter().map(read).collect::<Result<_, _>>()?))
    }
}

/// Tells of panics with what an ELF knows of their addresses.
pub struct Decoder<'a> {
    elf: Option<&'a FirmwareElf>,
    roms: &'a RomElfs,
    /// What the board's ROM calls itself, as last heard, and its ELF out of a directory, until it is read.
    rom: Mutex<(String, Option<&'a FirmwareElf>)>,
    symbols: Mutex<Prepared<'a>>,
    /// What is prepared is needed now, or no more.
    hurry: Arc<AtomicBool>,
    elf_hash: Arc<OnceLock<String>>,
    told: Mutex<Told>,
}

/// What is known of the code.
enum Prepared<'a> {
    /// Nothing was begun: it is read when it is asked for.
    Not,
    /// A thread reads it.
    Coming(Receiver<Known<'a>>),
    Ready(Known<'a>),
}

/// None where no ELF can be read.
type Known<'a> = Option<Box<Symbols<'a>>>;

/// What is told once.
#[derive(Debug, Default)]
struct Told {
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
    /// With the ELF of the firmware, and that of the mask ROM.
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

    /// Begins to read the ELFs on a thread of `scope`, so that a panic's lines need not wait for it.
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

    /// What is read on a thread need not be prepared any further.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Does `work` with what is known of the code.
    fn with_symbols<T>(&self, work: impl FnOnce(Option<&Symbols<'a>>) -> T) -> T {
        let mut prepared = lock(&self.symbols);
        if let Prepared::Coming(receiver) = &*prepared {
            self.hurry();
            // A thread that gave nothing leaves it to be read here.
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

    /// The ROM's ELF that the user names.
    fn named_rom(&self) -> Option<&'a FirmwareElf> {
        match self.roms {
            RomElfs::One(rom) => rom.as_ref(),
            RomElfs::Directory(_) => None,
        }
    }

    /// The board's ROM calls itself `name`, which stands in its ELF.
    pub fn rom_is(&self, name: &str, shell: &mut Shell) {
        let mut heard = lock(&self.rom);
        if heard.0 == name {
            return;
        }
        name.clone_into(&mut heard.0);
        match self.roms {
            RomElfs::One(Some(rom)) if !rom.holds(name) => shell.warning(&format!(
                "the board's ROM is {name}, and the ELF given for it is another's: what it tells of the \
                 ROM's functions may be wrong"
            )),
            RomElfs::One(_) => {}
            RomElfs::Directory(roms) => {
                heard.1 = roms.iter().find(|rom| rom.holds(name));
                if heard.1.is_none() {
                    let count = roms.len();
                    shell.warning(&format!("none of the {count} ELFs of ROMs is that of {name}"));
                }
            }
        }
    }

    /// Warns, once, if the firmware was not made of the ELF: `told` is the beginning of the SHA-256
    /// that it tells of its own.
    pub fn compare(&self, told: &str, shell: &mut Shell) {
        let Some(elf) = self.elf.filter(|_| !lock(&self.told).stale) else { return };
        if !self.elf_hash.get_or_init(|| elf.hash()).starts_with(told) {
            lock(&self.told).stale = true;
            shell.warning(&format!(
                "the firmware was made of another ELF, whose SHA-256 begins with {told}: functions \
                 and lines may be wrong"
            ));
        }
    }

    /// Tells where the program stood when the chip was reset, if that is known and new.
    pub fn tell_saved_pc(&self, pc: u32, shell: &mut Shell) {
        let frames = self.with_symbols(|symbols| symbols.map(|symbols| symbols.frames(pc.into())));
        let frames = frames.unwrap_or_default();
        if frames.is_empty() || lock(&self.told).pc.replace(pc) == Some(pc) {
            return;
        }
        let frame = |symbol| Frame { addr: pc, symbol: Some(symbol), times: 1 };
        let frames: Vec<Frame> = frames.into_iter().map(frame).collect();
        shell.status(&format!("The reset came when the program was in{}", lines_of(&frames)));
    }

    /// Reports addresses that the firmware printed while it runs on.
    pub fn tell_trace(&self, report: &TraceReport, shell: &mut Shell) {
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
            TraceKind::TaskWatchdog | TraceKind::Backtrace => "Backtrace, the last function first:",
            TraceKind::ErrorCheck => "The check is in:",
            TraceKind::HeapTrace if report.message.starts_with("freed") => "Freed by:",
            TraceKind::HeapTrace => "Allocated by:",
            _ => "Code at:",
        };
        let end = end_in_words(report.backtrace_end);
        shell.trace(&format!("{head}{}{end}", lines_of(&frames)));
    }

    /// Tells of a panic.
    pub fn tell(&self, report: &PanicReport, shell: &mut Shell) {
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
                "no address of the panic lies in the code of the ELF: is it that of the firmware \
                 that runs?",
            );
        }
    }
}

impl Decoder<'_> {
    /// Tells of a core dump: each task and what it was doing.
    pub fn tell_core_dump(&self, dump: &CoreDump, shell: &mut Shell) {
        if let Some(told) = &dump.elf_sha256 {
            self.compare(told, shell);
        }
        if !dump.is_sound {
            shell.warning("the core dump's checksum is wrong: some of it did not come as it was");
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
                (false, true) => ", whose stack is broken",
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

/// The frames for people.
fn in_words(frames: &[Frame]) -> String {
    format!("Backtrace, the last function first:{}", lines_of(frames))
}

/// What is to be known of the end of a backtrace.
fn end_in_words(end: BacktraceEnd) -> &'static str {
    match end {
        BacktraceEnd::Corrupted => "\n      the stack is corrupted from here on",
        BacktraceEnd::Continues => "\n      the firmware prints no more",
        BacktraceEnd::NoTable => "\n      the firmware knows no way on from here",
        _ => "",
    }
}

/// One or two lines for each frame, each with a line's end before it.
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

/// A line of source, counted from 1, fit for a terminal; none where there is nothing to read.
fn source_line(path: &Path, line: u32) -> Option<String> {
    // Windows would ask another machine for such a file, and tell it who asks.
    let text = path.to_str()?;
    if text.starts_with("\\\\") || text.starts_with("//") {
        return None;
    }
    // The path is the ELF's: it could be anything, a device too.
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

/// Text from an ELF or a file without what a terminal would take as a command.
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
            "Backtrace, the last function first:\n\
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
