//! ROM functions that access the flash chip (ROM, group spiflash_legacy). A result of 0 is success.

use super::{Call, Flow, Hook, MOST_BYTES, Work, spi_bus::SpiBus};
use crate::soc::clock::Tick;

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("esp_rom_spiflash_wait_idle", |call| {
        call.set_result(0);
        let bus = SpiBus::of(call);
        Flow { waits: until_idle(call) + bus.status(), ..Flow::default() }
    }),
    ("esp_rom_spiflash_read", |call| {
        let (offset, to, len) = (call.arg(0), call.arg(1), call.arg(2));
        if offset.checked_add(len).is_none_or(|end| end > chip_size(call)) {
            return refused(call);
        }
        // The firmware sets the size, so the read is limited to what can be stored.
        let bytes = call.soc.fabric.flash.read(offset, len.min(MOST_BYTES) as usize);
        call.store_bytes(to, &bytes);
        call.set_result(0);
        let bus = SpiBus::of(call);
        let waits = until_idle(call) + bus.status() + bus.read(len);
        Flow { waits, ..Flow::of(len.into()) }
    }),
    ("esp_rom_spiflash_write", |call| {
        let (offset, from, len) = (call.arg(0), call.arg(1), call.arg(2));
        if offset.checked_add(len).is_none_or(|end| end > chip_size(call)) {
            return refused(call);
        }
        if !call.soc.fabric.flash.is_attached() {
            return endless();
        }
        let bytes = call.bytes(from, len);
        let bus = SpiBus::of(call);
        let mut at = idle_at(call);
        let mut offset = offset;
        let mut rest = bytes.as_slice();
        let first = offset;
        let mut work = Work::default();
        while !rest.is_empty() {
            // The ROM sends up to 32 bytes at a time, never across a page's end.
            let room = (256 - offset % 256).min(32) as usize;
            let (piece, tail) = rest.split_at(room.min(rest.len()));
            at += bus.write_enable() + bus.program(piece.len() as u32);
            work.add("piece", 1);
            work.add("word", piece.len().div_ceil(4) as u64);
            let flash = &mut call.soc.fabric.flash;
            flash.write_enable();
            flash.program(offset, piece, at);
            at = flash.busy_until().max(at) + bus.status();
            offset += piece.len() as u32;
            rest = tail;
        }
        call.soc.fabric.flash_touched();
        call.set_result(0);
        work.add("page", u64::from((first % 256 + len).div_ceil(256)));
        Flow { waits: at - call.now(), ..Flow::doing(work) }
    }),
    ("esp_rom_spiflash_erase_sector", |call| {
        let number = call.arg(0);
        erase(call, number.checked_mul(0x1000), 0x1000)
    }),
    ("esp_rom_spiflash_erase_block", |call| {
        let number = call.arg(0);
        erase(call, number.checked_mul(0x1_0000), 0x1_0000)
    }),
    ("esp_rom_spiflash_erase_chip", |call| {
        let size = call.soc.fabric.flash.nor.size();
        erase(call, Some(0), size)
    }),
    ("SPI_write_enable", |call| {
        if !call.soc.fabric.flash.is_attached() {
            return endless();
        }
        let waits = until_idle(call) + SpiBus::of(call).write_enable();
        call.soc.fabric.flash.write_enable();
        call.set_result(0);
        Flow { waits, ..Flow::default() }
    }),
    ("esp_rom_spiflash_unlock", |call| {
        if !call.soc.fabric.flash.is_attached() {
            return endless();
        }
        let bus = SpiBus::of(call);
        let at = idle_at(call) + 2 * bus.status() + bus.write_enable() + bus.write_status();
        call.soc.fabric.flash.unlock(at);
        // From here on status writes cover two registers.
        if let Some(spi) = call.soc.base_of("spi1") {
            let old = call.load(spi + CTRL);
            call.store(spi + CTRL, old | CTRL_TWO_STATUS);
        }
        done(call)
    }),
    ("esp_rom_spiflash_config_param", |call| {
        // chip_size, block_size, sector_size, page_size, status_mask, after device_id.
        if let Some(chip) = call.data("rom_default_spiflash_legacy_data") {
            for i in 1..6 {
                let value = call.arg(i);
                call.store(chip + 4 * i as u32, value);
            }
        }
        success(call)
    }),
    ("esp_rom_spiflash_attach", |call| {
        let waits = attach(call);
        Flow { waits, ..Flow::after(200) }
    }),
    ("esp_rom_spiflash_config_clk", |call| {
        let (divider, controller) = (call.arg(0), call.arg(1));
        let waits = until_idle(call) + SpiBus::of(call).status();
        let name = if controller == 0 { "spi0" } else { "spi1" };
        set_clock(call, name, divider);
        Flow { waits, ..success(call) }
    }),
    ("esp_rom_spiflash_config_readmode", |call| {
        let mode = call.arg(0);
        let turned = (mode < 2) != call.soc.fabric.flash.is_quad_enabled();
        let at = config_read_mode(call, mode);
        call.set_result(0);
        let work = Work::of("quad", u64::from(mode < 2)).and("turned", turned.into());
        Flow { waits: at - call.now(), ..Flow::doing(work) }
    }),
    ("esp_rom_spiflash_select_qio_pins", success),
    ("esp_rom_spiflash_read_status", |call| {
        let (to, waits) = (call.arg(1), SpiBus::of(call).status());
        let now = call.now();
        let status = u32::from(call.soc.fabric.flash.status_1(now + waits));
        call.store(to, status);
        Flow { waits, ..success(call) }
    }),
    ("esp_rom_spiflash_read_statushigh", |call| {
        let (to, waits) = (call.arg(1), until_idle(call) + 2 * SpiBus::of(call).status());
        let now = call.now();
        let status = call.soc.fabric.flash.command(0x35, 0, &[], 1, now + waits);
        call.store(to, u32::from(status.first().copied().unwrap_or(0)) << 8);
        Flow { waits, ..success(call) }
    }),
    ("esp_rom_spiflash_write_status", |call| {
        // Includes the second register if CTRL selects writes of two.
        let status = call.arg(1).to_le_bytes();
        let spi = call.soc.base_of("spi1").unwrap_or(0);
        let two = call.load(spi + CTRL) & CTRL_TWO_STATUS != 0;
        let bus = SpiBus::of(call);
        let at = idle_at(call) + bus.status() + bus.write_status();
        call.soc.fabric.flash.command(0x01, 0, &status[..1 + usize::from(two)], 0, at);
        done(call)
    }),
    ("esp_rom_spi_flash_update_id", |call| {
        update_id(call);
        let waits = SpiBus::of(call).id();
        Flow { waits, ..success(call) }
    }),
    ("ets_efuse_get_spiconfig", success),
    ("ets_efuse_get_wp_pad", |call| {
        call.set_result(0x3f); // Not burnt, no pin.
        Flow::after(20)
    }),
];

