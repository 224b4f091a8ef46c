//! Comparison with qemu-riscv32 (user mode, package `qemu-user`). All pieces of code go into one
//! program, which loads registers before each piece and stores them after it.

use super::cases::{self, MEMORY_WORDS, State};
use std::io::Write;
use std::process::{Command, Stdio};

/// Load address of the program's code.
const CODE: u32 = super::machine::IRAM;
/// Half-way up in the other alias, so that the test machine can use the same addresses.
const DATA: u32 = super::machine::DRAM + super::machine::SRAM_LEN / 2;
/// Length of a piece's data: 32 registers, then its memory.
const BLOCK: u32 = 4 * (32 + MEMORY_WORDS as u32);
/// Register used by the loads and stores themselves (t6).
const OWN: u32 = 31;

/// A piece of code that runs to its end and does not use t6.
pub struct Piece<'a> {
    pub code: &'a [u8],
    /// Returns the state before, given the addresses of its memory and code.
    pub before: Box<dyn Fn(u32, u32) -> State + 'a>,
}

/// Returns the state after each piece, with the addresses of its memory and code.
pub fn run(pieces: &[Piece]) -> Vec<(State, u32, u32)> {
    let mut code = Vec::new();
    let mut data = Vec::new();
    let mut places = Vec::new();
    for piece in pieces {
        let block = DATA + data.len() as u32;
        load_address(&mut code, OWN, block);
        for register in 1..OWN {
            push(&mut code, (register * 4) << 20 | OWN << 15 | 2 << 12 | register << 7 | 0x03);
        }
        let memory = block + 128;
        let at = CODE + code.len() as u32;
        let before = (piece.before)(memory, at);
        data.extend(before.x.iter().chain(&before.memory).flat_map(|word| word.to_le_bytes()));
        places.push((memory, at));
        code.extend(piece.code);
        load_address(&mut code, OWN, block);
        for register in 1..OWN {
            let at = register * 4;
            push(
                &mut code,
                at >> 5 << 25 | register << 20 | OWN << 15 | 2 << 12 | (at & 31) << 7 | 0x23,
            );
        }
        if code.len() % 4 != 0 {
            code.extend([1, 0]); // c.nop
        }
    }
    // write(1, block, len) for each block, because a pipe does not take a large write at once; then
    // exit(0).
    for block in (DATA..DATA + data.len() as u32).step_by(BLOCK as usize) {
        for (register, value) in [(17, 64), (10, 1), (11, block), (12, BLOCK)] {
            load_address(&mut code, register, value);
        }
        push(&mut code, 0x73);
    }
    load_address(&mut code, 17, 93);
    load_address(&mut code, 10, 0);
    push(&mut code, 0x73);

    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&elf(&code, &data)).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let executable = std::fs::Permissions::from_mode(0o700);
        file.as_file().set_permissions(executable).unwrap();
    }
    let out = Command::new("qemu-riscv32").arg(file.path()).stdin(Stdio::null()).output();
    let out = out.expect("qemu-riscv32 is installed: scripts/setup --tests");
    assert!(out.status.success(), "{:?} {}", out.status, String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.stdout.len(), data.len());
    let states = out.stdout.chunks(BLOCK as usize).zip(places).map(|(block, (memory, at))| {
        let words: Vec<u32> =
            block.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        let (x, words) = words.split_at(32);
        let state = State { x: x.try_into().unwrap(), memory: words.try_into().unwrap() };
        (state, memory, at)
    });
    states.collect()
}

fn push(code: &mut Vec<u8>, word: u32) {
    code.extend(word.to_le_bytes());
}

/// Emits lui and addi to load any number.
fn load_address(code: &mut Vec<u8>, register: u32, value: u32) {
    push(code, value.wrapping_add(0x800) & 0xffff_f000 | register << 7 | 0x37);
    push(code, (value & 0xfff) << 20 | register << 15 | register << 7 | 0x13);
}

/// Returns a static executable with two segments.
fn elf(code: &[u8], data: &[u8]) -> Vec<u8> {
    let mut elf = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
    for value in [2, 243] {
        half(&mut elf, value); // ET_EXEC, EM_RISCV
    }
    for value in [1, CODE, 52, 0, 1] {
        push(&mut elf, value); // version, entry, program headers, section headers, flags: RVC
    }
    for value in [52, 32, 2, 40, 0, 0] {
        half(&mut elf, value);
    }
    let code_at = 0x1000;
    let data_at = (code_at + code.len()).next_multiple_of(0x1000);
    for (at, addr, len, flags) in [(code_at, CODE, code.len(), 5), (data_at, DATA, data.len(), 6)] {
        for value in [1, at as u32, addr, addr, len as u32, len as u32, flags, 0x1000] {
            push(&mut elf, value);
        }
    }
    elf.resize(code_at, 0);
    elf.extend(code);
    elf.resize(data_at, 0);
    elf.extend(data);
    elf
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "qemu-riscv32 exists only for Linux")]
fn qemu_gives_what_each_line_of_the_cases_says() {
    let cases = cases::all();
    let pieces: Vec<Piece> = cases
        .iter()
        .map(|case| Piece {
            code: &case.code,
            before: Box::new(|memory, at| case.before(memory, at)),
        })
        .collect();
    let found = run(&pieces);
    for (case, (found, memory, at)) in cases.iter().zip(found) {
        cases::check(&case.name, &found, &case.after(memory, at));
    }
}
