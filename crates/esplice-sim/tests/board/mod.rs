//! A loader with a flash chip, some RAM and registers, without a CPU.

pub mod line;

use std::{collections::BTreeMap, io::Write, sync::Arc, time::Duration};

use esplice_chip::{Chip, ChipDb};
use esplice_protocol::slip;
use esplice_sim::{
    download::{Clocks, Loader, LoaderTarget, NextAction},
    nor::Nor,
};

pub const RAM_AT: u32 = 0x3fc8_0000;
const RAM_LEN: usize = 0x6_0000;

pub struct Parts {
    pub nor: Nor,
    pub ram: Vec<u8>,
    pub words: BTreeMap<u32, u32>,
    pub protected: bool,
}

impl Parts {
    fn ram_word(&mut self, addr: u32) -> Option<&mut [u8; 4]> {
        self.ram.get_mut(addr.wrapping_sub(RAM_AT) as usize..)?.first_chunk_mut()
    }

    pub fn ram_at(&self, addr: u32, len: usize) -> Vec<u8> {
        let at = (addr - RAM_AT) as usize;
        self.ram[at..at + len].to_vec()
    }
}

impl LoaderTarget for Parts {
    fn read32(&mut self, addr: u32) -> u32 {
        match self.ram_word(addr) {
            Some(bytes) => u32::from_le_bytes(*bytes),
            None => self.words.get(&addr).copied().unwrap_or(0),
        }
    }
    fn write32(&mut self, addr: u32, value: u32) {
        match self.ram_word(addr) {
            Some(bytes) => *bytes = value.to_le_bytes(),
            None => drop(self.words.insert(addr, value)),
        }
    }
    fn write_ram(&mut self, addr: u32, bytes: &[u8]) -> bool {
        let at = addr.wrapping_sub(RAM_AT) as usize;
        match self.ram.get_mut(at..at.saturating_add(bytes.len())) {
            Some(place) => place.copy_from_slice(bytes),
            None => return false,
        }
        true
    }
    fn nor(&mut self) -> &mut Nor {
        &mut self.nor
    }
    fn protect(&mut self, protected: bool) {
        self.protected = protected;
    }
    fn is_protected(&self, _offset: u32, _len: u32) -> bool {
        self.protected
    }
    fn clocks(&mut self) -> Clocks {
        Clocks::at_reset(chip())
    }
}

pub struct Bench {
    pub chip: Parts,
    pub loader: Loader,
    pub reply: Vec<u8>,
    pub then: Option<NextAction>,
    pub busy: Duration,
    pub failed: bool,
}

pub fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").unwrap()
}

impl Bench {
    pub fn new() -> Bench {
        let nor = Nor::in_memory(4 << 20, &chip().sim.as_ref().unwrap().flash);
        Bench {
            chip: Parts { nor, ram: vec![0; RAM_LEN], words: BTreeMap::new(), protected: false },
            loader: Loader::new(chip()),
            reply: Vec::new(),
            then: None,
            busy: Duration::ZERO,
            failed: false,
        }
    }

    pub fn connected() -> Bench {
        let mut bench = Bench::new();
        bench.send(&slip::encode(&[0, 8, 4, 0, 0, 0, 0, 0, 7, 7, 0x12, 0x20]));
        assert_eq!(bench.reply.len(), 8 * 14);
        bench.reply.clear();
        bench
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.busy = Duration::ZERO;
        for byte in bytes {
            let output = self.loader.receive(*byte, &mut self.chip);
            self.reply.extend(output.reply);
            self.busy += output.busy;
            self.then = output.then.or(self.then);
            self.failed |= output.error.is_some();
        }
    }

    /// Sends a request. Returns `Err` with the reason of a refusal, or 0 for no answer.
    pub fn ask(&mut self, opcode: u8, sum: u8, data: &[u8]) -> Result<Vec<u8>, u8> {
        let mut frame = vec![0, opcode];
        frame.extend((data.len() as u16).to_le_bytes());
        frame.extend([sum, 0, 0, 0]);
        frame.extend(data);
        self.reply.clear();
        self.send(&slip::encode(&frame));
        let mut decoder = slip::Decoder::new(1000);
        let reply = self.reply.drain(..).find_map(|byte| match decoder.push(byte) {
            slip::Decoded::Frame(frame) => Some(frame),
            _ => None,
        });
        let reply = reply.ok_or(0_u8)?;
        let status = &reply[reply.len() - 4..];
        if status[0] == 0 { Ok(reply) } else { Err(status[1]) }
    }

    pub fn write_deflated(&mut self, at: u32, image: &[u8], block: usize) -> Result<(), u8> {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(image).unwrap();
        let packed = zlib.finish().unwrap();
        let blocks = packed.len().div_ceil(block) as u32;
        let words = [image.len() as u32, blocks, block as u32, at, 0];
        self.ask(0x10, 0, &words.map(u32::to_le_bytes).concat())?;
        for (sequence, piece) in packed.chunks(block).enumerate() {
            let mut data =
                [piece.len() as u32, sequence as u32, 0, 0].map(u32::to_le_bytes).concat();
            data.extend(piece);
            let sum = piece.iter().fold(0xef, |sum, byte| sum ^ byte);
            self.ask(0x11, sum, &data)?;
        }
        Ok(())
    }
}
