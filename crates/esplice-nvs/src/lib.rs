//! NVS partitions: the storage of keys and values in ESP-IDF.
//!
//! [`Csv`] reads the rows that describe a partition, [`make`] lays them out in pages, and [`read`]
//! reads the content of a partition back, even if pages of it are damaged. A [`Key`] encrypts and
//! decrypts. All functions take bytes and return values; the caller opens files.
//!
//! The CSV dialect is that of ESP-IDF's generator (`esp-idf-nvs-partition-gen`), and the bytes equal
//! those that it makes.
//!
//! ```
//! use esplice_nvs::{Csv, MakeOptions, make, read};
//!
//! let mut csv = Csv::default();
//! let text = "key,type,encoding,value\nstorage,namespace,,\nlimit,data,u16,500\n";
//! csv.add(text, &mut |path| Err(format!("there is no {path}")))?;
//! let bytes = make(&csv, &MakeOptions::new(0x3000))?;
//! let dump = read(&bytes, None);
//! assert!(dump.defects.is_empty());
//! assert_eq!((dump.items[0].key.as_str(), dump.items[0].value.to_string()), ("limit", "500".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod csv;
mod csv_error;
mod csv_rows;
mod defect;
mod format;
mod key;
mod make;
mod read;
mod to_csv;
mod value;
mod wifi;

pub use csv::{Csv, Line, Record};
pub use csv_error::{CsvError, CsvFault};
pub use defect::{Defect, Fault};
pub use format::{PAGE_LEN, PageState, Version};
pub use key::{Key, KeyError};
pub use make::{LARGEST_BLOB, MakeError, MakeFault, MakeOptions, make};
pub use read::{Dump, Item, Page, read};
pub use to_csv::{CsvText, to_csv};
pub use value::Value;
