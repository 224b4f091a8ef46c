//! Conversion of the chip data to device models and memories.

use esplice_chip::{Chip, Peripheral, RegionKind, Sim};

use super::{
    adc, cache, device::Device, efuse, gdma, gpio, i2c, interrupts, ledc, lp_aon, lp_timer, lp_wdt,
    pcr, plain, plic, pmu, rmt, rtc, sha, spi_mem, spi_mmu, system, systimer, timer_group, uart,
    usb_serial_jtag,
};
use crate::memory::{Access, Backing, Bank, MemoryMap, Region};

/// Returns the model of a device by its name in the chip data. `number` counts devices with the
/// same model.
pub(super) fn model(
    chip: &Chip,
    sim: &Sim,
    device: &Peripheral,
    number: usize,
) -> Option<Box<dyn Device>> {
    let strap = sim.strap_addr.0.wrapping_sub(device.base.0);
    Some(match device.model.as_str() {
        "adc" => Box::new(adc::Adc::new(device, sim.adc.as_ref()?)),
        "analog-i2c" => Box::new(plain::AnalogI2c::v1(device)),
        "analog-i2c-v2" => Box::new(plain::AnalogI2c::v2(device)),
        "apb-ctrl" => Box::new(plain::ApbControl::new(device)),
        "debug-assist" => Box::new(plain::DebugAssist::new(device)),
        "efuse" => {
            Box::new(efuse::Efuses::v1(device, &burnt(chip, sim, device.base.0), &sim.efuse))
        }
        "efuse-v2" => {
            Box::new(efuse::Efuses::v2(device, &burnt(chip, sim, device.base.0), &sim.efuse))
        }
        "cache-mmu" => Box::new(cache::CacheMmu::new(device, mmu_entries(chip), flash_unit(chip))),
        "cache" => Box::new(cache::UnifiedCacheControl::new(device)),
        "extmem" => Box::new(cache::CacheControl::new(device)),
        "gdma" => Box::new(gdma::Gdma::v1(device)),
        "gdma-single" => Box::new(gdma::Gdma::v1_single(device)),
        "gdma-v2" => Box::new(gdma::Gdma::v2(device)),
        "gpio" => Box::new(gpio::Gpio::v1(device, strap, sim.pins)),
        "gpio-v2" => Box::new(gpio::Gpio::v2(device, strap, sim.pins)),
        "i2c" => Box::new(i2c::I2c::v1(device, number)),
        "i2c-fifo16" => Box::new(i2c::I2c::v1_short(device, number)),
        "i2c-v2" => Box::new(i2c::I2c::v2(device, number)),
        "interrupt-matrix" => {
            Box::new(interrupts::InterruptMatrix::new(device, sim.interrupt_sources))
        }
        "io-mux" => Box::new(gpio::IoMux::new(device, &sim.pads)),
        "storage" => Box::new(plain::Storage::new(device)),
        "mmu-table" => Box::new(cache::MmuTable::new(device, mmu_entries(chip))),
        "ledc" => Box::new(ledc::Ledc::v1(device)),
        "ledc-v2" => Box::new(ledc::Ledc::v2(device)),
        "lp-aon" => Box::new(lp_aon::LpAon::new(device)),
        "lp-clkrst" => Box::new(lp_aon::LpClockReset::new(device)),
        "lp-timer" => Box::new(lp_timer::LpTimer::new(device)),
        "lp-wdt" => Box::new(lp_wdt::LpWatchdogs::v1(device)),
        "lp-wdt-v2" => Box::new(lp_wdt::LpWatchdogs::v2(device)),
        "pcr" => Box::new(pcr::Pcr::v1(device)),
        "pcr-v2" => Box::new(pcr::Pcr::v2(device)),
        "plic" => Box::new(plic::Plic::new(device)),
        "pmu" => Box::new(pmu::Pmu::v1(device)),
        "pmu-v2" => Box::new(pmu::Pmu::v2(device)),
        "random" => Box::new(plain::RandomSource::new(device)),
        "rmt" => Box::new(rmt::Rmt::v1(device)),
        "rmt-v2" => Box::new(rmt::Rmt::v2(device)),
        "rtc-cntl" => Box::new(rtc::RtcControl::v1(device)),
        "rtc-cntl-v2" => Box::new(rtc::RtcControl::v2(device)),
        "sha" => Box::new(sha::Sha::new(device)),
        "software-interrupts" => Box::new(plic::SoftwareInterrupts::new(device)),
        "source-map" => Box::new(plic::SourceMap::new(device, sim.interrupt_sources)),
        "spi-mmu" => Box::new(spi_mmu::SpiMmu::new(device, mmu_entries(chip), flash_unit(chip))),
        "spi-mem" => Box::new(spi_mem::SpiMem::new(device)),
        "system" => Box::new(system::System::new(device)),
        "systimer" => Box::new(systimer::SystemTimer::new(device)),
        "timer-group" => Box::new(timer_group::TimerGroup::new(device, number)),
        "uart" => Box::new(uart::Uart::v1(device, number)),
        "uart-v2" => Box::new(uart::Uart::v2(device, number)),
        "usb-serial-jtag" => Box::new(usb_serial_jtag::UsbSerialJtag::new(device)),
        _ => return None,
    })
}

