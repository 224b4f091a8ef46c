//! Tests whole sessions with a small ROM loader, with and without faults.

use crate::rom::{Fault, Rom, Way};
use esplice_chip::{ChipDb, FlashOffset};
use esplice_flash::{
    ErrorClass, FlashError, FlashEvent, FlashOptions, FlashReport, flash, reset_to_run,
};
use esplice_image::{ResolvedPlan, Write, WriteKind};
use esplice_protocol::{Opcode, Port as _, SecurityInfo};
use md5::{Digest as _, Md5};

fn options() -> FlashOptions {
    let target = Some(ChipDb::embedded().find("esp32c3").unwrap());
    FlashOptions::default().target(target.cloned()).baud(Some(921_600))
}

/// A bootloader of three sectors, a table, an app of an odd length that does not compress well.
fn writes() -> Vec<Write> {
    let noise = |seed: u32, len: usize| -> Vec<u8> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0x3f
        };
        (0..len).map(next).collect()
    };
    let write = |name: &str, kind, offset, data| Write {
        name: name.to_owned(),
        kind,
        offset: FlashOffset(offset),
        data,
    };
    let mut bootloader = noise(1, 0x2345);
    bootloader[0] = 0xe9;
    vec![
        write("bootloader", WriteKind::Bootloader, 0, bootloader),
        write("partition table", WriteKind::PartitionTable, 0x8000, noise(2, 0xc00)),
        write("app", WriteKind::App, 0x1_0000, noise(3, 0x4321)),
    ]
}

fn run(
    rom: &mut Rom,
    options: &FlashOptions,
) -> (Result<FlashReport, FlashError>, Vec<FlashEvent>) {
    let mut events = Vec::new();
    let plan = |_: &_| Ok(ResolvedPlan::from(writes()));
    let result = flash(rom, options, plan, &mut |event| events.push(event));
    (result, events)
}

fn holds(rom: &Rom) -> bool {
    writes().iter().all(|write| {
        let at = write.offset.0 as usize;
        rom.flash.get(at..at + write.data.len()) == Some(write.data.as_slice())
    })
}

fn warnings(events: &[FlashEvent]) -> usize {
    events.iter().filter(|event| matches!(event, FlashEvent::Warning { .. })).count()
}

#[test]
fn a_good_link_needs_nothing_twice() {
    let mut rom = Rom::new();
    let (result, events) = run(&mut rom, &options());
    let report = result.unwrap();
    assert!(holds(&rom));
    assert_eq!(warnings(&events), 0);
    assert_eq!(report.chip.revision_text(), "v0.4");
    assert_eq!(report.chip.mac_text(), "02:00:00:c3:00:01");
    assert_eq!(report.chip.flash_size, 4 << 20);
    assert_eq!(report.chip.features[2..], ["QFN28 (ESP8685)"]);
    let count = |opcode| rom.opcodes.iter().filter(|op| **op == opcode).count();
    assert_eq!(count(Opcode::FlashDeflBegin), 3);
    // The first word of table and bootloader comes last.
    assert_eq!(count(Opcode::FlashData), 2);
    // Everything differs: two sectors of the app are sampled, all of the smaller writes, and each
    // write is hashed as a whole at the end.
    assert_eq!(count(Opcode::SpiFlashMd5), 2 + 1 + 5 + 3);
    assert_eq!(count(Opcode::Sync), 1);
    assert_eq!(count(Opcode::FlashDeflEnd) + count(Opcode::FlashEnd), 0);
    assert_eq!(report.statistics.frames as usize, rom.frames[0]);
    assert_eq!(report.statistics.sectors_total, 3 + 1 + 5);
    let verified: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            FlashEvent::Verified { offset, len, .. } => Some((offset.0, *len)),
            _ => None,
        })
        .collect();
    assert_eq!(verified, [(0x1_0000, 0x4324), (0x8000, 0xc00), (0, 0x2348)]);
    // The progress of each write ends at its length.
    for (name, len) in [("bootloader", 0x2348), ("app", 0x4324)] {
        let last = events.iter().rev().find_map(|event| match event {
            FlashEvent::Progress { stage, done, total } if stage == name => Some((*done, *total)),
            _ => None,
        });
        assert_eq!(last, Some((len, len)), "{name}");
    }
    assert!(matches!(events.last(), Some(FlashEvent::Statistics(_))));
}

