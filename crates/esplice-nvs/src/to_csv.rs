//! Writes the content of a partition as CSV.

use std::fmt::Write as _;

use crate::{
    Value,
    read::{Dump, Item},
};

/// A CSV, and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CsvText {
    /// The CSV, which [`crate::Csv::add`] reads.
    pub text: String,
    /// Namespaces and keys that are left out: damaged ones, and those that CSV can't express.
    pub left_out: Vec<String>,
}

/// Returns the content of a partition as CSV, grouped by namespace.
pub fn to_csv(dump: &Dump) -> CsvText {
    let mut csv = CsvText { text: "key,type,encoding,value\n".into(), ..CsvText::default() };
    let mut namespaces: Vec<&String> = dump.namespaces.iter().collect();
    for item in &dump.items {
        if !namespaces.contains(&&item.namespace) {
            namespaces.push(&item.namespace);
        }
    }
    for namespace in namespaces {
        let items = || dump.items.iter().filter(|item| item.namespace == *namespace);
        if !is_plain(namespace) || !dump.namespaces.contains(namespace) {
            let names = items().map(|item| format!("{namespace} {}", item.key));
            csv.left_out.extend(names);
            continue;
        }
        let _ = writeln!(csv.text, "{},namespace,,", quoted(namespace));
        for item in items() {
            match row(item) {
                Some(row) => csv.text.push_str(&row),
                None => csv.left_out.push(format!("{namespace} {}", item.key)),
            }
        }
    }
    csv
}

fn row(item: &Item) -> Option<String> {
    if item.damaged || !is_plain(&item.key) {
        return None;
    }
    let (encoding, value) = match &item.value {
        // Line ends are read as \n, and lines that begin with # are comments.
        Value::Text(text) if text.contains('\r') || text.contains("\n#") => return None,
        Value::Text(text) => ("string", quoted(text)),
        Value::Blob(bytes) => ("hex2bin", hex::encode(bytes)),
        number => (number.type_name(), number.to_string()),
    };
    Some(format!("{},data,{encoding},{value}\n", quoted(&item.key)))
}

/// Returns whether the CSV reader accepts a name.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() < 16 && !name.contains(char::is_control) && name.trim() == name
}

/// Returns a field, quoted if it has to be.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n']) || text.starts_with('#') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
