//! Compares the CPU with tables of cases, a second implementation, and qemu-riscv32.

mod cases;
mod code_changes;
mod csrs;
mod machine;
mod memory;
mod protection;
mod qemu;
mod random;
mod reference;
mod traps;
