//! Whatever is in flash, in the firmware or on the line, the board continues or reports why not.
//! Nothing panics, and its clock reaches the requested time.

use std::time::Duration;

use crate::firmware::{Code, app, rom_image};
use esplice_chip::ChipDb;
use esplice_image::{FlashMode, FlashParams, PartitionTable};
use esplice_protocol::{checksum, slip};
use esplice_sim::{Board, SimError, TimeMode, nor::Nor};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

fn chip() -> &'static std::sync::Arc<esplice_chip::Chip> {
    ChipDb::embedded().find("esp32c3").unwrap()
}

fn board(parts: &[(u32, &[u8])], time: TimeMode) -> Board {
    let timing = &chip().sim.as_ref().unwrap().flash;
    let mut nor = Nor::in_memory(1 << 20, timing);
    for (offset, bytes) in parts {
        nor.program(*offset, bytes).unwrap();
    }
    Board::with_flash(chip(), nor, time).unwrap()
}

/// Runs to `until`, or until the board reports a missing ROM function.
fn check(board: &mut Board, until: Duration) -> Result<(), TestCaseError> {
    let mut buf = [0; 256];
    loop {
        let ran = board.run_to(until, true);
        board.host_take(115_200, &mut buf);
        match ran {
            Ok(()) if board.now() >= until => return Ok(()),
            Ok(()) => {}
            Err(SimError::RomFunction { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{error}"))),
        }
    }
}

/// Generates changes of bytes: an index relative to the length, and a new value.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12)
}

fn changed(bytes: &[u8], changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, value) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    bytes
}

/// Generates numbers at which lengths and addresses tend to overflow.
fn edge() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0),
        0_u32..64,
        Just(0x7fff_ffff),
        (0_u32..0x400).prop_map(|below| u32::MAX - below),
        (0_u32..0xd_1000).prop_map(|offset| 0x6000_0000 + offset),
        (0_u32..0x6_0000).prop_map(|offset| 0x3fc8_0000 + offset),
        (0_u32..0x80_0000).prop_map(|offset| 0x3c00_0000 + offset),
        any::<u32>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn changed_flash_boots_or_says_why_not(
        loader in changes(),
        table in changes(),
        image in changes(),
        noise in any::<bool>(),
    ) {
        let params = FlashParams { mode: FlashMode::Dio, freq: "80m".into(), size: 1 << 20 };
        let second_stage = esplice_image::second_stage(chip(), &params).unwrap().bytes;
        let plain = PartitionTable::esp_idf_default().to_bytes().unwrap();
        let parts = [
            (0, changed(&second_stage, if noise { &loader } else { &[] })),
            (0x8000, changed(&plain, &table)),
            (0x1_0000, changed(&app(&Code::new().say("app runs\r\n")), &image)),
        ];
        let parts: Vec<(u32, &[u8])> =
            parts.iter().map(|(at, bytes)| (*at, bytes.as_slice())).collect();
        check(&mut board(&parts, TimeMode::Virtual), 150 * MS)?;
    }

    /// The header's fields, the lengths and the data are arbitrary.
    #[test]
    fn any_image_header(
        head in prop::collection::vec(any::<u8>(), 8),
        segments in prop::collection::vec((edge(), edge()), 0..4),
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut image = rom_image(&Code::new().wait());
        image[1..8].copy_from_slice(&head[1..8]);
        image.truncate(24);
        for (addr, len) in segments {
            image.extend(addr.to_le_bytes());
            image.extend(len.to_le_bytes());
            image.extend(&rest);
        }
        image[1] %= 20;
        image[2] %= 11;
        image[3] = image[3] & 0xf0 | image[3] & 3;
        check(&mut board(&[(0, &image)], TimeMode::None), 20 * MS)?;
    }

    /// Random instructions, with pointers to devices and memory in the registers.
    #[test]
    fn any_code(
        words in prop::collection::vec(any::<u32>(), 1..64),
        registers in prop::collection::vec(edge(), 15),
        timed in any::<bool>(),
    ) {
        let mut code = Code::new();
        for (number, value) in (5..).zip(registers) {
            code = code.load(number, value);
        }
        for word in words {
            code = code.word(word);
        }
        let time = if timed { TimeMode::Virtual } else { TimeMode::None };
        check(&mut board(&[(0, &rom_image(&code))], time), 30 * MS)?;
    }

    /// Stores of any value to any register of a device, and loads from it.
    #[test]
    fn any_register(
        accesses in prop::collection::vec((0_u32..0xd_1000, edge()), 1..200),
        seed in 0..20_usize,
    ) {
        let devices = &chip().sim.as_ref().unwrap().peripherals;
        let device = &devices[seed % devices.len()];
        let mut code = Code::new();
        for (offset, value) in accesses {
            let addr = device.base.0 + offset % device.len.min(0x200) / 4 * 4;
            code = code.writes(&[(addr, value)]).copy(addr, 0x3fc8_0000);
        }
        check(&mut board(&[(0, &rom_image(&code.wait()))], TimeMode::Virtual), 30 * MS)?;
    }

    /// Requests with arbitrary words to the serial loader.
    #[test]
    fn any_request(requests in prop::collection::vec(
        (prop_oneof![2_u8..22, any::<u8>()], prop::collection::vec(edge(), 0..8), 0..70_usize),
        1..24,
    )) {
        let mut board = board(&[], TimeMode::None);
        board.set_lines(false, true);
        check(&mut board, MS)?;
        board.set_lines(true, false);
        check(&mut board, 20 * MS)?;
        let sync = [0, 8, 4, 0, 0, 0, 0, 0, 7, 7, 0x12, 0x20];
        board.host_send(&slip::encode(&sync), 115_200);
        for (opcode, words, len) in requests {
            let payload = vec![0x5a; len];
            let mut frame = vec![0, opcode];
            frame.extend((4 * words.len() as u16 + len as u16).to_le_bytes());
            frame.extend([checksum(&payload), 0, 0, 0]);
            frame.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            frame.extend(payload);
            board.host_send(&slip::encode(&frame), 115_200);
            let until = board.now() + MS;
            check(&mut board, until)?;
        }
    }
}
