//! Makes ELF files for the tests, and runs esptool and espflash to compare with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use esplice_chip::Chip;
use esplice_image::{ImageHeader, ImageOptions, build_image};
use object::elf;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Writer};

/// A section for an ELF to be made.
#[derive(Debug, Clone)]
pub struct Section {
    pub name: &'static str,
    pub kind: elf::SectionType,
    pub flags: u32,
    pub addr: u32,
    /// Load address in the program header, if it differs from `addr`.
    pub load: Option<u32>,
    pub data: Vec<u8>,
    /// Length of a NOBITS section.
    pub bss: u32,
}

pub fn section(name: &'static str, addr: u32, data: impl Into<Vec<u8>>) -> Section {
    let (kind, flags) = (elf::SHT_PROGBITS, elf::SHF_ALLOC.0 as u32);
    Section { name, kind, flags, addr, load: None, data: data.into(), bss: 0 }
}

pub fn bss(name: &'static str, addr: u32, len: u32) -> Section {
    Section { kind: elf::SHT_NOBITS, bss: len, ..section(name, addr, []) }
}

/// Returns `len` pseudo-random bytes.
pub fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Returns a valid app descriptor with an empty field for the ELF's SHA-256.
pub fn descriptor() -> Vec<u8> {
    let mut bytes = vec![0; 256];
    bytes[..4].copy_from_slice(&0xabcd_5432_u32.to_le_bytes());
    bytes[16..21].copy_from_slice(b"1.2.3");
    bytes[48..52].copy_from_slice(b"test");
    bytes[178..180].copy_from_slice(&u16::MAX.to_le_bytes());
    bytes[180] = 16;
    bytes
}

/// Values of an ELF header.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub machine: elf::Machine,
    pub kind: elf::FileType,
    /// Entry point; 0 for the start of the first section with a name for code.
    pub entry: u32,
    pub is_64: bool,
    /// True to write a program header for each section with bytes.
    pub program_headers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            machine: elf::EM_RISCV,
            kind: elf::ET_EXEC,
            entry: 0,
            is_64: false,
            program_headers: true,
        }
    }
}

/// Returns the start of the first section with a name for code, or else of the first section.
fn entry_of(sections: &[Section]) -> u32 {
    let code = [".text", ".rwtext", ".trap", ".iram", ".flash.text"];
    let named = |section: &&Section| code.iter().any(|name| section.name.starts_with(name));
    sections.iter().find(named).or(sections.first()).map_or(0, |section| section.addr)
}

/// Returns an ELF with `sections`.
pub fn elf(sections: &[Section], options: Options) -> Vec<u8> {
    let entry = if options.entry == 0 { entry_of(sections) } else { options.entry };
    let mut bytes = Vec::new();
    let mut writer = Writer::new(object::Endianness::Little, options.is_64, &mut bytes);
    writer.reserve_file_header();
    let loaded = if options.program_headers {
        sections.iter().filter(|s| s.flags & elf::SHF_ALLOC.0 as u32 != 0).count()
    } else {
        0
    };
    if loaded > 0 {
        writer.reserve_program_headers(loaded as u32);
    }
    let mut placed = Vec::new();
    writer.reserve_null_section_index();
    for section in sections {
        let name = writer.add_section_name(section.name.as_bytes());
        writer.reserve_section_index();
        placed.push((name, writer.reserve(section.data.len() as u64, 16)));
    }
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab().expect("names");
    writer.reserve_section_headers();

    writer
        .write_file_header(&FileHeader {
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            e_type: options.kind,
            e_machine: options.machine,
            e_entry: u64::from(entry),
            e_flags: elf::FileFlags(0),
        })
        .expect("header");
    let len = |section: &Section| section.data.len() as u64 + u64::from(section.bss);
    if loaded > 0 {
        writer.write_align_program_headers();
    }
    for (section, (_, offset)) in sections.iter().zip(&placed) {
        if loaded > 0 && section.flags & elf::SHF_ALLOC.0 as u32 != 0 {
            writer.write_program_header(&ProgramHeader {
                p_type: elf::PT_LOAD,
                p_flags: elf::PF_R,
                p_offset: *offset,
                p_vaddr: u64::from(section.addr),
                p_paddr: u64::from(section.load.unwrap_or(section.addr)),
                p_filesz: section.data.len() as u64,
                p_memsz: len(section),
                p_align: 4,
            });
        }
    }
    for (section, (_, offset)) in sections.iter().zip(&placed) {
        writer.write_align(16);
        assert_eq!(writer.len(), *offset);
        writer.write(&section.data);
    }
    writer.write_shstrtab();
    writer.write_null_section_header();
    for (section, (name, offset)) in sections.iter().zip(&placed) {
        writer.write_section_header(&SectionHeader {
            sh_name: writer.section_name_offset(Some(*name)),
            sh_type: section.kind,
            sh_flags: elf::SectionFlags(u64::from(section.flags)),
            sh_addr: u64::from(section.addr),
            sh_offset: *offset,
            sh_size: len(section),
            sh_link: 0,
            sh_info: 0,
            sh_addralign: 4,
            sh_entsize: 0,
        });
    }
    writer.write_shstrtab_section_header();
    bytes
}

