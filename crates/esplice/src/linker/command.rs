//! Parses the command line of a GNU-style linker.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use esplice_link::{
    Unloaded,
    stable::{InputFile, Settings, Tail},
};

/// The argument that makes esplice act as the linker.
pub const MARK: &str = "--esplice-ld";

/// Options whose value may be in the next argument.
const WITH_VALUE: &[&str] = &[
    "-o",
    "-L",
    "-T",
    "-l",
    "-z",
    "-m",
    "-e",
    "-u",
    "-h",
    "-b",
    "-I",
    "-R",
    "-Map",
    "--defsym",
    "--version-script",
    "--dynamic-list",
    "-rpath",
    "--rpath",
    "-soname",
    "--soname",
    "--script",
    "--entry",
    "--undefined",
    "--library",
    "--library-path",
    "--output",
    "--sysroot",
    "-plugin",
    "-plugin-opt",
    "--wrap",
    "-mllvm",
    "--reproduce",
];
/// Options with which sections cannot be pinned, or need not be.
const AGAINST: &[&str] = &[
    "-r",
    "--relocatable",
    "-shared",
    "--shared",
    "-pie",
    "--pie",
    "--symbol-ordering-file",
    "--section-ordering-file",
    "--call-graph-ordering-file",
    "--sort-section",
    "--emit-relocs",
    "-q",
    "--icf=all",
    "--icf=safe",
    "--plugin",
    "-dT",
    "--shuffle-sections",
    "-N",
    "--omagic",
];

/// An argument, or an option with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Plain(OsString),
    /// An option and its value, given together or as separate arguments.
    Option {
        name: String,
        value: String,
        apart: bool,
    },
}

impl Word {
    /// Returns the arguments as they were given.
    pub fn arguments(&self) -> Vec<OsString> {
        match self {
            Word::Plain(text) => vec![text.clone()],
            Word::Option { name, value, apart: true } => vec![name.into(), value.into()],
            Word::Option { name, value, .. } if name.len() > 2 => {
                vec![format!("{name}={value}").into()]
            }
            Word::Option { name, value, .. } => vec![format!("{name}{value}").into()],
        }
    }

    fn option(&self, names: &[&str]) -> Option<&str> {
        match self {
            Word::Option { name, value, .. } => names.contains(&name.as_str()).then_some(value),
            Word::Plain(_) => None,
        }
    }
}

/// Esplice's own options.
#[derive(Debug, Clone, Default)]
pub struct OwnOptions {
    pub linker: Option<PathBuf>,
    pub record: Option<PathBuf>,
    pub profile: Option<String>,
    pub own: Vec<String>,
    pub fresh: bool,
    /// True to link normally after the checks.
    pub plain: bool,
    /// Arenas and sections that nothing is loaded into.
    pub unloaded: Vec<Unloaded>,
    pub room: Settings,
}

/// A linker's arguments, parsed as far as necessary.
#[derive(Debug, Clone)]
pub struct CommandLine {
    pub words: Vec<Word>,
    pub settings: OwnOptions,
}

/// Returns whether the arguments, or an argument file among them, contain the mark.
pub fn is_marked(args: &[OsString]) -> bool {
    match args {
        [only] => match only.to_str().and_then(|only| only.strip_prefix('@')) {
            Some(path) => fs::read_to_string(path).is_ok_and(|text| text.contains(MARK)),
            None => only == MARK,
        },
        _ => args.iter().any(|arg| arg == MARK),
    }
}

impl CommandLine {
    pub fn parse(args: Vec<OsString>) -> Result<CommandLine, String> {
        let mut line = CommandLine { words: Vec::new(), settings: OwnOptions::default() };
        let mut args = expanded(args)?.into_iter().peekable();
        while let Some(arg) = args.next() {
            let Some(text) = arg.to_str() else {
                line.words.push(Word::Plain(arg));
                continue;
            };
            if let Some(own) = text.strip_prefix("--esplice-") {
                line.settings.parse_own_argument(own)?;
            } else if text == "-flavor" {
                // The flavor of lld is already known.
                args.next();
            } else if WITH_VALUE.contains(&text) {
                let value = args.next().and_then(|value| value.into_string().ok());
                let value = value.ok_or_else(|| format!("{text} needs a value"))?;
                line.words.push(Word::Option { name: text.to_owned(), value, apart: true });
            } else {
                line.words.push(word(text));
            }
        }
        Ok(line)
    }

