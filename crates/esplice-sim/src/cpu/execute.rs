//! The inner loop, and the rarer instructions that it leaves out.

use super::decode::{Kind, Op};
use super::{AccessKind, Bus, Cpu, Fault, Stop, cache, cause};

/// Why the inner loop ended. pc is then at the affected instruction or, for `Budget` and
/// `Attention`, at the next one.
pub(super) enum Exit {
    Budget,
    Undecoded,
    Hook,
    /// The instruction at pc traps. Its cycle is already counted.
    Trap {
        cause: u32,
        tval: u32,
    },
    /// The instruction at pc needs [`Cpu::system`]. Its cycle is already counted.
    System(Op),
    /// The instruction is complete, and the bus needs attention.
    Attention,
    /// Parts of pc's page may not be executed, so each instruction must be checked.
    Guarded,
}

/// Runs decoded instructions starting at pc.
///
/// State that changes with every instruction is kept small, so that it stays in the host's
/// registers: pc is `base + 2 * index`, where `base` is the page's address, and the cycle counter
/// is `until_cycle - left`. An index outside the page, however far, means that another page is
/// next.
///
/// `GUARDED` selects the variant for protection and triggers. In it, `fetched` means that the first
/// instruction has already been checked.
#[inline(never)]
fn execute<B: Bus, const GUARDED: bool>(
    cpu: &mut Cpu,
    bus: &mut B,
    until_cycle: u64,
    fetched: bool,
) -> Exit {
    let x = &mut cpu.x;
    let cache = &cpu.cache;
    let guard = &mut cpu.guard;
    let mut left = until_cycle.saturating_sub(cpu.cycles);
    if left == 0 {
        return Exit::Budget;
    }
    if GUARDED && !fetched && !guard.is_clear(AccessKind::Fetch, cpu.pc, 1) {
        return Exit::Guarded;
    }
    let Some(mut ops) = cache.page(cpu.pc) else { return Exit::Undecoded };
    let mut base = cpu.pc & !0xfff;
    let mut index = (cpu.pc & 0xfff) >> 1;

    macro_rules! pc {
        () => {
            base.wrapping_add(index << 1)
        };
    }
    macro_rules! go {
        ($pc:expr) => {
            // All addresses are even, so nothing is lost.
            index = ($pc).wrapping_sub(base) >> 1
        };
    }
    macro_rules! leave {
        ($exit:expr) => {{
            cpu.pc = pc!();
            cpu.cycles = until_cycle - left;
            return $exit;
        }};
    }
    macro_rules! next {
        ($op:ident) => {
            index = index.wrapping_add($op.halfwords())
        };
    }
    macro_rules! compute {
        ($op:ident, $value:expr) => {{
            x[$op.rd()] = $value;
            next!($op);
        }};
    }
    macro_rules! guard {
        ($intent:ident, $addr:ident, $len:expr) => {
            if GUARDED
                && !guard.is_clear(AccessKind::$intent, $addr, $len)
                && let Err((cause, tval)) =
                    guard.check(&mut cpu.csrs, AccessKind::$intent, $addr, $len)
            {
                leave!(Exit::Trap { cause, tval });
            }
        };
    }
    macro_rules! load {
        ($op:ident, $method:ident, $len:literal, $value:ident => $convert:expr) => {{
            let addr = x[$op.rs1()].wrapping_add($op.imm);
            guard!(Load, addr, $len);
            bus.at_cycle(until_cycle - left);
            match bus.$method(addr) {
                Ok($value) => {
                    x[$op.rd()] = $convert;
                    next!($op);
                    if bus.attention() {
                        leave!(Exit::Attention);
                    }
                }
                Err(fault) => leave!(load_trap(fault, addr)),
            }
        }};
    }
    macro_rules! store {
        ($op:ident, $method:ident, $type:ty) => {{
            let addr = x[$op.rs1()].wrapping_add($op.imm);
            guard!(Store, addr, size_of::<$type>() as u32);
            bus.at_cycle(until_cycle - left);
            match bus.$method(addr, x[$op.rs2()] as $type) {
                Ok(()) => {
                    next!($op);
                    if bus.attention() {
                        leave!(Exit::Attention);
                    }
                }
                Err(fault) => leave!(store_trap(fault, addr)),
            }
        }};
    }
    macro_rules! branch {
        ($op:ident, $taken:expr) => {
            index = index.wrapping_add(if $taken { $op.imm } else { $op.halfwords() })
        };
    }

    loop {
        let Some(&op) = ops.get(index as usize) else {
            let pc = pc!();
            if GUARDED && left > 0 && !guard.is_clear(AccessKind::Fetch, pc, 1) {
                leave!(Exit::Guarded);
            }
            match cache.page(pc) {
                Some(page) => {
                    ops = page;
                    base = pc & !0xfff;
                    index = (pc & 0xfff) >> 1;
                    continue;
                }
                // A failed fetch traps. At the end of the budget this is left to the next run.
                None if left == 0 => leave!(Exit::Budget),
                None => leave!(Exit::Undecoded),
            }
        };
        if left == 0 {
            leave!(Exit::Budget);
        }
        left -= 1;
        match op.kind {
            Kind::Undecoded => {
                left += 1;
                leave!(Exit::Undecoded)
            }
            Kind::Hook => {
                left += 1;
                leave!(Exit::Hook)
            }
            Kind::Illegal => leave!(Exit::Trap { cause: cause::ILLEGAL, tval: op.imm }),
            Kind::Nop => next!(op),
            Kind::Li => compute!(op, op.imm),
            Kind::Addi => compute!(op, x[op.rs1()].wrapping_add(op.imm)),
            Kind::Slti => compute!(op, u32::from((x[op.rs1()] as i32) < op.imm as i32)),
            Kind::Sltiu => compute!(op, u32::from(x[op.rs1()] < op.imm)),
            Kind::Xori => compute!(op, x[op.rs1()] ^ op.imm),
            Kind::Ori => compute!(op, x[op.rs1()] | op.imm),
            Kind::Andi => compute!(op, x[op.rs1()] & op.imm),
            Kind::Slli => compute!(op, x[op.rs1()] << (op.imm & 31)),
            Kind::Srli => compute!(op, x[op.rs1()] >> (op.imm & 31)),
            Kind::Srai => compute!(op, (x[op.rs1()] as i32 >> (op.imm & 31)) as u32),
            Kind::Add => compute!(op, x[op.rs1()].wrapping_add(x[op.rs2()])),
            Kind::Sub => compute!(op, x[op.rs1()].wrapping_sub(x[op.rs2()])),
            Kind::Sll => compute!(op, x[op.rs1()] << (x[op.rs2()] & 31)),
            Kind::Slt => compute!(op, u32::from((x[op.rs1()] as i32) < x[op.rs2()] as i32)),
            Kind::Sltu => compute!(op, u32::from(x[op.rs1()] < x[op.rs2()])),
            Kind::Xor => compute!(op, x[op.rs1()] ^ x[op.rs2()]),
            Kind::Srl => compute!(op, x[op.rs1()] >> (x[op.rs2()] & 31)),
            Kind::Sra => compute!(op, (x[op.rs1()] as i32 >> (x[op.rs2()] & 31)) as u32),
            Kind::Or => compute!(op, x[op.rs1()] | x[op.rs2()]),
            Kind::And => compute!(op, x[op.rs1()] & x[op.rs2()]),
            Kind::Mul => compute!(op, x[op.rs1()].wrapping_mul(x[op.rs2()])),
            Kind::Mulh => {
                compute!(
                    op,
                    ((i64::from(x[op.rs1()] as i32) * i64::from(x[op.rs2()] as i32)) >> 32) as u32
                )
            }
            Kind::Mulhsu => compute!(
                op,
                ((i64::from(x[op.rs1()] as i32) * i64::from(x[op.rs2()])) >> 32) as u32
            ),
            Kind::Mulhu => {
                compute!(op, ((u64::from(x[op.rs1()]) * u64::from(x[op.rs2()])) >> 32) as u32)
            }
            // Division by zero returns all ones and leaves the dividend as remainder. The most
            // negative number divided by -1 overflows to itself with remainder 0 (unprivileged
            // specification, chapter "M").
            Kind::Div => compute!(
                op,
                match x[op.rs2()] as i32 {
                    0 => u32::MAX,
                    divisor => (x[op.rs1()] as i32).wrapping_div(divisor) as u32,
                }
            ),
            Kind::Divu => compute!(op, x[op.rs1()].checked_div(x[op.rs2()]).unwrap_or(u32::MAX)),
            Kind::Rem => compute!(
                op,
                match x[op.rs2()] as i32 {
                    0 => x[op.rs1()],
                    divisor => (x[op.rs1()] as i32).wrapping_rem(divisor) as u32,
                }
            ),
            Kind::Remu => compute!(op, x[op.rs1()].checked_rem(x[op.rs2()]).unwrap_or(x[op.rs1()])),
            Kind::Lb => load!(op, load8, 1, v => v as i8 as u32),
            Kind::Lh => load!(op, load16, 2, v => v as i16 as u32),
            Kind::Lw => load!(op, load32, 4, v => v),
            Kind::Lbu => load!(op, load8, 1, v => v.into()),
            Kind::Lhu => load!(op, load16, 2, v => v.into()),
            Kind::LoadDiscard => {
                let addr = x[op.rs1()].wrapping_add(op.imm);
                guard!(Load, addr, 1 << (op.rs2 & 3));
                bus.at_cycle(until_cycle - left);
                let loaded = match op.rs2 {
                    0 => bus.load8(addr).map(drop),
                    1 => bus.load16(addr).map(drop),
                    _ => bus.load32(addr).map(drop),
                };
                if let Err(fault) = loaded {
                    leave!(load_trap(fault, addr));
                }
                next!(op);
                if bus.attention() {
                    leave!(Exit::Attention);
                }
            }
            Kind::Sb => store!(op, store8, u8),
            Kind::Sh => store!(op, store16, u16),
            Kind::Sw => store!(op, store32, u32),
            Kind::J => index = index.wrapping_add(op.imm),
            Kind::Jal => {
                x[op.rd()] = pc!().wrapping_add(op.len());
                index = index.wrapping_add(op.imm);
            }
            Kind::Jr => go!(x[op.rs1()].wrapping_add(op.imm)),
            Kind::Jalr => {
                let target = x[op.rs1()].wrapping_add(op.imm);
                x[op.rd()] = pc!().wrapping_add(op.len());
                go!(target);
            }
            Kind::Beq => branch!(op, x[op.rs1()] == x[op.rs2()]),
            Kind::Bne => branch!(op, x[op.rs1()] != x[op.rs2()]),
            Kind::Blt => branch!(op, (x[op.rs1()] as i32) < x[op.rs2()] as i32),
            Kind::Bge => branch!(op, x[op.rs1()] as i32 >= x[op.rs2()] as i32),
            Kind::Bltu => branch!(op, x[op.rs1()] < x[op.rs2()]),
            Kind::Bgeu => branch!(op, x[op.rs1()] >= x[op.rs2()]),
            Kind::Csr | Kind::Ecall | Kind::Ebreak | Kind::Mret | Kind::Wfi | Kind::Amo => {
                leave!(Exit::System(op))
            }
        }
    }
}

