//! Devices of chips with an LP system, a PLIC and PCR, each on the ESP32-C6 and the ESP32-H2, and the
//! versions of the ESP32-C2.

use super::{ALL, Do, Irq, Load, MS, Reset, ResetRequested, Store, Wait, check_on, soc_of};
use crate::{cpu::Bus, soc::ResetReason};

const PLIC: u32 = 0x2000_1000;
const MAP: u32 = 0x6001_0000;
const INTPRI: u32 = 0x600c_5000;
const PCR: u32 = 0x6009_6000;
const LP_TIMER: u32 = 0x600b_0c00;
const LP_WDT: u32 = 0x600b_1c00;
const LP_AON: u32 = 0x600b_1000;
const SPI0: u32 = 0x6000_2000;
const DMA: u32 = 0x6008_0000;
const FLASH: u32 = 0x4200_0000;
const SRAM: u32 = 0x4080_0000;
const KEY: u32 = 0x50d8_3aa1;

/// Facts about a chip: number of sources, those of FROM_CPU_INTR0, LP_RTC_TIMER, LP_WDT and
/// DMA_IN_CH0 (PAC, enum Interrupt), and the offset of LP_WDT's FEED.
const CHIPS: [(&str, [u32; 5], u32); 2] =
    [("esp32c6", [77, 22, 15, 18, 66], 0x14), ("esp32h2", [65, 7, 2, 4, 53], 0x18)];

/// Maps a source to CPU interrupt 9 with priority 3, above the threshold.
fn routed(source: u32) -> [Do; 4] {
    [
        Store(MAP + 4 * source, 9),
        Store(PLIC, 1 << 9),
        Store(PLIC + 0x10 + 4 * 9, 3),
        Store(PLIC + 0x90, 1),
    ]
}

#[test]
fn software_interrupts_go_through_matrix_and_plic() {
    for (chip, [sources, from_cpu, ..], _) in CHIPS {
        let status = MAP + 4 * sources + 4 * (from_cpu / 32);
        let bit = 1 << (from_cpu % 32);
        let moves = [
            &[Store(INTPRI + 0x90, 1), Irq(0), Load(status, ALL, bit)][..],
            &routed(from_cpu),
            &[
                Irq(1 << 9),
                Load(PLIC + 0x0c, ALL, 1 << 9),
                // A threshold above the priority masks it.
                Store(PLIC + 0x90, 4),
                Irq(0),
                Store(PLIC + 0x90, 3),
                Irq(1 << 9),
                Store(INTPRI + 0x90, 0),
                Irq(0),
                Load(status, ALL, 0),
                // An edge stays until it is cleared.
                Store(PLIC + 0x04, 1 << 9),
                Store(INTPRI + 0x90, 1),
                Store(INTPRI + 0x90, 0),
                Irq(1 << 9),
                Store(PLIC + 0x08, 1 << 9),
                Irq(0),
            ],
        ];
        check_on(chip, &moves.concat());
    }
}

#[test]
fn the_lp_timer_counts_and_raises_its_alarm() {
    for (chip, [_, _, timer, ..], _) in CHIPS {
        let moves = [
            &routed(timer)[..],
            &[
                Wait(100 * MS),
                Store(LP_TIMER + 0x10, 1 << 28),
                // 136 kHz.
                Load(LP_TIMER + 0x14, ALL, 13_600),
                Load(LP_TIMER + 0x18, ALL, 0),
                Wait(MS),
                Load(LP_TIMER + 0x14, ALL, 13_600),
                Store(LP_TIMER + 0x10, 1 << 28),
                Load(LP_TIMER + 0x14, ALL, 13_736),
                // The value before is kept.
                Load(LP_TIMER + 0x1c, ALL, 13_600),
                Store(LP_TIMER, 13_600 * 2),
                Store(LP_TIMER + 0x04, 1 << 31),
                Store(LP_TIMER + 0x30, 1 << 31),
                Irq(0),
                Wait(100 * MS),
                Load(LP_TIMER + 0x28, ALL, 1 << 31),
                Irq(1 << 9),
                Store(LP_TIMER + 0x34, 1 << 31),
                Irq(0),
            ],
        ];
        check_on(chip, &moves.concat());
    }
}

