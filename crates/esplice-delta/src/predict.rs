//! Copies from the base, with each reference changed to where its target went.

use crate::{
    image::{Segment, Segments},
    isa::{Form, Isa, Reference, riscv, xtensa},
    map::AddressMap,
};

/// The two ends of a copy: where its bytes come from, and what happens to them.
pub(crate) trait Copying {
    type Error;

    /// Reads bytes of the base. The range is inside it.
    fn read_base(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error>;

    /// Returns what must be added to the predicted target of a reference at an offset of the new
    /// image.
    fn correction(
        &mut self,
        at: u32,
        reference: &Reference,
        predicted: u32,
    ) -> Result<u32, Self::Error>;

    /// Takes the predicted bytes for an offset of the new image. `is_reference` if they are those of
    /// a reference.
    fn take(&mut self, at: u32, bytes: &mut [u8], is_reference: bool) -> Result<(), Self::Error>;
}

/// Bytes of the base that are kept.
const KEPT: usize = 256;
/// The lower part of an address is searched within this distance of its upper part.
pub(crate) const AHEAD: u32 = 64;
/// An operation may start within an instruction. Decoding starts this far before it, because the
/// decoder falls into step with the code after a few instructions.
const BEFORE: u32 = 64;
/// Number of remembered corrections.
const REMEMBERED: usize = 64;

/// The part of the base that was read last.
pub(crate) struct View {
    bytes: [u8; KEPT],
    start: u32,
    len: u32,
    base_len: u32,
}

impl View {
    /// Returns `len` bytes of the base at `at`, less only at its end.
    pub fn at<C: Copying>(
        &mut self,
        copying: &mut C,
        at: u32,
        len: u32,
    ) -> Result<&[u8], C::Error> {
        let len = len.min(self.base_len - at);
        let skipped = at.wrapping_sub(self.start);
        let is_there = skipped <= self.len && len <= self.len - skipped;
        if !is_there {
            self.len = 0;
            let filled = (KEPT as u32).min(self.base_len - at);
            copying.read_base(at, &mut self.bytes[..filled as usize])?;
            (self.start, self.len) = (at, filled);
        }
        let from = (at - self.start) as usize;
        Ok(&self.bytes[from..from + len as usize])
    }
}

/// Copies parts of the base and predicts their references.
pub(crate) struct Predictor {
    pub isa: Isa,
    pub old: Segments,
    pub new: Segments,
    pub view: View,
    /// Registers with the upper part of an address: its value in the base and in the new image.
    uppers: [(u32, u32); 32],
    known: u32,
    /// Corrections of targets, by a hash of the target in the base.
    remembered: [(u32, u32); REMEMBERED],
}

/// Bytes of one segment that are copied.
#[derive(Clone, Copy)]
struct Part {
    segment: Segment,
    /// Difference between an offset in the new image and that in the base.
    moved: u32,
    end: u32,
}

impl Part {
    fn addr(self, at: u32) -> u32 {
        at.wrapping_sub(self.segment.offset).wrapping_add(self.segment.addr)
    }
}

impl Predictor {
    pub const NEW: Predictor = Predictor {
        isa: Isa::Unknown,
        old: Segments::NONE,
        new: Segments::NONE,
        view: View { bytes: [0; KEPT], start: 0, len: 0, base_len: 0 },
        uppers: [(0, 0); 32],
        known: 0,
        remembered: [(0, 0); REMEMBERED],
    };

    /// Forgets another base and what was learnt.
    pub fn reset(&mut self, base_len: u32) {
        self.isa = Isa::Unknown;
        self.old = Segments::NONE;
        self.new = Segments::NONE;
        (self.view.len, self.view.base_len) = (0, base_len);
        self.remembered = [(0, 0); REMEMBERED];
    }

