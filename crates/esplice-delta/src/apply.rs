//! The applier: a patch and a base become an image.

use sha2::{Digest as _, Sha256};

use crate::{
    ApplyError,
    coder::{Coder, Prob, RangeDecoder},
    crc::Crc32,
    format::{Before, HISTORY, Kind, MAX_OPERATIONS, Models, Prefix, TAIL},
    image::Segments,
    isa::{Isa, Reference},
    map::AddressMap,
    predict::{Copying, Predictor},
};

/// Source and destination of an applier.
pub trait Io {
    /// Error of any of the three.
    type Error;

    /// Reads the next bytes of the patch, at least one unless it is at its end. Returns their number.
    ///
    /// # Errors
    /// An error that ends [`Applier::apply`].
    fn read_patch(&mut self, into: &mut [u8]) -> Result<usize, Self::Error>;

    /// Fills `into` with bytes of the base. `len` is its length as the patch has it; a shorter base
    /// must return an error.
    ///
    /// # Errors
    /// An error that ends [`Applier::apply`].
    fn read_base(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes the next bytes of the new image.
    ///
    /// # Errors
    /// An error that ends [`Applier::apply`].
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Lengths in a patch's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Length of the base, or 0 if the patch needs none.
    pub base_len: u32,
    /// Length of the new image.
    pub image_len: u32,
}

impl Info {
    /// Number of bytes that [`Info::parse`] needs.
    pub const LEN: usize = Prefix::LEN;

    /// Reads the first bytes of a patch. Returns `None` if they do not start one.
    pub fn parse(bytes: &[u8]) -> Option<Info> {
        let start = bytes.get(..Prefix::LEN)?.try_into().ok()?;
        let prefix = Prefix::parse(start)?;
        Some(Info { base_len: prefix.base_len, image_len: prefix.image_len })
    }
}

/// Bytes of the patch that are read at once.
const INPUT: usize = 64;

/// The memory of an applier: less than 12 KiB, to be kept in a static or on a large stack.
///
/// ```
/// use esplice_delta::Applier;
///
/// assert!(size_of::<Applier>() < 12 * 1024);
/// ```
pub struct Applier {
    models: Models,
    predictor: Predictor,
    decoder: RangeDecoder,
    input: Input,
    output: Output,
}

struct Input {
    bytes: [u8; INPUT],
    at: usize,
    len: usize,
    /// Zeros read after the end of the patch. An encoder leaves out zeros at its end.
    beyond: u8,
}

/// The last bytes of output, which matches refer to and which are written in pieces.
struct Output {
    bytes: [u8; HISTORY],
    /// Number of bytes made and written.
    made: u32,
    written: u32,
    crc: Crc32,
    sha: Sha256,
}

/// Output is written in aligned pieces of this size.
const PIECE: u32 = 512;

impl Default for Applier {
    fn default() -> Applier {
        Applier::new()
    }
}

impl Applier {
    /// Returns an applier that has not been used.
    pub fn new() -> Applier {
        Applier {
            models: Models::NEW,
            predictor: Predictor::NEW,
            decoder: RangeDecoder::NEW,
            input: Input { bytes: [0; INPUT], at: 0, len: 0, beyond: 0 },
            output: Output {
                bytes: [0; HISTORY],
                made: 0,
                written: 0,
                crc: Crc32::NEW,
                sha: Sha256::new(),
            },
        }
    }

