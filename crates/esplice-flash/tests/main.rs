//! Tests of this crate's public interface, in one program. Each file is a module.

mod broken;
mod installed;
#[path = "../../esplice-sim/tests/mask_rom/mod.rs"]
mod mask_rom;
mod own;
mod plan;
mod rom;
#[path = "../examples/trials/mod.rs"]
mod trials;

mod device;
mod diff;
mod endless;
mod faults;
mod flashing;
mod mock;
mod replies;
mod serial;
mod sim;
mod sockets;
mod stub;
mod tables;
