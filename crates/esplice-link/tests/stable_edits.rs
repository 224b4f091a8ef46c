//! Tests chains of random edits: pinned sections stay, or are listed as moved.

use std::collections::BTreeMap;

use esplice_link::stable::{Basis, Record};
use proptest::prelude::*;

use crate::{
    objects::{self, Placed, Section, archive, function, object, strings, variable},
    stable::{carry_out, job},
};

/// Length of the shortest function in bytes, with room for its relocation and its name.
const LEAST: u32 = 24;

/// An edit of the program.
#[derive(Debug, Clone)]
enum Edit {
    Resize(usize, u32),
    Add(u32, u32),
    Remove(usize),
    Text(usize, String),
    Realign(usize, u32),
    Library(u32),
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (any::<usize>(), 4..600_u32).prop_map(|(n, len)| Edit::Resize(n, len)),
        2 => (4..900_u32, 0..5_u32).prop_map(|(len, align)| Edit::Add(len, 1 << align)),
        1 => any::<usize>().prop_map(Edit::Remove),
        2 => (any::<usize>(), "[a-z]{0,60}").prop_map(|(n, text)| Edit::Text(n, text)),
        1 => (any::<usize>(), 0..6_u32).prop_map(|(n, align)| Edit::Realign(n, 1 << align)),
        1 => (4..300_u32).prop_map(Edit::Library),
    ]
}

/// A program that is edited.
#[derive(Debug, Clone)]
struct Source {
    functions: Vec<(String, u32, u32)>,
    texts: Vec<(String, String)>,
    library: u32,
    made: u32,
}

impl Source {
    fn edit(&mut self, edit: &Edit) {
        let count = self.functions.len();
        match edit {
            Edit::Resize(n, len) if count > 0 => self.functions[n % count].1 = *len,
            Edit::Realign(n, align) if count > 0 => self.functions[n % count].2 = *align,
            Edit::Remove(n) if count > 1 => {
                self.functions.remove(n % count);
            }
            Edit::Add(len, align) => {
                self.made += 1;
                let name = format!("_3app_new{}", self.made);
                self.functions.insert(count / 2, (name, *len, *align));
            }
            Edit::Text(n, text) if !self.texts.is_empty() => {
                let at = n % self.texts.len();
                self.texts[at].1 = text.clone();
            }
            Edit::Library(len) => self.library = *len,
            _ => {}
        }
    }

    fn inputs(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut sections: Vec<Section> = Vec::new();
        for (number, (name, len, align)) in self.functions.iter().enumerate() {
            // Each has distinct contents, so that it is recognised wherever it is.
            let mut made = function(name, (*len).max(LEAST), *align, &["helper"]);
            let tag = format!("{number:04}{name}\0");
            for (to, from) in made.data.iter_mut().skip(4).zip(tag.bytes()) {
                *to = from;
            }
            sections.push(made);
        }
        sections.push(strings(&self.texts));
        sections.push(function("_3app_uses", 40, 2, &self.text_symbols()));
        sections.push(variable("_3app_v", 4 + self.library % 3));
        let needed = object(&[function("helper", self.library, 4, &[])]);
        vec![("main.o", object(&sections)), ("libx.a", archive(&[("needed.o", needed)]))]
    }

    fn text_symbols(&self) -> Vec<&str> {
        self.texts.iter().map(|(symbol, _)| symbol.as_str()).collect()
    }
}

/// Returns the places of sections that are unique in their output section, and so are identified by
/// that and their contents.
fn offsets(placed: &[Placed]) -> BTreeMap<(&str, &[u8]), u32> {
    let mut offsets: BTreeMap<(&str, &[u8]), Vec<u32>> = BTreeMap::new();
    for placed in placed.iter().filter(|placed| placed.size > 0) {
        offsets.entry((&placed.output, &placed.data)).or_default().push(placed.offset);
    }
    let alone = offsets.into_iter().filter(|(_, all)| all.len() == 1);
    alone.map(|(of, all)| (of, all[0])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Tests chains of edits: every section is where the last link had it, or is listed as moved or
    /// new; nothing overlaps; and strings have the right contents wherever they are.
    #[test]
    fn pinned_sections_are_where_they_were_or_listed(
        lens in prop::collection::vec((4..400_u32, 0..4_u32), 3..12),
        chain in prop::collection::vec(prop::collection::vec(edits(), 1..4), 20),
        relax in 0..5_u32,
    ) {
        let mut source = Source {
            functions: lens.iter().enumerate()
                .map(|(n, (len, align))| (format!("_3app{n}"), *len, 1 << align)).collect(),
            texts: (0..5).map(|n| (format!(".L{n}"), format!("text {n}"))).collect(),
            library: 50,
            made: 0,
        };
        // Relaxation shortens some sections.
        let shrink = move |_: &str, len: u32| len - (len * relax / 40) / 2 * 2 * (len % 3 % 2);
        let mut last: Option<(Record, BTreeMap<String, u32>, Vec<Placed>)> = None;
        for edits in &chain {
            edits.iter().for_each(|edit| source.edit(edit));
            let mut link = job(source.inputs());
            link.settings.waste = 1_000_000;
            let done = carry_out(link, last.as_ref().map(|last| &last.0), &shrink);

            let mut by_addr: Vec<(u32, u32)> =
                done.placed.iter().filter(|p| p.size > 0).map(|p| (p.addr, p.addr + p.size)).collect();
            by_addr.sort_unstable();
            for pair in by_addr.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].0, "{pair:x?} overlap");
            }
            // By name of function: its place in .text, whose start does not move.
            let mut now: BTreeMap<String, u32> = BTreeMap::new();
            for placed in done.placed.iter().filter(|p| p.output == ".text") {
                let named = source.functions.iter().find(|(name, _, _)| {
                    let tag = [name.as_bytes(), b"\0"].concat();
                    placed.data.get(8..).is_some_and(|data| data.starts_with(&tag))
                });
                if let Some((name, _, _)) = named {
                    now.insert(name.clone(), placed.addr - objects::START);
                }
            }
            prop_assert_eq!(now.len(), source.functions.len());
            if let Some((_, before, placed)) = &last {
                for (name, addr) in &now {
                    let Some(old) = before.get(name) else { continue };
                    let listed = done.outcome.moved.iter()
                        .any(|(moved, from, to)| moved == &format!(".text.{name}") && from == old && to == addr);
                    prop_assert!(old == addr || listed, "{name} from {old:#x} to {addr:#x}, unlisted");
                }
                // Everything that has not changed: strings, the library's functions, variables.
                let after = offsets(&done.placed);
                for ((output, data), old) in offsets(placed) {
                    let Some(new) = after.get(&(output, data)) else { continue };
                    let listed =
                        done.outcome.moved.iter().any(|(_, from, to)| (*from, to) == (old, new));
                    prop_assert!(
                        old == *new || listed,
                        "{} bytes of {output} from {old:#x} to {new:#x}, unlisted", data.len()
                    );
                }
                prop_assert_eq!(done.basis, Basis::Record);
            }
            for (_, text) in &source.texts {
                let with_end = [text.as_bytes(), b"\0"].concat();
                prop_assert!(done.placed.iter().any(|placed| placed.data == with_end));
            }
            last = Some((done.outcome.record, now, done.placed));
        }
    }
}
