//! Firmware made in the test: a few instructions and the images around them.

#![allow(dead_code)] // Each program uses a part of it.

use esplice_chip::{Chip, ChipDb, RegionKind};
use sha2::{Digest, Sha256};

/// Address of the code in images.
const CODE: u32 = 0x4038_0000;

const A0: u32 = 10;
const A1: u32 = 11;
const A2: u32 = 12;
const RA: u32 = 1;

/// Position-independent instructions.
#[derive(Clone, Default)]
pub struct Code {
    words: Vec<u32>,
    /// A text after the code.
    text: Vec<u8>,
}

impl Code {
    pub fn new() -> Code {
        Code::default()
    }

    /// Writes `text` to UART0's FIFO, even if it is full, and waits forever. Must be the end of the
    /// code.
    pub fn say(mut self, text: &str) -> Code {
        self.text = text.bytes().chain([0]).collect();
        self.load(A0, 0x6000_0000)
            .word(0x17 | A1 << 7) // auipc a1, 0
            .word(0x13 | A1 << 7 | A1 << 15 | 36 << 20) // addi a1, a1, 36: the text
            .word(0x4003 | A2 << 7 | A1 << 15) // lbu a2, 0(a1)
            .word(0x63 | A2 << 15 | 8 << 8) // beqz a2, +16
            .word(0x2023 | A2 << 20 | A0 << 15) // sw a2, 0(a0)
            .word(0x13 | A1 << 7 | A1 << 15 | 1 << 20) // addi a1, a1, 1
            .word(0xff1f_f06f) // j -16
            .wait()
    }

    /// Loads a constant with two instructions.
    pub fn load(self, register: u32, value: u32) -> Code {
        let high = value.wrapping_add(0x800) & 0xffff_f000;
        self.word(0x37 | register << 7 | high)
            .word(0x13 | register << 7 | register << 15 | (value & 0xfff) << 20)
    }

    pub fn word(mut self, word: u32) -> Code {
        self.words.push(word);
        self
    }

    /// Stores words.
    pub fn writes(mut self, writes: &[(u32, u32)]) -> Code {
        for &(addr, value) in writes {
            self = self.load(A0, addr).load(A1, value).word(0x2023 | A1 << 20 | A0 << 15);
        }
        self
    }

    /// Waits until UART0's FIFO has been sent.
    pub fn flush(self) -> Code {
        self.flush_by(0x6000_006c)
    }

    /// The same, with the address of FSM_STATUS.
    pub fn flush_by(self, fsm_status: u32) -> Code {
        self.load(A0, fsm_status)
            .word(0x2003 | A1 << 7 | A0 << 15) // lw a1, 0(a0)
            .word(0xfe05_9ee3) // bnez a1, -4
    }

    /// Copies a word.
    pub fn copy(self, from: u32, to: u32) -> Code {
        self.load(A0, from)
            .word(0x2003 | A1 << 7 | A0 << 15)
            .load(A0, to)
            .word(0x2023 | A1 << 20 | A0 << 15)
    }

    /// Calls a function with three instructions.
    pub fn call(self, addr: u32) -> Code {
        self.load(A0, addr).word(0x67 | RA << 7 | A0 << 15)
    }

    /// Waits forever.
    pub fn wait(self) -> Code {
        self.word(0x1050_0073).word(0xffdf_f06f) // wfi; j -4
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(&self.text);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
}

/// Returns an app of the ESP32-C3 for the second-stage bootloader: descriptor in DROM, code in IROM,
/// executed in place.
pub fn app(code: &Code) -> Vec<u8> {
    app_of(ChipDb::embedded().find("esp32c3").unwrap(), code)
}

/// Returns an app of that chip.
pub fn app_of(chip: &Chip, code: &Code) -> Vec<u8> {
    let mut descriptor = vec![0; 256];
    descriptor[..4].copy_from_slice(&0xabcd_5432_u32.to_le_bytes());
    descriptor[16..20].copy_from_slice(b"0.1\0");
    descriptor[48..53].copy_from_slice(b"test\0");
    descriptor[178..180].copy_from_slice(&u16::MAX.to_le_bytes()); // Most eFuse block revision.
    descriptor[180] = 16; // log2 of the MMU page size.
    // Each segment has the same offset in its window's page as in the image's.
    let window = |execute: bool| {
        let mut regions = chip.regions.iter().filter(|region| region.kind == RegionKind::Flash);
        let chosen = regions.clone().find(|region| region.access.execute == execute);
        chosen.or(regions.next()).expect("flash is mapped").addr.0
    };
    let (data, text) = (window(false) + 0x20, window(true) + 0x128);
    image_of(chip, text, &[(data, &descriptor), (text, &code.bytes())])
}

/// Returns an image that the ESP32-C3's ROM itself loads and runs.
pub fn rom_image(code: &Code) -> Vec<u8> {
    image(CODE, &[(CODE, &code.bytes())])
}

/// Returns an image for `at` that the ROM of that chip itself loads and runs.
pub fn rom_image_of(chip: &Chip, at: u32, code: &Code) -> Vec<u8> {
    image_of(chip, at, &[(at, &code.bytes())])
}

/// Returns a headerless image that is executed in place.
pub fn direct(code: &Code) -> Vec<u8> {
    let mut image = 0xaedb_041d_u32.to_le_bytes().repeat(2);
    image.extend(code.bytes());
    image
}

fn image(entry: u32, segments: &[(u32, &[u8])]) -> Vec<u8> {
    image_of(ChipDb::embedded().find("esp32c3").unwrap(), entry, segments)
}

fn image_of(chip: &Chip, entry: u32, segments: &[(u32, &[u8])]) -> Vec<u8> {
    let frequency = chip.image.flash_frequencies[&chip.image.default_flash_freq];
    // Magic, segments, mode DIO, 4 MB, frequency, entry; WP pin, drives, chip id, revisions, hash.
    let mut image = vec![0xe9, segments.len() as u8, 2, 0x20 | frequency];
    image.extend(entry.to_le_bytes());
    image.extend([0xee, 0, 0, 0]);
    image.extend(chip.image.chip_id.to_le_bytes());
    image.extend([0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 1]);
    let mut sum = 0xef;
    for (addr, data) in segments {
        image.extend(addr.to_le_bytes());
        image.extend((data.len() as u32).to_le_bytes());
        image.extend(*data);
        sum = data.iter().fold(sum, |sum, byte| sum ^ byte);
    }
    image.resize(image.len() | 15, 0);
    image.push(sum);
    let hash = Sha256::digest(&image);
    image.extend(hash);
    image
}
