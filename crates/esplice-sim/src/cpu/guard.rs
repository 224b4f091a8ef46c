//! Access checks of memory protection (PMP) and the debug unit's triggers.
//!
//! The rules are from the RISC-V privileged specification, "Physical Memory Protection", and the
//! debug specification, "Match Control". The ESP32-C3 implements a subset of the triggers: address
//! match on any byte of an access, exact or NAPOT, before the access, with a breakpoint exception
//! as the only action (TRM, chapter "Trigger Module"; also in esp-hal's `debugger.rs`).
//!
//! # Performance
//! While neither is set up, the inner loop runs without any check. Otherwise every access is looked
//! up in a small table of pages in which all accesses of its kind are allowed and nothing is
//! watched. Only accesses to other pages are compared with the registers. There is one table for
//! each of the four *worlds*, the combinations of privilege mode and tcontrol.mte, so that a trap
//! does not require reading the registers either.

use super::{Csrs, MAX_TRIGGERS, cause, trap};

/// Table entries per world and kind of access.
const WAYS: usize = 64;
/// Marks an unused table entry, as no page has this number.
const NONE: u32 = u32::MAX;

/// Fields of tdata1 (esp-hal, `debugger.rs`, `Tdata1`).
mod tdata1 {
    pub const LOAD: u32 = 1 << 0;
    pub const STORE: u32 = 1 << 1;
    pub const EXECUTE: u32 = 1 << 2;
    pub const USER: u32 = 1 << 3;
    pub const MACHINE: u32 = 1 << 6;
    pub const MATCH: u32 = 0xf << 7;
    pub const MATCH_NAPOT: u32 = 1 << 7;
    pub const HIT: u32 = 1 << 20;
    /// The type "address match", which is fixed.
    pub const TYPE: u32 = 2 << 28;
}

/// Fields of an entry of pmpcfg (privileged specification, "Physical Memory Protection CSRs").
mod pmp {
    pub const READ: u8 = 1 << 0;
    pub const WRITE: u8 = 1 << 1;
    pub const EXECUTE: u8 = 1 << 2;
    pub const MODE: u8 = 3 << 3;
    pub const TOR: u8 = 1 << 3;
    pub const NA4: u8 = 2 << 3;
    pub const LOCKED: u8 = 1 << 7;
    /// Bits 6:5 are reserved.
    pub const WRITABLE: u8 = 0x9f;
}

/// tdata1 after a reset.
pub(super) const TDATA1_RESET: u32 = tdata1::TYPE;

/// The kind of a memory access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccessKind {
    Load,
    Store,
    Fetch,
}

type Pages = [[u32; WAYS]; 3];

/// Cached results of the register checks.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// True if anything must be checked, by world.
    active: [bool; 4],
    world: usize,
    /// Pages in which no check is needed, by world and intent.
    clear: Box<[Pages; 4]>,
}

impl Guard {
    pub fn new() -> Self {
        Self { active: [false; 4], world: 0, clear: Box::new([[[NONE; WAYS]; 3]; 4]) }
    }

    /// Updates the tables after a write to the protection or trigger registers.
    pub fn refresh(&mut self, csrs: &Csrs) {
        for world in 0..4 {
            let (user, enabled) = (world & 2 != 0, world & 1 != 0);
            let watched = csrs.tdata1.iter().any(|data| is_armed(*data, user, enabled));
            self.active[world] = watched || csrs.protects(user);
        }
        for pages in self.clear.iter_mut().flatten() {
            pages.fill(NONE);
        }
        self.update_world(csrs);
    }

    /// Updates the world after a change of the privilege mode or tcontrol.
    #[inline]
    pub fn update_world(&mut self, csrs: &Csrs) {
        self.world = usize::from(csrs.user_mode) << 1 | usize::from(csrs.tcontrol & trap::MTE != 0);
    }

    /// Returns whether accesses are currently checked.
    #[inline(always)]
    pub fn is_active(&self) -> bool {
        self.active[self.world & 3]
    }

    /// Returns whether an access of `len` bytes, a power of two, is known to be allowed.
    #[inline(always)]
    pub fn is_clear(&self, intent: AccessKind, addr: u32, len: u32) -> bool {
        let page = addr >> 12;
        self.clear[self.world & 3][intent as usize][page as usize % WAYS] == page
            && addr & (len - 1) == 0
    }

    /// Checks an access against the registers. An error is mcause and mtval.
    #[cold]
    pub fn check(
        &mut self,
        csrs: &mut Csrs,
        intent: AccessKind,
        addr: u32,
        len: u32,
    ) -> Result<(), (u32, u32)> {
        if let Some(trigger) = csrs.trigger_at(intent, addr, len) {
            csrs.tdata1[trigger] |= tdata1::HIT;
            return Err((cause::BREAKPOINT, addr));
        }
        if !csrs.permits(intent, addr, len) {
            let cause = match intent {
                AccessKind::Load => cause::LOAD_ACCESS,
                AccessKind::Store => cause::STORE_ACCESS,
                AccessKind::Fetch => cause::FETCH_ACCESS,
            };
            return Err((cause, addr));
        }
        // An instruction may start in the page and end in the next one.
        let reach = if intent == AccessKind::Fetch { 4098 } else { 4096 };
        let start = addr & !0xfff;
        if csrs.trigger_at(intent, start, reach).is_none() && csrs.permits(intent, start, reach) {
            let page = addr >> 12;
            self.clear[self.world & 3][intent as usize][page as usize % WAYS] = page;
        }
        Ok(())
    }
}

