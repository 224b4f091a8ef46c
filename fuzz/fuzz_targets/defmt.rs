//! Decodes a stream that contains defmt frames, for a firmware with formats of all kinds.
#![no_main]

use std::sync::{Arc, OnceLock};

use esplice_monitor::{DefmtTable, MonitorEvent, Watch, Watcher};
use esplice_protocol::Moment;
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, StandardSegment, Symbol, SymbolSection},
};

/// Strings: tag and format, numbered from 1.
const TEXTS: &[(&str, &str)] = &[
    ("defmt_info", "hello {=u8} {=str} {=istr} {=char} {=bool}"),
    ("defmt_println", "{=f32} {=f64} {=i128:b} {=u128:#x} {=usize} {=isize:08}"),
    ("defmt_error", "{=[?]} {=[?;3]} {=[u8]:a} {=[u8;4]:#x} {=[u8]:cbor}"),
    ("defmt_derived", "Point {{ x: {=i16}, y: {=i64} }}"),
    ("defmt_derived", "None|Some({=?})|Other({=u8}, {=?})"),
    ("defmt_warn", "{=?} at {=u64:iso8601ms} {=u32:iso8601s} {=u64:tus}"),
    ("defmt_error", "{=__internal_Display} {=__internal_Debug}"),
    ("defmt_debug", "bits {0=0..3} {0=4..8} {1=5..20:a} {1=100..128}"),
    ("defmt_derived", "{=?}"),
    ("defmt_trace", "{=__internal_FormatSequence}"),
    ("defmt_derived", "empty"),
    ("defmt_derived", "{=u8}"),
    ("defmt_info", "{=?:iso8601us} {=[?]:a} {=?:x}"),
    ("defmt_str", "a string"),
];

fn table(encoding: &str) -> Arc<DefmtTable> {
    let mut elf = Object::new(BinaryFormat::Elf, Architecture::Riscv32, Endianness::Little);
    let segment = elf.segment_name(StandardSegment::Data).to_vec();
    let section = elf.add_section(segment, b".defmt".to_vec(), SectionKind::OtherString);
    elf.section_mut(section).set_data(vec![0; 64], 1);
    let mut add = |value: u64, name: String, section: SymbolSection| {
        elf.add_symbol(Symbol {
            name: name.into_bytes(),
            value,
            size: 1,
            kind: SymbolKind::Data,
            scope: SymbolScope::Linkage,
            weak: false,
            section,
            flags: SymbolFlags::None,
        });
    };
    add(0, "_defmt_version_ = 4".into(), SymbolSection::Absolute);
    add(0, format!("_defmt_encoding_ = {encoding}"), SymbolSection::Absolute);
    for (number, (tag, data)) in (1..).zip(TEXTS) {
        let name = format!(
            r#"{{"package":"a","tag":"{tag}","data":"{data}","disambiguator":"{number}","crate_name":"a"}}"#
        );
        add(number, name, SymbolSection::Section(section));
    }
    let table = DefmtTable::from_elf(&elf.write().expect("it is whole"));
    Arc::new(table.expect("it is sound").expect("it has defmt"))
}

libfuzzer_sys::fuzz_target!(|input: (bool, Vec<&[u8]>)| {
    static TABLES: OnceLock<[Arc<DefmtTable>; 2]> = OnceLock::new();
    let tables = TABLES.get_or_init(|| [table("raw"), table("rzcobs")]);
    let (which, pieces) = input;
    let watch = Watch::default().defmt(Some(tables[usize::from(which)].clone()));
    let mut watcher = Watcher::new(&watch, Moment::START);
    let mut tell = |event: MonitorEvent<'_>| {
        if let MonitorEvent::Log(frame) = event {
            let _ = frame.to_string();
        }
    };
    // Each piece both as a frame and as raw bytes.
    for piece in pieces {
        watcher.push(&[0xff, 0], Moment::START, &mut tell);
        watcher.push(piece, Moment::START, &mut tell);
        watcher.push(&[0], Moment::START, &mut tell);
    }
});
