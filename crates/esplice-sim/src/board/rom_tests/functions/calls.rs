//! The calls made to each function.

use super::{Bench, NONE, ONE, OTHER, PIECE, RAM, ROUNDS, STACK, TWO};
use crate::cpu::Bus;

pub(super) fn all(bench: &mut Bench) {
    memory(bench);
    strings(bench);
    arithmetic(bench);
    hashes(bench);
    inflating(bench);
    flash(bench);
    chip(bench);
    analog(bench);
    printing(bench);
    super::numbers::all(bench);
}

fn memory(bench: &mut Bench) {
    for _ in 0..ROUNDS {
        let len = bench.any(300) * [1, 1, 4, 20][bench.any(4) as usize];
        let (to, from) = (RAM + bench.any(64), OTHER + bench.any(64));
        let value = bench.random.word();
        bench.call("memset", &[to, value, len], ONE);
        bench.call("bzero", &[to, len], NONE);
        bench.call("memcpy", &[to & !3, from & !3, len], ONE);
        bench.call("memcpy", &[to, from, len], ONE);
        bench.call("memmove", &[to, from, len], ONE);
        let back = to + bench.any(40);
        bench.call("memmove", &[back, to, len], ONE);
        let same = bench.random.bytes(len.max(1));
        bench.put(OTHER + 0x8000, &same);
        bench.put(RAM + 0x8000, &same);
        let at = bench.any(len.max(1));
        let odd = bench.any(256) as u8;
        bench.put(RAM + 0x8000 + at, &[odd]);
        bench.call("memcmp", &[RAM + 0x8000, OTHER + 0x8000, len], ONE);
        bench.call("memchr", &[RAM + 0x8000, u32::from(odd), len], ONE);
    }
}

fn strings(bench: &mut Bench) {
    for _ in 0..ROUNDS {
        let len = bench.any(200);
        let text: Vec<u8> =
            bench.random.bytes(len).iter().map(|b| b'a' + b % 3).chain([0]).collect();
        let (one, other) = (RAM + bench.any(8), OTHER + bench.any(8));
        bench.put(one, &text);
        bench.put(other, &text);
        let at = bench.any(len + 1);
        if bench.any(3) > 0 {
            let byte = b'a' + bench.any(4) as u8;
            bench.put(other + at.min(len.saturating_sub(1)), &[byte]);
        }
        let most = bench.any(220);
        bench.call("strcmp", &[one, other], ONE);
        bench.call("strncmp", &[one, other, most], ONE);
        bench.call("strlen", &[one], ONE);
        bench.call("strnlen", &[one, most], ONE);
        let to = RAM + 0x4000 + bench.any(4);
        bench.call("strcpy", &[to, one], ONE);
        bench.call("strncpy", &[RAM + 0x5000, other, most], ONE);
        bench.call("strlcpy", &[RAM + 0x6000, one, most], ONE);
    }
}

fn arithmetic(bench: &mut Bench) {
    for _ in 0..4 * ROUNDS {
        let [a, b, c, d] = [(); 4].map(|()| bench.random.number());
        let (low, high) = if bench.any(3) == 0 { (c, 0) } else { (c, d) };
        for name in ["__udivdi3", "__umoddi3", "__divdi3", "__moddi3"] {
            // Division by 0 is tested below.
            bench.call(name, &[a, b, low | 1, high], TWO);
        }
        bench.call("__muldi3", &[a, b, c, d], TWO);
        for name in ["__ashldi3", "__lshrdi3", "__ashrdi3"] {
            bench.call(name, &[a, b, c % 64], TWO);
        }
        for name in ["__clzsi2", "__ctzsi2"] {
            bench.call(name, &[a | 1 << (b % 32)], ONE);
        }
        for name in ["__popcountsi2", "__bswapsi2", "abs"] {
            bench.call(name, &[a], ONE);
        }
    }
    for name in ["__udivdi3", "__umoddi3", "__divdi3", "__moddi3"] {
        for (a, b) in [(0, 0), (7, 0), (0, 0x8000_0000), (u32::MAX, u32::MAX)] {
            bench.call(name, &[a, b, 0, 0], TWO);
        }
    }
    for name in ["__divdi3", "__moddi3"] {
        bench.call(name, &[0, 0x8000_0000, u32::MAX, u32::MAX], TWO);
    }
}

