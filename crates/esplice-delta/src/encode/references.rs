//! All references of an image.

use std::{convert::Infallible, vec::Vec};

use crate::{
    image::Segments,
    isa::{Form, Isa, Reference},
    map::AddressMap,
    predict::{Copying, Predictor},
};

/// A reference in an image, and what it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub offset: u32,
    pub len: u32,
    pub form: Form,
    pub target: u32,
}

/// Returns the segments of an image, with those marked that are code of `isa`.
pub(super) fn segments(image: &[u8], isa: Isa) -> Segments {
    let found = Segments::parse(image.len() as u32, |at, into| {
        let from = at as usize;
        into.copy_from_slice(&image[from..from + into.len()]);
        Ok::<_, Infallible>(())
    });
    let Ok(mut found) = found;
    let bytes = |s: &crate::image::Segment| &image[s.offset as usize..(s.offset + s.len) as usize];
    let code = found.all().iter().map(|s| is_code(bytes(s), isa)).collect::<Vec<_>>();
    found.code = (0..).zip(code).fold(0, |all, (index, yes)| all | u16::from(yes) << index);
    found
}

/// Returns whether returns from functions are frequent enough for this to be code: code has one in
/// some hundred bytes, data next to none.
fn is_code(bytes: &[u8], isa: Isa) -> bool {
    const BYTES_PER_RETURN: usize = 2000;
    let returns = match isa {
        Isa::Unknown => 0,
        // c.jr ra
        Isa::RiscV => bytes.chunks_exact(2).filter(|half| *half == [0x82, 0x80]).count(),
        // retw.n, ret.n
        Isa::Xtensa => bytes
            .windows(2)
            .filter(|half| [[0x1d, 0xf0], [0x0d, 0xf0]].contains(&[half[0], half[1]]))
            .count(),
    };
    returns * BYTES_PER_RETURN > bytes.len()
}

/// Returns the references of an image in the order of the file.
pub(super) fn references(image: &[u8], segments: &Segments, isa: Isa) -> Vec<Found> {
    let mut predictor = std::boxed::Box::new(Predictor::NEW);
    predictor.reset(image.len() as u32);
    (predictor.isa, predictor.old, predictor.new) = (isa, segments.clone(), segments.clone());
    let mut collector = Collector { image, found: Vec::new() };
    let nowhere = AddressMap::new(&mut []);
    let Ok(()) = predictor.copy(&nowhere, &mut collector, 0, 0, image.len() as u32);
    collector.found
}

struct Collector<'a> {
    image: &'a [u8],
    found: Vec<Found>,
}

impl Copying for Collector<'_> {
    type Error = Infallible;

    fn read_base(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Infallible> {
        let from = offset as usize;
        into.copy_from_slice(&self.image[from..from + into.len()]);
        Ok(())
    }

    fn correction(
        &mut self,
        at: u32,
        reference: &Reference,
        target: u32,
    ) -> Result<u32, Infallible> {
        let &Reference { form, len, .. } = reference;
        self.found.push(Found { offset: at, len, form, target });
        Ok(0)
    }

    fn take(&mut self, _: u32, _: &mut [u8], _: bool) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Returns an image in which everything is gone that changes when code moves, so that what moved is
/// still recognised.
pub(super) fn without_targets(image: &[u8], found: &[Found]) -> Vec<u8> {
    let mut bytes = image.to_vec();
    for reference in found {
        let kept: [u8; 4] = match reference.form {
            // The highest byte says to which memory an address belongs.
            Form::Word => [0, 0, 0, 0xff],
            Form::Jal | Form::Auipc | Form::Lui => [0xff, 0x0f, 0, 0],
            Form::LowLoad => [0xff, 0xff, 0x0f, 0],
            Form::LowStore => [0x7f, 0xf0, 0xff, 0x01],
            Form::Call => [0x3f, 0, 0, 0],
            Form::Literal => [0xff, 0, 0, 0],
            // These rarely leave their function.
            _ => continue,
        };
        let from = reference.offset as usize;
        for (byte, kept) in bytes[from..from + reference.len as usize].iter_mut().zip(kept) {
            *byte &= kept;
        }
        if reference.form == Form::Word {
            bytes[from..from + 3].fill(0x11);
        }
    }
    bytes
}
