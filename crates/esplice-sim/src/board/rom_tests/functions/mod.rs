//! Compares each modelled ROM function with the ROM's own code. Arguments are random (from a seed);
//! results, memory, flash, output and charged cycles are compared.
//!
//! `ESPLICE_MEASURE=1 cargo test -p esplice-sim --lib functions -- --nocapture` prints the cycles
//! of the ROM's code in the form of `targets/esp32c3.rom.toml`, `[cycles]`.

mod calls;
mod fit;
mod numbers;

use std::{collections::BTreeMap, env, time::Duration};

use super::{firmware, mask_rom};
use crate::{Board, SimError, TimeMode, board::State, cpu::Bus, nor::Nor, rom};

/// Return address of calls.
const RETURN: u32 = 0x4039_0000;
const STACK: u32 = 0x3fcc_8000;
/// Two pieces of RAM that functions work on. The first [`COMPARED`] bytes from `RAM` are compared.
const RAM: u32 = 0x3fc9_0000;
const OTHER: u32 = 0x3fca_0000;
const COMPARED: u32 = 0x2_0000;
const PIECE: u32 = 0x4000;
/// Time limit of a call.
const PATIENCE: Duration = Duration::from_secs(10);
/// Number of registers with results.
const NONE: usize = 0;
const ONE: usize = 1;
const TWO: usize = 2;
/// Allowed difference of a call's charged cycles: a hundredth of the ROM's, plus 96 for a poll of a
/// device.
const SHARE: u64 = 100;
const NEAR: u64 = 96;
const ROUNDS: u32 = 24;

struct Bench {
    hooked: Board,
    real: Board,
    random: Random,
    /// Measured calls by function.
    cycles: BTreeMap<String, Vec<Measured>>,
    different: Vec<String>,
}

