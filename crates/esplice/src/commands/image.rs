pub mod info;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what is in an image and whether it is sound
    Info(info::Args),
}
