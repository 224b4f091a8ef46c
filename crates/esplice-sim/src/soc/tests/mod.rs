//! Tests of devices through their registers. Each case is a list of stores, expected loads and
//! waits.

mod dma;
mod efuses;
mod i2c;
mod lp_system;
mod outputs;
mod pins;
mod spi_flash;
mod timers;
mod uart;
mod usb;
mod wild;

use std::time::Duration;

use super::{Cable, ResetReason, Soc, clock::ticks};
use crate::{cpu::Bus, nor::Nor};

/// A step of a case.
#[derive(Clone)]
enum Do {
    Store(u32, u32),
    /// Address, mask, value.
    Load(u32, u32, u32),
    Wait(Duration),
    /// Expects these bytes to have arrived at the host.
    Received(&'static [u8]),
    Send(&'static [u8]),
    /// Expects these CPU interrupts to be reported.
    Irq(u32),
    Reset(ResetReason),
    /// Connects the host's cable.
    Plug(Cable),
    /// Drives a pin from outside, or releases it.
    Drive(u32, Option<bool>),
    /// Expects this reset request from a device.
    ResetRequested(Option<ResetReason>),
}
use Do::{Drive, Irq, Load, Plug, Received, Reset, ResetRequested, Send, Store, Wait};
use esplice_chip::ChipDb;

const MS: Duration = Duration::from_millis(1);
const US: Duration = Duration::from_micros(1);
const NS: Duration = Duration::from_nanos(1);
const ALL: u32 = u32::MAX;
const UART: u32 = 0x6000_0000;
const SPI1: u32 = 0x6000_2000;
const GPIO: u32 = 0x6000_4000;
const IO_MUX: u32 = 0x6000_9000;
const RTC: u32 = 0x6000_8000;
const EFUSE: u32 = 0x6000_8800;
const TIMG0: u32 = 0x6001_f000;
const SYSTIMER: u32 = 0x6002_3000;
const SYSTEM: u32 = 0x600c_0000;
const SHA: u32 = 0x6003_b000;
const DMA: u32 = 0x6003_f000;
const USB: u32 = 0x6004_3000;
const INTMTX: u32 = 0x600c_2000;
const MMU: u32 = 0x600c_5000;
const WDT_KEY: u32 = 0x50d8_3aa1;

fn soc() -> Soc {
    soc_of("esp32c3")
}

fn soc_of(chip: &str) -> Soc {
    let chip = ChipDb::embedded().find(chip).unwrap();
    let sim = chip.sim.as_ref().unwrap();
    let mut nor = Nor::in_memory(sim.flash.size(), &sim.flash);
    nor.program(0x1_0000, b"page one").unwrap();
    let mut soc = Soc::new(chip, sim, nor, true).unwrap();
    soc.reset(ResetReason::PowerOn);
    soc
}

fn wait(soc: &mut Soc, time: Duration) {
    let end = soc.fabric.now() + ticks(time);
    loop {
        let next = soc.run_events().min(end);
        soc.fabric.clock.cycle = soc.fabric.clock.cycle_at(next);
        if next == end {
            soc.run_events();
            return;
        }
    }
}

#[track_caller]
fn check(moves: &[Do]) {
    check_on("esp32c3", moves);
}

#[track_caller]
fn check_on(chip: &str, moves: &[Do]) {
    perform(&mut soc_of(chip), moves);
}

#[track_caller]
fn perform(soc: &mut Soc, moves: &[Do]) {
    for (number, step) in moves.iter().enumerate() {
        match step {
            Store(addr, value) => soc.store32(*addr, *value).unwrap(),
            Load(addr, mask, value) => {
                let got = soc.load32(*addr).unwrap() & mask;
                assert_eq!(got, *value, "move {number}: {addr:#010x} reads {got:#x}");
            }
            Wait(time) => wait(soc, *time),
            Received(bytes) => {
                let now = soc.fabric.now();
                let line = &mut soc.fabric.line.to_host;
                let count = line.partition_point(|byte| byte.done <= now);
                let got: Vec<u8> = line.drain(..count).map(|byte| byte.byte).collect();
                assert_eq!(got, *bytes, "move {number}");
            }
            Send(bytes) => {
                let time = super::clock::periods(10, 115_200);
                let mut done = soc.fabric.now();
                for byte in *bytes {
                    done += time;
                    let byte = super::LineByte { done, byte: *byte, baud: 115_200 };
                    soc.fabric.line.to_board.push_back(byte);
                }
                soc.refresh_all();
            }
            Irq(expected) => assert_eq!(soc.take_irq(), *expected, "move {number}"),
            Drive(pin, level) => soc.drive_pin(*pin, *level),
            Reset(reason) => soc.reset(*reason),
            Plug(cable) => {
                soc.fabric.cable = *cable;
                soc.refresh_all();
            }
            ResetRequested(expected) => {
                assert_eq!(soc.fabric.reset_request.take(), *expected, "move {number}");
            }
        }
    }
}

/// Maps a source to CPU interrupt 7 with priority 1.
fn route(source: u32) -> [Do; 3] {
    [Store(INTMTX + 4 * source, 7), Store(INTMTX + 0x114 + 4 * 7, 1), Store(INTMTX + 0x104, 1 << 7)]
}

#[test]
fn gpio_efuse_and_unlisted_registers() {
    check(&[
        Load(GPIO + 0x38, ALL, 0xc),
        Store(GPIO + 0x08, 0b110),
        Store(GPIO + 0x0c, 0b010),
        Load(GPIO + 0x04, ALL, 0b100),
        Store(GPIO + 0x24, 0b100),
        Load(GPIO + 0x3c, 0b111, 0b100),
        // The MAC address, and revision 0.4.
        Load(EFUSE + 0x44, ALL, 0x00c3_0001),
        Load(EFUSE + 0x48, 0xffff, 0x0200),
        Load(EFUSE + 0x50, 7 << 18, 4 << 18),
        Store(EFUSE + 0x44, 0),
        Load(EFUSE + 0x44, ALL, 0x00c3_0001),
        // An address without a device stores values.
        Store(0x6004_1000, 0x1234),
        Load(0x6004_1000, ALL, 0x1234),
    ]);
    let mut soc = soc();
    // Outside all devices and memories nothing is stored, and nothing fails.
    for addr in [0x7000_0000, 0x600e_0000] {
        soc.store32(addr, 1).unwrap();
        assert_eq!(soc.load32(addr).unwrap(), 0, "{addr:#x}");
    }
    soc.load32(0x6004_1004).unwrap();
    let (addr, accesses) = soc.unlisted().next().unwrap();
    assert_eq!((addr, accesses.reads, accesses.writes), (0x6004_1004, 1, 0));
}

#[test]
fn the_rtc_keeps_its_registers_over_lesser_resets() {
    check(&[
        Store(RTC + 0x50, 1),
        Store(RTC + 0xc4, 2),
        Store(RTC + 0x70, 3),
        Reset(ResetReason::SoftwareSystem),
        Load(RTC + 0x70, ALL, 3),
        Reset(ResetReason::SuperWatchdog),
        Load(RTC + 0x50, ALL, 1),
        Load(RTC + 0xc4, ALL, 2),
        Load(RTC + 0x70, ALL, 0x1158_3218),
        Load(RTC + 0x38, 0x3f, 0x12),
        Reset(ResetReason::PowerOn),
        Load(RTC + 0x50, ALL, 0),
        Store(RTC, 1 << 31),
        ResetRequested(Some(ResetReason::SoftwareSystem)),
        Store(RTC, 1 << 5),
        ResetRequested(Some(ResetReason::SoftwareCpu)),
    ]);
}

#[test]
fn software_interrupts_reach_the_cpu() {
    let moves = route(51).into_iter().chain([
        Irq(0),
        Store(SYSTEM + 0x2c, 1),
        Irq(1 << 7),
        Store(INTMTX + 0x194, 2),
        Irq(0),
        Store(INTMTX + 0x194, 1),
        Store(SYSTEM + 0x2c, 0),
        Irq(0),
    ]);
    check(&moves.collect::<Vec<_>>());
}

#[test]
fn chip_data_that_no_board_can_be_made_from() {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let sim = chip.sim.as_ref().unwrap();
    for (change, expected) in [
        (("model", 0), "device uart0 has the unknown model \"vacuum-tube\""),
        (("base", 0x7000_0000), "device uart0 can't be placed at 0x70000000 with 0x1000 bytes"),
        (("base", 0x6000_0100), "device uart0 can't be placed at 0x60000100 with 0x1000 bytes"),
        (("base", 0x6000_2000), "device spi1 can't be placed at 0x60002000 with 0x1000 bytes"),
        (("without", 4), "the ROM needs a device rtc-cntl, which the chip's data do not list"),
        (("base", 0x0), "device uart0 can't be placed at 0x00000000 with 0x1000 bytes"),
    ] {
        let mut broken = sim.clone();
        match change {
            ("model", _) => broken.peripherals[0].model = "vacuum-tube".into(),
            ("without", number) => drop(broken.peripherals.remove(number as usize)),
            (_, base) => broken.peripherals[0].base = esplice_chip::Addr(base),
        }
        let nor = Nor::in_memory(sim.flash.size(), &sim.flash);
        // Leaked because boards require chip data with a static lifetime.
        let error = Soc::new(chip, &broken, nor, true).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
}
