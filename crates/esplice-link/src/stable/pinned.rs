//! Writes the linker script with every pinned section at its place, and evaluates the linker's
//! errors.

use std::fmt::Write as _;

use super::{
    items::Item,
    link::{Basis, Link, PIN, Retry},
    plan::evict,
    settings::Tail,
};

/// Number of attempts before giving up on a link.
pub(super) const MAX_TRIES: u32 = 12;

impl Link {
    /// Returns the room for new sections in a zone: that of its output section, if it is the first
    /// zone.
    pub(super) fn tail(&self, number: usize) -> Tail {
        let first = self.script.zones.get(number).filter(|zone| zone.number == 0);
        first.map_or(Tail::Fixed(0), |zone| self.job.settings.tail(&zone.output))
    }

    /// Returns the number of parts of a zone's room in a fresh link. Edited code is at the zone's
    /// start, and half of the room follows it: new sections, and those that outgrow their place,
    /// then share sectors with what changes anyway. The rest is at the zone's end, for sections
    /// that the linker adds.
    pub(super) fn parts(&self, number: usize) -> u32 {
        let named = |(item, name): (&Item, &Option<usize>)| item.zone == number && name.is_some();
        if self.items.iter().zip(&self.names).any(named) { 2 } else { 1 }
    }

    /// Returns the room in bytes that follows the edited code in a zone of a fresh link. It is not
    /// yet known how much of the zone is needed, so all of it counts.
    pub(super) fn nursery(&self, number: usize) -> u32 {
        let parts = self.parts(number);
        if parts == 1 {
            return 0;
        }
        let sizes = self.items.iter().filter(|item| item.zone == number).map(|item| item.size);
        let room = self.tail(number).part_of(sizes.fold(0, u32::saturating_add), parts);
        room.next_multiple_of(4)
    }

    /// Returns the script to link with, which replaces all others.
    pub fn script(&mut self) -> String {
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.script.zones.len()];
        let fresh = self.basis != Basis::Record;
        for (number, item) in self.items.iter().enumerate().filter(|_| fresh) {
            let named = self.names.get(number).is_some_and(Option::is_some);
            if let Some(list) = before.get_mut(item.zone).filter(|_| named) {
                list.push(number);
            }
        }
        let name = |names: &[Option<usize>], item: usize| {
            names.get(item).copied().flatten().unwrap_or(usize::MAX)
        };
        let mut order: Vec<usize> = (0..self.script.zones.len()).collect();
        order.sort_by_key(|zone| self.script.zones[*zone].range.start);
        let mut text = String::with_capacity(self.script.text.len() + self.names.len() * 64);
        let mut copied = 0;
        let mut newlines = 1;
        self.lines.clear();
        for number in order {
            let zone = &self.script.zones[number];
            let used = self.items.iter().any(|item| item.zone == number);
            if !used {
                continue;
            }
            let head = self.script.text.get(copied..zone.range.start).unwrap_or_default();
            text.push_str(head);
            text.push('\n');
            newlines += count_lines(head) + 1;
            let output = &zone.output;
            if self.basis == Basis::Record {
                let Some(extent) = self.plan.zones.get(&number) else {
                    copied = zone.range.start;
                    continue;
                };
                let at = |offset: u32| format!("ADDR({output}) + {offset:#x}");
                let mut end = extent.start;
                for (index, pin) in extent.pins.iter().enumerate() {
                    if !pin.joined {
                        let name = name(&self.names, pin.item);
                        let _ = writeln!(text, "    . = {}; *({PIN}{name})", at(pin.offset));
                        self.lines.insert(newlines, (number, index));
                        newlines += 1;
                    }
                    end = pin.offset.saturating_add(pin.size).saturating_add(pin.slack);
                }
                // Sections that are not pinned go after the room of the last pinned one.
                let _ = writeln!(text, "    . = MAX(ABSOLUTE(.), {});", at(end.min(extent.end)));
                newlines += 1;
                let body = self.script.text.get(zone.range.clone()).unwrap_or_default();
                let end = at(extent.end);
                // A zone that no longer ends where it did gets new room: the sections after it move
                // once, and not again with each link.
                let _ = match self.tail(number).part_of(extent.end, 1) {
                    0 => writeln!(text, "{body}\n    . = MAX(ABSOLUTE(.), {end});\n"),
                    tail => writeln!(
                        text,
                        "{body}\n    . = ABSOLUTE(.) > {end} ? ABSOLUTE(.) + {tail} : {end};\n    . = ALIGN(4);"
                    ),
                };
                newlines += count_lines(body) + 3;
            } else {
                for item in before.get(number).into_iter().flatten() {
                    let name = name(&self.names, *item);
                    let slack = self.items.get(*item).map_or(0, |i| self.job.settings.slack(i));
                    let _ = writeln!(text, "    *({PIN}{name}) . = . + {slack};");
                    newlines += 1;
                }
                let nursery = self.nursery(number);
                if nursery > 0 {
                    let _ = writeln!(text, "    . = . + {nursery};");
                    newlines += 1;
                }
                let body = self.script.text.get(zone.range.clone()).unwrap_or_default();
                let tail = self.tail(number).expression(output, self.parts(number));
                let _ = writeln!(text, "{body}\n    . = . + {tail};\n    . = ALIGN(4);");
                newlines += count_lines(body) + 3;
            }
            copied = zone.range.end;
        }
        text.push_str(self.script.text.get(copied..).unwrap_or_default());
        text
    }

    /// Evaluates the linker's output after a failure with the script: the sections before the lines
    /// that it reports have outgrown their places and get others.
    pub(crate) fn failed(&mut self, said: &str) -> Retry {
        self.tries += 1;
        if self.basis != Basis::Record || self.tries >= MAX_TRIES {
            return Retry::GiveUp;
        }
        let mut evicted: Vec<(usize, usize)> = Vec::new();
        for line in said.lines().filter(|line| line.contains("error:")) {
            let Some(number) = backward_line(line) else { return Retry::GiveUp };
            match self.lines.get(&number) {
                Some(&(zone, pin)) if pin > 0 => evicted.push((zone, pin - 1)),
                _ => return Retry::GiveUp,
            }
        }
        evicted.sort_unstable();
        evicted.dedup();
        let mut apart = false;
        let mut by_item = Vec::new();
        for (zone, pin) in &evicted {
            let Some(extent) = self.plan.zones.get_mut(zone) else { continue };
            // Once each joined section has its own line, the linker reports which one is too long.
            if extent.pins.get(*pin).is_some_and(|pin| pin.joined) {
                extent.separate(*pin);
                apart = true;
            } else {
                by_item.extend(extent.pins.get(*pin).map(|pin| (*zone, pin.item)));
            }
        }
        // From the end, so that numbers stay valid: a section that moves goes after most others.
        let mut moved = false;
        for (zone, item) in by_item {
            let Some(extent) = self.plan.zones.get_mut(&zone) else { continue };
            let Some(at) = extent.pins.iter().position(|pin| pin.item == item) else { continue };
            moved |= evict(extent, at, &self.items);
            self.evicted += 1;
        }
        if apart {
            self.name();
            return Retry::Files;
        }
        if moved { Retry::Again } else { Retry::GiveUp }
    }
}

fn count_lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Returns the line number in `…/link.x:123: unable to move location counter backward …`
/// (lld/ELF/LinkerScript.cpp, `setDot`).
fn backward_line(said: &str) -> Option<usize> {
    let (head, _) = said.split_once(": unable to move location counter backward")?;
    head.rsplit_once(':')?.1.parse().ok()
}
