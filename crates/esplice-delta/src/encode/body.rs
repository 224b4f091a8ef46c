//! The coded stream.

use std::{boxed::Box, convert::Infallible, vec, vec::Vec};

use crate::{
    coder::Coder,
    format::{Before, Kind, Models},
    image::Segments,
    isa::{Form, Isa, Reference, riscv, xtensa},
    map::AddressMap,
    predict::{AHEAD, Copying, Predictor},
};

use super::{
    align::Copy,
    range::RangeEncoder,
    tokens::{Finder, Token},
};

/// Everything that is decided before the stream is coded.
#[derive(Clone)]
pub(super) struct Plan {
    pub isa: Isa,
    pub has_tail: bool,
    pub old: Segments,
    pub new: Segments,
    /// The operations, in the order of the image.
    pub copies: Vec<Copy>,
    pub corrections: Vec<(u32, i32)>,
}

/// Returns the stream that makes `image`, without an appended hash, from `base`.
pub(super) fn stream(plan: &Plan, finder: &mut Finder<'_>, base: &[u8], image: &[u8]) -> Vec<u8> {
    let mut slots = vec![0; plan.copies.len() + plan.corrections.len()];
    let mut map = AddressMap::new(&mut slots);
    let mut predictor = Box::new(Predictor::NEW);
    predictor.reset(base.len() as u32);
    (predictor.isa, predictor.old, predictor.new) = (plan.isa, plan.old.clone(), plan.new.clone());
    let mut body = Body {
        range: RangeEncoder::new(),
        models: Box::new(Models::NEW),
        base,
        image,
        counted: 0,
        before: Before::Reference,
        last_byte: u32::MAX,
        last_add: 0,
        last_kind: Kind::Literal,
        last_near: 1,
        displacement: 0,
    };
    let Ok(()) = body.head(plan, &mut map);
    body.models.reset_small();
    let first = plan.copies.first().map_or(image.len() as u32, |copy| copy.new);
    let Ok(()) = body.tokens(finder, 0, first);
    for (index, copy) in plan.copies.iter().enumerate() {
        let stop = plan.copies.get(index + 1).map_or(image.len() as u32, |next| next.new);
        let Ok(()) = body.operation(&mut predictor, &map, copy, stop);
        let Ok(()) = body.tokens(finder, copy.new + copy.len, stop);
    }
    body.range.finish()
}

struct Body<'a> {
    range: RangeEncoder,
    models: Box<Models>,
    base: &'a [u8],
    image: &'a [u8],
    /// Where the next gap is counted from, and what was before it.
    counted: u32,
    before: Before,
    last_byte: u32,
    last_add: u32,
    last_kind: Kind,
    last_near: u32,
    displacement: u32,
}

