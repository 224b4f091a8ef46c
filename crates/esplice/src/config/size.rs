//! Settings of `esplice size`: how much flash and RAM the program may take.

use crate::{
    cli::{args::SizeArgs, value},
    config::{settings::Settled, settler::Settler},
    ui::exit::Failure,
};

/// Budgets in bytes.
#[derive(Debug)]
pub struct SizeConfig {
    pub flash: Option<Settled<u32>>,
    pub ram: Option<Settled<u32>>,
}

impl SizeConfig {
    /// Resolves the keys of `[size]`, in their order.
    pub fn settle(s: &mut Settler<'_>, size: &SizeArgs) -> Result<SizeConfig, Failure> {
        let flash = s.value("size", "flash", &value::BYTES, size.max_flash, None)?;
        let ram = s.value("size", "ram", &value::BYTES, size.max_ram, None)?;
        Ok(SizeConfig { flash, ram })
    }
}
