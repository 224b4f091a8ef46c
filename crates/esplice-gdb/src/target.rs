//! The debugger as a target of `gdbstub`.

use std::convert::Infallible;

use esplice_chip::{Addr, RegionKind};
use esplice_sim::Watchpoint;
use gdbstub::{
    common::Signal,
    target::{
        Target, TargetError, TargetResult,
        ext::{
            base::{
                BaseOps,
                reverse_exec::{ReverseCont, ReverseContOps, ReverseStep, ReverseStepOps},
                single_register_access::{SingleRegisterAccess, SingleRegisterAccessOps},
                singlethread::{
                    SingleThreadBase, SingleThreadRangeStepping, SingleThreadRangeSteppingOps,
                    SingleThreadResume, SingleThreadResumeOps, SingleThreadSingleStep,
                    SingleThreadSingleStepOps,
                },
            },
            breakpoints::{
                Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint,
                HwWatchpointOps, SwBreakpoint, SwBreakpointOps, WatchKind,
            },
            flash::{Flash, FlashOps},
            memory_map::{MemoryMap, MemoryMapOps},
            monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps},
            target_description_xml_override::{
                TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
            },
        },
    },
};

use crate::{
    arch::{CoreRegisters, Register, Riscv32},
    debugger::{Action, Debugger},
    history::Input,
};

/// errno of an address without memory (Linux, `errno-base.h`), which GDB shows by its number.
const EFAULT: u8 = 14;
/// errno of an operation that is refused.
const EPERM: u8 = 1;

impl Target for Debugger<'_> {
    type Arch = Riscv32;
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, Self::Arch, Self::Error> {
        BaseOps::SingleThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_memory_map(&mut self) -> Option<MemoryMapOps<'_, Self>> {
        Some(self)
    }

    fn support_flash_operations(&mut self) -> Option<FlashOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadBase for Debugger<'_> {
    fn read_registers(&mut self, registers: &mut CoreRegisters) -> TargetResult<(), Self> {
        self.board.with(|board| {
            for (number, register) in registers.x.iter_mut().enumerate() {
                *register = board.register(number).unwrap_or(0);
            }
            registers.pc = board.pc();
        });
        Ok(())
    }

    fn write_registers(&mut self, registers: &CoreRegisters) -> TargetResult<(), Self> {
        for (number, value) in registers.x.iter().enumerate() {
            if self.board.with(|board| board.register(number)) != Some(*value) {
                self.input(Input::Register(number, *value));
            }
        }
        if self.set_pc(registers.pc) { Ok(()) } else { Err(TargetError::Errno(EPERM)) }
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, (), Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, start: u32, data: &mut [u8]) -> TargetResult<usize, Self> {
        let read = self.board.with(|board| {
            let is_device = |addr: u32| {
                let spaces = board.chip().sim.iter().flat_map(|sim| &sim.peripheral_spaces);
                spaces.into_iter().any(|space| addr.wrapping_sub(space.addr.0) < space.len)
            };
            let is_window = |addr: u32| {
                let region = board.chip().region_at(Addr(addr));
                region.is_some_and(|region| region.kind == RegionKind::Flash)
            };
            let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
            if let Some(bytes) = board.read_memory(start, len) {
                data.copy_from_slice(&bytes);
                return data.len();
            }
            let mut word = None;
            for (index, byte) in data.iter_mut().enumerate() {
                let Some(addr) = start.checked_add(index as u32) else { return index };
                *byte = match board.read_memory(addr, 1).as_deref() {
                    Some([byte]) => *byte,
                    _ if is_device(addr) => {
                        if word.is_none_or(|(known, _)| known != addr & !3) {
                            word = Some((addr & !3, board.peek_device(addr)));
                        }
                        let value = word.map_or(0, |(_, value)| value);
                        (value >> (8 * (addr & 3))) as u8
                    }
                    // As the CPU reads a window of the flash while nothing is mapped there.
                    _ if is_window(addr) => 0,
                    _ => return index,
                };
            }
            data.len()
        });
        if read == 0 && !data.is_empty() { Err(TargetError::Errno(EFAULT)) } else { Ok(read) }
    }

    fn write_addrs(&mut self, start: u32, data: &[u8]) -> TargetResult<(), Self> {
        if self.write(start, data) { Ok(()) } else { Err(TargetError::Errno(EFAULT)) }
    }

    fn support_resume(&mut self) -> Option<SingleThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<()> for Debugger<'_> {
    fn read_register(
        &mut self,
        (): (),
        register: Register,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let value = self.board.with(|board| match register {
            Register::X(number) => board.register(number),
            Register::Pc => Some(board.pc()),
            Register::Csr(number) => board.csr(number),
            Register::Privilege => Some(if board.is_user_mode() { 0 } else { 3 }),
        });
        let value = value.ok_or(TargetError::NonFatal)?;
        let Some(place) = buf.get_mut(..4) else { return Err(TargetError::NonFatal) };
        place.copy_from_slice(&value.to_le_bytes());
        Ok(4)
    }

    fn write_register(
        &mut self,
        (): (),
        register: Register,
        value: &[u8],
    ) -> TargetResult<(), Self> {
        let value = value.first_chunk::<4>().ok_or(TargetError::NonFatal)?;
        let value = u32::from_le_bytes(*value);
        let done = match register {
            Register::X(number) => self.input(Input::Register(number, value)),
            Register::Pc => self.set_pc(value),
            Register::Csr(number) => self.input(Input::Csr(number, value)),
            Register::Privilege => false,
        };
        if done { Ok(()) } else { Err(TargetError::Errno(EPERM)) }
    }
}

