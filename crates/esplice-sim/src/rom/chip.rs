//! ROM functions that set up or query the chip: resets, delays, clocks, cache and MMU, pins, analog
//! parts, eFuses.

use super::{Call, Flow, Hook};
use crate::soc::{MMU_INVALID, clock::Tick, mmu_entries, mmu_page};

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("rtc_get_reset_reason", |call| {
        let reason = call.soc.fabric.reset_reason as u32;
        call.set_result(reason);
        Flow::after(10)
    }),
    ("software_reset", |call| {
        reset(call, 1 << 31);
        call.cpu.pc = call.table.facts().reset_pc;
        Flow { until: Tick::MAX, ..Flow::after(10) }
    }),
    ("software_reset_cpu", |call| {
        reset(call, 1 << 5);
        call.cpu.pc = call.table.facts().cpu_reset_pc;
        Flow { until: Tick::MAX, ..Flow::after(10) }
    }),
    // The ROM reads the register of the reset cause, not that of the wake-up cause.
    ("rtc_get_wakeup_cause", |call| {
        let cause = rtc(call, RESET_STATE).map_or(0, |at| call.load(at)) & 0x1_ffff;
        call.set_result(cause);
        Flow::after(7)
    }),
    ("cacl_rtc_memory_crc", |call| {
        let (first, last) = (call.arg(0), call.arg(1));
        let sum = rtc_memory_crc(call, first, last);
        call.set_result(sum);
        Flow::after(30)
    }),
    ("set_rtc_memory_crc", |call| {
        let sum = rtc_memory_crc(call, 0, u32::MAX);
        if let Some(at) = rtc(call, STORE7) {
            call.store(at, sum);
        }
        call.set_result(sum);
        Flow::after(40)
    }),
    ("ets_delay_us", |call| {
        let per_us = call.data("s_ticks_per_us").map_or(0, |at| call.load(at));
        // The ROM multiplies in 32 bits and drops the overflow.
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
        call.set_result(value);
        Flow::after(4)
    }),
    ("ets_get_apb_freq", |call| {
        let hz = apb_freq(call);
        call.set_result(hz);
        Flow::after(20)
    }),
    ("ets_get_xtal_freq", |call| {
        let hz = call.soc.fabric.clock.xtal_hz() as u32;
        call.set_result(hz);
        Flow::after(20)
    }),
    // Caches are not modelled.
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
        call.set_result(0);
        Flow::after(200)
    }),
    ("Cache_Mask_All", nothing),
    ("Cache_Set_IDROM_MMU_Size", nothing),
    ("Cache_Get_ICache_Line_Size", |call| {
        call.set_result(32); // TRM 3.3.3: the cache's line.
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
    // The analog parts on their I2C bus: `(block, host, register, …)`.
    ("rom_i2c_writeReg", |call| {
        let [block, _, register, value] = [0, 1, 2, 3].map(|index| call.arg(index));
        analog_write(call, block, register, value);
        Flow::default()
    }),
    ("rom_i2c_writeReg_Mask", |call| {
        let [block, _, register, high, low, value] =
            [0, 1, 2, 3, 4, 5].map(|index| call.arg(index));
        let mask = analog_mask(high, low).wrapping_shl(low);
        let old = analog_read(call, block, register);
        analog_write(call, block, register, old & !mask | value.wrapping_shl(low));
        Flow::default()
    }),
    ("rom_i2c_readReg", |call| {
        let (block, register) = (call.arg(0), call.arg(2));
        let value = analog_read(call, block, register);
        call.set_result(value);
        Flow::default()
    }),
    ("rom_i2c_readReg_Mask", |call| {
        let [block, _, register, high, low] = [0, 1, 2, 3, 4].map(|index| call.arg(index));
        let value = analog_read(call, block, register).wrapping_shr(low) & analog_mask(high, low);
        call.set_result(value & 0xff);
        Flow::default()
    }),
    // eFuses.
    ("ets_efuse_secure_boot_enabled", no),
    ("ets_efuse_download_modes_disabled", no),
    ("ets_efuse_security_download_modes_enabled", no),
    // The ROM calls this address after a program started by its loader has returned.
    ("ets_set_user_start", |call| {
        let start = call.arg(0);
        if let Some(at) = call.data("user_code_start") {
            call.store(at, start);
        }
        Flow::after(4)
    }),
    ("GetSecurityInfoProc", |call| {
        let to = call.arg(2);
        let chip = call.soc.fabric.chip.clone();
        let info = crate::download::security_info(&chip, |addr| call.load(addr));
        call.store_bytes(to, &info.to_bytes());
        call.set_result(0);
        Flow::after(400)
    }),
    ("analog_super_wdt_reset_happened", no),
    ("jtag_cpu_reset_happened", no),
    ("clear_super_wdt_reset_flag", nothing),
];

/// Returns a mask for bits `high` to `low`, shifted to the right, as the ROM computes it.
fn analog_mask(high: u32, low: u32) -> u32 {
    1_u32.wrapping_shl(high.wrapping_sub(low).wrapping_add(1)).wrapping_sub(1)
}

fn analog_write(call: &mut Call<'_>, block: u32, register: u32, value: u32) {
    let host = analog_host(call, block);
    call.store(host, block | register << 8 | value << 16 | ANALOG_WRITE);
}

fn analog_read(call: &mut Call<'_>, block: u32, register: u32) -> u32 {
    let host = analog_host(call, block);
    // Each block has a mask of the parts that answer (ROM: `rom_get_i2c_read_mask`).
    let mask = match (call.data("i2c_read_masks"), block.wrapping_sub(FIRST_BLOCK) & 0xff) {
        (Some(masks), index @ 0..BLOCKS) => call.load(masks + 4 * index),
        _ => 0,
    };
    let conf1 = analog_base(call) + 0x44;
    call.store(conf1, !mask);
    call.store(host, block | register << 8 | ANALOG_ENABLE);
    call.load(host) >> 16 & 0xff
}

/// Returns the address of the master's register for `block` (ROM: `rom_get_i2c_hostid`, which also
/// sets up CONF2).
fn analog_host(call: &mut Call<'_>, block: u32) -> u32 {
    let base = analog_base(call);
    let conf2 = call.load(base + 0x48) & 0xfffe_000f | 0x1_ff40;
    call.store(base + 0x48, conf2);
    base + 4 * u32::from(block.wrapping_sub(FIRST_BLOCK + 1) < 3)
}

fn analog_base(call: &Call<'_>) -> u32 {
    call.soc.base_of("ana").unwrap_or(0)
}

/// Blocks for which the ROM has masks.
const FIRST_BLOCK: u32 = 97;
const BLOCKS: u32 = 13;
/// Commands to a master (ROM: `rom_chip_i2c_readReg_org`, `rom_chip_i2c_writeReg`).
const ANALOG_ENABLE: u32 = 1 << 26;
const ANALOG_WRITE: u32 = 1 << 26 | 1 << 24;

/// Returns the bus clock (ROM: `ets_get_apb_freq`). On the crystal the ROM assumes a divider of 1
/// unless SYSCLK_CONF has one (CLK_DIV_EN), so its delays take twice as long as requested while the
/// chip boots.
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
    call.set_result(0);
    Flow::after(20)
}

