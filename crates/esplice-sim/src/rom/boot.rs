//! What the mask ROM does from reset to the first instruction of an image, step by step, with the
//! words it says on the UART. Order, checks and texts are those of the ROM's code (ROM ELF:
//! `main`, `boot_prepare`, `ets_run_flash_bootloader`).

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

/// What comes after a step's output and waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another step.
    Step(Step),
    /// The image's code.
    Run(u32),
    /// A wake stub, from which the ROM's code goes on.
    RunStub(u32),
    /// The ROM's own code, from its reset vector on.
    Execute,
    /// The serial loader.
    Download,
    /// An endless loop: the watchdogs end it.
    Stuck,
}

/// A step of the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sets up the chip and says who it is.
    Prepare,
    /// Runs the wake stub, if deep sleep is over and there is one.
    WakeStub,
    /// Goes on behind a wake stub.
    Woken,
    /// Looks at the image's header, over and over until one is there.
    Header,
    /// Loads the image.
    Load,
    /// Reports an exception that came to the ROM's vectors.
    Panic,
}

/// The image header's first byte.
const MAGIC: u8 = 0xe9;
/// Segments that make the ROM doubt the header itself.
const MOST_SEGMENTS: u8 = 32;
/// Header and extended header.
const HEADER_LEN: u32 = 24;
/// A headerless image that is executed in place begins with this, twice.
const DIRECT_MAGIC: u32 = 0xaedb_041d;
/// Longest segment.
const MOST_LEN: u32 = 0x10_0000;
/// Instructions a byte takes to be loaded: copied, summed up and hashed, at 20 MHz.
const CYCLES_A_BYTE: u64 = 4;
/// Cycles of `rtc_boot_control` where there is a stub, its check sum included (ROM, counted).
const WAKE_CYCLES: u64 = 58;
/// From EN rising to the ROM's first instruction. No figure is published; boards print some
/// milliseconds after it.
const START_UP: Duration = Duration::from_millis(3);
/// Time that one look at an erased header takes, which the ROM spends in waking the flash chip.
const LOOK: Duration = Duration::from_micros(50);

/// CLK_CONF of the UART: the crystal, not divided, all clocks on.
const UART_CLK_CRYSTAL: u32 = 0x0370_0000;
/// RTC register: the bus clock, twice 16 bits of Hz / 4096 (ROM: `boot_prepare`).
const RTC_APB_FREQ: u32 = 0xbc;
/// RTC register with bit 0 set: the ROM keeps quiet.
const RTC_QUIET: u32 = 0xb8;
/// RTC registers: the wake stub's address, and the check sum of the RTC's memory that it counts with (ROM:
/// `rtc_boot_control`).
const RTC_STUB: u32 = 0xc0;
const RTC_STUB_CRC: u32 = 0xc4;
/// Debug assistant: pc is recorded at a reset.
const RECORD_PC: u32 = 0x44;

const CSR_MSTATUS: u32 = 0x300;
/// Interrupts on (ROM: `_init`); the matrix has none enabled.
const MSTATUS: u32 = 9;
const MSTATUS_MPIE: u32 = 1 << 7;

