//! All parts of the chip on the bus: plain memories, devices and the flash chip.
//!
//! The devices are those listed in the chip data, each created by the name of its model. Addresses
//! in the peripheral space that no listed device covers are plain storage, because firmware sets up
//! many parts that it does not depend on later. [`Soc::unlisted`] reports which of them were
//! accessed. Addresses outside that space and the memories are unmapped.

mod adc;
mod autobaud;
mod bus;
mod cache;
mod chip_data;
pub mod clock;
mod device;
mod efuse;
mod flash_chip;
mod flash_table;
mod gdma;
mod gpio;
mod i2c;
pub(crate) mod interrupts;
mod ledc;
mod lp_aon;
mod lp_timer;
mod lp_wdt;
mod pcr;
mod plain;
mod plic;
mod pmu;
mod rmt;
pub(crate) mod rtc;
mod rtc_watchdog;
mod serial;
mod sha;
pub(crate) mod sleep;
mod spi_mem;
mod spi_mmu;
mod system;
mod systimer;
#[cfg(test)]
mod tests;
pub(crate) mod timer_group;
pub(crate) mod uart;
pub(crate) mod usb_serial_jtag;
pub(crate) mod watchdog;

use std::sync::Arc;
use std::{collections::BTreeMap, ops::Range};

use esplice_chip::{Chip, Peripheral, RegionKind, Sim, Space};

pub use bus::Accesses;
pub(crate) use cache::MMU_INVALID;
pub(crate) use chip_data::{mmu_entries, mmu_page};
pub use device::{Cable, ResetReason};
pub(crate) use device::{Fabric, LINE_LIMIT, LineByte, Scope};

use crate::{SimError, memory::Memory, nor::Nor, parts::Bus};
use chip_data::{memory_map, model};
use clock::{Clock, Tick};
use device::{Device, Line};
use flash_chip::FlashChip;
use interrupts::Matrix;

/// Granularity of the device lookup. Every device's base and length are multiples of it.
const SLOT_LEN: u32 = 0x400;
const NO_DEVICE: u8 = u8::MAX;
/// Start of the models of I2C controllers.
const I2C: &str = "i2c";
/// Devices that the emulated ROM functions access by name, in addition to the console.
const NEEDED: [&str; 7] = ["debug-assist", "intmtx", "mmu", "rtc-cntl", "spi0", "spi1", "timg0"];

/// The chip without its CPU.
#[derive(Clone)]
pub(crate) struct Soc {
    pub fabric: Fabric,
    devices: Vec<Placed>,
    /// Address ranges of the devices, with plain storage between them.
    spaces: Vec<DeviceSpace>,
    /// Time before which no device needs to run.
    horizon: Tick,
    /// Interrupt last reported to the CPU.
    reported_irq: u32,
    /// True if a device access by the CPU has raised an interrupt that is not reported yet.
    irq_by_access: bool,
    unlisted: BTreeMap<u32, (u32, Accesses)>,
    /// Address in ROM that was fetched without a hook.
    rom_fetch: Option<u32>,
    console: u32,
}

/// A range of addresses with devices.
#[derive(Clone)]
struct DeviceSpace {
    range: Range<u32>,
    /// Device at each slot of the range.
    slots: Vec<u8>,
}

impl DeviceSpace {
    fn new(space: &Space) -> Self {
        let slots = vec![NO_DEVICE; (space.len / SLOT_LEN) as usize];
        Self { range: space.addr.0..space.end(), slots }
    }
}

#[derive(Clone)]
struct Placed {
    device: Box<dyn Device>,
    name: Arc<str>,
    base: u32,
    irq: Arc<[u32]>,
    /// Number of its first signal in the pin matrix.
    signal: Option<u32>,
    lines: u32,
    next: Option<Tick>,
    /// True if the device must be notified of changes of pin levels.
    senses_pins: bool,
    /// True if the device is the DMA controller or uses it.
    transfers: bool,
    /// True if the device keeps running while the chip sleeps.
    keeps_awake: bool,
}

