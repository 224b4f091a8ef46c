//! Second-stage bootloaders, with the feature `bootloaders`.
#![cfg(feature = "bootloaders")]

use esplice_chip::{Chip, ChipDb};
use esplice_image::{
    BootloaderError, Extent, FlashMode, FlashParams, second_stage, second_stage_for, sha256,
};

#[test]
fn the_header_says_what_was_asked() {
    let chip = ChipDb::embedded().find("esp32c3").expect("chip data");
    let cases = [
        (FlashMode::Dio, "80m", 4 << 20, [2, 0x2f]),
        (FlashMode::Dout, "40m", 16 << 20, [3, 0x40]),
        // The ROM can't load in quad mode: such a bootloader is marked dio and enables quad mode
        // itself.
        (FlashMode::Qio, "20m", 1 << 20, [2, 0x02]),
    ];
    for (mode, freq, size, expected) in cases {
        let params = FlashParams { mode, freq: freq.into(), size };
        let bootloader = second_stage(chip, &params).expect("bootloader");
        let extent = Extent::of(&bootloader.bytes).expect("image");
        assert_eq!(bootloader.bytes[2..4], expected);
        assert_eq!(extent.header.chip_id, chip.image.chip_id);
        assert_eq!(extent.end, bootloader.bytes.len());
        assert_eq!(extent.checksum(&bootloader.bytes), bootloader.bytes[extent.checksum_at]);
        let at = extent.sha256_at.expect("hash");
        assert_eq!(bootloader.bytes[at..], sha256(&bootloader.bytes[..at]));
        assert!(bootloader.bytes.len() < chip.image.partition_table_offset.0 as usize);
        assert_eq!(bootloader.min_rev, 3, "ESP-IDF supports the ESP32-C3 from v0.3");
    }
}

/// Chips for which the library has no bootloader.
const WITHOUT: &[&str] = &["esp32h21"];

/// Every chip has a bootloader whose header holds the requested values, for every flash of the
/// chip.
#[test]
fn every_chip_has_one() {
    for chip in ChipDb::embedded().chips() {
        let (image, name) = (&chip.image, &chip.name);
        if WITHOUT.contains(&name.as_str()) {
            let none = second_stage(chip, &FlashParams::for_chip(chip));
            assert!(matches!(none, Err(BootloaderError::UnknownChip { .. })), "{name}: {none:?}");
            continue;
        }
        for (freq, freq_code) in &image.flash_frequencies {
            for (size, size_code) in &image.flash_sizes {
                let size = esplice_chip::parse_size(size).expect("a size");
                let params =
                    FlashParams { freq: freq.clone(), size, ..FlashParams::for_chip(chip) };
                let bytes = second_stage(chip, &params).expect("bootloader").bytes;
                let extent = Extent::of(&bytes).expect("image");
                assert_eq!(extent.header.chip_id, image.chip_id, "{name}");
                assert_eq!(extent.header.wp_pin, image.wp_pin, "{name}");
                assert_eq!(bytes[3], size_code << 4 | freq_code, "{name}");
                assert_eq!(extent.checksum(&bytes), bytes[extent.checksum_at], "{name}");
                let at = extent.sha256_at.expect("hash");
                assert_eq!(bytes[at..], sha256(&bytes[..at]), "{name}");
                let room = image.partition_table_offset.0 - image.boot_offset.0;
                assert!(bytes.len() <= room as usize, "{name}: {} bytes", bytes.len());
                // All segments that the ROM loads go to memory of the chip.
                for segment in &extent.segments {
                    let region = chip.region_at(segment.addr).expect("a region");
                    assert!(segment.len <= region.bytes_after(segment.addr), "{name}");
                }
            }
        }
    }
}

/// Bootloaders differ by crystal and, if silicon changed, by revision.
#[test]
fn crystal_and_revision_choose() {
    let cases = [("esp32", 26, 0), ("esp32c2", 26, 0), ("esp32p4", 40, 300), ("esp32h4", 32, 2)];
    for (name, xtal_mhz, min_rev) in cases {
        let chip = ChipDb::embedded().find(name).expect("chip data");
        let flash = FlashParams::for_chip(chip);
        let usual = second_stage(chip, &flash).expect("bootloader");
        let other = second_stage_for(chip, &flash, xtal_mhz, min_rev).expect("bootloader");
        assert_ne!(usual.bytes, other.bytes, "{name}");
        assert!(other.min_rev >= usual.min_rev, "{name}");
    }
    let chip = ChipDb::embedded().find("esp32c3").expect("chip data");
    let error = second_stage_for(chip, &FlashParams::for_chip(chip), 27, 0).expect_err("27 MHz");
    assert_eq!(error.to_string(), "no bootloader for ESP32-C3 with a crystal of 27 MHz");
}

#[test]
fn what_is_not_there_is_said() {
    let chip = ChipDb::embedded().find("esp32c3").expect("chip data");
    let params = FlashParams { mode: FlashMode::Dio, freq: "81m".into(), size: 4 << 20 };
    let error = second_stage(chip, &params).expect_err("no such frequency");
    assert_eq!(error.to_string(), "flash frequency 81m has no code for ESP32-C3");
    let mut other = Chip::clone(chip);
    other.name = "esp33".into();
    let error = second_stage(&other, &FlashParams::for_chip(chip)).expect_err("no such chip");
    assert!(error.to_string().starts_with("no bootloader for ESP32-C3"), "{error}");
}

/// The library is only used for its bootloaders. Its feature `serialport`, which is in its default
/// features, embeds flasher stubs under the GPL.
#[test]
fn the_library_comes_without_its_serial_port() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args(["tree", "--offline", "--workspace", "--all-features", "--edges", "features"])
        .args(["--invert", "espflash"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.starts_with("espflash v4."), "{tree}{}", String::from_utf8_lossy(&output.stderr));
    for feature in ["serialport", "cli", "default"] {
        assert!(!tree.contains(&format!("espflash feature \"{feature}\"")), "{tree}");
    }
}
