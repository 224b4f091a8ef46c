//! Reads settings from the environment and `esplice.toml`, once, each value with its origin.
//!
//! [`KEYS`] is the only list of settings. An unknown key is refused, and the error names the
//! nearest known one.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use esplice_chip::nearest;
use esplice_layout::Spec;
use toml::de::{DeArray, DeTable, DeValue};

use crate::{
    config::{
        environment,
        environment::Meaning,
        keys::{KEYS, Kind, PORT_KEYS},
    },
    files::read,
    ui::exit::{Exit, Failure},
};

/// Name of the project's settings file.
pub const FILE_NAME: &str = "esplice.toml";

/// Origin of a setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(String),
    /// A line of the project's settings file, counted from 1.
    File { path: PathBuf, line: usize },
    /// A board's data.
    Board(String),
    /// A chip's data.
    Chip(String),
    /// A default: the setting was not set.
    Default,
}

impl Origin {
    /// Returns the precedence of this origin; of two values of a setting, the higher rank wins.
    pub fn rank(&self) -> u8 {
        match self {
            Origin::Flag(_) => 5,
            Origin::Variable(_) => 4,
            Origin::File { .. } => 3,
            Origin::Board(_) => 2,
            Origin::Chip(_) => 1,
            Origin::Default => 0,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => write!(f, "{flag}"),
            Origin::Variable(name) => write!(f, "environment {name}"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Board(name) => write!(f, "board {name}"),
            Origin::Chip(name) => write!(f, "chip {name}"),
            Origin::Default => write!(f, "default"),
        }
    }
}

/// A value and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled<T> {
    pub value: T,
    pub origin: Origin,
}

/// A value as written: a single text, or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    One(String),
    Many(Vec<String>),
}

/// Size of the largest `esplice.toml` that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// All settings of the environment and the project's settings file.
#[derive(Debug, Default)]
pub struct Settings {
    /// The project's settings file.
    file: Option<PathBuf>,
    values: BTreeMap<(&'static str, &'static str), Settled<Written>>,
    /// The `[layout]` section, which has tables of its own.
    layout: Option<Spec>,
    /// The port name of each `[ports.NAME]`.
    ports: BTreeMap<String, Settled<String>>,
}

impl Settings {
    /// Reads the settings file of the project that contains `directory`, from that directory or a
    /// parent, and then `variables`, which override it.
    pub fn load(
        directory: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Settings, Failure> {
        let mut settings = Settings::default();
        if let Some(path) = find_file(directory) {
            let bytes = read::read_up_to(&path, LARGEST_FILE)
                .map_err(|error| read::cannot_read(&path, &error))?;
            let text = String::from_utf8(bytes).map_err(|error| {
                let shown = path.display();
                Failure::input(format!("{shown} is not UTF-8: {}", error.utf8_error()))
            })?;
            settings.add_file(&path, &text)?;
        }
        for (name, value) in variables {
            settings.add_variable(&name, value)?;
        }
        Ok(settings)
    }

    /// Returns the value of a key of [`KEYS`].
    pub fn get(&self, section: &str, name: &str) -> Option<&Settled<Written>> {
        self.values.iter().find(|((s, n), _)| *s == section && *n == name).map(|(_, value)| value)
    }

    /// Returns the port that `[ports.NAME]` names.
    pub fn port(&self, name: &str) -> Option<&Settled<String>> {
        self.ports.get(name)
    }

    /// Returns the name and the port of every `[ports.NAME]`.
    pub fn ports(&self) -> impl Iterator<Item = (&str, &Settled<String>)> {
        self.ports.iter().map(|(alias, port)| (alias.as_str(), port))
    }

    /// Returns the `[layout]` section.
    pub fn layout(&self) -> Option<&Spec> {
        self.layout.as_ref()
    }

    /// Returns the directory of the project's settings file.
    pub fn root(&self) -> Option<&Path> {
        self.file.as_deref().and_then(Path::parent)
    }

    /// Adds an environment variable; an empty one counts as unset.
    fn add_variable(&mut self, name: &str, value: String) -> Result<(), Failure> {
        let Meaning::Setting(key) = environment::meaning(name)? else { return Ok(()) };
        if value.is_empty() {
            return Ok(());
        }
        let origin = Origin::Variable(name.to_owned());
        let value = match key.kind {
            Kind::List => Written::Many(
                value.split([',', ' ']).filter(|w| !w.is_empty()).map(str::to_owned).collect(),
            ),
            _ => Written::One(value),
        };
        let before = self.values.get(&(key.section, key.name));
        if let Some(Settled { value: other, origin: Origin::Variable(first) }) = before
            && *other != value
        {
            let message =
                format!("{first} and {name} set {}.{} differently", key.section, key.name);
            return Err(Failure::usage(message).hint("unset one of them"));
        }
        self.values.insert((key.section, key.name), Settled { value, origin });
        Ok(())
    }

    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), Failure> {
        self.file = Some(path.to_owned());
        let place =
            |offset: usize| Origin::File { path: path.to_owned(), line: line(text, offset) };
        let table = DeTable::parse(text).map_err(|error| {
            let origin = place(error.span().map_or(0, |span| span.start));
            refused(&origin, error.message())
        })?;

        for (section, content) in table.get_ref() {
            let origin = place(section.span().start);
            let section = section.get_ref().as_ref();
            let DeValue::Table(content) = content.get_ref() else {
                return Err(unknown(&origin, section, &section_names(), "section"));
            };
            if section == "layout" {
                self.layout = Spec::parse(&path.display().to_string(), text)?;
                continue;
            }
            if section == "ports" {
                self.add_ports(content, &place)?;
                continue;
            }
            let known: Vec<&str> =
                KEYS.iter().filter(|key| key.section == section).map(|key| key.name).collect();
            if known.is_empty() {
                return Err(unknown(&origin, section, &section_names(), "section"));
            }
            for (name, value) in content {
                let origin = place(name.span().start);
                let name = name.get_ref().as_ref();
                let Some(key) = KEYS.iter().find(|k| k.section == section && k.name == name) else {
                    return Err(unknown(&origin, name, &known, &format!("key of [{section}]")));
                };
                let value = written(value.get_ref(), key.kind)
                    .map_err(|wanted| refused(&origin, &format!("{name} must be {wanted}")))?;
                self.values.insert((key.section, key.name), Settled { value, origin });
            }
        }
        Ok(())
    }

