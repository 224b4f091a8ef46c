//! Tests that a partition read back has the values that were written, also as CSV and encrypted.

use esplice_nvs::{Csv, Key, MakeOptions, Value, make, read, to_csv};

const TEXT: &str = "key,type,encoding,value
wifi,namespace,,
ssid,data,string,\"a, \"\"quoted\"\" name\"
poem,data,string,\"roses
are #red\"
empty,data,string,
least,data,i64,-9223372036854775808
most,data,u64,18446744073709551615
blob,data,base64,AAEC/w==
large,data,blob_fill(9000;0x5a),start
";

fn made(text: &str, options: &MakeOptions) -> Vec<u8> {
    let mut csv = Csv::default();
    csv.add(text, &mut |path| Err(path.to_owned())).unwrap();
    make(&csv, options).unwrap()
}

#[test]
fn values_are_read_back() {
    for key in [None, Some(Key::new([7; 64]))] {
        let mut options = MakeOptions::new(0x5000);
        options.key = key.clone();
        let dump = read(&made(TEXT, &options), key.as_ref());
        assert_eq!(dump.defects, []);
        let value = |name: &str| {
            let item = dump.items.iter().find(|item| item.key == name).unwrap();
            assert_eq!((item.namespace.as_str(), item.damaged), ("wifi", false));
            item.value.clone()
        };
        assert_eq!(value("ssid"), Value::Text("a, \"quoted\" name".into()));
        assert_eq!(value("poem"), Value::Text("roses\nare #red".into()));
        assert_eq!(value("empty"), Value::Text(String::new()));
        assert_eq!(value("least"), Value::I64(i64::MIN));
        assert_eq!(value("most"), Value::U64(u64::MAX));
        assert_eq!(value("blob"), Value::Blob(vec![0, 1, 2, 255]));
        let mut large = b"start".to_vec();
        large.resize(9000, 0x5a);
        assert_eq!(value("large"), Value::Blob(large));
    }
}

#[test]
fn csv_of_a_partition_makes_it_again() {
    let options = MakeOptions::new(0x5000);
    let bytes = made(TEXT, &options);
    let csv = to_csv(&read(&bytes, None));
    assert_eq!(csv.left_out, [""; 0]);
    assert_eq!(made(&csv.text, &options), bytes);
}

#[test]
fn without_its_key_a_partition_seems_encrypted() {
    let mut options = MakeOptions::new(0x5000);
    options.key = Some(Key::new([7; 64]));
    let bytes = made(TEXT, &options);
    assert!(read(&bytes, None).seems_encrypted());
    assert!(read(&bytes, Some(&Key::new([8; 64]))).seems_encrypted());
    assert!(!read(&bytes, options.key.as_ref()).seems_encrypted());
}

#[test]
fn keys_are_checked() {
    let key = Key::new(std::array::from_fn(|at| at as u8));
    let mut file = key.to_partition();
    assert_eq!(Key::from_bytes(&file).unwrap(), key);
    assert_eq!(Key::from_bytes(&file[..64]).unwrap(), key);
    file[3] ^= 1;
    let error = Key::from_bytes(&file).unwrap_err();
    assert!(error.to_string().starts_with("the checksum of the keys is 0x"), "{error}");
    for len in [0, 63, 65, 67] {
        let error = Key::from_bytes(&vec![1; len]).unwrap_err().to_string();
        assert!(error.ends_with(&format!("not {len} bytes")), "{error}");
    }
    assert_eq!(format!("{key:?}"), "Key(…)");
    let error = Key::from_hmac_key(&[1; 31]).unwrap_err().to_string();
    assert_eq!(error, "an HMAC key has 32 bytes, not 31");
}
