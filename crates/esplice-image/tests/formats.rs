//! Intel HEX, UF2 and xz: round trips and damaged files.

use esplice_chip::{ChipDb, FlashOffset};
use esplice_image::{
    FormatError, Uf2Fault, Uf2Options, Write, from_intel_hex, from_uf2, merge, split, to_intel_hex,
    to_uf2, unxz,
};
use proptest::prelude::*;

/// Returns writes with gaps of at least one byte, so that each is read back separately.
fn writes() -> impl Strategy<Value = Vec<Write>> {
    let piece = (1_u32..0x1_8000, proptest::collection::vec(any::<u8>(), 1..700));
    proptest::collection::vec(piece, 1..6).prop_map(|pieces| {
        let mut at = 0;
        let mut writes = Vec::new();
        for (gap, data) in pieces {
            at += gap;
            writes.push(Write::unnamed(FlashOffset(at), &data));
            at += data.len() as u32;
        }
        writes
    })
}

/// No part of this data repeats.
const DATA: [u8; 800] = {
    let mut data = [0; 800];
    let mut at = 0;
    while at < data.len() {
        data[at] = ((at * at * 7 + at) >> 3) as u8;
        at += 1;
    }
    data
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hex_there_and_back(writes in writes()) {
        let text = to_intel_hex(&writes).unwrap();
        prop_assert_eq!(from_intel_hex(text.as_bytes()).unwrap(), writes);
    }

    #[test]
    fn uf2_there_and_back(writes in writes(), words in 1_usize..=113, md5: bool, all: bool) {
        let options = Uf2Options { family: 7, chunk: (!all).then_some(words * 4), md5 };
        let file = to_uf2(&writes, &options).unwrap();
        let read = from_uf2(&file).unwrap();
        prop_assert_eq!((read.family, read.writes), (Some(7), writes));
    }

    /// A changed bit is noticed, unless it is in a part without meaning.
    #[test]
    fn a_changed_bit_of_uf2_is_noticed(at in 0_usize..1024, bit in 0_u8..8) {
        let write = Write::unnamed(FlashOffset(0x1000), &DATA);
        let options = Uf2Options { family: 7, chunk: None, md5: true };
        let good = to_uf2(&[write], &options).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1 << bit;
        match from_uf2(&bad) {
            Err(_) => {}
            // Unused flags, and the padding after data and MD5.
            Ok(read) => prop_assert!(
                (8..12).contains(&(at % 512)) || (512 + 32 + 348 + 24..1020).contains(&at),
                "byte {at}: {read:?}"
            ),
        }
    }

    #[test]
    fn parts_of_any_flash_merge_to_it(
        pieces in proptest::collection::vec((0_usize..0x2_0000, any::<u8>(), 1_usize..9000), 0..8),
    ) {
        let table = esplice_image::PartitionTable::esp_idf_default().to_bytes().unwrap();
        let mut flash = vec![0xff; 0x2_8000];
        for (at, byte, len) in pieces {
            flash[at..at + len].fill(byte);
        }
        flash[0x8000..0x8000 + table.len()].copy_from_slice(&table);
        let end = flash.iter().rposition(|byte| *byte != 0xff).unwrap() + 1;
        let merged = merge(&split(&flash, ChipDb::embedded()), FlashOffset(0), None).unwrap();
        // With the table and an image at the boot offset the split is complete, otherwise it is
        // empty.
        prop_assert_eq!(&merged[..], &flash[..end]);
    }
}

#[test]
fn hex_of_other_writers() {
    // Lower case, CR LF, blank lines, segment addresses, and a start address.
    let text =
        ":020000021000ec\r\n:0400000001020304f2\r\n\r\n:0400000500010000F6\r\n:00000001FF\r\n";
    let read = from_intel_hex(text.as_bytes()).unwrap();
    assert_eq!(read, [Write::unnamed(FlashOffset(0x1_0000), &[1, 2, 3, 4])]);
    // A blank line or a byte order mark at the start.
    for start in ["\n", "\r\n  \r\n", "\u{feff}", "\u{feff}\n"] {
        let text = format!("{start}:021000000102EB\n:00000001FF\n");
        let unpacked = esplice_image::unpack(text.as_bytes()).unwrap().expect("known as HEX");
        assert_eq!(unpacked.writes, [Write::unnamed(FlashOffset(0x1000), &[1, 2])]);
    }
    // Records in another order.
    let text = ":021004000304E3\n:021002000102E9\n:00000001FF\n";
    let read = from_intel_hex(text.as_bytes()).unwrap();
    assert_eq!(read, [Write::unnamed(FlashOffset(0x1002), &[1, 2, 3, 4])]);
}

