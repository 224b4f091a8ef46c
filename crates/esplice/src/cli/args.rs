//! Flags that several commands share, in groups.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use esplice_image::{BootLayout, ImageSource, SecurePad};
use esplice_monitor::{Addresses, Filter};

use crate::cli::{complete, stub_choice::StubChoice, value, value::ResetChoice};

/// The source to build, flash or run.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceArgs {
    /// Cargo project, Go package, ELF or image, recognised by its content [default: .]
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Firmware source: directory of a cargo project or Go package, a .go file, or the main file of
    /// a cargo binary or example
    #[arg(long, value_name = "PATH", visible_alias = "manifest-path", conflicts_with_all = ["path", "elf"])]
    pub main: Option<PathBuf>,
    /// ELF that is already compiled
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    pub elf: Option<PathBuf>,
}

impl SourceArgs {
    /// Returns the directory whose `esplice.toml` applies.
    pub fn directory(&self) -> PathBuf {
        let path = self.main.as_deref().or(self.path.as_deref());
        match path {
            Some(path) if path.is_dir() => path.to_owned(),
            Some(path) if is_source(path) => match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            },
            // A compiled file may be anywhere; the project is in the current directory.
            _ => PathBuf::from("."),
        }
    }
}

/// Returns whether the file at `path` is source, so that its project's settings apply.
fn is_source(path: &Path) -> bool {
    let is_go = path.extension().is_some_and(|extension| extension == "go");
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    is_go || is_rust || path.file_name().is_some_and(|name| name == "Cargo.toml")
}

/// The chip or board.
#[derive(Debug, Clone, Default, Args)]
pub struct TargetArgs {
    /// Chip or board the firmware is for, such as esp32c3 or xiao-esp32c3
    #[arg(long, value_name = "NAME", visible_alias = "chip", add = complete::targets())]
    pub target: Option<String>,
    /// File describing a custom chip or board, in addition to the built-in ones
    #[arg(long, value_name = "FILE")]
    pub target_file: Option<PathBuf>,
}

/// Options that define the firmware, shared by `build`, `flash` and `run`.
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

/// Options passed to cargo.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Compiling")]
pub struct CargoArgs {
    /// Cargo package, if the project has several
    #[arg(long, short = 'p', value_name = "NAME")]
    pub package: Option<String>,
    /// Binary, if the package has several
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
    /// Disable the package's default features
    #[arg(long)]
    pub no_default_features: bool,
    /// Cargo profile [default: release]
    #[arg(long, value_name = "NAME", conflicts_with = "release")]
    pub profile: Option<String>,
    /// Build with the release profile
    #[arg(long, short = 'r')]
    pub release: bool,
    /// Directory that cargo builds in [default: the project's]
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    /// Refuse to change Cargo.lock
    #[arg(long)]
    pub locked: bool,
    /// Build without network access
    #[arg(long)]
    pub offline: bool,
    /// Same as --locked and --offline together
    #[arg(long)]
    pub frozen: bool,
    /// Keep unchanged functions and variables where the last link placed them
    #[arg(long)]
    pub stable: bool,
    /// Same as --stable, but lay everything out again this time
    #[arg(long)]
    pub fresh: bool,
}

