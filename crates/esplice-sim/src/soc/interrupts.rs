//! The interrupt matrix: maps sources to CPU interrupts and selects the pending one that is
//! reported to the CPU (TRM 8 Interrupt Matrix).

use esplice_chip::Peripheral;

use super::clock::Tick;
use super::device::{Device, Fabric, Registers, Scope};

/// Number of CPU interrupts. Number 0 does not exist.
const CPU_INTERRUPTS: u32 = 32;
/// Most sources that a chip can have.
const MOST_SOURCES: u32 = 128;

/// Registers after those of the map, as of the ESP32-C3, which has 62 sources. Chips with fewer
/// sources have them at lower offsets.
const STATUS_0: u32 = 0xf8;
const STATUS_1: u32 = 0xfc;
pub(crate) const ENABLE: u32 = 0x104;
pub(crate) const TYPE: u32 = 0x108;
const CLEAR: u32 = 0x10c;
const EIP_STATUS: u32 = 0x110;
pub(crate) const PRIORITY_0: u32 = 0x114;
pub(crate) const THRESHOLD: u32 = 0x194;

/// State of the matrix.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    /// Asserted sources.
    sources: u128,
    /// CPU interrupt of each source.
    map: Vec<u8>,
    enable: u32,
    /// Interrupts that latch the rising edge; the others follow the level.
    edge: u32,
    latched: u32,
    priority: [u8; CPU_INTERRUPTS as usize],
    threshold: u8,
    level: u32,
}

impl Matrix {
    /// Creates a matrix for this number of sources, at most 128.
    pub fn new(sources: u32) -> Self {
        Self {
            sources: 0,
            map: vec![0; sources.min(MOST_SOURCES) as usize],
            enable: 0,
            edge: 0,
            latched: 0,
            priority: [0; CPU_INTERRUPTS as usize],
            threshold: 0,
            level: 0,
        }
    }

    /// Sets or clears a source. Returns whether that may change the CPU's interrupts.
    pub fn set_source(&mut self, source: u32, asserted: bool) -> bool {
        if source as usize >= self.map.len() {
            return false;
        }
        let sources = self.sources & !(1 << source) | u128::from(asserted) << source;
        let changed = sources != self.sources;
        self.sources = sources;
        if changed {
            self.update();
        }
        changed
    }

    /// Returns the CPU interrupt to be taken next as a bit, or 0 if there is none. For equal
    /// priorities, the lower number comes first (TRM 8.3.4.4).
    pub fn chosen(&self) -> u32 {
        let mut best: Option<(u8, u32)> = None;
        let mut pending = self.pending();
        while pending != 0 {
            let number = pending.trailing_zeros();
            pending &= pending - 1;
            let priority = self.priority[number as usize];
            if priority > 0
                && priority >= self.threshold
                && best.is_none_or(|(highest, _)| priority > highest)
            {
                best = Some((priority, number));
            }
        }
        best.map_or(0, |(_, number)| 1 << number)
    }

    /// Returns the CPU interrupts that are pending and enabled.
    pub(super) fn pending(&self) -> u32 {
        (self.level & !self.edge | self.latched & self.edge) & self.enable & !1
    }

    /// Returns the state of 32 sources.
    pub(super) fn status(&self, word: u32) -> u32 {
        self.sources.checked_shr(32 * word).unwrap_or(0) as u32
    }

    /// Maps a source to a CPU interrupt.
    pub(super) fn set_map(&mut self, source: u32, interrupt: u32) {
        if let Some(to) = self.map.get_mut(source as usize) {
            *to = (interrupt & 31) as u8;
        }
        self.update();
    }

    /// Sets the enabled CPU interrupts.
    pub(super) fn set_enabled(&mut self, interrupts: u32) {
        self.enable = interrupts;
    }

    /// Sets the CPU interrupts that latch an edge.
    pub(super) fn set_edge(&mut self, interrupts: u32) {
        self.edge = interrupts;
        self.update();
    }

    /// Clears latched CPU interrupts.
    pub(super) fn clear(&mut self, interrupts: u32) {
        self.latched &= !interrupts;
        self.update();
    }

