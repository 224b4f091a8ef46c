//! Interrupts of chips with a PLIC: the matrix that maps sources to CPU interrupts, the PLIC that
//! enables them and gives them priorities, and the software interrupts (names and bits as in the
//! crate esp32c6, `interrupt_core0`, `plic_mx` and `intpri`).

use esplice_chip::Peripheral;

use super::{
    clock::Tick,
    device::{Device, Fabric, Registers, Scope},
};

/// The matrix: a map register for each source, then status registers of 32 sources each.
#[derive(Clone)]
pub(crate) struct SourceMap {
    registers: Registers,
    sources: u32,
}

impl SourceMap {
    /// Creates the matrix of this number of sources.
    pub fn new(device: &Peripheral, sources: u32) -> Self {
        Self { registers: Registers::of(device), sources }
    }
}

impl Device for SourceMap {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        match (offset / 4).checked_sub(self.sources) {
            Some(word) if word < self.sources.div_ceil(32) => fabric.matrix.status(word),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.registers.set(offset, value);
        fabric.matrix.set_map(offset / 4, value);
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

const ENABLE: u32 = 0x00;
const TYPE: u32 = 0x04;
const CLEAR: u32 = 0x08;
const EMIP_STATUS: u32 = 0x0c;
const PRIORITY_0: u32 = 0x10;
const THRESHOLD: u32 = 0x90;

/// The PLIC of machine mode.
#[derive(Clone)]
pub(crate) struct Plic {
    registers: Registers,
}

impl Plic {
    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
    }
}

impl Device for Plic {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        match offset {
            EMIP_STATUS => fabric.matrix.pending(),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.registers.set(offset, value);
        let matrix = &mut fabric.matrix;
        match offset {
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
        // The PLIC is a part of the CPU's subsystem.
        if scope >= Scope::Core {
            self.registers.reset();
            fabric.matrix.reset();
        }
    }
}

const FROM_CPU_0: u32 = 0x90;
/// Number of software interrupts.
const FROM_CPU: u32 = 4;

/// INTPRI, of which the software interrupts are used.
#[derive(Clone)]
pub(crate) struct SoftwareInterrupts {
    registers: Registers,
}

impl SoftwareInterrupts {
    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
    }
}

impl Device for SoftwareInterrupts {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        self.registers.get(offset)
    }

    fn write(&mut self, offset: u32, value: u32, _fabric: &mut Fabric) {
        self.registers.set(offset, value);
    }

    fn lines(&self) -> u32 {
        (0..FROM_CPU)
            .map(|index| (self.registers.get(FROM_CPU_0 + 4 * index) & 1) << index)
            .fold(0, |lines, line| lines | line)
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
        }
    }
}
