//! The mask ROM from reset to the first instruction of an image, step by step, with its output on
//! the UART. Order, checks and texts are those of the ROM's code (ROM ELF: `main`, `boot_prepare`,
//! `ets_run_flash_bootloader`).

use std::collections::VecDeque;

use sha2::{Digest, Sha256};

use super::{
    Call, Flow, State, Table, Work, chip, flash,
    output::{BUFF_UART_NO, with_returns},
    panic,
};
use crate::download;
use crate::{
    cpu::{Bus, Cpu, cause},
    soc::{
        ResetReason, Soc,
        clock::{Tick, ticks},
        interrupts::THRESHOLD,
        mmu_entries, uart,
    },
};
use std::time::Duration;

/// The action after a step's output and waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Does another step.
    Step(Step),
    /// Runs the image's code.
    Run(u32),
    /// Runs a wake stub, after which the ROM's code continues.
    RunStub(u32),
    /// Executes the ROM's own code from its reset vector.
    Execute,
    /// Enters the serial loader.
    Download,
    /// Loops endlessly until a watchdog resets the chip.
    Stuck,
}

/// A step of the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sets up the chip and prints the banner.
    Prepare,
    /// Runs the wake stub, if there is one after deep sleep.
    WakeStub,
    /// Continues after a wake stub.
    Woken,
    /// Checks the image's header, repeatedly until it is valid.
    Header,
    /// Loads the image.
    Load,
    /// Reports an exception taken at the ROM's vectors.
    Panic,
}

/// The image header's first byte.
const MAGIC: u8 = 0xe9;
/// Most segments in a header that the ROM considers valid.
const MOST_SEGMENTS: u8 = 32;
/// Header and extended header.
const HEADER_LEN: u32 = 24;
/// First word, repeated once, of a headerless image that is executed in place.
const DIRECT_MAGIC: u32 = 0xaedb_041d;
/// Longest segment.
const MOST_LEN: u32 = 0x10_0000;
/// Instructions to copy, sum and hash a byte of an image, at 20 MHz.
const CYCLES_A_BYTE: u64 = 4;
/// Cycles of `rtc_boot_control` with a stub, including its checksum (ROM, counted).
const WAKE_CYCLES: u64 = 58;
/// Time from the rise of EN to the ROM's first instruction. No figure is published; boards start to
/// print some milliseconds after it.
const START_UP: Duration = Duration::from_millis(3);
/// Time of one check of an erased header, which the ROM spends on waking the flash chip.
const LOOK: Duration = Duration::from_micros(50);

/// CLK_CONF of the UART: the crystal, not divided, all clocks on.
const UART_CLK_CRYSTAL: u32 = 0x0370_0000;
/// RTC register: the bus clock, twice 16 bits of Hz / 4096 (ROM: `boot_prepare`).
const RTC_APB_FREQ: u32 = 0xbc;
/// RTC register that silences the ROM if bit 0 is set.
const RTC_QUIET: u32 = 0xb8;
/// RTC registers with the wake stub's address and the expected checksum of the RTC memory (ROM:
/// `rtc_boot_control`).
const RTC_STUB: u32 = 0xc0;
const RTC_STUB_CRC: u32 = 0xc4;
/// Debug assistant register that records the PC at a reset.
const RECORD_PC: u32 = 0x44;

const CSR_MSTATUS: u32 = 0x300;
/// Interrupts enabled (ROM: `_init`), though the matrix has none enabled.
const MSTATUS: u32 = 9;
const MSTATUS_MPIE: u32 = 1 << 7;

