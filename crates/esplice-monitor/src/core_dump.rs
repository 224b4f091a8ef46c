//! ESP-IDF's core dumps: tasks, registers and stacks at the time of a crash.
//!
//! Sources: ESP-IDF 5.5, `components/espcoredump` (`include_core_dump/esp_core_dump_types.h`,
//! `src/core_dump_elf.c`, `src/core_dump_binary.c`, `src/port/*/core_dump_port.c`).

mod collect;
mod elf;
mod unwind;

use std::ops::Range;

use crate::{
    decode::{self, Frame},
    symbols::{Architecture, Symbols},
};

pub(crate) use collect::{CoreDumpCollector, Step};
use unwind::TaskRegisters;

/// Maximum size of a dump in bytes: all RAM of the largest chip, and headers.
pub(crate) const MAX_DUMP: usize = 2 << 20;

/// Maximum number of tasks read. FreeRTOS firmware has some dozens.
const MAX_TASKS: usize = 256;

/// Addresses that ESP-IDF assigns to the stack of a task whose own stack is broken. Source:
/// `src/port/*/core_dump_port.c`, `COREDUMP_FAKE_STACK_START` and `_LIMIT`.
const FAKE_STACKS: Range<u32> = 0x2000_0000..0x3000_0000;

/// Range of a task's name in its control block. Source: FreeRTOS, `tasks.c`: `pxTopOfStack`, two
/// list items of 20 bytes, priority and stack precede `pcTaskName`; `configMAX_TASK_NAME_LEN` is
/// 16.
const NAME: Range<u32> = 0x34..0x44;

/// An error of reading a core dump.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreDumpError {
    /// The board was reset or went silent during the dump.
    #[error("core dump ends after {len} bytes")]
    Cut {
        /// Number of bytes received.
        len: usize,
    },
    /// The dump has fewer bytes than its header states.
    #[error("core dump has {len} of its {expected} bytes")]
    Short {
        /// Number of bytes received.
        len: usize,
        /// Number of bytes stated in the header.
        expected: usize,
    },
    /// The dump is larger than the maximum.
    #[error("core dump is larger than {most} bytes")]
    TooLarge {
        /// Maximum size in bytes.
        most: usize,
    },
    /// The layout of this version is unknown.
    #[error("core dump has version {version:#010x}, whose layout is unknown")]
    Version {
        /// The version, with the chip ID in the upper half.
        version: u32,
    },
    /// Parts of the dump are inconsistent.
    #[error("core dump is broken: {what}")]
    Broken {
        /// Description of the inconsistency.
        what: &'static str,
    },
}

/// The format of the tasks in a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoreDumpFormat {
    /// An ELF of type `ET_CORE`.
    Elf,
    /// A header, then each task's control block and stack.
    Binary,
}

/// A core dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreDump {
    /// The format of the tasks.
    pub format: CoreDumpFormat,
    /// The chip ID, as in an image header.
    pub chip_id: u16,
    /// The chip revision, major × 100 + minor, if the dump has it.
    pub chip_revision: Option<u32>,
    /// True if the checksum matches. If not, some bytes were received wrong.
    pub is_sound: bool,
    /// The start of the SHA-256 of the firmware's ELF in hex, if the dump has it.
    pub elf_sha256: Option<String>,
    /// The message of the panic handler, if the dump has it.
    pub reason: Option<String>,
    /// The tasks. The one that was running comes first.
    pub tasks: Vec<CoreTask>,
    architecture: Option<Architecture>,
    memory: Vec<Segment>,
}

/// A task of a core dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreTask {
    /// The name, if the control block holds one.
    pub name: Option<String>,
    /// The address of the control block, FreeRTOS's handle of the task.
    pub tcb: u32,
    /// True if this task crashed.
    pub crashed: bool,
    /// True if the stack could not be dumped because its pointers were invalid.
    pub is_broken: bool,
    registers: TaskRegisters,
}

/// A dumped memory range.
#[derive(Clone, PartialEq, Eq)]
struct Segment {
    addr: u32,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes at {:#010x}", self.bytes.len(), self.addr)
    }
}

