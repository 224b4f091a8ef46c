//! C programs for Xtensa chips, compiled and linked in the test: real code and real linker scripts,
//! compared with esptool. The compiler is Debian's for the LX106, whose instructions the LX6 and
//! LX7 also have. The test fails if it is missing.

use std::sync::Arc;
use std::{path::Path, process::Command};

use crate::support::{Job, esptool_images};
use esplice_chip::{Chip, ChipDb, RegionKind};
use esplice_image::{ImageOptions, ImageSource, build_image, inspect};

const COMPILER: &str = "xtensa-lx106-elf-gcc";

/// A program with code in flash and in RAM, constants, data, zero-initialised data, and a
/// descriptor.
const PROGRAM: &str = r#"
typedef unsigned int u32;
static const u32 table[64] = { 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144 };
static const char words[] = "words of an odd length";
volatile u32 counter = 7;
volatile u32 zeros[128];
__attribute__((section(".appdesc"), used))
static const u32 descriptor[64] = { 0xabcd5432, 0, [44] = 0xffff0000 };
__attribute__((section(".fast"), noinline)) u32 fast(u32 n) { return n * counter; }
__attribute__((noinline)) static u32 slow(u32 n) {
    for (u32 i = 0; i < n; i++) zeros[i & 127] += table[i & 63] + words[i & 15];
    return zeros[n & 127];
}
void start(void) { for (;;) counter = fast(slow(counter)); }
"#;

/// Returns a linker script with sections in a chip's regions.
fn script(chip: &Chip) -> String {
    let region = |kind, execute| {
        let mut regions = chip.regions.iter();
        regions.find(|r| r.kind == kind && r.access.execute == execute).expect("a region")
    };
    let (iram, dram) = (region(RegionKind::Ram, true), region(RegionKind::Ram, false));
    let (irom, drom) = (region(RegionKind::Flash, true), region(RegionKind::Flash, false));
    let page = chip.image.mmu_page_sizes[0];
    format!(
        "ENTRY(start)\n\
         MEMORY {{\n\
         iram (rx): ORIGIN = {:#x}, LENGTH = {:#x}\n\
         dram (rw): ORIGIN = {:#x}, LENGTH = {:#x}\n\
         irom (rx): ORIGIN = {:#x}, LENGTH = {:#x}\n\
         drom (r): ORIGIN = {:#x}, LENGTH = {:#x}\n\
         }}\n\
         SECTIONS {{\n\
         .flash.appdesc : {{ KEEP(*(.appdesc)) }} > drom\n\
         .flash.rodata : {{ *(.rodata .rodata.*) }} > drom\n\
         .flash.text : {{ *(.literal .text .literal.* .text.*) }} > irom\n\
         .iram.text : {{ *(.fast.literal .fast) }} > iram\n\
         .dram.data : {{ *(.data .data.*) }} > dram\n\
         .dram.bss (NOLOAD) : {{ *(.bss .bss.* COMMON) }} > dram\n\
         /DISCARD/ : {{ *(.xtensa.info .comment) }}\n\
         }}\n",
        iram.addr.0 + 0x8000,
        iram.len - 0x8000,
        dram.addr.0 + 0x1_0000,
        dram.len - 0x1_0000,
        irom.addr.0 + page + 0x20,
        irom.len - page - 0x20,
        drom.addr.0 + 0x20,
        drom.len - 0x20,
    )
}

fn compile(chip: &Chip, dir: &Path, optimise: &str) -> Vec<u8> {
    let (source, scripted, elf) = (dir.join("main.c"), dir.join("link.ld"), dir.join("main.elf"));
    std::fs::write(&source, PROGRAM).expect("write the program");
    std::fs::write(&scripted, script(chip)).expect("write the script");
    let output = Command::new(COMPILER)
        .args([optimise, "-mlongcalls", "-nostdlib", "-ffreestanding", "-Wl,--no-check-sections"])
        .arg("-T")
        .args([&scripted, &source])
        .arg("-o")
        .arg(&elf)
        .output()
        .unwrap_or_else(|error| {
            panic!("{COMPILER}: {error}\ninstall it with `apt-get install gcc-xtensa-lx106`")
        });
    assert!(output.status.success(), "{}: {output:?}", chip.name);
    std::fs::read(elf).expect("read the ELF")
}

#[test]
fn c_for_xtensa_chips() {
    let xtensa: Vec<&Arc<Chip>> =
        ChipDb::embedded().chips().filter(|chip| chip.isa == "xtensa").collect();
    assert_eq!(xtensa.len(), 3);
    let dir = tempfile::tempdir().expect("directory");
    let mut elfs = Vec::new();
    for chip in xtensa {
        for optimise in ["-Os", "-O2"] {
            let elf = compile(chip, dir.path(), optimise);
            elfs.extend(
                [ImageSource::Sections, ImageSource::ProgramHeaders]
                    .map(|source| (chip, ImageOptions::for_chip(chip).source(source), elf.clone())),
            );
        }
    }
    let jobs: Vec<Job> = elfs
        .iter()
        .map(|(chip, options, elf)| {
            let freq = &options.flash.freq;
            let spelt = ["elf2image", "--flash-mode", "dio", "--flash-size", "4MB", "--flash-freq"];
            let mut args: Vec<String> = vec!["--chip".into(), chip.name.clone()];
            args.extend(spelt.map(str::to_owned));
            args.push(freq.clone());
            if options.source == ImageSource::ProgramHeaders {
                args.push("--use-segments".into());
            }
            Job { elf, args }
        })
        .collect();
    for ((chip, options, elf), theirs) in elfs.iter().zip(esptool_images(dir.path(), &jobs)) {
        let what = format!("{}, {:?}", chip.name, options.source);
        let theirs = theirs.unwrap_or_else(|said| panic!("{what}: esptool rejects it: {said}"));
        let ours = build_image(elf, chip, options).unwrap_or_else(|e| panic!("{what}: {e}"));
        let place = ours.bytes.iter().zip(&theirs).position(|(a, b)| a != b);
        assert_eq!(place, None, "{what}: first difference");
        assert_eq!(ours.bytes.len(), theirs.len(), "{what}");
        assert!(ours.warnings.is_empty(), "{what}: {:?}", ours.warnings);
        let report = inspect(&ours.bytes, ChipDb::embedded());
        assert!(report.is_sound(), "{what}: {report}");
        let regions: Vec<_> = ours.segments.iter().filter_map(|s| s.region.as_deref()).collect();
        for region in ["drom", "irom", "iram", "dram"] {
            assert!(regions.contains(&region), "{what}: nothing in {region}");
        }
    }
}
