//! Compressor for what the stub sends: blocks of the LZ4 format (LZ4 Block Format Description,
//! 2022), each of which may refer to the data before it.

/// Number of places that the compressor remembers.
pub const TABLE: usize = 1 << 12;

/// The format requires that the last five bytes are literals, and that the last match starts at
/// least twelve bytes before the end.
const LAST_LITERALS: usize = 5;
const MATCH_LIMIT: usize = 12;
const MIN_MATCH: usize = 4;

/// Compresses `data[from..]` to `out`, with `data[..from]` as the data before it. `table` holds
/// places in `data` and must not contain any that are wrong by more than their bytes differ: zeros
/// will do. `rest` is called now and then, so that other work can go on.
///
/// Returns the length, or `None` if `out` is too short.
pub fn compress(
    data: &[u8],
    from: usize,
    table: &mut [u16; TABLE],
    out: &mut [u8],
    mut rest: impl FnMut(),
) -> Option<usize> {
    let mut writer = Writer { out, len: 0 };
    let limit = data.len().saturating_sub(MATCH_LIMIT);
    let (mut at, mut anchor) = (from, from);
    while at < limit {
        let word = word_at(data, at)?;
        let slot = (word.wrapping_mul(2_654_435_761) >> 20) as usize & (TABLE - 1);
        let before = usize::from(table[slot]);
        table[slot] = at as u16;
        if before >= at || word_at(data, before)? != word {
            at += 1;
            if at & 31 == 0 {
                rest();
            }
            continue;
        }
        let end = data.len() - LAST_LITERALS;
        let mut len = MIN_MATCH;
        while at + len < end && data.get(before + len) == data.get(at + len) {
            len += 1;
        }
        writer.sequence(data.get(anchor..at)?, Some((at - before, len)))?;
        at += len;
        anchor = at;
        rest();
    }
    writer.sequence(data.get(anchor..)?, None)?;
    Some(writer.len)
}

fn word_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    /// Writes literals, and a match of this distance and length.
    fn sequence(&mut self, literals: &[u8], found: Option<(usize, usize)>) -> Option<()> {
        let extra = found.map_or(0, |(_, len)| len - MIN_MATCH);
        self.push((literals.len().min(15) << 4 | extra.min(15)) as u8)?;
        self.len_bytes(literals.len())?;
        for byte in literals {
            self.push(*byte)?;
        }
        if let Some((distance, _)) = found {
            self.push(distance as u8)?;
            self.push((distance >> 8) as u8)?;
            self.len_bytes(extra)?;
        }
        Some(())
    }

    /// Writes what a length has beyond the 15 of its token.
    fn len_bytes(&mut self, len: usize) -> Option<()> {
        if len < 15 {
            return Some(());
        }
        let mut left = len - 15;
        while left >= 255 {
            self.push(255)?;
            left -= 255;
        }
        self.push(left as u8)
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        *self.out.get_mut(self.len)? = byte;
        self.len += 1;
        Some(())
    }
}
