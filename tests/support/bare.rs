//! Firmware without dependencies, which compiles in a second: a cargo package whose program writes
//! a text to the UART0 of an ESP32-C3 and then loops.

use std::{fs, path::Path};

const SCRIPT: &str = "\
ENTRY(_start)
MEMORY { DROM : ORIGIN = 0x3c000020, LENGTH = 0x3fffe0  IROM : ORIGIN = 0x42200020, LENGTH = 0x1effe0
         RAM : ORIGIN = 0x3fc80000, LENGTH = 0x40000 }
SECTIONS {
  .flash.appdesc : { KEEP(*(.flash.appdesc)) } > DROM
  .rodata : ALIGN(4) { *(.rodata .rodata.* .srodata .srodata.*) } > DROM
  .text : { KEEP(*(.init)) *(.text .text.*) } > IROM
  .data : { *(.data .data.* .sdata .sdata.*) } > RAM
  .bss (NOLOAD) : { *(.bss .bss.* .sbss .sbss.*) } > RAM
  /DISCARD/ : { *(.eh_frame) *(.eh_frame_hdr) }
}
";

const BUILD: &str = r#"fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    println!("cargo::rustc-link-arg=-T{directory}/link.x");
    println!("cargo::rerun-if-changed=link.x");
}
"#;

/// The program; TEXT is replaced by the text that it writes.
const MAIN: &str = r#"#![no_std]
#![no_main]

#[repr(C)]
pub struct Descriptor([u32; 64]);

#[unsafe(no_mangle)]
#[unsafe(link_section = ".flash.appdesc")]
pub static DESCRIPTOR: Descriptor = {
    let mut words = [0; 64];
    words[0] = 0xabcd_5432;
    words[44] = 0xffff_0000;
    words[45] = 16;
    Descriptor(words)
};

const WORDS: &str = TEXT;

#[unsafe(no_mangle)]
#[unsafe(link_section = ".init")]
pub unsafe extern "C" fn _start() -> ! {
    unsafe { core::arch::asm!("la sp, 0x3fcb0000", "j {0}", sym talk, options(noreturn)) };
}

extern "C" fn talk() -> ! {
    // As data: unrolled, the text would be in the instructions.
    for byte in core::hint::black_box(WORDS).bytes() {
        unsafe { (0x6000_0000 as *mut u32).write_volatile(byte.into()) };
    }
    loop {}
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
"#;

/// Writes the package `name`, which prints the Rust expression `text`, into `directory`. `more` is
/// appended to its manifest.
pub fn package(directory: &Path, name: &str, text: &str, more: &str) {
    let write = |file: &str, content: &str| {
        let path = directory.join(file);
        fs::create_dir_all(path.parent().expect("the path has a parent"))
            .expect("the disk has space");
        fs::write(path, content).expect("the disk has space");
    };
    let head = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    write("Cargo.toml", &format!("{head}{more}"));
    write("build.rs", BUILD);
    write("link.x", SCRIPT);
    write("src/main.rs", &program(text));
}

/// Returns the program's source.
pub fn program(text: &str) -> String {
    MAIN.replace("TEXT", text)
}