/// Stores the chip's JEDEC ID in the ROM's form into the chip's description.
pub(super) fn update_id(call: &mut Call<'_>) {
    let flash = &call.soc.fabric.flash;
    let [manufacturer, kind, capacity] =
        if flash.is_attached() { flash.nor.jedec() } else { [0; 3] };
    if let Some(chip) = call.data("rom_default_spiflash_legacy_data") {
        let id = u32::from(manufacturer) << 16 | u32::from(kind) << 8 | u32::from(capacity);
        call.store(chip, id);
    }
}

/// Offsets of CTRL and CLOCK of a memory SPI controller (TRM 26.7).
pub(super) const CTRL: u32 = 0x08;
pub(super) const CLOCK: u32 = 0x14;
/// CTRL: WP and the levels of idle lines, as set by the ROM's `esp_rom_spiflash_attach`.
const CTRL_ATTACHED: u32 = 1 << 21;
/// CTRL: status writes have two bytes.
const CTRL_TWO_STATUS: u32 = 1 << 22;
/// CTRL: bits that the ROM sets in addition to the lines of a read: WP, the levels of D and Q,
/// clocks of dummy cycles.
const CTRL_READING: u32 = 1 << 21 | 1 << 19 | 1 << 18 | 1 << 3;

/// Sets both controllers to the mode in which every flash chip can be read, and wakes the chip.
/// Returns the time this takes on the bus (ROM, `spi_flash_attach`).
pub(super) fn attach(call: &mut Call<'_>) -> Tick {
    for controller in ["spi0", "spi1"] {
        if let Some(base) = call.soc.base_of(controller) {
            call.store(base + CTRL, CTRL_ATTACHED);
        }
    }
    call.soc.fabric.flash.attach(true);
    SpiBus::of(call).release()
}

