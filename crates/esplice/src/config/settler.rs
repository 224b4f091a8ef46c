//! Resolves single settings: a flag overrides environment and file, which override the default.

use crate::{
    cli::{value, value::Form},
    config::{
        keys::{KEYS, Key},
        settings::{Origin, Settings, Settled, Written},
    },
    ui::exit::Failure,
};

/// A resolved value, for people.
#[derive(Debug, Clone)]
pub struct Entry {
    pub section: &'static str,
    pub name: &'static str,
    pub value: Option<Settled<String>>,
}

/// Resolves values one by one, each a key of [`KEYS`], and records them for `esplice config`. A
/// value given as `flag` overrides the settings, and these override a default.
pub struct Settler<'a> {
    settings: &'a Settings,
    pub entries: Vec<Entry>,
}

impl<'a> Settler<'a> {
    pub fn new(settings: &'a Settings) -> Settler<'a> {
        Settler { settings, entries: Vec::new() }
    }

    /// Resolves a value of this form, without a default.
    pub fn value<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        form: &Form<T>,
        flag: Option<T>,
        default: Option<Settled<T>>,
    ) -> Result<Option<Settled<T>>, Failure> {
        let parse = |written: &Written| match written {
            Written::One(text) => (form.parse)(text),
            Written::Many(texts) => (form.parse)(&texts.join(",")),
        };
        self.settle(section, name, flag, parse, form.show, default)
    }

    /// Resolves a setting that always has a value, falling back to a default.
    pub fn or<T: Clone>(
        &mut self,
        section: &'static str,
        name: &'static str,
        form: &Form<T>,
        flag: Option<T>,
        default: T,
    ) -> Result<Settled<T>, Failure> {
        let default = Settled { value: default, origin: Origin::Default };
        let settled = self.value(section, name, form, flag, Some(default.clone()))?;
        Ok(settled.unwrap_or(default))
    }

    /// Resolves a text without a default.
    pub fn text(
        &mut self,
        section: &'static str,
        name: &'static str,
        flag: Option<String>,
    ) -> Result<Option<Settled<String>>, Failure> {
        self.value(section, name, &value::TEXT, flag, None)
    }

    /// Resolves a switch, off by default.
    pub fn switch(
        &mut self,
        section: &'static str,
        name: &'static str,
        flag: bool,
    ) -> Result<bool, Failure> {
        let settled = self.or(section, name, &value::SWITCH, flag.then_some(true), false)?;
        Ok(settled.value)
    }

    /// Resolves a list of texts, empty by default.
    pub fn list(
        &mut self,
        section: &'static str,
        name: &'static str,
        flag: Option<Vec<String>>,
    ) -> Result<Vec<String>, Failure> {
        let parse = |written: &Written| match written {
            Written::One(text) => Ok(vec![text.clone()]),
            Written::Many(texts) => Ok(texts.clone()),
        };
        let settled = self.settle(section, name, flag, parse, |texts| texts.join(","), None)?;
        Ok(settled.map(|settled| settled.value).unwrap_or_default())
    }

    /// Returns what was settled for a key.
    pub fn settled(&self, section: &str, name: &str) -> Option<Settled<String>> {
        let entry = self.entries.iter().find(|e| e.section == section && e.name == name)?;
        entry.value.clone()
    }

    /// Replaces what was settled for a key, for `esplice config`.
    pub fn replace(&mut self, section: &str, name: &str, value: Option<Settled<String>>) {
        let entry = self.entries.iter_mut().find(|e| e.section == section && e.name == name);
        if let Some(entry) = entry {
            entry.value = value;
        }
    }

    fn settle<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        flag: Option<T>,
        parse: impl Fn(&Written) -> Result<T, String>,
        show: impl Fn(&T) -> String,
        default: Option<Settled<T>>,
    ) -> Result<Option<Settled<T>>, Failure> {
        let settled = match (flag, self.settings.get(section, name)) {
            (Some(value), _) => {
                Some(Settled { value, origin: Origin::Flag(key(section, name).flag) })
            }
            (None, Some(set)) => {
                let value = parse(&set.value).map_err(|message| {
                    Failure::usage(format!("{}: {section}.{name}: {message}", set.origin))
                })?;
                Some(Settled { value, origin: set.origin.clone() })
            }
            (None, None) => default,
        };
        let value =
            settled.as_ref().map(|s| Settled { value: show(&s.value), origin: s.origin.clone() });
        self.entries.push(Entry { section, name, value });
        Ok(settled)
    }
}

/// Returns the key of this name, which must exist: a test resolves all settings.
fn key(section: &str, name: &str) -> &'static Key {
    let key = KEYS.iter().find(|key| key.section == section && key.name == name);
    key.expect("each resolved key is in the list")
}
