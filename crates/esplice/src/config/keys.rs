//! The table of settings: from it come the keys of `esplice.toml`, the environment variables, the flags'
//! names and the documented defaults.

/// What a key's value has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Switch,
    Number,
    List,
    /// A text, or a list of texts; one text in the environment, as it may hold commas.
    Texts,
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    /// The flag that stands over it, in commands that have one.
    pub flag: &'static str,
    pub meaning: &'static str,
}

impl Key {
    /// The environment variables that set it: by section and key, and by its flag. One where both are
    /// the same.
    pub fn variables(&self) -> Vec<String> {
        let variable =
            |name: &str| format!("ESPLICE_{name}").replace('-', "_").to_ascii_uppercase();
        let mut names = vec![variable(&format!("{}-{}", self.section, self.name))];
        let by_flag = variable(self.flag.trim_start_matches("--"));
        if by_flag != names[0] {
            names.push(by_flag);
        }
        names
    }
}

/// A key whose flag is called as it is, or otherwise.
macro_rules! key {
    ($section:literal, $name:literal, $kind:expr, $meaning:literal) => {
        key!($section, $name, $kind, $meaning, concat!("--", $name))
    };
    ($section:literal, $name:literal, $kind:expr, $meaning:literal, $flag:expr) => {
        Key { section: $section, name: $name, kind: $kind, flag: $flag, meaning: $meaning }
    };
}

/// Every setting there is.
pub const KEYS: &[Key] = &[
    key!("project", "target-file", Kind::Text, "file of a chip or board of one's own"),
    key!("project", "target", Kind::Text, "chip or board the firmware is for"),
    key!("project", "port", Kind::Text, "port of the board, or the name of a [ports.NAME]"),
    key!("build", "package", Kind::Text, "cargo package"),
    key!("build", "bin", Kind::Text, "binary of the package"),
    key!("build", "example", Kind::Text, "example to build instead of a binary"),
    key!("build", "features", Kind::List, "cargo features in addition to the chip's own"),
    key!("build", "no-default-features", Kind::Switch, "leave the default features out"),
    key!("build", "profile", Kind::Text, "cargo profile"),
    key!("build", "tags", Kind::List, "Go build tags in addition to esplice and the chip's name"),
    key!("build", "tinygo-target", Kind::Text, "TinyGo's name of the board"),
    key!("build", "ldflags", Kind::Text, "flags of Go's linker, such as -X main.version=1.2"),
    key!("build", "opt", Kind::Text, "TinyGo's optimisation: 0, 1, 2, s or z"),
    key!("build", "gc", Kind::Text, "TinyGo's garbage collector"),
    key!("build", "scheduler", Kind::Text, "TinyGo's scheduler"),
    key!("build", "serial", Kind::Text, "TinyGo's console: uart, usb or none"),
    key!("build", "panic", Kind::Text, "what a panic in Go does: print or trap"),
    key!("build", "stack-size", Kind::Text, "stack of a goroutine, such as 4K"),
    key!("build", "link-args", Kind::List, "more arguments for the linker"),
    key!("build", "output", Kind::Text, "where the image is written"),
    key!("image", "boot", Kind::Text, "how the chip comes to the firmware: idf, rom or direct"),
    key!("image", "partition-table", Kind::Text, "partition table, as CSV or binary"),
    key!("image", "partition-table-offset", Kind::Text, "where the partition table is in flash"),
    key!("image", "bootloader", Kind::Text, "second-stage bootloader of your own"),
    key!("image", "flash-mode", Kind::Text, "how the flash chip is read"),
    key!("image", "flash-freq", Kind::Text, "the flash chip's clock"),
    key!("image", "flash-size", Kind::Text, "the flash chip's size"),
    key!("image", "min-rev", Kind::Text, "oldest chip revision that the firmware runs on"),
    key!("image", "max-rev", Kind::Text, "newest chip revision that the firmware runs on"),
    key!("image", "mmu-page-size", Kind::Text, "page of the flash's MMU"),
    key!("image", "secure-pad", Kind::Text, "filling for a signature: v1 or v2"),
    key!(
        "image",
        "source",
        Kind::Text,
        "what of the ELF is taken: sections, segments or auto",
        "--image-source"
    ),
    key!("flash", "baud", Kind::Number, "baud rate of the transfer"),
    key!("flash", "stub", Kind::Text, "flasher stub: a file, none, or auto for esptool's"),
    key!("flash", "reset", Kind::Text, "how the board is brought into download mode"),
    key!("flash", "full", Kind::Switch, "write also what the board holds already"),
    key!("flash", "with-bootloader", Kind::Switch, "write bootloader and partition table too"),
    key!("flash", "partition", Kind::Text, "partition that the app goes to"),
    key!("monitor", "baud", Kind::Number, "baud rate of the firmware's output", "--monitor-baud"),
    key!("monitor", "expect", Kind::Texts, "output to wait for, several in order"),
    key!("monitor", "timeout", Kind::Text, "how long to wait for it"),
    key!("monitor", "rom", Kind::Text, "ELF of the chip's mask ROM, or a directory of such"),
];

/// Keys of a `[ports.NAME]`.
pub const PORT_KEYS: &[&str] = &["port"];