/// Returns the `esptool` program from `ESPLICE_ESPTOOL` or from PATH. Without it the test fails,
/// because a skipped comparison proves nothing.
pub fn esptool() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| {
        let program = std::env::var_os("ESPLICE_ESPTOOL").map_or("esptool".into(), PathBuf::from);
        let answer = Command::new(&program).arg("version").output();
        assert!(
            answer.as_ref().is_ok_and(|output| output.status.success()),
            "these tests compare with esptool, but {} does not run: {answer:?}\n\
             install it with `pip install esptool==5.6.0`, or name it in ESPLICE_ESPTOOL",
            program.display(),
        );
        program
    }))
}

/// Returns the `espflash` program from `ESPLICE_ESPFLASH` or from PATH. Without it the test fails.
pub fn espflash() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| {
        let program = std::env::var_os("ESPLICE_ESPFLASH").map_or("espflash".into(), PathBuf::from);
        let answer = Command::new(&program).arg("--version").output();
        assert!(
            answer.as_ref().is_ok_and(|output| output.status.success()),
            "these tests also compare with espflash, but {} does not run: {answer:?}\n\
             install it with `cargo install espflash --locked --version 4.7.0`, or name it in \
             ESPLICE_ESPFLASH",
            program.display(),
        );
        program
    }))
}

/// Returns the app image that espflash makes of `elf` in `dir`, with flash parameters in its
/// notation.
pub fn espflash_image(dir: &Path, chip: &str, elf: &[u8], freq: &str) -> Result<Vec<u8>, String> {
    let (input, output) = (dir.join("app.elf"), dir.join("espflash.bin"));
    std::fs::write(&input, elf).expect("the ELF is written");
    let _ = std::fs::remove_file(&output);
    let said = espflash()
        .args(["save-image", "--chip", chip, "--flash-mode", "dio", "--flash-freq", freq])
        .args(["--flash-size", "4mb", "--skip-update-check", "--ignore-app-descriptor"])
        .args([&input, &output])
        .env("HOME", dir)
        .env_remove("RUST_LOG")
        .output()
        .expect("espflash runs");
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned());
    }
    Ok(std::fs::read(output).expect("espflash's image is readable"))
}

/// Compares our image of `elf` with espflash's, with the revisions that espflash takes from its
/// bootloader.
#[track_caller]
pub fn equals_espflashs(chip: &Chip, elf: &[u8], dir: &Path, what: &str) {
    let name = &chip.name;
    let mut usual = ImageOptions::for_chip(chip);
    // The ESP32-C6's code for 80m is 0x0 in ESP-IDF and esptool, but 0xf in espflash.
    if chip.image.flash_frequencies.contains_key("20m") {
        usual.flash.freq = "20m".into();
    }
    let freq = format!("{}hz", usual.flash.freq);
    let theirs = espflash_image(dir, name, elf, &freq)
        .unwrap_or_else(|said| panic!("{name} {what}: espflash refuses it: {said}"));
    let header = ImageHeader::from_bytes(&theirs).expect("a header");
    let options = usual.min_rev(header.min_rev).max_rev(header.max_rev);
    let mut ours =
        build_image(elf, chip, &options).unwrap_or_else(|error| panic!("{name} {what}: {error}"));
    // espflash also fills in the deprecated field.
    ours.bytes[14] = header.min_rev_deprecated;
    let hashed = ours.bytes.len() - 32;
    let hash = esplice_image::sha256(&ours.bytes[..hashed]);
    ours.bytes[hashed..].copy_from_slice(&hash);
    let place = ours.bytes.iter().zip(&theirs).position(|(a, b)| a != b);
    assert_eq!(place, None, "{name} {what}: first difference");
    assert_eq!(ours.bytes.len(), theirs.len(), "{name} {what}");
}

