//! Instruction-level cases: files in tests/cases/cpu with one case per line. See the README there.

use super::machine::{DRAM, IRAM, Machine, model, with_code};
use super::reference::Reference;
use esplice_sim::cpu::{Cpu, CpuModel, Stop};
use std::path::Path;

/// Words of memory that each case has, from `M` on.
pub const MEMORY_WORDS: usize = 16;

/// Registers and memory before or after a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub x: [u32; 32],
    pub memory: [u32; MEMORY_WORDS],
}

impl State {
    /// Returns registers with distinct values, and zeroed memory.
    pub fn new() -> Self {
        let mut x = [0; 32];
        for (i, x) in x.iter_mut().enumerate() {
            *x = 0x0101_0101 * i as u32;
        }
        Self { x, memory: [0; MEMORY_WORDS] }
    }
}

/// A line of a case file.
pub struct Case {
    pub name: String,
    pub code: Vec<u8>,
    input: Vec<(Place, Value)>,
    output: Vec<(Place, Value)>,
}

#[derive(Clone, Copy)]
enum Place {
    Register(usize),
    Memory(usize),
    Csr(u32),
}

/// A number, or an offset from the case's memory or code.
#[derive(Clone, Copy)]
struct Value {
    offset: u32,
    base: Base,
}

#[derive(Clone, Copy)]
enum Base {
    None,
    Memory,
    Code,
}

impl Value {
    fn resolve(self, memory: u32, code: u32) -> u32 {
        let base = match self.base {
            Base::None => 0,
            Base::Memory => memory,
            Base::Code => code,
        };
        base.wrapping_add(self.offset)
    }
}

impl Case {
    /// Returns the state before, with memory at `memory` and the code at `code`.
    pub fn before(&self, memory: u32, code: u32) -> State {
        apply(State::new(), &self.input, memory, code)
    }

    /// Returns the CSRs named in the output, with their values.
    pub fn csrs(&self, memory: u32, code: u32) -> Vec<(u32, u32)> {
        let csrs = self.output.iter().filter_map(|(place, value)| match place {
            Place::Csr(number) => Some((*number, value.resolve(memory, code))),
            _ => None,
        });
        csrs.collect()
    }

    /// Returns the state after, which differs from the one before only as the case says.
    pub fn after(&self, memory: u32, code: u32) -> State {
        apply(self.before(memory, code), &self.output, memory, code)
    }
}

fn apply(mut state: State, changes: &[(Place, Value)], memory: u32, code: u32) -> State {
    for (place, value) in changes {
        let value = value.resolve(memory, code);
        match *place {
            Place::Register(i) => state.x[i] = value,
            Place::Memory(i) => state.memory[i] = value,
            Place::Csr(_) => {}
        }
    }
    state
}

/// Returns all cases that run to their end.
pub fn all() -> Vec<Case> {
    read("tests/cases/cpu")
}

/// Returns all cases of all files in a folder.
pub fn read(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "txt"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = format!("{stem}:{}", number + 1);
            cases.push(parse(&at, line).unwrap_or_else(|| panic!("{at}: not a case: {line}")));
        }
    }
    cases
}

fn parse(at: &str, line: &str) -> Option<Case> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [text, code, input, output] = fields[..] else { return None };
    let mut bytes = Vec::new();
    for word in code.split_whitespace() {
        let (count, word) = word.split_once('*').unwrap_or(("1", word));
        for _ in 0..count.parse().ok()? {
            match word.len() {
                4 => bytes.extend(u16::from_str_radix(word, 16).ok()?.to_le_bytes()),
                8 => bytes.extend(u32::from_str_radix(word, 16).ok()?.to_le_bytes()),
                _ => return None,
            }
        }
    }
    let list = |text: &str| text.split_whitespace().map(assignment).collect::<Option<Vec<_>>>();
    Some(Case {
        name: format!("{at}: {text}"),
        code: bytes,
        input: list(input)?,
        output: list(output)?,
    })
}

