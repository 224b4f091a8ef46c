//! Compares partition tables in CSV and binary form with another implementation of both, and checks
//! them by the rules of ESP-IDF's bootloader.
//!
//! Cases are files: `tables/NAME.csv` and the expected table in `NAME.bin.csv`, which is the output
//! of ESP-IDF's generator for the binary table. `tables/bad/NAME.csv` is refused with the message
//! in `NAME.txt`. `UPDATE_TABLES=1` rewrites the expected files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use esp_idf_part::PartitionTable as Theirs;
use esplice_chip::FlashOffset;
use esplice_image::{CsvOptions, Partition, PartitionTable, TableError};
use proptest::prelude::*;

const OPTIONS: CsvOptions = CsvOptions::new(FlashOffset(0x8000)).boot_offset(Some(FlashOffset(0)));

/// Returns the files with this extension in a directory of cases.
fn cases(directory: &str, extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables").join(directory);
    let entries = fs::read_dir(directory).expect("the directory of cases exists");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(extension));
    paths.retain(|path| !path.to_string_lossy().ends_with(".bin.csv"));
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn expected(path: &Path, found: &str) -> String {
    if std::env::var_os("UPDATE_TABLES").is_some() {
        fs::write(path, found).expect("the expected file is writable");
    }
    fs::read_to_string(path).expect("the expected file is readable")
}

#[test]
fn tables_are_read_from_csv_and_written_again() {
    for path in cases("", ".csv") {
        let shown = path.display();
        let text = fs::read_to_string(&path).expect("CSV");
        let table = PartitionTable::from_csv(&text, &OPTIONS).unwrap_or_else(|error| {
            panic!("{shown}:{error}");
        });
        let bytes = table.to_bytes().expect("bytes");
        let again = PartitionTable::from_bytes(&bytes).expect("table");
        assert_eq!(again, table, "{shown}");
        let csv = again.to_csv().expect("CSV");
        assert_eq!(csv, expected(&path.with_extension("bin.csv"), &csv), "{shown}");
        // The written CSV is read back as the same table.
        assert_eq!(PartitionTable::from_csv(&csv, &OPTIONS), Ok(table.clone()), "{shown}");
        // The other implementation rejects subtypes that it has no name for.
        let is_known = |p: &Partition| match p.kind {
            0 => p.subtype <= 0x20,
            1 => matches!(p.subtype, 0..=6 | 0x80..=0x83),
            kind => kind >= 0x40,
        };
        if table.partitions.iter().all(is_known) {
            let theirs = Theirs::try_from_bytes(bytes.clone()).expect("it reads ours");
            assert!(theirs.to_bin().expect("bytes")[..bytes.len()] == bytes, "{shown}");
        }
    }
}

#[test]
fn broken_csv_is_refused_with_line_and_column() {
    for path in cases("bad", ".csv") {
        let text = fs::read_to_string(&path).expect("CSV");
        let error = PartitionTable::from_csv(&text, &OPTIONS).expect_err(&path.to_string_lossy());
        let words = expected(&path.with_extension("txt"), &format!("{error}\n"));
        assert_eq!(error.to_string(), words.trim_end(), "{}", path.display());
    }
    let no_boot = OPTIONS.boot_offset(None);
    let error = PartitionTable::from_csv("b,bootloader,primary,,", &no_boot).expect_err("no chip");
    assert_eq!(error.to_string(), "1:22: a row for the bootloader needs the chip's boot offset");
    assert!(error.hint().is_some());
    let many: String = (0..100).map(|n| format!("d{n},data,nvs,,4K\n")).collect();
    let error = PartitionTable::from_csv(&many, &OPTIONS).expect_err("too many");
    assert_eq!(error.to_string(), "96:1: a table holds at most 95 partitions");
}

/// The other implementation reads the same tables from the same CSV.
#[test]
fn the_other_reader_agrees_about_csv() {
    let csvs = [
        "nvs,data,nvs,0x9000,0x6000,\nphy_init,data,phy,0xf000,0x1000,\nfactory,app,factory,0x10000,1M,\n",
        "# two slots\nnvs,data,nvs,,0x4000,\notadata,data,ota,,0x2000,\nphy,data,phy,,4K,\n\
         ota_0,app,ota_0,,1536K,encrypted\nota_1,app,ota_1,,1536K,\nfs,data,littlefs,,64K,\n",
        "nvs,data,nvs,,0x6000,\nfactory,app,factory,,0x1F0000,\ncore,data,coredump,,64K,\n",
    ];
    for csv in csvs {
        let ours = PartitionTable::from_csv(csv, &OPTIONS).expect("CSV");
        let theirs = Theirs::try_from_str(csv).expect("CSV");
        let bytes = ours.to_bytes().expect("bytes");
        assert!(theirs.to_bin().expect("bytes")[..bytes.len()] == bytes, "{csv}");
    }
}

fn row(name: &str, kind: u8, subtype: u8, offset: u32, len: u32) -> Partition {
    Partition { name: name.into(), kind, subtype, offset: FlashOffset(offset), len, flags: 0 }
}