/// Tests each chip's loader with the traits in its data: chip IDs, magic words or neither, BEGIN of
/// 16 and of 20 bytes, and no security info.
#[test]
fn every_chip_is_found_out_and_written() {
    for chip in ChipDb::embedded().chips() {
        let name = &chip.name;
        let mut rom = Rom::of(chip);
        let options = FlashOptions::default().baud(Some(921_600));
        let (result, events) = run(&mut rom, &options);
        let report = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(&report.chip.chip.name, name);
        assert_eq!(report.chip.mac_text(), "02:00:00:c3:00:01", "{name}");
        assert!(events.iter().any(|event| matches!(event, FlashEvent::Baud(921_600))), "{name}");
        assert_eq!(warnings(&events), 0, "{name}: {events:?}");
        assert!(holds(&rom), "{name}");
        assert!(!report.chip.security.secure_boot, "{name}");
    }
}

#[test]
fn the_esp32_tells_its_revision_by_bits_and_its_security_by_efuses() {
    let chip = ChipDb::embedded().find("esp32").unwrap();
    let mut rom = Rom::of(chip);
    rom.fuse("wafer-version-major", 3);
    rom.fuse("wafer-version-minor", 1);
    let options = FlashOptions::default();
    assert_eq!(run(&mut rom, &options).0.unwrap().chip.revision_text(), "v3.1");
    for field in ["secure-boot-en", "secure-boot-v2-en", "spi-boot-crypt-cnt"] {
        let mut rom = Rom::of(chip);
        rom.fuse(field, 1);
        let error = run(&mut rom, &options).0.unwrap_err();
        assert!(matches!(error, FlashError::Security { .. }), "{field}: {error}");
    }
}

#[test]
fn after_the_reset_the_port_holds_all_of_the_new_boot() {
    let mut rom = Rom::new();
    run(&mut rom, &options()).0.unwrap();
    let released = reset_to_run(&mut rom, 115_200).unwrap().unwrap();
    let mut seen = Vec::new();
    let mut buf = [0; 16];
    let deadline = released + std::time::Duration::from_secs(1);
    loop {
        match rom.read(&mut buf, deadline).unwrap() {
            0 => break,
            count => seen.extend_from_slice(&buf[..count]),
        }
    }
    assert!(seen.starts_with(b"ESP-ROM"), "{:?}", String::from_utf8_lossy(&seen));
    assert!(seen.ends_with(b"Hello\r\n"));
    assert_eq!(rom.lines_now, (false, false));
}

/// Breaks every frame of a session, in both directions and in every way.
#[test]
fn any_one_broken_frame_is_mended() {
    let mut clean = Rom::new();
    run(&mut clean, &options()).0.unwrap();
    let mut runs = 0;
    for way in [Way::ToBoard, Way::ToHost] {
        for fault in [
            Fault::Lost,
            Fault::ByteLost,
            Fault::Flipped,
            Fault::FlippedEarly,
            Fault::Truncated,
            Fault::Doubled,
            Fault::Late,
            Fault::Reset,
        ] {
            for number in 0..clean.frames[way as usize] {
                let mut rom = Rom::new();
                rom.fault = Some((way, number, fault));
                let (result, events) = run(&mut rom, &options());
                let what = format!("{way:?} frame {number} {fault:?}");
                if let Err(error) = result {
                    panic!("{what}: {error}\n{events:#?}");
                }
                assert!(holds(&rom), "{what}: success over wrong contents");
                runs += 1;
            }
        }
    }
    assert!(runs > 800, "{runs}");
}

/// A flash that is interrupted anywhere reports no success and leaves nothing bootable over half a
/// body, and the next run repairs it.
#[test]
fn an_interrupted_flash_is_repaired_by_the_next() {
    let mut clean = Rom::new();
    run(&mut clean, &options()).0.unwrap();
    for (fault, class) in
        [(Fault::Interrupt, ErrorClass::Interrupted), (Fault::Gone, ErrorClass::Lost)]
    {
        for number in 0..clean.frames[0] {
            let mut rom = Rom::new();
            // The flash holds an older bootloader.
            rom.flash[0] = 0xe9;
            rom.fault = Some((Way::ToBoard, number, fault));
            let (result, _) = run(&mut rom, &options());
            assert_eq!(result.unwrap_err().class(), class, "frame {number}");
            if fault == Fault::Interrupt {
                assert_eq!(rom.lines_now, (false, false), "frame {number}");
            }
            let body = &writes()[0].data[0x1000..];
            let old_body = rom.flash[0x1000..].starts_with(&[0xa5; 16]);
            let new_body = rom.flash[0x1000..].starts_with(body);
            assert!(rom.flash[0] == 0xff || old_body || new_body, "frame {number}: half a body");
            rom.restart();
            run(&mut rom, &options()).0.unwrap();
            assert!(holds(&rom), "frame {number}");
        }
    }
}

