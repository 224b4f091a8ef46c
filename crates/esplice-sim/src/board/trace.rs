//! Traces of a board: instructions, accesses to devices, calls and returns.

use std::{sync::Arc, time::Duration};

use super::Board;
use crate::{
    cpu::{Bus, CodeChange, Fault, Stop},
    rom,
    soc::Soc,
};

/// The kinds of events to trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceKinds {
    /// Each instruction before it is executed.
    pub instructions: bool,
    /// Each load and store outside of memory, at a device or at an unassigned address.
    pub devices: bool,
    /// Calls and returns.
    pub calls: bool,
}

/// A traced event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// The board's clock.
    pub at: Duration,
    /// Address of the instruction.
    pub pc: u32,
    /// The event.
    pub event: TraceEvent,
}

/// The effect of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceEvent {
    /// An instruction is executed.
    Instruction {
        /// The bits of the instruction, in the lower half if it has 2 bytes.
        bits: u32,
        /// Length in bytes: 2 or 4.
        len: u32,
    },
    /// A read from a device.
    Load {
        /// Name of the device; `None` for plain storage.
        device: Option<Arc<str>>,
        /// The address.
        addr: u32,
        /// The value read.
        value: u32,
    },
    /// A write to a device.
    Store {
        /// Name of the device; `None` for plain storage.
        device: Option<Arc<str>>,
        /// The address.
        addr: u32,
        /// The value written.
        value: u32,
    },
    /// A call.
    Call {
        /// The called address.
        to: u32,
        /// Nesting depth of the call, from 0, as far as returns match calls.
        depth: u32,
    },
    /// A return.
    Return {
        /// The return address.
        to: u32,
        /// Depth of the call that ends.
        depth: u32,
    },
    /// An exception or interrupt taken instead of the instruction.
    Trap {
        /// The value of mcause.
        cause: u32,
        /// Address of the handler.
        to: u32,
    },
}

/// Receiver of traced events.
pub type TraceSink = Arc<dyn Fn(&Traced) + Send + Sync>;

/// Symbol names of the mask ROM.
#[derive(Clone)]
pub struct RomNames(Arc<rom::Table>);

impl RomNames {
    /// Returns the name of the function or data at an address.
    pub fn name(&self, addr: u32) -> Option<&str> {
        self.0.name(addr)
    }
}

/// A running trace.
#[derive(Clone)]
pub(super) struct Trace {
    what: TraceKinds,
    sink: TraceSink,
    depth: u32,
}

impl Board {
    /// Sends events to `sink` from now on. A traced board is some hundred times slower and skips no
    /// loops.
    pub fn trace(&mut self, what: TraceKinds, sink: TraceSink) {
        let any = what.instructions || what.devices || what.calls;
        self.trace = any.then_some(Trace { what, sink, depth: 0 });
    }

    /// Returns the names of the mask ROM's functions and data.
    pub fn rom_names(&self) -> RomNames {
        RomNames(Arc::clone(&self.table))
    }

    /// Runs to `until` and traces each instruction. Returns `None` if nothing is traced.
    pub(super) fn run_traced(&mut self, until: u64) -> Option<Stop> {
        let mut trace = self.trace.take()?;
        let mut stop = Stop::Budget;
        while self.cpu.cycles < until && stop == Stop::Budget {
            stop = self.step_traced(&mut trace);
        }
        self.trace = Some(trace);
        Some(stop)
    }

    fn step_traced(&mut self, trace: &mut Trace) -> Stop {
        let pc = self.cpu.pc;
        let (bits, len) = self.instruction_at(pc);
        let at = self.now();
        let instruction = Traced { at, pc, event: TraceEvent::Instruction { bits, len } };
        let mut bus = TracedBus {
            soc: &mut self.soc,
            at,
            pc,
            sink: trace.what.devices.then_some(&trace.sink),
        };
        let waiting = self.cpu.is_waiting();
        let stop = self.cpu.run(&mut bus, self.cpu.cycles + 1);
        if matches!(stop, Stop::Hook(_)) || waiting && self.cpu.is_waiting() {
            return stop;
        }
        let next = self.cpu.pc;
        let csrs = &self.cpu.csrs;
        // A trap stores its address in mepc and continues at the handler.
        let handler = csrs.mtvec & !0xff;
        if csrs.mepc == pc && next.wrapping_sub(handler) < 0x80 && next != pc.wrapping_add(len) {
            let event = TraceEvent::Trap { cause: csrs.mcause, to: next };
            (trace.sink)(&Traced { at, pc, event });
            return stop;
        }
        if trace.what.instructions {
            (trace.sink)(&instruction);
        }
        if trace.what.calls {
            let event = match jump(bits, len) {
                Jump::Call => {
                    trace.depth = trace.depth.saturating_add(1);
                    TraceEvent::Call { to: next, depth: trace.depth - 1 }
                }
                Jump::Return => {
                    trace.depth = trace.depth.saturating_sub(1);
                    TraceEvent::Return { to: next, depth: trace.depth }
                }
                Jump::None => return stop,
            };
            (trace.sink)(&Traced { at, pc, event });
        }
        stop
    }

