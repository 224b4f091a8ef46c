//! Tests of the protocol with packets written by hand from GDB's manual, "GDB Remote Serial
//! Protocol", against a board with a few instructions.

use esplice_gdb::{Debugger, answer};
use esplice_sim::{Board, SharedBoard};

/// RAM from which the code runs.
const CODE: u32 = 0x4038_0000;

/// Returns an image that the ESP32-C3's ROM loads into RAM (ESP-IDF, "App Image Format"): it counts
/// the word at 0x3fcd0000 up, forever.
fn image() -> Vec<u8> {
    let code = [
        0x3fcd_0537_u32, // lui a0, 0x3fcd0
        0x0005_2583,     // lw a1, 0(a0)
        0x0015_8593,     // addi a1, a1, 1
        0x00b5_2023,     // sw a1, 0(a0)
        0xff5f_f06f,     // j -12
    ];
    let code: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut image = vec![0xe9, 1, 2, 0x2f];
    image.extend(CODE.to_le_bytes());
    // No WP pin; the chip's id is 5; any revision; no hash.
    image.extend([0xee, 0, 0, 0, 5, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0]);
    image.extend(CODE.to_le_bytes());
    image.extend((code.len() as u32).to_le_bytes());
    image.extend(&code);
    while image.len() % 16 != 15 {
        image.push(0);
    }
    image.push(code.iter().fold(0xef, |sum, byte| sum ^ byte));
    image
}

fn board() -> SharedBoard {
    let mut board = Board::new("esp32c3").unwrap();
    board.load_flash(&image()).unwrap();
    SharedBoard::new(board)
}

fn debugger() -> Debugger<'static> {
    let mut debugger = Debugger::new(board(), None);
    assert!(debugger.reset_to(CODE).unwrap());
    debugger
}

fn packet(text: &str) -> Vec<u8> {
    let sum = text.bytes().fold(0_u8, u8::wrapping_add);
    format!("${text}#{sum:02x}").into_bytes()
}

/// Sends the packets and returns the replies, without acknowledgements and checksums. Run-length
/// encoding is undone ("Overview").
fn replies(debugger: &mut Debugger<'_>, packets: &[&str]) -> Vec<String> {
    let bytes: Vec<u8> = packets.iter().flat_map(|text| packet(text)).collect();
    let replies = String::from_utf8(answer(debugger, &bytes, 3)).unwrap();
    let packets = replies.split('$').skip(1).map(|packet| packet.split('#').next().unwrap());
    let plain = packets.map(|packet| {
        let mut plain = String::new();
        let mut letters = packet.chars();
        while let Some(letter) = letters.next() {
            match (letter, plain.chars().last()) {
                ('*', Some(last)) => {
                    let count = letters.next().unwrap() as usize - 29;
                    plain.extend(std::iter::repeat_n(last, count));
                }
                _ => plain.push(letter),
            }
        }
        plain
    });
    plain.collect()
}

#[track_caller]
fn check(packets: &[&str], expected: &[&str]) {
    assert_eq!(replies(&mut debugger(), packets), expected, "{packets:?}");
}

#[test]
fn registers_and_memory() {
    check(&["p20"], &["00003840"]);
    check(&["Pb=78563412", "pb"], &["OK", "78563412"]);
    // mscratch: 65 + 0x340.
    check(&["P381=01000000", "p381"], &["OK", "01000000"]);
    check(&["m3fcd0000,4", "M3fcd0000,4:01020304", "m3fcd0000,4"], &["00000000", "OK", "01020304"]);
    // Flash is not written by M, and nothing is at address 0x10000000.
    check(&["M42000000,1:00", "m10000000,1"], &["E0e", "E0e"]);
    // The privilege mode can be read only: 65 + 4096.
    check(&["p1041", "P1041=00000000"], &["03000000", "E01"]);
    // No register has this number.
    check(&["p2000"], &[""]);
}

#[test]
fn a_breakpoint_and_steps() {
    let stop = "T05thread:01;swbreak:;";
    check(
        &["Z0,4038000c,4", "vCont;c", "p20", "m3fcd0000,4", "vCont;s", "p20", "m3fcd0000,4"],
        &["OK", stop, "0c003840", "00000000", "S05", "10003840", "01000000"],
    );
    // Removed, it does not stop the board, so that the next packet is lost while it runs.
    check(&["Z1,40380008,4", "z1,40380008,4", "z1,40380008,4"], &["OK", "OK", "E16"]);
    // Steps while pc is in the range.
    check(&["vCont;r40380000,40380010", "p20"], &["S05", "10003840"]);
}

#[test]
fn watchpoints_stop_after_the_access() {
    check(
        &["Z2,3fcd0000,4", "vCont;c", "p20"],
        &["OK", "T05thread:01;watch:3fcd0000;", "10003840"],
    );
    check(
        &["Z3,3fcd0002,1", "vCont;c", "p20"],
        &["OK", "T05thread:01;rwatch:3fcd0002;", "08003840"],
    );
    check(
        &["Z4,3fcd0000,4", "vCont;c", "p20", "vCont;c", "p20"],
        &[
            "OK",
            "T05thread:01;awatch:3fcd0000;",
            "08003840",
            "T05thread:01;awatch:3fcd0000;",
            "10003840",
        ],
    );
    check(&["Z2,3fcd0000,0"], &["E16"]);
}