impl CargoArgs {
    /// Returns the flags that were passed; only a cargo project can use them.
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

/// Options passed to TinyGo.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Compiling Go")]
pub struct GoArgs {
    /// Go build tags in addition to esplice and the chip's name
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    pub tags: Option<Vec<String>>,
    /// TinyGo's name for the board, or a target file [default: the chip's]
    #[arg(long, value_name = "TARGET")]
    pub tinygo_target: Option<String>,
    /// Flags for Go's linker, such as "-X main.version=1.2"
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    pub ldflags: Option<String>,
    /// Optimisation level: 0, 1, 2, s or z
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
    /// Action on panic: print or trap
    #[arg(long, value_name = "NAME")]
    pub panic: Option<String>,
    /// Stack size of a goroutine, such as 4K
    #[arg(long, value_name = "SIZE", value_parser = value::bytes)]
    pub stack_size: Option<u32>,
}

impl GoArgs {
    /// Returns the flags that were passed; only a Go package can use them.
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

/// Options of the flash image.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Image")]
pub struct ImageArgs {
    /// Boot method: idf (second-stage bootloader), rom (ROM loader) or direct (executed in place,
    /// without header) [default: rom for Go, else idf]
    #[arg(long, value_name = "LAYOUT", value_parser = value::boot, add = complete::words(complete::BOOT))]
    pub boot: Option<BootLayout>,
    /// Partition table, as CSV or binary; replaces a different one on the board [default: one that
    /// fills the flash, for boards without a table]
    #[arg(long, value_name = "FILE")]
    pub partition_table: Option<PathBuf>,
    #[command(flatten)]
    pub table: TableOffsetArgs,
    /// Second-stage bootloader; replaces a different one on the board [default: a built-in one, for
    /// boards without a bootloader]
    #[arg(long, value_name = "FILE")]
    pub bootloader: Option<PathBuf>,
    /// Flash read mode: qio, qout, dio or dout [default: the chip's]
    #[arg(long, value_name = "MODE", add = complete::words(complete::FLASH_MODE))]
    pub flash_mode: Option<String>,
    /// Flash clock, such as 80m [default: the chip's]
    #[arg(long, value_name = "FREQ")]
    pub flash_freq: Option<String>,
    /// Flash size, such as 4MB [default: the chip's]
    #[arg(long, value_name = "SIZE")]
    pub flash_size: Option<String>,
    /// Oldest chip revision that the firmware runs on, such as 0.3 [default: 0.0]
    #[arg(long, value_name = "REVISION", value_parser = value::revision)]
    pub min_rev: Option<u16>,
    /// Newest chip revision that the firmware runs on, such as 1.99 [default: any]
    #[arg(long, value_name = "REVISION", value_parser = value::revision)]
    pub max_rev: Option<u16>,
    /// Page size of the flash MMU, such as 16K, on chips that support several [default: the app
    /// descriptor's]
    #[arg(long, value_name = "SIZE", value_parser = value::offset)]
    pub mmu_page_size: Option<u32>,
    /// Pad the image for a signature: v1 for Secure Boot v1, v2 for Secure Boot v2
    #[arg(long, value_name = "VERSION", value_parser = value::secure_pad, add = complete::words(complete::SECURE_PAD))]
    pub secure_pad: Option<SecurePad>,
    /// Parts of the ELF to use: sections, segments, or auto, whichever fit [default: auto]
    #[arg(long, value_name = "WHAT", value_parser = value::image_source, add = complete::words(complete::IMAGE_SOURCE))]
    pub image_source: Option<ImageSource>,
}

/// The partition table's offset.
#[derive(Debug, Clone, Default, Args)]
pub struct TableOffsetArgs {
    /// Offset of the partition table in flash, such as 0x10000 [default: the board's own, else
    /// 0x8000]
    #[arg(long, value_name = "OFFSET", value_parser = value::offset)]
    pub partition_table_offset: Option<u32>,
}

/// The port and the reset strategy.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Port")]
pub struct PortArgs {
    /// Serial port, pty, rfc2217://HOST:PORT, tcp://HOST:PORT or sim:CHIP[,flash=FILE] [default:
    /// the only likely USB port]
    #[arg(long, value_name = "PORT", add = complete::ports())]
    pub port: Option<String>,
    /// How to enter download mode: tight, classic, classic-slow, usb-serial-jtag, watchdog, none
    /// (already there), several separated by commas, or custom: with steps such as
    /// D0|R1|W0.1|D1|R0|W0.05|D0 [default: by chip and adapter]
    #[arg(long, value_name = "STRATEGY", value_parser = value::reset, add = complete::words(complete::RESET))]
    pub reset: Option<ResetChoice>,
}

/// Options of commands that access a board without firmware.
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
    /// Flasher stub: a file, none, or auto for esplice's own [default: auto]
    #[arg(long, value_name = "FILE", value_parser = StubChoice::parse, help_heading = "Port")]
    pub stub: Option<StubChoice>,
    /// Leave the board in download mode afterwards, instead of starting the firmware in its flash
    #[arg(long, help_heading = "Port")]
    pub stay: bool,
}

/// Options of writing flash.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Flashing")]
pub struct FlashArgs {
    /// Baud rate of the transfer [default: the last that worked with the adapter, else 921600]
    #[arg(long, value_name = "RATE", value_parser = value::baud)]
    pub baud: Option<u32>,
    /// Flasher stub: a file, none, or auto for esplice's own [default: auto]
    #[arg(long, value_name = "FILE", value_parser = StubChoice::parse)]
    pub stub: Option<StubChoice>,
    /// Write everything, including what the board already holds
    #[arg(long)]
    pub full: bool,
    /// Write bootloader and partition table even if the board has them
    #[arg(long)]
    pub with_bootloader: bool,
    /// Partition to write the app to [default: chosen by the board's table]
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,
    /// Flash offset to write the image to, such as 0x10000
    #[arg(long, value_name = "OFFSET", value_parser = value::offset, conflicts_with = "partition")]
    pub offset: Option<u32>,
}

/// Budgets of the program's size.
#[derive(Debug, Clone, Default, Args)]
pub struct SizeArgs {
    /// Flash that the program may take, such as 900K; more ends the command with exit code 6
    #[arg(long, value_name = "SIZE", value_parser = value::bytes)]
    pub max_flash: Option<u32>,
    /// RAM that the program may take, such as 200K; more ends the command with exit code 6
    #[arg(long, value_name = "SIZE", value_parser = value::bytes)]
    pub max_ram: Option<u32>,
}

/// The ELF of the running firmware.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct DecodeArgs {
    /// ELF of the running firmware, for functions and lines in its panics
    #[arg(long, value_name = "FILE")]
    pub elf: Option<PathBuf>,
}

