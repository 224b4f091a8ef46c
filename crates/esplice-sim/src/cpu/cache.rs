//! Decoded instructions, cached in pages of 4 KiB.

use super::decode::{Kind, Op, decode};
use super::{Bus, Fault, cause};
use crate::page_table::PageTable;
use std::collections::HashSet;

/// Operations per page: an instruction may start at every halfword.
pub(super) const OPS: usize = 2048;
/// One page of operations.
pub(super) type Page = [Op; OPS];

/// The cache of decoded pages. Its size is bounded by the amount of executable code: at 4 bytes per
/// byte of code, some 40 MB if firmware ran through all of a chip's 8 MiB flash window.
#[derive(Debug, Clone)]
pub(crate) struct CodeCache {
    /// 1 + index into `pages` for each page of the address space, or 0.
    index: PageTable,
    pages: Vec<Box<Page>>,
    /// Page number of each entry in `pages`.
    numbers: Vec<u32>,
    hooks: HashSet<u32>,
    /// Addresses of the debugger's breakpoints, decoded like hooks.
    breakpoints: HashSet<u32>,
}

impl CodeCache {
    pub fn new() -> Self {
        Self {
            index: PageTable::new(),
            pages: Vec::new(),
            numbers: Vec::new(),
            hooks: HashSet::new(),
            breakpoints: HashSet::new(),
        }
    }

    /// Returns a cache with the same hooks and breakpoints, in which nothing is decoded.
    pub fn emptied(&self) -> Self {
        Self { hooks: self.hooks.clone(), breakpoints: self.breakpoints.clone(), ..Self::new() }
    }

    /// Returns the page of an address, if anything in it is decoded.
    #[inline(always)]
    pub fn page(&self, addr: u32) -> Option<&Page> {
        let slot = self.index[(addr >> 12) as usize];
        self.pages.get((slot as usize).wrapping_sub(1)).map(|page| &**page)
    }

    fn page_mut(&mut self, addr: u32) -> Option<&mut Page> {
        let slot = self.index[(addr >> 12) as usize] as usize;
        self.pages.get_mut(slot.wrapping_sub(1)).map(|page| &mut **page)
    }

    fn make_page(&mut self, addr: u32) -> &mut Page {
        let number = (addr >> 12) as usize;
        if self.index[number] == 0 {
            let page: Box<[Op]> = vec![Op::default(); OPS].into_boxed_slice();
            // The length is OPS, so the conversion succeeds; a failure would only produce another
            // empty page.
            self.pages.push(page.try_into().unwrap_or_else(|_| Box::new([Op::default(); OPS])));
            self.numbers.push(number as u32);
            self.index[number] = self.pages.len() as u32;
        }
        let slot = self.index[number] as usize - 1;
        &mut self.pages[slot]
    }

    pub fn get(&self, addr: u32) -> Op {
        self.page(addr).map_or(Op::default(), |page| page[(addr as usize & 0xfff) / 2])
    }

    fn set(&mut self, addr: u32, op: Op) {
        self.make_page(addr)[(addr as usize & 0xfff) / 2] = op;
    }

    pub fn is_decoded(&self, addr: u32) -> bool {
        self.get(addr).kind != Kind::Undecoded
    }

    /// Returns the length in bytes of the instruction decoded at an address, or 0 if there is none.
    pub fn len_at(&self, addr: u32) -> u32 {
        self.get(addr).len()
    }

    pub fn is_hooked(&self, addr: u32) -> bool {
        self.hooks.contains(&addr)
    }

    /// Replaces an operation that is already decoded.
    pub fn replace(&mut self, addr: u32, op: Op) {
        self.set(addr, op);
    }

    pub fn has_breakpoint(&self, addr: u32) -> bool {
        self.breakpoints.contains(&addr)
    }

    pub fn set_hooks(&mut self, hooks: HashSet<u32>) {
        let old = std::mem::replace(&mut self.hooks, hooks);
        let new: Vec<u32> = self.hooks.iter().copied().collect();
        self.decode_again(old.into_iter().chain(new));
    }

    pub fn set_breakpoints(&mut self, breakpoints: HashSet<u32>) {
        let changed: Vec<u32> =
            self.breakpoints.symmetric_difference(&breakpoints).copied().collect();
        self.breakpoints = breakpoints;
        self.decode_again(changed);
    }

    fn decode_again(&mut self, addrs: impl IntoIterator<Item = u32>) {
        for addr in addrs {
            if let Some(page) = self.page_mut(addr) {
                page[(addr as usize & 0xfff) / 2] = Op::default();
            }
        }
    }

    /// Discards the pages that a range touches, and an instruction that starts before the range and
    /// extends into it.
    pub fn invalidate(&mut self, addr: u32, len: u32) {
        if len == 0 {
            return;
        }
        let first = addr >> 12;
        let last = addr.saturating_add(len - 1) >> 12;
        if (last - first) as usize >= self.pages.len() {
            for slot in 0..self.pages.len() {
                if (first..=last).contains(&self.numbers[slot]) {
                    *self.pages[slot] = [Op::default(); OPS];
                }
            }
        } else {
            for number in first..=last {
                if let Some(page) = self.page_mut(number << 12) {
                    *page = [Op::default(); OPS];
                }
            }
        }
        let before = (first << 12).wrapping_sub(2);
        if let Some(page) = self.page_mut(before) {
            page[OPS - 1] = Op::default();
        }
    }

    pub fn clear(&mut self) {
        for number in self.numbers.drain(..) {
            self.index[number as usize] = 0;
        }
        self.pages.clear();
    }
}

/// Decodes instructions starting at `pc` up to an unconditional jump, code that is already decoded,
/// or the end of the page. Only a fault at `pc` itself is an error: mcause and mtval.
pub(super) fn decode_run<B: Bus>(
    cache: &mut CodeCache,
    bus: &mut B,
    pc: u32,
) -> Result<(), (u32, u32)> {
    let mut addr = pc;
    loop {
        let (op, len) = if cache.hooks.contains(&addr) || cache.breakpoints.contains(&addr) {
            // The bytes are not read, so a hook may be at an address that can't be fetched.
            (Op { kind: Kind::Hook, ..Op::default() }, 2)
        } else {
            match decode_at(bus, addr) {
                Ok(found) => found,
                Err(fault) if addr == pc => return Err(fault),
                Err(_) => return Ok(()),
            }
        };
        cache.set(addr, op);
        if op.kind.ends_run() || op.kind == Kind::Hook {
            return Ok(());
        }
        let next = addr.wrapping_add(len);
        if next >> 12 != pc >> 12 || cache.get(next).kind != Kind::Undecoded {
            return Ok(());
        }
        addr = next;
    }
}

/// Decodes one instruction, whether hooked or not, and notifies the bus. An error is mcause and
/// mtval.
pub(super) fn decode_at<B: Bus>(bus: &mut B, addr: u32) -> Result<(Op, u32), (u32, u32)> {
    let fault = |addr| {
        move |fault| match fault {
            Fault::FetchAccess | Fault::LoadAccess | Fault::StoreAccess | Fault::Misaligned => {
                (cause::FETCH_ACCESS, addr)
            }
        }
    };
    let low = bus.fetch16(addr).map_err(fault(addr))?;
    let (raw, len) = if low & 3 == 3 {
        let high_addr = addr.wrapping_add(2);
        let high = bus.fetch16(high_addr).map_err(fault(high_addr))?;
        (u32::from(high) << 16 | u32::from(low), 4)
    } else {
        (u32::from(low), 2)
    };
    bus.decoded(addr, len);
    Ok((decode(addr, raw, len), len))
}