#[test]
fn noise_and_messages_before_replies_are_passed_over() {
    for noise in
        [&b"I (31) boot: hello\r\n"[..], &[0xc0], &[0xc0, 1, 2, 3], &[0xdb, 0, 0xc0], &[0xdb]]
    {
        let mut rom = Rom::new();
        rom.noise = noise.to_vec();
        let (result, _) = run(&mut rom, &options());
        result.unwrap_or_else(|error| panic!("{noise:x?}: {error}"));
        assert!(holds(&rom));
    }
    // More noise than the longest frame.
    let mut rom = Rom::new();
    rom.noise = vec![b'x'; 5000];
    let mut plain = options();
    plain.baud = None;
    run(&mut rom, &plain).0.unwrap();
}

#[track_caller]
fn check_error(mut rom: Rom, options: &FlashOptions, class: ErrorClass, message: &str) -> Rom {
    let before = rom.flash.clone();
    let error = run(&mut rom, options).0.unwrap_err();
    assert_eq!(error.to_string(), message);
    assert_eq!(error.class(), class);
    if !matches!(class, ErrorClass::Verify | ErrorClass::Transfer) {
        assert!(rom.flash == before, "flash was touched");
    }
    rom
}

#[test]
fn a_silent_board_is_given_up() {
    let silent = || Rom::with(|rom| rom.silent = true);
    let message = "Failed to connect to rom: no answer after 7 tries";
    check_error(silent(), &options(), ErrorClass::NoAnswer, message);
    let mut once = options();
    once.connect.attempts = 1;
    let message = "Failed to connect to rom: no answer after 1 try";
    check_error(silent(), &once, ErrorClass::NoAnswer, message);
    let mut rom = Rom::with(|rom| (rom.silent, rom.lines) = (true, false));
    let error = run(&mut rom, &options()).0.unwrap_err();
    assert!(error.hint().unwrap().contains("hold BOOT, press RESET"), "{error:?}");
}

#[test]
fn a_board_that_boots_instead_is_named() {
    let rom = Rom::with(|rom| rom.boot_pin_broken = true);
    let message = "Failed to connect to rom: the board is running and did not enter download mode, after 7 tries";
    check_error(rom, &options(), ErrorClass::NoAnswer, message);
}

#[test]
fn another_chip_is_refused() {
    let mut rom = Rom::new();
    rom.security.chip_id = Some(999);
    check_error(rom, &options(), ErrorClass::WrongChip, "unknown chip: its ID is 999");
    let mut rom = Rom::new();
    rom.security.chip_id = Some(9);
    let message = "the board is esp32s3, the target is esp32c3";
    check_error(rom, &options(), ErrorClass::WrongChip, message);
    let mut other_target = options();
    other_target.target = Some(ChipDb::embedded().find("esp32h2").unwrap().clone());
    let message = "the board is esp32c3, the target is esp32h2";
    check_error(Rom::new(), &other_target, ErrorClass::WrongChip, message);
}

#[test]
fn a_rom_without_security_info_is_known_by_its_magic() {
    let mut rom = Rom::with(|rom| rom.no_security_info = true);
    run(&mut rom, &options()).0.unwrap();
    assert!(holds(&rom));
}

#[test]
fn a_loader_that_takes_one_register_at_a_time_is_served() {
    let mut rom = Rom::with(|rom| rom.single_registers = true);
    let (result, events) = run(&mut rom, &options());
    result.unwrap();
    assert!(holds(&rom));
    assert_eq!(warnings(&events), 0, "{events:?}");
}

