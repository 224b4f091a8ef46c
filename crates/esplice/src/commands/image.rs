pub mod info;
pub mod merge;
pub mod split;
pub mod verify;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show the contents of an image and whether it is valid
    Info(info::Args),
    /// Check whether images are valid
    Verify(verify::Args),
    /// Merge several files into one for the whole flash
    Merge(merge::Args),
    /// Split the content of a flash into files
    Split(split::Args),
}
