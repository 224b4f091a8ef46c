//! Settings: flags, environment and `esplice.toml`, resolved once.

pub mod build;
pub mod environment;
pub mod flash;
pub mod image;
pub mod keys;
pub mod monitor;
pub mod paths;
pub mod port_name;
pub mod project;
pub mod settings;
pub mod settler;
pub mod size;
pub mod stable_link;
pub mod target;
