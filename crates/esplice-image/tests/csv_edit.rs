//! Tests editing of CSV tables in place.

use esplice_chip::FlashOffset;
use esplice_image::{CsvColumn, CsvEditError, CsvOptions, PartitionTable};

const TABLE: &str = "# Name,   Type, SubType, Offset,  Size, Flags\r\n\
nvs,      data, nvs,     ,        24K,\r\n\
\r\n\
# Two slots for updates.\r\n\
ota_0,    app,  ota_0,   ,        1536K,\r\n\
ota_1,    app,  ota_1,   0x200000, 1536K\r\n";

fn edit(name: &str, values: &[(CsvColumn, &str)]) -> Result<String, CsvEditError> {
    let options = CsvOptions::new(FlashOffset(0x8000));
    let values: Vec<_> = values.iter().map(|(column, value)| (*column, (*value).into())).collect();
    PartitionTable::edit_csv(TABLE, name, &values, &options).map(|(text, _)| text)
}

#[test]
fn only_the_field_changes() {
    let text = edit("ota_0", &[(CsvColumn::Size, "1M")]).unwrap();
    assert_eq!(text, TABLE.replacen("1536K,", "1M   ,", 1));
    let text = edit("nvs", &[(CsvColumn::Offset, "0x9000")]).unwrap();
    let row = "nvs,      data, nvs,     ,        24K,";
    assert_eq!(text, TABLE.replace(row, "nvs,      data, nvs, 0x9000,        24K,"));
    // A missing field is added.
    let text = edit("ota_1", &[(CsvColumn::Flags, "encrypted")]).unwrap();
    assert!(text.ends_with("0x200000, 1536K, encrypted\r\n"), "{text}");
    // Several values at once, and a name of another width.
    let text = edit("ota_1", &[(CsvColumn::Name, "second"), (CsvColumn::Size, "1024K")]).unwrap();
    assert!(text.contains("\r\nsecond,    app,  ota_1,   0x200000, 1024K\r\n"), "{text}");
}

#[test]
fn mistakes() {
    let error = |name: &str, column: CsvColumn, value: &str| {
        let error = edit(name, &[(column, value)]).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default())
    };
    let (message, hint) = error("ota_2", CsvColumn::Size, "1M");
    assert_eq!(
        (message.as_str(), hint.starts_with("did you mean \"ota_")),
        ("no partition is called \"ota_2\"", true)
    );
    assert_eq!(error("nvs", CsvColumn::Size, "1M,").0, "\"1M,\" can't be a field of CSV");
    let (message, _) = error("nvs", CsvColumn::Size, "large");
    assert!(message.starts_with("2:35: size \"large\" is not a number"), "{message}");
    let (message, hint) = error("ota_0", CsvColumn::Size, "2M");
    assert_eq!(
        message,
        "6:26: partition ota_1 at 0x200000 begins before 0x210000, where the previous one ends"
    );
    assert_eq!(hint, "use 0x210000 or more, or leave the offset empty");
}
