//! Writes flash: received blocks, decoder, filter, and the flash chip's operations, in steps.

use esplice_stub::{
    inflate::{self, Inflate},
    lzma::{self, Lzma},
    riscv,
    stream::{Source, Window},
    wire::{self, BLOCK, BLOCKS, RANGE_LEN, RANGES, WINDOW, reason},
};

use crate::{
    chip,
    erase::Eraser,
    flash::{CHUNK, Flash},
    hash::Sha,
    link::{self, Link},
    memory::{Buffer, Place},
    read::ReadBuffers,
};

/// Bytes of the buffer of compressed data.
const INPUT_LEN: usize = BLOCK * BLOCKS;
static INPUT: Buffer<u8, INPUT_LEN> = Buffer::new();

/// Memory that writes and reads use in turn.
union Shared {
    window: Window<WINDOW>,
    read: ReadBuffers,
}
static SHARED: Place<Shared> = Place::new(Shared { window: Window::new() });
static LZMA: Place<Lzma> = Place::new(Lzma::new());
static INFLATE: Place<Inflate> = Place::new(Inflate::new());

/// The ranges as they were announced, 16 words each: offset, length, end of what may be erased,
/// flags, SHA-256, and the first word where it is programmed last.
static RANGE: Buffer<u32, { RANGES * 16 }> = Buffer::words();
const HEAD: usize = RANGE_LEN / 4;

/// Bytes that are filtered ahead of the flash chip.
const STAGE_LEN: usize = 512;
static STAGE: Place<[u8; STAGE_LEN]> = Place::new([0; STAGE_LEN]);
/// The stage is filled again when fewer final bytes are left.
const LOW: usize = 128;
/// Bytes to decode before the other stages have their turn.
const TURN: u32 = 16;
/// Reads beyond the end of a stream, more than any coder makes at its end.
const BEYOND: u32 = 8;
/// Flag of ranges that come from the loader's usual commands: their hash is unknown.
const UNVERIFIED: u32 = 1 << 31;

/// A write in progress.
#[derive(Default)]
pub struct Writer {
    active: bool,
    /// True for the loader's usual commands, which do not announce the compressed length.
    open_ended: bool,
    complete: bool,
    hashing: bool,
    failure: u8,
    coder: u32,
    /// Compressed bytes: announced, arrived without a gap, taken by the decoder.
    announced: u32,
    arrived: u32,
    taken: u32,
    beyond: u32,
    /// The first block that is missing, and those after it that have arrived, a bit each.
    next: u32,
    later: u32,
    reported: u32,
    /// Bytes that the stream decodes to.
    total: u32,
    /// Bytes moved from the window to the stage.
    staged: u32,
    stage_at: usize,
    stage_final: usize,
    stage_len: usize,
    count: usize,
    /// The range that is programmed, and its bytes so far; the same for erasing and verifying.
    range: usize,
    done: u32,
    erased: usize,
    verified: usize,
    checked: u32,
    eraser: Eraser,
    sha: Sha,
}

/// The decoder's view of the received blocks.
struct Input {
    at: u32,
    end: u32,
    complete: bool,
    beyond: u32,
}

impl Source for Input {
    #[inline(always)]
    fn next(&mut self) -> u8 {
        if self.at == self.end {
            self.beyond += 1;
            return 0;
        }
        let byte = INPUT.get(self.at as usize);
        self.at += 1;
        byte
    }

    #[inline(always)]
    fn available(&self) -> usize {
        (self.end - self.at) as usize
    }

    #[inline(always)]
    fn is_complete(&self) -> bool {
        self.complete
    }
}

fn range(index: usize, word: usize) -> u32 {
    RANGE.get(index * 16 + word)
}

fn window() -> &'static mut Window<WINDOW> {
    // SAFETY: the reference ends before the next is taken, and any bytes are a window.
    unsafe { &mut SHARED.take().window }
}

/// Returns the buffers for a read, which ends a write.
pub fn read_buffers(writer: &mut Writer) -> &'static mut ReadBuffers {
    writer.active = false;
    // SAFETY: as for `window`.
    unsafe { &mut SHARED.take().read }
}

impl Writer {
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Starts a write of `announced` compressed bytes to no range yet.
    pub fn start(&mut self, coder: u32, properties: u32, announced: u32) -> Result<(), u8> {
        *self = Writer { coder, announced, ..Writer::default() };
        window().position = 0;
        match coder {
            wire::RAW => {}
            // SAFETY: no other reference is in use.
            wire::ZLIB => unsafe { INFLATE.take() }.start(),
            wire::LZMA | wire::LZMA_RISCV => {
                // SAFETY: no other reference is in use.
                let lzma = unsafe { LZMA.take() };
                lzma.start(properties as u8).map_err(|_| reason::PARAMETER)?;
            }
            _ => return Err(reason::PARAMETER),
        }
        Ok(())
    }

