//! Applies patches whose start is right: what follows it is the input, and the slot must not be
//! overrun.
#![no_main]

use esplice_delta::{Applier, Io};

/// Room of the slot.
const ROOM: u32 = 6000;

struct Slot<'a> {
    patch: &'a [u8],
    base: &'a [u8],
    written: u32,
}

impl Io for Slot<'_> {
    type Error = ();

    fn read_patch(&mut self, into: &mut [u8]) -> Result<usize, ()> {
        let len = into.len().min(self.patch.len());
        into[..len].copy_from_slice(&self.patch[..len]);
        self.patch = &self.patch[len..];
        Ok(len)
    }

    fn read_base(&mut self, offset: u32, into: &mut [u8]) -> Result<(), ()> {
        let from = offset as usize;
        into.copy_from_slice(&self.base[from..from + into.len()]);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.written += bytes.len() as u32;
        assert!(self.written <= ROOM);
        Ok(())
    }
}

/// An image with a segment of code and one of data.
fn base() -> Vec<u8> {
    let mut base = vec![0xe9, 2, 0, 0];
    base.resize(24, 0);
    for (addr, len) in [(0x4200_0020_u32, 2000_u32), (0x3fc8_0000, 1000)] {
        base.extend(addr.to_le_bytes());
        base.extend(len.to_le_bytes());
        base.extend((0..len).map(|n| (n.wrapping_mul(n) >> 3) as u8));
    }
    base
}

fn crc(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shift))
}

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let base = base();
    let mut patch = b"EsD\x01".to_vec();
    for word in [base.len() as u32, crc(&base), ROOM, 0] {
        patch.extend(word.to_le_bytes());
    }
    patch.extend(body);
    let mut slot = Slot { patch: &patch, base: &base, written: 0 };
    let _ = Applier::new().apply(&mut slot, &mut [0; 64], ROOM);
});