impl Body<'_> {
    fn head(&mut self, plan: &Plan, map: &mut AddressMap<'_>) -> Result<(), Infallible> {
        let Body { range, models, .. } = self;
        range.direct(2, plan.isa.number())?;
        range.direct(1, u32::from(plan.has_tail))?;
        if plan.isa != Isa::Unknown {
            for index in 0..plan.old.all().len() {
                range.direct(1, u32::from(plan.old.is_code(index)))?;
            }
            models.segment_count(range, plan.new.all().len() as u32)?;
            for (index, new) in plan.new.all().iter().enumerate() {
                models.segment(range, &plan.old, index, (new.addr, new.len))?;
            }
        }
        models.count(range, plan.copies.len() as u32)?;
        models.count(range, plan.corrections.len() as u32)?;
        let (mut old, mut new) = (0_u32, 0_u32);
        for copy in &plan.copies {
            let ahead = copy.new - new;
            let shift = copy.old.wrapping_sub(old.wrapping_add(ahead)) as i32;
            models.operation(range, (ahead, shift))?;
            (old, new) = (copy.old, copy.new);
            let _ = map.push_operation(old, new);
        }
        map.sort();
        let (mut first, mut add) = (0, 0_i32);
        for correction in &plan.corrections {
            let change = correction.1.wrapping_sub(add);
            models.address(range, (correction.0 - first, change))?;
            (first, add) = *correction;
            let _ = map.push_correction(first, add);
        }
        Ok(())
    }

    fn operation(
        &mut self,
        predictor: &mut Predictor,
        map: &AddressMap<'_>,
        copy: &Copy,
        stop: u32,
    ) -> Result<(), Infallible> {
        let Copy { old, new, len } = *copy;
        self.models.after(&mut self.range, stop - new - len)?;
        (self.counted, self.before) = (new, Before::Reference);
        predictor.copy(map, self, old, new, len)?;
        self.models.gap(&mut self.range, self.before, None)?;
        self.displacement = old.wrapping_sub(new);
        Ok(())
    }

    fn tokens(&mut self, finder: &mut Finder<'_>, from: u32, to: u32) -> Result<(), Infallible> {
        let mut at = from;
        while at < to {
            let token = finder.next(at, to, self.last_near, self.displacement);
            let has_base = !self.base.is_empty();
            let kind = token.kind();
            let Body { range, models, .. } = self;
            models.kind(range, self.last_kind, kind, has_base)?;
            self.last_kind = kind;
            match token {
                Token::Literal => {
                    let last = at.checked_sub(1).map_or(0, |last| self.image[last as usize]);
                    models.literal(range, last, at, self.image[at as usize])?;
                }
                Token::Near { distance, len } => {
                    models.near(range, self.last_near, (distance, len))?;
                    self.last_near = distance;
                }
                Token::Far { displacement, len } => {
                    let change = displacement.wrapping_sub(self.displacement) as i32;
                    models.far(range, (change, len))?;
                    self.displacement = displacement;
                }
            }
            at += token.len();
        }
        Ok(())
    }

    /// Codes the place of an event.
    fn event(&mut self, at: u32) {
        let Ok(_) = self.models.gap(&mut self.range, self.before, Some(at - self.counted));
    }

    /// Returns the target of a reference in the new image, if it has the same form there.
    fn target(&self, at: u32, reference: &Reference) -> Option<u32> {
        let end = (at + reference.len + AHEAD).min(self.image.len() as u32);
        let bytes = &self.image[at as usize..end as usize];
        let addr = reference.addr;
        match reference.form {
            Form::Word => Some(u32::from_le_bytes(bytes.first_chunk().copied()?)),
            Form::Call | Form::Jump | Form::Branch12 | Form::Branch8 | Form::Literal => {
                let (form, target) = xtensa::decode(bytes, addr)?.reference?;
                (form == reference.form).then_some(target)
            }
            _ => {
                let found = riscv::decode(bytes)?;
                let (form, target) = match found.class {
                    riscv::Class::Other => return None,
                    riscv::Class::Relative(form, by) => (form, addr.wrapping_add(by)),
                    riscv::Class::Upper(form, value, register) => {
                        let lower = riscv::lower_part(&bytes[found.len as usize..], register)?;
                        let base = if form == Form::Auipc { addr } else { 0 };
                        (form, base.wrapping_add(value).wrapping_add(lower))
                    }
                    riscv::Class::Lower(form, _, by) => (form, reference.upper.wrapping_add(by)),
                };
                (form == reference.form).then_some(target)
            }
        }
    }
}

impl Copying for Body<'_> {
    type Error = Infallible;

    fn read_base(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Infallible> {
        let from = offset as usize;
        into.copy_from_slice(&self.base[from..from + into.len()]);
        Ok(())
    }

    fn correction(
        &mut self,
        at: u32,
        reference: &Reference,
        predicted: u32,
    ) -> Result<u32, Infallible> {
        let end = at + reference.len;
        let Some(actual) = self.image.get(at as usize..end as usize) else { return Ok(0) };
        let actual = actual.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        if reference.encode(predicted).unwrap_or(reference.word) == actual {
            return Ok(0);
        }
        let Some(target) = self.target(at, reference) else { return Ok(0) };
        let add = target.wrapping_sub(predicted);
        if add == 0 || reference.encode(target) != Some(actual) {
            return Ok(0);
        }
        self.event(at);
        self.models.is_reference(&mut self.range, true)?;
        self.models.add(&mut self.range, self.last_add, add)?;
        (self.counted, self.before, self.last_add) = (end, Before::Reference, add);
        Ok(add)
    }

    fn take(&mut self, at: u32, bytes: &mut [u8], is_reference: bool) -> Result<(), Infallible> {
        for (index, byte) in bytes.iter().enumerate() {
            let at = at + index as u32;
            let difference = self.image[at as usize].wrapping_sub(*byte);
            if difference == 0 {
                continue;
            }
            self.event(at);
            if index == 0 && is_reference {
                self.models.is_reference(&mut self.range, false)?;
            }
            self.models.difference(&mut self.range, difference)?;
            self.counted = at + 1;
            self.before = Before::byte(at, &mut self.last_byte);
        }
        Ok(())
    }
}
