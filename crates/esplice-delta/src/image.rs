//! The segments of an app image, as far as a patch needs them.

/// Length of an app image's header, which is followed by the segments, and of a segment's header
/// (ESP-IDF Programming Guide, "App Image Format").
pub(crate) const HEADER_LEN: u32 = 24;
pub(crate) const SEGMENT_HEADER_LEN: u32 = 8;
/// First byte of an app image.
const MAGIC: u8 = 0xe9;
/// The loader takes no image with more segments (ESP_IMAGE_MAX_SEGMENTS in ESP-IDF).
pub(crate) const MAX_SEGMENTS: usize = 16;

/// A segment: its place in the file and in memory.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub offset: u32,
    pub addr: u32,
    pub len: u32,
}

impl Segment {
    fn end(self) -> u32 {
        self.offset.saturating_add(self.len)
    }
}

/// The segments of an image, in the order of the file.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Segments {
    list: [Segment; MAX_SEGMENTS],
    len: u8,
    /// A bit for each segment that consists of instructions.
    pub code: u16,
}

impl Segments {
    pub const NONE: Segments =
        Segments { list: [Segment { offset: 0, addr: 0, len: 0 }; MAX_SEGMENTS], len: 0, code: 0 };

    /// Reads the segments of an image of `image_len` bytes. Returns none if it is not an app image
    /// or if a segment is not inside it.
    pub fn parse<E>(
        image_len: u32,
        mut read: impl FnMut(u32, &mut [u8]) -> Result<(), E>,
    ) -> Result<Segments, E> {
        let mut found = Segments::NONE;
        if image_len < HEADER_LEN {
            return Ok(found);
        }
        let mut head = [0; 2];
        read(0, &mut head)?;
        if head[0] != MAGIC || usize::from(head[1]) > MAX_SEGMENTS {
            return Ok(found);
        }
        for _ in 0..head[1] {
            let at = found.next_offset() - SEGMENT_HEADER_LEN;
            let mut words = [0; SEGMENT_HEADER_LEN as usize];
            if image_len - at < SEGMENT_HEADER_LEN {
                return Ok(Segments::NONE);
            }
            read(at, &mut words)?;
            let [a, b, c, d, e, f, g, h] = words;
            let (addr, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
            if !found.push(addr, len, image_len) {
                return Ok(Segments::NONE);
            }
        }
        Ok(found)
    }

    /// Appends a segment. Returns `false` if it is not inside an image of `image_len` bytes.
    pub fn push(&mut self, addr: u32, len: u32, image_len: u32) -> bool {
        let offset = self.next_offset();
        let is_inside = offset <= image_len && len <= image_len - offset;
        let Some(place) = self.list.get_mut(usize::from(self.len)) else { return false };
        if !is_inside || addr.checked_add(len).is_none() {
            return false;
        }
        *place = Segment { offset, addr, len };
        self.len += 1;
        true
    }

    fn next_offset(&self) -> u32 {
        let end = self.all().last().map_or(HEADER_LEN, |last| last.end());
        end.saturating_add(SEGMENT_HEADER_LEN)
    }

    pub fn all(&self) -> &[Segment] {
        &self.list[..usize::from(self.len)]
    }

    pub fn is_code(&self, index: usize) -> bool {
        self.code >> index & 1 == 1
    }

    /// Returns the index of the segment that contains a byte of the file.
    pub fn index_at(&self, offset: u32) -> Option<usize> {
        self.all().iter().position(|s| s.offset <= offset && offset < s.end())
    }

    /// Returns the offset of the first segment after a byte of the file.
    pub fn start_after(&self, offset: u32) -> Option<u32> {
        self.all().iter().map(|s| s.offset).find(|start| *start > offset)
    }

    pub fn addr_of(&self, offset: u32) -> Option<u32> {
        let segment = self.all()[self.index_at(offset)?];
        Some(segment.addr + (offset - segment.offset))
    }

    pub fn offset_of(&self, addr: u32) -> Option<u32> {
        let segment = self.all().iter().find(|s| addr.wrapping_sub(s.addr) < s.len)?;
        Some(segment.offset + (addr - segment.addr))
    }

    /// Returns whether a word may be an address: one in the same megabyte as a segment's start or
    /// end. This includes variables without initial values, which have no segment.
    pub fn is_near(&self, addr: u32) -> bool {
        const MEGABYTE: u32 = 20;
        self.all().iter().any(|s| {
            addr >> MEGABYTE == s.addr >> MEGABYTE
                || addr >> MEGABYTE == (s.addr + s.len) >> MEGABYTE
        })
    }
}