/// Returns 0: the cache's autoload was off before.
fn none_before(call: &mut Call<'_>) -> Flow {
    call.set_result(0);
    Flow::after(60)
}

/// Registers of the RTC controller (TRM 9.8).
const RESET_STATE: u32 = 0x38;
const STORE7: u32 = 0xc4;

fn rtc(call: &Call<'_>, register: u32) -> Option<u32> {
    call.soc.base_of("rtc-cntl").map(|base| base + register)
}

/// Returns the checksum over words `first` to `last` of the RTC fast memory, which the hardware
/// calculates (ROM: `cacl_rtc_memory_crc`).
pub(super) fn rtc_memory_crc(call: &mut Call<'_>, first: u32, last: u32) -> u32 {
    const CONFIG: u32 = 0x48;
    const START: u32 = 1 << 8;
    let system = call.soc.base_of("system").unwrap_or(0);
    let kept = call.load(system + CONFIG) & 0x1ff;
    let what = kept | (first & 0x7ff) << 9 | (last & 0x7ff) << 20;
    call.store(system + CONFIG, what | START);
    call.store(system + CONFIG, what & !START);
    call.load(system + CONFIG + 4)
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
        for entry in 0..mmu_entries(&call.soc.fabric.chip) {
            call.store(table + 4 * entry, MMU_INVALID);
        }
    }
}

/// Maps pages: `(external RAM, vaddr, paddr, page size in KiB, pages, fixed)`. Results are the
/// ROM's (`Cache_Ibus_MMU_Set`).
fn mmu_set(call: &mut Call<'_>) -> Flow {
    let (vaddr, paddr, kib, pages) = (call.arg(1), call.arg(2), call.arg(3), call.arg(4));
    let fixed = call.arg(5) != 0;
    let chip = &call.soc.fabric.chip;
    let (page_len, entries) = (mmu_page(chip), mmu_entries(chip));
    // Both windows show the same entries and are at multiples of their length.
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
    call.set_result(failure);
    // The ROM maps pages up to the end of the window.
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
