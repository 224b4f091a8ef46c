//! Each function of the ROM that is carried out beside the ROM's own code: random arguments (from a
//! seed), and then results, memory, flash and output compared, and the cycles that were charged.
//!
//! `ESPLICE_MEASURE=1 cargo test -p esplice-sim --lib functions -- --nocapture` tells the cycles
//! that the ROM's code takes as they stand in `targets/esp32c3.rom.toml`, `[cycles]`.

#[path = "../../../tests/firmware/mod.rs"]
mod firmware;

use std::{collections::BTreeMap, env, time::Duration};

use super::mask_rom;
use crate::{Board, SimError, TimeMode, board::State, cpu::Bus, nor::Nor, rom};

/// Where calls return to.
const RETURN: u32 = 0x4039_0000;
const STACK: u32 = 0x3fcc_8000;
/// Two pieces of RAM that functions work on, and what is compared.
const RAM: u32 = 0x3fc9_0000;
const OTHER: u32 = 0x3fca_0000;
const COMPARED: u32 = 0x2_0000;
const PIECE: u32 = 0x4000;
/// The longest call.
const PATIENCE: Duration = Duration::from_secs(10);
/// Results that are registers.
const NONE: usize = 0;
const ONE: usize = 1;
const TWO: usize = 2;
/// How near the cycles charged are to the ROM's, besides what the chip's data say: a poll of a device.
const NEAR: u64 = 8;
const ROUNDS: u32 = 24;

struct Bench {
    hooked: Board,
    real: Board,
    random: Random,
    /// By function.
    cycles: BTreeMap<String, Vec<Measured>>,
    different: Vec<String>,
}

impl Bench {
    fn new(time: TimeMode) -> Bench {
        let image = firmware::rom_image(&firmware::Code::new().wait());
        let chip = esplice_chip::find("esp32c3").unwrap();
        let board = |rom: bool| {
            let mut nor = Nor::in_memory(4 << 20, &chip.sim.as_ref().unwrap().flash);
            nor.put(0, &image).unwrap();
            let board = Board::with_flash(chip, nor, time).unwrap();
            let mut board = if rom { board.with_rom(mask_rom::image()) } else { board };
            board.run_for(Duration::from_millis(80)).unwrap();
            let table = board.table.clone();
            let hooked = table.hooked().chain(rom::Vector::addrs(&table));
            let hooks: Vec<u32> = if rom { Vec::new() } else { hooked.collect() };
            // Out of the firmware's wait.
            board.cpu.reset(RETURN);
            board.cpu.write_csr(0x305, table.texts().vectors);
            board.cpu.set_hooks(hooks.into_iter().chain([RETURN]));
            // Watchdogs of the flash boot: nobody feeds them here.
            for (addr, value) in [
                (0x6000_80a8, 0x50d8_3aa1),
                (0x6000_8090, 0),
                (0x6000_80b0, 0x8f1d_312a),
                (0x6000_80ac, 1 << 31),
                (0x6001_f064, 0x50d8_3aa1),
                (0x6001_f048, 0),
            ] {
                board.soc.store32(addr, value).unwrap();
            }
            board
        };
        let mut bench = Bench {
            hooked: board(false),
            real: board(true),
            random: Random(0x2545_f491_4f6c_dd1d),
            cycles: BTreeMap::new(),
            different: Vec::new(),
        };
        let bytes = bench.random.bytes(COMPARED);
        bench.put(RAM, &bytes);
        bench
    }

    fn put(&mut self, addr: u32, bytes: &[u8]) {
        for board in [&mut self.hooked, &mut self.real] {
            assert!(board.soc.fabric.memory.write(addr, bytes));
        }
    }

    fn words(&mut self, addr: u32, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(addr, &bytes);
    }

