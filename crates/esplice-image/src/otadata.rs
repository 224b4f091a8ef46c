//! otadata: the OTA slot that the second-stage bootloader starts.

/// One of the two records in an otadata partition. Each is at the start of a sector.
///
/// | byte | |
/// |---|---|
/// | 0–3 | sequence number, 0xFFFFFFFF when erased |
/// | 4–23 | label, unused |
/// | 24–27 | state |
/// | 28–31 | CRC-32 of the sequence number only |
///
/// Source: ESP-IDF components/bootloader_support/include/esp_flash_partitions.h.
#[doc(alias = "esp_ota_select_entry_t")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtaEntry {
    /// Sequence number; it selects slot (seq − 1) mod n.
    pub seq: u32,
    /// State, an `esp_ota_img_states_t`.
    pub state: u32,
    /// CRC-32 as stored.
    pub crc: u32,
}

/// Distance between the records in bytes: one flash sector.
const SECTOR: usize = 0x1000;
/// `ESP_OTA_IMG_INVALID` and `ESP_OTA_IMG_ABORTED` (same header file).
const REFUSED_STATES: [u32; 2] = [3, 4];

impl OtaEntry {
    /// Parses the record at the start of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        Some(Self { seq: word(0)?, state: word(24)?, crc: word(28)? })
    }

    /// Returns whether the bootloader accepts the record: written, CRC correct, not marked invalid
    /// or aborted.
    ///
    /// Source: ESP-IDF components/bootloader_support/src/bootloader_common.c.
    pub fn is_valid(&self) -> bool {
        self.seq != u32::MAX
            && self.seq != 0
            && !REFUSED_STATES.contains(&self.state)
            && self.crc == seq_crc(self.seq)
    }
}

/// Returns the slot that `otadata` (the partition's content) selects among `slots` OTA app
/// partitions. Returns `None` if no record is valid; the bootloader then falls back to factory or
/// the first slot.
pub fn booted_slot(otadata: &[u8], slots: u32) -> Option<u32> {
    [otadata.get(..), otadata.get(SECTOR..)]
        .into_iter()
        .flatten()
        .filter_map(OtaEntry::from_bytes)
        .filter(OtaEntry::is_valid)
        .map(|entry| entry.seq)
        .max()
        .and_then(|seq| (seq - 1).checked_rem(slots))
}

/// Returns the CRC-32 (reflected, polynomial 0xEDB88320) of the number's four bytes, with the
/// register starting at 0, as `esp_rom_crc32_le(UINT32_MAX, …)` does.
fn seq_crc(seq: u32) -> u32 {
    let mut crc = 0_u32;
    for byte in seq.to_le_bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otadata(first: Option<(u32, u32)>, second: Option<(u32, u32)>) -> Vec<u8> {
        let mut bytes = vec![0xff; 2 * SECTOR];
        for (at, entry) in [(0, first), (SECTOR, second)] {
            if let Some((seq, state)) = entry {
                bytes[at..at + 4].copy_from_slice(&seq.to_le_bytes());
                bytes[at + 24..at + 28].copy_from_slice(&state.to_le_bytes());
                bytes[at + 28..at + 32].copy_from_slice(&seq_crc(seq).to_le_bytes());
            }
        }
        bytes
    }

    /// Values seen in otadata partitions written by ESP-IDF's otatool.
    #[test]
    fn crc_is_the_roms() {
        assert_eq!(seq_crc(1), 0x4743_989a);
        assert_eq!(seq_crc(2), 0x55f6_3774);
    }

    #[test]
    fn the_highest_valid_record_decides() {
        const NEW: u32 = u32::MAX;
        let cases = [
            (otadata(None, None), 2, None),
            (otadata(Some((1, NEW)), None), 2, Some(0)),
            (otadata(Some((1, NEW)), Some((2, NEW))), 2, Some(1)),
            (otadata(Some((3, NEW)), Some((2, NEW))), 2, Some(0)),
            (otadata(Some((3, 3)), Some((2, NEW))), 2, Some(1)),
            (otadata(Some((3, NEW)), Some((4, 4))), 3, Some(2)),
            (otadata(Some((1, NEW)), None), 0, None),
            (vec![], 2, None),
            (vec![1; 40], 2, None),
        ];
        for (bytes, slots, expected) in cases {
            assert_eq!(booted_slot(&bytes, slots), expected, "{:02x?}", bytes.get(..32));
        }
    }
}
