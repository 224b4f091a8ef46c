//! Commands of other tools that esplice does not have, and their replacements.

/// A command, the tool it belongs to, and the advice.
type Answer = (&'static str, &'static str, &'static str);

/// Known commands. Looked up only if esplice has no command of the name.
#[rustfmt::skip]
const ANSWERS: &[Answer] = &[
    ("hold-in-reset", "espflash", "`esplice reset --download` keeps the program from running, in download mode"),
    ("completions", "espflash", "`esplice help` lists the commands"),
    ("partition-table", "espflash", "`esplice partition convert` converts a table between CSV and binary, `esplice partition show` prints one"),
    ("read-mem", "esptool", "esplice reads only flash: `esplice read`"),
    ("dump-mem", "esptool", "esplice reads only flash: `esplice read`"),
    ("write-mem", "esptool", "`esplice load` writes a whole program into RAM and starts it"),
    ("read-flash-status", "esptool", "`esplice detect` shows the flash chip's id and size"),
    ("write-flash-status", "esptool", "esplice does not write the flash chip's status"),
    ("read-flash-sfdp", "esptool", "`esplice detect` shows the flash chip's id and size"),
    ("verify-sdc-certificate", "esptool", "`esplice detect` shows the chip's security state"),
    ("read-sdc-chip-info", "esptool", "`esplice detect` shows the chip's security state"),
    ("make-image", "esptool", "`esplice build` makes an image of an ELF"),
    ("sign-data", "espsecure", "esplice does not sign images; --secure-pad makes room for a signature"),
    ("burn-efuse", "espefuse", "esplice does not burn eFuses"),
    ("burn-key", "espefuse", "esplice does not burn eFuses"),
    ("summary", "espefuse", "`esplice detect` shows the facts of chip and security in the fuses"),
    ("set-target", "idf.py", "name the chip with --target, or as target in [project] of esplice.toml"),
    ("menuconfig", "idf.py", "settings are in esplice.toml: `esplice config` lists them"),
    ("reconfigure", "idf.py", "settings are in esplice.toml: `esplice config` lists them"),
    ("save-defconfig", "idf.py", "settings are in esplice.toml: `esplice config` lists them"),
    ("clean", "idf.py", "`cargo clean` removes build outputs"),
    ("fullclean", "idf.py", "`cargo clean` removes build outputs"),
    ("all", "idf.py", "`esplice build` builds the firmware"),
    ("app", "idf.py", "`esplice build` builds the firmware"),
    ("bootloader", "idf.py", "`esplice build` includes a bootloader in NAME.merged.bin"),
    ("bootloader-flash", "idf.py", "`esplice flash --with-bootloader` writes bootloader and partition table too"),
    ("partition-table-flash", "idf.py", "`esplice flash --with-bootloader` writes bootloader and partition table too"),
    ("encrypted-flash", "idf.py", "esplice does not write encrypted flash"),
    ("erase-otadata", "idf.py", "`esplice erase --partition otadata` erases it"),
    ("read-otadata", "idf.py", "`esplice read --partition otadata otadata.bin` reads it"),
    ("size-components", "idf.py", "`esplice layout show ELF` shows the memory map"),
    ("size-files", "idf.py", "`esplice layout show ELF` shows the memory map"),
    ("size", "idf.py", "`esplice layout show ELF` shows the memory map"),
    ("coredump-info", "idf.py", "`esplice monitor --elf ELF` decodes a core dump as it arrives"),
    ("coredump-debug", "idf.py", "`esplice monitor --elf ELF` decodes a core dump as it arrives"),
    ("uf2", "idf.py", "`esplice image merge -o all.uf2 OFFSET FILE …` makes one"),
    ("create-project", "idf.py", "`cargo new`, or esp-generate for a project set up for a chip"),
    ("qemu", "idf.py", "`esplice run --port sim:esp32c3` runs the firmware on a virtual board"),
    ("openocd", "idf.py", "esplice does not start a debugger"),
    ("gdb", "idf.py", "esplice does not start a debugger"),
    ("gdbtui", "idf.py", "esplice does not start a debugger"),
    ("targets", "TinyGo", "`esplice chips` and `esplice boards` list them"),
    ("upload", "Arduino and PlatformIO", "`esplice flash` writes firmware to a board"),
    ("compile", "Arduino", "`esplice build` builds the firmware"),
    ("board", "Arduino", "`esplice ports` lists the boards that are connected, `esplice boards` those that are known"),
    ("device", "PlatformIO", "`esplice ports` lists the boards that are connected, `esplice monitor` shows a board's output"),
];

/// Returns the tool that a command belongs to, and the advice.
pub fn answer(command: &str) -> Option<(&'static str, &'static str)> {
    let found = ANSWERS.iter().find(|(name, ..)| *name == command);
    found.map(|(_, tool, advice)| (*tool, *advice))
}
