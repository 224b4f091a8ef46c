//! Displays partition tables as text.

use std::fmt;

use crate::PartitionTable;

impl fmt::Display for PartitionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for p in &self.partitions {
            let row = format!(
                "{:<16} {:<5} {:<9} {:>8} {:>8} {}",
                p.name,
                p.kind_name(),
                p.subtype_name(),
                p.offset.to_string(),
                format!("0x{:x}", p.len),
                p.flag_names().join(":"),
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}