    /// Copies `len` bytes at `old` in the base to `new` in the new image. The range is inside the
    /// base.
    pub fn copy<C: Copying>(
        &mut self,
        map: &AddressMap<'_>,
        copying: &mut C,
        old: u32,
        new: u32,
        len: u32,
    ) -> Result<(), C::Error> {
        let (end, moved) = (old + len, new.wrapping_sub(old));
        let mut at = old;
        while at < end {
            self.known = 0;
            let index = self.old.index_at(at).filter(|_| self.isa != Isa::Unknown);
            let Some(index) = index else {
                let next = self.old.start_after(at).unwrap_or(end).min(end);
                let stop = if self.isa == Isa::Unknown { end } else { next };
                self.plain(copying, moved, at, stop)?;
                at = stop;
                continue;
            };
            let segment = self.old.all()[index];
            let part = Part { segment, moved, end: end.min(segment.offset + segment.len) };
            if self.old.is_code(index) {
                self.code(map, copying, part, at)?;
            } else {
                self.data(map, copying, part, at)?;
            }
            at = part.end;
        }
        Ok(())
    }

    /// Copies bytes without references.
    fn plain<C: Copying>(
        &mut self,
        copying: &mut C,
        moved: u32,
        mut at: u32,
        stop: u32,
    ) -> Result<(), C::Error> {
        while at < stop {
            let mut bytes = [0; 32];
            let len = (stop - at).min(bytes.len() as u32);
            let bytes = &mut bytes[..len as usize];
            bytes.copy_from_slice(self.view.at(copying, at, len)?);
            copying.take(at.wrapping_add(moved), bytes, false)?;
            at += len;
        }
        Ok(())
    }

    /// Copies words, of which those near a segment are addresses.
    fn data<C: Copying>(
        &mut self,
        map: &AddressMap<'_>,
        copying: &mut C,
        part: Part,
        mut at: u32,
    ) -> Result<(), C::Error> {
        while at < part.end {
            let ahead = 4 - (part.addr(at) & 3);
            if ahead != 4 || part.end - at < 4 {
                let stop = part.end.min(at + ahead);
                self.plain(copying, part.moved, at, stop)?;
                at = stop;
                continue;
            }
            let word = whole(self.view.at(copying, at, 4)?);
            let target = self.old.is_near(word).then_some((Form::Word, word, 0));
            self.unit(map, copying, part, at, 4, word, target)?;
            at += 4;
        }
        Ok(())
    }

    /// Copies instructions.
    fn code<C: Copying>(
        &mut self,
        map: &AddressMap<'_>,
        copying: &mut C,
        part: Part,
        start: u32,
    ) -> Result<(), C::Error> {
        let mut at = part.segment.offset.max(start.saturating_sub(BEFORE));
        // Instructions of RISC-V are aligned.
        if self.isa == Isa::RiscV {
            at += part.addr(at) & 1;
        }
        while at < start {
            let bytes = self.view.at(copying, at, 8)?;
            at += match self.isa {
                Isa::Xtensa => xtensa_unit(&self.old, bytes, part.addr(at)).0,
                _ => riscv::decode(bytes).map_or(2, |found| found.len),
            };
        }
        self.plain(copying, part.moved, start, at.min(part.end))?;
        while at < part.end {
            let bytes = self.view.at(copying, at, 4 + AHEAD)?;
            let (len, target, word);
            match self.isa {
                Isa::Xtensa => {
                    let reference;
                    (len, reference) = xtensa_unit(&self.old, bytes, part.addr(at));
                    word = whole(&bytes[..bytes.len().min(len as usize)]);
                    target = reference.map(|(form, target)| (form, target, 0));
                }
                _ => {
                    let found = riscv::decode(bytes);
                    len = found.map_or(2, |found| found.len);
                    word = whole(&bytes[..bytes.len().min(len as usize)]);
                    target = found.and_then(|found| {
                        let rest = &bytes[len as usize..];
                        riscv_reference(found.class, part.addr(at), rest, self.known, &self.uppers)
                    });
                    if let Some(found) = found {
                        self.known &= !found.kills;
                    }
                }
            }
            if len > part.end - at {
                self.plain(copying, part.moved, at, part.end)?;
                break;
            }
            self.unit(map, copying, part, at, len, word, target)?;
            at += len;
        }
        Ok(())
    }