    /// Adds the range whose words are in the table at `count`.
    fn add(&mut self, flash: &Flash) -> Result<(), u8> {
        let index = self.count;
        let (offset, len) = (range(index, 0), range(index, 1));
        let (allowed, flags) = (range(index, 2), range(index, 3));
        flash.check(offset, len)?;
        flash.check(allowed, 0)?;
        let end = offset + len;
        let unaligned = flags & UNVERIFIED == 0 && offset & 0xfff != 0;
        let short = flags & wire::HEAD_LAST != 0 && len < 4;
        if allowed & 0xfff != 0 || allowed < end || unaligned || short {
            return Err(reason::PARAMETER);
        }
        self.count += 1;
        self.total = self.total.checked_add(len).ok_or(reason::PARAMETER)?;
        if index == 0 {
            self.eraser.start(offset, end, allowed);
        }
        Ok(())
    }

    /// Starts a write as a request announces it, with its ranges from word 4 on.
    pub fn begin(&mut self, flash: &Flash) -> Result<(), u8> {
        self.start(link::word(0), link::word(1), link::word(2))?;
        for index in 0..link::word(3) as usize {
            for word in 0..HEAD {
                RANGE.set(index * 16 + word, link::word(4 + index * HEAD + word));
            }
            RANGE.set(index * 16 + 3, range(index, 3) & wire::HEAD_LAST);
            self.add(flash)?;
        }
        self.active = true;
        Ok(())
    }

    /// Starts a write of the loader's usual commands.
    pub fn begin_open(
        &mut self,
        coder: u32,
        offset: u32,
        len: u32,
        flash: &Flash,
    ) -> Result<(), u8> {
        flash.check(offset, len)?;
        self.start(coder, 0, u32::MAX)?;
        let words = [offset, len, (offset + len + 0xfff) & !0xfff, UNVERIFIED];
        for (place, word) in words.iter().enumerate() {
            RANGE.set(place, *word);
        }
        self.add(flash)?;
        self.open_ended = true;
        self.active = true;
        Ok(())
    }

    /// Returns true for a write of the loader's usual commands.
    pub fn is_open_ended(&self) -> bool {
        self.open_ended
    }

    /// Ends a write, whatever its state.
    pub fn abandon(&mut self) {
        self.active = false;
    }

    /// Returns the reason why the write failed, or 0.
    pub fn failure(&self) -> u8 {
        self.failure
    }

    /// Takes the block that is in the frame from `from` to `to`, if there is room for it.
    pub fn accept(&mut self, sequence: u32, from: usize, to: usize, link: &mut Link) {
        let last = self.announced.div_ceil(BLOCK as u32);
        let held = sequence.wrapping_sub(self.taken / BLOCK as u32);
        if sequence < self.next || sequence >= last || held >= BLOCKS as u32 {
            return;
        }
        let mut place = sequence * BLOCK as u32;
        if (to - from) as u32 != (self.announced - place).min(BLOCK as u32) {
            return;
        }
        link.each(from, to, |byte| {
            INPUT.set(place as usize, byte);
            place += 1;
        });
        self.later |= 1 << (sequence - self.next);
        while self.later & 1 != 0 {
            self.later >>= 1;
            self.next += 1;
        }
        self.arrived = (self.next * BLOCK as u32).min(self.announced);
        self.complete = self.arrived == self.announced;
    }

    /// Takes a byte of a usual block, and works until there is room for it.
    pub fn feed(&mut self, byte: u8, flash: &mut Flash, link: &mut Link) {
        while (self.arrived - self.taken) as usize >= INPUT_LEN && self.failure == 0 {
            self.step(flash);
            link.poll();
        }
        INPUT.set(self.arrived as usize, byte);
        self.arrived += 1;
    }

    fn consumed(&self) -> u32 {
        match self.complete && window().position == self.total {
            true => self.next,
            false => self.taken / BLOCK as u32,
        }
    }

    /// Reports how far the blocks are.
    #[inline(never)]
    pub fn acknowledge(&mut self, opcode: u8, link: &mut Link) {
        self.reported = self.consumed();
        let failure = if self.active { self.failure } else { reason::NO_WRITE };
        let words = [self.next, self.reported, self.later >> 1, u32::from(failure)];
        link.reply_words(opcode, &words);
    }

