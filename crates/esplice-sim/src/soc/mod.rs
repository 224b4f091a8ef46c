//! Everything on the bus: plain memories, devices and the flash chip behind them.
//!
//! The devices are those the chip data lists, each made by the name of its model. Addresses of the
//! peripheral space that no listed device covers are plain storage: firmware sets up many parts it
//! then does not depend on. [`Soc::unlisted`] tells which were touched. Addresses outside of that
//! space and of the memories lead nowhere.

mod autobaud;
mod bus;
mod cache;
mod chip_data;
pub mod clock;
mod device;
mod efuse;
mod flash_chip;
mod gdma;
mod gpio;
pub(crate) mod interrupts;
mod plain;
pub(crate) mod rtc;
mod serial;
mod sha;
pub(crate) mod sleep;
mod spi_mem;
mod system;
mod systimer;
#[cfg(test)]
mod tests;
pub(crate) mod timer_group;
pub(crate) mod uart;
pub(crate) mod usb_serial_jtag;
pub(crate) mod watchdog;

use std::{collections::BTreeMap, ops::Range};

use esplice_chip::{Chip, Peripheral, RegionKind, Sim};

pub use bus::Accesses;
pub(crate) use cache::MMU_INVALID;
pub(crate) use chip_data::{mmu_entries, mmu_page};
pub use device::{Cable, ResetReason};
pub(crate) use device::{Fabric, LINE_LIMIT, LineByte, Scope};

use crate::{SimError, memory::Memory, nor::Nor};
use chip_data::{memory_map, model};
use clock::{Clock, Tick};
use device::{Device, Line};
use flash_chip::FlashChip;
use interrupts::Matrix;

/// The bus is looked up in pieces of this length; every device's base and length are multiples.
const SLOT_LEN: u32 = 0x400;
const NO_DEVICE: u8 = u8::MAX;
/// Devices that the ROM's functions reach by name, besides the console.
const NEEDED: [&str; 7] = ["debug-assist", "intmtx", "mmu", "rtc-cntl", "spi0", "spi1", "timg0"];

/// The chip without its CPU.
#[derive(Clone)]
pub(crate) struct Soc {
    pub fabric: Fabric,
    devices: Vec<Placed>,
    /// Where devices are, and storage where none is.
    space: Range<u32>,
    /// Which device is in each piece of the space.
    slots: Vec<u8>,
    /// No device needs to be looked at before.
    horizon: Tick,
    /// What the CPU was last told of interrupts.
    told_irq: u32,
    /// The CPU's own access to a device has changed that.
    irq_by_access: bool,
    unlisted: BTreeMap<u32, (u32, Accesses)>,
    /// A fetch from ROM where nothing is hooked.
    rom_fetch: Option<u32>,
    console: u32,
}

#[derive(Clone)]
struct Placed {
    device: Box<dyn Device>,
    name: &'static str,
    base: u32,
    irq: &'static [u32],
    lines: u32,
    next: Option<Tick>,
    /// It wants to hear when a pin's level changes.
    senses_pins: bool,
    /// It is the DMA controller, or uses it.
    transfers: bool,
    /// It goes on while the chip sleeps.
    keeps_awake: bool,
}

impl Soc {
    /// The chip at power-on; nothing is reset yet.
    pub fn new(
        chip: &'static Chip,
        sim: &'static Sim,
        nor: Nor,
        timed: bool,
    ) -> Result<Self, SimError> {
        let memory = Memory::new(memory_map(chip)).map_err(SimError::Memory)?;
        let mut soc = Self {
            fabric: Fabric {
                chip,
                memory,
                flash: FlashChip::new(nor, timed),
                clock: Clock::new(chip.xtal_mhz, chip.boot_cpu_mhz),
                matrix: Matrix::new(),
                pins: gpio::Pins::default(),
                dma: gdma::Dma::new(),
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
                reset_request: None,
                clock_changed: false,
                saved_pc: 0,
                failure: None,
            },
            devices: Vec::new(),
            space: sim.peripheral_space.addr.0..sim.peripheral_space.end(),
            slots: vec![NO_DEVICE; (sim.peripheral_space.len / SLOT_LEN) as usize],
            horizon: Tick::MAX,
            told_irq: 0,
            irq_by_access: false,
            unlisted: BTreeMap::new(),
            rom_fetch: None,
            console: sim
                .peripherals
                .iter()
                .find(|peripheral| peripheral.model == "uart")
                .map_or(0, |peripheral| peripheral.base.0),
        };
        for peripheral in &sim.peripherals {
            soc.place(chip, sim, peripheral)?;
        }
        if let Some(device) = NEEDED.into_iter().find(|name| soc.base_of(name).is_none()) {
            return Err(SimError::NoDevice { device });
        }
        Ok(soc)
    }