#[test]
fn the_lp_watchdog_is_locked_and_raises_its_interrupt() {
    for (chip, [_, _, _, source, _], feed) in CHIPS {
        let (lock, int_ena) = (LP_WDT + feed + 4, LP_WDT + feed + 0x18);
        let moves = [
            &routed(source)[..],
            &[
                // Locked: flash boot protection stays as it was.
                Store(LP_WDT, 0),
                Load(LP_WDT, 1 << 12, 1 << 12),
                Store(lock, KEY),
                Store(LP_WDT, 0),
                Store(LP_WDT + 0x04, 1360),
                // Interrupt at stage 0, after twice the time (eFuse WDT_DELAY_SEL).
                Store(LP_WDT, 1 << 31 | 1 << 28),
                Store(int_ena, 1 << 31),
                Wait(19 * MS),
                Irq(0),
                Store(LP_WDT + feed, 1 << 31),
                Wait(19 * MS),
                Irq(0),
                Wait(2 * MS),
                Irq(1 << 9),
                Store(int_ena + 4, 1 << 31),
                Irq(0),
                // Reset of the LP system.
                Store(LP_WDT, 1 << 31 | 4 << 28),
                Store(LP_WDT + feed, 1 << 31),
                Wait(21 * MS),
                ResetRequested(Some(ResetReason::RtcWatchdogRtc)),
            ],
        ];
        check_on(chip, &moves.concat());
    }
}

#[test]
fn stores_outlive_resets_of_the_system_but_not_power() {
    for (chip, ..) in CHIPS {
        check_on(
            chip,
            &[
                Store(LP_AON + 0x08, 0x1234_5678),
                Store(LP_AON + 0x38, 0),
                Reset(ResetReason::SoftwareSystem),
                Load(LP_AON + 0x08, ALL, 0x1234_5678),
                Load(LP_AON + 0x38, ALL, 0),
                Reset(ResetReason::RtcWatchdogRtc),
                Load(LP_AON + 0x08, ALL, 0x1234_5678),
                Load(LP_AON + 0x38, ALL, 0x4000_0000),
                Reset(ResetReason::PowerOn),
                Load(LP_AON + 0x08, ALL, 0),
                Store(LP_AON + 0x34, 1 << 31),
                ResetRequested(Some(ResetReason::SoftwareSystem)),
            ],
        );
    }
}

/// CPU and bus clocks by the registers of PCR.
#[test]
fn pcr_selects_the_clocks() {
    /// Chip, stores, clocks of CPU and peripheral bus in MHz.
    type Case = (&'static str, &'static [(u32, u32)], u64, u64);
    const CASES: [Case; 6] = [
        ("esp32c6", &[], 40, 40),
        ("esp32c6", &[(0x118, 1)], 20, 40),
        // The PLL, divided by 3; buses by 4 after that.
        ("esp32c6", &[(0x110, 1 << 16 | 2 << 8), (0x11c, 3 << 8)], 160, 40),
        ("esp32c6", &[(0x110, 1 << 16 | 2 << 8), (0x118, 1 << 8), (0x11c, 1 << 8)], 80, 80),
        ("esp32h2", &[], 32, 32),
        // Nothing changes before the last register, the update.
        ("esp32h2", &[(0x10c, 1 << 16), (0x118, 2), (0x148, 1)], 96, 32),
    ];
    for (chip, stores, cpu, apb) in CASES {
        let mut soc = soc_of(chip);
        for (number, (offset, value)) in stores.iter().enumerate() {
            if *offset == 0x148 {
                assert_eq!(soc.fabric.clock.cpu_hz(), 32_000_000, "{chip}: store {number}");
            }
            soc.store32(PCR + offset, *value).unwrap();
        }
        let clock = &soc.fabric.clock;
        assert_eq!((clock.cpu_hz(), clock.apb_hz()), (cpu * 1_000_000, apb * 1_000_000), "{chip}");
    }
}

/// Flash page 1 begins with "page one"; with pages of 32 KiB it is page 2, and so on.
#[test]
fn the_mmu_in_spi0_maps_pages_of_every_size() {
    let word = u32::from_le_bytes(*b"page");
    for (chip, ..) in CHIPS {
        for size in 0..4 {
            let (entry, page) = (3, 1 << size);
            let at = FLASH + entry * (0x1_0000 >> size);
            check_on(
                chip,
                &[
                    Store(SPI0 + 0x384, size << 3),
                    Store(SPI0 + 0x380, entry),
                    Store(SPI0 + 0x37c, 1 << 9 | page),
                    Load(SPI0 + 0x37c, ALL, 1 << 9 | page),
                    Load(at, ALL, word),
                    Load(at - (0x1_0000 >> size), ALL, 0),
                    // Another size moves the window.
                    Store(SPI0 + 0x384, ((size + 1) % 4) << 3),
                    Load(at, ALL, 0),
                    Store(SPI0 + 0x384, size << 3),
                    Load(at, ALL, word),
                    Store(SPI0 + 0x37c, page),
                    Load(at, ALL, 0),
                ],
            );
        }
    }
}