#[cold]
fn load_trap(fault: Fault, addr: u32) -> Exit {
    let cause =
        if fault == Fault::Misaligned { cause::LOAD_MISALIGNED } else { cause::LOAD_ACCESS };
    Exit::Trap { cause, tval: addr }
}

#[cold]
fn store_trap(fault: Fault, addr: u32) -> Exit {
    let cause =
        if fault == Fault::Misaligned { cause::STORE_MISALIGNED } else { cause::STORE_ACCESS };
    Exit::Trap { cause, tval: addr }
}

impl Cpu {
    /// Runs decoded instructions starting at pc. `fetched` means that the first one has been
    /// checked.
    pub(super) fn execute<B: Bus>(&mut self, bus: &mut B, until_cycle: u64, fetched: bool) -> Exit {
        if self.guard.is_active() {
            execute::<B, true>(self, bus, until_cycle, fetched)
        } else {
            execute::<B, false>(self, bus, until_cycle, fetched)
        }
    }

    /// Checks pc, where execution may be forbidden or watched, and executes the one instruction
    /// there unless the whole page turns out to be unrestricted.
    pub(super) fn step_guarded<B: Bus>(&mut self, bus: &mut B) -> Option<Stop> {
        let pc = self.pc;
        let mut checked = self.guard.check(&mut self.csrs, AccessKind::Fetch, pc, 2);
        if checked.is_ok() && self.guard.is_clear(AccessKind::Fetch, pc, 1) {
            return None;
        }
        if checked.is_ok() && !self.cache.is_decoded(pc) {
            checked = cache::decode_run(&mut self.cache, bus, pc);
        }
        if checked.is_ok() && self.cache.len_at(pc) == 4 {
            let high = pc.wrapping_add(2);
            checked = self.guard.check(&mut self.csrs, AccessKind::Fetch, high, 2);
        }
        if let Err((cause, tval)) = checked {
            self.cycles += 1;
            return self.exception(cause, tval);
        }
        let exit = self.execute(bus, self.cycles + 1, true);
        if let Exit::Hook = exit {
            return Some(self.hook_stop());
        }
        self.finish_step(exit, bus)
    }

