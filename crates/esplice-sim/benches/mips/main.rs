//! Measures how many million instructions per second (MIPS) the interpreter executes when nothing
//! is idle.
//!
//! `cargo bench -p esplice-sim --bench mips` runs the small program in this directory (CRC, sort,
//! branches, division). `ESPLICE_CPU_BOUND_ELF=FILE` runs an ELF in SRAM instead, until the first
//! word of its section `.result` is `DONE` (see tests/firmware/cpu-bound), and prints the checksum
//! that follows it. Each of five runs prints one line. The best run is printed last because a busy
//! host disturbs it least. Everything runs twice: first without, then with memory protection and a
//! trigger, set the way a second-stage bootloader and esp-hal's stack guard set them.
//!
//! `program.bin` is built from `program.c`, `start.S` and `link.ld` by
//! `riscv64-unknown-elf-gcc -march=rv32imc -mabi=ilp32 -O2 -nostdlib -ffreestanding
//! -fno-tree-loop-distribute-patterns -Wl,-T,link.ld start.S program.c -o program.elf` and
//! `riscv64-unknown-elf-objcopy -O binary -j .text program.elf program.bin`.

#[path = "../../tests/cpu/machine.rs"]
mod machine;

use esplice_sim::cpu::{Cpu, Stop};
use machine::{DRAM, IRAM, IRAM0, Machine, SRAM_LEN, model, with_code};
use object::{Object, ObjectSection, ObjectSegment};

/// Instructions per run of the built-in program, enough for about half a second.
const RUN: u64 = 100_000_000;
/// Instructions between two checks whether an ELF has finished.
const SLICE: u64 = 1_000_000;
const DONE: u32 = u32::from_le_bytes(*b"DONE");

fn main() {
    let elf = std::env::var_os("ESPLICE_CPU_BOUND_ELF")
        .map(|path| std::fs::read(path).expect("ESPLICE_CPU_BOUND_ELF can be read"));
    for guarded in [false, true] {
        println!("{}", if guarded { "with protection" } else { "without protection" });
        runs(elf.as_deref(), guarded);
    }
}

fn runs(elf: Option<&[u8]>, guarded: bool) {
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let (mut cpu, mut machine, result) = match elf {
            Some(elf) => load(elf),
            None => {
                let code = include_bytes!("program.bin");
                let (cpu, machine) = with_code(model(), IRAM0, code);
                (cpu, machine, None)
            }
        };
        if guarded {
            guard(&mut cpu);
        }
        // Allowed here: a benchmark has to read the host's clock.
        #[allow(clippy::disallowed_methods)]
        let start = std::time::Instant::now();
        while cpu.cycles < RUN || result.is_some() {
            let slice = cpu.cycles + SLICE;
            let stop = cpu.run(&mut machine, slice);
            assert_eq!(stop, Stop::Budget, "at {:#010x} after {}", cpu.pc, cpu.cycles);
            if result.is_some_and(|result| machine.memory.load32(result, &[]) == Some(DONE)) {
                break;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let mips = cpu.cycles as f64 / seconds / 1e6;
        print!("{mips:8.1} MIPS  ({} instructions in {seconds:.3} s)", cpu.cycles);
        if let Some(checksum) = result.and_then(|addr| machine.memory.load32(addr + 4, &[])) {
            print!("  checksum {checksum:#010x}");
        }
        println!();
        best = best.max(mips);
    }
    println!("{best:8.1} MIPS at best");
}

/// Sets locked top-of-range (TOR) entries for SRAM on both buses, with no permissions for all other
/// addresses below the last entry's end, and a watchpoint on one word.
fn guard(cpu: &mut Cpu) {
    let tops = [(DRAM, 0x88), (DRAM + SRAM_LEN, 0x8b), (IRAM0, 0x88), (IRAM + SRAM_LEN, 0x8f)];
    for (entry, (top, _)) in (0..).zip(tops) {
        cpu.write_csr(0x3b0 + entry, top >> 2);
    }
    cpu.write_csr(0x3a0, tops.iter().rev().fold(0, |config, (_, byte)| config << 8 | byte));
    cpu.write_csr(0x7a1, 0xc2); // machine mode, NAPOT, stores
    // No program here stores through the instruction bus.
    cpu.write_csr(0x7a2, IRAM | 1);
    cpu.write_csr(0x7a5, 8);
}

fn load(elf: &[u8]) -> (Cpu, Machine, Option<u32>) {
    let elf = object::File::parse(elf).expect("an ELF");
    let mut machine = Machine::new();
    for segment in elf.segments() {
        let data = segment.data().expect("segment data");
        let addr = segment.address() as u32;
        assert!(machine.memory.write(addr, data), "segment at {addr:#010x} is outside SRAM");
    }
    let result = elf.section_by_name(".result").expect("a section .result").address() as u32;
    let mut cpu = Cpu::new(model());
    cpu.reset(elf.entry() as u32);
    (cpu, machine, Some(result))
}