/// Sets how both controllers read, and the flash chip's quad-enable bit. Returns when that is done
/// (ROM, `esp_rom_spiflash_config_readmode`).
pub(super) fn config_read_mode(call: &mut Call<'_>, mode: u32) -> Tick {
    let bus = SpiBus::of(call);
    let mut at = idle_at(call) + 2 * bus.status();
    let quad = mode < 2;
    let flash = &mut call.soc.fabric.flash;
    if flash.is_quad_enabled() != quad {
        at += 3 * bus.status() + bus.write_enable() + bus.write_status();
        flash.enable_quad(quad, at);
    }
    set_read_mode(call, mode);
    idle_at(call).max(at)
}

/// Sets how both controllers read: bits 24 to 13 of CTRL (TRM 26.7), by
/// esp_rom_spiflash_read_mode_t.
fn set_read_mode(call: &mut Call<'_>, mode: u32) {
    const FAST: u32 = 1 << 13;
    const DUAL: u32 = 1 << 14;
    const QUAD: u32 = 1 << 20;
    const DIO: u32 = 1 << 23;
    const QIO: u32 = 1 << 24;
    let bits = match mode {
        0 => FAST | QIO,
        1 => FAST | QUAD,
        2 => FAST | DIO,
        3 => FAST | DUAL,
        4 => FAST,
        _ => 0,
    };
    for controller in ["spi0", "spi1"] {
        if let Some(base) = call.soc.base_of(controller) {
            let old = call.load(base + CTRL) & !(FAST | DUAL | QUAD | DIO | QIO);
            call.store(base + CTRL, old | bits | CTRL_READING);
        }
    }
}

/// Sets a controller's clock to the bus clock divided by `divider` (ROM,
/// `esp_rom_spiflash_config_clk`).
pub(super) fn set_clock(call: &mut Call<'_>, controller: &str, divider: u32) {
    let clock = match divider {
        0 | 1 => 1 << 31,
        _ => {
            let last = (divider - 1) & 0xff;
            last << 16 | ((divider / 2).wrapping_sub(1) & 0xff) << 8 | last
        }
    };
    if let Some(base) = call.soc.base_of(controller) {
        call.store(base + CLOCK, clock);
    }
}

/// Refuses an operation past the chip's end before it begins.
fn refused(call: &mut Call<'_>) -> Flow {
    call.set_result(1);
    Flow::doing(Work::of("refused", 1))
}

/// Never returns: without a chip on the bus the write-enable latch is never seen set (ROM:
/// `SPI_write_enable`).
fn endless() -> Flow {
    Flow { until: Tick::MAX, ..Flow::after(10) }
}

fn success(call: &mut Call<'_>) -> Flow {
    call.set_result(0);
    Flow::after(40)
}

fn erase(call: &mut Call<'_>, offset: Option<u32>, len: u32) -> Flow {
    let Some(offset) = offset.filter(|offset| *offset < chip_size(call)) else {
        return refused(call);
    };
    if !call.soc.fabric.flash.is_attached() {
        return endless();
    }
    let bus = SpiBus::of(call);
    let at = idle_at(call) + bus.write_enable() + bus.erase();
    let flash = &mut call.soc.fabric.flash;
    flash.write_enable();
    flash.erase(offset, len, at);
    done(call)
}

/// Ends a function that waits for the flash chip before it returns.
fn done(call: &mut Call<'_>) -> Flow {
    call.soc.fabric.flash_touched();
    call.set_result(0);
    Flow { waits: until_idle(call) + SpiBus::of(call).status(), ..Flow::after(100) }
}

fn chip_size(call: &mut Call<'_>) -> u32 {
    match call.data("rom_default_spiflash_legacy_data") {
        Some(chip) => call.load(chip + 4),
        None => call.soc.fabric.flash.nor.size(),
    }
}

fn idle_at(call: &Call<'_>) -> Tick {
    call.soc.fabric.flash.busy_until().max(call.now())
}

/// Returns the time until the flash chip is idle.
fn until_idle(call: &Call<'_>) -> Tick {
    idle_at(call) - call.now()
}