/// Returns the image that esptool makes of `elf` in `dir`, or its error output.
pub fn esptool_image(dir: &Path, elf: &[u8], more: &[&str]) -> Result<Vec<u8>, String> {
    let (input, output) = (dir.join("app.elf"), dir.join("esptool.bin"));
    std::fs::write(&input, elf).expect("write the ELF");
    let _ = std::fs::remove_file(&output);
    let said = esptool()
        .args(["--chip", "esp32c3", "elf2image", "--flash-mode", "dio", "--flash-freq", "80m"])
        .args(["--flash-size", "4MB", "--min-rev-full", "0", "--max-rev-full", "65535"])
        .args(more)
        .arg("-o")
        .args([&output, &input])
        .output()
        .expect("run esptool");
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned());
    }
    Ok(std::fs::read(output).expect("read esptool's image"))
}

/// Runs esptool's `main` once for each line of tab-separated arguments, because esptool starts
/// slowly.
const BATCH: &str = r#"
import contextlib, io, sys
import esptool
for line in open(sys.argv[1]).read().splitlines():
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            esptool.main(line.split("\t"))
        print("made")
    except BaseException as error:
        print("refused", " ".join((str(error) + " " + said.getvalue()).split()))
"#;

/// An ELF, and esptool's arguments before `-o`, for one image.
pub struct Job<'a> {
    pub elf: &'a [u8],
    pub args: Vec<String>,
}

/// Returns for each job esptool's image, made in `dir`, or its error output.
pub fn esptool_images(dir: &Path, jobs: &[Job<'_>]) -> Vec<Result<Vec<u8>, String>> {
    let file = |number: usize, end: &str| dir.join(format!("{number}.{end}"));
    let mut lines = String::new();
    for (number, job) in jobs.iter().enumerate() {
        let (elf, image) = (file(number, "elf"), file(number, "bin"));
        std::fs::write(&elf, job.elf).expect("write the ELF");
        let (elf, image) = (elf.display(), image.display());
        lines.push_str(&format!("{}\t-o\t{image}\t{elf}\n", job.args.join("\t")));
    }
    let list = dir.join("jobs");
    std::fs::write(&list, lines).expect("write the list");
    let output = Command::new(esptool_python()).args(["-c", BATCH]).arg(&list).output();
    let output = output.expect("run esptool's Python");
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), jobs.len(), "esptool stopped: {said}{error}");
    let results = said.lines().enumerate().map(|(number, line)| match line {
        "made" => Ok(std::fs::read(file(number, "bin")).expect("read esptool's image")),
        refused => Err(refused.to_owned()),
    });
    results.collect()
}

/// Returns the Python next to the `esptool` program, or else the one on PATH.
fn esptool_python() -> PathBuf {
    let program = PathBuf::from(esptool().get_program());
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join(&program)).find(|file| file.is_file())
    };
    let program = if program.is_file() { Some(program.clone()) } else { on_path() };
    let beside = program.as_deref().and_then(Path::parent).map(Path::to_owned);
    let names = ["python", "python3", "python.exe"];
    beside
        .and_then(|dir| names.iter().map(|name| dir.join(name)).find(|file| file.is_file()))
        .unwrap_or_else(|| "python3".into())
}

/// Returns an ELF with a single program header that covers all of `bytes` at `addr`, and with
/// sections at the given parts (start, length) of them.
pub fn elf_with_one_segment(addr: u32, bytes: &[u8], sections: &[(usize, usize)]) -> Vec<u8> {
    elf_with_one_segment_of(243, addr, bytes, sections)
}

