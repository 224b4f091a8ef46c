//! The commands: a file each, `Args` above and `run` below.

mod boards;
mod build;
mod chips;
mod config;
mod flash;
mod image;
mod layout;
mod monitor;
mod ports;
mod run;
mod sim;

use clap::Subcommand;

use crate::{exit::Failure, interrupt::Interrupt, shell::Shell};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build firmware and its flash image
    #[command(alias = "elf2image")]
    Build(build::Args),
    /// Build firmware and its flash image
    #[command(hide = true)]
    SaveImage(build::SaveImageArgs),
    /// Write firmware to a board and start it
    Flash(flash::Args),
    /// Build, flash and show what the board says
    Run(Box<run::Args>),
    /// Show what a board says
    Monitor(monitor::Args),
    /// Work with images
    #[command(subcommand)]
    Image(image::Command),
    /// Show what is in an image and whether it is sound
    #[command(hide = true)]
    ImageInfo(image::info::Args),
    /// Make one file of several, for the whole flash
    #[command(hide = true)]
    MergeBin(image::merge::Args),
    /// Show and check what lies where in memory
    #[command(subcommand)]
    Layout(layout::Command),
    /// Offer a virtual board to other programs
    Sim(sim::Args),
    /// List the serial ports and what may be behind each
    #[command(alias = "list-ports")]
    Ports(ports::Args),
    /// List the chips that are known
    Chips(chips::Args),
    /// List the boards that are known
    Boards(boards::Args),
    /// Show every setting, its value and where it comes from
    Config(config::Args),
}

impl Command {
    pub fn run(self, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
        match self {
            Command::Build(args) => build::run(&args, shell, interrupt),
            Command::SaveImage(args) => build::run(&args.into_build(), shell, interrupt),
            Command::Flash(args) => flash::run(&args, shell, interrupt),
            Command::Run(args) => run::run(&args, shell, interrupt),
            Command::Monitor(args) => monitor::run(&args, shell, interrupt),
            Command::Image(image::Command::Info(args)) | Command::ImageInfo(args) => {
                image::info::run(&args, shell)
            }
            Command::Image(image::Command::Verify(args)) => image::verify::run(&args, shell),
            Command::Image(image::Command::Merge(args)) | Command::MergeBin(args) => {
                image::merge::run(&args, shell)
            }
            Command::Image(image::Command::Split(args)) => image::split::run(&args, shell),
            Command::Layout(command) => layout::run(&command, shell),
            Command::Sim(args) => sim::run(&args, shell, interrupt),
            Command::Ports(args) => ports::run(&args, shell, interrupt),
            Command::Chips(args) => chips::run(&args, shell),
            Command::Boards(args) => boards::run(&args, shell),
            Command::Config(args) => config::run(&args, shell),
        }
    }
}