/// Facts about the ROM that differ between chips.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RomFacts {
    /// Lines printed first.
    pub banner: Vec<String>,
    /// Names of reset reasons, by number.
    pub reset_names: Vec<String>,
    /// Stack pointer at the entry of an image.
    pub stack: u32,
    /// Stack pointer at the entry of a program loaded by the serial loader, or of a wake stub.
    pub download_stack: u32,
    /// End of the ROM's own data, after which segments may be loaded.
    pub data_end: u32,
    /// PC at which the ROM waits for the flash chip while it checks the header.
    pub header_pc: u32,
    /// PC at which it stays if an image can't be booted.
    pub stuck_pc: u32,
    /// PC at which its exception handler stays.
    pub panic_pc: u32,
    /// PC of `software_reset` at the reset.
    pub reset_pc: u32,
    /// PC of `software_reset_cpu` at the reset.
    pub cpu_reset_pc: u32,
    /// Return address of a wake stub.
    pub stub_return: u32,
    /// Address of the instruction that stores loaded data.
    pub load_pc: u32,
    /// Address of its vectors.
    pub vectors: u32,
    /// Return address of its interrupt handlers.
    pub interrupt_exit: u32,
    /// CPU interrupt of the console UART.
    pub console_interrupt: u32,
    /// Cycles from its first instruction to its first character.
    pub prepare_cycles: u64,
    /// Number of polls for a missing host on USB, done once.
    pub usb_polls: u64,
    /// Cycles of such a poll, in addition to its wait of a microsecond.
    pub usb_poll_cycles: u64,
    /// Extra cycles of a character as long as the ROM expects a host on USB.
    pub usb_byte_cycles: u64,
    /// Text printed before it stays.
    pub stuck_text: String,
    /// Text printed for a bad first segment of SPI commands.
    pub commands_text: String,
    /// The source of these facts.
    pub source: String,
}

/// Runs one step.
pub(crate) fn step(
    step: Step,
    cpu: &mut Cpu,
    soc: &mut Soc,
    table: &Table,
    state: &mut State,
) -> (Flow, Next) {
    soc.fabric.clock.cycle = cpu.cycles;
    let mut boot = Boot { text: String::new(), call: Call { cpu, soc, table, state } };
    let (next, cycles, until) = match step {
        Step::Prepare => boot.prepare(),
        Step::WakeStub => boot.wake_stub(),
        Step::Woken => boot.woken(),
        Step::Header => boot.header(),
        Step::Load => boot.load(),
        Step::Panic => boot.panic(),
    };
    let printed = boot.call.state.uart_printf && !boot.text.is_empty();
    let out: VecDeque<u8> =
        if printed { with_returns(boot.text.as_bytes()).into() } else { VecDeque::new() };
    // The ROM takes time for each character.
    let work = Work::units(boot.text.len() as u64).and("sent", out.len() as u64);
    let cost = boot.call.table.cost_of("ets_printf").filter(|_| printed);
    let each = cost.map_or(0, |cost| cost.cycles(&work)) / (out.len() as u64).max(1);
    (Flow { cycles, out, each, until, ..Flow::default() }, next)
}

/// Returns the time from the last reset to the ROM's first instruction.
pub(crate) fn start_up(soc: &Soc) -> Tick {
    let fabric = &soc.fabric;
    match fabric.timed && fabric.reset_reason.scope() == crate::soc::Scope::Chip {
        true => ticks(START_UP),
        false => 0,
    }
}

struct Boot<'a> {
    text: String,
    call: Call<'a>,
}

type Outcome = (Next, u64, Tick);

