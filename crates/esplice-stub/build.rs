//! Makes the chip's constants and the linker script from the chip's data file, if a stub is built.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

use esplice_chip::{Addr, Chip, ChipDb, RegisterWrite, Stub};

/// Bytes reserved for the stub's code, and for its stack.
const CODE: u32 = 0x4900;
/// Bytes of the core, which is uploaded through the ROM loader.
const CORE: u32 = 0x1900;
const STACK: u32 = 0x1000;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=ESPLICE_STUB_CHIP");
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return Ok(());
    }
    let name = env::var("ESPLICE_STUB_CHIP")
        .map_err(|_| "ESPLICE_STUB_CHIP names the chip to build the stub for")?;
    let chip = ChipDb::embedded().find(&name)?;
    let stub = chip.stub.as_ref().ok_or_else(|| format!("{name} has no [stub] in its data"))?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("chip.rs"), constants(chip, stub)?)?;
    let script = Path::new(&out).join("stub.x");
    fs::write(&script, linker_script(chip, stub)?)?;
    println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    Ok(())
}

fn constants(chip: &Chip, stub: &Stub) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    let mut word = |name: &str, value: u32| writeln!(text, "pub const {name}: u32 = {value:#x};");
    word("CPU_MHZ", stub.cpu_mhz)?;
    word("BOOT_MHZ", chip.boot_cpu_mhz)?;
    word("UART", stub.uart.0)?;
    word("UART_UPDATE", stub.uart_update.map_or(0, |addr| addr.0))?;
    word("USB", stub.usb_serial_jtag.map_or(0, |addr| addr.0))?;
    word("SYSTIMER", stub.systimer.0)?;
    word("SHA", stub.sha.0)?;
    word("ROM_ATTACH", stub.rom_spi_attach.0)?;
    let spi = &chip.spi;
    word("SPI", spi.base.0)?;
    word("SPI_CMD", spi.cmd)?;
    word("SPI_ADDR", spi.addr)?;
    word("SPI_USR", spi.usr)?;
    word("SPI_USR1", spi.usr1)?;
    word("SPI_USR2", spi.usr2)?;
    word("SPI_MOSI_DLEN", spi.mosi_dlen)?;
    word("SPI_MISO_DLEN", spi.miso_dlen)?;
    word("SPI_W0", spi.w0)?;
    let reset = chip.watchdog.reset_writes().ok_or("the chip has no watchdog to reset it")?;
    list(&mut text, "CLOCKS", &stub.clocks)?;
    list(&mut text, "SHA_ON", &stub.sha_on)?;
    list(&mut text, "WATCHDOGS_OFF", &chip.watchdog.stop())?;
    list(&mut text, "RESET", &reset)?;
    // RAM for programs follows the stub's own, at each of its addresses.
    let mut free = Vec::new();
    for start in [stub.data, stub.code] {
        let region = chip.region_at(start).ok_or("the stub is outside the RAM")?;
        let first = start.0.saturating_add(stub.ram).next_multiple_of(16);
        let end = first.saturating_add(stub.program_ram);
        if end > region.addr.0.saturating_add(region.len) {
            return Err("the RAM for programs reaches beyond the chip's".into());
        }
        if !free.contains(&[first, end]) {
            free.push([first, end]);
        }
    }
    writeln!(text, "pub const PROGRAM_RAM: [[u32; 2]; {}] = {free:#x?};", free.len())?;
    Ok(text)
}

fn list(text: &mut String, name: &str, writes: &[RegisterWrite]) -> Result<(), std::fmt::Error> {
    let writes: Vec<[u32; 3]> = writes
        .iter()
        .map(|RegisterWrite { addr: Addr(addr), value, mask }| [*addr, *value, *mask])
        .collect();
    writeln!(text, "pub const {name}: &[[u32; 3]; {}] = &{writes:#x?};", writes.len())
}

/// Code lies where the instruction bus reaches it. Constants follow in the data bus's view of the
/// same memory, then what is zero at the start, then the stack.
fn linker_script(chip: &Chip, stub: &Stub) -> Result<String, Box<dyn Error>> {
    let region = chip.region_at(stub.data).ok_or("the stub's data are outside the RAM")?;
    let code = stub.code.0;
    // Functions by their modules.
    let modules = |names: &[&str]| -> String {
        let pattern = |name: &&str| format!("*(.text._ZN12esplice_stub{}{name}*)", name.len());
        names.iter().map(pattern).collect::<Vec<_>>().join(" ")
    };
    let writer_code = modules(&["lzma", "riscv", "erase", "write", "stream"]);
    let extras_code = modules(&["inflate", "md5", "lz4", "read", "usual"]);
    let (writer, later) = (code + CORE, CODE - CORE);
    let data = stub.data.0 + CODE;
    let ram = stub.ram.checked_sub(CODE).ok_or("the stub's RAM is too short")?;
    if data + ram > region.addr.0 + region.len {
        return Err("the stub does not fit into the RAM".into());
    }
    Ok(format!(
        "ENTRY(_start)
MEMORY {{
    core : ORIGIN = {code:#x}, LENGTH = {CORE:#x}
    later : ORIGIN = {writer:#x}, LENGTH = {later:#x}
    data : ORIGIN = {data:#x}, LENGTH = {ram:#x}
}}
SECTIONS {{
    .writer : {{
        __writer_start = .;
        {writer_code}
        . = ALIGN(4);
        __writer_end = .;
    }} > later
    .extras : {{
        __extras_start = .;
        {extras_code}
        . = ALIGN(4);
        __extras_end = .;
    }} > later
    .text : {{ KEEP(*(.start)) *(.text .text.*) . = ALIGN(4); }} > core
    .data : {{ *(.data.parts) *(.rodata .rodata.*) *(.srodata .srodata.*) *(.data .data.*) *(.sdata .sdata.*) }} > data
    .bss (NOLOAD) : {{
        . = ALIGN(4);
        __bss_start = .;
        *(.bss .bss.*) *(.sbss .sbss.*)
        . = ALIGN(4);
        __bss_end = .;
        . = ALIGN(16);
        . += {STACK:#x};
        __stack_end = .;
    }} > data
    /DISCARD/ : {{ *(.eh_frame) *(.eh_frame_hdr) *(.comment) *(.riscv.attributes) }}
}}
"
    ))
}
