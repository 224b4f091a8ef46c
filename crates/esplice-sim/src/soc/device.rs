//! The device model trait and the state shared by all devices.

use esplice_chip::{Chip, Peripheral};

use super::{
    adc::Analog,
    clock::{Clock, Tick},
    flash_chip::FlashChip,
    gdma::Dma,
    gpio::Pins,
    interrupts::Matrix,
    sleep::Sleep,
};
use crate::{
    memory::Memory,
    nor::NorError,
    parts::{Bus, PartsError},
};
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// A model of a device on the bus.
pub(crate) trait Device: DeviceClone + Send {
    /// Reads the register at `offset`, a multiple of 4.
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32;

    /// Writes the register at `offset`, a multiple of 4.
    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric);

    /// Returns the asserted interrupt lines: bit n is the nth of the chip data's `irq`.
    fn lines(&self) -> u32 {
        0
    }

    /// Returns when to call [`Device::event`], unless an access comes first.
    fn next_event(&self, _fabric: &Fabric) -> Option<Tick> {
        None
    }

    /// Handles an event that [`Device::next_event`] announced.
    fn event(&mut self, _fabric: &mut Fabric) {}

    /// Returns the time until which reads of the register at `offset` return the value just read
    /// and have no side effects, if there are no writes and no events. Returns `None` if every read
    /// counts.
    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        None
    }

    /// Returns the registers that latch the time if another write of `value` to the register at
    /// `offset` has no effect except to latch it.
    fn latches(&self, _offset: u32, _value: u32) -> Option<Range<u32>> {
        None
    }

    /// Returns the time of which the register at `offset` would hold one half if it were latched at
    /// `at`, and how far the time is shifted to get that half.
    fn time_at(&self, _offset: u32, _at: Tick) -> Option<(u64, u32)> {
        None
    }

    /// Returns the current baud rate if the device is a UART.
    fn baud(&self, _fabric: &Fabric) -> Option<u32> {
        None
    }

    /// Returns whether changes of pin levels are events for the device.
    fn senses_pins(&self) -> bool {
        false
    }

    /// Returns whether the device is the DMA controller or uses it.
    fn transfers(&self) -> bool {
        false
    }

    /// Returns whether the device keeps running while the chip sleeps.
    fn keeps_awake(&self) -> bool {
        false
    }

    /// Burns bits of the eFuse word at `offset` permanently, as in the board's production.
    fn burn(&mut self, _offset: u32, _bits: u32) {}

    /// Handles a change of the CPU or bus clock.
    fn clock_changed(&mut self, _fabric: &mut Fabric) {}

    /// Handles a stop of the CPU and bus clocks, and of everything they drive, for `time` up to
    /// now.
    fn skip_time(&mut self, _time: Tick, _fabric: &mut Fabric) {}

    /// Sets the registers to their state after a reset of this scope.
    fn reset(&mut self, scope: Scope, fabric: &mut Fabric);
}

/// Cloning of boxed models, used to save and restore a board's state.
pub(crate) trait DeviceClone {
    /// Returns a copy of the device with all of its state.
    fn boxed_clone(&self) -> Box<dyn Device>;
}

impl<T: Device + Clone + 'static> DeviceClone for T {
    fn boxed_clone(&self) -> Box<dyn Device> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Device> {
    fn clone(&self) -> Self {
        (**self).boxed_clone()
    }
}

/// How much of the chip a reset affects (TRM 6.1.2 Reset Types).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Only the CPU.
    Cpu,
    /// All digital parts except the RTC.
    Core,
    /// All digital parts.
    System,
    /// The whole chip.
    Chip,
}