    /// Applies a patch. The new image is written from start to end, at most `room` bytes of it.
    /// `slots` is memory for the operations and corrections of the patch, at most
    /// [`MAX_OPERATIONS`].
    ///
    /// The base is read as a whole first, to see whether the patch fits it. A malformed patch is
    /// refused before or while the image is written, never after more than its length. The caller
    /// still has to verify the image by its hash: the patch itself is not signed.
    ///
    /// # Errors
    /// [`ApplyError`]; what was written by then is worthless.
    pub fn apply<I: Io>(
        &mut self,
        io: &mut I,
        slots: &mut [u64],
        room: u32,
    ) -> Result<Info, ApplyError<I::Error>> {
        (self.input.at, self.input.len, self.input.beyond) = (0, 0, 0);
        let mut start = [0; Prefix::LEN];
        for byte in &mut start {
            *byte = self.input.next(io)?;
        }
        if self.input.beyond > 0 {
            return Err(ApplyError::Truncated);
        }
        let prefix = Prefix::parse(start).ok_or(ApplyError::NotAPatch)?;
        let Prefix { base_len, base_crc, image_len, image_crc } = prefix;
        if image_len > room {
            return Err(ApplyError::TooLong { len: image_len, room });
        }
        self.models.reset();
        self.predictor.reset(base_len);
        self.output.reset();
        if crc_of_base(io, base_len, &mut self.output.bytes)? != base_crc {
            return Err(ApplyError::WrongBase);
        }
        let input = &mut self.input;
        self.decoder.start(|| input.next(io))?;
        let Applier { models, predictor, decoder, input, output } = self;
        let mut map = AddressMap::new(slots);
        let mut patching = Patching { io, decoder, input, output, state: State::NEW };
        let body = patching.head(models, predictor, &mut map, prefix)?;
        models.reset_small();
        let mut patching = Body { patching, models };
        patching.body(predictor, &map, base_len, body)?;
        let Body { mut patching, .. } = patching;
        if body < image_len {
            patching.tail()?;
        }
        patching.output.flush(patching.io)?;
        if patching.output.crc.value() != image_crc {
            return Err(ApplyError::WrongImage);
        }
        Ok(Info { base_len, image_len })
    }
}

fn crc_of_base<I: Io>(
    io: &mut I,
    len: u32,
    buffer: &mut [u8; HISTORY],
) -> Result<u32, ApplyError<I::Error>> {
    let mut crc = Crc32::NEW;
    let mut at = 0;
    while at < len {
        let piece = &mut buffer[..(len - at).min(HISTORY as u32) as usize];
        io.read_base(at, piece).map_err(ApplyError::Io)?;
        crc.update(piece);
        at += piece.len() as u32;
    }
    Ok(crc.value())
}

impl Input {
    fn next<I: Io>(&mut self, io: &mut I) -> Result<u8, ApplyError<I::Error>> {
        if self.at == self.len {
            self.len = io.read_patch(&mut self.bytes).map_err(ApplyError::Io)?.min(INPUT);
            self.at = 0;
            if self.len == 0 {
                // The decoder is at most this far ahead of what it decodes.
                const AHEAD: u8 = 4;
                self.beyond += 1;
                return if self.beyond > AHEAD { Err(ApplyError::Truncated) } else { Ok(0) };
            }
        }
        self.at += 1;
        Ok(self.bytes[self.at - 1])
    }
}

impl Output {
    fn reset(&mut self) {
        (self.made, self.written) = (0, 0);
        self.crc = Crc32::NEW;
        self.sha = Sha256::new();
    }

    fn push<I: Io>(&mut self, io: &mut I, byte: u8) -> Result<(), ApplyError<I::Error>> {
        self.bytes[self.made as usize % HISTORY] = byte;
        self.made += 1;
        if self.made.is_multiple_of(PIECE) {
            self.flush(io)?;
        }
        Ok(())
    }

    fn flush<I: Io>(&mut self, io: &mut I) -> Result<(), ApplyError<I::Error>> {
        // A piece does not cross the end of the buffer.
        let from = self.written as usize % HISTORY;
        let piece = &self.bytes[from..from + (self.made - self.written) as usize];
        if !piece.is_empty() {
            self.crc.update(piece);
            self.sha.update(piece);
            io.write(piece).map_err(ApplyError::Io)?;
        }
        self.written = self.made;
        Ok(())
    }

    /// Returns the byte `distance` before the next one.
    fn back(&self, distance: u32) -> u8 {
        self.bytes[self.made.wrapping_sub(distance) as usize % HISTORY]
    }
}

/// Progress within the body.
struct State {
    /// Offset of the next event of the operation, if there is one.
    event: Option<u32>,
    /// End of the operation.
    end: u32,
    /// End of the last event that changed a byte.
    last_byte: u32,
    last_add: u32,
    last_kind: Kind,
    last_near: u32,
    /// Difference between the last match's offset in the base and its offset in the new image.
    displacement: u32,
}

impl State {
    const NEW: State = State {
        event: None,
        end: 0,
        last_byte: u32::MAX,
        last_add: 0,
        last_kind: Kind::Literal,
        last_near: 1,
        displacement: 0,
    };
}

struct Patching<'a, I> {
    io: &'a mut I,
    decoder: &'a mut RangeDecoder,
    input: &'a mut Input,
    output: &'a mut Output,
    state: State,
}