/// Returns the burnt eFuse bits with their offsets from the controller's base.
fn burnt(chip: &Chip, sim: &Sim, base: u32) -> Vec<(u32, u32)> {
    let mac = sim.mac.iter().fold(0_u64, |mac, byte| mac << 8 | u64::from(*byte));
    let mut words = Vec::new();
    let mut put = |field: &str, value| {
        if let Some(field) = chip.efuse.field(field) {
            field.put(value, |addr, bits| words.push((addr.0.wrapping_sub(base), bits)));
        }
    };
    for (field, value) in [
        ("mac", mac),
        ("wafer-version-major", u64::from(sim.revision.0)),
        ("wafer-version-minor", u64::from(sim.revision.1)),
    ] {
        put(field, value);
    }
    let calibration = sim.adc.iter().flat_map(|adc| &adc.calibration);
    calibration.for_each(|(field, value)| put(field, *value));
    words
}

/// Returns the number of flash MMU entries: one per page of the longest window.
pub(crate) fn mmu_entries(chip: &Chip) -> u32 {
    let page = mmu_page(chip);
    let windows = chip.regions.iter().filter(|region| region.kind == RegionKind::Flash);
    windows.map(|region| (region.backing.offset + region.len) / page).max().unwrap_or(0)
}

/// Returns the page size of the flash MMU in bytes.
pub(crate) fn mmu_page(chip: &Chip) -> u32 {
    chip.image.mmu_page_sizes.first().copied().unwrap_or(0x1_0000).max(1)
}

/// Returns the smallest page size of the flash MMU in bytes.
fn flash_unit(chip: &Chip) -> u32 {
    chip.image.mmu_page_sizes.iter().copied().min().unwrap_or(0x1_0000).max(1)
}

/// Returns the map of the plain memories.
pub(super) fn memory_map(chip: &Chip) -> MemoryMap {
    let mut banks: Vec<Bank> = Vec::new();
    let mut regions = Vec::new();
    for region in &chip.regions {
        let backing = if region.kind == RegionKind::Flash {
            Backing::Flash { first_entry: region.backing.offset / flash_unit(chip) }
        } else {
            let end = region.backing.offset.saturating_add(region.len);
            let bank = banks.iter().position(|bank| bank.name == region.backing.name);
            let bank = bank.unwrap_or_else(|| {
                banks.push(Bank { name: region.backing.name.clone(), len: 0 });
                banks.len() - 1
            });
            banks[bank].len = banks[bank].len.max(end);
            Backing::Bank { bank, offset: region.backing.offset }
        };
        regions.push(Region {
            name: region.key.clone(),
            base: region.addr.0,
            len: region.len,
            backing,
            access: Access { write: region.access.write, execute: region.access.execute },
        });
    }
    MemoryMap { banks, regions, flash_page_len: flash_unit(chip) }
}