impl Soc {
    /// Creates the chip in its power-on state, before any reset.
    pub fn new(chip: &Arc<Chip>, sim: &Sim, nor: Nor, timed: bool) -> Result<Self, SimError> {
        let memory = Memory::new(memory_map(chip)).map_err(SimError::Memory)?;
        let buses = sim.peripherals.iter().filter(|device| device.model.starts_with(I2C));
        let buses = buses.count();
        let mut soc = Self {
            fabric: Fabric {
                chip: chip.clone(),
                memory,
                flash: FlashChip::new(nor, timed),
                clock: Clock::new(chip.xtal_mhz, chip.boot_cpu_mhz),
                matrix: Matrix::new(sim.interrupt_sources),
                pins: gpio::Pins::new(sim.pins),
                dma: gdma::Dma::new(),
                i2c: vec![Bus::default(); buses],
                analog: adc::Analog::default(),
                line: Line::default(),
                cable: Cable::default(),
                rom_executed: false,
                rom_listens: false,
                timed,
                watch_output: false,
                random: device::Random::default(),
                strap: sim.boot_strap,
                reset_reason: ResetReason::PowerOn,
                sleep: None,
                wake_alarm: None,
                reset_request: None,
                clock_changed: false,
                saved_pc: 0,
                part_failure: None,
                failure: None,
            },
            devices: Vec::new(),
            spaces: sim.peripheral_spaces.iter().map(DeviceSpace::new).collect(),
            horizon: Tick::MAX,
            reported_irq: 0,
            irq_by_access: false,
            unlisted: BTreeMap::new(),
            rom_fetch: None,
            console: 0,
        };
        for peripheral in &sim.peripherals {
            soc.place(chip, sim, peripheral)?;
        }
        let uart = soc.devices.iter().find(|placed| placed.device.baud(&soc.fabric).is_some());
        soc.console = uart.map_or(0, |placed| placed.base);
        let missing = NEEDED.into_iter().find(|name| soc.base_of(name).is_none());
        if let Some(device) = missing.filter(|_| !crate::rom::needs_file(sim)) {
            return Err(SimError::NoDevice { device });
        }
        Ok(soc)
    }

    fn place(&mut self, chip: &Chip, sim: &Sim, peripheral: &Peripheral) -> Result<(), SimError> {
        let number = sim
            .peripherals
            .iter()
            .take_while(|other| !std::ptr::eq(*other, peripheral))
            .filter(|other| other.model == peripheral.model)
            .count();
        let device =
            model(chip, sim, peripheral, number).ok_or_else(|| SimError::UnknownModel {
                device: peripheral.name.clone(),
                model: peripheral.model.clone(),
            })?;
        let index = self.devices.len();
        let (base, len) = (peripheral.base.0, peripheral.len);
        let bad_place = || SimError::DevicePlace { device: peripheral.name.clone(), base, len };
        let number = u8::try_from(index).ok().filter(|n| *n != NO_DEVICE).ok_or_else(bad_place)?;
        if !base.is_multiple_of(SLOT_LEN) || !len.is_multiple_of(SLOT_LEN) || len == 0 {
            return Err(bad_place());
        }
        let space = self.spaces.iter_mut().find(|space| space.range.contains(&base));
        let space = space.ok_or_else(bad_place)?;
        let first = base - space.range.start;
        for slot in first / SLOT_LEN..(first.saturating_add(len)) / SLOT_LEN {
            match space.slots.get_mut(slot as usize) {
                Some(slot) if *slot == NO_DEVICE => *slot = number,
                _ => return Err(bad_place()),
            }
        }
        self.devices.push(Placed {
            senses_pins: device.senses_pins(),
            transfers: device.transfers(),
            keeps_awake: device.keeps_awake(),
            device,
            name: peripheral.name.as_str().into(),
            base,
            irq: peripheral.irq.as_slice().into(),
            signal: peripheral.signals.first().copied(),
            lines: 0,
            next: None,
        });
        Ok(())
    }

    /// Burns bits of the eFuse word at `addr`.
    pub fn burn(&mut self, addr: u32, bits: u32) {
        if let Some(index) = self.device_at(addr) {
            let placed = &mut self.devices[index];
            placed.device.burn(addr.wrapping_sub(placed.base), bits);
        }
    }

    /// Returns the base address of the device with this name.
    pub fn base_of(&self, name: &str) -> Option<u32> {
        self.devices.iter().find(|placed| *placed.name == *name).map(|placed| placed.base)
    }

    /// Returns the base address of the UART connected to the host, which is the first one listed.
    pub fn console(&self) -> u32 {
        self.console
    }

    /// Returns the baud rate of the console.
    pub fn console_baud(&mut self) -> u32 {
        let fabric = &self.fabric;
        let console = self.devices.iter().find(|placed| placed.base == self.console);
        console.and_then(|placed| placed.device.baud(fabric)).unwrap_or(1)
    }

