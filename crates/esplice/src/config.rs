//! Settings: flags, environment and `esplice.toml`, resolved once.

pub mod environment;
pub mod keys;
pub mod port_name;
pub mod project;
pub mod settings;
pub mod settler;
pub mod stable_link;