    fn add_ports(
        &mut self,
        ports: &DeTable<'_>,
        place: &dyn Fn(usize) -> Origin,
    ) -> Result<(), Failure> {
        for (alias, content) in ports {
            let origin = place(alias.span().start);
            let alias = alias.get_ref().as_ref();
            let DeValue::Table(content) = content.get_ref() else {
                return Err(refused(&origin, &format!("write [ports.{alias}] and port = \"…\"")));
            };
            for (name, value) in content {
                let origin = place(name.span().start);
                let name = name.get_ref().as_ref();
                if !PORT_KEYS.contains(&name) {
                    let what = format!("key of [ports.{alias}]");
                    return Err(unknown(&origin, name, PORT_KEYS, &what));
                }
                let DeValue::String(port) = value.get_ref() else {
                    return Err(refused(&origin, &format!("{name} must be a text")));
                };
                self.ports.insert(alias.to_owned(), Settled { value: port.to_string(), origin });
            }
        }
        Ok(())
    }
}

fn find_file(directory: &Path) -> Option<PathBuf> {
    // A relative path has no parents to search; paths are printed as short as possible.
    let here = directory.join(FILE_NAME);
    if here.is_file() {
        return Some(if directory == Path::new(".") { FILE_NAME.into() } else { here });
    }
    let absolute = directory.canonicalize().ok()?;
    absolute.ancestors().skip(1).map(|above| above.join(FILE_NAME)).find(|path| path.is_file())
}

fn section_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = KEYS.iter().map(|key| key.section).collect();
    names.dedup();
    names.extend(["layout", "ports"]);
    names
}

fn written(value: &DeValue<'_>, kind: Kind) -> Result<Written, &'static str> {
    match (kind, value) {
        (Kind::Text, DeValue::String(text)) => Ok(Written::One(text.to_string())),
        (Kind::Switch, DeValue::Boolean(switch)) => Ok(Written::One(switch.to_string())),
        (Kind::Number, DeValue::Integer(number)) => {
            let value = i64::from_str_radix(number.as_str(), number.radix());
            value.map(|n| Written::One(n.to_string())).map_err(|_| "a whole number")
        }
        (Kind::List, DeValue::Array(items)) => texts(items).ok_or("a list of texts"),
        (Kind::Texts, DeValue::String(text)) => Ok(Written::One(text.to_string())),
        (Kind::Texts, DeValue::Array(items)) => texts(items).ok_or(TEXTS),
        (Kind::Text, _) => Err("a text"),
        (Kind::Switch, _) => Err("true or false"),
        (Kind::Number, _) => Err("a whole number"),
        (Kind::List, _) => Err("a list of texts"),
        (Kind::Texts, _) => Err(TEXTS),
    }
}

/// Values that a key of [`Kind::Texts`] accepts.
const TEXTS: &str = "a text or a list of texts";

fn texts(items: &DeArray<'_>) -> Option<Written> {
    let text = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    };
    items.iter().map(text).collect::<Option<_>>().map(Written::Many)
}

fn unknown(origin: &Origin, name: &str, known: &[&str], what: &str) -> Failure {
    let failure = refused(origin, &format!("unknown {what} {name:?}"));
    match nearest(name, known) {
        Some(near) => failure.hint(format!("did you mean {near:?}?")),
        None => failure.hint(format!("known are {}", known.join(", "))),
    }
}

fn refused(origin: &Origin, message: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{origin}: {message}"))
}

