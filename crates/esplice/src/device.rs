//! Opens ports, finds boards and works on them.

pub mod at_board;
pub mod choice;
pub mod flashing;
pub mod idf;
pub mod load;
pub mod port_trouble;
pub mod ports;
pub mod remembered;
pub mod stubs;