impl Boot<'_> {
    fn say(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    fn facts(&self) -> &RomFacts {
        self.call.table.facts()
    }

    /// Prepares the boot (ROM: `boot_prepare`).
    fn prepare(&mut self) -> Outcome {
        let reason = self.call.soc.fabric.reset_reason;
        let flash_boot = self.call.soc.fabric.boots_from_flash();
        let call = &mut self.call;
        call.table.fill_ram(call.soc);
        if flash_boot {
            flash::attach(call);
        }
        flash::update_id(call);
        let hz = chip::apb_freq(call);
        if let Some(ticks) = call.data("s_ticks_per_us") {
            call.store(ticks, hz / 1_000_000);
        }
        let rtc = call.soc.base_of("rtc-cntl").unwrap_or(0);
        let quiet = flash_boot && call.load(rtc + RTC_QUIET) & 1 != 0;
        let apb = hz >> 12;
        call.store(rtc + RTC_APB_FREQ, apb << 16 | apb);
        for print in ["g_uart_print", "g_usb_print"] {
            if let Some(at) = call.data(print) {
                call.store_byte(at, u8::from(!quiet));
            }
        }
        call.state.uart_printf = !quiet;
        set_console(call);
        let saved_pc = call.soc.fabric.saved_pc;
        if let Some(assist) = call.soc.base_of("debug-assist") {
            call.store(assist + RECORD_PC, 3);
        }
        if let Some(matrix) = call.soc.base_of("intmtx") {
            call.store(matrix + THRESHOLD, 1); // ROM: `_init`.
        }
        call.cpu.write_csr(CSR_MSTATUS, MSTATUS);
        let strap = call.soc.fabric.strap;
        for line in self.facts().banner.clone() {
            self.say(line);
        }
        let number = reason as u8;
        let name = self.facts().reset_names.get(usize::from(number)).cloned();
        let name = name.unwrap_or_else(|| "unk".to_owned());
        self.say(format!("rst:0x{number:x} ({name}),boot:0x{strap:x} ({})", boot_name(strap)));
        if saved_pc != 0 {
            self.say(format!("Saved PC:0x{saved_pc:08x}"));
        }
        let next = if flash_boot {
            Next::Step(Step::WakeStub)
        } else {
            // ROM, `main`.
            let chip = self.call.soc.fabric.chip.clone();
            let secure = download::is_secure(&chip, |addr| self.call.load(addr));
            self.say(match secure {
                true => "wait uart download(secure mode)",
                false => "waiting for download",
            });
            Next::Download
        };
        let fabric = &self.call.soc.fabric;
        (next, self.facts().prepare_cycles, fabric.now())
    }

    /// Starts a wake stub (ROM: `main`, `rtc_boot_control`). The stub's address is cleared, so the
    /// next sleep has no stub unless firmware sets it up again.
    fn wake_stub(&mut self) -> Outcome {
        let on = (Next::Step(Step::Header), 0, 0);
        let call = &mut self.call;
        if call.soc.fabric.reset_reason != ResetReason::DeepSleep {
            return on;
        }
        let rtc = call.soc.base_of("rtc-cntl").unwrap_or(0);
        let stub = call.load(rtc + RTC_STUB);
        if stub == 0 {
            return on;
        }
        let good = chip::rtc_memory_crc(call, 0, u32::MAX) == call.load(rtc + RTC_STUB_CRC);
        let stub = if good { stub } else { 0 };
        call.store(rtc + RTC_STUB, 0);
        if let Some(at) = call.data("user_code_start") {
            call.store(at, stub);
        }
        if stub == 0 {
            return (Next::Step(Step::Header), WAKE_CYCLES, 0);
        }
        (Next::RunStub(stub), WAKE_CYCLES, 0)
    }

    /// Continues after the stub (ROM: `main`).
    fn woken(&mut self) -> Outcome {
        if let Some(at) = self.call.data("user_code_start") {
            self.call.store(at, 0);
        }
        (Next::Step(Step::Header), 2, 0)
    }

    fn flash(&self, offset: u32, len: u32) -> Vec<u8> {
        let boot = self.call.soc.fabric.chip.image.boot_offset.0;
        self.call.soc.fabric.flash.read(boot.wrapping_add(offset), len as usize)
    }

    fn word(&self, offset: u32) -> u32 {
        self.flash(offset, 4).iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
    }

    /// Waits for a valid header (ROM: `ets_run_flash_bootloader`).
    fn header(&mut self) -> Outcome {
        let header = self.flash(0, 4);
        let [magic, segments, mode, rest] = header[..] else {
            return (Next::Stuck, 0, 0);
        };
        let frequency = rest & 15;
        let good = magic == MAGIC
            && segments <= MOST_SEGMENTS
            && mode <= 10
            && (frequency <= 2 || frequency == 15);
        if good {
            return (Next::Step(Step::Load), 1000, 0);
        }
        if [self.word(0), self.word(4)] == [DIRECT_MAGIC; 2] {
            return (Next::Run(self.map_all()), 2000, 0);
        }
        self.say(format!("invalid header: 0x{rest:02x}{mode:02x}{segments:02x}{magic:02x}"));
        self.call.cpu.pc = self.facts().header_pc;
        let now = self.call.now();
        (Next::Step(Step::Header), 500, now + ticks(LOOK))
    }

    /// Maps flash from its start to both windows and returns the entry address.
    fn map_all(&mut self) -> u32 {
        let call = &mut self.call;
        let mmu = call.soc.base_of("mmu").unwrap_or(0);
        for page in 0..mmu_entries(&call.soc.fabric.chip) {
            call.store(mmu + 4 * page, page);
        }
        let chip = &call.soc.fabric.chip;
        chip.region("irom").map_or(0, |region| region.addr.0 + 8)
    }

    /// Loads the image, from a valid header to the jump (ROM: `ets_run_flash_bootloader`).
    fn load(&mut self) -> Outcome {
        let chip = self.call.soc.fabric.chip.clone();
        let header = self.flash(0, HEADER_LEN);
        let segments = header[1];
        if segments > 16 {
            self.say(format!("Invalid image block count: {segments} (max 16)"));
            return self.give_up(1000);
        }
        flash::update_id(&mut self.call);
        let id = u16::from_le_bytes([header[12], header[13]]);
        let own = chip.image.chip_id;
        if id != own {
            self.say(format!(
                "Invalid chip id. Expected {own} read {id}. Bootloader for wrong chip?"
            ));
            return self.give_up(1000);
        }
        self.say(format!("SPIWP:0x{:02x}", header[8]));
        let mode = MODES.get(usize::from(header[2])).copied().unwrap_or("");
        let divider = if header[3] & 15 <= 2 { (header[3] & 15) + 2 } else { 1 };
        self.say(format!("mode:{mode}, clock div:{divider}"));

        for controller in ["spi0", "spi1"] {
            flash::set_clock(&mut self.call, controller, u32::from(divider));
        }
        let until = flash::config_read_mode(&mut self.call, u32::from(header[2]));

        let mut hash = Sha256::new();
        hash.update(&header);
        let mut checksum = 0xef_u32;
        let mut at = HEADER_LEN;
        for _ in 0..segments {
            let (addr, len) = (self.word(at), self.word(at + 4));
            hash.update(self.flash(at, 8));
            at = at.wrapping_add(8);
            let data = if addr >> 31 != 0 {
                if len.wrapping_add(8) % 16 != 0 || len > MOST_LEN {
                    self.say(format!("cmd len {len}"));
                    let text = self.facts().commands_text.clone();
                    self.say(text);
                    return (Next::Stuck, u64::from(at) * CYCLES_A_BYTE, 0);
                }
                // Commands for special flash chips, which this flash chip does not need.
                self.say(format!("mode:{mode}, clock div:{divider}"));
                self.flash(at, len)
            } else {
                self.say(format!("load:0x{addr:08x},len:0x{len:x}"));
                if len % 4 != 0 || addr % 4 != 0 || len > MOST_LEN {
                    self.say("Invalid image block, can't boot.");
                    return self.give_up(u64::from(at) * CYCLES_A_BYTE);
                }
                let (end, low, high) =
                    (addr.wrapping_add(len), self.facts().stack - 0x400, self.facts().data_end);
                if end > low && addr < high {
                    self.say(format!(
                        "region 0x{addr:08x}-0x{end:08x} overlaps \
                         0x{low:08x}-0x{high:x}, can't load"
                    ));
                    return self.give_up(u64::from(at) * CYCLES_A_BYTE);
                }
                let data = self.flash(at, len);
                let (words, _) = data.as_chunks::<4>();
                for (index, word) in (0..).zip(words) {
                    let word = u32::from_le_bytes(*word);
                    checksum ^= word;
                    let to = addr.wrapping_add(4 * index);
                    if self.call.soc.store32(to, word).is_err() {
                        return self.fault(to, u64::from(at) * CYCLES_A_BYTE);
                    }
                }
                data
            };
            hash.update(&data);
            at = at.wrapping_add(len);
        }
        let cycles = u64::from(at) * CYCLES_A_BYTE;
        // The 32-bit sum is folded to a byte. The image stores it in the last of 16 bytes.
        let sum = checksum.to_le_bytes().iter().fold(0, |sum, byte| sum ^ byte);
        let padding = 16 - at % 16;
        let tail = self.flash(at, padding);
        let stored = tail.last().copied().unwrap_or(0);
        if sum != stored {
            self.say(format!("Checksum failure. Calculated 0x{sum:02x} stored 0x{stored:02x}"));
            return self.give_up(cycles);
        }
        hash.update(&tail);
        let calculated = hash.finalize();
        let expected = self.flash(at.wrapping_add(padding), 32);
        if calculated[..] != expected[..] {
            self.say("SHA-256 comparison failed:");
            self.say(format!("Calculated: {}", hex::encode(calculated)));
            self.say(format!("Expected: {}", hex::encode(&expected)));
            self.say("Attempting to boot anyway...");
        }
        let entry = self.word(4);
        self.say(format!("entry 0x{entry:08x}"));
        (Next::Run(entry), cycles, until)
    }

    /// Handles a segment for an unmapped address: the ROM's store raises an exception, which its
    /// own vectors report.
    fn fault(&mut self, addr: u32, cycles: u64) -> Outcome {
        let load_pc = self.facts().load_pc;
        let csrs = &mut self.call.cpu.csrs;
        (csrs.mepc, csrs.mcause, csrs.mtval) = (load_pc, cause::STORE_ACCESS, addr);
        (Next::Step(Step::Panic), cycles, 0)
    }

    fn panic(&mut self) -> Outcome {
        self.text = panic::report(&mut self.call);
        self.call.cpu.pc = self.facts().panic_pc;
        (Next::Stuck, 2000, 0)
    }

    /// Handles a failed boot (ROM: `main`).
    fn give_up(&mut self, cycles: u64) -> Outcome {
        let text = self.facts().stuck_text.clone();
        self.say(text);
        self.call.cpu.pc = self.facts().stuck_pc;
        (Next::Stuck, cycles, 0)
    }
}

