//! Tests of defmt frames among text, with an ELF built here and frames written by hand.

use std::{sync::Arc, time::Duration};

use esplice_monitor::{DefmtTable, Expectation, LogFrame, MonitorEvent, Outcome, Watch, Watcher};
use esplice_protocol::Moment;
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, StandardSegment, Symbol, SymbolSection},
};
use proptest::prelude::*;

/// Texts by number: tag and format. Source of the symbol format: defmt 1.1, `macros/src/construct`.
const TEXTS: &[(u64, &str, &str)] = &[
    (1, "defmt_info", "hello {=u8} {=str}"),
    (2, "defmt_println", "just text"),
    (3, "defmt_error", "{=[?]}"),
    (4, "defmt_derived", "Point {{ x: {=i16} }}"),
    (5, "defmt_derived", "None|Some({=?})"),
    (6, "defmt_warn", "{=?} at {=u64:iso8601ms}"),
    (7, "defmt_error", "{=__internal_Display}"),
    (8, "defmt_debug", "bits {0=0..3} {0=4..8}"),
    (9, "defmt_derived", "{=?}"),
    (10, "defmt_trace", "{=[u8]:#x}"),
    (11, "defmt_derived", "empty"),
];

fn elf(encoding: &str, timestamp: Option<&str>) -> Vec<u8> {
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
    let texts = TEXTS.iter().copied();
    for (number, tag, data) in texts.chain(timestamp.map(|data| (63, "defmt_timestamp", data))) {
        let name = serde_json::json!({
            "package": "app", "tag": tag, "data": data, "disambiguator": number.to_string(),
            "crate_name": "app",
        });
        add(number, name.to_string(), SymbolSection::Section(section));
    }
    elf.write().unwrap()
}

fn table(encoding: &str, timestamp: Option<&str>) -> Arc<DefmtTable> {
    Arc::new(DefmtTable::from_elf(&elf(encoding, timestamp)).unwrap().unwrap())
}

/// Returns the frames and the shown text of `bytes`, split into pieces of `cut` bytes.
fn read(table: &Arc<DefmtTable>, bytes: &[u8], cut: usize) -> (Vec<LogFrame>, String) {
    let watch = Watch::default().defmt(Some(table.clone())).timeout(Some(Duration::from_secs(1)));
    let mut watcher = Watcher::new(&watch, Moment::START);
    let (mut frames, mut shown) = (vec![], vec![]);
    let mut tell = |event: MonitorEvent<'_>| match event {
        MonitorEvent::Log(frame) => frames.push(frame.clone()),
        MonitorEvent::Text(text) => shown.extend_from_slice(text),
        _ => {}
    };
    for piece in bytes.chunks(cut) {
        watcher.push(piece, Moment::START, &mut tell);
    }
    watcher.tick(Moment::at(Duration::from_secs(2)), &mut tell);
    (frames, String::from_utf8_lossy(&shown).into_owned())
}

/// Checks that a raw frame, however split, yields only `expected`.
#[track_caller]
fn check(frame: &[u8], expected: &str) {
    let table = table("raw", None);
    let bytes = [b"before\n", &[0xff, 0x00][..], frame, b"after\n"].concat();
    for cut in [1, 2, 3, bytes.len()] {
        let (_, shown) = read(&table, &bytes, cut);
        assert_eq!(shown, format!("before\n{expected}\r\nafter\n"), "in pieces of {cut}");
    }
}

/// Checks that the bytes are not a frame and are passed on unchanged.
#[track_caller]
fn check_none(frame: &[u8]) {
    let table = table("raw", None);
    let bytes = [&[0xff, 0x00][..], frame, b"and more text"].concat();
    let (frames, shown) = read(&table, &bytes, 1);
    assert_eq!(frames, []);
    assert_eq!(shown, String::from_utf8_lossy(&bytes));
}

#[test]
fn frames_are_shown_as_lines() {
    check(&[1, 0, 42, 2, 0, 0, 0, b'h', b'i'], "INFO  hello 42 hi");
    check(&[2, 0], "just text");
    check(&[3, 0, 2, 0, 0, 0, 4, 0, 5, 0, 0xff, 0xff], "ERROR [Point { x: 5 }, Point { x: -1 }]");
    check(&[3, 0, 2, 0, 0, 0, 5, 0, 0, 1, 4, 0, 7, 0], "ERROR [None, Some(Point { x: 7 })]");
    check(&[7, 0, b'a', b'b', 0xff], "ERROR ab");
    check(&[8, 0, 0b1010_0101], "DEBUG bits 5 10");
    check(&[10, 0, 2, 0, 0, 0, 1, 255], "TRACE [0x1, 0xff]");
    let date = 1_700_000_000_123_u64.to_le_bytes();
    check(
        &[&[6, 0, 4, 0, 1, 0][..], &date].concat(),
        "WARN  Point { x: 1 } at 2023-11-14T22:13:20.123Z",
    );
}

