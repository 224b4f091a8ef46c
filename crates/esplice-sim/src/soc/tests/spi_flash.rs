//! Tests of the memory SPI controllers, the flash chip and its windows.

use super::*;

#[test]
fn spi_commands_and_transactions() {
    check(&[
        // No chip answers before the ROM has set up the pins.
        Store(SPI1, 1 << 28),
        Load(SPI1 + 0x58, ALL, 0),
        Wait(NS * 10_000),
        Store(SPI1 + 0x34, 2),
        // JEDEC ID as a user transaction: opcode 9Fh, 24 bits in. 32 clocks of 5 MHz, which is half
        // the crystal divided by 4.
        Store(SPI1 + 0x18, 1 << 31 | 1 << 28),
        Store(SPI1 + 0x20, 7 << 28 | 0x9f),
        Store(SPI1 + 0x28, 23),
        Store(SPI1, 1 << 18),
        Wait(NS * 6300),
        Load(SPI1, 1 << 18, 1 << 18),
        Wait(NS * 100),
        Load(SPI1, ALL, 0),
        Load(SPI1 + 0x58, ALL, 0x16_40ef),
        // As a command.
        Store(SPI1 + 0x58, 0),
        Store(SPI1, 1 << 28),
        Load(SPI1 + 0x58, 0xff_ffff, 0x16_40ef),
        // Reads 8 bytes of flash on four lines with six dummy cycles and no divider: 8 + 6 + 6 + 16
        // clocks after the 32.
        Store(SPI1 + 0x14, 1 << 31),
        Store(SPI1 + 0x08, 1 << 24 | 1 << 13),
        Store(SPI1 + 0x18, 1 << 31 | 1 << 29),
        Store(SPI1 + 0x1c, 23 << 26 | 5),
        Store(SPI1 + 0x04, 0x1_0000),
        Store(SPI1 + 0x28, 63),
        Store(SPI1, 1 << 31),
        Load(SPI1 + 0x58, ALL, u32::from_le_bytes(*b"page")),
        Load(SPI1 + 0x5c, ALL, u32::from_le_bytes(*b" one")),
        Wait(NS * 8150),
        Load(SPI1, 1 << 31, 1 << 31),
        Wait(NS * 100),
        Load(SPI1, ALL, 0),
        Store(SPI1 + 0x18, 1 << 31),
        // Erase clears the latch, and takes 45 ms from the end of its command.
        Store(SPI1, 1 << 24),
        Store(SPI1, 1 << 27),
        Load(SPI1 + 0x2c, 3, 0),
        Store(SPI1, 1 << 30),
        Store(SPI1, 1 << 24),
        Store(SPI1, 1 << 27),
        Load(SPI1 + 0x2c, 3, 1),
        Wait(46 * MS),
        Store(SPI1, 1 << 27),
        Load(SPI1 + 0x2c, 3, 0),
        // Programs 4 bytes.
        Store(SPI1 + 0x04, 0x1_0004 | 4 << 24),
        Store(SPI1 + 0x58, 0x1234_5678),
        Store(SPI1, 1 << 30),
        Store(SPI1, 1 << 25),
        Wait(MS),
        Store(SPI1 + 0x04, 0x1_0000),
        Store(SPI1, 1 << 31),
        Load(SPI1 + 0x58, ALL, ALL),
        Load(SPI1 + 0x5c, ALL, 0x1234_5678),
    ]);
}

#[test]
fn mmu_entries_show_flash_in_both_windows() {
    check(&[
        Load(0x3c00_0000, ALL, 0),
        Store(MMU, 1),
        Load(0x3c00_0000, ALL, u32::from_le_bytes(*b"page")),
        Load(0x4200_0004, ALL, u32::from_le_bytes(*b" one")),
        // Stores to the window are dropped.
        Store(0x3c00_0000, 0),
        Load(0x3c00_0000, ALL, u32::from_le_bytes(*b"page")),
        Store(MMU, 1 << 8),
        Load(0x3c00_0000, ALL, 0),
    ]);
}