impl Bench {
    fn new(time: TimeMode) -> Bench {
        let image = firmware::rom_image(&firmware::Code::new().wait());
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
        let board = |rom: bool| {
            let mut nor = Nor::in_memory(4 << 20, &chip.sim.as_ref().unwrap().flash);
            nor.put(0, &image).unwrap();
            let board = Board::with_flash(chip, nor, time).unwrap();
            let mut board = if rom { board.with_rom(mask_rom::image()) } else { board };
            board.run_for(Duration::from_millis(80)).unwrap();
            let table = board.table.clone();
            let hooked = table.hooked().chain(rom::Vector::addrs(&table));
            let hooks: Vec<u32> = if rom { Vec::new() } else { hooked.collect() };
            // Leave the firmware's wait.
            board.cpu.reset(RETURN);
            board.cpu.write_csr(0x305, table.facts().vectors);
            board.cpu.set_hooks(hooks.into_iter().chain([RETURN]));
            // Disable the watchdogs of the flash boot, which nothing feeds here.
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

    /// Calls a function that uses only registers on both boards.
    fn compute(&mut self, name: &str, arguments: &[u32], results: usize) {
        let hooked = enter(&mut self.hooked, name, arguments);
        let real = enter(&mut self.real, name, arguments);
        self.compare(name, arguments, &hooked, &real, results);
    }

    fn compare(
        &mut self,
        name: &str,
        arguments: &[u32],
        hooked: &Outcome,
        real: &Outcome,
        results: usize,
    ) {
        let told = format!("{name}{arguments:x?}");
        if hooked.registers[..results] != real.registers[..results] {
            self.different.push(format!(
                "{told} returns {:x?} instead of {:x?}",
                hooked.registers, real.registers
            ));
        }
        let work = self.hooked.rom_state.work.clone();
        let measured = Measured { work, charged: hooked.cycles, real: real.cycles };
        self.cycles.entry(name.into()).or_default().push(measured);
    }

    /// Calls a function on both boards.
    fn call(&mut self, name: &str, arguments: &[u32], results: usize) {
        let hooked = call(&mut self.hooked, name, arguments);
        let real = call(&mut self.real, name, arguments);
        let told = format!("{name}{arguments:x?}");
        if hooked.printed != real.printed {
            self.different
                .push(format!("{told} prints {:?} instead of {:?}", hooked.printed, real.printed));
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
        self.compare(name, arguments, &hooked, &real, results);
    }

    fn any(&mut self, below: u32) -> u32 {
        self.random.below(below)
    }
}

/// A measured call.
struct Measured {
    work: rom::Work,
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
    let mut outcome = enter(board, name, arguments);
    while let Some(sent) = board.host_take_sent() {
        outcome.printed.push(char::from(sent.byte));
    }
    outcome.memory = vec![0; COMPARED as usize];
    board.soc.fabric.memory.read(RAM, &mut outcome.memory, &[]);
    outcome
}

/// Runs a function from its first instruction to its return.
fn enter(board: &mut Board, name: &str, arguments: &[u32]) -> Outcome {
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
    let registers = [board.cpu.x[10], board.cpu.x[11]];
    Outcome { registers, cycles, printed: String::new(), memory: Vec::new() }
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

    /// Returns a number of any magnitude.
    fn number(&mut self) -> u32 {
        let word = self.word();
        word >> self.below(33).min(31)
    }
}

#[test]
fn functions_do_what_the_roms_do() {
    let mut bench = Bench::new(TimeMode::None);
    calls::all(&mut bench);
    let mut far = Vec::new();
    for (name, calls) in &bench.cycles {
        if env::var_os("ESPLICE_MEASURE").is_some() {
            println!("{}", fit::line(name, calls));
        }
        let Some(cost) = bench.hooked.table.cost_of(name) else {
            far.push(format!("{name}: the table has no cycles"));
            continue;
        };
        let unknown: Vec<&str> = cost
            .parts()
            .filter(|part| !calls.iter().any(|call| call.work.parts().any(|(p, _)| p == *part)))
            .collect();
        if !unknown.is_empty() {
            far.push(format!("{name} never does {unknown:?}"));
        }
        let off = |call: &Measured| call.charged.abs_diff(call.real);
        let most = calls.iter().map(off).max().unwrap_or(0);
        // As the chip data says, plus a few cycles for functions that wait for a device.
        if most > cost.within() + 8 {
            far.push(format!("{name} is {most} cycles off instead of {}", cost.within()));
        }
        let worst = calls.iter().max_by_key(|call| off(call).saturating_sub(call.real / SHARE));
        let near = |call: &&Measured| off(call) <= call.real / SHARE + NEAR;
        if let Some(call) = worst.filter(|call| !cost.is_rough() && !near(call)) {
            far.push(format!("{name} is charged {} cycles instead of {}", call.charged, call.real));
        }
    }
    let different = bench.different;
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    assert!(far.is_empty(), "{} are far off:\n{}", far.len(), far.join("\n"));
}

/// Allowed difference of the time of the SPI bus and the flash chip: a fiftieth, plus a poll of the
/// chip (`wait_idle`).
const POLL: u64 = 100;

#[test]
fn flash_functions_wait_as_long_as_the_roms_do() {
    let mut bench = Bench::new(TimeMode::Virtual);
    calls::flash(&mut bench);
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
                    .push(format!("mode {mode}, {addr:#x}: {one:#x} instead of {other:#x}"));
            }
        }
    }
    let mut far = Vec::new();
    for (name, calls) in &bench.cycles {
        let within = bench.hooked.table.cost_of(name).map_or(0, rom::Cost::within);
        let off = |call: &Measured| call.charged.abs_diff(call.real);
        let worst = calls.iter().max_by_key(|call| off(call).saturating_sub(call.real / 50));
        let Some(call) = worst else { continue };
        if off(call) > call.real / 50 + within + POLL {
            far.push(format!("{name} took {} cycles instead of {}", call.charged, call.real));
        }
    }
    let different = bench.different;
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    assert!(far.is_empty(), "{} are far off:\n{}", far.len(), far.join("\n"));
}
