//! Flags that several commands share, in groups.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use esplice_image::{BootLayout, ImageSource, SecurePad};
use esplice_monitor::{Addresses, Filter};

use crate::cli::{stub_choice::StubChoice, value, value::ResetChoice};

/// What to build, flash or run.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceArgs {
    /// Cargo project, Go package, ELF or image, told apart by content [default: .]
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Source of the firmware: a cargo project's or Go package's directory, a .go file, or the main
    /// file of a cargo binary or example
    #[arg(long, value_name = "PATH", visible_alias = "manifest-path", conflicts_with_all = ["path", "elf"])]
    pub main: Option<PathBuf>,
    /// ELF that is compiled already
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    pub elf: Option<PathBuf>,
}

impl SourceArgs {
    /// The directory whose `esplice.toml` is asked.
    pub fn directory(&self) -> PathBuf {
        let path = self.main.as_deref().or(self.path.as_deref());
        match path {
            Some(path) if path.is_dir() => path.to_owned(),
            Some(path) if is_source(path) => match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            },
            // What is compiled already may lie anywhere; the user stands in the project.
            _ => PathBuf::from("."),
        }
    }
}

/// Whether the file at `path` is a project's, whose settings hold.
fn is_source(path: &Path) -> bool {
    let is_go = path.extension().is_some_and(|extension| extension == "go");
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    is_go || is_rust || path.file_name().is_some_and(|name| name == "Cargo.toml")
}

/// The chip or board.
#[derive(Debug, Clone, Default, Args)]
pub struct TargetArgs {
    /// Chip or board the firmware is for, such as esp32c3 or xiao-esp32c3
    #[arg(long, value_name = "NAME", visible_alias = "chip")]
    pub target: Option<String>,
    /// File of a chip or board that esplice does not bring, known beside the others
    #[arg(long, value_name = "FILE")]
    pub target_file: Option<PathBuf>,
}

/// What firmware is made of, and how: `build`, `flash` and `run` take the same.
#[derive(Debug, Clone, Default, Args)]
pub struct FirmwareArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub cargo: CargoArgs,
    #[command(flatten)]
    pub go: GoArgs,
    #[command(flatten)]
    pub image: ImageArgs,
}

/// What cargo is told.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Compiling")]
pub struct CargoArgs {
    /// Cargo package, where the project has several
    #[arg(long, short = 'p', value_name = "NAME")]
    pub package: Option<String>,
    /// Binary, where the package has several
    #[arg(long, value_name = "NAME", conflicts_with = "example")]
    pub bin: Option<String>,
    /// Example to build instead of a binary
    #[arg(long, value_name = "NAME")]
    pub example: Option<String>,
    /// Cargo features to enable in addition to the chip's own
    #[arg(long, short = 'F', value_name = "NAMES", value_delimiter = ',')]
    pub features: Option<Vec<String>>,
    /// Enable all features of the package
    #[arg(long)]
    pub all_features: bool,
    /// Leave the package's default features out
    #[arg(long)]
    pub no_default_features: bool,
    /// Cargo profile [default: release]
    #[arg(long, value_name = "NAME", conflicts_with = "release")]
    pub profile: Option<String>,
    /// Build with the profile release
    #[arg(long, short = 'r')]
    pub release: bool,
    /// Directory that cargo builds in [default: the project's]
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    /// Refuse to change Cargo.lock
    #[arg(long)]
    pub locked: bool,
    /// Build without the network
    #[arg(long)]
    pub offline: bool,
    /// The same as --locked and --offline together
    #[arg(long)]
    pub frozen: bool,
    /// Link so that what has not changed stays where the last link put it
    #[arg(long)]
    pub stable: bool,
    /// The same, laid out anew once
    #[arg(long)]
    pub fresh: bool,
}

impl CargoArgs {
    /// The flags that were given, which only a cargo project has a use for.
    pub fn given(&self) -> Vec<&'static str> {
        let flags = [
            ("--package", self.package.is_some()),
            ("--bin", self.bin.is_some()),
            ("--example", self.example.is_some()),
            ("--features", self.features.is_some()),
            ("--all-features", self.all_features),
            ("--no-default-features", self.no_default_features),
            ("--profile", self.profile.is_some()),
            ("--release", self.release),
            ("--target-dir", self.target_dir.is_some()),
            ("--locked", self.locked),
            ("--offline", self.offline),
            ("--frozen", self.frozen),
            ("--stable", self.stable),
            ("--fresh", self.fresh),
        ];
        flags.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag).collect()
    }
}

