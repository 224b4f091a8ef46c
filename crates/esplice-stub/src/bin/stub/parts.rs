//! The parts of the stub. The core is uploaded through the ROM loader; the others follow when they
//! are needed, through the core, which is much faster and goes on while flash is hashed.

use esplice_stub::crc::Crc;

/// A part that follows the core.
#[derive(Clone, Copy)]
pub enum Part {
    /// Writes and erases.
    Writer,
    /// Reads, and the loader's usual commands.
    Extras,
}

unsafe extern "C" {
    static __writer_start: u8;
    static __writer_end: u8;
    static __extras_start: u8;
    static __extras_end: u8;
}

/// CRC-32 of each part; set when the stub is packed.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.parts")]
static PART_CRCS: [u32; 2] = [0x5061_7274, 0x4372_6373];

/// Returns start and end of a part.
fn range(part: Part) -> (usize, usize) {
    let (start, end) = match part {
        Part::Writer => (&raw const __writer_start, &raw const __writer_end),
        Part::Extras => (&raw const __extras_start, &raw const __extras_end),
    };
    (start as usize, end as usize)
}

/// Returns true if the range from `start` to `end` lies within a part.
pub fn contains(start: u32, end: u32) -> bool {
    let ((first, _), (_, last)) = (range(Part::Writer), range(Part::Extras));
    start as usize >= first && end as usize <= last
}

/// Returns true if the whole part is in memory.
#[inline(never)]
pub fn is_complete(part: Part) -> bool {
    let (start, end) = range(part);
    let mut crc = Crc::new();
    for place in start..end {
        // SAFETY: the linker script reserves the memory of each part.
        crc.update(&[unsafe { (place as *const u8).read_volatile() }]);
    }
    // SAFETY: read as it was packed, not as it was compiled.
    let expected =
        unsafe { (&raw const PART_CRCS).cast::<u32>().add(part as usize).read_volatile() };
    crc.finish() == expected
}
