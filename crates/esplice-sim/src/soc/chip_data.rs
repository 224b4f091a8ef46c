//! Conversion of the chip data to device models and memories.

use esplice_chip::{Chip, Peripheral, RegionKind, Sim};

use super::{
    cache, device::Device, efuse, gdma, gpio, interrupts, plain, rtc, sha, spi_mem, system,
    systimer, timer_group, uart, usb_serial_jtag,
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
    let len = device.len;
    Some(match device.model.as_str() {
        "analog-i2c" => Box::new(plain::AnalogI2c::new(len)),
        "apb-ctrl" => Box::new(plain::ApbControl::new(len)),
        "debug-assist" => Box::new(plain::DebugAssist::new(len)),
        "efuse" => Box::new(efuse::Efuses::new(len, &burnt(chip, sim, device.base.0), &sim.efuse)),
        "extmem" => Box::new(cache::CacheControl::new(len)),
        "gdma" => Box::new(gdma::Gdma::new(len)),
        "gpio" => Box::new(gpio::Gpio::new(len, sim.strap_addr.0.wrapping_sub(device.base.0))),
        "interrupt-matrix" => Box::new(interrupts::InterruptMatrix::new(len)),
        "io-mux" => Box::new(gpio::IoMux::new(len, &sim.pads)),
        "storage" => Box::new(plain::Storage::new(len, &[])),
        "mmu-table" => Box::new(cache::MmuTable::new(len, mmu_entries(chip))),
        "rtc-cntl" => Box::new(rtc::RtcControl::new(len)),
        "sha" => Box::new(sha::Sha::new(len)),
        "spi-mem" => Box::new(spi_mem::SpiMem::new(len)),
        "system" => Box::new(system::System::new(len)),
        "systimer" => Box::new(systimer::SystemTimer::new(len)),
        "timer-group" => Box::new(timer_group::TimerGroup::new(len, number)),
        "uart" => Box::new(uart::Uart::new(len, number == 0, device.signals.first().copied())),
        "usb-serial-jtag" => Box::new(usb_serial_jtag::UsbSerialJtag::new(len)),
        _ => return None,
    })
}

/// Returns the burnt eFuse bits with their offsets from the controller's base.
fn burnt(chip: &Chip, sim: &Sim, base: u32) -> Vec<(u32, u32)> {
    let mac = sim.mac.iter().fold(0_u64, |mac, byte| mac << 8 | u64::from(*byte));
    let mut words = Vec::new();
    for (field, value) in [
        ("mac", mac),
        ("wafer-version-major", u64::from(sim.revision.0)),
        ("wafer-version-minor", u64::from(sim.revision.1)),
    ] {
        if let Some(field) = chip.efuse.field(field) {
            field.put(value, |addr, bits| words.push((addr.0.wrapping_sub(base), bits)));
        }
    }
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

/// Returns the map of the plain memories.
pub(super) fn memory_map(chip: &Chip) -> MemoryMap {
    let mut banks: Vec<Bank> = Vec::new();
    let mut regions = Vec::new();
    for region in &chip.regions {
        let backing = if region.kind == RegionKind::Flash {
            Backing::Flash { first_entry: region.backing.offset / mmu_page(chip) }
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
    MemoryMap { banks, regions, flash_page_len: mmu_page(chip) }
}