#[test]
fn what_asks_for_too_much_is_no_frame() {
    check_none(&[99, 99]);
    // Too many elements without bytes.
    check_none(&[3, 0, 255, 255, 255, 255, 11, 0]);
    check_none(&[3, 0, 0, 255, 0, 0, 11, 0]);
    // A text longer than the maximum frame.
    check_none(&[1, 0, 42, 255, 255, 255, 127, b'h']);
    // A format that contains itself.
    check_none(&[&[6, 0][..], &[9, 0].repeat(200)].concat());
    // A date beyond the calendar, and a variant that does not exist.
    check_none(&[&[6, 0, 11, 0][..], &[255; 8]].concat());
    check_none(&[3, 0, 1, 0, 0, 0, 5, 0, 2]);
}

#[test]
fn frames_of_rzcobs_end_with_their_zero() {
    let table = table("rzcobs", Some("{=u32:ms}"));
    let encoded = encode(&[2, 0, 0xdc, 5, 0, 0]);
    let bytes = [b"a\n", &[0xff, 0, 0][..], &encoded, &[0], b"b\n"].concat();
    let (frames, shown) = read(&table, &bytes, 1);
    assert_eq!(shown, "a\n1.500 just text\r\nb\n");
    assert_eq!(frames[0].timestamp.as_deref(), Some("1.500"));
    // A frame that lost its end corrupts only the next one.
    let bytes =
        [&[0xff, 0][..], &encoded[..1], &[0xff, 0], &encoded, &[0], &[0xff, 0], &encoded, &[0]];
    let (frames, _) = read(&table, &bytes.concat(), 1);
    assert!(!frames.is_empty());
}

/// Encodes rzCOBS as in its description: seven bytes per group, followed by a byte whose bits show
/// which of them were zero.
fn encode(frame: &[u8]) -> Vec<u8> {
    let mut encoded = vec![];
    for group in frame.chunks(7) {
        // A short last group is padded with zeros.
        let mut code = 0;
        for index in 0..7 {
            match group.get(index) {
                Some(byte) if *byte != 0 => encoded.push(*byte),
                _ => code |= 1 << index,
            }
        }
        assert_ne!(code, 0, "groups without a zero need another code");
        encoded.push(code);
    }
    encoded
}

#[test]
fn frames_are_expected_like_text_and_tell_panics() {
    let table = table("raw", None);
    let watch = Watch::default()
        .expect(vec![Expectation::parse("hello 7").unwrap()])
        .defmt(Some(table.clone()));
    let mut watcher = Watcher::new(&watch, Moment::START);
    let bytes = [0xff, 0, 1, 0, 7, 0, 0, 0, 0];
    let outcome = watcher.push(&bytes, Moment::START, &mut |_| {});
    assert!(matches!(outcome, Some(Outcome::Matched { offset: 6, .. })), "{outcome:?}");

    let mut watcher = Watcher::new(&watch, Moment::START);
    for line in
        ["====================== PANIC ======================", "panicked at src/main.rs:3:5:\nno"]
    {
        let bytes = [&[0xff, 0, 7, 0][..], line.as_bytes(), &[0xff]].concat();
        assert_eq!(watcher.push(&bytes, Moment::START, &mut |_| {}), None);
    }
    let Some(Outcome::Panic(panic)) = watcher.tick(Moment::at(Duration::from_secs(1)), &mut |_| {})
    else {
        panic!()
    };
    assert_eq!(panic.message, "no");
    assert_eq!(panic.location.unwrap().to_string(), "src/main.rs:3:5");
}

#[test]
fn without_defmt_there_is_no_table() {
    let elf = Object::new(BinaryFormat::Elf, Architecture::Riscv32, Endianness::Little);
    assert!(DefmtTable::from_elf(&elf.write().unwrap()).unwrap().is_none());
    assert!(DefmtTable::from_elf(b"no ELF").is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(
        prop_oneof![Just(0xff_u8), Just(0), 1_u8..12, any::<u8>()], 0..300)
    ) {
        for encoding in ["raw", "rzcobs"] {
            let table = table(encoding, Some("{=u8:us}"));
            let whole = read(&table, &bytes, bytes.len().max(1));
            prop_assert_eq!(read(&table, &bytes, 1), whole);
        }
    }
}
