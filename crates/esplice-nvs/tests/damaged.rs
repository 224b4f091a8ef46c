//! Tests reading of damaged partitions: what is damaged is reported, the rest is read.

use esplice_nvs::{Csv, Dump, Fault, MakeOptions, PageState, Value, make, read};

/// Three pages in use: `count` in entry 1, `name` in entries 2 and 3, and a blob of 5000 bytes.
fn partition() -> Vec<u8> {
    let mut csv = Csv::default();
    let text = "key,type,encoding,value\napp,namespace,,\ncount,data,u32,7\nname,data,string,hello\n\
                blob,data,blob_fill(5000;0x11),\nlast,data,u8,9\n";
    csv.add(text, &mut |_| unreachable!()).unwrap();
    make(&csv, &MakeOptions::new(0x5000)).unwrap()
}

const COUNT: usize = 64 + 32;
const NAME: usize = 64 + 2 * 32;
/// The chunk in the first page.
const BLOB: usize = 64 + 4 * 32;

fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Dump {
    let mut bytes = partition();
    change(&mut bytes);
    read(&bytes, None)
}

#[track_caller]
fn check(dump: &Dump, defects: &[&str], keys: &[&str]) {
    let found: Vec<String> = dump.defects.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), defects.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(defects) {
        assert!(found.starts_with(wanted), "{found} is not {wanted}");
    }
    let sound = |item: &&esplice_nvs::Item| !item.damaged;
    let read: Vec<&str> = dump.items.iter().filter(sound).map(|item| item.key.as_str()).collect();
    assert_eq!(read, keys);
}

const ALL: &[&str] = &["count", "name", "blob", "last"];

#[test]
fn entries() {
    check(&changed(|_| {}), &[], ALL);
    let dump = changed(|bytes| bytes[COUNT + 24] = 8);
    check(&dump, &["0x60: entry 1 has the checksum 0x"], &["name", "blob", "last"]);
    let dump = changed(|bytes| bytes[NAME + 32] ^= 1);
    check(&dump, &["0x80: the value of \"name\" has the checksum 0x"], &["count", "blob", "last"]);
    let name = dump.items.iter().find(|item| item.key == "name").unwrap();
    assert_eq!(name.value, Value::Text("iello".into()));
    // A wrong span is only believed if the checksum of the entry is right.
    let dump = changed(|bytes| bytes[NAME + 2] = 200);
    let defects = ["0x80: entry 2 has the checksum 0x", "0xa0: entry 3 has the checksum 0x"];
    check(&dump, &defects, &["count", "blob", "last"]);
    assert!(!dump.seems_encrypted());
}

#[test]
fn entry_states() {
    // 10 to 00: erased by firmware.
    let dump = changed(|bytes| bytes[32] &= !0b1100);
    check(&dump, &[], &["name", "blob", "last"]);
    assert_eq!(dump.pages[0].erased, 1);
    let dump = changed(|bytes| bytes[32] = bytes[32] & !0b1100 | 0b0100);
    let text = "0x60: the bitmap has an impossible state for entry 1";
    check(&dump, &[text], &["name", "blob", "last"]);
    let dump = changed(|bytes| bytes[32] |= 0b1100);
    let text = "0x60: entry 1 has data but is marked as empty: writing it was interrupted";
    check(&dump, &[text], &["name", "blob", "last"]);
    // The data of a string is marked as empty.
    let dump = changed(|bytes| bytes[32] |= 0b1100_0000);
    let texts = ["0x80: entry 2, \"name\", spans 2 entries", "0xa0: entry 3 has data but"];
    check(&dump, &texts, &["count", "blob", "last"]);
}

#[test]
fn pages() {
    let dump = changed(|bytes| bytes[5] ^= 1);
    check(&dump, &["0x0: the header's checksum is 0x"], &["blob", "last", "count", "name"]);
    let dump = changed(|bytes| bytes[0] = 0x12);
    check(&dump, &["0x0: the page has the state 0xffffff12"], ALL);
    let dump = changed(|bytes| bytes[0] = 0xf0);
    check(&dump, &["0x0: the page is marked as corrupt"], ALL);
    let dump = changed(|bytes| bytes[0] = 0xff);
    check(&dump, &["0x0: the page is marked as empty, but is not erased"], ALL);
    let dump = changed(|bytes| bytes[8] = 3);
    let texts = ["0x0: the header's checksum is", "0x0: the page has the version 0x03"];
    check(&dump, &texts, ALL);
    // Firmware that was interrupted while it moved the entries of a page.
    let dump = changed(|bytes| bytes[0] = 0xf8);
    check(&dump, &[], ALL);
    assert_eq!(dump.pages[0].state, PageState::Freeing);
    let dump = changed(|bytes| {
        let page = bytes[..0x1000].to_vec();
        bytes[0x3000..0x4000].copy_from_slice(&page);
    });
    let replaced = "is set again later: erasing this entry was interrupted";
    let texts = [
        &format!("0x60: \"count\" {replaced}"),
        &format!("0x80: \"name\" {replaced}"),
        "0xc0: chunk 0 of the blob \"blob\" belongs to no index",
        "0x3000: the page has the sequence number 0, like another page",
    ];
    check(&dump, &texts, &["count", "name", "blob", "last"]);
}

#[test]
fn blobs() {
    let dump = changed(|bytes| bytes[0x1000..0x2000].fill(0xff));
    check(&dump, &["0xc0: chunk 0 of the blob \"blob\" belongs to no index"], &["count", "name"]);
    let dump = changed(|bytes| bytes[BLOB] = 77);
    let item = dump.items.iter().find(|item| item.key == "blob").unwrap();
    assert!(item.damaged);
    let has = |wanted: &dyn Fn(&Fault) -> bool| dump.defects.iter().any(|d| wanted(&d.fault));
    assert!(has(&|fault| matches!(fault, Fault::NoChunk { chunk: 0, .. })));
    let dump = changed(|bytes| bytes.truncate(0x1234));
    let texts = [
        "0xc0: chunk 0 of the blob \"blob\" belongs to no index",
        "0x1000: the content ends after 564 bytes",
    ];
    let found: Vec<String> = dump.defects.iter().map(ToString::to_string).collect();
    assert!(texts.iter().all(|t| found.iter().any(|f| f.starts_with(t))), "{found:#?}");
}

#[test]
fn names() {
    let dump = changed(|bytes| bytes[64] = 3);
    assert_eq!(dump.items[0].namespace, "#1");
    let text = "0x60: \"count\" is in namespace 1, which has no name";
    assert!(dump.defects.iter().any(|defect| defect.to_string() == text), "{dump:#?}");
    assert_eq!(read(&[], None), Dump::default());
}

/// Every single byte of the first page set to zero: nothing panics, and each change is either
/// noticed or does not matter.
#[test]
fn any_byte() {
    let whole = changed(|_| {});
    for at in 0..BLOB + 64 {
        let dump = changed(|bytes| bytes[at] = 0);
        let same = dump.items == whole.items;
        assert!(same || !dump.defects.is_empty() || dump.pages != whole.pages, "{at:#x}");
    }
}