    /// Calls a function on both boards.
    fn call(&mut self, name: &str, arguments: &[u32], results: usize) {
        let hooked = call(&mut self.hooked, name, arguments);
        let real = call(&mut self.real, name, arguments);
        let told = format!("{name}{arguments:x?}");
        if hooked.registers[..results] != real.registers[..results] {
            self.different.push(format!(
                "{told} gives {:x?} and not {:x?}",
                hooked.registers, real.registers
            ));
        }
        if hooked.printed != real.printed {
            self.different
                .push(format!("{told} prints {:?} and not {:?}", hooked.printed, real.printed));
        }
        if hooked.memory != real.memory {
            let at = hooked.memory.iter().zip(&real.memory).position(|(a, b)| a != b).unwrap();
            self.different.push(format!("{told} differs at {:#x}", RAM + at as u32));
            let memory = real.memory.clone();
            self.put(RAM, &memory);
        }
        if self.hooked.flash().bytes() != self.real.flash().bytes() {
            self.different.push(format!("{told}: the flash differs"));
        }
        let (units, slow) = self.hooked.rom_state.work;
        let (charged, real) = (hooked.cycles, real.cycles);
        let measured = Measured { units, slow, charged, real };
        self.cycles.entry(name.into()).or_default().push(measured);
    }

    fn any(&mut self, below: u32) -> u32 {
        self.random.below(below)
    }
}

/// One call.
struct Measured {
    units: u64,
    slow: bool,
    charged: u64,
    real: u64,
}

struct Outcome {
    registers: [u32; 2],
    cycles: u64,
    printed: String,
    memory: Vec<u8>,
}

fn call(board: &mut Board, name: &str, arguments: &[u32]) -> Outcome {
    let table = board.table.clone();
    let addr = table.hooked().find(|addr| table.name(*addr) == Some(name));
    board.cpu.pc = addr.unwrap_or_else(|| panic!("{name} is not in the table"));
    board.cpu.x[1] = RETURN;
    board.cpu.x[2] = STACK;
    board.cpu.x[10..18].fill(0x5a5a_5a5a);
    let (registers, stack) = arguments.split_at(arguments.len().min(8));
    board.cpu.x[10..10 + registers.len()].copy_from_slice(registers);
    for (at, word) in (STACK..).step_by(4).zip(stack) {
        board.soc.store32(at, *word).unwrap();
    }
    board.state = State::Running;
    let before = board.cycles();
    let deadline = board.now() + PATIENCE;
    match board.run_to(deadline, false) {
        Err(SimError::RomFunction { addr: RETURN, .. }) => {}
        other => panic!("{name}{arguments:x?}: {other:?} at {:#x}", board.cpu.pc),
    }
    let cycles = board.cycles() - before;
    let mut printed = String::new();
    while let Some(sent) = board.host_take_sent() {
        printed.push(char::from(sent.byte));
    }
    let mut memory = vec![0; COMPARED as usize];
    board.soc.fabric.memory.read(RAM, &mut memory, &[]);
    Outcome { registers: [board.cpu.x[10], board.cpu.x[11]], cycles, printed, memory }
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.word() % limit
    }

    fn bytes(&mut self, len: u32) -> Vec<u8> {
        (0..len).map(|_| self.word() as u8).collect()
    }

    /// Small, huge, and all in between.
    fn number(&mut self) -> u32 {
        let word = self.word();
        word >> self.below(33).min(31)
    }
}

#[test]
fn functions_do_what_the_roms_do() {
    let mut bench = Bench::new(TimeMode::None);
    memory(&mut bench);
    strings(&mut bench);
    arithmetic(&mut bench);
    hashes(&mut bench);
    inflating(&mut bench);
    flash(&mut bench);
    chip(&mut bench);
    printing(&mut bench);
    let mut far = Vec::new();
    for (name, calls) in &bench.cycles {
        if env::var_os("ESPLICE_MEASURE").is_some() {
            println!("{}", line(name, calls));
        }
        let within = cost(&bench.hooked.table, name).map(rom::Cost::within);
        let off = calls.iter().map(|call| call.charged.abs_diff(call.real)).max().unwrap_or(0);
        match within {
            None => far.push(format!("{name}: no cycles are told")),
            Some(within) if off > within + NEAR => {
                far.push(format!("{name} is {off} cycles off, and not {within}"));
            }
            Some(_) => {}
        }
    }
    let different = bench.different;
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    assert!(far.is_empty(), "{} are far off:\n{}", far.len(), far.join("\n"));
}

/// How far the time of the SPI bus and the flash chip may be off: a fiftieth, and a poll of the chip.
const POLL: u64 = 64;

