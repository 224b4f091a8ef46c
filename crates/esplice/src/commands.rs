//! The commands, one file each: `Args` at the top, `run` below.

mod boards;
mod build;
mod chips;
mod completions;
mod config;
mod detect;
mod doctor;
mod erase;
mod flash;
pub mod gdb;
mod hash;
pub mod image;
mod layout;
mod load;
mod man;
mod monitor;
mod new;
mod nvs;
mod ota;
mod partition;
mod ports;
mod read;
mod reset;
mod run;
mod sim;
mod size;
mod verify;
mod write;

use clap::{CommandFactory as _, Subcommand};

use self::detect::Shown;
use crate::ui::{exit::Failure, interrupt::Interrupt, shell::Shell};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a project from a template
    New(new::Args),
    /// Build firmware and its flash image
    #[command(alias = "elf2image")]
    Build(build::Args),
    /// Build firmware and its flash image
    #[command(hide = true)]
    SaveImage(build::SaveImageArgs),
    /// Write firmware to a board and start it
    Flash(flash::Args),
    /// Build, flash and show the board's output
    Run(Box<run::Args>),
    /// Debug a virtual board's firmware with GDB
    Gdb(Box<gdb::Args>),
    /// Show a board's output
    Monitor(monitor::Args),
    /// Write files to a board's flash
    #[command(aliases = ["write-flash", "write-bin"])]
    Write(write::Args),
    /// Read a board's flash into a file
    #[command(alias = "read-flash")]
    Read(read::Args),
    /// Compare files with a board's flash
    #[command(alias = "verify-flash")]
    Verify(verify::Args),
    /// Erase a board's flash, or a part of it
    #[command(alias = "erase-region")]
    Erase(erase::Args),
    /// Erase all of a board's flash
    #[command(hide = true)]
    EraseFlash(erase::WholeArgs),
    /// Erase partitions of a board's own table
    #[command(hide = true)]
    EraseParts(erase::PartsArgs),
    /// Show the MD5 of a board's flash, or of a part of it
    #[command(alias = "checksum-md5")]
    Hash(hash::Args),
    /// Load a program into a board's RAM and start it
    #[command(alias = "load-ram")]
    Load(load::Args),
    /// Restart a board
    Reset(reset::Args),
    /// Show chip, flash and security of a board
    #[command(aliases = ["board-info", "get-security-info"])]
    Detect(detect::Args),
    /// Show the MAC address of a board
    #[command(hide = true, alias = "chip-id")]
    ReadMac(detect::Args),
    /// Show the id and the size of a board's flash chip
    #[command(hide = true)]
    FlashId(detect::Args),
    /// Work with images
    #[command(subcommand)]
    Image(image::Command),
    /// Show the contents of an image and whether it is valid
    #[command(hide = true)]
    ImageInfo(image::info::Args),
    /// Merge several files into one for the whole flash
    #[command(hide = true)]
    MergeBin(image::merge::Args),
    /// Work with partition tables, and with partitions by name
    #[command(subcommand)]
    Partition(Box<partition::Command>),
    /// Make and show NVS partitions, the key-value storage of ESP-IDF
    #[command(subcommand)]
    Nvs(Box<nvs::Command>),
    /// Make, sign and check updates over the air
    #[command(subcommand)]
    Ota(Box<ota::Command>),
    /// Show and check the memory layout
    #[command(subcommand)]
    Layout(layout::Command),
    /// Show how much flash and RAM a program takes
    Size(Box<size::Args>),
    /// Serve a virtual board to other programs
    Sim(sim::Args),
    /// List the serial ports and the boards that may be connected to each
    #[command(alias = "list-ports")]
    Ports(ports::Args),
    /// Find out why boards or compilers do not work on this machine
    Doctor(doctor::Args),
    /// List the supported chips
    Chips(chips::Args),
    /// List the known boards
    Boards(boards::Args),
    /// Show every setting, its value and its origin
    Config(config::Args),
    /// Print the script that completes esplice's commands in a shell
    Completions(completions::Args),
    /// Print the manual page, or write the pages of all commands
    Man(man::Args),
}

impl Command {
    pub fn run(self, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
        match self {
            Command::New(args) => new::run(&args, shell),
            Command::Doctor(args) => doctor::run(&args, shell, interrupt),
            Command::Build(args) => build::run(&args, shell, interrupt),
            Command::SaveImage(args) => build::run(&args.into_build(), shell, interrupt),
            Command::Flash(args) => flash::run(&args, shell, interrupt),
            Command::Run(args) => run::run(&args, shell, interrupt),
            Command::Gdb(args) => gdb::run(&args, shell, interrupt),
            Command::Monitor(args) => monitor::run(&args, shell, interrupt),
            Command::Image(image::Command::Info(args)) | Command::ImageInfo(args) => {
                image::info::run(&args, shell)
            }
            Command::Image(image::Command::Verify(args)) => image::verify::run(&args, shell),
            Command::Image(image::Command::Merge(args)) | Command::MergeBin(args) => {
                image::merge::run(&args, shell)
            }
            Command::Image(image::Command::Split(args)) => image::split::run(&args, shell),
            Command::Partition(command) => partition::run(&command, shell, interrupt),
            Command::Nvs(command) => nvs::run(&command, shell, interrupt),
            Command::Ota(command) => ota::run(&command, shell),
            Command::Layout(command) => layout::run(&command, shell),
            Command::Size(args) => size::run(&args, shell, interrupt),
            Command::Sim(args) => sim::run(&args, shell, interrupt),
            Command::Write(args) => write::run(&args, shell, interrupt),
            Command::Read(args) => read::run(&args, shell, interrupt),
            Command::Verify(args) => verify::run(&args, shell, interrupt),
            Command::Erase(args) => erase::run(&args, shell, interrupt),
            Command::EraseFlash(args) => erase::run(&args.into_erase(), shell, interrupt),
            Command::Hash(args) => hash::run(&args, shell, interrupt),
            Command::Load(args) => load::run(&args, shell, interrupt),
            Command::Reset(args) => reset::run(&args, shell, interrupt),
            Command::EraseParts(args) => erase::run_parts(&args, shell, interrupt),
            Command::Detect(args) => detect::run(&args, Shown::All, shell, interrupt),
            Command::ReadMac(args) => detect::run(&args, Shown::Mac, shell, interrupt),
            Command::FlashId(args) => detect::run(&args, Shown::Flash, shell, interrupt),
            Command::Ports(args) => ports::run(&args, shell, interrupt),
            Command::Chips(args) => chips::run(&args, shell),
            Command::Boards(args) => boards::run(&args, shell),
            Command::Config(args) => config::run(&args, shell),
            Command::Completions(args) => completions::run(&args, shell),
            Command::Man(args) => man::run(&args, crate::Cli::command(), shell),
        }
    }
}
