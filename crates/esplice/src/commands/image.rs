pub mod info;
pub mod merge;
pub mod split;
pub mod verify;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what is in an image and whether it is sound
    Info(info::Args),
    /// Say whether images are sound
    Verify(verify::Args),
    /// Make one file of several, for the whole flash
    Merge(merge::Args),
    /// Take the content of a flash apart
    Split(split::Args),
}
