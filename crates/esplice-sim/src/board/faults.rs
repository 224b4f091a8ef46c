//! Planned faults on the board's line and in its flash.

use std::{sync::Arc, time::Duration};

use super::{Board, Fault, State, line::EN_RISE};
use crate::{
    fault_plan::{Direction, FaultEvent, FaultPlan, PlannedFault, When, WireFault},
    nor::{NorError, StuckBit, Tear},
    soc::{
        LineByte, ResetReason,
        clock::{Tick, duration, ticks},
    },
};

/// A port that has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortLoss {
    /// Time until the port can be opened again; `None` if the power does not come back.
    pub back_after: Option<Duration>,
}

/// The line's part of the fault plan, and the faults that have happened.
#[derive(Clone, Default)]
pub(super) struct Faults {
    to_board: Side,
    to_host: Side,
    /// A byte that arrives a second time.
    again: Option<LineByte>,
    /// Set if the first byte on the line to the host was delayed: how often it arrives.
    delayed: Option<u8>,
    /// Time from which bytes pass; until then the cable is out.
    away_until: Tick,
    gone: Option<PortLoss>,
    fault_events: Vec<FaultEvent>,
}

/// One direction.
#[derive(Clone, Default)]
struct Side {
    /// Bytes so far.
    count: u64,
    armed: Vec<Armed>,
}

#[derive(Clone)]
struct Armed {
    planned: PlannedFault,
    chance: Chance,
}

/// A byte after its faults.
struct Passed {
    byte: LineByte,
    times: u8,
    delay: Tick,
}

impl Faults {
    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::ToBoard => &mut self.to_board,
            Direction::ToHost => &mut self.to_host,
        }
    }

    fn pass(&mut self, direction: Direction, byte: LineByte, now: Tick) -> Passed {
        let away = byte.done < self.away_until;
        let side = self.side(direction);
        let at = side.count;
        side.count += 1;
        let mut passed = Passed { byte, times: u8::from(!away), delay: 0 };
        if side.armed.is_empty() {
            return passed;
        }
        let mut told = Vec::new();
        let mut gone = None;
        for armed in &mut side.armed {
            match armed.planned {
                PlannedFault::Wire { when, fault, .. } if armed.chance.hits(when, at) => {
                    told.push(hit(fault, &mut passed, &mut armed.chance));
                }
                PlannedFault::WrongBaud { byte: first, len, baud, .. }
                    if (first..first.saturating_add(len)).contains(&at) =>
                {
                    passed.byte.baud = baud;
                    if at == first {
                        told.push(format!("and {} more at {baud} baud", len - 1));
                    }
                }
                PlannedFault::Vanish { byte: first, back_after, .. } if at == first => {
                    passed.times = 0;
                    gone = Some(back_after);
                    told.push("not sent: the port is gone".into());
                }
                _ => {}
            }
        }
        if let Some(back_after) = gone {
            self.away_until = now.saturating_add(ticks(back_after));
            self.gone = Some(PortLoss { back_after: Some(back_after) });
        }
        for what in told {
            self.log_fault(now, format!("byte {at} {direction} {what}"));
        }
        passed
    }

    fn log_fault(&mut self, now: Tick, what: String) {
        self.fault_events.push(FaultEvent { at: duration(now), what });
    }
}

/// Applies a planned fault to a byte and returns its description.
fn hit(fault: WireFault, passed: &mut Passed, chance: &mut Chance) -> String {
    match fault {
        WireFault::Drop => {
            passed.times = 0;
            "lost".into()
        }
        WireFault::Flip(bit) => {
            let bit = bit.unwrap_or_else(|| (chance.next() >> 32) as u8) & 7;
            passed.byte.byte ^= 1 << bit;
            format!("with bit {bit} flipped")
        }
        WireFault::Double => {
            passed.times *= 2;
            "doubled".into()
        }
        WireFault::Delay(delay) => {
            passed.delay = passed.delay.saturating_add(ticks(delay));
            format!("delayed by {} us", delay.as_micros())
        }
    }
}

/// A random sequence determined by its seed (splitmix64, Steele, Lea and Flood 2014).
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn hits(&mut self, when: When, at: u64) -> bool {
        match when {
            When::Byte(byte) => byte == at,
            When::OneIn(one_in) => self.next().is_multiple_of(one_in.max(1).into()),
        }
    }
}

