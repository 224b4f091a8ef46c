//! Loads the mask ROM's ELF file: any bytes, and files with a valid header and any sections.
#![no_main]

use esplice_chip::ChipDb;
use esplice_sim::{Board, RomImage, SimError, millis};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

#[derive(Debug, Arbitrary)]
enum Input {
    Raw(Vec<u8>),
    Sections { machine_is_good: bool, entry: u32, sections: Vec<Section> },
}

#[derive(Debug, Arbitrary)]
struct Section {
    place: Place,
    bytes: Vec<u8>,
    /// The value in the header, if it shall not be the true one.
    offset: Option<u32>,
    len: Option<u32>,
}

#[derive(Debug, Arbitrary)]
enum Place {
    Any(u32),
    /// In or near the ROM's code and data, and the tables of initialised data.
    Rom(u32),
    Data(u32),
    Table(u16),
    Ram(u32),
}

impl Place {
    fn addr(&self) -> u32 {
        match *self {
            Place::Any(addr) => addr,
            Place::Rom(at) => 0x4000_0000 + at % 0x6_1000,
            Place::Data(at) => 0x3ff0_0000 + at % 0x2_1000,
            Place::Table(at) => 0x4005_91f4 + u32::from(at) % 0x400,
            Place::Ram(at) => 0x3fc8_0000 + at % 0x6_1000,
        }
    }
}

const HEADER_LEN: u32 = 52;
const SECTION_LEN: u16 = 40;

/// Returns a RISC-V ELF file (machine 243) with these sections, after the required empty one.
fn elf(machine: u16, entry: u32, sections: &[Section]) -> Vec<u8> {
    let mut data = Vec::<u8>::new();
    let mut headers = vec![0; usize::from(SECTION_LEN)];
    for section in sections {
        let offset = section.offset.unwrap_or(HEADER_LEN + data.len() as u32);
        let len = section.len.unwrap_or(section.bytes.len() as u32);
        // Name, type (PROGBITS), flags, address, offset, length, and unused fields.
        for word in [0, 1, 6, section.place.addr(), offset, len, 0, 0, 4, 0] {
            headers.extend(u32::to_le_bytes(word));
        }
        data.extend(&section.bytes);
    }
    let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    for word in [1, entry, 0, HEADER_LEN + data.len() as u32, 0] {
        file.extend(u32::to_le_bytes(word));
    }
    for half in [HEADER_LEN as u16, 32, 0, SECTION_LEN, sections.len() as u16 + 1, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(data);
    file.extend(headers);
    file
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let Ok(chip) = ChipDb::embedded().find("esp32c3") else { return };
    let file = match &input {
        Input::Raw(bytes) => bytes.clone(),
        Input::Sections { machine_is_good, entry, sections } => {
            let machine = if *machine_is_good { 243 } else { *entry as u16 };
            elf(machine, *entry, sections.get(..64).unwrap_or(sections))
        }
    };
    match RomImage::from_elf(&file, chip) {
        Ok(rom) => {
            let mut board = Board::new("esp32c3").expect("a board").with_rom(&rom);
            let _ = board.run_for(millis(5));
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(
                matches!(
                    error,
                    SimError::RomNotElf { .. }
                        | SimError::RomMachine { .. }
                        | SimError::RomNoCode { .. }
                        | SimError::RomPlace { .. }
                        | SimError::RomDiffers { .. }
                ),
                "{error}"
            );
        }
    }
});
