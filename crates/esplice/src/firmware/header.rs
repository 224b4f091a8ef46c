//! Changes the flash settings in the header of the image at a chip's boot offset.

use std::{path::Path, sync::Arc};

use clap::Args;
use esplice_chip::{Chip, ChipDb, FlashOffset, parse_size};
use esplice_image::{Content, FlashMode, ImageHeader, patch_flash};

use crate::{files::of_file, ui::exit::Failure};

/// Value that leaves a field of the header unchanged.
const KEEP: &str = "keep";

/// Value that selects the size of the board's own flash.
const DETECT: &str = "detect";

/// Header fields to change.
#[derive(Debug, Clone, Args)]
pub struct HeaderArgs {
    /// Set the flash mode in the image at the boot offset: qio, qout, dio, dout or keep
    #[arg(long, value_name = "MODE", default_value = KEEP, hide_default_value = true)]
    flash_mode: String,
    /// Set the flash frequency in the same image, such as 80m, or keep
    #[arg(long, value_name = "FREQ", default_value = KEEP, hide_default_value = true)]
    flash_freq: String,
    /// Set the flash size in the same image, such as 4MB, or keep; with a board, also detect
    #[arg(long, value_name = "SIZE", default_value = KEEP, hide_default_value = true)]
    flash_size: String,
}

impl Default for HeaderArgs {
    fn default() -> HeaderArgs {
        let keep = || KEEP.to_owned();
        HeaderArgs { flash_mode: keep(), flash_freq: keep(), flash_size: keep() }
    }
}

/// Header fields to set, resolved for one chip.
#[derive(Debug, Clone)]
pub struct Header {
    chip: Arc<Chip>,
    mode: Option<FlashMode>,
    freq: Option<u8>,
    size: Option<u8>,
    /// True if the size is taken from the board's flash.
    detects: bool,
}

impl HeaderArgs {
    /// Returns the arguments with these values.
    pub fn new(mode: &str, freq: &str, size: &str) -> HeaderArgs {
        let own = str::to_owned;
        HeaderArgs { flash_mode: own(mode), flash_freq: own(freq), flash_size: own(size) }
    }

    /// Returns the fields to set in images for `chip`, or else for the chip of the first of
    /// `images`, which is one of `chips`; `None` if all are kept.
    pub fn header<'a>(
        &self,
        chip: Option<&Arc<Chip>>,
        chips: &ChipDb,
        images: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Header>, Failure> {
        let all = [&self.flash_mode, &self.flash_freq, &self.flash_size];
        if all.iter().all(|set| *set == KEEP) {
            return Ok(None);
        }
        let chip = chip.or_else(|| chip_of(images, chips)).ok_or_else(no_chip)?;
        let image = &chip.image;
        let set = |value: &'_ str| (value != KEEP).then(|| value.to_owned());
        let mode = set(&self.flash_mode).map(|mode| mode.parse::<FlashMode>()).transpose();
        let mode = mode.map_err(|message| Failure::usage(format!("--flash-mode: {message}")))?;
        let code = |flag: &str, value: &str, code: Option<u8>, names: Vec<&String>| {
            let name = &chip.display_name;
            code.ok_or_else(|| {
                let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
                Failure::usage(format!("{flag}: {name} has no code for {value}"))
                    .hint(format!("known are {}", names.join(", ")))
            })
        };
        let freq = set(&self.flash_freq).map(|freq| {
            let of_chip = image.flash_frequencies.get(&freq).copied();
            code("--flash-freq", &freq, of_chip, image.flash_frequencies.keys().collect())
        });
        let detects = self.flash_size == DETECT;
        let size = set(&self.flash_size).filter(|_| !detects).map(|size| {
            let of_chip = parse_size(&size).and_then(|bytes| image.flash_size_code(bytes));
            let of_chip = of_chip.map(|(code, _)| code);
            code("--flash-size", &size, of_chip, image.flash_sizes.keys().collect())
        });
        let chip = chip.clone();
        Ok(Some(Header { chip, mode, freq: freq.transpose()?, size: size.transpose()?, detects }))
    }
}

impl Header {
    /// Returns whether the size must come from a board.
    pub fn detects(&self) -> bool {
        self.detects
    }

    /// Sets the fields in `data` and updates its hash, if it is an image at the boot offset.
    pub fn set(&self, name: &str, offset: FlashOffset, data: &mut [u8]) -> Result<(), Failure> {
        if offset != self.chip.image.boot_offset || Content::of(data) != Content::Image {
            return Ok(());
        }
        patch_flash(data, self.mode, self.freq, self.size)
            .map_err(|error| of_file(Path::new(name), Failure::input(error.to_string())))
    }

    /// Returns the header with the size of a board's flash, if it is to be detected and has a code.
    #[must_use]
    pub fn on_board(mut self, flash_size: Option<u32>) -> Header {
        if self.detects {
            let code = flash_size.and_then(|size| self.chip.image.flash_size_code(size));
            self.size = code.map(|(code, _)| code);
        }
        self
    }
}

/// Returns that of `chips` which the first image is for.
pub fn chip_of<'a, 'c>(
    images: impl IntoIterator<Item = &'a [u8]>,
    chips: &'c ChipDb,
) -> Option<&'c Arc<Chip>> {
    let header = images.into_iter().find_map(|image| ImageHeader::from_bytes(image).ok())?;
    chips.find_by_id(header.chip_id)
}

/// Returns the failure for a missing chip.
pub fn no_chip() -> Failure {
    Failure::usage("no file specifies its chip").hint("give --target, such as --target esp32c3")
}
