//! The chip's table of ROM addresses.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use esplice_chip::Chip;
use serde::Deserialize;

use super::{Cost, Hook, boot::RomFacts, image::CodeFacts};
use crate::{SimError, soc::Soc};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Absent if the functions are not modelled.
    #[serde(default)]
    boot: Option<RomFacts>,
    code: CodeFacts,
    #[serde(default)]
    cycles: Cycles,
    #[serde(default)]
    group: Vec<Group>,
    #[serde(default)]
    words: Vec<Words>,
}

/// Cycles of the functions.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Cycles {
    source: String,
    functions: BTreeMap<String, Cost>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    source: String,
    /// True if all its functions are modelled.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "checked by the tests"))]
    complete: bool,
    #[serde(default)]
    functions: BTreeMap<String, u32>,
    #[serde(default)]
    data: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    name: String,
    addr: u32,
    values: Vec<u32>,
    source: String,
}

/// Functions and data of a ROM.
pub(crate) struct Table {
    /// All functions by address.
    functions: HashMap<u32, String>,
    hooks: HashMap<u32, (Hook, Option<Cost>)>,
    data: BTreeMap<String, u32>,
    words: Vec<(String, u32, Vec<u32>)>,
    /// True if the ROM is modelled, so that a board needs no file of it.
    modelled: bool,
    facts: RomFacts,
    code: CodeFacts,
}

impl Table {
    /// Returns the embedded table called `file`. It is parsed only once, for all boards.
    pub fn load(file: &str) -> Result<Arc<Self>, SimError> {
        static READ: Mutex<BTreeMap<String, Arc<Table>>> = Mutex::new(BTreeMap::new());
        // Nothing panics under the lock, and tables in the map are complete.
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = read.get(file) {
            return Ok(Arc::clone(table));
        }
        let bad = |message: String| SimError::RomTable { file: file.to_owned(), message };
        let text =
            esplice_chip::embedded_file(file).ok_or_else(|| bad("no such table".to_owned()))?;
        let table = Arc::new(Self::parse(text).map_err(bad)?);
        read.insert(file.to_owned(), Arc::clone(&table));
        Ok(table)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let models: HashMap<&str, Hook> = super::hooks().copied().collect();
        let mut table = Self {
            functions: HashMap::new(),
            hooks: HashMap::new(),
            data: BTreeMap::new(),
            words: Vec::new(),
            modelled: file.boot.is_some(),
            facts: file.boot.unwrap_or_default(),
            code: file.code,
        };
        for (name, source, there) in
            [("boot", &table.facts.source, table.modelled), ("code", &table.code.source, true)]
        {
            if there && source.is_empty() {
                return Err(format!("{name} names no source"));
            }
        }
        if !file.cycles.functions.is_empty() && file.cycles.source.is_empty() {
            return Err("cycles name no source".to_owned());
        }
        for name in file.cycles.functions.keys() {
            if !models.contains_key(name.as_str()) {
                return Err(format!("cycles of {name}, which is not modelled"));
            }
        }
        for group in file.group {
            if group.source.is_empty() {
                return Err(format!("group {} names no source", group.name));
            }
            for (name, addr) in group.functions {
                if let Some(hook) = models.get(name.as_str()) {
                    let cost = file.cycles.functions.get(name.as_str()).cloned();
                    table.hooks.insert(addr, (*hook, cost));
                }
                // The first of several names is the ROM's own.
                table.functions.entry(addr).or_insert(name);
            }
            table.data.extend(group.data);
        }
        for words in file.words {
            if words.source.is_empty() {
                return Err(format!("words {} name no source", words.name));
            }
            if !words.addr.is_multiple_of(4) {
                return Err(format!(
                    "words {} at {:#010x} are not aligned",
                    words.name, words.addr
                ));
            }
            table.data.entry(words.name.clone()).or_insert(words.addr);
            table.words.push((words.name, words.addr, words.values));
        }
        Ok(table)
    }

    /// Returns whether a board works without the ROM's code.
    pub fn is_modelled(&self) -> bool {
        self.modelled
    }

    /// Returns the addresses at which the CPU must stop.
    pub fn hooked(&self) -> impl Iterator<Item = u32> {
        self.hooks.keys().copied()
    }

    pub fn hook(&self, addr: u32) -> Option<(Hook, Option<&Cost>)> {
        self.hooks.get(&addr).map(|(hook, cost)| (*hook, cost.as_ref()))
    }

    /// Returns the cost of the function called `name`.
    pub fn cost_of(&self, name: &str) -> Option<&Cost> {
        self.hooks.iter().find(|(addr, _)| self.name(**addr) == Some(name))?.1.1.as_ref()
    }

    /// Returns the name of the function at an address.
    pub fn name(&self, addr: u32) -> Option<&str> {
        self.functions.get(&addr).map(String::as_str)
    }

    /// Returns the address of the ROM data called `name`.
    pub fn data(&self, name: &str) -> Option<u32> {
        self.data.get(name).copied()
    }