    /// Returns the stop for pc at a hook, a breakpoint or both, of which the breakpoint comes first.
    pub(super) fn hook_stop(&self) -> Stop {
        if self.cache.has_breakpoint(self.pc) { Stop::Breakpoint } else { Stop::Hook(self.pc) }
    }

    fn check_access(&mut self, intent: AccessKind, addr: u32) -> Result<(), (u32, u32)> {
        if !self.guard.is_active() || self.guard.is_clear(intent, addr, 4) {
            return Ok(());
        }
        self.guard.check(&mut self.csrs, intent, addr, 4)
    }

    /// Executes the instruction at pc, which the inner loop does not handle.
    pub(super) fn system<B: Bus>(&mut self, op: Op, bus: &mut B) -> Option<Stop> {
        let illegal = (cause::ILLEGAL, op.imm);
        let next = self.pc.wrapping_add(op.len());
        let done = match op.kind {
            Kind::Csr => self.csr_instruction(op.imm).ok_or(illegal),
            Kind::Ecall if self.csrs.user_mode => Err((cause::ECALL_USER, 0)),
            Kind::Ecall => Err((cause::ECALL_MACHINE, 0)),
            Kind::Ebreak => Err((cause::BREAKPOINT, 0)),
            Kind::Mret if !self.csrs.user_mode => {
                self.mret();
                return None;
            }
            // mstatus.TW makes wfi illegal in user mode.
            Kind::Wfi if !self.csrs.user_mode || self.csrs.mstatus & super::trap::TW == 0 => {
                self.waiting = true;
                Ok(())
            }
            Kind::Amo if self.model.atomics => self.atomic(op, bus).unwrap_or(Err(illegal)),
            _ => Err(illegal),
        };
        match done {
            Ok(()) => {
                self.pc = next;
                if bus.attention() {
                    self.apply_code_changes(bus);
                    if bus.take_yield() {
                        return Some(Stop::YieldRequested);
                    }
                }
                None
            }
            Err((cause, tval)) => self.exception(cause, tval),
        }
    }