    /// Returns the signal in the pin matrix of the UART with this number, and its baud rate.
    pub fn uart(&self, number: usize) -> Option<(u32, u32)> {
        let mut uarts = self.devices.iter().filter_map(|placed| {
            placed.device.baud(&self.fabric).map(|baud| placed.signal.map(|signal| (signal, baud)))
        });
        uarts.nth(number).flatten()
    }

    /// Returns the interrupt source of the console.
    pub fn console_irq(&self) -> Option<u32> {
        let console = self.devices.iter().find(|placed| placed.base == self.console);
        console.and_then(|placed| placed.irq.first().copied())
    }

    /// Resets the parts of the chip that a reset for this reason affects.
    pub fn reset(&mut self, reason: ResetReason) {
        self.fabric.reset_reason = reason;
        self.fabric.reset_request = None;
        self.fabric.sleep = None;
        self.rom_fetch = None;
        let scope = reason.scope();
        if scope == Scope::Chip || reason == ResetReason::DeepSleep {
            self.lose_memories(scope == Scope::Chip);
        }
        if scope == Scope::Chip {
            self.fabric.flash.power_cycle();
        }
        if scope >= Scope::Core {
            self.fabric.flash.attach(false);
        }
        for placed in &mut self.devices {
            placed.device.reset(scope, &mut self.fabric);
        }
        self.after_clock_change();
        self.after_pin_change();
        for index in 0..self.devices.len() {
            self.refresh(index);
        }
        self.fabric.memory.take_yield();
    }

    /// Runs all devices whose next event is due. Returns the time of the next event.
    pub fn run_events(&mut self) -> Tick {
        let now = self.fabric.now();
        for index in 0..self.devices.len() {
            // Bounded: an event is followed by one in the future or by none.
            if self.devices[index].next.is_some_and(|at| at <= now) {
                self.devices[index].device.event(&mut self.fabric);
                self.refresh(index);
            }
        }
        self.after_pin_change();
        self.after_clock_change();
        self.next_event()
    }

    /// Like [`Soc::run_events`] while the chip sleeps: runs only the RTC controller.
    pub fn run_sleep_events(&mut self) -> Tick {
        let now = self.fabric.now();
        let mut next = Tick::MAX;
        for index in 0..self.devices.len() {
            if !self.devices[index].keeps_awake {
                continue;
            }
            if self.devices[index].next.is_some_and(|at| at <= now) {
                self.devices[index].device.event(&mut self.fabric);
                self.refresh(index);
            }
            next = next.min(self.devices[index].next.unwrap_or(Tick::MAX));
        }
        next
    }

    /// Notifies devices that the clocks were stopped for `time`, up to now.
    pub fn skip_time(&mut self, time: Tick) {
        for placed in &mut self.devices {
            placed.device.skip_time(time, &mut self.fabric);
        }
        self.refresh_all();
    }

    /// Clears RAM that loses power. RTC RAM keeps its contents in deep sleep.
    fn lose_memories(&mut self, all: bool) {
        let kept: Vec<&str> = self
            .fabric
            .chip
            .regions
            .iter()
            .filter(|region| {
                region.kind != RegionKind::Ram || !all && region.key.starts_with("rtc-")
            })
            .map(|region| region.backing.name.as_str())
            .collect();
        let banks = self.fabric.memory.map().banks.len();
        for bank in 0..banks {
            if !kept.contains(&self.fabric.memory.map().banks[bank].name.as_str())
                && let Some(bytes) = self.fabric.memory.bank_mut(bank)
            {
                bytes.fill(0);
            }
        }
    }

    fn next_event(&self) -> Tick {
        self.devices.iter().filter_map(|placed| placed.next).min().unwrap_or(Tick::MAX)
    }

    /// Refreshes all devices after a change outside them (bytes on the line).
    pub fn refresh_all(&mut self) {
        for index in 0..self.devices.len() {
            self.refresh(index);
        }
    }

    /// Sets how long the CPU is going to run undisturbed. A device that needs the board sooner
    /// stops the CPU.
    pub fn set_horizon(&mut self, horizon: Tick) {
        self.horizon = horizon;
    }

    /// Returns the CPU interrupt to report to the CPU.
    pub fn take_irq(&mut self) -> u32 {
        self.reported_irq = self.fabric.matrix.chosen();
        self.reported_irq
    }

