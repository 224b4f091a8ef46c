//! Compares the ROM loader with exchanges written by hand, as hex, from esptool's documentation
//! ("Serial Protocol") and from the code of the ESP32-C3's mask ROM.
//!
//! Cases are in `tests/loader/*.txt`, several dialogues per file. `#` starts a comment, `==` a
//! dialogue with a fresh loader, `>` a request, `<` its reply. Both are frames without SLIP; a
//! request's length and checksum are written out, so that they can be wrong. Further words:
//! `silence` (no reply), `x8` after a reply (eight of them), `+c0c0` (bytes after the reply), `then
//! …` (the loader's next action), `raw …` (raw bytes on the line), `flash AT HEX` (expected flash
//! contents), `md5 HEX` (of the whole flash), `program AT HEX` (written to the flash before), `ram
//! AT HEX`, `mem AT WORD` (sets a register before), `word AT WORD` (expected after), `busy
//! MICROSECONDS`, `busy-ns NANOSECONDS`, `gets HEX` (all reply bytes as on the line).

use std::{fs, path::Path, time::Duration};

use crate::board::Bench;
use esplice_protocol::slip;
use esplice_sim::download::{LoaderTarget, NextAction};
use md5::{Digest, Md5};
use proptest::prelude::*;

#[test]
fn exchanges() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loader");
    let mut files: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut requests = 0;
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut bench = Bench::new();
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let line = line.split('#').next().unwrap().trim();
            requests += usize::from(line.starts_with('>') || line.starts_with("raw"));
            if let Err(message) = step(&mut bench, line) {
                panic!("{name}:{}: {line}\n{message}", number + 1);
            }
        }
        assert!(bench.reply.is_empty(), "{name}: the last reply was not checked");
    }
    assert!(requests >= 400, "only {requests} exchanges");
}

fn step(bench: &mut Bench, line: &str) -> Result<(), String> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "" => {}
        "==" => {
            unread(bench)?;
            *bench = Bench::new();
        }
        ">" => {
            unread(bench)?;
            bench.send(&slip::encode(&hex(rest)));
        }
        "raw" => {
            unread(bench)?;
            bench.send(&hex(rest));
        }
        "<" => {
            let (rest, after) = match rest.split_once('+') {
                Some((rest, after)) => (rest, hex(after)),
                None => (rest, Vec::new()),
            };
            let (rest, times) = match rest.trim().strip_suffix("x8") {
                Some(rest) => (rest, 8),
                None => (rest, 1),
            };
            let mut expected = slip::encode(&hex(rest)).repeat(times);
            expected.extend(after);
            let got = std::mem::take(&mut bench.reply);
            if got != expected {
                return Err(format!("expected {}\ngot      {}", show(&expected), show(&got)));
            }
        }
        "gets" => {
            let (expected, got) = (hex(rest), std::mem::take(&mut bench.reply));
            if got != expected {
                return Err(format!("got  {}", show(&got)));
            }
        }
        "silence" => unread(bench)?,
        "then" => {
            let after = match rest.split_once(' ').unwrap_or((rest, "")) {
                ("reset", _) => Some(NextAction::Reset),
                ("gone", _) => Some(NextAction::Gone),
                ("nothing", _) => None,
                ("baud", rate) => Some(NextAction::SetBaud(rate.parse().unwrap())),
                ("run", entry) => Some(NextAction::Run(number(entry))),
                _ => return Err("unknown".into()),
            };
            if bench.then != after {
                return Err(format!("got {:?}", bench.then));
            }
        }
        "md5" => {
            let found = Md5::digest(bench.chip.nor.bytes()).to_vec();
            if found != hex(rest) {
                return Err(format!("found {}", show(&found)));
            }
        }
        "flash" | "ram" => {
            let (at, bytes) = rest.split_once(' ').unwrap();
            let (at, bytes) = (number(at), hex(bytes));
            let found = if verb == "flash" {
                bench.chip.nor.read(at, bytes.len() as u32).unwrap().to_vec()
            } else {
                bench.chip.ram_at(at, bytes.len())
            };
            if found != bytes {
                return Err(format!("found {}", show(&found)));
            }
        }
        "mem" => {
            let (at, word) = rest.split_once(' ').unwrap();
            bench.chip.write32(number(at), number(word));
        }
        "word" => {
            let (at, word) = rest.split_once(' ').unwrap();
            let found = bench.chip.read32(number(at));
            if found != number(word) {
                return Err(format!("found {found:x?}"));
            }
        }
        "program" => {
            let (at, bytes) = rest.split_once(' ').unwrap();
            bench.chip.nor.program(number(at), &hex(bytes)).unwrap();
        }
        "busy" | "busy-ns" => {
            let unit = if verb == "busy" { 1000 } else { 1 };
            let expected = Duration::from_nanos(rest.parse::<u64>().unwrap() * unit);
            if bench.busy != expected {
                return Err(format!("busy for {:?}", bench.busy));
            }
        }
        _ => return Err("unknown line".into()),
    }
    Ok(())
}