impl Board {
    /// Replaces the fault plan. Byte and operation counts continue.
    ///
    /// # Errors
    /// [`NorError::OutOfRange`] for a stuck bit outside the flash, [`NorError::File`] if one can't
    /// be written to the flash file.
    pub fn set_faults(&mut self, plan: &FaultPlan) -> Result<(), NorError> {
        let (mut tears, mut stuck) = (Vec::new(), Vec::new());
        self.faults.to_board.armed.clear();
        self.faults.to_host.armed.clear();
        for (number, planned) in (1_u64..).zip(&plan.faults) {
            match *planned {
                PlannedFault::Wire { direction, .. }
                | PlannedFault::WrongBaud { direction, .. }
                | PlannedFault::Vanish { direction, .. } => {
                    // Each fault has its own sequence of random numbers.
                    let chance = Chance(Chance(plan.seed).next().wrapping_add(number));
                    self.faults.side(direction).armed.push(Armed { planned: *planned, chance });
                }
                PlannedFault::Tear { operation, done, by } => {
                    tears.push(Tear { operation, done, by })
                }
                PlannedFault::Stuck { offset, bit, level } => {
                    stuck.push(StuckBit { offset, bit, level });
                }
            }
        }
        self.soc.fabric.flash.nor.set_faults(tears, stuck)
    }

    /// Returns the faults that happened since the last call, in order.
    pub fn take_fault_events(&mut self) -> Vec<FaultEvent> {
        let now = self.soc.fabric.now();
        for what in self.soc.fabric.flash.nor.take_fault_events() {
            self.faults.log_fault(now, what);
        }
        std::mem::take(&mut self.faults.fault_events)
    }

    /// Returns whether a pulled cable or a power cut removed the port since the last call.
    pub fn take_port_loss(&mut self) -> Option<PortLoss> {
        self.faults.gone.take()
    }

    /// Returns when the port is back.
    pub fn back_at(&self) -> Duration {
        duration(self.faults.away_until)
    }

    /// Puts a byte on the line towards the board unless it is lost. Returns when the line is free.
    pub(super) fn pass_to_board(&mut self, byte: LineByte, byte_time: Tick) -> Tick {
        let now = self.soc.fabric.now();
        let passed = self.faults.pass(Direction::ToBoard, byte, now);
        let mut at = byte.done.saturating_add(passed.delay);
        for copy in 0..passed.times {
            at = if copy == 0 { at } else { at.saturating_add(byte_time) };
            self.soc.fabric.line.to_board.push_back(LineByte { done: at, ..passed.byte });
        }
        at
    }

    /// Returns the next byte that has arrived at the host and was not lost.
    pub(super) fn next_for_host(&mut self) -> Option<LineByte> {
        let now = self.soc.fabric.now();
        if let Some(byte) = self.faults.again.take() {
            return Some(byte);
        }
        loop {
            self.output_at().filter(|at| *at <= now)?;
            self.hand_over(now);
            let byte = self.soc.fabric.line.to_host.pop_front()?;
            let (byte, times) = match self.faults.delayed.take() {
                Some(times) => (byte, times),
                None => {
                    let passed = self.faults.pass(Direction::ToHost, byte, now);
                    if passed.delay > 0 {
                        // The byte stays first on the line until its time has come.
                        let done = now.saturating_add(passed.delay);
                        let byte = LineByte { done, ..passed.byte };
                        self.soc.fabric.line.to_host.push_front(byte);
                        self.faults.delayed = Some(passed.times);
                        return None;
                    }
                    (passed.byte, passed.times)
                }
            };
            match times {
                0 => continue,
                1 => {}
                _ => self.faults.again = Some(byte),
            }
            return Some(byte);
        }
    }

    /// Handles a failed flash operation.
    pub(super) fn flash_failed(&mut self, error: Arc<NorError>) {
        let now = self.soc.fabric.now();
        match *error {
            NorError::Reset => {
                self.soc.reset(ResetReason::PowerOn);
                let rise = if self.soc.fabric.timed { ticks(EN_RISE) } else { 0 };
                self.state = State::Rising(now.saturating_add(rise));
            }
            NorError::NoPower => {
                let back_after = self.soc.fabric.flash.nor.power_back_after();
                if self.faults.gone.is_none() {
                    self.faults.gone = Some(PortLoss { back_after });
                }
                match back_after {
                    Some(after) => {
                        // Nothing runs until then, so the flash may be powered at once.
                        self.soc.fabric.flash.nor.power_on();
                        self.soc.reset(ResetReason::PowerOn);
                        self.faults.away_until = now.saturating_add(ticks(after));
                        self.state = State::Rising(self.faults.away_until);
                    }
                    None => self.state = State::Faulted(Fault::Flash(error)),
                }
            }
            _ => self.state = State::Faulted(Fault::Flash(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_same_for_a_seed_and_about_as_often() {
        let hits = |seed| {
            let mut chance = Chance(seed);
            (0..100_000).filter(|at| chance.hits(When::OneIn(100), *at)).collect::<Vec<u64>>()
        };
        assert_eq!(hits(1), hits(1));
        assert_ne!(hits(1), hits(2));
        assert!((900..1100).contains(&hits(1).len()), "{}", hits(1).len());
    }
}