/// What the ROM holds that differs from chip to chip.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Texts {
    /// Printed first.
    pub banner: Vec<String>,
    /// Names of reset reasons, by number.
    pub reset_names: Vec<String>,
    /// The stack pointer with which an image is entered.
    pub stack: u32,
    /// The same with which a program is entered that the serial loader has loaded, or a wake stub.
    pub download_stack: u32,
    /// First address that a segment may be loaded to behind the ROM's own data.
    pub data_end: u32,
    /// Where the ROM waits for the flash chip while it looks for a header.
    pub header_pc: u32,
    /// Where it stays when an image can't be booted, and that place in its source.
    pub stuck_pc: u32,
    /// Where its exception handler stays.
    pub panic_pc: u32,
    /// Where `software_reset` is when the reset comes, and `software_reset_cpu`.
    pub reset_pc: u32,
    /// See above.
    pub cpu_reset_pc: u32,
    /// Where it calls a wake stub, and where that one returns to.
    pub stub_return: u32,
    /// The instruction that stores what is loaded.
    pub load_pc: u32,
    /// Its vectors.
    pub vectors: u32,
    /// Where its interrupt handler returns to.
    pub interrupt_exit: u32,
    /// CPU interrupt of the console UART.
    pub console_interrupt: u32,
    /// Cycles from its first instruction to its first character.
    pub prepare_cycles: u64,
    /// How often it looks for a host on USB which is not there, once.
    pub usb_polls: u64,
    /// Cycles of such a look, besides the microsecond that it waits each time.
    pub usb_poll_cycles: u64,
    /// Cycles that a character takes more as long as it counts with a host on USB.
    pub usb_byte_cycles: u64,
    /// Said before it stays.
    pub stuck_text: String,
    /// Said of a bad first segment of SPI commands.
    pub commands_text: String,
    /// The source of the above.
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
    // Each character takes the ROM its time.
    let work = Work::units(boot.text.len() as u64).and("sent", out.len() as u64);
    let cost = boot.call.table.cost_of("ets_printf").filter(|_| printed);
    let each = cost.map_or(0, |cost| cost.cycles(&work)) / (out.len() as u64).max(1);
    (Flow { cycles, out, each, until, ..Flow::default() }, next)
}

