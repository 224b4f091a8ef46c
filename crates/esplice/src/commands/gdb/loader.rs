//! Writes what gdb's `load` has sent as `esplice flash` would.

use esplice_chip::Chip;
use esplice_gdb::{LoadError, Loaded, Loader, Segment};
use esplice_image::ResolveOptions;
use esplice_sim::SharedBoard;

use super::Talk;
use crate::{
    config::project::Project,
    device::{
        flashing,
        load::{Job, Load},
        ports::Board,
    },
    files::elf_file::Elf,
    firmware::Firmware,
    ui::{exit::Failure, interrupt::Interrupt},
};

/// A loader for the board at a port.
pub struct FlashLoader<'a> {
    board: &'a mut Board,
    project: &'a Project,
    said: &'a Talk<'a>,
    interrupt: &'a Interrupt,
}

impl<'a> FlashLoader<'a> {
    pub fn new(
        board: &'a mut Board,
        project: &'a Project,
        said: &'a Talk<'a>,
        interrupt: &'a Interrupt,
    ) -> FlashLoader<'a> {
        FlashLoader { board, project, said, interrupt }
    }
}

impl Loader for FlashLoader<'_> {
    fn load(
        &mut self,
        board: &SharedBoard,
        segments: &[Segment],
        entry: Option<u32>,
    ) -> Result<Loaded, LoadError> {
        let chip = board.with(|board| board.chip().clone());
        let refused = |failure: Failure| LoadError(failure.to_string());
        // Without the entry point, only the rest is checked.
        let first = segments.iter().find(|segment| is_code(&chip, segment.addr));
        let start = entry.or(first.map(|segment| segment.addr)).unwrap_or(0);
        let elf = Elf::new(elf(segments, start), None);
        let firmware = self
            .said
            .with(|shell| Firmware::from_elf("load".into(), elf, &chip, self.project, shell))
            .map_err(refused)?;
        if entry.is_none() {
            return Ok(Loaded::NeedsEntry);
        }
        let options = ResolveOptions::default()
            .with_bootloader(self.project.flash.with_bootloader)
            .partition(self.project.flash.partition.clone())
            .must_boot(true);
        let load = Load::Plan { plan: firmware.plan, options };
        let job = Job { load, target: Some(chip), elf: None, monitor_baud: None };
        let (board, project, interrupt) = (&mut *self.board, self.project, self.interrupt);
        self.said
            .with(|shell| flashing::write(board, job, project, shell, interrupt))
            .map_err(refused)?;
        Ok(Loaded::Written { entry: start })
    }
}

fn is_code(chip: &Chip, addr: u32) -> bool {
    chip.region_at(esplice_chip::Addr(addr)).is_some_and(|region| region.access.execute)
}

/// Returns an ELF for 32-bit RISC-V with these segments (System V ABI, "ELF Header" and "Program
/// Header").
fn elf(segments: &[Segment], entry: u32) -> Vec<u8> {
    const HEADER: u32 = 52;
    const PROGRAM_HEADER: u32 = 32;
    const EXECUTABLE: u16 = 2;
    const RISCV: u16 = 243;
    const LOAD: u32 = 1;
    const READ_WRITE_EXECUTE: u32 = 7;
    let count = segments.len().min(u16::MAX.into()) as u16;
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |elf: &mut Vec<u8>, values: &[u16]| {
        values.iter().for_each(|value| elf.extend(value.to_le_bytes()));
    };
    let words = |elf: &mut Vec<u8>, values: &[u32]| {
        values.iter().for_each(|value| elf.extend(value.to_le_bytes()));
    };
    halves(&mut elf, &[EXECUTABLE, RISCV]);
    words(&mut elf, &[1, entry, HEADER, 0, 0]);
    halves(&mut elf, &[HEADER as u16, PROGRAM_HEADER as u16, count, 40, 0, 0]);
    let mut offset = HEADER + PROGRAM_HEADER * u32::from(count);
    let segments = segments.iter().take(count.into());
    for segment in segments.clone() {
        let len = segment.bytes.len() as u32;
        let addr = segment.addr;
        words(&mut elf, &[LOAD, offset, addr, addr, len, len, READ_WRITE_EXECUTE, 4]);
        offset = offset.saturating_add(len);
    }
    segments.for_each(|segment| elf.extend(&segment.bytes));
    elf
}
