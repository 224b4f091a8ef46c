//! Chips and boards from custom files.

use std::sync::Arc;

use crate::{Addr, Board, Chip, ChipDb, ChipError, Efuse, parse_size};

/// A chip or a board.
#[derive(Debug, Clone)]
pub enum Target {
    /// A chip, on any board.
    Chip(Arc<Chip>),
    /// A board.
    Board(Arc<Board>),
}

impl Target {
    /// Parses `text`, the content of `file` (a name for messages), as a board's file if it has a
    /// `[board]` table, otherwise as a chip's. A board's chip is one of `chips`.
    ///
    /// # Errors
    /// Returns the errors of [`Chip::parse`] and [`Board::parse`], and [`ChipError::Check`] for a
    /// chip file that would make esplice write to registers of an eFuse controller.
    pub fn parse(file: &str, text: &str, chips: &ChipDb) -> Result<Target, ChipError> {
        // For anything that is not a board, the chip parser has the best message.
        if text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("board")) {
            return Ok(Target::Board(Arc::new(Board::parse(file, text, chips)?)));
        }
        let chip = Chip::parse(file, text)?;
        check_efuses_not_written(&chip)
            .map_err(|message| ChipError::Check { file: file.into(), message })?;
        Ok(Target::Chip(Arc::new(chip)))
    }

    /// Returns the chip, or the board's chip.
    pub fn chip(&self) -> &Arc<Chip> {
        match self {
            Target::Chip(chip) => chip,
            Target::Board(board) => &board.chip,
        }
    }

    /// Returns the board, if this is one.
    pub fn board(&self) -> Option<&Arc<Board>> {
        match self {
            Target::Chip(_) => None,
            Target::Board(board) => Some(board),
        }
    }

    /// Returns the size of the board's flash in bytes. For a chip without a board it is not known.
    pub fn flash_size(&self) -> Option<u32> {
        self.board().and_then(|board| parse_size(&board.flash_size))
    }

    /// Returns the name used in commands and files.
    pub fn name(&self) -> &str {
        match self {
            Target::Chip(chip) => &chip.name,
            Target::Board(board) => &board.name,
        }
    }
}

/// Size of an eFuse controller's register block in bytes. Blocks are aligned to it (esp-hal's PACs:
/// no chip's eFuse controller has a register beyond it).
const CONTROLLER: u32 = 0x800;

/// Checks that none of the registers that `chip`'s file makes esplice write to lies in an eFuse
/// controller: neither the one in the file, nor that of an embedded chip with the same name, ID or
/// magic word. A wrong write there can't be undone.
fn check_efuses_not_written(chip: &Chip) -> Result<(), String> {
    let shares_magic = |other: &Chip| {
        other.loader.magic_values.iter().any(|magic| chip.loader.magic_values.contains(magic))
    };
    let could_be = |other: &&Chip| {
        other.name == chip.name || other.image.chip_id == chip.image.chip_id || shares_magic(other)
    };
    let embedded = ChipDb::embedded().chips().map(|other| &**other).filter(could_be);
    let efuses = embedded.map(|other| &other.efuse).chain([&chip.efuse]);
    let controllers: Vec<u32> = efuses.flat_map(controllers_of).collect();
    for (what, addr) in written_registers(chip) {
        if controllers.contains(&(addr.0 / CONTROLLER)) {
            return Err(format!(
                "{what} at {addr} is in the eFuse controller, which must not be written"
            ));
        }
    }
    Ok(())
}

/// Returns the numbers of the [`CONTROLLER`]-sized units of address space that hold `efuse`'s
/// blocks.
fn controllers_of(efuse: &Efuse) -> Vec<u32> {
    let pieces = efuse.blocks.iter().flat_map(|block| {
        let last = block.addr.0.saturating_add(block.words.saturating_mul(4).saturating_sub(1));
        block.addr.0 / CONTROLLER..=last / CONTROLLER
    });
    // Blocks outside the main controller must not be written either.
    pieces.collect()
}

/// Returns all registers that are written because a chip's file names them.
fn written_registers(chip: &Chip) -> Vec<(&'static str, Addr)> {
    let spi = &chip.spi;
    let mut registers: Vec<(&str, Addr)> =
        [spi.cmd, spi.addr, spi.usr, spi.usr1, spi.usr2, spi.mosi_dlen, spi.miso_dlen, spi.w0]
            .map(|offset| ("spi register", Addr(spi.base.0.wrapping_add(offset))))
            .into();
    let watchdog = &chip.watchdog;
    let writes = watchdog.stop().into_iter().chain(watchdog.reset().unwrap_or_default());
    registers.extend(writes.map(|write| ("watchdog register", write.addr)));
    let clocks = chip.loader.fast_clocks.iter();
    registers.extend(clocks.map(|write| ("clock register", write.addr)));
    let stub = chip.stub.iter().flat_map(|stub| stub.clocks.iter().chain(&stub.sha_on));
    registers.extend(stub.map(|write| ("stub register", write.addr)));
    registers
}
