//! Tests the message for each mistake in a CSV file, with its line and column.

use esplice_nvs::{Csv, MakeOptions, Version, make};

const HEAD: &str = "key,type,encoding,value\n";

#[track_caller]
fn check(text: &str, message: &str, hint: &str) {
    let mut csv = Csv::default();
    let error = csv.add(text, &mut |_| Err("no such file".into())).unwrap_err();
    assert_eq!(error.to_string(), message);
    assert_eq!(error.hint().unwrap_or_default(), hint);
}

#[track_caller]
fn row(row: &str, message: &str, hint: &str) {
    check(&format!("{HEAD}a,namespace,,\n{row}\n"), message, hint);
}

#[test]
fn mistakes_in_the_file() {
    const COLUMNS: &str = "the columns are key,type,encoding,value";
    check("", "1:1: the file is empty", COLUMNS);
    check("# only\n\n# comments\n", "1:1: the file is empty", COLUMNS);
    check("\nkey,type,encoding\n", "2:1: the first line names no column \"value\"", COLUMNS);
    row("k,data,u8", "3:10: the row has 3 fields, 4 are required", COLUMNS);
    row(
        "k,data,string,\"abc\ndef",
        "3:15: the quoted field that begins here has no end",
        "end it with a quote, before a comma or the line's end",
    );
    row(
        "k,data,string,\"abc\" ",
        "3:20: ' ' follows the end of a quoted field",
        "write a quote within a quoted field twice: \"\"",
    );
}

#[test]
fn mistakes_in_names() {
    let most = "is not 1 to 15 bytes without control characters and outer blanks";
    row(",data,u8,1", &format!("3:1: key \"\" {most}"), "");
    row("sixteen_bytes_xx,data,u8,1", &format!("3:1: key \"sixteen_bytes_xx\" {most}"), "");
    row(" k,data,u8,1", &format!("3:1: key \" k\" {most}"), "");
    row("ÄÖÜäöüÄÖ,namespace,,", &format!("3:1: namespace \"ÄÖÜäöüÄÖ\" {most}"), "");
    row(
        "k,dta,u8,1",
        "3:3: type \"dta\" is not one of namespace, data, file",
        "did you mean \"data\"?",
    );
    row(
        "k,data,sting,1",
        "3:8: encoding \"sting\" is not one of u8, i8, u16, i16, u32, i32, u64, i64, string, \
         binary, hex2bin, base64, blob_fill(LEN;0xNN), blob_sz_fill(LEN;0xNN)",
        "did you mean \"string\"?",
    );
}

#[test]
fn mistakes_in_values() {
    let number = |text: &str, range: &str, encoding: &str| {
        let message = format!(
            "3:{}: {text:?} is not a decimal number from {range}, as {encoding} requires",
            9 + encoding.len()
        );
        row(&format!("k,data,{encoding},{text}"), &message, "");
    };
    number("256", "0 to 255", "u8");
    number("-1", "0 to 255", "u8");
    number("0x10", "0 to 65535", "u16");
    number("-129", "-128 to 127", "i8");
    number("", "-2147483648 to 2147483647", "i32");
    number("1__0", "0 to 4294967295", "u32");
    number("18446744073709551616", "0 to 18446744073709551615", "u64");
    number(&"9".repeat(40), "-9223372036854775808 to 9223372036854775807", "i64");
    row("k,data,hex2bin,01g2", "3:18: 'g' is not a hexadecimal digit", "");
    row("k,data,hex2bin,\"01\n2\"", "3:19: '\\n' is not a hexadecimal digit", "");
    row("k,data,hex2bin,123", "3:16: 3 hexadecimal digits are not whole bytes", "");
    row("k,data,base64,a*==", "3:15: the value is not base64: Invalid symbol 42, offset 1.", "");
    row(
        "k,data,blob_fill(2;0x00),abc",
        "3:26: the value has 3 bytes, more than the 2 of its encoding",
        "",
    );
    row(
        "k,data,blob_fill(99999999999999999999;0x00),abc",
        "3:8: a blob of 18446744073709551615 bytes is longer than 508000",
        "",
    );
    row(
        "k,file,binary,none.bin",
        "3:15: cannot read none.bin: no such file",
        "paths are relative to the current directory",
    );
}

