//! The set of chips and boards that a program knows.

use std::sync::{Arc, OnceLock};

use crate::{Board, Chip, ChipError, Target, nearest};

/// The embedded chips and boards, and those added from custom files.
///
/// An added chip or board takes precedence over an embedded one of the same name. Two values do not
/// see each other's additions, and a clone starts with those made so far. A clone shares all data,
/// so it is cheap. Embedded files are parsed when they are first needed, once for all values.
///
/// ```
/// use esplice_chip::ChipDb;
///
/// let mut chips = ChipDb::default();
/// let board = r#"
///     [board]
///     name = "my-board"
///     display-name = "My board"
///     vendor = "me"
///     url = "https://example.com"
///     chip = "esp32c3"
///     flash-size = "4MB"
///
///     [[usb]]
///     kind = "serial-jtag"
/// "#;
/// chips.add("my-board.toml", board)?;
/// assert_eq!(chips.find_target("my-board")?.chip().name, "esp32c3");
/// assert!(ChipDb::embedded().find_target("my-board").is_err());
/// # Ok::<(), esplice_chip::ChipError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ChipDb {
    /// Added chips, newest first.
    chips: Vec<Arc<Chip>>,
    /// Added boards, newest first.
    boards: Vec<Arc<Board>>,
}

impl ChipDb {
    /// Returns the embedded chips and boards alone.
    pub fn embedded() -> &'static ChipDb {
        static EMBEDDED: ChipDb = ChipDb { chips: Vec::new(), boards: Vec::new() };
        &EMBEDDED
    }

    /// Parses `text`, the content of `file` (a name for messages), like [`Target::parse`], and adds
    /// its chip or board. It replaces an added one of the same name.
    ///
    /// # Errors
    /// Returns the errors of [`Target::parse`].
    pub fn add(&mut self, file: &str, text: &str) -> Result<Target, ChipError> {
        let target = Target::parse(file, text, self)?;
        match target.clone() {
            Target::Chip(chip) => {
                self.chips.retain(|known| known.name != chip.name);
                self.chips.insert(0, chip);
            }
            Target::Board(board) => {
                self.boards.retain(|known| known.name != board.name);
                self.boards.insert(0, board);
            }
        }
        Ok(target)
    }

    /// Returns all chips: the added ones, newest first, then the embedded ones by name.
    pub fn chips(&self) -> impl Iterator<Item = &Arc<Chip>> {
        let is_added = |name: &str| self.chips.iter().any(|added| added.name == name);
        let embedded = embedded_chips().iter().filter(move |chip| !is_added(chip.name));
        self.chips.iter().chain(embedded.filter_map(Embedded::<Chip>::get))
    }

    /// Returns all boards: the added ones, newest first, then the embedded ones by name.
    pub fn boards(&self) -> impl Iterator<Item = &Arc<Board>> {
        let is_added = |name: &str| self.boards.iter().any(|added| added.name == name);
        let embedded = embedded_boards().iter().filter(move |board| !is_added(board.name));
        self.boards.iter().chain(embedded.filter_map(Embedded::<Board>::get))
    }

    /// Returns the names of all [`ChipDb::chips`].
    pub fn chip_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.chips.iter().map(|chip| chip.name.as_str()).collect();
        names.extend(embedded_chips().iter().map(|chip| chip.name));
        names.dedup();
        names
    }

    /// Finds the chip called `name`, ignoring case, `-` and `_`: both `esp32c3` and `ESP32-C3`
    /// match.
    ///
    /// # Errors
    /// [`ChipError::Unknown`], with the nearest known name.
    pub fn find(&self, name: &str) -> Result<&Arc<Chip>, ChipError> {
        let plain = plain_name(name);
        if let Some(chip) = self.chip_called(&plain) {
            return Ok(chip);
        }
        let known: Vec<String> = self.chip_names().into_iter().map(str::to_owned).collect();
        Err(ChipError::Unknown { name: name.into(), nearest: nearest(&plain, &known), known })
    }

    /// Finds the chip or board called `name`, ignoring case, `-` and `_`.
    ///
    /// # Errors
    /// [`ChipError::UnknownTarget`], with the nearest known name.
    pub fn find_target(&self, name: &str) -> Result<Target, ChipError> {
        let plain = plain_name(name);
        if let Some(chip) = self.chip_called(&plain) {
            return Ok(Target::Chip(chip.clone()));
        }
        let added = self.boards.iter().find(|board| plain_name(&board.name) == plain);
        let embedded = || embedded_boards().iter().find(|board| plain_name(board.name) == plain);
        if let Some(board) = added.or_else(|| embedded()?.get()) {
            return Ok(Target::Board(board.clone()));
        }
        let chips: Vec<String> = self.chip_names().into_iter().map(str::to_owned).collect();
        let mut names = chips.clone();
        names.extend(self.boards.iter().map(|board| board.name.clone()));
        names.extend(embedded_boards().iter().map(|board| board.name.to_owned()));
        let nearest =
            nearest(&name.to_ascii_lowercase(), &names).or_else(|| nearest(&plain, &names));
        Err(ChipError::UnknownTarget { name: name.into(), nearest, chips })
    }

    /// Finds the chip whose image headers carry `id`.
    pub fn find_by_id(&self, id: u16) -> Option<&Arc<Chip>> {
        let added = self.chips.iter().find(|chip| chip.image.chip_id == id);
        added.or_else(|| embedded_chips().iter().find(|chip| chip.has_id(id))?.get())
    }

    fn chip_called(&self, plain: &str) -> Option<&Arc<Chip>> {
        let added = self.chips.iter().find(|chip| chip.name == plain);
        added.or_else(|| embedded_chips().iter().find(|chip| chip.name == plain)?.get())
    }
}

