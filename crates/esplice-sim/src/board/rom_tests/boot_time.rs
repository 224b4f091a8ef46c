//! Tests that each byte of a boot comes at the same time with the executed and the modelled ROM.

use std::{env, time::Duration};

use super::{firmware, mask_rom};
use crate::{Board, TimeMode, nor::Nor, soc::clock::duration};

/// Allowed difference of a byte's time: this fraction of the time since power-on, plus [`NEAR`].
const SHARE: u32 = 1000;
const NEAR: Duration = Duration::from_micros(20);

#[test]
fn each_byte_of_a_boot_comes_when_the_roms_own_does() {
    let image = firmware::rom_image(&firmware::Code::new().say("begun\r\n"));
    let mut large = firmware::Code::new().say("begun\r\n");
    for word in 0..6000 {
        large = large.word(word);
    }
    let large = firmware::rom_image(&large);
    for (name, flash, download) in [
        ("large image", large.as_slice(), false),
        ("image", image.as_slice(), false),
        ("erased", &[0xff; 64][..], false),
        ("direct", &firmware::direct(&firmware::Code::new().say("begun\r\n"))[..], false),
        ("download", &[0xff; 64][..], true),
    ] {
        let [hooked, real] = [false, true].map(|executed| output(flash, download, executed));
        let [one, other] = [&hooked, &real].map(|said| said.iter().map(|(_, byte)| *byte));
        let len = hooked.len().min(real.len());
        assert!(len > 40, "{name}: {len} bytes");
        assert!(one.take(len).eq(other.take(len)), "{name}");
        let mut far = Vec::new();
        for ((at, byte), (expected, _)) in hooked.iter().zip(&real) {
            if env::var_os("ESPLICE_MEASURE").is_some() {
                println!("{name} {:?} {at:?} {expected:?}", char::from(*byte));
            }
            if at.abs_diff(*expected) > *expected / SHARE + NEAR {
                far.push(format!("{:?} at {at:?} and not {expected:?}", char::from(*byte)));
            }
        }
        assert!(far.is_empty(), "{name}: {} of {len} are far off: {}", far.len(), far[0]);
    }
}

/// Returns everything printed in the first 120 ms, with times.
fn output(flash: &[u8], download: bool, executed: bool) -> Vec<(Duration, u8)> {
    let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
    let mut nor = Nor::in_memory(4 << 20, &chip.sim.as_ref().unwrap().flash);
    nor.put(0, flash).unwrap();
    let mut board = Board::with_flash(chip, nor, TimeMode::Virtual).unwrap();
    if executed {
        board = board.with_rom(mask_rom::image());
    }
    board.hold_boot_pin(download);
    let mut said = Vec::new();
    let end = Duration::from_millis(120);
    while board.now() < end {
        board.run_to(end, true).unwrap();
        while let Some(byte) = board.soc.fabric.line.to_host.front().copied()
            && board.host_take_sent().is_some()
        {
            said.push((duration(byte.done), byte.byte));
        }
    }
    said
}
