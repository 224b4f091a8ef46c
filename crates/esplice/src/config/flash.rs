//! Settings of the `flash` stage: from flash plan to board.

use esplice_flash::Strategy;

use crate::{
    cli::{
        args::FlashArgs,
        stub_choice::StubChoice,
        value::{self, ResetChoice},
    },
    config::{
        paths::inside,
        settings::{Origin, Settings, Settled},
        settler::Settler,
    },
    ui::exit::Failure,
};

/// Default baud rate of transfers: the highest that usual USB bridges all support.
const TRANSFER_BAUD: u32 = 921_600;

/// Settings of the `flash` stage.
#[derive(Debug)]
pub struct FlashConfig {
    pub baud: u32,
    /// True if `baud` is the default.
    pub baud_is_default: bool,
    pub stub: StubChoice,
    /// Ways into download mode, where some were given.
    pub reset: Option<Vec<Strategy>>,
    pub full: bool,
    pub with_bootloader: bool,
    pub partition: Option<String>,
    /// True if the check that a plan fits is left to the board instead of the settings; set by
    /// commands.
    pub fits_later: bool,
}

impl FlashConfig {
    /// Resolves the keys of `[flash]`, in their order.
    pub fn settle(
        s: &mut Settler<'_>,
        settings: &Settings,
        flash: FlashArgs,
        reset: Option<ResetChoice>,
    ) -> Result<FlashConfig, Failure> {
        let baud = s.or("flash", "baud", &value::BAUD, flash.baud, TRANSFER_BAUD)?;
        let stub = s.or("flash", "stub", &StubChoice::FORM, flash.stub, StubChoice::Auto)?;
        let stub = own_stub(settings, stub)?;
        let reset = s.value("flash", "reset", &value::RESET, reset, None)?;
        let full = s.switch("flash", "full", flash.full)?;
        let with_bootloader = s.switch("flash", "with-bootloader", flash.with_bootloader)?;
        let partition = s.text("flash", "partition", flash.partition)?;
        Ok(FlashConfig {
            baud_is_default: baud.origin == Origin::Default,
            baud: baud.value,
            stub,
            reset: reset.map(|reset| reset.value.strategies),
            full,
            with_bootloader,
            partition: partition.map(|partition| partition.value),
            fits_later: false,
        })
    }
}

/// Resolves the stub; a stub file in the settings file is relative to that file.
fn own_stub(settings: &Settings, stub: Settled<StubChoice>) -> Result<StubChoice, Failure> {
    match stub.value {
        StubChoice::File(path) => {
            let value = path.to_string_lossy().into_owned();
            inside(settings, Settled { value, origin: stub.origin }).map(StubChoice::File)
        }
        other => Ok(other),
    }
}
