//! The modelled mask ROM. When the CPU reaches the address of a ROM function, the function is
//! performed here and charged with cycles, and the CPU continues after the call.
//!
//! Addresses come from the chip's table in `targets/`, where functions are found by name. A call of
//! a function that is not modelled is an error with its name ([`crate::SimError::RomFunction`]).
//! Booting an image from flash is in [`boot`]. A board with a ROM file ([`RomImage`]) executes that
//! ROM instead and uses none of this.

pub(crate) mod boot;
mod chip;
mod complex;
mod cost;
mod deflate_work;
mod flash;
mod floats;
mod hash;
mod image;
mod inflate;
mod integers;
mod interrupts;
mod libc;
pub(crate) mod output;
mod panic;
mod printf;
mod spi_bus;
mod table;

use std::collections::{HashMap, VecDeque};

use esplice_chip::Sim;

use crate::{
    cpu::{Bus, Cpu},
    soc::{Soc, clock::Tick},
};
pub(crate) use cost::{Cost, Work};
pub use image::RomImage;
pub(crate) use interrupts::{Vector, attach_console};
pub(crate) use spi_bus::spi_hz;
pub(crate) use table::Table;

/// A ROM function: reads its arguments from the call and writes its result to it.
type Hook = fn(&mut Call<'_>) -> Flow;

/// Registers of the calling convention.
const RA: usize = 1;
pub(crate) const SP: usize = 2;
const A0: usize = 10;

/// Output and waiting left before a ROM function returns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    /// Cycles charged at once, if the table has none for the function.
    pub cycles: u64,
    /// Work by which the table's cycles are counted.
    pub work: Work,
    /// Bytes for the console UART's FIFO and for USB, sent as there is room.
    pub out: VecDeque<u8>,
    /// Sends the bytes only to USB, where a line feed ends a packet.
    pub usb_alone: bool,
    /// Cycles of each of these bytes, if counted separately.
    pub each: u64,
    /// Time before which the next byte is not sent.
    pub next_byte: Tick,
    /// Time before which the function does not return.
    pub until: Tick,
    /// Waiting time in addition to the cycles: flash chip and SPI bus.
    pub waits: Tick,
}

impl Flow {
    fn after(cycles: u64) -> Self {
        Self { cycles, ..Self::default() }
    }

    /// Returns the flow of a function whose cycles are in the table.
    fn of(units: u64) -> Self {
        Self::doing(Work::units(units))
    }

    fn doing(work: Work) -> Self {
        Self { work, ..Self::default() }
    }

    /// Sets whether bytes were processed one by one.
    fn slowly(mut self, slow: bool) -> Self {
        self.work.slow = slow;
        self
    }

    fn at(until: Tick) -> Self {
        Self { cycles: 20, until, ..Self::default() }
    }

    fn printing(bytes: Vec<u8>, work: Work) -> Self {
        Self { work, out: bytes.into(), ..Self::default() }
    }
}

/// State that ROM functions keep between calls outside of the chip's memory.
#[derive(Clone, Default)]
pub(crate) struct State {
    hashes: HashMap<u32, hash::Hash>,
    streams: HashMap<u32, inflate::Stream>,
    /// True if the last printed byte ended a line.
    pub(crate) line_ended: bool,
    /// Time until which the ROM waits for a missing host on USB.
    pub(crate) usb_given_up: Option<Tick>,
    /// Work of the last call.
    #[cfg(test)]
    pub(crate) work: Work,
    /// True if ets_install_uart_printf is in effect; the ROM calls it at boot.
    uart_printf: bool,
}

/// A call of a ROM function.
pub(crate) struct Call<'a> {
    pub cpu: &'a mut Cpu,
    pub soc: &'a mut Soc,
    pub table: &'a Table,
    pub state: &'a mut State,
}