/// What TinyGo is told.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Compiling Go")]
pub struct GoArgs {
    /// Go build tags in addition to esplice and the chip's name
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    pub tags: Option<Vec<String>>,
    /// TinyGo's name of the board, or a target file [default: the chip's]
    #[arg(long, value_name = "TARGET")]
    pub tinygo_target: Option<String>,
    /// Flags of Go's linker, such as "-X main.version=1.2"
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    pub ldflags: Option<String>,
    /// Optimisation: 0, 1, 2, s or z
    #[arg(long, value_name = "LEVEL")]
    pub opt: Option<String>,
    /// Garbage collector, such as conservative or leaking
    #[arg(long, value_name = "NAME")]
    pub gc: Option<String>,
    /// Scheduler, such as tasks or none
    #[arg(long, value_name = "NAME")]
    pub scheduler: Option<String>,
    /// Console: uart, usb or none
    #[arg(long, value_name = "NAME")]
    pub serial: Option<String>,
    /// What a panic does: print or trap
    #[arg(long, value_name = "NAME")]
    pub panic: Option<String>,
    /// Stack of a goroutine, such as 4K
    #[arg(long, value_name = "SIZE", value_parser = value::bytes)]
    pub stack_size: Option<u32>,
}

impl GoArgs {
    /// The flags that were given, which only a Go package has a use for.
    pub fn given(&self) -> Vec<&'static str> {
        let flags = [
            ("--tags", self.tags.is_some()),
            ("--tinygo-target", self.tinygo_target.is_some()),
            ("--ldflags", self.ldflags.is_some()),
            ("--opt", self.opt.is_some()),
            ("--gc", self.gc.is_some()),
            ("--scheduler", self.scheduler.is_some()),
            ("--serial", self.serial.is_some()),
            ("--panic", self.panic.is_some()),
            ("--stack-size", self.stack_size.is_some()),
        ];
        flags.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag).collect()
    }
}

/// How flash is told to be in the image.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Image")]
pub struct ImageArgs {
    /// How the chip comes to the firmware: idf, by a second-stage bootloader, rom, or direct, in
    /// place and without header [default: rom for Go, else idf]
    #[arg(long, value_name = "LAYOUT", value_parser = value::boot)]
    pub boot: Option<BootLayout>,
    /// Partition table, as CSV or binary; it replaces another one on the board [default: one that
    /// fills the flash, for boards without a table]
    #[arg(long, value_name = "FILE")]
    pub partition_table: Option<PathBuf>,
    #[command(flatten)]
    pub table: TableOffsetArgs,
    /// Second-stage bootloader; it replaces another one on the board [default: a built-in one, for
    /// boards without a bootloader]
    #[arg(long, value_name = "FILE")]
    pub bootloader: Option<PathBuf>,
    /// How the flash chip is read: qio, qout, dio or dout [default: the chip's]
    #[arg(long, value_name = "MODE")]
    pub flash_mode: Option<String>,
    /// The flash chip's clock, such as 80m [default: the chip's]
    #[arg(long, value_name = "FREQ")]
    pub flash_freq: Option<String>,
    /// The flash chip's size, such as 4MB [default: the chip's]
    #[arg(long, value_name = "SIZE")]
    pub flash_size: Option<String>,
    /// Oldest chip revision that the firmware runs on, such as 0.3 [default: 0.0]
    #[arg(long, value_name = "REVISION", value_parser = value::revision)]
    pub min_rev: Option<u16>,
    /// Newest chip revision that the firmware runs on, such as 1.99 [default: any]
    #[arg(long, value_name = "REVISION", value_parser = value::revision)]
    pub max_rev: Option<u16>,
    /// Page of the flash's MMU, such as 16K, on chips that have several [default: the app
    /// descriptor's]
    #[arg(long, value_name = "SIZE", value_parser = value::offset)]
    pub mmu_page_size: Option<u32>,
    /// Fill the image up for a signature: v1 for Secure Boot v1, v2 for Secure Boot v2
    #[arg(long, value_name = "VERSION", value_parser = value::secure_pad)]
    pub secure_pad: Option<SecurePad>,
    /// What of the ELF is taken: sections, segments, or auto, whichever fit [default: auto]
    #[arg(long, value_name = "WHAT", value_parser = value::image_source)]
    pub image_source: Option<ImageSource>,
}

/// Where the partition table is.
#[derive(Debug, Clone, Default, Args)]
pub struct TableOffsetArgs {
    /// Where the partition table is in flash, such as 0x10000 [default: where the board has it, else
    /// 0x8000]
    #[arg(long, value_name = "OFFSET", value_parser = value::offset)]
    pub partition_table_offset: Option<u32>,
}

/// The board.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Port")]
pub struct PortArgs {
    /// Serial port, pty, rfc2217://HOST:PORT, tcp://HOST:PORT or sim:CHIP[,flash=FILE] [default: the
    /// only likely one, of USB]
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
    /// How the board is brought into download mode: tight, classic, classic-slow, usb-serial-jtag, watchdog, none
    /// (it is there already), several with commas in between, or custom: with steps such as
    /// D0|R1|W0.1|D1|R0|W0.05|D0 [default: by the chip and the adapter]
    #[arg(long, value_name = "STRATEGY", value_parser = value::reset)]
    pub reset: Option<ResetChoice>,
}

