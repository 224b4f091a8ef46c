//! Settings of the `monitor` stage: what the board prints.

use std::{path::PathBuf, time::Duration};

use crate::{
    cli::{args::WatchArgs, value},
    config::{
        paths::inside,
        settings::{Origin, Settings, Settled},
        settler::Settler,
        target::Hardware,
    },
    ui::exit::Failure,
};

/// Default time to wait for expected output.
const EXPECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of the `monitor` stage.
#[derive(Debug)]
pub struct MonitorConfig {
    pub baud: Option<u32>,
    pub expect: Vec<String>,
    pub timeout: Option<Duration>,
    /// ELF of the mask ROM, or a directory of such.
    pub rom: Option<PathBuf>,
}

impl MonitorConfig {
    /// Resolves the keys of `[monitor]`, in their order.
    pub fn settle(
        s: &mut Settler<'_>,
        settings: &Settings,
        watch: WatchArgs,
        hardware: Hardware<'_>,
    ) -> Result<MonitorConfig, Failure> {
        let usual = hardware.of_chip(|chip| chip.loader.initial_baud);
        let baud = s.value("monitor", "baud", &value::BAUD, watch.monitor_baud, usual)?;
        let given = (!watch.expect.is_empty()).then_some(watch.expect);
        let expect = s.list("monitor", "expect", given)?;
        let usual = (!expect.is_empty())
            .then_some(Settled { value: EXPECT_TIMEOUT, origin: Origin::Default });
        let timeout = s.value("monitor", "timeout", &value::DURATION, watch.timeout, usual)?;
        let rom = watch.rom.map(|file| file.to_string_lossy().into_owned());
        let rom = s.text("monitor", "rom", rom)?;
        let rom = rom.map(|file| inside(settings, file)).transpose()?;
        Ok(MonitorConfig {
            baud: baud.map(|baud| baud.value),
            expect,
            timeout: timeout.map(|timeout| timeout.value),
            rom,
        })
    }
}