impl CoreDump {
    /// Reads a dump, starting with its header, as stored in flash or sent over the UART in base64.
    ///
    /// # Errors
    ///
    /// Returns an error if the layout is unknown or parts are inconsistent. A wrong checksum is not
    /// an error, see [`CoreDump::is_sound`].
    pub fn from_bytes(bytes: &[u8]) -> Result<CoreDump, CoreDumpError> {
        let header = Header::read(bytes)?;
        let body = bytes
            .get(header.len..header.total.saturating_sub(header.checksum.len()))
            .ok_or(CoreDumpError::Broken { what: "it is shorter than its header" })?;
        let mut dump = CoreDump {
            format: header.format,
            chip_id: header.chip_id,
            chip_revision: header.chip_revision,
            is_sound: header.checksum.holds(bytes, header.total),
            elf_sha256: None,
            reason: None,
            tasks: vec![],
            architecture: None,
            memory: vec![],
        };
        match header.format {
            CoreDumpFormat::Elf => elf::read(body, &mut dump)?,
            CoreDumpFormat::Binary => dump.binary(body, &header)?,
        }
        for index in 0..dump.tasks.len() {
            let Some(tcb) = dump.tasks.get(index).map(|task| task.tcb) else { continue };
            let name = dump.name(tcb);
            if let Some(task) = dump.tasks.get_mut(index) {
                task.name = name;
            }
        }
        Ok(dump)
    }

    /// Returns the functions that `task` was in, innermost first. Without `symbols`, only the
    /// innermost address may be known.
    pub fn frames(&self, task: &CoreTask, symbols: Option<&Symbols<'_>>) -> Vec<Frame> {
        let told = self.architecture.or(symbols.map(Symbols::architecture));
        let registers = task.registers.resolve(told, &|addr| self.word(addr));
        let addresses = match registers {
            Some(registers) if !task.is_broken => {
                registers.addresses(symbols, &|addr| self.word(addr))
            }
            _ => vec![],
        };
        decode::frames(&addresses, symbols)
    }

    /// Returns the word at `addr`, if it was dumped.
    fn word(&self, addr: u32) -> Option<u32> {
        let word = self.bytes(addr, 4)?;
        Some(u32::from_le_bytes(word.try_into().ok()?))
    }

    fn bytes(&self, addr: u32, len: usize) -> Option<&[u8]> {
        self.memory.iter().find_map(|segment| {
            let at = usize::try_from(addr.checked_sub(segment.addr)?).ok()?;
            segment.bytes.get(at..at.checked_add(len)?)
        })
    }

    fn name(&self, tcb: u32) -> Option<String> {
        let bytes = self.bytes(tcb.checked_add(NAME.start)?, NAME.len())?;
        let name = bytes.split(|byte| *byte == 0).next()?;
        let is_name = !name.is_empty()
            && name.len() < NAME.len()
            && name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        is_name.then(|| String::from_utf8_lossy(name).into_owned())
    }

    /// Reads each task's header, control block and stack, then memory ranges. Source:
    /// `src/core_dump_binary.c`.
    fn binary(&mut self, body: &[u8], header: &Header) -> Result<(), CoreDumpError> {
        let broken = |what| CoreDumpError::Broken { what };
        let mut rest = Rest(body);
        for index in 0..header.tasks {
            let head = [rest.word(), rest.word(), rest.word()];
            let [Some(tcb), Some(start), Some(end)] = head else {
                return Err(broken("a task has no header"));
            };
            let block = rest.aligned(header.tcb_len).ok_or(broken("a control block is cut off"))?;
            let stack = rest.aligned(start.abs_diff(end)).ok_or(broken("a stack is cut off"))?;
            let low = start.min(end);
            self.memory.push(Segment { addr: tcb, bytes: block.to_vec() });
            self.memory.push(Segment { addr: low, bytes: stack.to_vec() });
            self.tasks.push(CoreTask {
                name: None,
                tcb,
                crashed: index == 0,
                is_broken: FAKE_STACKS.contains(&low),
                registers: TaskRegisters::Saved { at: low },
            });
        }
        for _ in 0..header.segments {
            let (Some(addr), Some(len)) = (rest.word(), rest.word()) else {
                return Err(broken("a memory range has no header"));
            };
            let bytes = rest.aligned(len).ok_or(broken("a memory range is cut off"))?;
            self.memory.push(Segment { addr, bytes: bytes.to_vec() });
        }
        Ok(())
    }
}

