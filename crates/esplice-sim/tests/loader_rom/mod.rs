//! Compares the loader with the ESP32-C3's mask ROM: random dialogues, reply by reply.
//!
//! The ROM's ELF is part of the sources of the espflash crate, which the workspace depends on; no
//! part of it is stored here. `ESPLICE_ROM_DIALOGUES` is the number of dialogues (default 30),
//! `ESPLICE_ROM_FIRST` the number of the first one. With `ESPLICE_ROM_RECORD` set to a path, short
//! dialogues are written there in the format of `tests/loader/*.txt`; `recorded.txt` contains 22 of
//! them.

mod rom;
mod script;

use std::{env, fmt::Write, fs};

use crate::{
    board::{self, Bench},
    mask_rom,
};
use esplice_sim::download::{LoaderTarget, NextAction};
use md5::{Digest, Md5};
use rom::{Fate, Rom};
use script::Script;

/// Initial flash contents of both, around the end of the flash size that the ROM assumes.
const DIRTY: (u32, u8, usize) = (0x1f_e000, 0x5a, 0x3000);
const SYNC: &[u8] = b"\xc0\x00\x08\x04\x00\x00\x00\x00\x00\x07\x07\x12\x20\xc0";
/// The eFuse word with ENABLE_SECURITY_DOWNLOAD burnt (EFUSE_RD_REPEAT_DATA3, bit 5).
const SECURE_DOWNLOAD: (u32, u32) = (0x6000_883c, 1 << 5);
const REQUESTS: usize = 60;
/// Longest request of a recorded dialogue.
const RECORDED_LEN: usize = 120;