impl Call<'_> {
    /// Returns argument `index`: in a register, or on the stack after the eighth.
    fn arg(&mut self, index: usize) -> u32 {
        match index {
            0..8 => self.cpu.x[A0 + index],
            _ => self.load(self.cpu.x[SP].wrapping_add(4 * (index as u32 - 8))),
        }
    }

    fn arg64(&mut self, index: usize) -> u64 {
        u64::from(self.arg(index)) | u64::from(self.arg(index + 1)) << 32
    }

    fn set_result(&mut self, value: u32) {
        self.cpu.x[A0] = value;
    }

    fn set_result64(&mut self, value: u64) {
        self.cpu.x[A0] = value as u32;
        self.cpu.x[A0 + 1] = (value >> 32) as u32;
    }

    /// Loads a word as the CPU does; 0 from an unmapped address.
    fn load(&mut self, addr: u32) -> u32 {
        self.soc.load32(addr).unwrap_or(0)
    }

    fn store(&mut self, addr: u32, value: u32) {
        // A store that would trap on the CPU is dropped; ROM functions do not check either.
        let _ = self.soc.store32(addr, value);
    }

    fn load_byte(&mut self, addr: u32) -> u8 {
        self.soc.load8(addr).unwrap_or(0)
    }

    fn store_byte(&mut self, addr: u32, value: u8) {
        let _ = self.soc.store8(addr, value);
    }

    /// Returns `len` bytes from `addr`, at most as many as the chip can hold. Unmapped bytes are 0.
    fn bytes(&mut self, addr: u32, len: u32) -> Vec<u8> {
        (0..len.min(MOST_BYTES)).map(|i| self.load_byte(addr.wrapping_add(i))).collect()
    }

    fn store_bytes(&mut self, addr: u32, bytes: &[u8]) {
        for (i, byte) in (0_u32..).zip(bytes) {
            self.store_byte(addr.wrapping_add(i), *byte);
        }
    }

    /// Returns the bytes up to a NUL, at most `most`.
    fn text(&mut self, addr: u32, most: u32) -> Vec<u8> {
        let mut text = Vec::new();
        while (text.len() as u32) < most {
            match self.load_byte(addr.wrapping_add(text.len() as u32)) {
                0 => break,
                byte => text.push(byte),
            }
        }
        text
    }

    fn data(&self, name: &str) -> Option<u32> {
        self.table.data(name)
    }

    fn now(&self) -> Tick {
        self.soc.fabric.now()
    }
}

/// Most bytes handled by one ROM call: the size of a flash window.
const MOST_BYTES: u32 = 0x80_0000;

/// Performs the ROM function at `addr`, if one is modelled there.
pub(crate) fn call(
    addr: u32,
    cpu: &mut Cpu,
    soc: &mut Soc,
    table: &Table,
    state: &mut State,
) -> Option<Flow> {
    let (hook, cost) = table.hook(addr)?;
    soc.fabric.clock.cycle = cpu.cycles;
    let mut flow = hook(&mut Call { cpu, soc, table, state });
    if let Some(cost) = cost {
        flow.cycles = cost.cycles(&flow.work);
        // Output is charged character by character.
        flow.each = flow.cycles / (flow.out.len() as u64).max(1);
        flow.cycles -= flow.each * flow.out.len() as u64;
    }
    #[cfg(test)]
    {
        state.work = flow.work.clone();
    }
    Some(flow)
}

/// Returns whether a board needs a file of the chip's ROM, because its functions are not modelled. A
/// broken table is reported when the board is created.
pub(crate) fn needs_file(sim: &Sim) -> bool {
    Table::load(&sim.rom_table).is_ok_and(|table| !table.is_modelled())
}

/// Returns from a ROM function.
pub(crate) fn leave(cpu: &mut Cpu) {
    cpu.pc = cpu.x[RA] & !1;
}