/// Why the chip was reset. The numbers are those of the reset cause field and of the ROM's
/// `rst:0x…` (TRM 6.1.3 table 6-1; names as printed by the ROM).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetReason {
    /// Power-on or the EN pin.
    PowerOn = 0x01,
    /// Software, through the RTC register.
    SoftwareSystem = 0x03,
    /// Wake-up from deep sleep.
    DeepSleep = 0x05,
    /// Main watchdog of timer group 0.
    Timer0WatchdogSystem = 0x07,
    /// Main watchdog of timer group 1.
    Timer1WatchdogSystem = 0x08,
    /// RTC watchdog, core reset.
    RtcWatchdogSystem = 0x09,
    /// Main watchdog of timer group 0, only the CPU.
    Timer0WatchdogCpu = 0x0b,
    /// Software, only the CPU.
    SoftwareCpu = 0x0c,
    /// RTC watchdog, only the CPU.
    RtcWatchdogCpu = 0x0d,
    /// Drop of the supply voltage.
    BrownOut = 0x0f,
    /// RTC watchdog, including the RTC itself.
    RtcWatchdogRtc = 0x10,
    /// Main watchdog of timer group 1, only the CPU.
    Timer1WatchdogCpu = 0x11,
    /// Super watchdog.
    SuperWatchdog = 0x12,
    /// Clock glitch.
    ClockGlitch = 0x13,
    /// Wrong eFuse checksum.
    EfuseError = 0x14,
    /// The host, over USB-Serial-JTAG.
    UsbUart = 0x15,
    /// A debugger, over USB-Serial-JTAG.
    UsbJtag = 0x16,
    /// Supply glitch.
    PowerGlitch = 0x17,
}

impl ResetReason {
    pub(crate) fn scope(self) -> Scope {
        match self {
            Self::PowerOn => Scope::Chip,
            Self::RtcWatchdogRtc | Self::SuperWatchdog | Self::BrownOut | Self::ClockGlitch => {
                Scope::System
            }
            Self::SoftwareCpu
            | Self::Timer0WatchdogCpu
            | Self::Timer1WatchdogCpu
            | Self::RtcWatchdogCpu => Scope::Cpu,
            Self::SoftwareSystem
            | Self::DeepSleep
            | Self::EfuseError
            | Self::UsbUart
            | Self::UsbJtag
            | Self::PowerGlitch
            | Self::Timer0WatchdogSystem
            | Self::Timer1WatchdogSystem
            | Self::RtcWatchdogSystem => Scope::Core,
        }
    }
}

/// A byte on the serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineByte {
    /// End of the stop bit.
    pub done: Tick,
    /// Byte that was sent.
    pub byte: u8,
    /// Baud rate at which the byte was sent, or 0 over USB.
    pub baud: u32,
}

impl LineByte {
    /// Returns the byte as a receiver at `baud` decodes it, and whether that is correct. Rates up
    /// to 3 % apart are compatible (the last of ten bits is then sampled a third of a bit off).
    pub fn received_at(&self, baud: u32) -> (u8, bool) {
        if self.baud == 0 || self.baud.abs_diff(baud) <= baud / 100 * 3 {
            return (self.byte, true);
        }
        // The exact garbage does not matter, but it must be the same each time.
        ((self.byte.rotate_left(3) ^ 0x5a) | 0x80, false)
    }
}

/// Strapping bit: boot from flash (ROM: `main` tests bit 3).
const STRAP_FLASH: u32 = 8;

/// Maximum number of bytes held in each direction of the line. When it is full, the line to the
/// host loses its oldest bytes and the line to the board its newest.
pub(crate) const LINE_LIMIT: usize = 1 << 20;

/// Port that the host's cable is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cable {
    /// The first UART, through a bridge with DTR and RTS.
    #[default]
    Uart,
    /// The chip's own USB-Serial-JTAG.
    Usb,
}

/// The line between the board and the host, independent of where the cable is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    pub to_host: VecDeque<LineByte>,
    pub to_board: VecDeque<LineByte>,
    /// Numbers of bytes sent to the host and received by the board.
    pub sent: u64,
    pub received: u64,
}

impl Line {
    pub fn send_to_host(&mut self, byte: LineByte) {
        self.sent += 1;
        if self.to_host.len() >= LINE_LIMIT {
            self.to_host.pop_front();
        }
        self.to_host.push_back(byte);
    }
}