#[test]
fn the_mmu_of_the_esp32c2_has_pages_of_three_sizes() {
    let word = u32::from_le_bytes(*b"page");
    for size in 0..3 {
        let (entry, page, len) = (3, 4 >> size, 0x4000 << size);
        check_on(
            "esp32c2",
            &[
                Store(0x600c_40c8, size << 3),
                Load(0x600c_5000 + 4 * entry, ALL, 1 << 6),
                Store(0x600c_5000 + 4 * entry, page),
                Load(0x4200_0000 + entry * len, ALL, word),
                Load(0x3c00_0000 + entry * len, ALL, word),
                Store(0x600c_5000 + 4 * entry, 1 << 6),
                Load(0x4200_0000 + entry * len, ALL, 0),
            ],
        );
    }
}

#[test]
fn dma_copies_and_raises_the_interrupts_of_each_direction() {
    for (chip, [_, _, _, _, dma], _) in CHIPS {
        let (inlink, outlink) = (SRAM + 0x1000, SRAM + 0x1010);
        let (from, to) = (SRAM + 0x2000, SRAM + 0x3000);
        let moves = [
            &[
                Store(from, 0x0403_0201),
                // 4 bytes, owner DMA; the sender's is the last of its frame.
                Store(inlink, 1 << 31 | 4),
                Store(inlink + 4, to),
                Store(outlink, 1 << 31 | 1 << 30 | 4 << 12 | 4),
                Store(outlink + 4, from),
                Store(DMA + 0x70, 1 << 4),
                // SUC_EOF of the receiver.
                Store(DMA + 0x08, 1 << 1),
            ][..],
            &routed(dma),
            &[
                Store(DMA + 0x70 + 0x10, inlink & 0xf_ffff | 1 << 22),
                Irq(0),
                Store(DMA + 0x70 + 0x70, outlink & 0xf_ffff | 1 << 21),
                Load(to, ALL, 0x0403_0201),
                Irq(1 << 9),
                Load(DMA + 0x04, ALL, 1 << 1),
                // DONE, EOF and TOTAL_EOF of the sender, which are not enabled.
                Load(DMA + 0x30, ALL, 1 << 0 | 1 << 1 | 1 << 3),
                Load(DMA + 0x34, ALL, 0),
                Store(DMA + 0x0c, 1 << 1),
                Irq(0),
                Store(DMA + 0x3c, ALL),
                Load(DMA + 0x30, ALL, 0),
            ],
        ];
        check_on(chip, &moves.concat());
    }
}

#[test]
fn random_numbers_come_from_the_lp_system() {
    for (chip, ..) in CHIPS {
        let mut soc = soc_of(chip);
        let mut next = || soc.load32(0x600b_2808).unwrap();
        assert_ne!(next(), next(), "{chip}");
    }
}

/// The ESP32-C2's fuses: block 2 has the MAC, and block 0 protects.
#[test]
fn the_esp32c2_has_four_blocks_of_fuses() {
    const EFUSE: u32 = 0x6000_8800;
    let burn = |block: u32, word: u32, value: u32| {
        [
            Store(EFUSE + 4 * word, value),
            Store(EFUSE + 0x8c, 0x5a5a),
            Store(EFUSE + 0x94, block << 2 | 2),
            Store(EFUSE + 4 * word, 0),
            Store(EFUSE + 0x8c, 0x5aa5),
            Store(EFUSE + 0x94, 1),
        ]
    };
    let moves = [
        &[Load(EFUSE + 0x40, ALL, 0x00c2_0001), Load(EFUSE + 0x44, 0xffff, 0x0200)][..],
        &burn(3, 0, 0x55),
        &[Load(EFUSE + 0x60, ALL, 0x55), Load(EFUSE + 0x98, 3, 3)],
        // RD_DIS.KEY0, then WR_DIS.KEY0.
        &burn(0, 0, 1 << 8),
        &[Load(EFUSE + 0x60, ALL, 0)],
        &burn(0, 0, 1 << 7),
        &[Load(EFUSE + 0x2c, ALL, 1 << 7 | 1 << 8)],
    ];
    check_on("esp32c2", &moves.concat());
}