#[test]
fn tables_are_judged_as_the_bootloader_judges() {
    let nvs = || row("nvs", 1, 2, 0x9000, 0x6000);
    let app = |subtype, offset| row(&format!("app{offset:x}"), 0, subtype, offset, 0x1_0000);
    // Cases with the expected fault, and whether the bootloader still boots.
    let cases: Vec<(Vec<Partition>, Option<&str>, bool)> = vec![
        (vec![nvs(), app(0, 0x1_0000)], None, true),
        (
            vec![app(0, 0x1_1000)],
            Some("partition app11000 at 0x11000 of 0x10000 bytes is not aligned to 0x10000"),
            false,
        ),
        (
            vec![app(0, 0x1_0000), app(0, 0x2_0000)],
            Some("partitions app10000 and app20000 are both app factory"),
            false,
        ),
        (
            vec![app(0x10, 0x1_0000), app(0x10, 0x2_0000)],
            Some("partitions app10000 and app20000 are both app ota_0"),
            false,
        ),
        (
            vec![row("a", 1, 0, 0x9000, 0x2000), row("b", 1, 0, 0xb000, 0x2000)],
            Some("partitions a and b are both data ota"),
            false,
        ),
        (
            vec![row("a", 1, 0, 0x9000, 0x1000)],
            Some("partition a for otadata has 0x1000 bytes instead of 0x2000"),
            false,
        ),
        (
            vec![app(0, 0)],
            Some("partition app0 at 0x0 begins before the partition table's end at 0x9000"),
            false,
        ),
        (
            vec![app(0, 0x1_0000), row("fs", 1, 0x82, 0x1_8000, 0x1000)],
            Some("partitions app10000 and fs overlap at 0x18000"),
            false,
        ),
        (
            // A long partition that overlaps several others.
            vec![
                row("long", 1, 6, 0x9000, 0x10_0000),
                row("b", 1, 6, 0xa000, 0x1000),
                app(0, 0x1_0000),
            ],
            Some("partitions long and b overlap at 0xa000"),
            false,
        ),
        (
            vec![row("fs", 1, 0x82, 0x3f_0000, 0x2_0000)],
            Some("partition fs ends at 0x410000, the flash at 0x400000"),
            false,
        ),
        (
            vec![row("big", 0, 0, 0x1_0000, 0x101_0000)],
            Some("app partition big of 0x1010000 bytes is larger than 0x1000000"),
            false,
        ),
        // The bootloader boots from these, but ESP-IDF's generator does not make them.
        (
            vec![nvs(), row("nvs", 1, 1, 0xf000, 0x1000)],
            Some("two partitions are called \"nvs\""),
            true,
        ),
        (
            vec![row("a", 1, 0, 0x9000, 0x3000)],
            Some("partition a for otadata has 0x3000 bytes instead of 0x2000"),
            true,
        ),
        (
            vec![row("a", 1, 2, 0x9000, 0x2000)],
            Some("partition a for NVS has 0x2000 bytes: below 0x3000 it must be readonly"),
            true,
        ),
        (
            vec![Partition { flags: 2, ..row("a", 1, 3, 0x9000, 0x2000) }],
            Some("partition a of subtype coredump cannot be read-only"),
            true,
        ),
        // Data partitions need not be whole sectors, and the bootloader ignores other types.
        (vec![row("a", 1, 6, 0x9000, 0x1234), row("b", 0x40, 0, 0xb000, 7)], None, true),
        (vec![app(0x30, 0x1_0000), app(0x30, 0x2_0000)], None, true),
        // Rows for the bootloader and the table itself.
        (vec![row("boot", 2, 0, 0, 0x8000), row("table", 3, 0, 0x8000, 0x1000), nvs()], None, true),
    ];
    for (partitions, expected, boots) in cases {
        let table = PartitionTable { partitions };
        let place = FlashOffset(0x8000);
        let found = table.check(place, Some(4 << 20)).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), expected, "{table}");
        let found = table.check_for_boot(place, Some(4 << 20));
        assert_eq!(found.is_ok(), boots, "{table}{found:?}");
    }
}

