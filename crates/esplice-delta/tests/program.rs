//! A tiny linker: programs with every form of reference, laid out as an app image.

/// Instruction set of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Machine {
    RiscV,
    Xtensa,
}

/// Part of a function.
#[derive(Clone, Copy, Debug)]
pub enum Item {
    /// Bytes that refer to nothing.
    Plain(u32),
    /// A call of the function with this number.
    Call(usize),
    /// A call over any distance, by `auipc` and `jalr`.
    FarCall(usize),
    /// A conditional branch to the function's start.
    Branch,
    /// A compressed branch, and a compressed jump, to the function's start.
    Compressed,
    /// A load from a variable.
    Load(usize),
    /// A store to a variable.
    Store(usize),
}

/// A program: functions, and words of which each is the address of a function.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub functions: Vec<Vec<Item>>,
    pub pointers: Vec<usize>,
    /// Sizes of the variables.
    pub variables: Vec<u32>,
}

const CODE: u32 = 0x4200_0020;
const DATA: u32 = 0x3c08_0020;
const VARIABLES: u32 = 0x3fc8_1000;
/// A segment in the memory of the variables.
const LOADED: u32 = 0x3fc8_0000;

impl Program {
    /// Returns a program with references to everything, drawn with a fixed seed.
    pub fn drawn(functions: usize) -> Program {
        let mut seed = 7_u32;
        let mut below = |end: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % end
        };
        let variables = 200;
        let mut program = Program::default();
        for _ in 0..functions {
            let mut items = Vec::new();
            for _ in 0..3 + below(12) {
                items.push(match below(8) {
                    0 => Item::Call(below(functions)),
                    1 => Item::FarCall(below(functions)),
                    2 => Item::Branch,
                    3 => Item::Compressed,
                    4 => Item::Load(below(variables)),
                    5 => Item::Store(below(variables)),
                    _ => Item::Plain(below(1 << 20) as u32),
                });
            }
            program.functions.push(items);
        }
        program.pointers = (0..functions / 2).map(|_| below(functions)).collect();
        program.variables = (0..variables).map(|_| 4 + 4 * below(30) as u32).collect();
        program
    }

    /// Returns the app image.
    pub fn link(&self, machine: Machine) -> Vec<u8> {
        // Lengths do not depend on addresses, so the first pass finds these.
        let start = vec![0; self.functions.len()];
        let (starts, _) = self.place(machine, &start);
        let (_, code) = self.place(machine, &starts);
        let pointers: Vec<u8> =
            self.pointers.iter().flat_map(|to| starts[*to].to_le_bytes()).collect();
        let segments = [(DATA, pointers), (CODE, code), (LOADED, vec![7; 64])];
        let mut image = vec![0xe9, segments.len() as u8, 2, 0x20];
        image.resize(24, 0);
        for (addr, mut bytes) in segments {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            image.extend(addr.to_le_bytes());
            image.extend((bytes.len() as u32).to_le_bytes());
            image.extend(bytes);
        }
        image
    }

    fn place(&self, machine: Machine, starts: &[u32]) -> (Vec<u32>, Vec<u8>) {
        let mut variables = Vec::new();
        let mut next = VARIABLES;
        for size in &self.variables {
            variables.push(next);
            next += size;
        }
        let mut code = Code { machine, bytes: Vec::new() };
        let mut found = Vec::new();
        for (number, items) in self.functions.iter().enumerate() {
            code.align();
            let literals = code.literals(items, starts, &variables);
            found.push(code.here());
            if machine == Machine::Xtensa {
                // entry a1, 32
                code.three(0x00_4136);
            }
            let start = found[number];
            for (item, literal) in items.iter().zip(literals) {
                code.put(*item, literal, start, starts, &variables);
            }
            code.end();
        }
        (found, code.bytes)
    }
}

struct Code {
    machine: Machine,
    bytes: Vec<u8>,
}

impl Code {
    fn here(&self) -> u32 {
        CODE + self.bytes.len() as u32
    }

