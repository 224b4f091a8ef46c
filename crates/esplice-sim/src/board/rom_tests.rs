//! Tests that compare boards that execute the mask ROM with boards that model its functions.

#[path = "../../tests/firmware/mod.rs"]
mod firmware;
#[path = "../../tests/mask_rom/mod.rs"]
mod mask_rom;

mod boot_time;
mod dialogues;
mod functions;
mod started;
mod straps;