#[test]
fn broken_hex_is_told_with_its_line() {
    #[track_caller]
    fn check(text: &[u8], message: &str) {
        let error = from_intel_hex(text).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    check(b"", "the file ends in line 0 without an end record");
    check(b":00000001FF\n", "Intel HEX file without data");
    check(b":00000001FF\n:00000001FF\n", "line 2 follows the end record");
    check(b"\n0400000001020304F2\n", "line 2: it does not begin with ':'");
    check(b":0400\n", "line 1: it has 5 characters, a record has 11 to 521");
    check(b":04000000010203F6\n", "line 1: it has 3 bytes of data, but says 4");
    check(b":0400000001020304F2A\n", "line 1: its last byte has only one digit");
    check(b":0400000G01020304F2\n", "line 1: 'G' in column 9 is not a hexadecimal digit");
    check(b":0400000001020304F3\n", "line 1: checksum is F3, expected F2");
    check(b":00000006FA\n", "line 1: record type 06 is unknown, not one of 00 to 05");
    check(b":0100000400FB\n", "line 1: 1 bytes of data are wrong for record type 04");
    check(b":00000001FF\n\xff\n", "line 2 (byte 12) is not text");
    check(
        b":020000044000BA\n:0100000000FF\n:00000001FF\n",
        "line 2 ends at 0x40000001, the largest flash at 0x8000000",
    );
    check(
        b":020000000102FB\n:020000000102FB\n:00000001FF\n",
        "line 2 has bytes at 0x0 that the lines from 1 on also have",
    );
}

#[test]
fn broken_uf2_is_told_with_its_block() {
    let writes = [
        Write::unnamed(FlashOffset(0x1000), &[1; 1000]),
        Write::unnamed(FlashOffset(0x2000), &[2; 10]),
    ];
    let file = |family| to_uf2(&writes, &Uf2Options { family, chunk: None, md5: true }).unwrap();
    let good = file(7);
    assert_eq!(good.len(), 4 * 512);
    let check = |bytes: &[u8], offset: usize, fault: Uf2Fault| {
        assert_eq!(from_uf2(bytes), Err(FormatError::Uf2 { offset, fault }));
    };
    let changed = |at: usize, word: u32| {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&word.to_le_bytes());
        bad
    };
    check(&good[..1023], 512, Uf2Fault::Cut { len: 511 });
    check(&good[..1024], 1024, Uf2Fault::Missing { number: 2, total: 3 });
    check(&changed(512 + 4, 0), 512, Uf2Fault::Magic);
    check(&changed(512 + 508, 0), 512, Uf2Fault::Magic);
    let without = [&good[..512], &good[1024..]].concat();
    check(&without, 1536, Uf2Fault::Missing { number: 1, total: 3 });
    // The second write's only block replaces one of the first write's.
    let without = [&good[..512], &good[1024..], &good[1536..]].concat();
    check(&without, 2048, Uf2Fault::Missing { number: 1, total: 3 });
    check(&changed(20, 3), 0, Uf2Fault::Number { number: 3, total: 3 });
    check(&changed(24, 0), 0, Uf2Fault::Number { number: 0, total: 0 });
    check(&changed(24, u32::MAX), 2048, Uf2Fault::Missing { number: 0, total: 3 });
    check(&changed(16, 453), 0, Uf2Fault::Length { len: 453, most: 452 });
    check(&changed(16, u32::MAX), 0, Uf2Fault::Length { len: u32::MAX, most: 452 });
    let past = Uf2Fault::PastFlash { addr: 0x3fc8_0000, end: 0x3fc8_01c4 };
    check(&changed(12, 0x3fc8_0000), 0, past);
    check(&changed(12, u32::MAX), 0, Uf2Fault::PastFlash { addr: u32::MAX, end: 0x1_0000_01c3 });
    let other = [good.clone(), file(8)].concat();
    check(&other, 2048, Uf2Fault::Family { found: 8, first: 7 });
    assert_eq!(
        from_uf2(&good.repeat(2)),
        Err(FormatError::Uf2Twice { offset: FlashOffset(0x1000) })
    );
    assert_eq!(from_uf2(&[]), Err(FormatError::Nothing { kind: "UF2" }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_may_come_in_any_order(
        writes in writes(),
        order in Just((0..200_usize).collect::<Vec<_>>()).prop_shuffle(),
        md5: bool,
    ) {
        let options = Uf2Options { family: 7, chunk: Some(128), md5 };
        let file = to_uf2(&writes, &options).unwrap();
        let blocks: Vec<&[u8]> = file.chunks(512).collect();
        let shuffled: Vec<u8> =
            order.iter().filter_map(|at| blocks.get(*at)).copied().collect::<Vec<_>>().concat();
        prop_assert_eq!(shuffled.len(), file.len());
        prop_assert_eq!(from_uf2(&shuffled).unwrap().writes, writes);
    }
}

/// Reads a million runs in about a second; more than ten times as long would not be linear.
#[test]
fn a_million_stretches_are_read() {
    let mut text = String::new();
    let mut before = u32::MAX;
    for number in 0..1_000_000_u32 {
        // Alternating from both ends, so that sorting has something to do.
        let place = if number % 2 == 0 { number } else { 1_000_000 - number } * 32;
        if place >> 16 != before {
            before = place >> 16;
            let sum = 0_u8.wrapping_sub((6 + (before >> 8) + (before & 0xff)) as u8);
            text.push_str(&format!(":02000004{before:04X}{sum:02X}\n"));
        }
        let (low, value) = (place & 0xffff, number as u8);
        let sum = 0_u8.wrapping_sub((1 + (low >> 8) + (low & 0xff) + u32::from(value)) as u8);
        text.push_str(&format!(":01{low:04X}00{value:02X}{sum:02X}\n"));
    }
    text.push_str(":00000001FF\n");
    let writes = from_intel_hex(text.as_bytes()).unwrap();
    assert_eq!(writes.len(), 1_000_000);
    assert!(writes.windows(2).all(|pair| pair[0].offset < pair[1].offset));
}

/// Other writers store one MD5 for several blocks, at the end of the data area.
#[test]
fn an_md5_of_several_blocks() {
    use md5::{Digest as _, Md5};
    let write = Write::unnamed(FlashOffset(0x4000), &[3; 512]);
    let options = Uf2Options { family: 7, chunk: Some(256), md5: false };
    let mut file = to_uf2(std::slice::from_ref(&write), &options).unwrap();
    for block in file.chunks_mut(512) {
        block[9] |= 0x40;
        block[484..488].copy_from_slice(&0x4000_u32.to_le_bytes());
        block[488..492].copy_from_slice(&512_u32.to_le_bytes());
        block[492..508].copy_from_slice(&Md5::digest(&write.data));
    }
    assert_eq!(from_uf2(&file).unwrap().writes, [write]);
    file[40] ^= 1;
    let error = from_uf2(&file).unwrap_err();
    assert!(error.to_string().contains("MD5 of 512 bytes at 0x4000 is "), "{error}");
    // An MD5 of bytes that are not in the file.
    file[40] ^= 1;
    file[488..492].copy_from_slice(&513_u32.to_le_bytes());
    let error = from_uf2(&file).unwrap_err();
    assert!(error.to_string().contains("an MD5 covers 513 bytes at 0x4000"), "{error}");
}

#[test]
fn xz_is_bounded() {
    let mut packed = Vec::new();
    let content = vec![7; 100_000];
    let mut encoder = liblzma::read::XzEncoder::new(content.as_slice(), 9);
    std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
    assert_eq!(unxz(&packed, 100_000).unwrap(), content);
    assert_eq!(unxz(&packed.repeat(2), 200_000).unwrap().len(), 200_000);
    assert_eq!(unxz(&packed, 99_999), Err(FormatError::XzLarge { most: 99_999 }));
    for len in 0..packed.len() {
        let error = unxz(&packed[..len], 100_000).unwrap_err();
        assert!(matches!(error, FormatError::Xz { .. }), "{len}: {error}");
    }
    let error = unxz(&[&packed[..], b"more"].concat(), 100_000).unwrap_err();
    assert!(error.to_string().starts_with("xz file at byte "), "{error}");
}