fn hashes(bench: &mut Bench) {
    const CONTEXT: u32 = STACK + 0x1000;
    for _ in 0..ROUNDS {
        let start = bench.random.word();
        let (at, len) = (RAM + bench.any(16), bench.any(3000));
        bench.call("crc32_le", &[start, at, len], ONE);
        bench.call("crc32_be", &[start, at, len], ONE);
        bench.call("MD5Init", &[CONTEXT], NONE);
        for _ in 0..bench.any(4) {
            let (at, len) = (RAM + bench.any(16), bench.any(3000));
            bench.call("MD5Update", &[CONTEXT, at, len], NONE);
        }
        bench.call("MD5Final", &[OTHER + 0x200, CONTEXT], NONE);
        bench.call("ets_sha_enable", &[], NONE);
        for kind in [1, 2] {
            bench.call("ets_sha_init", &[CONTEXT, kind], NONE);
            bench.call("ets_sha_starts", &[CONTEXT, 0], NONE);
            for _ in 0..=bench.any(3) {
                let (at, len) = (RAM + 4 * bench.any(16), 4 * bench.any(700));
                bench.call("ets_sha_update", &[CONTEXT, at, len, 0], NONE);
            }
            bench.call("ets_sha_finish", &[CONTEXT, OTHER + 0x300], NONE);
        }
    }
}

fn inflating(bench: &mut Bench) {
    use std::io::Write as _;
    const STATE: u32 = STACK + 0x1000;
    const LENS: u32 = OTHER + 0xfff0;
    for round in 0..12 {
        let len = bench.any(PIECE);
        let bytes = bench.random.bytes(len);
        let text: Vec<u8> = match round {
            // Few letters, all bytes, and data like firmware: words that repeat.
            0..8 => bytes.iter().map(|b| b'a' + b % (round + 2)).collect(),
            8 => bytes,
            9 => vec![0xff; len as usize],
            _ => bytes
                .chunks(4)
                .flat_map(|c| [c[0] & 0x1f, 0x05, c[c.len() - 1] & 3, 0x93])
                .collect(),
        };
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&text).unwrap();
        let stream = encoder.finish().unwrap();
        bench.words(STATE, &[0]);
        let mut next = OTHER;
        for piece in stream.chunks(1024) {
            bench.put(RAM, piece);
            bench.words(LENS, &[piece.len() as u32, 0x8000 - (next - OTHER)]);
            let arguments = [STATE, RAM, LENS, OTHER, next, LENS + 4, 3];
            bench.call("tinfl_decompress", &arguments, ONE);
            next += bench.real.soc.load32(LENS + 4).unwrap();
        }
    }
}

pub(super) fn flash(bench: &mut Bench) {
    for _ in 0..ROUNDS {
        let at = 0x10_0000 + 4 * bench.any(0x1000);
        let len = 4 * (1 + bench.any(300));
        bench.call("esp_rom_spiflash_write", &[at, RAM, len], ONE);
        bench.call("esp_rom_spiflash_read", &[at, OTHER, len], ONE);
        let status = OTHER + 0x8000;
        bench.call("esp_rom_spiflash_read_status", &[0x3fcd_f5c0, status], ONE);
        bench.call("esp_rom_spiflash_read_statushigh", &[0x3fcd_f5c0, status], ONE);
        let sector = 0x100 + bench.any(4);
        bench.call("esp_rom_spiflash_erase_sector", &[sector], ONE);
        bench.call("esp_rom_spiflash_wait_idle", &[0x3fcd_f5c0], ONE);
    }
    bench.call("esp_rom_spiflash_erase_block", &[0x10], ONE);
    for (name, arguments) in [
        ("esp_rom_spiflash_read", [0x1f_ffff, OTHER, 4]),
        ("esp_rom_spiflash_write", [0x20_0000, RAM, 4]),
        ("esp_rom_spiflash_erase_sector", [0x200, 0, 0]),
        ("esp_rom_spiflash_erase_block", [0x20, 0, 0]),
    ] {
        bench.call(name, &arguments, ONE);
    }
    bench.call("esp_rom_spiflash_unlock", &[], ONE);
    for status in [0x21c, 0x200] {
        bench.call("SPI_write_enable", &[0x3fcd_f5c0], ONE);
        bench.call("esp_rom_spiflash_write_status", &[0x3fcd_f5c0, status], ONE);
        bench.call("esp_rom_spiflash_read_status", &[0x3fcd_f5c0, OTHER], ONE);
        bench.call("esp_rom_spiflash_read_statushigh", &[0x3fcd_f5c0, OTHER], ONE);
        // The whole chip is protected, and then not.
        bench.call("esp_rom_spiflash_erase_sector", &[0x101], ONE);
    }
    bench.call("esp_rom_spi_flash_update_id", &[], NONE);
    for mode in 0..6 {
        bench.call("esp_rom_spiflash_config_readmode", &[mode], ONE);
    }
    bench.call("esp_rom_spiflash_config_clk", &[1, 0], ONE);
    bench.call("esp_rom_spiflash_config_clk", &[2, 1], ONE);
    bench.call("ets_efuse_get_spiconfig", &[], ONE);
    bench.call("ets_efuse_get_wp_pad", &[], ONE);
}