    /// Sets the priority of a CPU interrupt.
    pub(super) fn set_priority(&mut self, interrupt: u32, priority: u32) {
        if let Some(to) = self.priority.get_mut(interrupt as usize) {
            *to = (priority & 15) as u8;
        }
    }

    /// Sets the lowest priority that is reported.
    pub(super) fn set_threshold(&mut self, priority: u32) {
        self.threshold = (priority & 15) as u8;
    }

    /// Sets everything except the sources to its reset state.
    pub(super) fn reset(&mut self) {
        *self = Matrix { sources: self.sources, ..Matrix::new(self.map.len() as u32) };
        self.update();
    }

    fn update(&mut self) {
        let mut level = 0;
        let mut sources = self.sources;
        while sources != 0 {
            let source = sources.trailing_zeros();
            sources &= sources - 1;
            level |= 1_u32 << self.map[source as usize];
        }
        self.latched |= level & !self.level & self.edge;
        self.level = level;
    }
}

/// The registers of the interrupt matrix.
#[derive(Clone)]
pub(crate) struct InterruptMatrix {
    registers: Registers,
    /// Difference between the offsets of the registers after the map and those of the ESP32-C3.
    shift: u32,
}

impl InterruptMatrix {
    /// Creates the registers of a matrix with this number of sources.
    pub fn new(device: &Peripheral, sources: u32) -> Self {
        let shift = STATUS_0.saturating_sub(4 * sources);
        Self { registers: Registers::of(device), shift }
    }

    /// Returns the offset that a register has on the ESP32-C3.
    fn usual(&self, offset: u32) -> u32 {
        if offset + self.shift < STATUS_0 { offset } else { offset + self.shift }
    }
}

impl Device for InterruptMatrix {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        let matrix = &fabric.matrix;
        match self.usual(offset) {
            STATUS_0 => matrix.status(0),
            STATUS_1 => matrix.status(1),
            EIP_STATUS => matrix.pending(),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.registers.set(offset, value);
        let matrix = &mut fabric.matrix;
        let offset = self.usual(offset);
        match offset {
            0..STATUS_0 => matrix.set_map(offset / 4, value),
            ENABLE => matrix.set_enabled(value),
            TYPE => matrix.set_edge(value),
            CLEAR => matrix.clear(value),
            PRIORITY_0..THRESHOLD => matrix.set_priority((offset - PRIORITY_0) / 4, value),
            THRESHOLD => matrix.set_threshold(value),
            _ => {}
        }
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            fabric.matrix.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(settings: &[(u32, u8, u8)]) -> Matrix {
        let mut matrix = Matrix::new(62);
        for &(source, number, priority) in settings {
            matrix.map[source as usize] = number;
            matrix.priority[usize::from(number)] = priority;
            matrix.enable |= 1 << number;
        }
        matrix
    }

    #[test]
    fn priority_decides_then_the_number() {
        let mut m = matrix(&[(21, 5, 1), (37, 9, 3), (50, 7, 3)]);
        assert_eq!(m.chosen(), 0);
        m.set_source(21, true);
        assert_eq!(m.chosen(), 1 << 5);
        m.set_source(37, true);
        assert_eq!(m.chosen(), 1 << 9);
        m.set_source(50, true);
        assert_eq!(m.chosen(), 1 << 7);
        m.threshold = 4;
        assert_eq!(m.chosen(), 0);
        m.threshold = 3;
        m.set_source(50, false);
        assert_eq!(m.chosen(), 1 << 9);
    }

    #[test]
    fn an_edge_stays_until_cleared() {
        let mut m = matrix(&[(21, 5, 1)]);
        m.edge = 1 << 5;
        m.set_source(21, true);
        m.set_source(21, false);
        assert_eq!(m.chosen(), 1 << 5);
        m.latched = 0;
        assert_eq!(m.chosen(), 0);
    }

    #[test]
    fn interrupt_0_and_priority_0_never_come() {
        let mut m = matrix(&[(21, 0, 15), (22, 4, 0)]);
        m.set_source(21, true);
        m.set_source(22, true);
        m.set_source(200, true);
        assert_eq!(m.chosen(), 0);
    }
}
