//! Tests `esplice nvs`: partitions from CSV files, and what files and boards contain.

use std::{fs, path::Path};

use crate::support::{Said, built_hello, result, run};

const CSV: &str = "key,type,encoding,value
device,namespace,,
serial,data,u32,7
name,data,string,\"Kitchen, left\"
blob,data,blob_fill(5000;0x5a),
";

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.csv"), CSV).unwrap();
    directory
}

fn make(at: &Path, more: &str) -> Said {
    run(at, &format!("nvs make a.csv -o nvs.bin {more}"))
}

#[test]
fn a_partition_is_made_and_shown() {
    let directory = directory();
    let at = directory.path();
    let said = make(at, "--size 24K").check(0, &[]);
    assert_eq!(said.out, "nvs.bin: 3 keys in 2 of 6 pages\n");
    assert_eq!(fs::metadata(at.join("nvs.bin")).unwrap().len(), 0x6000);
    let said = run(at, "nvs show nvs.bin --pages").check(0, &[]);
    let filler = "5a".repeat(16);
    let expected = format!(
        "offset   state    sequence  version  written  erased  free\n\
         0x0      full            0        2      126       0     0\n\
         0x1000   active          1        2       38       0    88\n\
         0x2000   empty           -        -        0       0   126\n\
         0x3000   empty           -        -        0       0   126\n\
         0x4000   empty           -        -        0       0   126\n\
         0x5000   empty           -        -        0       0   126\n\n\
         namespace  key     type    value\n\
         device     serial  u32     7\n\
         device     name    string  \"Kitchen, left\"\n\
         device     blob    blob    5000 bytes: {filler}…\n"
    );
    assert_eq!(said.out, expected);
    let value = &result(&run(at, "nvs show nvs.bin --format json"))["value"];
    assert_eq!(value["items"][0]["value"], 7);
    assert_eq!(value["items"][1]["value"], "Kitchen, left");
    assert_eq!(value["items"][2]["value"].as_str().unwrap().len(), 10_000);
    assert_eq!(value["pages"][0]["state"], "full");

    // As CSV and back.
    let csv = run(at, "nvs show nvs.bin --csv").check(0, &[]).out;
    fs::write(at.join("again.csv"), csv).unwrap();
    run(at, "nvs make again.csv -o again.bin --size 0x6000").check(0, &[]);
    assert_eq!(fs::read(at.join("again.bin")).unwrap(), fs::read(at.join("nvs.bin")).unwrap());
}

#[test]
fn the_size_may_come_from_a_partition_table() {
    let directory = directory();
    let at = directory.path();
    fs::write(at.join("t.csv"), "nvs,data,nvs,,16K\nmore,data,nvs,,12K\n").unwrap();
    let said = make(at, "--partition-table t.csv --format json").check(0, &[]);
    assert_eq!(result(&said)["value"]["len"], 0x4000);
    make(at, "--partition-table t.csv --partition more").check(0, &[]);
    assert_eq!(fs::metadata(at.join("nvs.bin")).unwrap().len(), 0x3000);
    make(at, "--partition-table t.csv --partition other")
        .check(3, &["t.csv has no partition \"other\"", "selects one of nvs, more"]);
}