/// State shared by devices: memory, flash, clocks, interrupts, the serial line.
#[derive(Clone)]
pub(crate) struct Fabric {
    pub chip: Arc<Chip>,
    pub memory: Memory,
    pub flash: FlashChip,
    pub clock: Clock,
    pub matrix: Matrix,
    pub pins: Pins,
    pub dma: Dma,
    /// Parts on the bus of each I2C controller.
    pub i2c: Vec<Bus>,
    /// Voltages at the pins, and the registers of the analog parts.
    pub analog: Analog,
    pub line: Line,
    /// Port that `line` is connected to.
    pub cable: Cable,
    /// True if the ROM's code is present and executed.
    pub rom_executed: bool,
    /// True if the ROM loader receives bytes at the console instead of the UART's FIFO.
    pub rom_listens: bool,
    /// True if the line, flash operations and resets take time.
    pub timed: bool,
    /// True if the first byte for the host stops the CPU.
    pub watch_output: bool,
    /// The random number generator.
    pub random: Random,
    /// Value of the strapping register.
    pub strap: u32,
    /// Reason of the last reset.
    pub reset_reason: ResetReason,
    /// Current or requested sleep.
    pub sleep: Option<Sleep>,
    /// Time at which the always-on timer wakes the chip, where it is a device of its own.
    pub wake_alarm: Option<Tick>,
    /// Reset requested by a device.
    pub reset_request: Option<ResetReason>,
    /// True if `clock` has changed and all devices must be notified.
    pub clock_changed: bool,
    /// pc at the last reset other than power-on, or 0 if it was not recorded.
    pub saved_pc: u32,
    /// First failure of the file of a part.
    pub part_failure: Option<Arc<PartsError>>,
    /// First failure outside the simulated chip, such as an error of the flash file.
    pub failure: Option<Arc<NorError>>,
}

/// A random number generator with the same sequence in each run for a seed: Vigna's SplitMix64.
#[derive(Debug, Clone, Default)]
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// Restarts the sequence with a new seed.
    pub fn set_seed(&mut self, seed: u64) {
        *self = Self { seed, state: seed };
    }

    /// Restarts the sequence.
    pub fn restart(&mut self) {
        self.state = self.seed;
    }

    pub fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 32) as u32
    }
}

impl Fabric {
    pub fn now(&self) -> Tick {
        self.clock.now()
    }

    /// Returns whether the straps select boot from flash. Only then are flash boot protection and
    /// the super watchdog active: a chip may stay in download mode indefinitely, and the ROM does
    /// not touch the watchdogs for it.
    pub fn boots_from_flash(&self) -> bool {
        self.strap & STRAP_FLASH != 0
    }

    /// Discards code decoded from changed flash contents. Must be called after each use of the
    /// flash chip.
    pub fn flash_touched(&mut self) {
        while let Some((offset, len)) = self.flash.take_change() {
            self.memory.flash_changed(offset, len);
        }
        if let Some(failure) = self.flash.take_failure() {
            self.failure.get_or_insert(failure);
            self.memory.request_yield();
        }
    }

    /// Requests a reset. The CPU stops after the current instruction.
    pub fn request_reset(&mut self, reason: ResetReason) {
        self.reset_request.get_or_insert(reason);
        self.memory.request_yield();
    }
}

/// Registers that only store values, on which a model builds its own.
#[derive(Debug, Clone)]
pub(crate) struct Registers {
    words: Vec<u32>,
    /// Values after a reset, other than 0.
    reset: Arc<[(u32, u32)]>,
}

impl Registers {
    /// Creates `len` bytes of registers that read 0.
    pub fn new(len: u32) -> Self {
        Self { words: vec![0; (len / 4) as usize], reset: Arc::new([]) }
    }

    /// Creates the registers of a device in their reset state.
    pub fn of(device: &Peripheral) -> Self {
        let mut registers = Self { reset: device.reset.as_slice().into(), ..Self::new(device.len) };
        registers.reset();
        registers
    }

    pub fn get(&self, offset: u32) -> u32 {
        self.words.get((offset / 4) as usize).copied().unwrap_or(0)
    }

    pub fn set(&mut self, offset: u32, value: u32) {
        if let Some(word) = self.words.get_mut((offset / 4) as usize) {
            *word = value;
        }
    }

    /// Returns a register's value after a reset.
    pub fn reset_value(&self, offset: u32) -> u32 {
        let known = self.reset.iter().find(|(at, _)| *at == offset);
        known.map_or(0, |(_, value)| *value)
    }

    /// Sets all registers to their reset values.
    pub fn reset(&mut self) {
        self.words.fill(0);
        for &(offset, value) in &*self.reset.clone() {
            self.set(offset, value);
        }
    }
}