#[test]
fn flash_functions_wait_as_long_as_the_roms_do() {
    let mut bench = Bench::new(TimeMode::Virtual);
    flash(&mut bench);
    for mode in 0..6 {
        bench.call("esp_rom_spiflash_config_readmode", &[mode], ONE);
        bench.call("esp_rom_spiflash_read", &[0x10_0000, OTHER, 0x400], ONE);
        // CTRL and CLOCK of both controllers.
        for addr in [0x6000_2008, 0x6000_2014, 0x6000_3008, 0x6000_3014] {
            let (one, other) =
                (bench.hooked.soc.load32(addr).unwrap(), bench.real.soc.load32(addr).unwrap());
            if one != other {
                bench
                    .different
                    .push(format!("mode {mode}, {addr:#x}: {one:#x} and not {other:#x}"));
            }
        }
    }
    let mut far = Vec::new();
    for (name, calls) in &bench.cycles {
        let within = cost(&bench.hooked.table, name).map_or(0, rom::Cost::within);
        let off = |call: &Measured| call.charged.abs_diff(call.real);
        let worst = calls.iter().max_by_key(|call| off(call).saturating_sub(call.real / 50));
        let Some(call) = worst else { continue };
        if off(call) > call.real / 50 + within + POLL {
            far.push(format!("{name} took {} cycles and not {}", call.charged, call.real));
        }
    }
    let different = bench.different;
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    assert!(far.is_empty(), "{} are far off:\n{}", far.len(), far.join("\n"));
}

/// What the chip's data tell of a function's cycles.
fn cost(table: &rom::Table, name: &str) -> Option<rom::Cost> {
    let addr = table.hooked().find(|addr| table.name(*addr) == Some(name))?;
    table.hook(addr)?.1
}

/// A line of `[cycles.functions]`: the straight lines that lie best.
fn line(name: &str, calls: &[Measured]) -> String {
    let fit = |slow: bool| {
        let calls: Vec<(f64, f64)> = calls
            .iter()
            .filter(|call| call.slow == slow)
            .map(|call| (call.units as f64, call.real as f64))
            .collect();
        let count = calls.len() as f64;
        let mean_x = calls.iter().map(|call| call.0).sum::<f64>() / count;
        let mean_y = calls.iter().map(|call| call.1).sum::<f64>() / count;
        let spread: f64 = calls.iter().map(|call| (call.0 - mean_x).powi(2)).sum();
        let both: f64 = calls.iter().map(|call| (call.0 - mean_x) * (call.1 - mean_y)).sum();
        let slope = if spread == 0.0 { 0.0 } else { both / spread };
        (calls.len(), (mean_y - slope * mean_x).max(0.0).round() as u64, slope * 1024.0)
    };
    let ((count, start, per_kib), (slow, slow_start, slow_kib)) = (fit(false), fit(true));
    let start = if count == 0 { slow_start } else { start };
    let mut text = format!("{name} = {{ call = {start}");
    let (per_kib, slow_kib) = (per_kib.round() as u64, slow_kib.round() as u64);
    if per_kib > 0 {
        text.push_str(&format!(", per-kib = {per_kib}"));
    }
    if slow > 0 {
        text.push_str(&format!(", slow-kib = {slow_kib}"));
    }
    let off = calls.iter().map(|call| {
        let kib = if call.slow { slow_kib } else { per_kib };
        (start + call.units * kib / 1024).abs_diff(call.real)
    });
    match off.max().unwrap_or(0) {
        0 => text.push_str(" }"),
        within => text.push_str(&format!(", within = {within} }}")),
    }
    text
}

fn memory(bench: &mut Bench) {
    for _ in 0..ROUNDS {
        let len = bench.any(300) * [1, 1, 4, 20][bench.any(4) as usize];
        let (to, from) = (RAM + bench.any(64), OTHER + bench.any(64));
        let value = bench.random.word();
        bench.call("memset", &[to, value, len], ONE);
        bench.call("bzero", &[to, len], NONE);
        bench.call("memcpy", &[to & !3, from & !3, len], ONE);
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
            // By 0 is the next one's.
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
    for round in 0..8 {
        let len = bench.any(PIECE);
        let text: Vec<u8> =
            bench.random.bytes(len).iter().map(|b| b'a' + b % (round + 2)).collect();
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

fn flash(bench: &mut Bench) {
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

fn chip(bench: &mut Bench) {
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
