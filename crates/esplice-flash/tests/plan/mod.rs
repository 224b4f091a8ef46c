//! A plan of a bootloader, ESP-IDF's default table as a custom one, and an app, none of which does
//! anything.

use esplice_chip::{ChipDb, FlashOffset};
use esplice_image::{
    BootLayout, CustomParts, FlashMode, FlashParams, FlashPlan, PartitionTable, Write, WriteKind,
};

pub const APP: usize = 0x1_0000;

/// Returns an image of `len` bytes, a multiple of 16, with one segment and no hash.
fn image(len: usize, seed: u8) -> Vec<u8> {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let mut data: Vec<u8> = (0..len).map(|at| (at * 7 / 3) as u8 ^ seed).collect();
    data[..24].fill(0);
    data[..4].copy_from_slice(&[0xe9, 1, 2, 0x1f]);
    data[12..14].copy_from_slice(&chip.image.chip_id.to_le_bytes());
    data[17..19].copy_from_slice(&u16::MAX.to_le_bytes());
    // In the RAM that the bootloader uses while it loads an app.
    data[4..8].copy_from_slice(&0x403c_bf10_u32.to_le_bytes());
    data[24..28].copy_from_slice(&0x3fcd_5830_u32.to_le_bytes());
    data[28..32].copy_from_slice(&(len as u32 - 48).to_le_bytes());
    data[len - 1] = data[32..len - 16].iter().fold(0xef, |sum, byte| sum ^ byte);
    data
}

/// Bootloader and app both have more than one sector.
pub fn plan() -> FlashPlan {
    let write = |name: &str, kind, offset, data| Write {
        name: name.to_owned(),
        kind,
        offset: FlashOffset(offset),
        data,
    };
    FlashPlan {
        chip: ChipDb::embedded().find("esp32c3").unwrap().clone(),
        min_rev: 0,
        max_rev: u16::MAX,
        boot: BootLayout::Idf,
        flash: FlashParams { mode: FlashMode::Dio, freq: "80m".into(), size: 2 << 20 },
        table_offset: None,
        own: CustomParts { table: true, bootloader: false },
        writes: vec![
            write("bootloader", WriteKind::Bootloader, 0, image(0x3210, 1)),
            write(
                "partition table",
                WriteKind::PartitionTable,
                0x8000,
                PartitionTable::esp_idf_default().to_bytes().unwrap(),
            ),
            write("app", WriteKind::App, APP as u32, image(0x5000, 2)),
        ],
        elf_sha256: None,
    }
}