/// Options of watching the board's output.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct WatchArgs {
    /// Output to wait for, with escapes such as \r\n, or a /regular expression/; repeat to wait for
    /// several in order
    #[arg(long, value_name = "TEXT")]
    pub expect: Vec<String>,
    /// Output that must not appear, in the same form; any of several ends the command
    #[arg(long, value_name = "TEXT")]
    pub reject: Vec<String>,
    /// Script of steps in order: expect, send, wait and reset
    #[arg(long, value_name = "FILE", conflicts_with = "expect")]
    pub script: Option<PathBuf>,
    /// Expect test results from the board; show other output only for tests that failed
    #[arg(long, conflicts_with_all = ["expect", "script"])]
    pub tests: bool,
    /// Show all of the board's output while it runs tests
    #[arg(long, alias = "no-capture")]
    pub nocapture: bool,
    /// How long to wait from the release of reset, in the port's time [default: 10s with
    /// --expect, 10s for each step of a script, 60s for each test, else no limit]
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    pub timeout: Option<Duration>,
    /// Baud rate of the firmware's output [default: the chip's]
    #[arg(long, value_name = "RATE", value_parser = value::baud)]
    pub monitor_baud: Option<u32>,
    /// ELF of the chip's mask ROM, or a directory of ROM ELFs, for ROM functions in panics
    #[arg(long, value_name = "PATH")]
    pub rom: Option<PathBuf>,
    /// Pass the board's terminal escape sequences through, and match texts in its raw bytes
    #[arg(long)]
    pub raw: bool,
    /// Addresses to decode outside of panics: reports (in known reports and backtraces), all (in
    /// any line), or none [default: reports]
    #[arg(long, value_name = "WHICH", value_parser = value::addresses, add = complete::words(complete::ADDRESSES))]
    pub decode: Option<Addresses>,
    /// Allow the firmware to reset itself any number of times, without reporting a boot loop
    #[arg(long)]
    pub allow_resets: bool,
    /// Show only log lines of these levels, such as warn,wifi=debug
    #[arg(long, value_name = "RULES", value_parser = value::filter)]
    pub filter: Option<Filter>,
    /// Prefix each line with its time since the release of reset
    #[arg(long)]
    pub timestamps: bool,
    /// Write everything received to a file, byte by byte
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Write a report as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a report as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Wait for a port that disappears, even if output is expected
    #[arg(long)]
    pub reconnect: bool,
    /// Parts of the names of tests to count, of those that the board runs, as for cargo test
    #[arg(long, value_name = "TEXT", hide = true, allow_hyphen_values = true)]
    pub test_filter: Vec<String>,
    /// Parts of the names of tests to ignore
    #[arg(long, value_name = "TEXT", hide = true, allow_hyphen_values = true)]
    pub test_skip: Vec<String>,
    /// Both filters are whole names
    #[arg(long, hide = true)]
    pub test_exact: bool,
    /// List the names of the board's tests
    #[arg(long, hide = true)]
    pub test_list: bool,
}