    /// Copies an instruction or a word. `target` is the form of its reference, the target in the base
    /// and a register.
    #[expect(clippy::too_many_arguments, reason = "an instruction's parts, from one caller each")]
    fn unit<C: Copying>(
        &mut self,
        map: &AddressMap<'_>,
        copying: &mut C,
        part: Part,
        at: u32,
        len: u32,
        word: u32,
        target: Option<(Form, u32, u8)>,
    ) -> Result<(), C::Error> {
        let to = at.wrapping_add(part.moved);
        let mut word = word;
        let mut is_reference = false;
        if let Some((form, target, register)) = target
            && let Some(addr) = self.new.addr_of(to)
        {
            is_reference = true;
            let upper = self.uppers[usize::from(register & 31)].1;
            let reference = Reference { form, word, len, addr, upper };
            let place = remembered_place(target);
            let known = self.remembered[place];
            let known = if known.0 == target { known.1 } else { 0 };
            let predicted = map.predict(target, &self.old, &self.new).wrapping_add(known);
            let add = copying.correction(to, &reference, predicted)?;
            if add != 0 {
                self.remembered[place] = (target, known.wrapping_add(add));
            }
            let goal = predicted.wrapping_add(add);
            word = reference.encode(goal).unwrap_or(word);
            if matches!(form, Form::Auipc | Form::Lui) {
                let old = Reference { addr: part.addr(at), ..reference };
                self.uppers[usize::from(register & 31)] =
                    (old.upper_of(target), reference.upper_of(goal));
                self.known |= 1 << register;
            }
        }
        let bytes = &mut word.to_le_bytes()[..len as usize];
        copying.take(to, bytes, is_reference)
    }
}

/// Returns what an instruction refers to: the form, the target and the register with its upper part.
/// `rest` is the code that follows it.
fn riscv_reference(
    class: riscv::Class,
    addr: u32,
    rest: &[u8],
    known: u32,
    uppers: &[(u32, u32); 32],
) -> Option<(Form, u32, u8)> {
    match class {
        riscv::Class::Other => None,
        riscv::Class::Relative(form, by) => Some((form, addr.wrapping_add(by), 0)),
        riscv::Class::Upper(form, value, register) => {
            let lower = riscv::lower_part(rest, register)?;
            let base = if form == Form::Auipc { addr } else { 0 };
            Some((form, base.wrapping_add(value).wrapping_add(lower), register))
        }
        riscv::Class::Lower(form, register, by) => {
            let is_known = known >> register & 1 == 1;
            is_known.then(|| (form, uppers[usize::from(register)].0.wrapping_add(by), register))
        }
    }
}

/// Returns the length of an instruction or literal of Xtensa, and its reference.
///
/// Literals and padding are between functions, where the decoder may be out of step. Words that are
/// addresses and starts of functions bring it back: no instruction reaches into one.
fn xtensa_unit(old: &Segments, bytes: &[u8], addr: u32) -> (u32, Option<(Form, u32)>) {
    let next = (addr.wrapping_neg() & 3) as usize;
    let ahead = bytes.get(next..next + 4).map(whole);
    let literal = ahead.filter(|word| old.is_near(*word));
    if let Some(word) = literal.filter(|_| next == 0) {
        return (4, Some((Form::Word, word)));
    }
    let (len, reference) =
        xtensa::decode(bytes, addr).map_or((1, None), |found| (found.len, found.reference));
    let is_start = literal.is_some() || ahead.is_some_and(xtensa::is_entry);
    if next > 0 && is_start && len as usize > next {
        return (next as u32, None);
    }
    (len, reference)
}

/// Returns up to four bytes as a number.
fn whole(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn remembered_place(target: u32) -> usize {
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4).
    (target.wrapping_mul(0x9e37_79b9) >> 26) as usize % REMEMBERED
}