impl SingleThreadResume for Debugger<'_> {
    fn resume(&mut self, _signal: Option<Signal>) -> Result<(), Self::Error> {
        self.begin(Action::Continue);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<SingleThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<SingleThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_reverse_step(&mut self) -> Option<ReverseStepOps<'_, (), Self>> {
        Some(self)
    }

    fn support_reverse_cont(&mut self) -> Option<ReverseContOps<'_, (), Self>> {
        Some(self)
    }
}

impl SingleThreadSingleStep for Debugger<'_> {
    fn step(&mut self, _signal: Option<Signal>) -> Result<(), Self::Error> {
        self.begin(Action::Step);
        Ok(())
    }
}

impl SingleThreadRangeStepping for Debugger<'_> {
    fn resume_range_step(&mut self, start: u32, end: u32) -> Result<(), Self::Error> {
        self.begin(Action::RangeStep { start, end });
        Ok(())
    }
}

impl ReverseCont<()> for Debugger<'_> {
    fn reverse_cont(&mut self) -> Result<(), Self::Error> {
        self.begin(Action::ContinueBack);
        Ok(())
    }
}

impl ReverseStep<()> for Debugger<'_> {
    fn reverse_step(&mut self, (): ()) -> Result<(), Self::Error> {
        self.begin(Action::StepBack);
        Ok(())
    }
}

impl Breakpoints for Debugger<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debugger<'_> {
    fn add_sw_breakpoint(&mut self, addr: u32, _kind: usize) -> TargetResult<bool, Self> {
        self.add_breakpoint(addr);
        Ok(true)
    }

    fn remove_sw_breakpoint(&mut self, addr: u32, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.remove_breakpoint(addr))
    }
}

/// The same as software breakpoints: none uses a trigger of the chip.
impl HwBreakpoint for Debugger<'_> {
    fn add_hw_breakpoint(&mut self, addr: u32, _kind: usize) -> TargetResult<bool, Self> {
        self.add_breakpoint(addr);
        Ok(true)
    }

    fn remove_hw_breakpoint(&mut self, addr: u32, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.remove_breakpoint(addr))
    }
}

fn watchpoint(addr: u32, len: u32, kind: WatchKind) -> Watchpoint {
    let reads = matches!(kind, WatchKind::Read | WatchKind::ReadWrite);
    let writes = matches!(kind, WatchKind::Write | WatchKind::ReadWrite);
    Watchpoint { addr, len, reads, writes }
}

impl HwWatchpoint for Debugger<'_> {
    fn add_hw_watchpoint(
        &mut self,
        addr: u32,
        len: u32,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        if len == 0 {
            return Ok(false);
        }
        self.add_watchpoint(watchpoint(addr, len, kind));
        Ok(true)
    }

    fn remove_hw_watchpoint(
        &mut self,
        addr: u32,
        len: u32,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        Ok(self.remove_watchpoint(watchpoint(addr, len, kind)))
    }
}

impl Flash for Debugger<'_> {
    /// Only the sectors that the program needs are erased, when it is written.
    fn flash_erase(&mut self, _start: u32, _len: u32) -> TargetResult<(), Self> {
        if self.can_load() { Ok(()) } else { Err(TargetError::Errno(EPERM)) }
    }

    fn flash_write(&mut self, start: u32, data: &[u8]) -> TargetResult<(), Self> {
        if self.put_flash(start, data) { Ok(()) } else { Err(TargetError::Errno(EFAULT)) }
    }

    fn flash_done(&mut self) -> TargetResult<(), Self> {
        if self.end_load() { Ok(()) } else { Err(TargetError::Errno(EPERM)) }
    }
}

/// Copies a part of a document into a buffer, as the protocol reads them.
fn copy_part(text: &str, offset: u64, len: usize, buf: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| text.as_bytes().get(offset..));
    let rest = rest.unwrap_or_default();
    let len = rest.len().min(len).min(buf.len());
    if let (Some(to), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}

impl MemoryMap for Debugger<'_> {
    fn memory_map_xml(
        &self,
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        Ok(copy_part(&self.memory_map, offset, length, buf))
    }
}

impl TargetDescriptionXmlOverride for Debugger<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        Ok(copy_part(&self.target_xml, offset, length, buf))
    }
}

impl MonitorCmd for Debugger<'_> {
    fn handle_monitor_cmd(
        &mut self,
        command: &[u8],
        mut out: ConsoleOutput<'_>,
    ) -> Result<(), Self::Error> {
        let answer = self.monitor(&String::from_utf8_lossy(command));
        out.write_raw(answer.as_bytes());
        Ok(())
    }
}