    fn place(
        &mut self,
        chip: &Chip,
        sim: &'static Sim,
        peripheral: &'static Peripheral,
    ) -> Result<(), SimError> {
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
        let first = base.checked_sub(self.space.start).ok_or_else(bad_place)?;
        let number = u8::try_from(index).ok().filter(|n| *n != NO_DEVICE).ok_or_else(bad_place)?;
        if !base.is_multiple_of(SLOT_LEN) || !len.is_multiple_of(SLOT_LEN) || len == 0 {
            return Err(bad_place());
        }
        for slot in first / SLOT_LEN..(first.saturating_add(len)) / SLOT_LEN {
            match self.slots.get_mut(slot as usize) {
                Some(slot) if *slot == NO_DEVICE => *slot = number,
                _ => return Err(bad_place()),
            }
        }
        self.devices.push(Placed {
            device,
            name: &peripheral.name,
            base,
            irq: &peripheral.irq,
            lines: 0,
            next: None,
            senses_pins: ["gpio", "rtc-cntl", "uart"].contains(&peripheral.model.as_str()),
            transfers: peripheral.model == "gdma" || peripheral.model == "sha",
            keeps_awake: peripheral.model == "rtc-cntl",
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

    /// Base address of the device of that name.
    pub fn base_of(&self, name: &str) -> Option<u32> {
        self.devices.iter().find(|placed| placed.name == name).map(|placed| placed.base)
    }

    /// Base address of the UART with the host at its other end, the first one listed.
    pub fn console(&self) -> u32 {
        self.console
    }

    /// Baud rate of the console.
    pub fn console_baud(&mut self) -> u32 {
        let fabric = &self.fabric;
        let console = self.devices.iter().find(|placed| placed.base == self.console);
        console.and_then(|placed| placed.device.baud(fabric)).unwrap_or(1)
    }

    /// Interrupt source of the console.
    pub fn console_irq(&self) -> Option<u32> {
        let console = self.devices.iter().find(|placed| placed.base == self.console);
        console.and_then(|placed| placed.irq.first().copied())
    }

    /// Resets what such a reset resets.
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

    /// Lets every device whose moment has come act; gives the next such moment.
    pub fn run_events(&mut self) -> Tick {
        let now = self.fabric.now();
        for index in 0..self.devices.len() {
            // Bounded: an event leads to one in the future, or to none.
            if self.devices[index].next.is_some_and(|at| at <= now) {
                self.devices[index].device.event(&mut self.fabric);
                self.refresh(index);
            }
        }
        self.after_clock_change();
        self.next_event()
    }

    /// [`Soc::run_events`] while the chip sleeps: only the RTC controller acts.
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

    /// The clocks stood still for `time`, up to now.
    pub fn slept(&mut self, time: Tick) {
        for placed in &mut self.devices {
            placed.device.slept(time, &mut self.fabric);
        }
        self.refresh_all();
    }

    /// RAM without power keeps nothing; that of the RTC has it in deep sleep.
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

    /// Looks at all devices again: something outside of them changed (bytes on the line).
    pub fn refresh_all(&mut self) {
        for index in 0..self.devices.len() {
            self.refresh(index);
        }
    }

    /// Says up to when the CPU is going to run undisturbed; a device that needs the board sooner
    /// then stops it.
    pub fn set_horizon(&mut self, horizon: Tick) {
        self.horizon = horizon;
    }

    /// The CPU interrupt to be given to the CPU.
    pub fn take_irq(&mut self) -> u32 {
        self.told_irq = self.fabric.matrix.chosen();
        self.told_irq
    }

    /// Whether an access of the CPU's own has raised an interrupt since the last time.
    pub fn take_irq_by_access(&mut self) -> bool {
        std::mem::take(&mut self.irq_by_access)
    }

    /// An address in ROM that was jumped to and is not hooked.
    pub fn take_rom_fetch(&mut self) -> Option<u32> {
        self.rom_fetch.take()
    }

    fn device_at(&self, addr: u32) -> Option<usize> {
        let slot = self.slots.get((addr.wrapping_sub(self.space.start) / SLOT_LEN) as usize)?;
        (*slot != NO_DEVICE).then_some(usize::from(*slot))
    }

    /// The outside drives a pin, or lets go of it.
    pub fn drive_pin(&mut self, pin: u32, level: Option<bool>) {
        self.fabric.pins.drive(pin, level);
        self.after_pin_change();
    }

    /// A byte comes to a pin from outside, behind those that are on their way; gives when it is there.
    pub fn bring_to_pin(&mut self, pin: u32, byte: u8, baud: u32) -> Tick {
        let fabric = &mut self.fabric;
        let time = if fabric.timed { clock::periods(10, baud.into()) } else { 0 };
        let done = fabric.now().max(fabric.pins.serial.busy_until(pin)).saturating_add(time);
        let inputs = fabric.pins.inputs();
        let brought = fabric.pins.serial.bring(pin, LineByte { done, byte, baud }, inputs);
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

    /// A transfer was started, or a device has done one.
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
        self.irq_by_access |= irq & !self.told_irq != 0;
        if self.next_event() < self.horizon || irq != self.told_irq {
            self.fabric.memory.request_yield();
        }
    }

    fn after_clock_change(&mut self) {
        if std::mem::take(&mut self.fabric.clock_changed) {
            for placed in &mut self.devices {
                placed.device.clock_changed(&mut self.fabric);
            }
            self.refresh_all();
            // The cycle at which the horizon comes is another one now.
            self.fabric.memory.request_yield();
        }
    }

    /// Takes over a device's interrupt lines and next event.
    fn refresh(&mut self, index: usize) {
        let placed = &mut self.devices[index];
        placed.next = placed.device.next_event(&self.fabric);
        let lines = placed.device.lines();
        let changed = lines ^ placed.lines;
        if changed != 0 {
            placed.lines = lines;
            for (line, source) in (0_u32..32).zip(placed.irq) {
                if changed >> line & 1 != 0 {
                    self.fabric.matrix.set_source(*source, lines >> line & 1 != 0);
                }
            }
        }
    }
}