/// A board that is worked with, without firmware.
#[derive(Debug, Clone, Default, Args)]
pub struct BoardArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub port: PortArgs,
    #[command(flatten)]
    pub table: TableOffsetArgs,
    /// Baud rate of the transfer [default: the last that worked with the adapter, else 921600]
    #[arg(long, value_name = "RATE", value_parser = value::baud, help_heading = "Port")]
    pub baud: Option<u32>,
    /// Flasher stub: a file, none, or auto, that of an installed esptool [default: auto]
    #[arg(long, value_name = "FILE", value_parser = StubChoice::parse, help_heading = "Port")]
    pub stub: Option<StubChoice>,
    /// Leave the board in download mode afterwards, instead of running what is in its flash
    #[arg(long, help_heading = "Port")]
    pub stay: bool,
}

/// How flash is written.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Flashing")]
pub struct FlashArgs {
    /// Baud rate of the transfer [default: the last that worked with the adapter, else 921600]
    #[arg(long, value_name = "RATE", value_parser = value::baud)]
    pub baud: Option<u32>,
    /// Flasher stub: a file, none, or auto, that of an installed esptool [default: auto]
    #[arg(long, value_name = "FILE", value_parser = StubChoice::parse)]
    pub stub: Option<StubChoice>,
    /// Write all of it, also what the board holds already
    #[arg(long)]
    pub full: bool,
    /// Write bootloader and partition table even where the board has them
    #[arg(long)]
    pub with_bootloader: bool,
    /// Partition that the app goes to [default: chosen by the board's table]
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,
    /// Offset in flash that the image goes to, such as 0x10000
    #[arg(long, value_name = "OFFSET", value_parser = value::offset, conflicts_with = "partition")]
    pub offset: Option<u32>,
}

/// What is known of the firmware that runs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct DecodeArgs {
    /// ELF of the firmware that runs, for the functions and lines of its panics
    #[arg(long, value_name = "FILE")]
    pub elf: Option<PathBuf>,
}

/// What the board is to say.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct WatchArgs {
    /// Output to wait for, with escapes such as \r\n, or a /regular expression/; several are waited
    /// for in order
    #[arg(long, value_name = "TEXT")]
    pub expect: Vec<String>,
    /// Output that must not come, written likewise; any of several ends the command
    #[arg(long, value_name = "TEXT")]
    pub reject: Vec<String>,
    /// File of steps: what to expect, send, wait for and reset, in order
    #[arg(long, value_name = "FILE", conflicts_with = "expect")]
    pub script: Option<PathBuf>,
    /// The board has to tell of its tests; what else it says is shown of those that failed
    #[arg(long, conflicts_with_all = ["expect", "script"])]
    pub tests: bool,
    /// Show all that the board says while it runs tests
    #[arg(long, alias = "no-capture")]
    pub nocapture: bool,
    /// How long to wait, from the release of reset and in the port's time [default: 10s with
    /// --expect, 10s for each step of a script, 60s for each test, else without end]
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    pub timeout: Option<Duration>,
    /// Baud rate of the firmware's output [default: the chip's]
    #[arg(long, value_name = "RATE", value_parser = value::baud)]
    pub monitor_baud: Option<u32>,
    /// ELF of the chip's mask ROM, or a directory of ROMs' ELFs, for the ROM's functions in panics
    #[arg(long, value_name = "PATH")]
    pub rom: Option<PathBuf>,
    /// Pass terminal escape sequences of the board on, and look for texts in its raw bytes
    #[arg(long)]
    pub raw: bool,
    /// Addresses outside of panics to decode: reports, those of known reports and of backtraces, all,
    /// those in any line, or none [default: reports]
    #[arg(long, value_name = "WHICH", value_parser = value::addresses)]
    pub decode: Option<Addresses>,
    /// Let the firmware reset itself as often as it likes: that is no boot loop
    #[arg(long)]
    pub allow_resets: bool,
    /// Show lines of the log of these levels alone, such as warn,wifi=debug
    #[arg(long, value_name = "RULES", value_parser = value::filter)]
    pub filter: Option<Filter>,
    /// Begin each line with its time since the release of reset
    #[arg(long)]
    pub timestamps: bool,
    /// Write all that comes to a file, byte by byte
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Write a report as JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a report as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Wait for a port that goes away, also where something is expected
    #[arg(long)]
    pub reconnect: bool,
    /// Parts of the names of tests that count, of those that the board runs: cargo test's arguments
    #[arg(long, value_name = "TEXT", hide = true, allow_hyphen_values = true)]
    pub test_filter: Vec<String>,
    /// Parts of the names of tests that do not count
    #[arg(long, value_name = "TEXT", hide = true, allow_hyphen_values = true)]
    pub test_skip: Vec<String>,
    /// Both are whole names
    #[arg(long, hide = true)]
    pub test_exact: bool,
    /// List the names of the board's tests
    #[arg(long, hide = true)]
    pub test_list: bool,
}
