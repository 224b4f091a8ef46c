//! Baud rate detection of a UART: counts edges and keeps the shortest low and high pulses, in
//! clocks of the UART (TRM 25.3.3.3 Baud Rate Detection).

use super::device::LineByte;

/// The pulse counters have 12 bits, the edge counter has 10.
const LONGEST: u32 = 0xfff;
const MOST_EDGES: u32 = 0x3ff;

/// Measurements since the detection was enabled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Autobaud {
    /// RXD_CNT.
    pub edges: u32,
    /// LOWPULSE: clocks of the shortest low pulse, minus one.
    pub low: u32,
    /// HIGHPULSE: clocks of the shortest high pulse, minus one.
    pub high: u32,
    /// Number of high bits at the end of the last byte.
    last: Option<u32>,
}

impl Autobaud {
    pub fn new() -> Self {
        Self { edges: 0, low: LONGEST, high: LONGEST, last: None }
    }

    /// Measures a byte on the line. `clock` is the UART's in Hz.
    pub fn measure(&mut self, byte: &LineByte, clock: u64) {
        let bit = clock / u64::from(byte.baud.max(1));
        let width =
            |bits: u32| (bit * u64::from(bits)).saturating_sub(1).min(u64::from(LONGEST)) as u32;
        // Start bit, data bits with the lowest first, stop bit.
        let frame = u32::from(byte.byte) << 1 | 1 << 9;
        // The line has been high since the last byte, for at least the high bits at its end.
        if let Some(bits) = self.last {
            self.high = self.high.min(width(bits));
        }
        let mut level = 1;
        let mut run = 0;
        for at in 0..10 {
            let next = frame >> at & 1;
            if next != level {
                self.edges = (self.edges + 1).min(MOST_EDGES);
                match (level, run) {
                    (_, 0) => {}
                    (0, run) => self.low = self.low.min(width(run)),
                    (_, run) => self.high = self.high.min(width(run)),
                }
                (level, run) = (next, 0);
            }
            run += 1;
        }
        self.last = Some(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: u64 = 40_000_000;

    fn check(bytes: &[u8], baud: u32, edges: u32, low: u32, high: u32) {
        let mut autobaud = Autobaud::new();
        for byte in bytes {
            autobaud.measure(&LineByte { done: 0, byte: *byte, baud }, CLOCK);
        }
        assert_eq!((autobaud.edges, autobaud.low, autobaud.high), (edges, low, high), "{bytes:?}");
    }

    #[test]
    fn pulses_are_measured_in_clocks() {
        check(&[], 115_200, 0, 0xfff, 0xfff);
        // Ten edges per byte; each pulse is one bit of 347 clocks.
        check(&[0x55; 3], 115_200, 30, 346, 346);
        // One low pulse of nine bits; high for one bit between two of them.
        check(&[0, 0], 115_200, 4, 9 * 347 - 1, 346);
        check(&[0xff], 115_200, 2, 346, 0xfff);
        check(&[0x55; 200], 921_600, 0x3ff, 42, 42);
        check(&[0x55], 300, 10, 0xfff, 0xfff);
    }
}
