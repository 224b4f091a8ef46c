//! The interrupt matrix: maps sources to CPU interrupts and selects the pending one that is
//! reported to the CPU (TRM 8 Interrupt Matrix).

use super::clock::Tick;
use super::device::{Device, Fabric, Registers, Scope};

/// Number of CPU interrupts. Number 0 does not exist.
const CPU_INTERRUPTS: u32 = 32;
/// Number of sources for which there are map registers, 0x000 to 0x0f4.
const SOURCES: u32 = 62;

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
    sources: u64,
    map: [u8; SOURCES as usize],
    enable: u32,
    /// Interrupts that latch the rising edge; the others follow the level.
    edge: u32,
    latched: u32,
    priority: [u8; CPU_INTERRUPTS as usize],
    threshold: u8,
    level: u32,
}

impl Matrix {
    pub fn new() -> Self {
        Self {
            sources: 0,
            map: [0; SOURCES as usize],
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
        if source >= SOURCES {
            return false;
        }
        let sources = self.sources & !(1 << source) | u64::from(asserted) << source;
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

    fn pending(&self) -> u32 {
        (self.level & !self.edge | self.latched & self.edge) & self.enable & !1
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
}

impl InterruptMatrix {
    pub fn new(len: u32) -> Self {
        Self { registers: Registers::new(len) }
    }
}

impl Device for InterruptMatrix {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        let matrix = &fabric.matrix;
        match offset {
            STATUS_0 => matrix.sources as u32,
            STATUS_1 => (matrix.sources >> 32) as u32,
            EIP_STATUS => matrix.pending(),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.registers.set(offset, value);
        let matrix = &mut fabric.matrix;
        match offset {
            0..STATUS_0 => {
                if let Some(to) = matrix.map.get_mut((offset / 4) as usize) {
                    *to = (value & 31) as u8;
                }
            }
            ENABLE => matrix.enable = value,
            TYPE => matrix.edge = value,
            CLEAR => matrix.latched &= !value,
            PRIORITY_0..THRESHOLD => {
                if let Some(priority) =
                    matrix.priority.get_mut(((offset - PRIORITY_0) / 4) as usize)
                {
                    *priority = (value & 15) as u8;
                }
            }
            THRESHOLD => matrix.threshold = (value & 15) as u8,
            _ => {}
        }
        matrix.update();
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset(&[]);
            let sources = fabric.matrix.sources;
            fabric.matrix = Matrix { sources, ..Matrix::new() };
            fabric.matrix.update();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(settings: &[(u32, u8, u8)]) -> Matrix {
        let mut matrix = Matrix::new();
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
