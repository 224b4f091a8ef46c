//! Core dumps in ELF format: notes describe the tasks, segments hold memory.

use object::{
    LittleEndian, elf,
    read::elf::{FileHeader as _, ProgramHeader as _},
};

use super::{CoreDump, CoreDumpError, CoreTask, FAKE_STACKS, MAX_TASKS, Segment, unwind};
use crate::symbols::Architecture;

/// Note types. Source: ESP-IDF, `components/espcoredump/src/core_dump_elf.c`. The first is
/// `NT_PRSTATUS` of System V.
const STATUS: u32 = 1;
const DUMP_INFO: u32 = 8266;
const EXTRA_INFO: u32 = 677;
const PANIC_DETAILS: u32 = 679;

/// Maximum length of the panic message in bytes.
const MAX_REASON: usize = 1024;

/// Reads `body` into `dump`.
pub fn read(body: &[u8], dump: &mut CoreDump) -> Result<(), CoreDumpError> {
    let broken = |what| CoreDumpError::Broken { what };
    let header = elf::FileHeader32::<LittleEndian>::parse(body)
        .map_err(|_| broken("its ELF has no header"))?;
    let endian = header.endian().map_err(|_| broken("its ELF is big-endian"))?;
    dump.architecture = match header.e_machine(endian) {
        elf::EM_RISCV => Some(Architecture::RiscV),
        elf::EM_XTENSA => Some(Architecture::Xtensa),
        _ => Some(Architecture::Other),
    };
    let segments = header
        .program_headers(endian, body)
        .map_err(|_| broken("its ELF's segments are cut off"))?;
    let mut crashed = None;
    for segment in segments {
        if segment.p_type(endian) == elf::PT_LOAD {
            let bytes = segment.data(endian, body).map_err(|_| broken("a segment is cut off"))?;
            let addr = segment.p_vaddr(endian);
            // Segments must not share bytes, or a small dump could expand into a large one.
            let held: usize = dump.memory.iter().map(|segment| segment.bytes.len()).sum();
            if held.saturating_add(bytes.len()) > body.len() {
                return Err(broken("its segments overlap"));
            }
            dump.memory.push(Segment { addr, bytes: bytes.to_vec() });
        }
        let notes = segment.notes(endian, body).map_err(|_| broken("its notes are cut off"))?;
        let Some(mut notes) = notes else { continue };
        while let Ok(Some(note)) = notes.next() {
            match (note.name(), note.n_type(endian).0) {
                (b"CORE", STATUS) if dump.tasks.len() < MAX_TASKS => {
                    dump.tasks.extend(task(note.desc(), dump.architecture));
                }
                (b"ESP_CORE_DUMP_INFO", DUMP_INFO) => dump.elf_sha256 = sha256(note.desc()),
                // ESP-IDF before version 5 uses the shorter name.
                (b"ESP_EXTRA_INFO" | b"EXTRA_INFO", EXTRA_INFO) => crashed = word(note.desc(), 0),
                (b"ESP_PANIC_DETAILS", PANIC_DETAILS) => dump.reason = text(note.desc()),
                _ => {}
            }
        }
    }
    for task in &mut dump.tasks {
        task.crashed = crashed == Some(task.tcb);
    }
    Ok(())
}

/// Reads a task from its note: the process ID is the address of its control block, and the
/// registers follow.
fn task(note: &[u8], architecture: Option<Architecture>) -> Option<CoreTask> {
    // Source: src/port/*/core_dump_port.c. The layout is that of Linux's 32-bit `elf_prstatus`.
    const PID: usize = 24;
    const REGISTERS: usize = 72;
    let registers = note.get(REGISTERS..)?;
    let registers = unwind::of_note(registers, architecture?)?;
    let stack = registers.stack_pointer().unwrap_or(0);
    Some(CoreTask {
        name: None,
        tcb: word(note, PID)?,
        crashed: false,
        is_broken: FAKE_STACKS.contains(&stack),
        registers,
    })
}

/// Returns the hash that follows the version.
fn sha256(note: &[u8]) -> Option<String> {
    let hash = text(note.get(4..)?)?;
    hash.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| hash.to_ascii_lowercase())
}

/// Returns the text before the terminating zero.
fn text(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    let text = crate::sanitise::sanitise(text.get(..text.len().min(MAX_REASON))?);
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}
