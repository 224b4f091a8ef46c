//! How one setting is settled: flag over environment and file over default.

use crate::{
    exit::Failure,
    settings::{Origin, Settings, Settled, Written},
    value,
};

/// One settled value, for people.
#[derive(Debug, Clone)]
pub struct Entry {
    pub section: &'static str,
    pub name: &'static str,
    pub value: Option<Settled<String>>,
}

/// Settles one value after another, and keeps what it settled for `esplice config`.
pub struct Settler<'a> {
    settings: &'a Settings,
    pub entries: Vec<Entry>,
}

impl<'a> Settler<'a> {
    pub fn new(settings: &'a Settings) -> Settler<'a> {
        Settler { settings, entries: Vec::new() }
    }

    /// A value that `parse` reads and `show` writes; `flag` stands over the settings, and these over
    /// `default`.
    pub fn parsed<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        flag: Option<(&'static str, T)>,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
        default: Option<Settled<T>>,
    ) -> Result<Option<Settled<T>>, Failure> {
        let settled = match (flag, self.settings.get(section, name)) {
            (Some((flag, value)), _) => Some(Settled { value, origin: Origin::Flag(flag) }),
            (None, Some(set)) => {
                let text = match &set.value {
                    Written::One(text) => text.clone(),
                    Written::Many(texts) => texts.join(","),
                };
                let value = parse(&text).map_err(|message| {
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

    /// The same for a text.
    pub fn one(
        &mut self,
        section: &'static str,
        name: &'static str,
        flag: Option<(&'static str, String)>,
        parse: impl Fn(&str) -> Result<String, String>,
        default: Option<Settled<String>>,
    ) -> Result<Option<Settled<String>>, Failure> {
        self.parsed(section, name, flag, parse, String::clone, default)
    }

    /// The same for a switch, off by default.
    pub fn switch(
        &mut self,
        section: &'static str,
        name: &'static str,
        flag: Option<&'static str>,
    ) -> Result<bool, Failure> {
        let default = Settled { value: false, origin: Origin::Default };
        let flag = flag.map(|flag| (flag, true));
        let settled =
            self.parsed(section, name, flag, value::switch, bool::to_string, Some(default))?;
        Ok(settled.is_some_and(|s| s.value))
    }

    /// The same for a list of texts.
    pub fn list(
        &mut self,
        section: &'static str,
        name: &'static str,
        flag: Option<(&'static str, Vec<String>)>,
    ) -> Vec<String> {
        let settled = match (flag, self.settings.get(section, name)) {
            (Some((flag, value)), _) => Some(Settled { value, origin: Origin::Flag(flag) }),
            (None, Some(set)) => {
                let value = match &set.value {
                    Written::One(text) => vec![text.clone()],
                    Written::Many(texts) => texts.clone(),
                };
                Some(Settled { value, origin: set.origin.clone() })
            }
            (None, None) => None,
        };
        let value = settled
            .as_ref()
            .map(|s| Settled { value: s.value.join(","), origin: s.origin.clone() });
        self.entries.push(Entry { section, name, value });
        settled.map(|s| s.value).unwrap_or_default()
    }
}
