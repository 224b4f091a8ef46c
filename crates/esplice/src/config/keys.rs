//! The table of settings.
//!
//! The keys of `esplice.toml`, the environment variables, the names of the flags and the table in the
//! reference all come from it. What is not in the table is refused, with the nearest known name.

/// The kind of value that a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Switch,
    Number,
    List,
    /// A text or a list of texts; one text in the environment, as it may hold commas.
    Texts,
}

impl Kind {
    /// Returns the kind's name in the reference.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Switch => "true or false",
            Kind::Number => "number",
            Kind::List => "list of texts",
            Kind::Texts => "text or list of texts",
        }
    }
}

/// A setting.
#[derive(Debug)]
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    /// The flag that overrides it, in commands that have one; empty where there is none.
    pub flag: &'static str,
    /// The value where nothing sets it, in words; empty where there is none.
    pub default: &'static str,
    pub meaning: &'static str,
}

impl Key {
    /// Returns the environment variables that set it: one for section and key, and one for its flag,
    /// or its name, where that differs.
    pub fn variables(&self) -> Vec<String> {
        let variable =
            |name: &str| format!("ESPLICE_{name}").replace('-', "_").to_ascii_uppercase();
        let mut names = vec![variable(&format!("{}-{}", self.section, self.name))];
        let flag = self.flag.trim_start_matches("--");
        let by_flag = variable(if flag.is_empty() { self.name } else { flag });
        if by_flag != names[0] {
            names.push(by_flag);
        }
        names
    }
}

/// A key whose flag has the same name, or another one.
macro_rules! key {
    ($section:literal, $name:literal, $kind:ident, $default:literal, $meaning:literal) => {
        key!($section, $name, $kind, $default, $meaning, concat!("--", $name))
    };
    ($section:literal, $name:literal, $kind:ident, $default:literal, $meaning:literal, $flag:expr) => {
        Key {
            section: $section,
            name: $name,
            kind: Kind::$kind,
            flag: $flag,
            default: $default,
            meaning: $meaning,
        }
    };
}

/// All settings, in the order in which they are resolved.
pub const KEYS: &[Key] = &[
    key!("project", "target-file", Text, "", "file of a custom chip or board"),
    key!("project", "target", Text, "", "chip or board the firmware is for"),
    key!("project", "port", Text, "", "port of the board, or the name of a [ports.NAME]"),
    key!("build", "package", Text, "", "cargo package"),
    key!("build", "bin", Text, "", "binary of the package"),
    key!("build", "example", Text, "", "example to build instead of a binary"),
    key!("build", "features", List, "", "cargo features in addition to the chip's own"),
    key!("build", "no-default-features", Switch, "false", "leave the default features out"),
    key!("build", "profile", Text, "release", "cargo profile"),
    key!("build", "tags", List, "", "Go build tags in addition to esplice and the chip's name"),
    key!("build", "tinygo-target", Text, "the board's or the chip's", "TinyGo's name of the board"),
    key!("build", "ldflags", Text, "", "flags for Go's linker, such as -X main.version=1.2"),
    key!("build", "opt", Text, "TinyGo's", "TinyGo's optimisation: 0, 1, 2, s or z"),
    key!("build", "gc", Text, "TinyGo's", "TinyGo's garbage collector"),
    key!("build", "scheduler", Text, "TinyGo's", "TinyGo's scheduler"),
    key!("build", "serial", Text, "TinyGo's", "TinyGo's console: uart, usb or none"),
    key!("build", "panic", Text, "TinyGo's", "what a panic in Go does: print or trap"),
    key!("build", "stack-size", Text, "TinyGo's", "stack of a goroutine, such as 4K"),
    key!("build", "link-args", List, "", "more arguments for the linker", ""),
    key!("build", "output", Text, "", "file to write the image to"),
    key!("image", "boot", Text, "idf, or as the ELF requires", "boot method: idf, rom or direct"),
    key!(
        "image",
        "partition-table",
        Text,
        "nvs, phy_init and factory",
        "partition table, as CSV or binary"
    ),
    key!(
        "image",
        "partition-table-offset",
        Text,
        "the chip's, often 0x8000",
        "offset of the partition table in flash"
    ),
    key!(
        "image",
        "bootloader",
        Text,
        "the one that esplice brings",
        "custom second-stage bootloader"
    ),
    key!(
        "image",
        "flash-mode",
        Text,
        "the board's or the chip's",
        "flash mode: qio, qout, dio or dout"
    ),
    key!("image", "flash-freq", Text, "the board's or the chip's", "flash clock"),
    key!("image", "flash-size", Text, "the board's or the chip's", "flash size"),
    key!("image", "min-rev", Text, "0.0", "oldest chip revision that the firmware supports"),
    key!("image", "max-rev", Text, "", "newest chip revision that the firmware supports"),
    key!("image", "mmu-page-size", Text, "the chip's", "page size of the flash MMU"),
    key!("image", "secure-pad", Text, "", "padding for a signature: v1 or v2"),
    key!(
        "image",
        "source",
        Text,
        "auto",
        "what the image is made from: the ELF's sections, its segments or auto",
        "--image-source"
    ),
    key!("flash", "baud", Number, "921600", "baud rate of the transfer"),
    key!("flash", "stub", Text, "auto", "flasher stub: a file, none, or auto for esplice's own"),
    key!(
        "flash",
        "reset",
        Text,
        "the port's usual ones",
        "how to reset the board into download mode"
    ),
    key!("flash", "full", Switch, "false", "write also what the flash holds already"),
    key!(
        "flash",
        "with-bootloader",
        Switch,
        "false",
        "write the bootloader and the partition table as well"
    ),
    key!(
        "flash",
        "partition",
        Text,
        "that which otadata selects, else factory, else ota_0",
        "partition that the app is written to"
    ),
    key!(
        "monitor",
        "baud",
        Number,
        "the chip's, often 115200",
        "baud rate of the firmware's output",
        "--monitor-baud"
    ),
    key!("monitor", "expect", Texts, "", "output to wait for, several in order"),
    key!("monitor", "timeout", Text, "10s with expect", "how long to wait for it"),
    key!("monitor", "rom", Text, "", "ELF of the chip's mask ROM, or a directory of these"),
    key!("size", "flash", Text, "", "flash that the program may take, such as 900K", "--max-flash"),
    key!("size", "ram", Text, "", "RAM that the program may take, such as 200K", "--max-ram"),
];

/// Keys of a `[ports.NAME]` section.
pub const PORT_KEYS: &[&str] = &["port"];
