//! Partition tables: the default table's bytes, round trips, and damaged tables.

use esplice_chip::FlashOffset;
use esplice_image::{Partition, PartitionTable, TableError};
use proptest::prelude::*;

/// The rows of ESP-IDF's "Single factory app, no OTA" as written by its gen_esp32part.py.
const DEFAULT_ROWS: &str = "\
    aa50 01 02 00900000 00600000 6e767300000000000000000000000000 00000000 \
    aa50 01 01 00f00000 00100000 7068795f696e69740000000000000000 00000000 \
    aa50 00 00 00000100 00001000 666163746f7279000000000000000000 00000000 \
    ebebffffffffffffffffffffffffffff";

#[test]
fn the_default_table_is_esp_idfs() {
    let bytes = PartitionTable::esp_idf_default().to_bytes().expect("bytes");
    let rows: String = bytes[..112].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(rows, DEFAULT_ROWS.replace(' ', ""));
    assert_eq!(bytes.len(), 0xc00);
    assert!(bytes[128..].iter().all(|byte| *byte == 0xff));
    let table = PartitionTable::from_bytes(&bytes).expect("table");
    assert_eq!(table, PartitionTable::esp_idf_default());
    assert_eq!(table.check(FlashOffset(0x8000), Some(4 << 20)), Ok(()));
    assert_eq!(table.app_target(None).map(|p| p.name.as_str()), Some("factory"));
    assert_eq!(table.otadata(), None);
}

#[test]
fn damage_is_named() {
    let good = PartitionTable::esp_idf_default().to_bytes().expect("bytes");
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let without_md5 = {
        let mut bytes = good.clone();
        bytes[96..128].fill(0xff);
        bytes
    };
    let cases: [(Vec<u8>, Option<&str>); 8] = [
        (good.clone(), None),
        (without_md5, None),
        (vec![], Some("partition table is truncated at 0 bytes, in row 0")),
        (vec![0xff; 0xc00], Some("partition table is empty")),
        (good[..70].to_vec(), Some("partition table is truncated at 70 bytes, in row 2")),
        (changed(32, 0), Some("row 1 of the partition table begins with [00, 50], not with aa 50")),
        (
            changed(0, 0xe9),
            Some("row 0 of the partition table begins with [e9, 50], not with aa 50"),
        ),
        (changed(5, 1), Some("MD5 of the partition table is")),
    ];
    for (bytes, expected) in cases {
        let said = PartitionTable::from_bytes(&bytes).map_err(|error| error.to_string());
        match expected {
            None => assert!(said.is_ok(), "{said:?}"),
            Some(expected) => {
                let said = said.expect_err(expected);
                assert!(said.starts_with(expected), "{said}");
            }
        }
    }
}

#[test]
fn tables_that_contradict_themselves_are_refused() {
    let row = |name: &str, kind, offset, len| Partition {
        name: name.into(),
        kind,
        // Only one app may be the factory app, while any number of data partitions may be
        // undefined.
        subtype: if kind == 0 { 0 } else { 6 },
        offset: FlashOffset(offset),
        len,
        flags: 0,
    };
    let cases = [
        (
            vec![row("a", 1, 0x9000, 0x1000), row("a", 1, 0xa000, 0x1000)],
            "two partitions are called \"a\"",
        ),
        (
            vec![row("a", 0, 0x9000, 0x1000)],
            "partition a at 0x9000 of 0x1000 bytes is not aligned to 0x10000",
        ),
        (
            vec![row("a", 1, 0x9800, 0x1000)],
            "partition a at 0x9800 of 0x1000 bytes is not aligned to 0x1000",
        ),
        (
            vec![row("a", 1, 0x9000, 0)],
            "partition a at 0x9000 of 0x0 bytes is not aligned to 0x1000",
        ),
        (
            vec![row("a", 1, 0xa000, 0x2000), row("b", 1, 0x9000, 0x2000)],
            "partitions b and a overlap at 0xa000",
        ),
        (
            vec![row("a", 1, 0x8000, 0x1000)],
            "partition a at 0x8000 begins before the partition table's end at 0x9000",
        ),
        (
            vec![row("a", 1, 0xf_f000, 0x2000)],
            "partition a ends at 0x101000, the flash at 0x100000",
        ),
        (
            vec![row("a", 1, 0xffff_f000, 0xffff_f000)],
            "partition a ends at 0x1ffffe000, the flash at 0x100000",
        ),
    ];
    for (partitions, expected) in cases {
        let table = PartitionTable { partitions };
        let error = table.check(FlashOffset(0x8000), Some(1 << 20)).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
    let many = (0..96).map(|n| row(&n.to_string(), 1, 0, 0)).collect();
    assert_eq!(
        PartitionTable { partitions: many }.to_bytes(),
        Err(TableError::TooMany { count: 96, most: 94 })
    );
    let long = PartitionTable { partitions: vec![row("seventeen bytes..", 1, 0, 0)] };
    assert!(matches!(long.to_bytes(), Err(TableError::BadName { .. })));
}

fn partition() -> impl Strategy<Value = Partition> {
    ("[ -~]{1,16}", any::<(u8, u8, u32, u32, u32)>()).prop_map(
        |(name, (kind, subtype, offset, len, flags))| Partition {
            name,
            kind,
            subtype,
            offset: FlashOffset(offset),
            len,
            flags,
        },
    )
}

proptest! {
    #[test]
    fn tables_survive_a_round_trip(partitions in prop::collection::vec(partition(), 1..95)) {
        let table = PartitionTable { partitions };
        let bytes = table.to_bytes().expect("bytes");
        prop_assert_eq!(PartitionTable::from_bytes(&bytes), Ok(table));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(table) = PartitionTable::from_bytes(&bytes) {
            let _ = table.check(FlashOffset(0x8000), Some(1 << 20));
            let _ = table.app_target(Some(&bytes));
            let _ = table.to_string();
        }
    }

    #[test]
    fn a_changed_byte_is_noticed(at in 0_usize..128, bit in 0_u32..8) {
        let mut bytes = PartitionTable::esp_idf_default().to_bytes().expect("bytes");
        // The bootloader ignores the padding of the MD5 row.
        prop_assume!(!(98..112).contains(&at));
        bytes[at] ^= 1 << bit;
        // A change in the MD5 row's magic leaves a table without MD5 row and end marker.
        prop_assert!(PartitionTable::from_bytes(&bytes).is_err());
    }
}