    /// Executes lr, sc or an atomic operation. Returns `None` if there is no such operation. An
    /// error is mcause and mtval.
    fn atomic<B: Bus>(&mut self, op: Op, bus: &mut B) -> Option<Result<(), (u32, u32)>> {
        let funct5 = op.imm >> 27;
        let addr = self.x[op.rs1()];
        let operand = self.x[op.rs2()];
        if addr & 3 != 0 {
            let cause = if funct5 == 2 { cause::LOAD_MISALIGNED } else { cause::STORE_MISALIGNED };
            return Some(Err((cause, addr)));
        }
        // lr only loads, sc only stores; the others do both and fault like stores.
        let load = (funct5 != 3).then(|| self.check_access(AccessKind::Load, addr));
        let store = (funct5 != 2).then(|| self.check_access(AccessKind::Store, addr));
        if let Some((cause, tval)) = load.into_iter().chain(store).find_map(Result::err) {
            let cause = match (cause, funct5) {
                (cause::LOAD_ACCESS, 2) | (cause::BREAKPOINT, _) => cause,
                _ => cause::STORE_ACCESS,
            };
            return Some(Err((cause, tval)));
        }
        bus.at_cycle(self.cycles);
        let result = match funct5 {
            2 if op.rs2() != 0 => return None,
            2 => {
                let Ok(value) = bus.load32(addr) else {
                    return Some(Err((cause::LOAD_ACCESS, addr)));
                };
                self.reservation = Some(addr);
                value
            }
            3 => {
                let reserved = self.reservation.take() == Some(addr);
                if reserved && bus.store32(addr, operand).is_err() {
                    return Some(Err((cause::STORE_ACCESS, addr)));
                }
                u32::from(!reserved)
            }
            _ => {
                let combine: fn(u32, u32) -> u32 = match funct5 {
                    0x00 => u32::wrapping_add,
                    0x01 => |_, operand| operand,
                    0x04 => |old, operand| old ^ operand,
                    0x08 => |old, operand| old | operand,
                    0x0c => |old, operand| old & operand,
                    0x10 => |old, operand| (old as i32).min(operand as i32) as u32,
                    0x14 => |old, operand| (old as i32).max(operand as i32) as u32,
                    0x18 => u32::min,
                    0x1c => u32::max,
                    _ => return None,
                };
                let Ok(old) = bus.load32(addr) else {
                    return Some(Err((cause::STORE_ACCESS, addr)));
                };
                if bus.store32(addr, combine(old, operand)).is_err() {
                    return Some(Err((cause::STORE_ACCESS, addr)));
                }
                old
            }
        };
        if op.rd() != 0 {
            self.x[op.rd()] = result;
        }
        Some(Ok(()))
    }

