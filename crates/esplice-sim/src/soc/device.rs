//! What a device model is, and what all of them share.

use esplice_chip::Chip;

use super::{
    clock::{Clock, Tick},
    flash_chip::FlashChip,
    gdma::Dma,
    gpio::Pins,
    interrupts::Matrix,
    sleep::Sleep,
};
use crate::{memory::Memory, nor::NorError};
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// A model of a device on the bus.
pub(crate) trait Device: DeviceClone + Send {
    /// Reads the register at `offset`, a multiple of 4.
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32;

    /// Writes the register at `offset`, a multiple of 4.
    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric);

    /// Interrupt lines that are asserted: bit n is the nth of the chip data's `irq`.
    fn lines(&self) -> u32 {
        0
    }

    /// When [`Device::event`] is to be called, if nothing is accessed before.
    fn next_event(&self, _fabric: &Fabric) -> Option<Tick> {
        None
    }

    /// A moment that [`Device::next_event`] named has come.
    fn event(&mut self, _fabric: &mut Fabric) {}

    /// Until when a read of the register at `offset`, made just now, gives the same again and changes nothing, if
    /// nothing is written and no event comes; `None` if each read counts.
    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        None
    }

    /// If writing `value` to the register at `offset`, once more, does nothing but ask for the time: the registers that
    /// hold it from then on.
    fn latches(&self, _offset: u32, _value: u32) -> Option<Range<u32>> {
        None
    }

    /// The time that the register at `offset` would hold a half of if it was asked for at `at`, and which half: what the
    /// time is shifted by.
    fn time_at(&self, _offset: u32, _at: Tick) -> Option<(u64, u32)> {
        None
    }

    /// Baud rate at present, of a UART.
    fn baud(&self, _fabric: &Fabric) -> Option<u32> {
        None
    }

    /// Sets bits of the eFuse word at `offset` for good, as a board gets them where it is made.
    fn burn(&mut self, _offset: u32, _bits: u32) {}

    /// The clock of CPU or bus has just changed.
    fn clock_changed(&mut self, _fabric: &mut Fabric) {}

    /// The clocks of CPU and bus stood still for `time`, up to now, and what they drive with them.
    fn slept(&mut self, _time: Tick, _fabric: &mut Fabric) {}

    /// Brings registers into the state that such a reset leaves.
    fn reset(&mut self, scope: Scope, fabric: &mut Fabric);
}

/// Every model is `Clone`: a board's state can be kept and gone back to.
pub(crate) trait DeviceClone {
    /// A copy of the device with all of its state.
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

/// How much a reset resets (TRM 6.1.2 Reset Types).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// The CPU alone.
    Cpu,
    /// All digital parts but the RTC.
    Core,
    /// All digital parts.
    System,
    /// The whole chip.
    Chip,
}

/// Why the chip was reset. The numbers are those of the reset-cause field and of the ROM's
/// `rst:0x…` (TRM 6.1.3 table 6-1; names as the ROM prints them).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetReason {
    /// Power, or the EN pin.
    PowerOn = 0x01,
    /// Software, through the RTC's register.
    SoftwareSystem = 0x03,
    /// Deep sleep, which ended.
    DeepSleep = 0x05,
    /// Main watchdog of timer group 0.
    Timer0WatchdogSystem = 0x07,
    /// Main watchdog of timer group 1.
    Timer1WatchdogSystem = 0x08,
    /// RTC watchdog, core reset.
    RtcWatchdogSystem = 0x09,
    /// Main watchdog of timer group 0, CPU alone.
    Timer0WatchdogCpu = 0x0b,
    /// Software, CPU alone.
    SoftwareCpu = 0x0c,
    /// RTC watchdog, CPU alone.
    RtcWatchdogCpu = 0x0d,
    /// The supply voltage fell.
    BrownOut = 0x0f,
    /// RTC watchdog, with the RTC itself.
    RtcWatchdogRtc = 0x10,
    /// Main watchdog of timer group 1, CPU alone.
    Timer1WatchdogCpu = 0x11,
    /// Super watchdog.
    SuperWatchdog = 0x12,
    /// A glitch of the clock.
    ClockGlitch = 0x13,
    /// The eFuses' check sum is wrong.
    EfuseError = 0x14,
    /// The host, over USB-Serial-JTAG.
    UsbUart = 0x15,
    /// A debugger, over USB-Serial-JTAG.
    UsbJtag = 0x16,
    /// A glitch of the supply.
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
    /// When its stop bit is over.
    pub done: Tick,
    /// The byte that was sent.
    pub byte: u8,
    /// The rate it was sent at; 0 over USB, which has none.
    pub baud: u32,
}

