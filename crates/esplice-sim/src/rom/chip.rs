//! ROM functions that set up or ask the chip: resets, delays, clocks, cache and MMU, pins, the
//! analog parts, eFuses.

use super::{Call, Flow, Hook};
use crate::soc::{MMU_INVALID, clock::Tick, mmu_entries, mmu_page};

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("rtc_get_reset_reason", |call| {
        let reason = call.soc.fabric.reset_reason as u32;
        call.give(reason);
        Flow::after(10)
    }),
    ("software_reset", |call| {
        reset(call, 1 << 31);
        call.cpu.pc = call.table.texts().reset_pc;
        Flow { until: Tick::MAX, ..Flow::after(10) }
    }),
    ("software_reset_cpu", |call| {
        reset(call, 1 << 5);
        call.cpu.pc = call.table.texts().cpu_reset_pc;
        Flow { until: Tick::MAX, ..Flow::after(10) }
    }),
    ("ets_delay_us", |call| {
        let per_us = call.data("s_ticks_per_us").map_or(0, |at| call.load(at));
        // The ROM multiplies in 32 bits and drops the rest.
        let cycles = call.arg(0).wrapping_mul(per_us);
        let clock = &call.soc.fabric.clock;
        Flow::at(clock.tick_at(clock.cycle.saturating_add(cycles.into())))
    }),
    ("ets_update_cpu_frequency", |call| {
        let value = call.arg(0);
        if let Some(at) = call.data("s_ticks_per_us") {
            call.store(at, value);
        }
        Flow::after(4)
    }),
    ("ets_get_cpu_frequency", |call| {
        let value = call.data("s_ticks_per_us").map_or(0, |at| call.load(at));
        call.give(value);
        Flow::after(4)
    }),
    ("ets_get_apb_freq", |call| {
        let hz = apb_freq(call);
        call.give(hz);
        Flow::after(20)
    }),
    ("ets_get_xtal_freq", |call| {
        let hz = call.soc.fabric.clock.xtal_hz() as u32;
        call.give(hz);
        Flow::after(20)
    }),
    // Caches: nothing is held in them.
    ("ROM_Boot_Cache_Init", |call| {
        mmu_init(call);
        Flow::after(400)
    }),
    ("Cache_MMU_Init", |call| {
        mmu_init(call);
        Flow::after(400)
    }),
    ("Cache_Ibus_MMU_Set", mmu_set),
    ("Cache_Dbus_MMU_Set", mmu_set),
    ("Cache_Disable_ICache", none_before),
    ("Cache_Enable_ICache", nothing),
    ("Cache_Suspend_ICache", none_before),
    ("Cache_Resume_ICache", nothing),
    ("Cache_Freeze_ICache_Enable", nothing),
    ("Cache_Freeze_ICache_Disable", nothing),
    ("Cache_Invalidate_ICache_All", nothing),
    ("Cache_Invalidate_ICache_Items", nothing),
    ("Cache_Invalidate_Addr", |call| {
        call.give(0);
        Flow::after(200)
    }),
    ("Cache_Mask_All", nothing),
    ("Cache_Set_IDROM_MMU_Size", nothing),
    ("Cache_Get_ICache_Line_Size", |call| {
        call.give(32); // TRM 3.3.3: the cache's line.
        Flow::after(10)
    }),
    // Pins.
    ("gpio_pad_set_drv", nothing),
    ("gpio_pad_pullup", nothing),
    ("gpio_pad_pulldown", nothing),
    ("gpio_pad_select_gpio", nothing),
    ("gpio_pad_unhold", nothing),
    ("gpio_pad_hold", nothing),
    ("gpio_matrix_in", nothing),
    ("gpio_matrix_out", nothing),
    // The analog parts behind their I2C bus: what is written has no effect, reads give 0.
    ("rom_i2c_writeReg", |_| Flow::after(120)),
    ("rom_i2c_writeReg_Mask", |_| Flow::after(240)),
    ("rom_i2c_readReg", |call| {
        call.give(0);
        Flow::after(120)
    }),
    ("rom_i2c_readReg_Mask", |call| {
        call.give(0);
        Flow::after(120)
    }),
    // eFuses.
    ("ets_efuse_secure_boot_enabled", no),
    ("ets_efuse_download_modes_disabled", no),
    ("ets_efuse_security_download_modes_enabled", no),
    // What the ROM calls when a program that its loader started has come back.
    ("ets_set_user_start", |call| {
        let start = call.arg(0);
        if let Some(at) = call.data("user_code_start") {
            call.store(at, start);
        }
        Flow::after(4)
    }),
    ("GetSecurityInfoProc", |call| {
        let to = call.arg(2);
        let chip = call.soc.fabric.chip;
        let info = crate::download::security_info(chip, |addr| call.load(addr));
        call.store_bytes(to, &info.to_bytes());
        call.give(0);
        Flow::after(400)
    }),
    ("analog_super_wdt_reset_happened", no),
    ("jtag_cpu_reset_happened", no),
    ("clear_super_wdt_reset_flag", nothing),
];