    /// Executes the instruction at a breakpoint, or stops at the hook there. The firmware's own
    /// triggers still apply.
    pub(super) fn step_breakpoint<B: Bus>(&mut self, bus: &mut B) -> Option<Stop> {
        if self.guard.is_active()
            && let Err((cause, tval)) =
                self.guard.check(&mut self.csrs, AccessKind::Fetch, self.pc, 2)
        {
            self.cycles += 1;
            return self.exception(cause, tval);
        }
        if self.cache.is_hooked(self.pc) {
            return Some(Stop::Hook(self.pc));
        }
        self.step_hooked(bus)
    }

    /// Executes the real instruction at a hook. Its decoded form replaces the hook for one
    /// instruction.
    pub(super) fn step_hooked<B: Bus>(&mut self, bus: &mut B) -> Option<Stop> {
        let pc = self.pc;
        let op = match cache::decode_at(bus, pc) {
            Ok((op, _)) => op,
            Err((cause, tval)) => {
                self.cycles += 1;
                return self.exception(cause, tval);
            }
        };
        self.cache.replace(pc, op);
        let exit = self.execute(bus, self.cycles + 1, true);
        self.cache.replace(pc, Op { kind: Kind::Hook, ..Op::default() });
        self.finish_step(exit, bus)
    }

    /// Handles the exit of the inner loop after a single instruction.
    fn finish_step<B: Bus>(&mut self, exit: Exit, bus: &mut B) -> Option<Stop> {
        match exit {
            Exit::Trap { cause, tval } => self.exception(cause, tval),
            Exit::System(op) => self.system(op, bus),
            Exit::Attention => {
                self.apply_code_changes(bus);
                bus.take_yield().then_some(Stop::YieldRequested)
            }
            Exit::Budget | Exit::Undecoded | Exit::Hook | Exit::Guarded => None,
        }
    }
}