/// Calls that access registers of the analog parts, through their I2C masters, and compares what
/// they leave there.
fn analog(bench: &mut Bench) {
    for _ in 0..ROUNDS {
        let (block, register) = (97 + bench.any(14), bench.any(12));
        let value = bench.any(256);
        bench.call("rom_i2c_writeReg", &[block, 0, register, value], NONE);
        bench.call("rom_i2c_readReg", &[block, 0, register], ONE);
        let (low, high) = (bench.any(8), 7);
        let high = low + bench.any(high - low + 1);
        let field = value & ((2 << (high - low)) - 1);
        bench.call("rom_i2c_writeReg_Mask", &[block, 0, register, high, low, field], NONE);
        bench.call("rom_i2c_readReg_Mask", &[block, 0, register, high, low], ONE);
        bench.call("rom_i2c_readReg", &[block, 0, register], ONE);
    }
    for at in [0x6000_e000, 0x6000_e004, 0x6000_e044, 0x6000_e048] {
        let (one, other) = (bench.hooked.soc.load32(at), bench.real.soc.load32(at));
        if one != other {
            bench.different.push(format!("I2C at {at:#x}: {one:x?} and not {other:x?}"));
        }
    }
}

fn chip(bench: &mut Bench) {
    bench.call("GetSecurityInfoProc", &[0, 0, OTHER], ONE);
    bench.call("rtc_get_wakeup_cause", &[], ONE);
    // The hardware's checksum of the RTC memory.
    for board in [&mut bench.hooked, &mut bench.real] {
        for at in (0x5000_0000..0x5000_2000).step_by(4) {
            board.soc.store32(at, at.wrapping_mul(0x9e37_79b9)).unwrap();
        }
    }
    bench.call("cacl_rtc_memory_crc", &[0, 2047], ONE);
    bench.call("cacl_rtc_memory_crc", &[100, 20], ONE);
    bench.call("set_rtc_memory_crc", &[], NONE);
    for name in [
        "ets_get_cpu_frequency",
        "ets_get_apb_freq",
        "ets_get_xtal_freq",
        "Cache_Get_ICache_Line_Size",
        "Cache_Disable_ICache",
        "Cache_Suspend_ICache",
        "ets_efuse_secure_boot_enabled",
        "ets_efuse_download_modes_disabled",
        "ets_efuse_security_download_modes_enabled",
        "analog_super_wdt_reset_happened",
        "jtag_cpu_reset_happened",
    ] {
        bench.call(name, &[], ONE);
    }
    bench.call("rtc_get_reset_reason", &[0], ONE);
    bench.call("ets_set_user_start", &[0x4038_0000], NONE);
    for (name, argument) in [
        ("Cache_Enable_ICache", 0),
        ("Cache_Resume_ICache", 0),
        ("Cache_Freeze_ICache_Enable", 0),
        ("Cache_Freeze_ICache_Disable", 0),
        ("Cache_Invalidate_ICache_All", 0),
        ("Cache_Mask_All", 0),
        ("gpio_pad_pullup", 9),
        ("gpio_pad_pulldown", 9),
        ("gpio_pad_select_gpio", 9),
        ("gpio_pad_unhold", 9),
        ("gpio_pad_hold", 9),
        ("ets_update_cpu_frequency", 80),
    ] {
        bench.call(name, &[argument], NONE);
    }
    bench.call("gpio_pad_set_drv", &[9, 2], NONE);
    bench.call("gpio_matrix_in", &[9, 6, 0], NONE);
    bench.call("gpio_matrix_out", &[9, 6, 0, 0], NONE);
    bench.call("Cache_MMU_Init", &[], NONE);
    for arguments in [
        [0, 0x4200_0000, 0, 64, 4, 0],
        [0, 0x4207_0000, 0x2_0000, 64, 1, 0],
        [0, 0x4200_0000, 0x1_0000, 32, 1, 0],
        [0, 0x4200_8000, 0x1_0000, 64, 1, 0],
        [0, 0x427f_0000, 0x1_0000, 64, 2, 0],
    ] {
        let pages = arguments[4];
        bench.call("Cache_Ibus_MMU_Set", &arguments, ONE);
        let drom = arguments[1] - 0x4200_0000 + 0x3c00_0000;
        let arguments = [arguments[0], drom, arguments[2], arguments[3], pages, arguments[5]];
        bench.call("Cache_Dbus_MMU_Set", &arguments, ONE);
    }
    for number in [1, 5, 31] {
        bench.call("esprv_intc_int_set_priority", &[number, 3], NONE);
        bench.call("esprv_intc_int_set_type", &[number, 1], NONE);
        bench.call("esprv_intc_int_set_type", &[number, 0], NONE);
        bench.call("intr_matrix_set", &[0, 21, number], NONE);
        bench.call("ets_isr_attach", &[number, RAM, OTHER], NONE);
        bench.call("ets_isr_mask", &[1 << number], NONE);
    }
    bench.call("esprv_intc_int_set_threshold", &[1], NONE);
    for (name, registers) in
        [("matrix", 0x600c_2000..0x600c_21a0), ("MMU", 0x600c_5000..0x600c_5200)]
    {
        for at in registers.step_by(4) {
            let (one, other) = (bench.hooked.soc.load32(at), bench.real.soc.load32(at));
            if one != other {
                bench.different.push(format!("{name} at {at:#x}: {one:x?} and not {other:x?}"));
            }
        }
    }
    for per_us in [20, 40] {
        bench.call("ets_update_cpu_frequency", &[per_us], NONE);
        for time in [0, 1, 7, 500] {
            bench.call("ets_delay_us", &[time], NONE);
        }
    }
    for addr in [0x3c00_0000, 0x3c00_0040] {
        bench.call("Cache_Invalidate_Addr", &[addr, 0x100], NONE);
    }
}