/// ROM: `ets_get_apb_freq`. On the crystal it takes the divider for 1 unless SYSCLK_CONF tells of one
/// (CLK_DIV_EN), so that its delays are twice as long as they say while the chip boots.
pub(super) fn apb_freq(call: &mut Call<'_>) -> u32 {
    const SYSCLK_CONF: u32 = 0x58;
    const CLK_DIV_EN: u32 = 1 << 19;
    let system = call.soc.base_of("system").unwrap_or(0);
    let conf = call.load(system + SYSCLK_CONF);
    let xtal = call.soc.fabric.clock.xtal_hz() as u32;
    match conf >> 10 & 3 {
        0 if conf & CLK_DIV_EN != 0 => xtal / ((conf & 0x3ff) + 1),
        0 => xtal,
        1 => 80_000_000,
        2 => 8_000_000,
        _ => 16_000_000,
    }
}

fn nothing(_call: &mut Call<'_>) -> Flow {
    Flow::after(30)
}

fn no(call: &mut Call<'_>) -> Flow {
    call.give(0);
    Flow::after(20)
}

/// The cache's autoload was off before.
fn none_before(call: &mut Call<'_>) -> Flow {
    call.give(0);
    Flow::after(60)
}

/// Sets bits of OPTIONS0, the first register of the RTC controller (TRM 9.8).
fn reset(call: &mut Call<'_>, bits: u32) {
    if let Some(options) = call.soc.base_of("rtc-cntl") {
        let value = call.load(options);
        call.store(options, value | bits);
    }
}

fn mmu_init(call: &mut Call<'_>) {
    if let Some(table) = call.soc.base_of("mmu") {
        for entry in 0..mmu_entries(call.soc.fabric.chip) {
            call.store(table + 4 * entry, MMU_INVALID);
        }
    }
}

/// `(external RAM, vaddr, paddr, page size in KiB, pages, fixed)`; results as the ROM's
/// (`Cache_Ibus_MMU_Set`).
fn mmu_set(call: &mut Call<'_>) -> Flow {
    let (vaddr, paddr, kib, pages) = (call.arg(1), call.arg(2), call.arg(3), call.arg(4));
    let fixed = call.arg(5) != 0;
    let chip = call.soc.fabric.chip;
    let (page_len, entries) = (mmu_page(chip), mmu_entries(chip));
    // Both windows show the same entries, and stand at multiples of their length.
    let first = vaddr / page_len % entries.max(1);
    let failure = if !vaddr.is_multiple_of(page_len) || !paddr.is_multiple_of(page_len) {
        2
    } else if kib != page_len / 1024 {
        3
    } else if first.saturating_add(pages) > entries {
        4
    } else {
        0
    };
    call.give(failure);
    // Up to where the window ends it does what it can.
    let pages = pages.min(entries.saturating_sub(first));
    if matches!(failure, 0 | 4)
        && let Some(table) = call.soc.base_of("mmu")
    {
        for i in 0..pages {
            let page = paddr / page_len + if fixed { 0 } else { i };
            call.store(table + 4 * (first + i), page & 0xff);
        }
    }
    Flow::of(if failure == 0 { pages.into() } else { 0 })
}
