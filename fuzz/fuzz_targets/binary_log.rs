//! Decodes a stream that contains packages of ESP-IDF's binary log, with formats of all kinds.
#![no_main]

use std::sync::Arc;

use esplice_monitor::{BinaryLog, Watch, Watcher};
use esplice_protocol::Moment;
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind,
    write::{Object, StandardSegment},
};

fn log(texts: &[u8]) -> Option<Arc<BinaryLog>> {
    let mut elf = Object::new(BinaryFormat::Elf, Architecture::Riscv32, Endianness::Little);
    let segment = elf.segment_name(StandardSegment::Data).to_vec();
    let section = elf.add_section(segment, b".noload".to_vec(), SectionKind::OtherString);
    elf.section_mut(section).set_data(texts.to_vec(), 1);
    BinaryLog::from_elf(&elf.write().ok()?).ok()?.map(Arc::new)
}

/// Returns the last byte of a package, which makes its CRC zero.
fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 7 })
    })
}

libfuzzer_sys::fuzz_target!(|input: (&[u8], Vec<(u8, &[u8])>)| {
    let (texts, pieces) = input;
    let _ = BinaryLog::from_elf(texts);
    let watch = Watch::default().binary_log(log(texts));
    let mut watcher = Watcher::new(&watch, Moment::START);
    for (level, piece) in pieces {
        watcher.push(piece, Moment::START, &mut |_| {});
        let len = u16::try_from(piece.len() + 4).unwrap_or(u16::MAX).min(0x3ff);
        let mut package: Vec<u8> = vec![2];
        package.extend((u16::from(level % 16) << 10 | len).to_be_bytes());
        package.extend(piece.iter().take(usize::from(len) - 4));
        package.push(crc8(&package));
        watcher.push(&package, Moment::START, &mut |_| {});
    }
});
