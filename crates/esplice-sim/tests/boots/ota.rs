//! Tests which OTA slot the real ESP-IDF bootloader starts, for every state in otadata.

use esplice_chip::FlashOffset;
use esplice_image::{OtaEntry, Partition, PartitionTable};
use esplice_sim::{Board, secs};

use crate::{
    boots::bench::{Rom, bootloader, check, compiled_app},
    firmware::{Code, app},
};

const OTADATA: u32 = 0x1_0000;
const SECTOR: u32 = 0x1000;
const SLOTS: [u32; 2] = [0x2_0000, 0x4_0000];

/// Returns ESP-IDF's default table with otadata and two slots instead of factory.
fn table() -> Vec<u8> {
    let mut table = PartitionTable::esp_idf_default();
    table.partitions.retain(|partition| !partition.is_app());
    for (name, kind, subtype, offset, len) in [
        ("otadata", 1, 0x00, OTADATA, 2 * SECTOR),
        ("ota_0", 0, 0x10, SLOTS[0], 0x2_0000),
        ("ota_1", 0, 0x11, SLOTS[1], 0x2_0000),
    ] {
        let (name, offset) = (name.into(), FlashOffset(offset));
        table.partitions.push(Partition { name, kind, subtype, offset, len, flags: 0 });
    }
    table.to_bytes().unwrap()
}

/// Returns a record of otadata: sequence number, 20 bytes of label, state, CRC of the number only.
fn entry(seq: u32, state: u32) -> Vec<u8> {
    // CRC-32 of the number's bytes, from ESP-IDF's otatool.
    let crc = [0x4743_989a_u32, 0x55f6_3774][seq as usize - 1];
    let mut entry = seq.to_le_bytes().to_vec();
    entry.resize(24, 0xff);
    entry.extend(state.to_le_bytes());
    entry.extend(crc.to_le_bytes());
    entry
}

/// Returns a board with a good app in slot 0, recorded as valid, and `app_1` in slot 1, recorded
/// with a higher number and the given state.
fn board(rom: &Rom, app_1: &[u8], state: u32) -> Board {
    rom.board(&[
        (0, &bootloader()),
        (0x8000, &table()),
        (OTADATA, &entry(1, VALID)),
        (OTADATA + SECTOR, &entry(2, state)),
        (SLOTS[0], &app(&Code::new().say("slot 0 runs\r\n"))),
        (SLOTS[1], app_1),
    ])
}

/// Returns the state of the second record in flash.
fn state(board: &Board) -> u32 {
    let at = (OTADATA + SECTOR) as usize;
    OtaEntry::from_bytes(&board.flash().bytes()[at..at + 32]).unwrap().state
}

/// `esp_ota_img_states_t` (ESP-IDF, esp_flash_partitions.h).
const NEW: u32 = 0;
const PENDING_VERIFY: u32 = 1;
const VALID: u32 = 2;
const INVALID: u32 = 3;
const ABORTED: u32 = 4;
const UNDEFINED: u32 = u32::MAX;

/// The bootloader is built without rollback (CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE). It starts NEW
/// and PENDING_VERIFY apps and never changes a record; only INVALID and ABORTED make it choose
/// another slot.
pub fn every_state(rom: &Rom) {
    for (before, runs, after) in [
        (NEW, 1, NEW),
        (PENDING_VERIFY, 1, PENDING_VERIFY),
        (VALID, 1, VALID),
        (INVALID, 0, INVALID),
        (ABORTED, 0, ABORTED),
        (UNDEFINED, 1, UNDEFINED),
    ] {
        let mut board = board(rom, &app(&Code::new().say("slot 1 runs\r\n")), before);
        let said = board.run_until(b" runs\r\n", secs(1)).unwrap();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.ends_with(&format!("slot {runs} runs\r\n")), "state {before:#x}: {said}");
        assert_eq!(state(&board), after, "after state {before:#x}: {said}");
    }
}

pub fn a_record_with_a_wrong_crc(rom: &Rom) {
    let mut board = board(rom, &app(&Code::new().say("slot 1 runs\r\n")), VALID);
    board.load_flash_at(OTADATA + SECTOR + 28, &[0x75]).unwrap();
    let said = board.run_until(b" runs\r\n", secs(1)).unwrap();
    check("ota-crc.txt", &String::from_utf8_lossy(&said));
}

pub fn no_records(rom: &Rom) {
    let mut board = board(rom, &app(&Code::new().say("slot 1 runs\r\n")), VALID);
    board.load_flash_at(OTADATA, &[0xff; 2 * SECTOR as usize]).unwrap();
    let said = board.run_until(b" runs\r\n", secs(1)).unwrap();
    check("ota-none.txt", &String::from_utf8_lossy(&said));
}

/// Without rollback the bootloader restarts a crashing app every time.
pub fn a_crash_in_a_trial_boot_is_tried_again(rom: &Rom) {
    let crash = Code::new().flush().word(0xc000_1073).wait(); // unimp
    let mut board = board(rom, &app(&crash), NEW);
    for _ in 0..3 {
        board.run_until(b"Loaded app from partition at offset 0x40000\r\n", secs(10)).unwrap();
    }
    assert_eq!(board.resets(), 3);
    assert_eq!(state(&board), NEW);
}

/// The app can do what the bootloader does not, with esp-bootloader-esp-idf.
pub fn an_app_that_updates_itself_and_rolls_back(rom: &Rom) {
    let image = compiled_app("ota");
    let mut board = rom.board(&[(0, &bootloader()), (0x8000, &table()), (SLOTS[0], &image)]);
    for expected in [
        "rst:0x1 (POWERON)",
        "ota_0 runs, the record says Some(Valid)\r\nupdated\r\n",
        "rst:0x3 (RTC_SW_SYS_RST)",
        "ota_1 runs, the record says Some(New)\r\non trial\r\n",
        "rst:0x10 (RTCWDT_RTC_RST)",
        "ota_1 runs, the record says Some(PendingVerify)\r\nthe trial is given up\r\n",
        "rst:0x3 (RTC_SW_SYS_RST)",
        "ota_0 runs, the record says Some(Aborted)\r\nstays\r\n",
    ] {
        board.run_until(expected.as_bytes(), secs(10)).unwrap();
    }
    let [old, new] = SLOTS.map(|at| &board.flash().bytes()[at as usize..][..image.len()]);
    assert!(old == new, "the copy differs");
    assert_eq!(state(&board), ABORTED);
}