#[test]
fn backwards() {
    let steps = ["vCont;s"; 7];
    let mut packets = steps.to_vec();
    packets.extend(["bs", "p20", "m3fcd0000,4", "bs", "bs", "bs", "p20", "m3fcd0000,4"]);
    let said = replies(&mut debugger(), &packets);
    // After seven instructions the word is 1, and was 0 before the fourth.
    assert_eq!(said[7..10], ["S05", "08003840", "01000000"]);
    assert_eq!(said[13..], ["0c003840", "00000000"]);

    // To the write before the present one: the state before it.
    let mut packets = vec!["vCont;s"; 8];
    packets.extend(["Z2,3fcd0000,4", "bc", "p20", "m3fcd0000,4", "bc", "p20", "m3fcd0000,4"]);
    let said = replies(&mut debugger(), &packets);
    let watch = "T05thread:01;watch:3fcd0000;";
    assert_eq!(said[9..12], [watch, "0c003840", "01000000"]);
    assert_eq!(said[12..15], [watch, "0c003840", "00000000"]);

    // The oldest checkpoint is where power came on.
    let said = replies(&mut debugger(), &["bc", "bs"]);
    assert!(said.iter().all(|reply| reply.ends_with("replaylog:begin;")), "{said:?}");
}

/// A change in the past makes another future.
#[test]
fn a_change_in_the_past() {
    let mut packets = vec!["vCont;s"; 7];
    packets.extend(["bs"; 6]);
    packets.extend(["M3fcd0000,4:29000000", "vCont;s", "vCont;s", "vCont;s", "m3fcd0000,4"]);
    let said = replies(&mut debugger(), &packets);
    assert_eq!(said.last().unwrap(), "2a000000");
    // And is kept when going back over it, and forwards again.
    packets.extend(["bs", "bs", "vCont;s", "vCont;s", "m3fcd0000,4"]);
    let said = replies(&mut debugger(), &packets);
    assert_eq!(said.last().unwrap(), "2a000000");
}

#[test]
fn without_a_loader_nothing_is_loaded() {
    check(&["vFlashErase:42000000,00001000"], &["E01"]);
}

#[test]
fn a_running_board_is_interrupted() {
    let mut debugger = debugger();
    let mut bytes = packet("vCont;c");
    bytes.push(3);
    bytes.extend(packet("?"));
    let replies = String::from_utf8(answer(&mut debugger, &bytes, 3)).unwrap();
    assert!(replies.contains("$S02#"), "{replies}");
}

#[test]
fn the_descriptions_are_read_in_parts() {
    let parts = [
        "qXfer:features:read:target.xml:0,20",
        "qXfer:features:read:other.xml:0,20",
        "qXfer:memory-map:read::0,10",
        "qXfer:memory-map:read::ffffffff,10",
    ];
    let said = replies(&mut debugger(), &parts);
    assert!(said[0].starts_with("m<?xml version"), "{said:?}");
    assert!(said[1].starts_with('E'), "{said:?}");
    assert!(said[2].starts_with("m<?xml"), "{said:?}");
    assert_eq!(said[3], "l");
}

/// Packets of random pieces: the server answers the next session all the same.
#[test]
fn random_packets() {
    const PIECES: [&str; 40] = [
        "vCont;c",
        "vCont;s",
        "vCont;r",
        "vCont?",
        "bc",
        "bs",
        "Z0,",
        "z0,",
        "Z2,",
        "z4,",
        "m",
        "M",
        "X",
        "p",
        "P",
        "g",
        "G",
        "?",
        "qSupported",
        "qXfer:",
        "features:read:",
        "memory-map:read::",
        "qRcmd,",
        "vFlashErase:",
        "vFlashWrite:",
        "vFlashDone",
        "Hg0",
        "Hc-1",
        "D",
        "k",
        "!",
        ",",
        ":",
        ";",
        "40380000",
        "3fcd0000",
        "ffffffff",
        "4",
        "=",
        "00",
    ];
    // A linear congruential generator (Knuth, "The Art of Computer Programming", 3.3.4).
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut debugger = debugger();
    for _ in 0..400 {
        let mut bytes = Vec::new();
        for _ in 0..=random(4) {
            let pieces: String = (0..=random(4)).map(|_| PIECES[random(PIECES.len())]).collect();
            let mut packet = packet(&pieces);
            if random(4) == 0 {
                let at = random(packet.len());
                packet[at] = random(256) as u8;
            }
            bytes.extend(packet);
        }
        answer(&mut debugger, &bytes, 1);
    }
    assert_eq!(replies(&mut debugger, &["p0"]), ["00000000"]);
}