#[test]
fn an_encrypted_partition_needs_its_key() {
    let directory = directory();
    let at = directory.path();
    make(at, "--size 0x6000 --new-key keys.bin").check(0, &["The keys are in keys.bin"]);
    assert_eq!(fs::metadata(at.join("keys.bin")).unwrap().len(), 0x1000);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(at.join("keys.bin")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let said = run(at, "nvs show nvs.bin --key keys.bin").check(0, &[]);
    assert!(said.out.contains("Kitchen, left"), "{said:#?}");
    run(at, "nvs show nvs.bin")
        .check(3, &["nvs.bin: most entries have wrong checksums", "pass its keys with --key"]);
    let first = fs::read(at.join("nvs.bin")).unwrap();
    make(at, "--size 0x6000 --key keys.bin").check(0, &[]);
    assert_eq!(fs::read(at.join("nvs.bin")).unwrap(), first);
    make(at, "--size 0x6000 --new-key keys.bin")
        .check(2, &["keys.bin exists already, and keys are not replaced"]);
    make(at, "--size 0x6000 --key a.csv").check(3, &["a.csv: the checksum of the keys is 0x"]);
    fs::write(at.join("hmac.bin"), [7; 32]).unwrap();
    make(at, "--size 0x6000 --hmac-key hmac.bin").check(0, &[]);
    run(at, "nvs show nvs.bin --hmac-key hmac.bin").check(0, &[]);
    make(at, "--size 0x6000 --hmac-key a.csv").check(3, &["an HMAC key has 32 bytes, not "]);
}

#[test]
fn mistakes_are_reported_with_their_place() {
    let directory = directory();
    let at = directory.path();
    let wrong = |text: &str, words: &str, exit: i32, told: &[&str]| {
        fs::write(at.join("b.csv"), text).unwrap();
        run(at, &format!("nvs make {words} -o out.bin")).check(exit, told);
        assert!(!at.join("out.bin").exists());
    };
    let head = "key,type,encoding,value\n";
    let size = "--size 0x3000";
    let row = |row: &str| format!("{head}n,namespace,,\n{row}\n");
    wrong(&row("k,data,u8,256"), &format!("b.csv {size}"), 3, &["b.csv:3:11: \"256\" is not"]);
    wrong(&row("k,data,u9,256"), &format!("b.csv {size}"), 3, &["b.csv:3:8: encoding \"u9\" is"]);
    wrong(
        &row("k,file,binary,gone.bin"),
        &format!("b.csv {size}"),
        3,
        &["b.csv:3:15: cannot read gone.bin: ", "hint: paths are relative"],
    );
    wrong(
        &format!("{head}device,namespace,,\nserial,data,u8,1\n"),
        &format!("a.csv b.csv {size}"),
        3,
        &[
            "b.csv:3:1: key \"serial\" is already in namespace \"device\"",
            "hint: it is set first at a.csv:3:1",
        ],
    );
    wrong(
        &row("sta.ssid,data,string,x\nsta.pmk,data,hex2bin,00"),
        &format!("b.csv {size}"),
        3,
        &["b.csv:4:1: key \"sta.pmk\" is already", "adds this key to the settings of Wi-Fi"],
    );
    wrong(
        &row("k,data,blob_fill(9000;0x00),"),
        &format!("b.csv {size}"),
        6,
        &[
            "b.csv:3:1: the values need a partition of 0x4000 bytes, not 0x3000",
            "use --size 0x4000",
        ],
    );
    wrong(head, "b.csv --size 0x1800", 2, &["the size 0x1800 is not a multiple of 0x1000"]);
    wrong("", "nothing.csv --size 0x3000", 3, &["cannot read nothing.csv"]);
    fs::write(at.join("latin.csv"), b"key,type,encoding,value\nn\xfcn,namespace,,\n").unwrap();
    run(at, "nvs make latin.csv --size 0x3000 -o out.bin")
        .check(3, &["latin.csv:2: the line is not UTF-8"]);
    run(at, "nvs make a.csv --size 0x3000 -o a.csv")
        .check(2, &["a.csv is the input and the output"]);
    make(at, "--size 0x6000 --new-key nvs.bin")
        .check(2, &["can't hold the partition and its keys"]);
}

#[test]
fn defects_are_warnings_and_the_rest_is_shown() {
    let directory = directory();
    let at = directory.path();
    make(at, "--size 0x6000").check(0, &[]);
    let mut bytes = fs::read(at.join("nvs.bin")).unwrap();
    // The value of `serial`.
    bytes[64 + 32 + 24] ^= 1;
    fs::write(at.join("nvs.bin"), &bytes).unwrap();
    let said = run(at, "nvs show nvs.bin")
        .check(3, &["warning: 0x60: entry 1 has the checksum", "nvs.bin has a defect"]);
    assert!(said.out.contains("Kitchen") && !said.out.contains("serial"), "{said:#?}");
    fs::write(at.join("nvs.bin"), &bytes[..0x1800]).unwrap();
    run(at, "nvs show nvs.bin").check(3, &["0x1000: the content ends after 2048 bytes"]);
    fs::write(at.join("nvs.bin"), "").unwrap();
    run(at, "nvs show nvs.bin").check(3, &["nvs.bin is empty"]);
}

/// Firmware can only read a partition of one or two pages.
#[test]
fn a_small_partition_is_read_only() {
    let directory = directory();
    let at = directory.path();
    let warning = "warning: firmware can only read a partition of 0x2000 bytes";
    make(at, "--size 0x2000").check(0, &[warning]);
}

#[test]
fn a_board_is_read_by_the_name_of_the_partition() {
    let directory = built_hello("Hello\n");
    let at = directory.path();
    fs::write(at.join("a.csv"), CSV).unwrap();
    make(at, "--size 0x6000").check(0, &[]);
    let port = "--port sim:esp32c3,flash=board.flash,time=none";
    run(at, &format!("flash hello.bin {port}")).check(0, &[]);
    run(at, &format!("partition write nvs nvs.bin {port}")).check(0, &[]);
    let said = run(at, &format!("nvs show {port}")).check(0, &[]);
    assert!(said.out.contains("device     serial  u32     7\n"), "{said:#?}");
    let same = run(at, "nvs show --image board.flash").check(0, &[]);
    assert_eq!(said.out, format!("Chip is ESP32-C3 (revision v0.4)\n{}", same.out));
    run(at, &format!("nvs show --partition nsv {port}")).check(6, &["nsv"]);
}