#[test]
fn replies_equal_the_mask_roms() {
    let elf = mask_rom::elf();
    let dialogues = env::var("ESPLICE_ROM_DIALOGUES").map_or(30, |n| n.parse().unwrap());
    let record = env::var_os("ESPLICE_ROM_RECORD");
    let mut recorded = String::new();
    let mut different = Vec::new();
    let first = env::var("ESPLICE_ROM_FIRST").map_or(1, |n| n.parse().unwrap());
    for seed in first..first + dialogues {
        match dialogue(&elf, seed, record.is_some()) {
            Ok(text) => recorded.push_str(&text),
            Err(message) => different.push(message),
        }
    }
    if let Some(path) = record {
        fs::write(path, recorded).unwrap();
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

/// Runs one dialogue. Returns its text, or the difference.
fn dialogue(elf: &[u8], seed: u64, short: bool) -> Result<String, String> {
    // One in four is in secure download mode.
    let secure = seed % 4 == 3;
    let (words, loader) = match secure {
        true => (vec![SECURE_DOWNLOAD], "UartSecureDwnLdProc"),
        false => (vec![], "UartDwnLdProc"),
    };
    let (mut rom, mut bench) = (Rom::new(elf, &words, loader), Bench::new());
    bench.chip.words.extend(words.iter().copied());
    let mut script = Script::new(seed);
    let (at, byte, len) = DIRTY;
    bench.send(SYNC);
    // The ROM is entered after the first SYNC, so only our loader gets that one.
    bench.reply.clear();
    bench.send(SYNC);
    rom.send(SYNC);
    let replies = hex(&bench.reply);
    let mut text = format!("\n== {seed}\n");
    for (addr, word) in words {
        let _ = writeln!(text, "mem {addr:x} {word:x}");
    }
    for _ in 0..2 {
        let _ = writeln!(text, "raw {}\ngets {replies}", hex(SYNC));
    }
    let _ = writeln!(text, "program {at:x} {byte:02x}*{len}");
    rom.nor.program(at, &vec![byte; len]).unwrap();
    bench.chip.nor().program(at, &vec![byte; len]).unwrap();
    for step in 0..REQUESTS {
        let Some(bytes) = script.next_request() else { continue };
        if short && bytes.len() > RECORDED_LEN {
            continue;
        }
        rom.out.clear();
        (rom.divider, bench.then) = (None, None);
        bench.reply.clear();
        rom.send(&bytes);
        bench.send(&bytes);
        if known_difference(&rom, &bench, &bytes) {
            break;
        }
        let expected = match rom.fate {
            // Printed by the ROM's main after the loader has returned.
            Fate::Left(0) => [rom.out.as_slice(), b"user code done\r\n"].concat(),
            _ => rom.out.clone(),
        };
        let then = match (&rom.fate, rom.divider) {
            (Fate::Waiting, None) => None,
            (Fate::Waiting, Some(divider)) => {
                Some(NextAction::SetBaud(640_000_000 / (divider & 0xffff).max(1)))
            }
            (Fate::Reset, _) => Some(NextAction::Reset),
            (Fate::Left(0) | Fate::Stuck | Fate::Crashed, _) => Some(NextAction::Gone),
            (Fate::Left(entry), _) => Some(NextAction::Run(*entry)),
        };
        let ram = rom.ram(board::RAM_AT, 0x800) == bench.chip.ram_at(board::RAM_AT, 0x800);
        let flash = rom.nor.bytes() == bench.chip.nor.bytes();
        if expected != bench.reply || then != bench.then || !ram || !flash {
            return Err(format!(
                "dialogue {seed}, step {step}: {}\n  ROM    {} {then:?}\n  loader {} {:?}\n  \
                 the same in RAM: {ram}, in flash: {flash}",
                hex(&bytes),
                hex(&expected),
                hex(&bench.reply),
                bench.then
            ));
        }
        let _ = writeln!(text, "raw {}", hex(&bytes));
        let _ = match expected.as_slice() {
            [] => writeln!(text, "silence"),
            expected => writeln!(text, "gets {}", hex(expected)),
        };
        let _ = match then {
            None => Ok(()),
            Some(NextAction::SetBaud(rate)) => writeln!(text, "then baud {rate}"),
            Some(NextAction::Reset) => writeln!(text, "then reset"),
            Some(NextAction::Gone) => writeln!(text, "then gone"),
            Some(NextAction::Run(entry)) => writeln!(text, "then run {entry:x}"),
        };
        if rom.fate != Fate::Waiting {
            break;
        }
    }
    let _ = writeln!(text, "md5 {}", hex(&Md5::digest(rom.nor.bytes())));
    Ok(text)
}

/// Returns whether a difference is one that the loader's documentation lists.
fn known_difference(rom: &Rom, bench: &Bench, request: &[u8]) -> bool {
    // Unmapped registers.
    let died = rom.fate == Fate::Crashed && matches!(request.get(2), Some(9 | 10));
    // Encrypted writes.
    let encrypted = bench.reply.get(2) == Some(&2)
        && bench.reply.ends_with(&[0xc0])
        && bench.reply.get(10) == Some(&0x64);
    // The reason for a broken stream.
    let broken = |reply: &[u8]| {
        reply.get(2) == Some(&0x11) && matches!(reply, [.., 1, 0x0b | 0x0c, _, _, 0xc0])
    };
    // Operations that take hours, with a geometry that no chip has.
    let hours = bench.then == Some(NextAction::Gone)
        && bench.reply.is_empty()
        && rom.geometry() != [0x1_0000, 0x1000, 0x100];
    // An invalid distance (symbols 30 and 31, RFC 1951, 3.2.6), which the ROM's older inflater
    // takes for 0.
    let late = rom.out.get(2) == Some(&0x11)
        && broken(&bench.reply)
        && matches!(bench.reply[..], [.., 1, 0x0b, _, _, 0xc0]);
    died || encrypted
        || hours
        || late
        || (broken(&rom.out) && broken(&bench.reply) && rom.out != bench.reply)
}

/// Formats bytes as hex digits; a byte repeated more than eight times is `00*9`.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|one, next| one == next) {
        let _ = match run {
            [byte, ..] if run.len() > 8 => write!(text, " {byte:02x}*{} ", run.len()),
            run => run.iter().try_for_each(|byte| write!(text, "{byte:02x}")),
        };
    }
    text.trim().to_owned()
}
