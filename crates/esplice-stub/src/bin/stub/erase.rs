//! Erases ahead of the data: blocks where most of one must go, sectors elsewhere, and nothing that
//! is blank.

use esplice_stub::wire::reason;

use crate::{
    flash::{BLOCK, CHUNK, Flash, SECTOR},
    link::Link,
};

/// From this many sectors on, erasing a whole block takes less time (Winbond W25Q32JV datasheet,
/// 9.6, typical values: 45 ms a sector, 150 ms a block).
const WORTH_A_BLOCK: u32 = 4;

/// Progress of an erase.
#[derive(Default)]
pub struct Eraser {
    /// Everything before it is erased, once the flash chip is idle.
    pub frontier: u32,
    /// End of what must be erased, and of what may be.
    needed: u32,
    allowed: u32,
    /// Sectors of the unit at the frontier that were found written, a bit each.
    dirty: u32,
    count: u32,
    /// Place of the search for written bytes within the unit.
    searched: u32,
}

impl Eraser {
    /// Starts with the sector of `offset`; everything up to `end` must be erased, and up to
    /// `allowed`, the end of a sector, may be.
    pub fn start(&mut self, offset: u32, end: u32, allowed: u32) {
        self.frontier = offset & !(SECTOR - 1);
        (self.needed, self.allowed) = (end, allowed);
        (self.dirty, self.count, self.searched) = (0, 0, 0);
    }

    pub fn is_done(&self) -> bool {
        self.frontier >= self.needed
    }

    /// Does a little: looks at a piece of the flash, or starts an erase. The flash chip must be
    /// idle.
    pub fn step(&mut self, flash: &mut Flash) -> Result<(), u8> {
        if self.is_done() {
            return Ok(());
        }
        let whole = self.frontier & (BLOCK - 1) == 0 && self.allowed - self.frontier >= BLOCK;
        let unit = if whole { BLOCK } else { SECTOR };
        if self.searched < unit && !(whole && self.count >= WORTH_A_BLOCK) {
            if flash.is_blank(self.frontier + self.searched) {
                self.searched += CHUNK as u32;
            } else {
                self.dirty |= 1 << (self.searched / SECTOR);
                self.count += 1;
                self.searched = (self.searched & !(SECTOR - 1)) + SECTOR;
            }
            return Ok(());
        }
        if whole && self.count >= WORTH_A_BLOCK {
            flash.erase(self.frontier, true)?;
            self.dirty = 0;
        } else if self.dirty != 0 {
            let sector = self.dirty.trailing_zeros();
            flash.erase(self.frontier + sector * SECTOR, false)?;
            self.dirty &= self.dirty - 1;
        }
        if self.dirty == 0 {
            self.frontier += unit;
            (self.count, self.searched) = (0, 0);
        }
        Ok(())
    }
}

/// Erases whole sectors.
#[inline(never)]
pub fn region(offset: u32, len: u32, flash: &mut Flash, link: &mut Link) -> Result<(), u8> {
    flash.check(offset, len)?;
    if (offset | len) & (SECTOR - 1) != 0 {
        return Err(reason::PARAMETER);
    }
    let mut eraser = Eraser::default();
    eraser.start(offset, offset + len, offset + len);
    while !eraser.is_done() {
        eraser.step(flash)?;
        flash.wait(link)?;
    }
    Ok(())
}
