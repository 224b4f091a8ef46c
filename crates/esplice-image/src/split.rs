//! Takes the content of a flash apart.

use std::ops::Range;

use esplice_chip::{ChipDb, FlashOffset};

use crate::{Extent, ImageReport, PartBody, PartitionTable, Write, inspect};

/// Splits `flash`, the content from offset 0, into bootloader, partition table, the content of each
/// partition, and everything outside of these, named after its offset. Erased bytes after a part
/// are left out, so [`merge`](crate::merge()) restores the same content from the parts, except for
/// erased bytes at its end. Without a partition table or a bootloader the content can't be split,
/// and the result is empty. The flash is that of one of `chips`.
pub fn split(flash: &[u8], chips: &ChipDb) -> Vec<Write> {
    let mut rest = Rest { flash, from: 0, parts: Vec::new() };
    for (name, place) in places(&inspect(flash, chips), flash) {
        rest.take(&name, place);
    }
    if !rest.parts.is_empty() {
        rest.unnamed(flash.len());
    }
    rest.parts
}

/// Returns names and ranges of everything that a partition table lists, in order.
fn places(report: &ImageReport, flash: &[u8]) -> Vec<(String, Range<usize>)> {
    let mut places = Vec::new();
    for part in report.parts.iter().filter(|_| report.parts.len() > 1) {
        let start = part.offset.0 as usize;
        match &part.body {
            PartBody::Table(table) => {
                places.push(("partition-table".to_owned(), start..start + PartitionTable::LEN));
                for row in &table.partitions {
                    let end = usize::try_from(row.end()).unwrap_or(usize::MAX);
                    places.push((row.name.clone(), row.offset.0 as usize..end));
                }
            }
            PartBody::Image(info) if places.is_empty() => {
                if let Some(end) = info.end {
                    places.push((part.name.clone(), start..start.saturating_add(end)));
                }
            }
            // Apps are listed in the table, and broken parts have no name.
            _ => {}
        }
    }
    places.retain(|(_, place)| place.start < flash.len());
    places.sort_by_key(|(_, place)| place.start);
    places
}

struct Rest<'f> {
    flash: &'f [u8],
    /// Offset of the first byte that is in no part yet.
    from: usize,
    parts: Vec<Write>,
}

impl Rest<'_> {
    /// Takes a range, and everything before it.
    fn take(&mut self, name: &str, place: Range<usize>) {
        self.unnamed(place.start);
        let start = place.start.max(self.from);
        let mut end = place.end.clamp(start, self.flash.len());
        let bytes = &self.flash[start..end];
        // If only erased bytes follow an image in its partition, they are left out. Otherwise they
        // belong to it.
        if let Ok(extent) = Extent::of(bytes)
            && bytes[extent.end..].iter().all(|byte| *byte == 0xff)
        {
            end = start + extent.end;
        } else {
            end = start + len_without_erased(bytes);
        }
        self.push(name, start..end);
        self.from = place.end.clamp(start, self.flash.len());
    }

    /// Takes everything before `until` that is not erased, sector by sector.
    fn unnamed(&mut self, until: usize) {
        let until = until.min(self.flash.len());
        let sector = PartitionTable::SECTOR_LEN as usize;
        let mut run: Option<Range<usize>> = None;
        while self.from < until {
            let start = self.from;
            let end = ((start / sector + 1) * sector).min(until);
            let len = len_without_erased(&self.flash[start..end]);
            run = match run {
                _ if len == 0 => {
                    run.into_iter().for_each(|run| self.push_unnamed(run));
                    None
                }
                Some(run) => Some(run.start..start + len),
                None => Some(start..start + len),
            };
            self.from = end;
        }
        run.into_iter().for_each(|run| self.push_unnamed(run));
    }

    fn push_unnamed(&mut self, place: Range<usize>) {
        let name = FlashOffset(place.start as u32).to_string();
        self.push(&name, place);
    }

    fn push(&mut self, name: &str, place: Range<usize>) {
        if place.is_empty() {
            return;
        }
        let offset = FlashOffset(place.start as u32);
        let part = Write::unnamed(offset, &self.flash[place]);
        self.parts.push(Write { name: name.to_owned(), ..part });
    }
}

/// Returns the length without erased bytes at the end.
fn len_without_erased(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1)
}