impl<I: Io> Coder for Patching<'_, I> {
    type Error = ApplyError<I::Error>;

    fn bit(&mut self, prob: &mut Prob, _: bool) -> Result<bool, Self::Error> {
        self.decoder.bit(prob, || self.input.next(self.io))
    }

    fn direct(&mut self, bits: u32, _: u32) -> Result<u32, Self::Error> {
        self.decoder.direct(bits, || self.input.next(self.io))
    }
}

impl<I: Io> Patching<'_, I> {
    /// Reads what comes before the body. Returns the body's length: that of the image without an
    /// appended hash.
    fn head(
        &mut self,
        models: &mut Models,
        predictor: &mut Predictor,
        map: &mut AddressMap<'_>,
        prefix: Prefix,
    ) -> Result<u32, ApplyError<I::Error>> {
        let isa = Isa::from_number(self.direct(2, 0)?);
        predictor.isa = isa.ok_or(ApplyError::Malformed("unknown instruction set"))?;
        let has_tail = self.direct(1, 0)? == 1;
        let body = prefix.image_len.checked_sub(if has_tail { TAIL } else { 0 });
        let body = body.ok_or(ApplyError::Malformed("an image shorter than its hash"))?;
        if predictor.isa != Isa::Unknown {
            let io = &mut *self.io;
            predictor.old = Segments::parse(prefix.base_len, |at, into| io.read_base(at, into))
                .map_err(ApplyError::Io)?;
            for index in 0..predictor.old.all().len() {
                predictor.old.code |= (self.direct(1, 0)? as u16) << index;
            }
            for index in 0..models.segment_count(self, 0)? {
                let (addr, len) = models.segment(self, &predictor.old, index as usize, (0, 0))?;
                if !predictor.new.push(addr, len, prefix.image_len) {
                    return Err(ApplyError::Malformed("a segment outside the image"));
                }
            }
        }
        let operations = models.count(self, 0)?;
        let corrections = models.count(self, 0)?;
        let room = map.room().min(MAX_OPERATIONS) as u32;
        let count = operations.saturating_add(corrections);
        if count > room {
            return Err(ApplyError::TooManyOperations { count, room });
        }
        let (mut old, mut new) = (0_u32, 0_u32);
        for index in 0..operations {
            let (ahead, shift) = models.operation(self, (0, 0))?;
            new = new.checked_add(ahead).ok_or(ApplyError::Malformed("an offset too high"))?;
            old = old.wrapping_add(ahead).wrapping_add(shift as u32);
            if (ahead == 0 && index > 0) || new >= body || old >= prefix.base_len {
                return Err(ApplyError::Malformed("an operation outside base or image"));
            }
            // There is room, as counted above.
            let _ = map.push_operation(old, new);
        }
        map.sort();
        let (mut first, mut add) = (0_u32, 0_u32);
        for _ in 0..corrections {
            let (ahead, change) = models.address(self, (0, 0))?;
            first = first.checked_add(ahead).ok_or(ApplyError::Malformed("an address too high"))?;
            add = add.wrapping_add(change as u32);
            let _ = map.push_correction(first, add as i32);
        }
        Ok(body)
    }

    /// Appends the SHA-256 of all that came before.
    fn tail(&mut self) -> Result<(), ApplyError<I::Error>> {
        self.output.flush(self.io)?;
        let hash = self.output.sha.clone().finalize();
        for byte in hash {
            self.output.push(self.io, byte)?;
        }
        Ok(())
    }
}

/// The body with its probabilities.
struct Body<'a, 'p, I> {
    patching: Patching<'a, I>,
    models: &'p mut Models,
}