/// An embedded file, parsed on first use: parsing all of them takes some milliseconds.
struct Embedded<T> {
    /// The file name without `.toml`. A test checks that it is the name of the chip or board.
    name: &'static str,
    file: &'static str,
    text: &'static str,
    parsed: OnceLock<Option<Arc<T>>>,
}

impl<T> Embedded<T> {
    /// Returns the embedded files in `folder` (`""` or `boards/`), sorted by name.
    fn files(folder: &str) -> Vec<Embedded<T>> {
        let in_folder = |(file, text): &(&'static str, &'static str)| {
            let name = file.strip_prefix(folder)?.strip_suffix(".toml")?;
            let is_target = !name.contains(['/', '.']);
            is_target.then_some(Embedded { name, file, text, parsed: OnceLock::new() })
        };
        esplice_targets::FILES.iter().filter_map(in_folder).collect()
    }
}

fn embedded_chips() -> &'static [Embedded<Chip>] {
    static CHIPS: OnceLock<Vec<Embedded<Chip>>> = OnceLock::new();
    CHIPS.get_or_init(|| Embedded::files(""))
}

fn embedded_boards() -> &'static [Embedded<Board>] {
    static BOARDS: OnceLock<Vec<Embedded<Board>>> = OnceLock::new();
    BOARDS.get_or_init(|| Embedded::files("boards/"))
}

impl Embedded<Chip> {
    fn get(&self) -> Option<&Arc<Chip>> {
        // A test parses every file, so a broken file can't get into a build that passed its tests.
        let parse = || Chip::parse(self.file, self.text).ok().map(Arc::new);
        self.parsed.get_or_init(parse).as_ref()
    }

    /// Returns whether the chip's image headers carry `id`, without parsing the whole file.
    fn has_id(&self, id: u16) -> bool {
        let value = self.text.lines().find_map(|line| line.strip_prefix("chip-id = "));
        let digits = value.and_then(|value| value.split_whitespace().next());
        digits.and_then(|digits| digits.parse().ok()) == Some(id)
    }
}

impl Embedded<Board> {
    fn get(&self) -> Option<&Arc<Board>> {
        // The boards' chips are embedded as well.
        let parse = || Board::parse(self.file, self.text, ChipDb::embedded()).ok().map(Arc::new);
        self.parsed.get_or_init(parse).as_ref()
    }
}

fn plain_name(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_ascii_lowercase()
}