#[test]
fn strings_are_text() {
    let mut csv = Csv::default();
    let text = format!("{HEAD}a,namespace,,\nk,file,string,odd.bin\n");
    let error = csv.add(&text, &mut |_| Ok(vec![0xff])).unwrap_err();
    assert_eq!(error.to_string(), "3:15: odd.bin is not UTF-8, so it can't be a string");
}

/// Rows that only the layout in pages refuses.
#[test]
fn records_that_do_not_fit() {
    #[track_caller]
    fn check(
        rows: &str,
        size: u32,
        version: Version,
        at: Option<usize>,
        message: &str,
        hint: &str,
    ) {
        let mut csv = Csv::default();
        csv.add(&format!("{HEAD}{rows}"), &mut |_| unreachable!()).unwrap();
        let mut options = MakeOptions::new(size);
        options.version = version;
        let error = make(&csv, &options).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.record), (message, at));
        assert_eq!(error.fault.hint().unwrap_or_default(), hint);
    }
    let v2 = Version::V2;
    let sizes = "is not a multiple of 0x1000 from 0x1000 to 0x4000000";
    for size in [0, 0x1800, 0x400_1000] {
        check("", size, v2, None, &format!("the size 0x{size:x} {sizes}"), "");
    }
    check(
        "k,data,u8,1\n",
        0x3000,
        v2,
        Some(0),
        "key \"k\" belongs to no namespace",
        "write a row NAME,namespace,, before the first key",
    );
    check(
        "a,namespace,,\nk,data,u8,1\nb,namespace,,\nk,data,u8,1\na,namespace,,\nk,data,u8,2\n",
        0x3000,
        v2,
        Some(5),
        "key \"k\" is already in namespace \"a\"",
        "",
    );
    let names: String = (0..255).map(|n| format!("n{n},namespace,,\n")).collect();
    check(&names, 0x8000, v2, Some(254), "a partition holds at most 254 namespaces", "");
    let long = format!("a,namespace,,\nk,data,string,{}\n", "x".repeat(4000));
    check(
        &long,
        0x8000,
        v2,
        Some(1),
        "string \"k\" has 4001 bytes, 4000 is the most",
        "store it as a blob, with the encoding binary",
    );
    let blob = "a,namespace,,\nk,data,blob_fill(1985;0x00),\n";
    check(blob, 0x8000, Version::V1, Some(1), "blob \"k\" has 1985 bytes, 1984 is the most", "");
    let rows = "a,namespace,,\nj,data,u8,1\nk,data,blob_fill(9000;0x00),\nl,data,u8,1\n";
    for (size, needed) in [(0x1000, 0x4000), (0x3000, 0x4000)] {
        check(
            rows,
            size,
            v2,
            Some(2),
            &format!("the values need a partition of 0x{needed:x} bytes, not 0x{size:x}"),
            &format!("use --size 0x{needed:x}"),
        );
    }
    let rows = "a,namespace,,\nk,data,blob_fill(4500;0x00),\n";
    let text = "the values need a partition of 0x2000 bytes, not 0x1000";
    check(rows, 0x1000, v2, Some(1), text, "use --size 0x2000");
}

/// A blob of the maximum length, after which no chunk number is left.
#[test]
fn the_longest_blob() {
    let mut csv = Csv::default();
    let rows = "a,namespace,,\nk,data,blob_fill(508000;0x11),\n";
    csv.add(&format!("{HEAD}{rows}"), &mut |_| unreachable!()).unwrap();
    let bytes = make(&csv, &MakeOptions::new(0x90000));
    let error = bytes.unwrap_err().to_string();
    assert_eq!(error, "blob \"k\" of 508000 bytes would be in more than 127 pages");
}