/// Does the same as [`elf_with_one_segment`], for any machine.
pub fn elf_with_one_segment_of(
    machine: u16,
    addr: u32,
    bytes: &[u8],
    sections: &[(usize, usize)],
) -> Vec<u8> {
    // The object crate's writer does not allow overlapping sections, so this ELF is written by
    // hand.
    let (ehsize, phsize, shsize) = (52_u32, 32_u32, 40_u32);
    let names = b"\0.text\0";
    let data_at = ehsize + phsize;
    let names_at = data_at + bytes.len() as u32;
    let headers_at = (names_at + names.len() as u32).next_multiple_of(4);
    let count = sections.len() as u16 + 2;
    let mut out = Vec::new();
    let words = |out: &mut Vec<u8>, words: &[u32]| {
        for word in words {
            out.extend_from_slice(&word.to_le_bytes());
        }
    };
    let halves = |out: &mut Vec<u8>, halves: &[u16]| {
        for half in halves {
            out.extend_from_slice(&half.to_le_bytes());
        }
    };
    out.extend_from_slice(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
    halves(&mut out, &[2, machine]);
    words(&mut out, &[1, addr, ehsize, headers_at, 0]);
    halves(&mut out, &[52, 32, 1, 40, count, count - 1]);
    let len = bytes.len() as u32;
    words(&mut out, &[1, data_at, addr, addr, len, len, 5, 4]);
    out.extend_from_slice(bytes);
    out.extend_from_slice(names);
    out.resize(headers_at as usize, 0);
    out.resize(out.len() + shsize as usize, 0);
    for (start, len) in sections {
        let start = *start as u32;
        words(&mut out, &[1, 1, 6, addr + start, data_at + start, *len as u32, 0, 0, 4, 0]);
    }
    words(&mut out, &[0, 3, 0, 0, names_at, names.len() as u32, 0, 0, 1, 0]);
    out
}

/// Returns an executable for `machine` with these sections and symbols (name and address), without
/// program headers.
pub fn elf_with_symbols(
    machine: u16,
    entry: u32,
    sections: &[Section],
    symbols: &[(&str, u32)],
) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
    let named = |table: &mut Vec<u8>, name: &str| {
        let at = table.len() as u32;
        table.extend_from_slice(name.as_bytes());
        table.push(0);
        at
    };
    let (mut content, mut headers) = (Vec::new(), vec![0; 40]);
    let (mut names, mut strings) = (vec![0], vec![0]);
    let place = |content: &mut Vec<u8>, bytes: &[u8]| {
        content.resize(content.len().next_multiple_of(4), 0);
        content.extend_from_slice(bytes);
        52 + content.len() as u32 - bytes.len() as u32
    };
    for section in sections {
        let (at, name) = (place(&mut content, &section.data), named(&mut names, section.name));
        let len = section.data.len() as u32 + section.bss;
        let kind = section.kind.0;
        headers.extend(words(&[name, kind, section.flags, section.addr, at, len, 0, 0, 4, 0]));
    }
    let mut table = vec![0; 16];
    for (name, addr) in symbols {
        // A global object of four bytes in the first section.
        let name = named(&mut strings, name);
        table.extend(words(&[name, *addr, 4, 0x11 | 1 << 16]));
    }
    let (symtab, strtab) = (named(&mut names, ".symtab"), named(&mut names, ".strtab"));
    let shstrtab = named(&mut names, ".shstrtab");
    let count = sections.len() as u32 + 4;
    let at = place(&mut content, &table);
    headers.extend(words(&[symtab, 2, 0, 0, at, table.len() as u32, count - 2, 1, 4, 16]));
    let at = place(&mut content, &strings);
    headers.extend(words(&[strtab, 3, 0, 0, at, strings.len() as u32, 0, 0, 1, 0]));
    let at = place(&mut content, &names);
    headers.extend(words(&[shstrtab, 3, 0, 0, at, names.len() as u32, 0, 0, 1, 0]));
    let headers_at = place(&mut content, &headers);
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend(words(&[2 | u32::from(machine) << 16, 1, entry, 0, headers_at, 0]));
    elf.extend(words(&[52 | 32 << 16, 40 << 16, count | (count - 1) << 16]));
    elf.extend(content);
    elf
}

/// Returns the output of esptool's `image-info` for an image for `chip`.
pub fn esptool_info(dir: &Path, chip: &str, image: &[u8]) -> String {
    let file = dir.join("judged.bin");
    std::fs::write(&file, image).expect("write the image");
    let said = esptool().args(["--chip", chip, "image-info"]).arg(&file).output();
    let said = said.expect("run esptool");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).into_owned()
}