    /// Returns the address at which an interrupted ROM function resumes: after the vectors, where
    /// no call of firmware leads.
    pub fn resume(&self) -> u32 {
        self.facts.vectors + 0x80
    }

    /// Returns the ROM's texts and addresses.
    pub fn facts(&self) -> &RomFacts {
        &self.facts
    }

    /// Returns the facts about the ROM's code.
    pub fn code(&self) -> &CodeFacts {
        &self.code
    }

    /// Returns the known words of ROM: name, address, value.
    pub fn rom_words(&self, chip: &Chip) -> impl Iterator<Item = (&str, u32, u32)> {
        let in_rom = |addr: u32| {
            let region = chip.region_at(esplice_chip::Addr(addr));
            region.is_some_and(|region| region.kind == esplice_chip::RegionKind::Rom)
        };
        let words = self.words.iter().filter(move |(_, addr, _)| in_rom(*addr));
        words.flat_map(|(name, addr, values)| {
            (*addr..).step_by(4).zip(values).map(|(addr, value)| (name.as_str(), addr, *value))
        })
    }

    /// Writes the known words into the ROM, once when a board is created.
    pub fn fill_rom(&self, chip: &Chip, soc: &mut Soc) {
        let map = soc.fabric.memory.map().clone();
        for (_, addr, values) in &self.words {
            let Some(region) = map.regions.iter().find(|r| addr.wrapping_sub(r.base) < r.len)
            else {
                continue;
            };
            let rom = chip.region_at(esplice_chip::Addr(*addr));
            if rom.is_none_or(|region| region.kind != esplice_chip::RegionKind::Rom) {
                continue;
            }
            let crate::memory::Backing::Bank { bank, offset } = region.backing else { continue };
            let first = (offset + (addr - region.base)) as usize;
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            if let Some(at) = soc
                .fabric
                .memory
                .bank_mut(bank)
                .and_then(|bank| bank.get_mut(first..first + bytes.len()))
            {
                at.copy_from_slice(&bytes);
            }
        }
    }

    /// Writes the known words into RAM, as the ROM does at each boot.
    pub fn fill_ram(&self, soc: &mut Soc) {
        for (_, addr, values) in &self.words {
            for (i, value) in (0_u32..).zip(values) {
                // Stores to ROM are ignored.
                soc.fabric.memory.store32(addr.wrapping_add(4 * i), *value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chip_s_table_parses_and_every_model_is_in_one() {
        let mut known = std::collections::HashSet::new();
        for chip in esplice_chip::ChipDb::embedded().chips() {
            let Some(sim) = &chip.sim else { continue };
            let table = Table::load(&sim.rom_table).unwrap();
            known.extend(table.functions.values().cloned().collect::<Vec<_>>());
        }
        for (name, _) in super::super::hooks() {
            assert!(known.contains(*name), "{name} is modelled and in no table");
        }
    }

    /// Firmware may call any function of a group that the chip data marks as complete.
    #[test]
    fn complete_groups_are_modelled() {
        let mut complete = 0;
        for chip in esplice_chip::ChipDb::embedded().chips() {
            let Some(sim) = &chip.sim else { continue };
            let text = esplice_chip::embedded_file(&sim.rom_table).unwrap();
            let file: File = toml::from_str(text).unwrap();
            let table = Table::load(&sim.rom_table).unwrap();
            for group in file.group.iter().filter(|group| group.complete) {
                complete += 1;
                let missing: Vec<&String> = group
                    .functions
                    .iter()
                    .filter(|(name, addr)| {
                        table.hook(**addr).is_none() || table.cost_of(name).is_none()
                    })
                    .map(|(name, _)| name)
                    .collect();
                assert!(missing.is_empty(), "{}, {}: {missing:?}", chip.name, group.name);
            }
        }
        assert!(complete > 0);
    }

    #[test]
    fn a_broken_table_is_refused() {
        for (text, message) in [
            ("group = 3", "invalid type"),
            ("[[group]]\nname='a'\nsource=''", "group a names no source"),
            ("[[group]]\nname='a'\nsource='s'\nfunction={}", "unknown field"),
            ("[[words]]\nname='w'\naddr=2\nvalues=[]\nsource='s'", "not aligned"),
        ] {
            let group = if text.contains("group") { "" } else { "group=[]\n" };
            let boot = "boot={banner=[],reset-names=[],stack=0,download-stack=0,\
             data-end=0,header-pc=0,stuck-pc=0,panic-pc=0,load-pc=0,reset-pc=0,cpu-reset-pc=0,\
             stub-return=0,vectors=0,interrupt-exit=0,console-interrupt=5,prepare-cycles=1,\
             usb-polls=1,usb-poll-cycles=1,usb-byte-cycles=1,\
                stuck-text='',commands-text='',source='s'}\n\
                 code={reset-vector=0,initialised=[],source='s'}\n";
            let error = Table::parse(&format!("{group}{boot}{text}")).err().unwrap();
            assert!(error.contains(message), "{error}");
        }
    }
}
