//! ROM functions that reach the flash chip (ROM, group spiflash_legacy). Results: 0 is success.

use super::{Call, Flow, Hook, MOST_BYTES};
use crate::soc::clock::periods;

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("esp_rom_spiflash_wait_idle", |call| {
        call.give(0);
        let idle = idle_at(call);
        Flow::at(idle)
    }),
    ("esp_rom_spiflash_read", |call| {
        let (offset, to, len) = (call.arg(0), call.arg(1), call.arg(2));
        if offset.checked_add(len).is_none_or(|end| end > chip_size(call)) {
            call.give(1);
            return Flow::after(20);
        }
        // The size is the firmware's word: no more is read than there is to be written to.
        let bytes = call.soc.fabric.flash.read(offset, len.min(MOST_BYTES) as usize);
        call.store_bytes(to, &bytes);
        call.give(0);
        Flow { until: idle_at(call).max(call.now() + read_time(call, len)), ..Flow::of(len.into()) }
    }),
    ("esp_rom_spiflash_write", |call| {
        let (offset, from, len) = (call.arg(0), call.arg(1), call.arg(2));
        if offset.checked_add(len).is_none_or(|end| end > chip_size(call)) {
            call.give(1);
            return Flow::after(20);
        }
        let bytes = call.bytes(from, len);
        let mut at = idle_at(call);
        let mut offset = offset;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            // The ROM sends 32 bytes at a time, and none of them over a page's end.
            let room = (32 - offset % 32) as usize;
            let (piece, tail) = rest.split_at(room.min(rest.len()));
            let flash = &mut call.soc.fabric.flash;
            flash.write_enable();
            flash.program(offset, piece, at);
            at = flash.busy_until().max(at);
            offset += piece.len() as u32;
            rest = tail;
        }
        Flow { units: len.into(), ..done(call) }
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
        let at = idle_at(call);
        call.soc.fabric.flash.write_enable();
        call.give(0);
        Flow::at(at)
    }),
    ("esp_rom_spiflash_unlock", |call| {
        let at = idle_at(call);
        call.soc.fabric.flash.unlock(at);
        done(call)
    }),
    ("esp_rom_spiflash_config_param", |call| {
        // chip_size, block_size, sector_size, page_size, status_mask, behind device_id.
        if let Some(chip) = call.data("rom_default_spiflash_legacy_data") {
            for i in 1..6 {
                let value = call.arg(i);
                call.store(chip + 4 * i as u32, value);
            }
        }
        success(call)
    }),
    ("esp_rom_spiflash_attach", |_| Flow::after(200)),
    ("esp_rom_spiflash_config_clk", success),
    ("esp_rom_spiflash_config_readmode", |call| {
        let mode = call.arg(0);
        set_read_mode(call, mode);
        success(call)
    }),
    ("esp_rom_spiflash_select_qio_pins", success),
    ("esp_rom_spiflash_read_status", |call| {
        let (to, now) = (call.arg(1), call.now());
        let status = u32::from(call.soc.fabric.flash.status_1(now));
        call.store(to, status);
        success(call)
    }),
    ("esp_rom_spi_flash_update_id", |call| {
        update_id(call);
        success(call)
    }),
    ("ets_efuse_get_spiconfig", success),
    ("ets_efuse_get_wp_pad", |call| {
        call.give(0x3f); // Not burnt: none.
        Flow::after(20)
    }),
];

/// Stores the chip's JEDEC id, as the ROM keeps it, into the chip's description.
pub(super) fn update_id(call: &mut Call<'_>) {
    let [manufacturer, kind, capacity] = call.soc.fabric.flash.nor.jedec();
    if let Some(chip) = call.data("rom_default_spiflash_legacy_data") {
        let id = u32::from(manufacturer) << 16 | u32::from(kind) << 8 | u32::from(capacity);
        call.store(chip, id);
    }
}

/// Sets how both controllers read: bits 24 to 13 of CTRL (TRM 26.7), by esp_rom_spiflash_read_mode_t.
pub(super) fn set_read_mode(call: &mut Call<'_>, mode: u32) {
    const CTRL: u32 = 0x08;
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
            call.store(base + CTRL, old | bits);
        }
    }
}

fn success(call: &mut Call<'_>) -> Flow {
    call.give(0);
    Flow::after(40)
}

fn erase(call: &mut Call<'_>, offset: Option<u32>, len: u32) -> Flow {
    let Some(offset) = offset.filter(|offset| *offset < chip_size(call)) else {
        call.give(1);
        return Flow::after(20);
    };
    let at = idle_at(call);
    let flash = &mut call.soc.fabric.flash;
    flash.write_enable();
    flash.erase(offset, len, at);
    done(call)
}

fn done(call: &mut Call<'_>) -> Flow {
    call.soc.fabric.flash_touched();
    call.give(0);
    Flow { until: idle_at(call), ..Flow::after(100) }
}

fn chip_size(call: &mut Call<'_>) -> u32 {
    match call.data("rom_default_spiflash_legacy_data") {
        Some(chip) => call.load(chip + 4),
        None => call.soc.fabric.flash.nor.size(),
    }
}

fn idle_at(call: &Call<'_>) -> u64 {
    call.soc.fabric.flash.busy_until().max(call.now())
}

/// Time of a read on two lines.
fn read_time(call: &Call<'_>, len: u32) -> u64 {
    if !call.soc.fabric.timed {
        return 0;
    }
    let mhz = u64::from(call.soc.fabric.flash.nor.timing().read_mhz.max(1));
    periods(u64::from(len) * 4 + 32, mhz * 1_000_000)
}
