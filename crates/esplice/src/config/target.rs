//! The chip or board that a project is for.

use std::path::{Path, PathBuf};

use esplice_chip::{Board, Chip, ChipDb, FeatureChip, Target};

use crate::{
    cli::args::TargetArgs,
    config::{
        paths::inside,
        settings::{Origin, Settings, Settled},
    },
    files::read,
    ui::exit::Failure,
};

/// Size of the largest chip or board file that is read, in bytes.
const LARGEST_TARGET_FILE: u64 = 1 << 20;

/// The chip, and the board where one is known: the source of default values.
#[derive(Debug, Clone, Copy)]
pub struct Hardware<'a> {
    pub board: Option<&'a Board>,
    pub chip: Option<&'a Chip>,
}

impl Hardware<'_> {
    /// Returns the board's value, else the chip's.
    pub fn default_of<T>(
        &self,
        of_board: impl FnOnce(&Board) -> Option<T>,
        of_chip: impl FnOnce(&Chip) -> T,
    ) -> Option<Settled<T>> {
        if let Some(board) = self.board
            && let Some(value) = of_board(board)
        {
            return Some(Settled { value, origin: Origin::Board(board.name.clone()) });
        }
        self.of_chip(of_chip)
    }

    /// Returns the chip's value.
    pub fn of_chip<T>(&self, of_chip: impl FnOnce(&Chip) -> T) -> Option<Settled<T>> {
        let chip = self.chip?;
        Some(Settled { value: of_chip(chip), origin: Origin::Chip(chip.name.clone()) })
    }
}

/// Returns the target, taking into account cargo features named like a chip. Of two chips, the one
/// with the higher-ranking setting wins; two of the same rank are an error.
pub fn target_of_features(
    target: Option<Settled<Target>>,
    features: &[String],
    set: Option<Settled<String>>,
    chips: &ChipDb,
) -> Result<Option<Settled<Target>>, Failure> {
    let FeatureChip::One(chip) = chips.chip_from_features(features) else { return Ok(target) };
    let Some(set) = set else { return Ok(target) };
    let named = Settled { value: Target::Chip(chip.clone()), origin: set.origin };
    let Some(target) = target else { return Ok(Some(named)) };
    if target.value.chip().name == chip.name || target.origin.rank() > named.origin.rank() {
        return Ok(Some(target));
    }
    if named.origin.rank() > target.origin.rank() {
        return Ok(Some(named));
    }
    let (one, other) = (target.value.chip(), chip);
    let message = format!(
        "{} is for the {}, and the feature {} of {} for the {}",
        target.origin, one.display_name, other.name, named.origin, other.display_name
    );
    Err(Failure::usage(message).hint("name one chip"))
}

/// Returns the chip or board of this name.
pub fn target_called(name: Settled<String>, chips: &ChipDb) -> Result<Settled<Target>, Failure> {
    let target = chips.find_target(&name.value).map_err(|error| {
        let failure = Failure::from(error);
        match &name.origin {
            Origin::Flag(_) => failure,
            origin => Failure { message: format!("{origin}: {}", failure.message), ..failure },
        }
    })?;
    Ok(Settled { value: target, origin: name.origin })
}

/// Reads a chip or board file and adds its target to `chips`.
pub fn added_target(
    settings: &Settings,
    file: Settled<String>,
    chips: &mut ChipDb,
) -> Result<(PathBuf, Settled<Target>), Failure> {
    let origin = file.origin.clone();
    let path = inside(settings, file)?;
    let value = add_target(&path, chips)?;
    Ok((path, Settled { value, origin }))
}

fn add_target(path: &Path, chips: &mut ChipDb) -> Result<Target, Failure> {
    let shown = path.display().to_string();
    let bytes = read::read_up_to(path, LARGEST_TARGET_FILE)
        .map_err(|error| read::cannot_read(path, &error))?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Failure::input(format!("{shown} is not UTF-8: {}", e.utf8_error())))?;
    Ok(chips.add(&shown, &text)?)
}

/// Returns the known chips, and the chip or board that the flags name, for commands without a
/// project.
pub fn target_of(flags: &TargetArgs) -> Result<(ChipDb, Option<Target>), Failure> {
    let mut chips = ChipDb::default();
    let of_file = flags.target_file.as_deref().map(|file| add_target(file, &mut chips));
    let of_file = of_file.transpose()?;
    let target = match &flags.target {
        Some(name) => Some(chips.find_target(name)?),
        None => of_file,
    };
    Ok((chips, target))
}
