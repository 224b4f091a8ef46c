//! From a panic's numbers to the functions and lines that they stand for.

use crate::{
    dump::Dump,
    panic::{AddressKind, CodeAddress, PanicReport},
    symbols::{SymbolFrame, Symbols},
};

/// Frames of one panic at most; those of an endless recursion are folded before.
const MAX_FRAMES: usize = 256;

/// One function on the way to a panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The address, as the firmware printed it or as it lies on the stack.
    pub addr: u32,
    /// What the ELF knows of it; none where it knows nothing, or where there is no ELF.
    pub symbol: Option<SymbolFrame>,
    /// How many times in a row it is there: more than once in a recursion, and where a backtrace's
    /// tail repeats.
    pub times: u32,
}

/// The frames of a panic, the failing one first: by what it prints of registers and stack where
/// `symbols` can unwind it, else by the addresses that it prints.
///
/// Only addresses that the firmware meant as such are looked up, and only those in executable
/// sections get a name.
pub fn decode(report: &PanicReport, symbols: Option<&Symbols<'_>>) -> Vec<Frame> {
    let addresses = match symbols {
        Some(symbols) => unwound(report, symbols).unwrap_or_else(|| report.addresses.clone()),
        None => report.addresses.clone(),
    };
    let mut frames: Vec<Frame> = vec![];
    for (times, address) in folded(&addresses) {
        let found = symbols.map(|symbols| symbols.frames(address.instruction().into()));
        let found = found.unwrap_or_default();
        let frame = |symbol| Frame { addr: address.addr, symbol, times };
        if found.is_empty() {
            frames.push(frame(None));
        }
        frames.extend(found.into_iter().map(|symbol| frame(Some(symbol))));
    }
    frames.truncate(MAX_FRAMES);
    frames
}

/// The addresses that a dump's stack leads to. None without a dump, and where unwinding finds no
/// more than the dump's own text says.
fn unwound(report: &PanicReport, symbols: &Symbols<'_>) -> Option<Vec<CodeAddress>> {
    let dump = Dump::find(&report.lines)?;
    let callers = dump.callers(symbols);
    if callers.is_empty() {
        return None;
    }
    let mut addresses = vec![CodeAddress { addr: dump.registers.pc, kind: AddressKind::Exact }];
    // What the message itself names, such as who called `abort`, lies on the way.
    addresses.extend(callers.iter().map(|caller| CodeAddress {
        addr: caller.addr,
        kind: if caller.interrupted { AddressKind::Exact } else { AddressKind::Return },
    }));
    Some(addresses)
}

/// Each address once for all the times that it comes in a row.
fn folded(addresses: &[CodeAddress]) -> Vec<(u32, CodeAddress)> {
    let mut folded: Vec<(u32, CodeAddress)> = vec![];
    for address in addresses {
        match folded.last_mut() {
            Some((times, last)) if last == address => *times = times.saturating_add(1),
            _ => folded.push((1, *address)),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_a_row_are_folded() {
        let [a, b] = [1, 2].map(|addr| CodeAddress { addr, kind: AddressKind::Call });
        assert_eq!(folded(&[a, b, b, b, a]), [(1, a), (3, b), (1, a)]);
        assert_eq!(folded(&[]), []);
    }
}