/// Enters a program loaded by the serial loader, as the ROM's call does. The loader has taken an
/// interrupt before.
pub(crate) fn enter_loaded(entry: u32, cpu: &mut Cpu, table: &Table) {
    enter(entry, cpu, table);
    cpu.x[super::SP] = table.facts().download_stack;
    cpu.write_csr(CSR_MSTATUS, MSTATUS | MSTATUS_MPIE);
}

/// Enters a wake stub as the ROM's call does.
pub(crate) fn enter_stub(entry: u32, cpu: &mut Cpu, table: &Table) {
    enter(entry, cpu, table);
    cpu.x[super::SP] = table.facts().download_stack;
    cpu.x[super::RA] = table.facts().stub_return;
}

/// Enters an image at `entry` as the ROM's call does.
pub(crate) fn enter(entry: u32, cpu: &mut Cpu, table: &Table) {
    cpu.pc = entry & !1;
    cpu.x[super::SP] = table.facts().stack;
    cpu.x[super::RA] = table.facts().stuck_pc;
}

/// Sets UART0 to the loader's first rate, with the crystal as its clock.
fn set_console(call: &mut Call<'_>) {
    if let Some(device) = call.data("UartDev") {
        call.store_byte(device + BUFF_UART_NO, 0);
    }
    let console = call.soc.console();
    let chip = &call.soc.fabric.chip;
    // In sixteenths, rounded down (ROM: `uart_div_modify`).
    let divider = (chip.xtal_mhz * 1_000_000 / (chip.loader.initial_baud / 16).max(1)).max(16);
    call.store(console + uart::CLK_CONF, UART_CLK_CRYSTAL);
    call.store(console + uart::CLKDIV, uart::clkdiv(divider));
}

/// Returns the name of the boot mode (ROM: `boot_prepare`): the last one that matches.
fn boot_name(strap: u32) -> &'static str {
    match strap & 15 {
        3 => "",
        1 => "SPI_DOWNLOAD_BOOT",
        8..=15 => "SPI_FAST_FLASH_BOOT",
        4..=7 => "DOWNLOAD(USB/UART0/1)",
        0 => "USB_BOOT",
        _ => "UART0_BOOT",
    }
}

/// Names of flash modes (ROM: `spi_modes`).
const MODES: [&str; 11] = [
    "QIO", "QOUT", "DIO", "DOUT", "FAST_RD", "SLOW_RD", "OPI_STR", "OPI_DTR", "OOUT", "OIO_STR",
    "OIO_DTR",
];