/// A reader that takes bytes from the front.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*word))
    }

    /// Takes `len` bytes and the padding to a whole word.
    fn aligned(&mut self, len: u32) -> Option<&'a [u8]> {
        let len = usize::try_from(len).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        let filling = len.next_multiple_of(4).saturating_sub(len);
        self.0 = rest.get(filling..).unwrap_or_default();
        Some(bytes)
    }
}

/// A header word after length and version.
enum Word {
    Tasks,
    TcbLen,
    Segments,
    Revision,
}

/// The header before the tasks: length, version, and further words that depend on the version.
struct Header {
    /// Length of the header in bytes.
    len: usize,
    /// Length of the whole dump with the checksum.
    total: usize,
    format: CoreDumpFormat,
    checksum: Checksum,
    chip_id: u16,
    chip_revision: Option<u32>,
    tasks: u32,
    tcb_len: u32,
    segments: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Header, CoreDumpError> {
        use CoreDumpFormat::{Binary, Elf};
        const OLD: &[Word] = &[Word::Tasks, Word::TcbLen];
        const WITH_SEGMENTS: &[Word] = &[Word::Tasks, Word::TcbLen, Word::Segments];
        const WITH_REVISION: &[Word] = &[Word::Tasks, Word::TcbLen, Word::Segments, Word::Revision];
        let mut rest = Rest(bytes);
        let short = |words: usize| CoreDumpError::Short { len: bytes.len(), expected: 4 * words };
        let [Some(total), Some(version)] = [rest.word(), rest.word()] else {
            return Err(short(2));
        };
        // Source: `COREDUMP_VERSION_*` in esp_core_dump_types.h. Older and newer ones:
        // esp-coredump, `corefile/loader.py`.
        let (format, checksum, words) = match version & 0xffff {
            0x0001 => (Binary, Checksum::Crc32, OLD),
            0x0002 => (Binary, Checksum::Crc32, WITH_SEGMENTS),
            0x0003 => (Binary, Checksum::Crc32, WITH_REVISION),
            0x0100 => (Elf, Checksum::Crc32, WITH_SEGMENTS),
            0x0101 => (Elf, Checksum::Sha256, WITH_SEGMENTS),
            0x0102 => (Elf, Checksum::Crc32, WITH_REVISION),
            0x0103 => (Elf, Checksum::Sha256, WITH_REVISION),
            0x0104 => (Elf, Checksum::Sha256, &[Word::Revision][..]),
            _ => return Err(CoreDumpError::Version { version }),
        };
        let (mut tasks, mut tcb_len, mut segments, mut chip_revision) = (0, 0, 0, None);
        for word in words {
            let value = rest.word().ok_or(short(2 + words.len()))?;
            match word {
                Word::Tasks => tasks = value,
                Word::TcbLen => tcb_len = value,
                Word::Segments => segments = value,
                Word::Revision => chip_revision = Some(value),
            }
        }
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        if total > bytes.len() {
            return Err(CoreDumpError::Short { len: bytes.len(), expected: total });
        }
        if usize::try_from(tasks).is_ok_and(|tasks| tasks > MAX_TASKS) {
            return Err(CoreDumpError::Broken { what: "its header states too many tasks" });
        }
        Ok(Header {
            len: 4 * (2 + words.len()),
            total,
            format,
            checksum,
            chip_id: (version >> 16) as u16,
            chip_revision,
            tasks,
            tcb_len,
            segments,
        })
    }
}

/// The checksum over header and body, stored after them.
#[derive(Debug, Clone, Copy)]
enum Checksum {
    Crc32,
    Sha256,
}

impl Checksum {
    fn len(self) -> usize {
        match self {
            Checksum::Crc32 => 4,
            Checksum::Sha256 => 32,
        }
    }

    fn holds(self, bytes: &[u8], total: usize) -> bool {
        let Some(all) = bytes.get(..total) else { return false };
        let Some(at) = total.checked_sub(self.len()) else { return false };
        let Some((covered, told)) = all.split_at_checked(at) else { return false };
        match self {
            Checksum::Crc32 => crc32fast::hash(covered).to_le_bytes() == *told,
            Checksum::Sha256 => <sha2::Sha256 as sha2::Digest>::digest(covered)[..] == *told,
        }
    }
}