/// Time from the last reset to the ROM's first instruction.
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

    fn texts(&self) -> &Texts {
        self.call.table.texts()
    }

    /// ROM: `boot_prepare`.
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
        for line in self.texts().banner.clone() {
            self.say(line);
        }
        let number = reason as u8;
        let name = self.texts().reset_names.get(usize::from(number)).cloned();
        let name = name.unwrap_or_else(|| "unk".to_owned());
        self.say(format!("rst:0x{number:x} ({name}),boot:0x{strap:x} ({})", boot_name(strap)));
        if saved_pc != 0 {
            self.say(format!("Saved PC:0x{saved_pc:08x}"));
        }
        let next = if flash_boot {
            Next::Step(Step::WakeStub)
        } else {
            // ROM, `main`.
            let chip = self.call.soc.fabric.chip;
            let secure = download::is_secure(chip, |addr| self.call.load(addr));
            self.say(match secure {
                true => "wait uart download(secure mode)",
                false => "waiting for download",
            });
            Next::Download
        };
        let fabric = &self.call.soc.fabric;
        (next, self.texts().prepare_cycles, fabric.now())
    }

    /// ROM: `main`, and `rtc_boot_control`. The stub is forgotten, so that the next sleep has none unless firmware sets
    /// it up again.
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

    /// ROM: `main` behind the stub.
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

    /// ROM: `ets_run_flash_bootloader`, up to a header that is one.
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
        self.call.cpu.pc = self.texts().header_pc;
        let now = self.call.now();
        (Next::Step(Step::Header), 500, now + ticks(LOOK))
    }

    /// Maps flash from its start to both windows; gives the entry.
    fn map_all(&mut self) -> u32 {
        let call = &mut self.call;
        let mmu = call.soc.base_of("mmu").unwrap_or(0);
        for page in 0..mmu_entries(call.soc.fabric.chip) {
            call.store(mmu + 4 * page, page);
        }
        let chip = call.soc.fabric.chip;
        chip.region("irom").map_or(0, |region| region.addr.0 + 8)
    }

    /// ROM: `ets_run_flash_bootloader`, from a good header to the jump.
    fn load(&mut self) -> Outcome {
        let chip = self.call.soc.fabric.chip;
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
                    let text = self.texts().commands_text.clone();
                    self.say(text);
                    return (Next::Stuck, u64::from(at) * CYCLES_A_BYTE, 0);
                }
                // Commands for special flash chips: the one here needs none.
                self.say(format!("mode:{mode}, clock div:{divider}"));
                self.flash(at, len)
            } else {
                self.say(format!("load:0x{addr:08x},len:0x{len:x}"));
                if len % 4 != 0 || addr % 4 != 0 || len > MOST_LEN {
                    self.say("Invalid image block, can't boot.");
                    return self.give_up(u64::from(at) * CYCLES_A_BYTE);
                }
                let (end, low, high) =
                    (addr.wrapping_add(len), self.texts().stack - 0x400, self.texts().data_end);
                if end > low && addr < high {
                    self.say(format!(
                        "region 0x{addr:08x}-0x{end:08x} overlaps 0x{low:08x}-0x{high:x}, can't load"
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
        // The 32-bit sum is folded to a byte; the image keeps it in the last of 16 bytes.
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
            self.say(format!("Calculated: {}", hex(&calculated)));
            self.say(format!("Expected: {}", hex(&expected)));
            self.say("Attempting to boot anyway...");
        }
        let entry = self.word(4);
        self.say(format!("entry 0x{entry:08x}"));
        (Next::Run(entry), cycles, until)
    }

    /// A segment goes to where no memory is: the ROM's store raises an exception, and its own vectors
    /// report that.
    fn fault(&mut self, addr: u32, cycles: u64) -> Outcome {
        let load_pc = self.texts().load_pc;
        let csrs = &mut self.call.cpu.csrs;
        (csrs.mepc, csrs.mcause, csrs.mtval) = (load_pc, cause::STORE_ACCESS, addr);
        (Next::Step(Step::Panic), cycles, 0)
    }

    fn panic(&mut self) -> Outcome {
        self.text = panic::report(&mut self.call);
        self.call.cpu.pc = self.texts().panic_pc;
        (Next::Stuck, 2000, 0)
    }

    /// ROM: `main` behind a boot that came back.
    fn give_up(&mut self, cycles: u64) -> Outcome {
        let text = self.texts().stuck_text.clone();
        self.say(text);
        self.call.cpu.pc = self.texts().stuck_pc;
        (Next::Stuck, cycles, 0)
    }
}

/// Enters a program that the serial loader has loaded, as the ROM's call does. An interrupt came to its loader.
pub(crate) fn enter_loaded(entry: u32, cpu: &mut Cpu, table: &Table) {
    enter(entry, cpu, table);
    cpu.x[super::SP] = table.texts().download_stack;
    cpu.write_csr(CSR_MSTATUS, MSTATUS | MSTATUS_MPIE);
}

/// Enters a wake stub, as the ROM's call does.
pub(crate) fn enter_stub(entry: u32, cpu: &mut Cpu, table: &Table) {
    enter(entry, cpu, table);
    cpu.x[super::SP] = table.texts().download_stack;
    cpu.x[super::RA] = table.texts().stub_return;
}

/// Enters an image at `entry`, as the ROM's call does.
pub(crate) fn enter(entry: u32, cpu: &mut Cpu, table: &Table) {
    cpu.pc = entry & !1;
    cpu.x[super::SP] = table.texts().stack;
    cpu.x[super::RA] = table.texts().stuck_pc;
}

/// UART0 at the loader's first rate, from the crystal.
fn set_console(call: &mut Call<'_>) {
    if let Some(device) = call.data("UartDev") {
        call.store_byte(device + BUFF_UART_NO, 0);
    }
    let console = call.soc.console();
    let chip = call.soc.fabric.chip;
    // In sixteenths, rounded down (ROM: `uart_div_modify`).
    let divider = (chip.xtal_mhz * 1_000_000 / (chip.loader.initial_baud / 16).max(1)).max(16);
    call.store(console + uart::CLK_CONF, UART_CLK_CRYSTAL);
    call.store(console + uart::CLKDIV, uart::clkdiv(divider));
}

/// Names of boot modes (ROM: `boot_prepare`), the last that fits.
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

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