    /// Returns true if so many blocks were consumed that the host should learn of it.
    pub fn has_news(&self) -> bool {
        self.active && !self.open_ended && self.taken / BLOCK as u32 >= self.reported + 4
    }

    /// Returns true if every block has arrived.
    pub fn has_all(&self) -> bool {
        self.complete
    }

    /// Works until everything is written and verified.
    #[inline(never)]
    pub fn finish(&mut self, flash: &mut Flash, link: &mut Link) -> Result<(), u8> {
        self.complete = true;
        while self.failure == 0 && !self.is_finished() {
            self.step(flash);
            link.poll();
        }
        self.active = false;
        flash.wait(link)?;
        if self.failure != 0 {
            return Err(self.failure);
        }
        for index in 0..self.count {
            if range(index, 3) & wire::HEAD_LAST != 0 {
                let mut found = [0; 4];
                flash.read(range(index, 0), &mut found);
                if u32::from_le_bytes(found) != range(index, HEAD) {
                    return Err(flash.why_wrong());
                }
            }
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        if !self.open_ended {
            return self.verified == self.count;
        }
        let ended = match self.coder {
            // The last symbols may still be among the bits that were taken.
            // SAFETY: no other reference is in use.
            wire::ZLIB => unsafe { INFLATE.take() }.is_done(),
            _ => self.taken == self.arrived,
        };
        ended && self.staged == window().position && self.stage_at == self.stage_len
    }

    /// Does a little of everything.
    #[inline(never)]
    pub fn step(&mut self, flash: &mut Flash) {
        if self.active
            && self.failure == 0
            && let Err(failure) = self.try_step(flash)
        {
            self.failure = failure;
        }
    }

    fn try_step(&mut self, flash: &mut Flash) -> Result<(), u8> {
        self.decode()?;
        if self.stage_final - self.stage_at < LOW {
            self.fill();
        }
        if flash.is_busy()? || self.program(flash)? {
            return Ok(());
        }
        if !self.eraser.is_done() {
            return self.eraser.step(flash);
        }
        if self.erased + 1 < self.count {
            self.erased += 1;
            let index = self.erased;
            let (offset, len, allowed) = (range(index, 0), range(index, 1), range(index, 2));
            self.eraser.start(offset, offset + len, allowed);
            return Ok(());
        }
        self.verify(flash)
    }

    /// Decodes a few symbols, if there is room and input.
    #[inline(never)]
    fn decode(&mut self) -> Result<(), u8> {
        let mut input = Input {
            at: self.taken,
            end: self.arrived,
            complete: self.complete,
            beyond: self.beyond,
        };
        let window = window();
        let start = window.position;
        // SAFETY: no other references are in use.
        let (inflate, lzma) = unsafe { (INFLATE.take(), LZMA.take()) };
        const MOST: u32 =
            if inflate::STEP_OUT > lzma::STEP_OUT { inflate::STEP_OUT } else { lzma::STEP_OUT };
        let limit = if self.open_ended { u32::MAX } else { self.total };
        let mut result = Ok(());
        while window.position < limit
            && window.position.wrapping_sub(start) < TURN
            && window.position.wrapping_sub(self.staged) <= WINDOW as u32 - MOST
        {
            let stepped = match self.coder {
                wire::RAW => {
                    let more = input.available() > 0;
                    if more {
                        window.push(input.next());
                    }
                    Ok(more)
                }
                wire::ZLIB => inflate.step(&mut input, window),
                _ => lzma.step(&mut input, window),
            };
            result = match stepped {
                Ok(true) if input.beyond <= BEYOND => continue,
                Ok(true) => Err(reason::SHORT),
                // Nothing follows, though there is not enough.
                Ok(false) if self.complete && !self.open_ended => Err(reason::SHORT),
                Ok(false) => Ok(()),
                Err(_) => Err(reason::STREAM),
            };
            break;
        }
        (self.taken, self.beyond) = (input.at, input.beyond);
        if window.position > limit { Err(reason::LONG) } else { result }
    }

    /// Moves decoded bytes to the stage, and filters them.
    #[inline(never)]
    fn fill(&mut self) {
        let window = window();
        let at_end = !self.open_ended && window.position == self.total;
        if self.staged == window.position && !(at_end && self.stage_final < self.stage_len) {
            return;
        }
        // SAFETY: no other reference is in use.
        let stage = unsafe { STAGE.take() };
        // The remaining bytes move to the start.
        let from = self.stage_at;
        for at in from..self.stage_len.min(STAGE_LEN) {
            stage[(at - from) & (STAGE_LEN - 1)] = stage[at];
        }
        (self.stage_at, self.stage_len) = (0, self.stage_len - from);
        self.stage_final -= from;
        while self.staged != window.position && self.stage_len < STAGE_LEN {
            stage[self.stage_len] = window.at(self.staged);
            self.stage_len += 1;
            self.staged = self.staged.wrapping_add(1);
        }
        let raw = self.stage_len - self.stage_final;
        let position = self.staged.wrapping_sub(raw as u32);
        if self.coder != wire::LZMA_RISCV || at_end && self.staged == window.position {
            if self.coder == wire::LZMA_RISCV
                && let Some(bytes) = stage.get_mut(self.stage_final..self.stage_len)
            {
                riscv::decode(position, bytes);
            }
            self.stage_final = self.stage_len;
        } else if let Some(bytes) = stage.get_mut(self.stage_final..self.stage_len) {
            self.stage_final += riscv::decode(position, bytes);
        }
    }

    /// Programs the next chunk, if it is there and its place is erased. Returns true if it did
    /// something.
    #[inline(never)]
    fn program(&mut self, flash: &mut Flash) -> Result<bool, u8> {
        // SAFETY: no other reference is in use.
        let stage = unsafe { STAGE.take() };
        let Some(ready) = stage.get_mut(self.stage_at..self.stage_final) else { return Ok(false) };
        if self.range == self.count {
            // Padding of the last block of the usual commands.
            self.stage_at = self.stage_final;
            return if is_blank(ready) { Ok(false) } else { Err(reason::LONG) };
        }
        let (offset, len) = (range(self.range, 0), range(self.range, 1));
        let at = offset + self.done;
        let wanted = (CHUNK - (at as usize & (CHUNK - 1))).min((len - self.done) as usize);
        let erased = self.erased > self.range
            || self.erased == self.range && self.eraser.frontier >= at + wanted as u32;
        let Some(chunk) = ready.get_mut(..wanted).filter(|_| erased || wanted == 0) else {
            return Ok(false);
        };
        if self.done == 0
            && range(self.range, 3) & wire::HEAD_LAST != 0
            && let Some(first) = chunk.first_chunk_mut()
        {
            RANGE.set(self.range * 16 + HEAD, u32::from_le_bytes(*first));
            *first = [0xff; 4];
        }
        if !is_blank(chunk) {
            flash.program(at, chunk)?;
        }
        self.stage_at += wanted;
        self.done += wanted as u32;
        if self.done == len {
            self.range += 1;
            self.done = 0;
        }
        Ok(true)
    }

    /// Hashes the next chunk of what was written.
    #[inline(never)]
    fn verify(&mut self, flash: &mut Flash) -> Result<(), u8> {
        let index = self.verified;
        if index == self.count || self.open_ended {
            return Ok(());
        }
        let (offset, len, flags) = (range(index, 0), range(index, 1), range(index, 3));
        let wanted = (len - self.checked).min(CHUNK as u32);
        if index == self.range && self.checked + CHUNK as u32 > self.done {
            return Ok(());
        }
        if !self.hashing {
            self.sha.start();
            self.hashing = true;
        }
        let is_head = flags & wire::HEAD_LAST != 0;
        if wanted == CHUNK as u32 && !(is_head && self.checked == 0) {
            flash.hash_chunk(offset + self.checked, &mut self.sha);
            self.checked += wanted;
            return Ok(());
        }
        if wanted > 0 {
            let mut chunk = [0; CHUNK];
            let chunk = chunk.get_mut(..wanted as usize).unwrap_or_default();
            flash.read(offset + self.checked, chunk);
            if is_head
                && self.checked == 0
                && let Some(first) = chunk.first_chunk_mut()
            {
                *first = range(index, HEAD).to_le_bytes();
            }
            self.sha.update(chunk);
            self.checked += wanted;
            return Ok(());
        }
        self.sha.finish();
        for word in 0..8 {
            if chip::read(crate::hash::H + 4 * word) != range(index, 4 + word as usize) {
                return Err(flash.why_wrong());
            }
        }
        // Only now, so that no head ever stands over something incomplete.
        if is_head {
            flash.program(offset, &range(index, HEAD).to_le_bytes())?;
        }
        self.verified += 1;
        self.checked = 0;
        self.hashing = false;
        Ok(())
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xff)
}