impl Csrs {
    /// Returns whether memory protection may refuse anything in this mode.
    fn protects(&self, user: bool) -> bool {
        // User mode needs an entry that allows the access; machine mode is bound only by locked
        // entries.
        let entries = (0..self.pmp_entries).map(|entry| self.pmp_config(entry));
        if user {
            self.pmp_entries > 0
        } else {
            entries.into_iter().any(|config| config & pmp::LOCKED != 0 && config & pmp::MODE != 0)
        }
    }

    /// Returns the first trigger that fires for an access of `len` bytes in the current mode.
    fn trigger_at(&self, intent: AccessKind, addr: u32, len: u32) -> Option<usize> {
        let wanted = match intent {
            AccessKind::Load => tdata1::LOAD,
            AccessKind::Store => tdata1::STORE,
            AccessKind::Fetch => tdata1::EXECUTE,
        };
        let enabled = self.tcontrol & trap::MTE != 0;
        (0..MAX_TRIGGERS).find(|&trigger| {
            let data = self.tdata1[trigger];
            if data & wanted == 0 || !is_armed(data, self.user_mode, enabled) {
                return false;
            }
            let (first, last) = match data & tdata1::MATCH {
                tdata1::MATCH_NAPOT => {
                    // Trailing ones of the address encode the length of the region.
                    let ones = self.tdata2[trigger] ^ self.tdata2[trigger].wrapping_add(1);
                    (self.tdata2[trigger] & !ones, self.tdata2[trigger] | ones)
                }
                _ => (self.tdata2[trigger], self.tdata2[trigger]),
            };
            u64::from(addr) <= u64::from(last)
                && u64::from(first) < u64::from(addr) + u64::from(len)
        })
    }

    /// Returns whether memory protection allows all of an access of `len` bytes in the current
    /// mode. The first entry that matches any byte decides, and refuses if it does not match all of
    /// them.
    fn permits(&self, intent: AccessKind, addr: u32, len: u32) -> bool {
        let (start, end) = (u64::from(addr), u64::from(addr) + u64::from(len));
        let wanted = match intent {
            AccessKind::Load => pmp::READ,
            AccessKind::Store => pmp::WRITE,
            AccessKind::Fetch => pmp::EXECUTE,
        };
        for entry in 0..self.pmp_entries {
            let Some((first, past)) = self.pmp_range(entry) else { continue };
            if end <= first || past <= start {
                continue;
            }
            let config = self.pmp_config(entry);
            let free = !self.user_mode && config & pmp::LOCKED == 0;
            return first <= start && end <= past && (free || config & wanted != 0);
        }
        !self.user_mode || self.pmp_entries == 0
    }

    fn pmp_config(&self, entry: usize) -> u8 {
        (self.pmpcfg[entry / 4 % 4] >> (8 * (entry % 4))) as u8
    }

    /// Returns the range that an entry matches: the first byte, and one past the last. pmpaddr
    /// holds bits 33:2 of an address.
    fn pmp_range(&self, entry: usize) -> Option<(u64, u64)> {
        let addr = |entry: usize| u64::from(self.pmpaddr[entry]) << 2;
        match self.pmp_config(entry) & pmp::MODE {
            0 => None,
            pmp::TOR => {
                let first = if entry == 0 { 0 } else { addr(entry - 1) };
                (first < addr(entry)).then(|| (first, addr(entry)))
            }
            pmp::NA4 => Some((addr(entry), addr(entry) + 4)),
            _ => {
                let ones = u64::from(self.pmpaddr[entry].trailing_ones());
                let len = 8_u64 << ones;
                let first = addr(entry) & !(len - 1);
                Some((first, first + len))
            }
        }
    }

    /// Writes pmpcfg `number`. Locked entries keep their values.
    pub(super) fn write_pmpcfg(&mut self, number: usize, value: u32) {
        let old = self.pmpcfg[number].to_le_bytes();
        let mut new = value.to_le_bytes();
        for (byte, (new, old)) in new.iter_mut().zip(old).enumerate() {
            let exists = 4 * number + byte < self.pmp_entries;
            *new = match old & pmp::LOCKED {
                _ if !exists => 0,
                0 => *new & pmp::WRITABLE,
                _ => old,
            };
        }
        self.pmpcfg[number] = u32::from_le_bytes(new);
    }

    /// Writes pmpaddr `entry`. The register is locked by its own entry, and by the next one if that
    /// uses it as its bottom.
    pub(super) fn write_pmpaddr(&mut self, entry: usize, value: u32) {
        let locked = |entry: usize| self.pmp_config(entry) & pmp::LOCKED != 0;
        let next = entry + 1;
        let bottom = next < self.pmp_entries
            && locked(next)
            && self.pmp_config(next) & pmp::MODE == pmp::TOR;
        if entry < self.pmp_entries && !locked(entry) && !bottom {
            self.pmpaddr[entry] = value;
        }
    }

    /// Writes tdata1 of a trigger. The type is fixed, only a debugger can set dmode, the action
    /// without it is always the exception, and a match mode beyond NAPOT becomes NAPOT.
    pub(super) fn write_tdata1(&mut self, trigger: usize, value: u32) {
        let kept = tdata1::LOAD
            | tdata1::STORE
            | tdata1::EXECUTE
            | tdata1::USER
            | tdata1::MACHINE
            | tdata1::HIT;
        let napot = if value & tdata1::MATCH != 0 { tdata1::MATCH_NAPOT } else { 0 };
        self.tdata1[trigger] = tdata1::TYPE | value & kept | napot;
    }
}

/// Returns whether a trigger can fire in this mode. tcontrol.mte has an effect only in machine mode
/// (debug specification, "Trigger Control").
fn is_armed(data: u32, user: bool, enabled: bool) -> bool {
    let mode = if user { data & tdata1::USER != 0 } else { data & tdata1::MACHINE != 0 && enabled };
    mode && data & (tdata1::LOAD | tdata1::STORE | tdata1::EXECUTE) != 0
}