    /// Traces the return of a modelled ROM function, which has no return instruction.
    pub(super) fn trace_rom_return(&mut self, from: u32, to: u32) {
        let at = self.now();
        if let Some(trace) = self.trace.as_mut().filter(|trace| trace.what.calls) {
            trace.depth = trace.depth.saturating_sub(1);
            let event = TraceEvent::Return { to, depth: trace.depth };
            (trace.sink)(&Traced { at, pc: from, event });
        }
    }

    /// Returns bits and length of the instruction at an address. Unreadable halves are 0.
    fn instruction_at(&self, pc: u32) -> (u32, u32) {
        let fabric = &self.soc.fabric;
        let half = |addr| fabric.memory.fetch16(addr, fabric.flash.nor.bytes()).map(u32::from);
        let low = half(pc).unwrap_or(0);
        if low & 3 == 3 { (half(pc.wrapping_add(2)).unwrap_or(0) << 16 | low, 4) } else { (low, 2) }
    }
}

enum Jump {
    Call,
    Return,
    None,
}

/// Classifies a jump by the calling convention, in which x1 and x5 hold return addresses (RISC-V
/// unprivileged specification, table of return-address hints).
fn jump(bits: u32, len: u32) -> Jump {
    let link = |register: u32| register == 1 || register == 5;
    let (rd, rs1) = (bits >> 7 & 31, bits >> 15 & 31);
    match (len, bits & 0x7f) {
        (4, 0x6f) if link(rd) => Jump::Call,
        (4, 0x67) if link(rd) => Jump::Call,
        (4, 0x67) if rd == 0 && link(rs1) => Jump::Return,
        (2, _) => match (bits & 3, bits >> 13 & 7) {
            (1, 1) => Jump::Call,
            // c.jr and c.jalr: no second register.
            (2, 4) if bits >> 2 & 31 == 0 && rd != 0 => match bits >> 12 & 1 {
                1 => Jump::Call,
                _ if link(rd) => Jump::Return,
                _ => Jump::None,
            },
            _ => Jump::None,
        },
        _ => Jump::None,
    }
}

/// A bus that traces accesses outside of memory.
struct TracedBus<'a> {
    soc: &'a mut Soc,
    at: Duration,
    pc: u32,
    sink: Option<&'a TraceSink>,
}

impl TracedBus<'_> {
    fn tell(&self, addr: u32, event: impl FnOnce(Option<Arc<str>>) -> TraceEvent) {
        if let Some(sink) = self.sink
            && !self.soc.fabric.memory.is_mapped(addr)
        {
            sink(&Traced { at: self.at, pc: self.pc, event: event(self.soc.device_name(addr)) });
        }
    }

    fn loaded(&self, addr: u32, value: u32) {
        self.tell(addr, |device| TraceEvent::Load { device, addr, value });
    }

    fn storing(&self, addr: u32, value: u32) {
        self.tell(addr, |device| TraceEvent::Store { device, addr, value });
    }
}

impl Bus for TracedBus<'_> {
    fn at_cycle(&mut self, cycles: u64) {
        self.soc.at_cycle(cycles);
    }

    fn load8(&mut self, addr: u32) -> Result<u8, Fault> {
        self.soc.load8(addr).inspect(|value| self.loaded(addr, (*value).into()))
    }

    fn load16(&mut self, addr: u32) -> Result<u16, Fault> {
        self.soc.load16(addr).inspect(|value| self.loaded(addr, (*value).into()))
    }

    fn load32(&mut self, addr: u32) -> Result<u32, Fault> {
        self.soc.load32(addr).inspect(|value| self.loaded(addr, *value))
    }

    fn store8(&mut self, addr: u32, value: u8) -> Result<(), Fault> {
        self.storing(addr, value.into());
        self.soc.store8(addr, value)
    }

    fn store16(&mut self, addr: u32, value: u16) -> Result<(), Fault> {
        self.storing(addr, value.into());
        self.soc.store16(addr, value)
    }

    fn store32(&mut self, addr: u32, value: u32) -> Result<(), Fault> {
        self.storing(addr, value);
        self.soc.store32(addr, value)
    }

    fn fetch16(&mut self, addr: u32) -> Result<u16, Fault> {
        self.soc.fetch16(addr)
    }

    fn decoded(&mut self, addr: u32, len: u32) {
        self.soc.decoded(addr, len);
    }

    fn attention(&self) -> bool {
        self.soc.attention()
    }

    fn take_code_change(&mut self) -> Option<CodeChange> {
        self.soc.take_code_change()
    }

    fn take_yield(&mut self) -> bool {
        self.soc.take_yield()
    }
}