impl<I: Io> Body<'_, '_, I> {
    fn body(
        &mut self,
        predictor: &mut Predictor,
        map: &AddressMap<'_>,
        base_len: u32,
        end: u32,
    ) -> Result<(), ApplyError<I::Error>> {
        let mut next = map.next_operation(0);
        let first = next.map_or(end, |(_, new)| new);
        self.tokens(predictor, base_len, first)?;
        while let Some((old, new)) = next {
            next = map.next_operation(new + 1);
            let stop = next.map_or(end, |(_, new)| new);
            let after = self.models.after(&mut self.patching, 0)?;
            let len = (stop - new).checked_sub(after).filter(|len| *len <= base_len - old);
            let len = len.ok_or(ApplyError::Malformed("an operation beyond its end"))?;
            self.patching.state.end = new + len;
            self.next_event(new, Before::Reference)?;
            predictor.copy(map, self, old, new, len)?;
            self.patching.state.displacement = old.wrapping_sub(new);
            self.tokens(predictor, base_len, stop)?;
        }
        Ok(())
    }

    /// Makes the bytes between two operations, up to offset `end`.
    fn tokens(
        &mut self,
        predictor: &mut Predictor,
        base_len: u32,
        end: u32,
    ) -> Result<(), ApplyError<I::Error>> {
        const BEYOND: &str = "a match outside base or output";
        while self.patching.output.made < end {
            let Body { patching, models } = self;
            let at = patching.output.made;
            let last = patching.state.last_kind;
            let kind = models.kind(patching, last, Kind::Literal, base_len > 0)?;
            patching.state.last_kind = kind;
            match kind {
                Kind::Literal => {
                    let last = if at == 0 { 0 } else { patching.output.back(1) };
                    let byte = models.literal(patching, last, at, 0)?;
                    patching.output.push(patching.io, byte)?;
                }
                Kind::Near => {
                    let last = patching.state.last_near;
                    let (distance, len) = models.near(patching, last, (0, 0))?;
                    let is_kept = distance <= at.min(HISTORY as u32);
                    if !is_kept || len > end - at {
                        return Err(ApplyError::Malformed(BEYOND));
                    }
                    patching.state.last_near = distance;
                    for _ in 0..len {
                        let byte = patching.output.back(distance);
                        patching.output.push(patching.io, byte)?;
                    }
                }
                Kind::Far => {
                    let (change, len) = models.far(patching, (0, 0))?;
                    let displacement = patching.state.displacement.wrapping_add(change as u32);
                    patching.state.displacement = displacement;
                    let from = at.wrapping_add(displacement);
                    let is_inside = from <= base_len && len <= base_len - from;
                    if !is_inside || len > end - at {
                        return Err(ApplyError::Malformed(BEYOND));
                    }
                    for offset in from..from + len {
                        let byte = predictor.view.at(self, offset, 1)?[0];
                        self.patching.output.push(self.patching.io, byte)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads where the next event of an operation is, counted from `from`.
    fn next_event(&mut self, from: u32, before: Before) -> Result<(), ApplyError<I::Error>> {
        let gap = self.models.gap(&mut self.patching, before, None)?;
        let event = gap.map(|gap| from.saturating_add(gap));
        if event.is_some_and(|event| event >= self.patching.state.end) {
            return Err(ApplyError::Malformed("a change after the end of its operation"));
        }
        self.patching.state.event = event;
        Ok(())
    }
}

impl<I: Io> Copying for Body<'_, '_, I> {
    type Error = ApplyError<I::Error>;

    fn read_base(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error> {
        self.patching.io.read_base(offset, into).map_err(ApplyError::Io)
    }

    fn correction(&mut self, at: u32, reference: &Reference, _: u32) -> Result<u32, Self::Error> {
        if self.patching.state.event != Some(at) {
            return Ok(0);
        }
        let Body { patching, models } = self;
        if !models.is_reference(patching, false)? {
            return Ok(0);
        }
        let last = patching.state.last_add;
        let add = models.add(patching, last, 0)?;
        patching.state.last_add = add;
        self.next_event(at + reference.len, Before::Reference)?;
        Ok(add)
    }

    fn take(&mut self, at: u32, bytes: &mut [u8], _: bool) -> Result<(), Self::Error> {
        for (at, byte) in (at..).zip(bytes) {
            if self.patching.state.event == Some(at) {
                let difference = self.models.difference(&mut self.patching, 0)?;
                *byte = byte.wrapping_add(difference);
                let before = Before::byte(at, &mut self.patching.state.last_byte);
                self.next_event(at + 1, before)?;
            }
            self.patching.output.push(self.patching.io, *byte)?;
        }
        Ok(())
    }
}