fn unread(bench: &mut Bench) -> Result<(), String> {
    let got = std::mem::take(&mut bench.reply);
    if got.is_empty() { Ok(()) } else { Err(format!("unexpected reply {}", show(&got))) }
}

fn number(text: &str) -> u32 {
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).unwrap()
}

/// Parses hex digits with spaces anywhere; `55*32` repeats a byte, `'text'` is text.
fn hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if let Some((byte, times)) = word.split_once('*') {
            let byte = u8::from_str_radix(byte, 16).unwrap();
            bytes.extend(std::iter::repeat_n(byte, times.parse().unwrap()));
        } else if let Some(text) = word.strip_prefix('\'') {
            bytes.extend(text.trim_end_matches('\'').replace('_', " ").bytes());
        } else {
            for at in (0..word.len()).step_by(2) {
                bytes.push(u8::from_str_radix(&word[at..at + 2], 16).unwrap());
            }
        }
    }
    bytes
}

fn show(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

/// Writes compressed images of any block size and content, and compares every byte.
#[test]
fn deflated_images_arrive() {
    for (len, block) in [(1, 1024), (4096, 16), (0x8000, 1024), (0x8001, 1024), (200_000, 0x1800)] {
        for noisy in [false, true] {
            let image: Vec<u8> = (0..len as u32)
                .map(|i| {
                    if noisy {
                        (i.wrapping_mul(2_654_435_761) >> 13) as u8
                    } else {
                        (i / 700) as u8
                    }
                })
                .collect();
            let mut bench = Bench::connected();
            bench.chip.nor.program(0x1_0000, &vec![0; len]).unwrap();
            assert_eq!(bench.write_deflated(0x1_0000, &image, block), Ok(()));
            assert_eq!(bench.chip.nor.read(0x1_0000, len as u32).unwrap(), image);
        }
    }
}

/// A flash is interrupted half-way. The next complete one must repair it.
#[test]
fn an_interrupted_write_is_repaired_by_the_next() {
    let image: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let mut chip = Bench::connected().chip;
    for operations in [0, 3, 24, 25, 26, 900, 3000] {
        let mut bench = Bench { chip, ..Bench::connected() };
        bench.chip.nor.cut_power_after(Some(operations));
        assert!(bench.write_deflated(0x1_0000, &image, 1024).is_err());
        bench.chip.nor.cut_power_after(None);
        let mut bench = Bench { chip: bench.chip, ..Bench::connected() };
        assert_eq!(bench.write_deflated(0x1_0000, &image, 1024), Ok(()));
        assert_eq!(bench.chip.nor.read(0x1_0000, image.len() as u32).unwrap(), image);
        chip = bench.chip;
    }
}

/// Generates the bytes of a frame that looks like a request, or of one that does not.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let data = proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..64);
    let request = (0..0x16_u8, any::<u8>(), data).prop_map(|(opcode, sum, data)| {
        let mut frame = vec![0, opcode];
        frame.extend((data.len() as u16).to_le_bytes());
        frame.extend([sum, 0, 0, 0]);
        frame.extend(data);
        slip::encode(&frame)
    });
    prop_oneof![4 => request, 1 => proptest::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    /// No input causes a panic, replies stay small, and a loader that is still running answers a
    /// SYNC.
    #[test]
    fn any_bytes_leave_it_alive(frames in proptest::collection::vec(any_frame(), 0..40)) {
        let mut bench = Bench::connected();
        for frame in frames {
            bench.send(&frame);
            prop_assert!(bench.reply.len() <= 8 * 200 * 40);
            bench.reply.clear();
        }
        if bench.then.is_none() || matches!(bench.then, Some(NextAction::SetBaud(_))) {
            bench.send(&[slip::END]);
            bench.reply.clear();
            bench.send(&slip::encode(&hex("00 08 2400 00000000 07071220 55*32")));
            prop_assert!(bench.reply.len() >= 8 * 14);
        }
    }
}
