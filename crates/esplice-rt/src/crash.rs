//! A record of a panic that outlives the reset after it.

#![allow(unsafe_code, reason = "writes to memory that a panic may interrupt the user of")]

use core::{
    fmt::{self, Write as _},
    mem::MaybeUninit,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};

/// First bytes of a record that has not been read yet.
const MAGIC: [u8; 4] = *b"ESpc";
/// Magic, length of the text, number of frames, CRC-32 of everything after it.
const HEAD: usize = 12;
/// Bytes of an address.
const FRAME: usize = 4;
/// The most addresses of a record.
const FRAMES: usize = 16;

static START: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static LEN: AtomicUsize = AtomicUsize::new(0);

/// Uses this memory for the record of a panic, and returns the record that the program left there
/// before the last reset, once.
///
/// The memory must keep its contents over a reset: an arena with `keep = true`, as small as 256
/// bytes. Memory that holds anything else, such as after power-on, has no record.
///
/// ```
/// # use core::mem::MaybeUninit;
/// # let log = || Some(Box::leak(Box::new([MaybeUninit::<u8>::new(0); 512])));
/// // In firmware the generated module has a function for each arena: layout::log().
/// if let Some(crash) = esplice_rt::crash::install(log().unwrap()) {
///     println!("before the last reset: {crash}");
/// }
/// ```
pub fn install(memory: &'static mut [MaybeUninit<u8>]) -> Option<Crash> {
    let (start, len) = (memory.as_mut_ptr().cast::<u8>(), memory.len());
    // Read byte by byte, so that the compiler assumes nothing of memory that nobody has written.
    let byte = |at: usize| {
        // SAFETY: `at` is less than `len`, and RAM always reads as some byte.
        if at < len { unsafe { start.add(at).read_volatile() } } else { 0 }
    };
    let half = |at: usize| usize::from(u16::from_le_bytes([byte(at), byte(at + 1)]));
    let (text, frames) = (half(4), half(6));
    let end = HEAD + FRAME * frames + text;
    let mut crc = Crc::new();
    let is_whole = (0..4).all(|at| byte(at) == MAGIC[at]) && frames <= FRAMES && end <= len;
    if is_whole {
        (4..8).chain(HEAD..end).for_each(|at| crc.add(byte(at)));
    }
    let stored = u32::from_le_bytes([byte(8), byte(9), byte(10), byte(11)]);
    let crash = (is_whole && crc.value() == stored).then(|| {
        // SAFETY: these bytes were written by `record`, and are only written again by a panic.
        let bytes = unsafe { core::slice::from_raw_parts(start.add(HEAD), end - HEAD) };
        let (frames, text) = bytes.split_at(FRAME * frames);
        Crash { frames, text: core::str::from_utf8(text).unwrap_or("?") }
    });
    if len > 0 {
        // SAFETY: the memory is at least a byte long. Without its magic the record is not found
        // again.
        unsafe { start.write_volatile(0) };
    }
    LEN.store(len, Ordering::Relaxed);
    START.store(start, Ordering::Release);
    crash
}

/// Writes the record of a panic: its message, which is cut off where the memory ends, and the
/// addresses of the functions that were active, 16 at most, the innermost first. Does nothing
/// without [`install`].
///
/// For the panic handler, which then resets the chip:
///
/// ```ignore
/// #[panic_handler]
/// fn panic(info: &core::panic::PanicInfo) -> ! {
///     esplice_rt::crash::record(info, esplice_rt::crash::frames());
///     esp_hal::system::software_reset()
/// }
/// ```
pub fn record(message: &impl fmt::Display, frames: impl IntoIterator<Item = u32>) {
    let start = START.load(Ordering::Acquire);
    let len = LEN.load(Ordering::Relaxed).min(HEAD + FRAME * FRAMES + usize::from(u16::MAX));
    if start.is_null() || len < HEAD {
        return;
    }
    let mut writer = Writer { start, at: HEAD, len };
    let mut count = 0_u16;
    // The text has the rest: room for a line is kept.
    let most = (len - HEAD).saturating_sub(64) / FRAME;
    for frame in frames.into_iter().take(FRAMES.min(most)) {
        frame.to_le_bytes().iter().for_each(|byte| writer.push(*byte));
        count += 1;
    }
    let text = writer.at;
    // Only the end of the memory makes this fail.
    let _ = write!(writer, "{message}");
    let text = (writer.at - text) as u16;

    let end = writer.at;
    let [a, b] = text.to_le_bytes();
    let [c, d] = count.to_le_bytes();
    let mut crc = Crc::new();
    [a, b, c, d].iter().for_each(|byte| crc.add(*byte));
    for at in HEAD..end {
        // SAFETY: the writer has just written these bytes.
        crc.add(unsafe { start.add(at).read_volatile() });
    }
    let [e, f, g, h] = crc.value().to_le_bytes();
    // The magic last, so that half a record is none.
    for (at, byte) in (4..).zip([a, b, c, d, e, f, g, h]).chain((0..).zip(MAGIC)) {
        // SAFETY: the memory is at least as long as a head.
        unsafe { start.add(at).write_volatile(byte) };
    }
}