    /// Parses an argument meant for esplice.
    pub fn parse_own_argument(&mut self, argument: &str) -> Result<(), String> {
        self.settings.parse_own_argument(argument.strip_prefix("--esplice-").unwrap_or(argument))
    }

    /// Returns the word that prevents a stable link.
    pub fn unsupported_word(&self) -> Option<String> {
        let plain =
            self.words.iter().flat_map(Word::arguments).filter_map(|word| word.into_string().ok());
        let mut words = plain.filter(|word| !word.is_empty());
        words.find(|word| {
            let name = word.split('=').next().unwrap_or_default();
            AGAINST.contains(&word.as_str()) || AGAINST.contains(&name)
        })
    }

    fn last(&self, names: &[&str]) -> Option<&str> {
        self.words.iter().rev().find_map(|word| word.option(names))
    }

    pub fn output(&self) -> PathBuf {
        self.last(&["-o", "--output"]).unwrap_or("a.out").into()
    }

    pub fn map_path(&self) -> Option<&str> {
        self.last(&["-Map", "--Map"])
    }

    /// Returns the path of the ELF as the user knows it. Cargo links in a directory of its own,
    /// under a name with a hash.
    fn elf_path(&self) -> PathBuf {
        let output = self.output();
        let name = output.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let hash = name.rsplit_once('-');
        let plain = hash.filter(|(_, hash)| {
            hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        let Some((plain, _)) = plain else { return output };
        let directory = output.parent().unwrap_or(Path::new(""));
        let directory = match directory.file_name() {
            Some(deps) if deps == "deps" => directory.parent().unwrap_or(directory),
            _ => directory,
        };
        directory.join(plain)
    }

    pub fn record_path(&self) -> PathBuf {
        self.settings.record.clone().unwrap_or_else(|| record_beside(&self.elf_path()))
    }

    pub fn report_path(&self) -> PathBuf {
        report_beside(&self.elf_path())
    }

    /// Returns the files to link: word index, path, and whether the whole archive is linked.
    pub fn files(&self) -> Vec<(usize, PathBuf, bool)> {
        let mut files = Vec::new();
        let mut whole = false;
        for (place, word) in self.words.iter().enumerate() {
            let path = match word {
                Word::Plain(text) if text == "--whole-archive" || text == "-whole-archive" => {
                    whole = true;
                    continue;
                }
                Word::Plain(text) if text == "--no-whole-archive" => {
                    whole = false;
                    continue;
                }
                Word::Plain(text) if text.to_string_lossy().starts_with('-') => continue,
                Word::Plain(text) => Some(PathBuf::from(text)),
                word => word.option(&["-l", "--library"]).and_then(|name| self.library(name)),
            };
            files.extend(path.map(|path| (place, path, whole)));
        }
        files
    }

    fn search_paths(&self) -> impl Iterator<Item = &str> {
        self.words.iter().filter_map(|word| word.option(&["-L", "--library-path"]))
    }

    /// Returns the archive that `-l` names.
    fn library(&self, name: &str) -> Option<PathBuf> {
        let file = match name.strip_prefix(':') {
            Some(file) => file.to_owned(),
            None => format!("lib{name}.a"),
        };
        self.search_paths().map(|path| Path::new(path).join(&file)).find(|path| path.is_file())
    }

    /// Returns the linker scripts, concatenated.
    pub fn scripts(&self) -> Result<String, String> {
        let mut text = String::new();
        for name in self.words.iter().filter_map(|word| word.option(&["-T", "--script"])) {
            let script = self.include(name).ok_or_else(|| format!("no linker script {name}"))?;
            text.push_str(&script);
            text.push('\n');
        }
        if text.is_empty() { Err("no linker script was given".into()) } else { Ok(text) }
    }

    /// Reads a script, found as by lld: in the current directory, else on the search paths.
    pub fn include(&self, name: &str) -> Option<String> {
        let here = Path::new(name);
        if here.exists() {
            return fs::read_to_string(here).ok();
        }
        let found = self.search_paths().map(|path| Path::new(path).join(name));
        found.into_iter().find(|path| path.exists()).and_then(|path| fs::read_to_string(path).ok())
    }

    /// Returns the symbols that options require.
    pub fn required_symbols(&self) -> Vec<String> {
        let names = &["-u", "--undefined", "-e", "--entry"];
        self.words.iter().filter_map(|word| word.option(names)).map(str::to_owned).collect()
    }

    /// Returns the names of the crates that are being edited.
    pub fn own(&self) -> Vec<String> {
        let mut own = self.settings.own.clone();
        if own.is_empty() {
            let elf = self.elf_path();
            own.extend(elf.file_stem().map(|name| name.to_string_lossy().replace('-', "_")));
            let package = std::env::var("CARGO_PKG_NAME").ok();
            own.extend(package.map(|name| name.replace('-', "_")));
        }
        own.sort_unstable();
        own.dedup();
        own
    }

    /// Returns what a record depends on in addition to objects and script.
    pub fn contexts(&self, inputs: &[InputFile], linker: &str) -> Vec<(String, String)> {
        let profile = match &self.settings.profile {
            Some(profile) => profile.clone(),
            None => {
                let elf = self.elf_path();
                let directory = elf.parent().and_then(Path::file_name);
                directory.unwrap_or_default().to_string_lossy().into_owned()
            }
        };
        // Paths differ between machines, and files are compared by content.
        let option = |word: &Word| match word {
            Word::Plain(text) => text.to_str().filter(|t| t.starts_with('-')).map(str::to_owned),
            Word::Option { name, .. }
                if matches!(name.as_str(), "-o" | "-L" | "-T" | "-l" | "-Map") =>
            {
                None
            }
            Word::Option { name, value, .. } => Some(format!("{name} {value}")),
        };
        let options: Vec<String> = self.words.iter().filter_map(option).collect();
        vec![
            ("compiler".into(), compiler(inputs)),
            ("linker".into(), linker.to_owned()),
            ("profile".into(), profile),
            ("linker options".into(), options.join("\n")),
        ]
    }

    /// Returns the linker's arguments with other files, script and map.
    pub fn arguments(
        &self,
        instead: &HashMap<usize, Vec<OsString>>,
        script: &Path,
        map: &Path,
    ) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        for (place, word) in self.words.iter().enumerate() {
            if let Some(files) = instead.get(&place) {
                arguments.extend(files.iter().cloned());
            } else if word.option(&["-T", "--script", "-Map", "--Map"]).is_none() {
                arguments.extend(word.arguments());
            }
        }
        let with = |option: &str, path: &Path| {
            let mut argument = OsString::from(option);
            argument.push(path);
            argument
        };
        arguments.push(with("-T", script));
        arguments.push(with("-Map=", map));
        // All oversized sections must be reported at once.
        arguments.push("--error-limit=0".into());
        arguments
    }
}

/// Returns the path of the record of the ELF at `elf`.
pub fn record_beside(elf: &Path) -> PathBuf {
    beside(elf, ".stable")
}

/// Returns the path of the report of the ELF at `elf`, which has cargo's name or, without dashes,
/// rustc's.
pub fn report_beside(elf: &Path) -> PathBuf {
    let name = elf.file_name().unwrap_or_default().to_string_lossy().replace('-', "_");
    beside(&elf.with_file_name(name), ".stable.json")
}

fn beside(elf: &Path, end: &str) -> PathBuf {
    let mut name = elf.as_os_str().to_owned();
    name.push(end);
    name.into()
}

impl OwnOptions {
    /// Parses an argument meant for esplice, without `--esplice-`.
    fn parse_own_argument(&mut self, argument: &str) -> Result<(), String> {
        let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
        let wrong = || format!("--esplice-{argument} is not a valid argument");
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let pair = |text: &str| {
            let (bytes, percent) = text.split_once('+').ok_or_else(wrong)?;
            Ok::<_, String>((number(bytes)?, number(percent)?))
        };
        match key {
            "ld" => {}
            "linker" => self.linker = Some(value.into()),
            "record" => self.record = Some(value.into()),
            "profile" => self.profile = Some(value.to_owned()),
            "own" => self.own = value.split(',').map(str::to_owned).collect(),
            "fresh" => self.fresh = true,
            "plain" => self.plain = true,
            "arenas" => self.unloaded.extend(value.split(',').map(Unloaded::arena)),
            "no-load" => {
                let (name, pattern) = value.split_once('=').ok_or_else(wrong)?;
                self.unloaded.push(Unloaded::section(name, pattern));
            }
            "code-slack" => self.room.code = pair(value)?,
            "text-slack" => self.room.texts = pair(value)?,
            "waste" => self.room.waste = number(value)?,
            "tail" => {
                let (name, len) = value.split_once('+').ok_or_else(wrong)?;
                let len = number(len)?;
                self.room.tails.retain(|(tail, _)| tail != name);
                self.room.tails.push((name.to_owned(), Tail::Fixed(len)));
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }
}

/// Parses an argument that contains its value or has none.
fn word(text: &str) -> Word {
    let option = |name: &str, value: &str| Word::Option {
        name: name.to_owned(),
        value: value.to_owned(),
        apart: false,
    };
    if text.starts_with('-')
        && let Some((name, value)) = text.split_once('=')
        && WITH_VALUE.contains(&name)
    {
        return option(name, value);
    }
    // One-letter options with the value attached.
    for name in ["-L", "-T", "-l", "-u"] {
        if let Some(value) = text.strip_prefix(name).filter(|value| !value.is_empty()) {
            // `-Ttext=ADDR` and the like are other options.
            if name == "-T"
                && (value.starts_with("text")
                    || value.starts_with("data")
                    || value.starts_with("bss"))
            {
                break;
            }
            return option(name, value);
        }
    }
    if let Some(value) = text.strip_prefix("-o").filter(|value| !value.is_empty())
        && !text.starts_with("-omagic")
    {
        return option("-o", value);
    }
    Word::Plain(text.into())
}

/// Returns the first compiler named in the objects' `.comment` sections.
fn compiler(inputs: &[InputFile]) -> String {
    let mark = b"rustc version ";
    for input in inputs.iter().filter(|input| !input.bytes.starts_with(b"!<arch>")) {
        let Some(at) = input.bytes.windows(mark.len()).position(|bytes| bytes == mark) else {
            continue;
        };
        let rest = input.bytes.get(at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len()).min(200);
        return String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
    }
    String::new()
}

/// Expands argument files (`@FILE`) into their words, split at white space, with quotes and
/// backslashes as in a Unix shell.
fn expanded(args: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let mut all = Vec::new();
    for arg in args {
        match arg.to_str().and_then(|arg| arg.strip_prefix('@')) {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
                all.extend(words(&text).into_iter().map(OsString::from));
            }
            None => all.push(arg),
        }
    }
    Ok(all)
}

fn words(text: &str) -> Vec<String> {
    let (mut all, mut word, mut inside, mut quote) = (Vec::new(), String::new(), false, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => {
                inside = true;
                word.extend(chars.next());
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => {
                inside = true;
                quote = Some(c);
            }
            (c, None) if c.is_whitespace() => {
                if inside {
                    all.push(std::mem::take(&mut word));
                }
                inside = false;
            }
            (c, None) => {
                inside = true;
                word.push(c);
            }
        }
    }
    if inside {
        all.push(word);
    }
    all
}
