//! How many million instructions a second the interpreter runs, with nothing idle to skip.
//!
//! `cargo bench -p esplice-sim --bench mips` runs the small program beside this file (CRC, sort,
//! branches, division). `ESPLICE_CPU_BOUND_ELF=FILE` runs an ELF in SRAM instead, to its end: that
//! is when the first word of its section `.result` is `DONE` (see tests/firmware/cpu-bound); the
//! checksum behind it is printed. One line for each of five runs, and
//! the best of them, which is what a busy host disturbs least.
//!
//! `program.bin` is made from `program.c`, `start.S` and `link.ld` by
//! `riscv64-unknown-elf-gcc -march=rv32imc -mabi=ilp32 -O2 -nostdlib -ffreestanding
//! -fno-tree-loop-distribute-patterns -Wl,-T,link.ld start.S program.c -o program.elf` and
//! `riscv64-unknown-elf-objcopy -O binary -j .text program.elf program.bin`.

#[path = "../../tests/cpu/machine.rs"]
mod machine;

use esplice_sim::cpu::{Cpu, Stop};
use machine::{IRAM0, Machine, model, with_code};
use object::{Object, ObjectSection, ObjectSegment};

/// Instructions of the built-in program in a run: enough for about half a second.
const RUN: u64 = 100_000_000;
/// Instructions between two looks at whether an ELF is done.
const SLICE: u64 = 1_000_000;
const DONE: u32 = u32::from_le_bytes(*b"DONE");

fn main() {
    let elf = std::env::var_os("ESPLICE_CPU_BOUND_ELF")
        .map(|path| std::fs::read(path).expect("ESPLICE_CPU_BOUND_ELF can be read"));
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let (mut cpu, mut machine, result) = match &elf {
            Some(elf) => load(elf),
            None => {
                let code = include_bytes!("program.bin");
                let (cpu, machine) = with_code(model(), IRAM0, code);
                (cpu, machine, None)
            }
        };
        // An edge: a benchmark is there to ask the host's clock.
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