    /// Returns whether a device access by the CPU has raised an interrupt since the last call.
    pub fn take_irq_by_access(&mut self) -> bool {
        std::mem::take(&mut self.irq_by_access)
    }

    /// Returns the address in ROM that was jumped to without a hook, if any, and clears it.
    pub fn take_rom_fetch(&mut self) -> Option<u32> {
        self.rom_fetch.take()
    }

    /// Returns whether devices can be at an address.
    fn in_device_space(&self, addr: u32) -> bool {
        self.spaces.iter().any(|space| space.range.contains(&addr))
    }

    fn device_at(&self, addr: u32) -> Option<usize> {
        let space = self.spaces.iter().find(|space| space.range.contains(&addr))?;
        let slot = space.slots.get(((addr - space.range.start) / SLOT_LEN) as usize)?;
        (*slot != NO_DEVICE).then_some(usize::from(*slot))
    }

    /// Drives a pin from outside, or releases it.
    pub fn drive_pin(&mut self, pin: u32, level: Option<bool>) {
        self.fabric.pins.drive(pin, level);
        self.after_pin_change();
    }

    /// Sends a byte to a pin from outside, after the bytes already on their way. Returns its
    /// arrival time.
    pub fn send_to_pin(&mut self, pin: u32, byte: u8, baud: u32) -> Tick {
        let fabric = &mut self.fabric;
        let time = if fabric.timed { clock::periods(10, baud.into()) } else { 0 };
        let done = fabric.now().max(fabric.pins.serial.busy_until(pin)).saturating_add(time);
        let inputs = fabric.pins.inputs();
        let brought = fabric.pins.serial.deliver(pin, LineByte { done, byte, baud }, inputs);
        fabric.pins.changed |= brought;
        self.after_pin_change();
        done
    }

    /// Sends a byte into the cable at a signal, after the bytes already in it. Returns its arrival
    /// time.
    pub fn send_by_cable(&mut self, signal: u32, byte: u8, baud: u32) -> Tick {
        let fabric = &mut self.fabric;
        let time = if fabric.timed { clock::periods(10, baud.into()) } else { 0 };
        let from = fabric.now().max(fabric.pins.serial.cable_busy_until(signal));
        let done = from.saturating_add(time);
        let inputs = fabric.pins.inputs();
        let brought =
            fabric.pins.serial.send_by_cable(signal, LineByte { done, byte, baud }, inputs);
        fabric.pins.changed |= brought;
        self.after_pin_change();
        done
    }

    fn after_pin_change(&mut self) {
        if std::mem::take(&mut self.fabric.pins.changed) {
            for index in 0..self.devices.len() {
                if self.devices[index].senses_pins {
                    self.devices[index].device.event(&mut self.fabric);
                    self.refresh(index);
                }
            }
        }
    }

    /// Runs the devices involved in DMA after a transfer was started or completed.
    fn after_transfer(&mut self) {
        if std::mem::take(&mut self.fabric.dma.changed) {
            for index in 0..self.devices.len() {
                if self.devices[index].transfers {
                    self.devices[index].device.event(&mut self.fabric);
                    self.refresh(index);
                }
            }
        }
    }

    fn after_access(&mut self, index: usize) {
        self.refresh(index);
        self.after_pin_change();
        self.after_transfer();
        self.after_clock_change();
        let irq = self.fabric.matrix.chosen();
        self.irq_by_access |= irq & !self.reported_irq != 0;
        if self.next_event() < self.horizon || irq != self.reported_irq {
            self.fabric.memory.request_yield();
        }
    }

    fn after_clock_change(&mut self) {
        if std::mem::take(&mut self.fabric.clock_changed) {
            for placed in &mut self.devices {
                placed.device.clock_changed(&mut self.fabric);
            }
            self.refresh_all();
            // The horizon is at a different cycle now.
            self.fabric.memory.request_yield();
        }
    }

    /// Updates the interrupt lines and the next event of a device.
    fn refresh(&mut self, index: usize) {
        let placed = &mut self.devices[index];
        placed.next = placed.device.next_event(&self.fabric);
        let lines = placed.device.lines();
        let changed = lines ^ placed.lines;
        if changed != 0 {
            placed.lines = lines;
            for (line, source) in (0_u32..32).zip(placed.irq.iter()) {
                if changed >> line & 1 != 0 {
                    self.fabric.matrix.set_source(*source, lines >> line & 1 != 0);
                }
            }
        }
    }
}