fn printing(bench: &mut Bench) {
    bench.put(OTHER, b"some text\0");
    for format in [
        "plain\n\0",
        "\0",
        "two\r\nlines\n\0",
        "%d %i %u|\n\0",
        "%x %X %p|\n\0",
        "%08x %8x %-8x|\n\0",
        "%5d %-5d %05d|\n\0",
        "%c%c%c|\n\0",
        "%02x:%02x:%02x|\n\0",
        "%4u %3u%%\n\0",
    ] {
        bench.put(RAM, format.as_bytes());
        for _ in 0..3 {
            let [a, b, c] = [(); 3].map(|()| bench.random.number());
            bench.call("ets_printf", &[RAM, a, b, c], ONE);
        }
    }
    bench.put(RAM, b"%s and %20s and %-20s and %s|\n\0");
    bench.call("ets_printf", &[RAM, OTHER, OTHER, OTHER, 0], ONE);
    for byte in [b'a', b'\n', b'\r', 0xff] {
        bench.call("uart_tx_one_char", &[u32::from(byte)], ONE);
        bench.call("uart_tx_one_char2", &[u32::from(byte)], ONE);
    }
    bench.call("uart_tx_flush", &[0], NONE);
    bench.call("uart_tx_wait_idle", &[0], NONE);
    bench.call("ets_get_printf_channel", &[], ONE);
    bench.call("GetUartDevice", &[], ONE);
    bench.call("uart_rx_one_char", &[OTHER], ONE);
    bench.call("uart_div_modify", &[0, 5555], NONE);
    let (hooked, real) = (bench.hooked.baud(), bench.real.baud());
    if hooked != real {
        bench.different.push(format!("{hooked} Bd and not {real}"));
    }
}