#[test]
fn what_would_brick_is_refused() {
    let mut rom = Rom::new();
    rom.security.flags = SecurityInfo::SECURE_DOWNLOAD;
    let message =
        "secure download mode is on: the ROM loader neither reads registers nor verifies flash";
    check_error(rom, &options(), ErrorClass::Security, message);
    let mut rom = Rom::new();
    rom.security.flags = SecurityInfo::SECURE_BOOT;
    let message = "secure boot is on: an image written over the serial port would not boot";
    check_error(rom, &options(), ErrorClass::Security, message);
    let mut rom = Rom::new();
    rom.security.flash_crypt_cnt = 0b111;
    let message = "flash encryption is on: an image written over the serial port would not boot";
    check_error(rom, &options(), ErrorClass::Security, message);
}

#[test]
fn wrong_contents_are_no_success() {
    let rom = Rom::with(|rom| rom.wrong_hash = true);
    let mut app = writes()[2].data.clone();
    app.resize(0x4324, 0xff);
    let expected: String = Md5::digest(&app).iter().map(|byte| format!("{byte:02x}")).collect();
    let message = format!(
        "app at 0x10000: flash has MD5 {} over 17188 bytes, expected {expected}",
        "0".repeat(32)
    );
    let rom = check_error(rom, &options(), ErrorClass::Verify, &message);
    // One write, and one more of the sectors that differ.
    assert_eq!(rom.opcodes.iter().filter(|op| **op == Opcode::FlashDeflBegin).count(), 2);
}

#[test]
fn a_refused_command_is_an_error_with_its_reason() {
    let rom = Rom::with(|rom| rom.refuse = Some(Opcode::FlashDeflBegin));
    let message = "writing app at 0x10000 failed 3 times, last error: the loader refused FlashDeflBegin: message is invalid (0x05)";
    check_error(rom, &options(), ErrorClass::Transfer, message);
}

#[test]
fn a_cable_that_bears_less_gets_less() {
    for (best, reached) in [(500_000, 460_800), (115_200, 115_200)] {
        let mut rom = Rom::with(|rom| rom.best_baud = best);
        let (result, events) = run(&mut rom, &options());
        result.unwrap();
        assert!(holds(&rom));
        let bauds: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                FlashEvent::Baud(baud) => Some(*baud),
                _ => None,
            })
            .collect();
        if reached == 115_200 {
            assert!(bauds.is_empty(), "{bauds:?}");
        } else {
            assert_eq!(bauds, [reached]);
        }
        assert!(warnings(&events) > 0);
    }
}

#[test]
fn a_port_without_lines_serves_a_board_in_download_mode() {
    let mut rom = Rom::in_download_mode();
    run(&mut rom, &options()).0.unwrap();
    assert!(holds(&rom));
    assert_eq!(reset_to_run(&mut rom, 115_200).unwrap(), None);
}

/// Such a board is not reset, so an interrupted flash leaves its loader at whatever rate the
/// transfer used.
#[test]
fn without_lines_a_loader_left_at_a_raised_rate_is_found_again() {
    let mut clean = Rom::in_download_mode();
    run(&mut clean, &options()).0.unwrap();
    let last = clean.frames[0] - 1;
    for baud in [921_600, 460_800, 230_400] {
        let options = options().baud(Some(baud));
        let mut rom = Rom::in_download_mode();
        rom.fault = Some((Way::ToBoard, last, Fault::Interrupt));
        run(&mut rom, &options).0.unwrap_err();
        rom.restart();
        run(&mut rom, &self::options()).0.unwrap();
        assert!(holds(&rom), "{baud}");
    }
}

#[test]
fn writes_outside_the_flash_are_refused_before_any_is_done() {
    for (offset, len, message) in [
        (
            0x3f_f000,
            0x1001,
            "app of 4097 bytes at 0x3ff000 ends at 0x400001, 1 bytes past the flash of 4194304 bytes",
        ),
        (0x1_0004, 4, "app at 0x10004 does not begin at a flash sector (0x1000 bytes)"),
    ] {
        let mut rom = Rom::new();
        let before = rom.flash.clone();
        let plan = |_: &_| {
            let good = writes().remove(0);
            let bad = Write {
                name: "app".into(),
                kind: WriteKind::App,
                offset: FlashOffset(offset),
                data: vec![1; len],
            };
            Ok(ResolvedPlan::from(vec![good, bad]))
        };
        let error = flash(&mut rom, &options(), plan, &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.class(), ErrorClass::Plan);
        assert!(rom.flash == before);
    }
}