fn assignment(text: &str) -> Option<(Place, Value)> {
    const NAMES: &str = "zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 \
                         s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6";
    let (place, value) = text.split_once('=')?;
    let place = match NAMES.split_whitespace().position(|name| name == place) {
        Some(register) => Place::Register(register),
        None => match place {
            "mstatus" => Place::Csr(0x300),
            "mepc" => Place::Csr(0x341),
            "mcause" => Place::Csr(0x342),
            "mtval" => Place::Csr(0x343),
            _ => {
                let word = place.strip_prefix('m')?.parse().ok();
                Place::Memory(word.filter(|word| *word < MEMORY_WORDS)?)
            }
        },
    };
    let (base, offset) = match value.split_once('+') {
        Some(("M", offset)) => (Base::Memory, offset),
        Some(("P", offset)) => (Base::Code, offset),
        _ => (Base::None, value),
    };
    Some((place, Value { offset: u32::from_str_radix(offset, 16).ok()?, base }))
}

/// Returns the addresses of a case's memory and code in the test machine. The code ends at a page's
/// end, so that every case also crosses that border.
fn places(code: &[u8]) -> (u32, u32) {
    (DRAM + 0x8000, IRAM + 0x3000 - (code.len() as u32 & !3).max(4))
}

/// Runs code on the simulator's CPU up to its end.
pub fn run(code: &[u8], before: &State, memory: u32, at: u32) -> State {
    run_with(code, before, memory, at, |_| ())
}

/// Runs code as [`run`] does, on a CPU prepared by `prepare`.
pub fn run_with(
    code: &[u8],
    before: &State,
    memory: u32,
    at: u32,
    prepare: impl Fn(&mut Cpu),
) -> State {
    let with_atomics = CpuModel { atomics: true, ..model() };
    let (mut cpu, mut machine) = with_code(with_atomics, at, code);
    prepare(&mut cpu);
    let end = at + code.len() as u32;
    cpu.x = before.x;
    cpu.set_hooks([end]);
    for (i, word) in before.memory.iter().enumerate() {
        assert!(machine.memory.store32(memory + 4 * i as u32, *word));
    }
    let stop = cpu.run(&mut machine, 10_000);
    assert_eq!(stop, Stop::Hook(end), "{:x?}", cpu.csrs);
    state(&cpu, &machine, memory)
}

fn state(cpu: &Cpu, machine: &Machine, memory: u32) -> State {
    let mut state = State { x: cpu.x, memory: [0; MEMORY_WORDS] };
    for (i, word) in state.memory.iter_mut().enumerate() {
        *word = machine.memory.load32(memory + 4 * i as u32, &[]).unwrap();
    }
    state
}

/// Compares two states and names the difference.
pub fn check(name: &str, found: &State, expected: &State) {
    for i in 0..32 {
        assert_eq!(
            found.x[i], expected.x[i],
            "{name}: x{i} is {:#x}, not {:#x}",
            found.x[i], expected.x[i]
        );
    }
    for i in 0..MEMORY_WORDS {
        let (found, expected) = (found.memory[i], expected.memory[i]);
        assert_eq!(found, expected, "{name}: m{i} is {found:#x}, not {expected:#x}");
    }
}

#[test]
fn every_case_gives_what_its_line_says() {
    let cases = all();
    assert!(cases.len() >= 400, "only {} cases were found", cases.len());
    for case in cases {
        let (memory, at) = places(&case.code);
        let found = run(&case.code, &case.before(memory, at), memory, at);
        check(&case.name, &found, &case.after(memory, at));
    }
}

/// The second implementation must be correct as well, or a comparison proves nothing.
#[test]
fn the_reference_gives_what_each_line_says() {
    for case in all() {
        let (memory, at) = places(&case.code);
        let found = Reference::run(&case.code, &case.before(memory, at), memory, at);
        check(&case.name, &found, &case.after(memory, at));
    }
}