impl LineByte {
    /// What a receiver at `baud` makes of it. Rates 3 % apart still understand each other (the
    /// last of ten bits is then sampled a third of a bit off).
    pub fn received_at(&self, baud: u32) -> (u8, bool) {
        if self.baud == 0 || self.baud.abs_diff(baud) <= baud / 100 * 3 {
            return (self.byte, true);
        }
        // Which garbage comes out is of no matter; that it is the same each time is.
        ((self.byte.rotate_left(3) ^ 0x5a) | 0x80, false)
    }
}

/// Strapping bit: boot from flash (ROM: `main` tests bit 3).
const STRAP_FLASH: u32 = 8;

/// Most bytes the line holds. Of those for a host that does not read older ones are lost, of those
/// for a board that does not, newer ones.
pub(crate) const LINE_LIMIT: usize = 1 << 20;

/// Where the host's cable is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cable {
    /// The first UART, through a bridge with DTR and RTS.
    #[default]
    Uart,
    /// The chip's own USB-Serial-JTAG.
    Usb,
}

/// The wires between the board and the host, wherever the cable is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    pub to_host: VecDeque<LineByte>,
    pub to_board: VecDeque<LineByte>,
    /// Bytes that went to the host, and those that the board took.
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

/// What devices share: memory, flash, clocks, interrupts, the serial line.
#[derive(Clone)]
pub(crate) struct Fabric {
    pub chip: &'static Chip,
    pub memory: Memory,
    pub flash: FlashChip,
    pub clock: Clock,
    pub matrix: Matrix,
    pub pins: Pins,
    pub dma: Dma,
    pub line: Line,
    /// Where `line` leads to.
    pub cable: Cable,
    /// The ROM's code is there and executed.
    pub rom_executed: bool,
    /// The ROM's loader takes what arrives at the console, and the UART's FIFO none of it.
    pub rom_listens: bool,
    /// Whether wire, flash and reset take time.
    pub timed: bool,
    /// The first byte for the host is to stop the CPU.
    pub watch_output: bool,
    /// The random number generator.
    pub random: Random,
    /// What the strapping register holds.
    pub strap: u32,
    /// Why the last reset was.
    pub reset_reason: ResetReason,
    /// The chip sleeps, or is to.
    pub sleep: Option<Sleep>,
    /// A reset that a device asks for.
    pub reset_request: Option<ResetReason>,
    /// `clock` was changed: all devices are to be told.
    pub clock_changed: bool,
    /// pc of the last reset but power-on, 0 if it was not recorded.
    pub saved_pc: u32,
    /// The first thing that went wrong behind the chip's back, such as the flash's file.
    pub failure: Option<Arc<NorError>>,
}

/// Random numbers that are the same in each run for one seed: Vigna's SplitMix64.
#[derive(Debug, Clone, Default)]
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// Begins anew, with that seed from now on.
    pub fn set_seed(&mut self, seed: u64) {
        *self = Self { seed, state: seed };
    }

    /// Begins anew.
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

    /// Whether the straps say that the chip boots from flash. Only then is there flash boot protection,
    /// and does the super watchdog run: a chip stays in download mode for as long as one likes, and the
    /// ROM touches none of the watchdogs for it.
    pub fn boots_from_flash(&self) -> bool {
        self.strap & STRAP_FLASH != 0
    }

    /// To be called after each use of the flash chip: code that was decoded from what changed is
    /// given up.
    pub fn flash_touched(&mut self) {
        while let Some((offset, len)) = self.flash.take_change() {
            self.memory.flash_changed(offset, len);
        }
        if let Some(failure) = self.flash.take_failure() {
            self.failure.get_or_insert(failure);
            self.memory.request_yield();
        }
    }

    /// Asks for a reset: the CPU stops after the running instruction.
    pub fn request_reset(&mut self, reason: ResetReason) {
        self.reset_request.get_or_insert(reason);
        self.memory.request_yield();
    }
}

/// Registers that are nothing but storage, for a model to lay its own over.
#[derive(Debug, Clone)]
pub(crate) struct Registers {
    words: Vec<u32>,
}

impl Registers {
    /// `len` bytes of registers that read 0.
    pub fn new(len: u32) -> Self {
        Self { words: vec![0; (len / 4) as usize] }
    }

    /// Bytes of registers.
    pub fn len(&self) -> u32 {
        self.words.len() as u32 * 4
    }

    pub fn get(&self, offset: u32) -> u32 {
        self.words.get((offset / 4) as usize).copied().unwrap_or(0)
    }

    pub fn set(&mut self, offset: u32, value: u32) {
        if let Some(word) = self.words.get_mut((offset / 4) as usize) {
            *word = value;
        }
    }

    /// All registers 0, save those in `values`.
    pub fn reset(&mut self, values: &[(u32, u32)]) {
        self.words.fill(0);
        for &(offset, value) in values {
            self.set(offset, value);
        }
    }
}