/// Returns the line of the byte at `offset`, counted from 1.
fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, Failure> {
        let mut settings = Settings::default();
        settings.add_file(Path::new(FILE_NAME), text)?;
        Ok(settings)
    }

    #[test]
    fn one_text_or_several_are_expected() {
        let of = |text: &str| read(text).map(|s| s.get("monitor", "expect").unwrap().value.clone());
        let one = of("[monitor]\nexpect = 'a, b'").unwrap();
        assert_eq!(one, Written::One("a, b".into()));
        let several = of("[monitor]\nexpect = ['a, b', '/c/']").unwrap();
        assert_eq!(several, Written::Many(vec!["a, b".into(), "/c/".into()]));
        let message = "esplice.toml:2: expect must be a text or a list of texts";
        refuses("[monitor]\nexpect = 3", message, None);
        refuses("[monitor]\nexpect = ['a', 3]", message, None);
    }

    #[track_caller]
    fn refuses(text: &str, message: &str, hint: Option<&str>) {
        let failure = read(text).unwrap_err();
        assert_eq!((failure.message.as_str(), failure.hint.as_deref()), (message, hint));
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn values_come_with_their_line() {
        let settings = read(
            "# comment\n[project]\ntarget = \"esp32c3\"\n\n[flash]\nbaud = 460_800\n\
             [build]\nfeatures = [\"a\", \"b\"]\n[ports.bench]\nport = \"/dev/ttyUSB3\"\n",
        )
        .unwrap();
        let at = |line| Origin::File { path: FILE_NAME.into(), line };
        let target = settings.get("project", "target").unwrap();
        assert_eq!(target.value, Written::One("esp32c3".into()));
        assert_eq!(target.origin, at(3));
        let baud = settings.get("flash", "baud").unwrap();
        assert_eq!(baud, &Settled { value: Written::One("460800".into()), origin: at(6) });
        let features = settings.get("build", "features").unwrap();
        assert_eq!(features.value, Written::Many(vec!["a".into(), "b".into()]));
        assert_eq!(settings.port("bench").unwrap().value, "/dev/ttyUSB3");
    }

    #[test]
    fn the_environment_stands_over_the_file() {
        let mut settings = read("[flash]\nbaud = 1\n").unwrap();
        settings.add_variable("ESPLICE_FLASH_BAUD", "2".into()).unwrap();
        settings.add_variable("ESPLICE_LAYOUT", "injected".into()).unwrap();
        settings.add_variable("ESPLICE", "/usr/bin/esplice".into()).unwrap();
        settings.add_variable("ESPLICE_FLASH_STUB", String::new()).unwrap();
        assert_eq!(settings.get("flash", "stub"), None);
        let baud = settings.get("flash", "baud").unwrap();
        assert_eq!(baud.value, Written::One("2".into()));
        assert_eq!(baud.origin.to_string(), "environment ESPLICE_FLASH_BAUD");
    }

    #[test]
    fn two_names_of_one_setting_may_not_contradict_each_other() {
        let mut settings = Settings::default();
        settings.add_variable("ESPLICE_PORT", "a".into()).unwrap();
        settings.add_variable("ESPLICE_PROJECT_PORT", "a".into()).unwrap();
        let failure = settings.add_variable("ESPLICE_PROJECT_PORT", "b".into()).unwrap_err();
        assert!(failure.message.ends_with("set project.port differently"), "{failure}");
    }

    #[test]
    fn a_misspelt_variable_is_refused() {
        let mut settings = Settings::default();
        let failure = settings.add_variable("ESPLICE_FLASH_BUAD", "2".into()).unwrap_err();
        assert_eq!(failure.message, "unknown setting ESPLICE_FLASH_BUAD in the environment");
        assert_eq!(failure.hint.as_deref(), Some("did you mean ESPLICE_FLASH_BAUD?"));
    }

    #[test]
    fn what_is_unknown_or_of_another_kind_is_refused() {
        refuses(
            "[flash]\nbuad = 1\n",
            "esplice.toml:2: unknown key of [flash] \"buad\"",
            Some("did you mean \"baud\"?"),
        );
        refuses(
            "[falsh]\nbaud = 1\n",
            "esplice.toml:1: unknown section \"falsh\"",
            Some("did you mean \"flash\"?"),
        );
        refuses(
            "target = \"esp32c3\"\n",
            "esplice.toml:1: unknown section \"target\"",
            Some("known are project, build, image, flash, monitor, size, layout, ports"),
        );
        refuses("[flash]\nbaud = \"fast\"\n", "esplice.toml:2: baud must be a whole number", None);
        refuses("\n[build]\nbin = 1\n", "esplice.toml:3: bin must be a text", None);
        refuses(
            "[build]\nfeatures = [1]\n",
            "esplice.toml:2: features must be a list of texts",
            None,
        );
        refuses(
            "[flash]\nwith-bootloader = 1\n",
            "esplice.toml:2: with-bootloader must be true or false",
            None,
        );
        refuses(
            "[ports.a]\nprot = \"x\"\n",
            "esplice.toml:2: unknown key of [ports.a] \"prot\"",
            Some("did you mean \"port\"?"),
        );
        let failure = read("[flash\nbaud = 1\n").unwrap_err();
        assert!(failure.message.starts_with("esplice.toml:1: "), "{failure}");
    }
}