#[test]
fn a_table_needs_a_row_that_ends_it() {
    let many = |count: u32| PartitionTable {
        partitions: (0..count)
            .map(|n| row(&format!("d{n}"), 0x40, 0, 0x9000 + n * 0x1000, 0x1000))
            .collect(),
    };
    let bytes = many(94).to_bytes().expect("94 rows, the MD5 and the end");
    assert_eq!(PartitionTable::from_bytes(&bytes), Ok(many(94)));
    assert_eq!(many(95).to_bytes(), Err(TableError::TooMany { count: 95, most: 94 }));
    let bytes = many(95).to_bytes_without_md5().expect("95 rows and the end");
    assert_eq!(PartitionTable::from_bytes(&bytes), Ok(many(95)));
    assert!(!PartitionTable::has_md5(&bytes));
    // 95 rows and the MD5 fill the table.
    let mut full = many(94).to_bytes().expect("bytes");
    full.copy_within(94 * 32..95 * 32, 95 * 32);
    full.copy_within(0..32, 94 * 32);
    let error = PartitionTable::from_bytes(&full).expect_err("the MD5 is for fewer rows");
    assert!(matches!(error, TableError::Md5Mismatch { .. }), "{error}");
    let mut none = many(95).to_bytes_without_md5().expect("bytes");
    none.copy_within(0..32, 95 * 32);
    assert_eq!(PartitionTable::from_bytes(&none), Err(TableError::NoEnd { rows: 96 }));
    // A file that ends with its MD5 row is complete. One without it is truncated.
    let short = many(3).to_bytes().expect("bytes");
    assert_eq!(PartitionTable::from_bytes(&short[..128]), Ok(many(3)));
    let cut = PartitionTable::from_bytes(&short[..96]);
    assert_eq!(cut, Err(TableError::Truncated { len: 96, row: 3 }));
    // The MD5 does not cover rows after it.
    let mut after = short;
    after.copy_within(0..32, 128);
    assert_eq!(PartitionTable::from_bytes(&after), Err(TableError::AfterMd5 { row: 4 }));
}

#[test]
fn the_built_in_table_fills_the_flash() {
    for (size, offset, factory, len) in [
        (4 << 20, 0x8000, 0x1_0000, 0x3f_0000),
        (2 << 20, 0x8000, 0x1_0000, 0x1f_0000),
        (16 << 20, 0x8000, 0x1_0000, 0xff_0000),
        (32 << 20, 0x8000, 0x1_0000, 0x100_0000),
        (4 << 20, 0x1_0000, 0x2_0000, 0x3e_0000),
        (4 << 20, 0xa000, 0x2_0000, 0x3e_0000),
    ] {
        let table = PartitionTable::builtin(size, FlashOffset(offset));
        assert_eq!(table.check(FlashOffset(offset), Some(size)), Ok(()), "{table}");
        let app = table.app_target(None).expect("factory");
        assert_eq!((app.offset.0, app.len), (factory, len));
    }
}

#[test]
fn what_csv_cannot_hold_is_refused() {
    let one = |partition| PartitionTable { partitions: vec![partition] };
    for name in ["a,b", "#a", " a", "a\nb", "a\u{fffd}"] {
        let table = one(row(name, 1, 2, 0x9000, 0x6000));
        assert!(matches!(table.to_csv(), Err(TableError::NotCsv { .. })), "{name:?}");
    }
    let flagged = one(Partition { flags: 6, ..row("a", 1, 2, 0x9000, 0x6000) });
    assert!(matches!(flagged.to_csv(), Err(TableError::UnknownFlags { flags: 6, .. })));
    // Replacement characters mark bytes that are not text, and are not written back.
    let mut bytes = one(row("abc", 1, 2, 0x9000, 0x6000)).to_bytes_without_md5().expect("bytes");
    bytes[13] = 0xfe;
    let table = PartitionTable::from_bytes(&bytes).expect("table");
    assert!(matches!(table.to_bytes(), Err(TableError::BadName { .. })));
}

prop_compose! {
    fn any_table()(
        rows in proptest::collection::vec(
            ("[a-z][a-z0-9_]{0,15}", 0_u8..0xff, any::<u8>(), 1_u32..0x40, 0_u32..4),
            1..90,
        ),
    ) -> PartitionTable {
        let mut next = 0x9000_u32;
        let partitions = rows.into_iter().map(|(name, kind, subtype, sectors, flags)| {
            // The generator chooses the offsets of these itself.
            let kind = if matches!(kind, 2 | 3) { 1 } else { kind };
            next = next.next_multiple_of(if kind == 0 { 0x1_0000 } else { 0x1000 });
            let offset = FlashOffset(next);
            next += sectors * 0x1000;
            Partition { name, kind, subtype, offset, len: sectors * 0x1000, flags }
        });
        PartitionTable { partitions: partitions.collect() }
    }
}

proptest! {
    #[test]
    fn any_table_survives_both_forms(table in any_table()) {
        let bytes = table.to_bytes().unwrap();
        prop_assert_eq!(PartitionTable::from_bytes(&bytes), Ok(table.clone()));
        let csv = table.to_csv().unwrap();
        prop_assert_eq!(PartitionTable::from_csv(&csv, &OPTIONS), Ok(table.clone()));
        let crlf = csv.replace('\n', "\r\n");
        prop_assert_eq!(PartitionTable::from_csv(&crlf, &OPTIONS), Ok(table));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9x,:#KM \\-\n\r_.]{0,200}") {
        if let Ok(table) = PartitionTable::from_csv(&text, &OPTIONS) {
            prop_assert!(table.partitions.iter().all(|partition| partition.len > 0));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut row = vec![0xaa, 0x50];
        row.extend(bytes);
        let _ = PartitionTable::from_bytes(&row).map(|table| table.faults(FlashOffset(0), None));
    }
}