/// Returns all modelled functions.
fn hooks() -> impl Iterator<Item = &'static (&'static str, Hook)> {
    [
        chip::HOOKS,
        complex::HOOKS,
        flash::HOOKS,
        floats::HOOKS,
        hash::HOOKS,
        inflate::HOOKS,
        integers::HOOKS,
        interrupts::HOOKS,
        libc::HOOKS,
        output::HOOKS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{cpu::CpuModel, nor::Nor};

    /// Generates numbers at which lengths and addresses tend to overflow.
    fn edge() -> impl Strategy<Value = u32> {
        prop_oneof![
            0_u32..64,
            (0_u32..0x400).prop_map(|below| u32::MAX - below),
            (0_u32..0x400).prop_map(|above| 0x7fff_fe00 + above),
            (0_u32..0xd_1000).prop_map(|offset| 0x6000_0000 + offset),
            (0_u32..0x6_0000).prop_map(|offset| 0x3fc8_0000 + offset),
            (0_u32..0x80_0000).prop_map(|offset| 0x3c00_0000 + offset),
            any::<u32>(),
        ]
    }

    struct Bench {
        cpu: Cpu,
        soc: Soc,
        table: std::sync::Arc<Table>,
        state: State,
    }

    impl Bench {
        /// Sets the flash size and the ticks per microsecond in the ROM's data.
        fn new(size: u32, ticks_per_us: u32) -> Self {
            let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
            let sim = chip.sim.as_ref().unwrap();
            let nor = Nor::in_memory(1 << 20, &sim.flash);
            let mut soc = Soc::new(chip, sim, nor, true).unwrap();
            let table = Table::load(&sim.rom_table).unwrap();
            soc.reset(crate::soc::ResetReason::PowerOn);
            let data = |name| table.data(name).unwrap();
            soc.store32(data("rom_default_spiflash_legacy_data") + 4, size).unwrap();
            soc.store32(data("s_ticks_per_us"), ticks_per_us).unwrap();
            Self { cpu: Cpu::new(CpuModel::of(chip, sim)), soc, table, state: State::default() }
        }

        fn call(&mut self, addr: u32, arguments: &[u32]) -> Flow {
            self.cpu.x[A0..A0 + arguments.len()].copy_from_slice(arguments);
            call(addr, &mut self.cpu, &mut self.soc, &self.table, &mut self.state).unwrap()
        }
    }

    /// Checks the result of a function and the ticks it waits.
    fn check(name: &str, arguments: &[u32], expected: u32, ticks: Tick) {
        let mut bench = Bench::new(u32::MAX, 160);
        let addr = bench.table.hooked().find(|addr| bench.table.name(*addr) == Some(name));
        let flow = bench.call(addr.unwrap(), arguments);
        assert_eq!(bench.cpu.x[A0], expected, "{name}");
        assert_eq!(flow.until, ticks, "{name}");
    }

    #[test]
    fn arguments_that_overflow() {
        const TICKS_PER_CYCLE: Tick = 48; // At 20 MHz.
        check("Cache_Ibus_MMU_Set", &[0, 0x4200_0000, 0, 64, u32::MAX, 0], 4, 0);
        check("Cache_Ibus_MMU_Set", &[0, 0x4200_0000, u32::MAX << 16, 64, 128, 0], 0, 0);
        check("ets_delay_us", &[10], 10, 1600 * TICKS_PER_CYCLE);
        check("ets_delay_us", &[u32::MAX], u32::MAX, (1 << 32) * TICKS_PER_CYCLE - 160 * 48);
        check("esp_rom_spiflash_write", &[u32::MAX, 0x3fc8_0000, 2], 1, 0);
        check("esp_rom_spiflash_erase_sector", &[u32::MAX], 1, 0);
    }

    /// Inflates a stream in pieces through a ring of 32 KiB, as flasher stubs do.
    #[test]
    fn a_stream_in_pieces() {
        use std::io::Write as _;
        const STATE: u32 = 0x3fc8_0000;
        const INPUT: u32 = 0x3fc8_1000;
        const LENS: u32 = 0x3fc8_3000;
        const RING: u32 = 0x3fc9_0000;
        let text: Vec<u8> = (0_u32..70_000).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&text).unwrap();
        let stream = encoder.finish().unwrap();

        let mut bench = Bench::new(u32::MAX, 160);
        let addr =
            bench.table.hooked().find(|at| bench.table.name(*at) == Some("tinfl_decompress"));
        let mut out = Vec::new();
        let mut next = RING;
        let mut status = 1;
        for piece in stream.chunks(1000) {
            for (at, byte) in (INPUT..).zip(piece) {
                bench.soc.store8(at, *byte).unwrap();
            }
            let mut taken = 0;
            // More input to come, and a zlib header.
            while taken < piece.len() as u32 || status == 2 {
                bench.soc.store32(LENS, piece.len() as u32 - taken).unwrap();
                bench.soc.store32(LENS + 4, RING + 0x8000 - next).unwrap();
                let arguments = [STATE, INPUT + taken, LENS, RING, next, LENS + 4, 3];
                bench.call(addr.unwrap(), &arguments);
                status = bench.cpu.x[A0] as i32;
                assert!(status >= 0, "{status}");
                let made = bench.soc.load32(LENS + 4).unwrap();
                taken += bench.soc.load32(LENS).unwrap();
                out.extend((0..made).map(|i| bench.soc.load8(next + i).unwrap()));
                next = if next + made == RING + 0x8000 { RING } else { next + made };
            }
        }
        assert_eq!(status, 0, "the stream has ended");
        assert!(out == text);
        // A ring must be a power of two; nothing is touched otherwise.
        bench.soc.store32(LENS + 4, 1000).unwrap();
        bench.call(addr.unwrap(), &[STATE, INPUT, LENS, RING, RING, LENS + 4, 3]);
        assert_eq!(bench.cpu.x[A0] as i32, -3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        /// Calls functions with any arguments and any ROM data that firmware could have set.
        #[test]
        fn any_call_comes_back(
            calls in prop::collection::vec(
                (any::<prop::sample::Index>(), prop::collection::vec(edge(), 8)),
                1..8,
            ),
            (size, ticks_per_us, stack) in (edge(), edge(), edge()),
        ) {
            let mut bench = Bench::new(size, ticks_per_us);
            bench.cpu.x[SP] = stack;
            let mut functions: Vec<u32> = bench.table.hooked().collect();
            functions.sort();
            for (function, arguments) in calls {
                let flow = bench.call(*function.get(&functions), &arguments);
                // Each line feed is printed with a carriage return.
                prop_assert!(flow.out.len() <= 0x2000);
            }
        }
    }
}