/// Returns the addresses at which the active functions go on, the innermost first. On RISC-V they
/// come from the frame pointers, which `-C force-frame-pointers` keeps; elsewhere there are none.
#[inline(always)]
pub fn frames() -> impl Iterator<Item = u32> {
    let (mut frame, mut below) = (0_usize, 0_usize);
    // SAFETY: reads two registers.
    #[cfg(target_arch = "riscv32")]
    unsafe {
        core::arch::asm!("mv {0}, s0", "mv {1}, sp", out(reg) frame, out(reg) below);
    }
    core::iter::from_fn(move || {
        // The pointer is the caller's stack pointer (RISC-V ELF psABI, Frame Pointer Convention), so
        // it only grows. A step of over 64 KiB is none: the stack ends.
        let size = frame.wrapping_sub(below);
        if frame == 0 || frame % 4 != 0 || !(8..0x1_0000).contains(&size) {
            return None;
        }
        below = frame;
        // SAFETY: the frame lies in the stack, just above the frames below it.
        let [next, address] = unsafe { (frame as *const [usize; 2]).sub(1).read() };
        frame = next;
        (address != 0).then_some(address as u32)
    })
}

/// Writes to the memory of the record.
struct Writer {
    start: *mut u8,
    at: usize,
    len: usize,
}

impl Writer {
    fn push(&mut self, byte: u8) {
        if self.at < self.len {
            // SAFETY: the place is within the memory.
            unsafe { self.start.add(self.at).write_volatile(byte) };
            self.at += 1;
        }
    }
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes);
            if self.at + bytes.len() > self.len {
                return Err(fmt::Error);
            }
            bytes.bytes().for_each(|byte| self.push(byte));
        }
        Ok(())
    }
}

/// A panic before the last reset. It is displayed like a panic that has just occurred, so that
/// `esplice monitor` decodes its addresses.
#[derive(Clone, Copy)]
pub struct Crash {
    frames: &'static [u8],
    text: &'static str,
}

impl Crash {
    /// Returns the panic's message with its place in the source.
    pub fn message(&self) -> &'static str {
        self.text
    }

    /// Returns the addresses of the functions that were active, the innermost first.
    pub fn frames(&self) -> impl Iterator<Item = u32> + 'static {
        self.frames.as_chunks::<FRAME>().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\r\n\r\nBacktrace:\r\n\r\n", self.text)?;
        self.frames().try_for_each(|frame| write!(f, "{frame:#010x}\r\n"))
    }
}

impl fmt::Debug for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crash({:?})", self.text)
    }
}

/// CRC-32 with the polynomial of Ethernet (IEEE 802.3, 3.2.9), bit by bit: small, and fast enough
/// for a few hundred bytes.
struct Crc(u32);

impl Crc {
    fn new() -> Crc {
        Crc(u32::MAX)
    }

    fn add(&mut self, byte: u8) {
        self.0 ^= u32::from(byte);
        for _ in 0..8 {
            self.0 = self.0 >> 1 ^ if self.0 & 1 == 0 { 0 } else { 0xedb8_8320 };
        }
    }

    fn value(&self) -> u32 {
        !self.0
    }
}
