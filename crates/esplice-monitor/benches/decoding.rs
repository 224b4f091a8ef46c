//! Measures speed and memory of decoding addresses into functions and lines, compared with GNU
//! addr2line:
//!
//!     tests/firmware/build-large
//!     cargo bench -p esplice-monitor --bench decoding -- target/firmware/large.elf
//!
//! At the end, the ELF is read again and prepared, as the command line does while the board boots,
//! and all addresses are decoded once more. That is the time that decoding then adds to a line.
//!
//! A million addresses are drawn with a fixed seed from all code of the firmware. One addr2line
//! process decodes a part of them, one after the other, from its standard input.
#![allow(clippy::disallowed_methods, reason = "a benchmark asks the host for the time")]

use std::{
    env, fs,
    hint::black_box,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use esplice_monitor::{MonitorEvent, Symbols, Watch, Watcher, decode};
use esplice_protocol::Moment;
use object::{Object as _, ObjectSection as _, SectionFlags, elf};

const ADDRESSES: usize = 1_000_000;

/// Number of addresses for addr2line, enough for a second or two.
const FOR_PEER: usize = 20_000;

const SEED: u64 = 0x0065_7370_6c69_6365;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(path) = env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        // When run as a test there is nothing to measure.
        return Ok(());
    };
    let addresses = addresses(&object::File::parse(fs::read(&path)?.as_slice())?);
    let before = resident()?;
    let bytes = fs::read(&path)?;
    let file = object::File::parse(bytes.as_slice())?;
    let debug: u64 = file
        .sections()
        .filter(|section| section.name().is_ok_and(|name| name.starts_with(".debug")))
        .map(|section| section.size())
        .sum();

    let start = Instant::now();
    let symbols = Symbols::from_elf(&bytes)?;
    println!("reading the ELF: {:?}", start.elapsed());
    let start = Instant::now();
    let first = symbols.frames(addresses[0].into());
    println!("first address ({} frames): {:?}", first.len(), start.elapsed());
    let start = Instant::now();
    let (mut frames, mut slowest) = (0, Duration::ZERO);
    for addr in &addresses {
        let one = Instant::now();
        frames += black_box(symbols.frames((*addr).into())).len();
        slowest = slowest.max(one.elapsed());
    }
    let ours = rate(ADDRESSES, start.elapsed());
    println!("{ADDRESSES} addresses, {frames} frames: {ours:.0} per second, slowest {slowest:?}");
    let used = peak()?.saturating_sub(before);
    println!(
        "memory: {used} bytes with the ELF itself ({}), {:.2} times the {debug} of its debug \
         sections",
        bytes.len(),
        used as f64 / debug as f64
    );

    lines(&symbols)?;

    let prepared = Symbols::from_elf(&bytes)?;
    let start = Instant::now();
    prepared.prepare(&|| true);
    println!("prepared in {:?}", start.elapsed());
    let (mut slowest, mut late) = (Duration::ZERO, 0);
    for addr in &addresses {
        let one = Instant::now();
        black_box(prepared.frames((*addr).into()));
        slowest = slowest.max(one.elapsed());
        late += u32::from(one.elapsed() > Duration::from_millis(2));
    }
    println!("then the slowest address takes {slowest:?}, {late} of {ADDRESSES} over 2 ms");

    for peer in ["riscv64-unknown-elf-addr2line", "addr2line"] {
        let start = Instant::now();
        let Some(answers) = ask(peer, &path, &addresses[..FOR_PEER])? else { continue };
        let theirs = rate(FOR_PEER, start.elapsed());
        println!("{peer}: {FOR_PEER} addresses, {answers} lines: {theirs:.0} per second");
        println!("ratio: {:.1}", ours / theirs);
        break;
    }
    Ok(())
}

/// Measures the time that reading and decoding add to a line, over the captures of the tests.
fn lines(symbols: &Symbols<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let (mut lines, mut whole, mut slowest) = (0, Duration::ZERO, Duration::ZERO);
    for entry in fs::read_dir(cases)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let mut watcher = Watcher::new(&Watch::default(), Moment::START);
        let mut tell = |event: MonitorEvent<'_>| match event {
            MonitorEvent::Panic(report) => drop(black_box(decode(report, Some(symbols)))),
            MonitorEvent::CoreDump(dump) => {
                dump.tasks.iter().for_each(|task| drop(dump.frames(task, Some(symbols))));
            }
            _ => {}
        };
        let log = fs::read(&path)?;
        for (number, line) in (0..).zip(log.split_inclusive(|byte| *byte == b'\n')) {
            let start = Instant::now();
            let now = Moment::at(Duration::from_millis(number));
            let _ = watcher.push(line, now, &mut tell);
            watcher.tick(now, &mut tell);
            let took = start.elapsed();
            (lines, whole, slowest) = (lines + 1, whole + took, slowest.max(took));
        }
        watcher.tick(Moment::at(Duration::from_secs(60)), &mut tell);
    }
    println!("{lines} lines of captures: {:?} per line, slowest {slowest:?}", whole / lines);
    Ok(())
}

/// Returns addresses drawn uniformly from all code bytes.
fn addresses(file: &object::File<'_>) -> Vec<u32> {
    let code: Vec<(u64, u64)> = file
        .sections()
        .filter(|section| {
            matches!(section.flags(), SectionFlags::Elf { sh_flags, .. }
                if sh_flags.contains(elf::SHF_EXECINSTR) && sh_flags.contains(elf::SHF_ALLOC))
        })
        .map(|section| (section.address(), section.size()))
        .collect();
    let all: u64 = code.iter().map(|(_, len)| len).sum();
    let mut state = SEED;
    let mut draw = || {
        // xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut at = state % all;
        for (addr, len) in &code {
            if at < *len {
                return (addr + at) as u32;
            }
            at -= len;
        }
        0
    };
    (0..ADDRESSES).map(|_| draw()).collect()
}

/// Returns the number of lines that `program` prints, or `None` if it does not exist.
fn ask(program: &str, elf: &str, addresses: &[u32]) -> std::io::Result<Option<usize>> {
    let command = Command::new(program)
        .args(["-f", "-i", "-e", elf])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = command else { return Ok(None) };
    let (Some(mut to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
        return Ok(None);
    };
    let text: String = addresses.iter().map(|addr| format!("{addr:#x}\n")).collect();
    let writer = thread::spawn(move || to.write_all(text.as_bytes()));
    let lines = BufReader::new(from).lines().map_while(Result::ok).count();
    let _ = writer.join();
    child.wait()?;
    Ok(Some(lines))
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Returns the resident memory of this process in bytes. Source: proc(5).
fn resident() -> std::io::Result<u64> {
    status("VmRSS:")
}

fn peak() -> std::io::Result<u64> {
    status("VmHWM:")
}

fn status(key: &str) -> std::io::Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let kib: u64 = line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
    Ok(kib * 1024)
}