    fn align(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    fn half(&mut self, half: u32) {
        self.bytes.extend((half as u16).to_le_bytes());
    }

    fn word(&mut self, word: u32) {
        self.bytes.extend(word.to_le_bytes());
    }

    fn three(&mut self, word: u32) {
        self.bytes.extend(&word.to_le_bytes()[..3]);
    }

    /// Puts the literals of a function of Xtensa before it. Returns their addresses.
    fn literals(&mut self, items: &[Item], starts: &[u32], variables: &[u32]) -> Vec<u32> {
        let addresses = items.iter().map(|item| {
            let at = self.here();
            match item {
                Item::FarCall(to) if self.machine == Machine::Xtensa => {
                    self.word(starts[*to].max(CODE))
                }
                Item::Load(of) | Item::Store(of) if self.machine == Machine::Xtensa => {
                    self.word(variables[*of]);
                }
                _ => {}
            }
            at
        });
        addresses.collect()
    }

    fn put(&mut self, item: Item, literal: u32, start: u32, starts: &[u32], variables: &[u32]) {
        match self.machine {
            Machine::RiscV => self.riscv(item, start, starts, variables),
            Machine::Xtensa => self.xtensa(item, literal, start, starts),
        }
    }

    fn riscv(&mut self, item: Item, start: u32, starts: &[u32], variables: &[u32]) {
        let here = self.here();
        let upper = |value: u32| value.wrapping_add(0x800) & 0xffff_f000;
        match item {
            // xori a5, a5, n and li a4, n
            Item::Plain(n) => {
                self.word(0x0007_c793 | n << 20);
                self.half(0x4701 | (n & 31) << 2);
            }
            // jal ra
            Item::Call(to) => {
                let by = starts[to].wrapping_sub(here);
                let bits = |from: u32, count: u32, to: u32| (by >> from & ((1 << count) - 1)) << to;
                self.word(
                    0xef | bits(20, 1, 31) | bits(1, 10, 21) | bits(11, 1, 20) | bits(12, 8, 12),
                );
            }
            // auipc ra; jalr ra
            Item::FarCall(to) => {
                let by = starts[to].wrapping_sub(here);
                self.word(0x97 | upper(by));
                self.word(0x0000_80e7 | by.wrapping_sub(upper(by)) << 20);
            }
            // bne a0, a1
            Item::Branch => {
                let by = start.wrapping_sub(here);
                let bits = |from: u32, count: u32, to: u32| (by >> from & ((1 << count) - 1)) << to;
                self.word(
                    0x00b5_1063 | bits(12, 1, 31) | bits(5, 6, 25) | bits(1, 4, 8) | bits(11, 1, 7),
                );
            }
            // c.beqz a0 if that is near enough; c.j
            Item::Compressed => {
                let by = start.wrapping_sub(here);
                let bits = |from: u32, count: u32, to: u32| (by >> from & ((1 << count) - 1)) << to;
                self.half(
                    0xa001
                        | bits(11, 1, 12)
                        | bits(4, 1, 11)
                        | bits(8, 2, 9)
                        | bits(10, 1, 8)
                        | bits(6, 1, 7)
                        | bits(7, 1, 6)
                        | bits(1, 3, 3)
                        | bits(5, 1, 2),
                );
            }
            // lui a0; lw a1, (a0)
            Item::Load(of) => {
                let target = variables[of];
                self.word(0x537 | upper(target));
                self.word(0x0005_2583 | target << 20);
            }
            // lui a0; sw a1, (a0)
            Item::Store(of) => {
                let target = variables[of];
                self.word(0x537 | upper(target));
                self.word(0x00b5_2023 | (target >> 5 & 0x7f) << 25 | (target & 31) << 7);
            }
        }
    }

    fn xtensa(&mut self, item: Item, literal: u32, start: u32, starts: &[u32]) {
        let here = self.here();
        let back = start.wrapping_sub(here + 4);
        match item {
            // addi a2, a3, n
            Item::Plain(n) => self.three(0x00_c322 | (n & 0xff) << 16),
            // call8
            Item::Call(to) => {
                let by = starts[to].wrapping_sub((here & !3) + 4);
                self.three(0x25 | (by >> 2 & 0x3_ffff) << 6);
            }
            // l32r a8; callx8 a8
            Item::FarCall(_) | Item::Load(_) | Item::Store(_) => {
                let by = literal.wrapping_sub((here + 3) & !3);
                self.three(0x81 | (by >> 2 & 0xffff) << 8);
                self.three(0x00_08e0);
            }
            // beqz a2
            Item::Branch => self.three(0x216 | (back & 0xfff) << 12),
            // j
            Item::Compressed => self.three(0x06 | (back & 0x3_ffff) << 6),
        }
    }

    /// Returns from a function.
    fn end(&mut self) {
        match self.machine {
            Machine::RiscV => self.half(0x8082),
            Machine::Xtensa => self.half(0xf01d),
        }
    }
}
