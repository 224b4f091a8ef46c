//! Tests esplice's own stub, uploaded and executed on the virtual board: with the mask ROM's own code,
//! and with the board's built-in ROM functions.

use std::{fs, path::Path, sync::Arc, time::Duration};

use crate::{broken::Broken, mask_rom};
use esplice_chip::{Chip, ChipDb, FlashOffset};
use esplice_flash::{
    FlashError, FlashEvent, FlashOptions, FlashReport, LoaderUse, Session, Strategy, Stub,
    StubSource, flash, reset_to_run, with_board,
};
use esplice_image::{CsvOptions, Partition, PartitionTable, ResolvedPlan, Write, WriteKind};
use esplice_protocol::{Opcode, Port, Request};
use esplice_sim::SimPort;
use esplice_stub::wire;
use proptest::prelude::*;

const FLASH: usize = 4 << 20;

fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").unwrap()
}

/// Chips with a stub whose boards need the mask ROM's code.
const OTHERS: [&str; 3] = ["esp32c2", "esp32c6", "esp32h2"];

/// Names of the virtual board, with the mask ROM's code and without.
fn boards(flash: &Path, time: &str) -> [String; 2] {
    let hooked = format!("sim:esp32c3,flash={},time={time}", flash.display());
    [format!("{hooked},rom={}", mask_rom::path().display()), hooked]
}

fn options(baud: u32) -> FlashOptions {
    options_for(chip(), baud)
}

fn options_for(chip: &Arc<Chip>, baud: u32) -> FlashOptions {
    FlashOptions::default()
        .target(Some(chip.clone()))
        .baud(Some(baud))
        .stub(StubSource::only(Stub::own(chip).unwrap()))
}

/// Bytes that compress like code: some words repeat.
fn code(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let words: Vec<u32> = (0..64).map(|_| next() << 9 | 0x6f).collect();
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let word = if next() & 3 == 0 { next() } else { words[next() as usize % words.len()] };
        bytes.extend(word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn write(name: &str, kind: WriteKind, offset: u32, data: Vec<u8>) -> Write {
    Write { name: name.to_owned(), kind, offset: FlashOffset(offset), data }
}

fn writes() -> Vec<Write> {
    let table = PartitionTable::esp_idf_default().to_bytes().unwrap();
    vec![
        write("bootloader", WriteKind::Bootloader, 0, code(0x5801, 1)),
        write("partition table", WriteKind::PartitionTable, 0x8000, table),
        write("app", WriteKind::App, 0x1_0000, code(0x2_2345, 2)),
    ]
}

fn run<P: Port + ?Sized>(
    port: &mut P,
    writes: &[Write],
    options: &FlashOptions,
) -> (Result<FlashReport, FlashError>, Vec<FlashEvent>) {
    let mut events = Vec::new();
    let plan = |_: &_| Ok(ResolvedPlan::from(writes.to_vec()));
    let result = flash(port, options, plan, &mut |event| events.push(event));
    (result, events)
}

#[track_caller]
fn check_flash(path: &Path, writes: &[Write], what: &str) {
    let flash = fs::read(path).unwrap();
    for write in writes {
        let at = write.offset.0 as usize;
        let found = &flash[at..at + write.data.len()];
        assert!(found == write.data, "{what}: {} differs", write.name);
    }
}

/// Flashes `writes` over `before` and returns the report. There must be no warning.
#[track_caller]
fn check(name: &str, path: &Path, writes: &[Write], options: &FlashOptions) -> FlashReport {
    let mut port = SimPort::open(name).unwrap();
    let (result, events) = run(&mut port, writes, options);
    let report = result.unwrap_or_else(|error| panic!("{name}: {error}\n{events:#?}"));
    check_flash(path, writes, name);
    let warned = events.iter().any(|event| matches!(event, FlashEvent::Warning { .. }));
    assert!(!warned, "{name}: {events:#?}");
    let uploaded = events.contains(&FlashEvent::Loader(LoaderUse::Uploaded));
    assert!(uploaded || report.statistics.sectors_written == 0, "{name}: {events:#?}");
    for write in writes {
        let progress = events.iter().rev().find_map(|event| match event {
            FlashEvent::Progress { stage, done, total } if *stage == write.name => {
                Some((*done, *total))
            }
            _ => None,
        });
        let end = write.data.len().next_multiple_of(4) as u32;
        assert!(progress.is_none_or(|progress| progress == (end, end)), "{name}: {events:#?}");
    }
    assert!(reset_to_run(&mut port, 115_200).unwrap().is_some());
    report
}

#[test]
fn writes_and_verifies_at_all_rates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let cases = [(921_600, "none"), (115_200, "virtual"), (921_600, "virtual")];
    for (baud, time) in cases.into_iter().chain([(2_000_000, "virtual"), (3_000_000, "virtual")]) {
        for name in boards(&path, time) {
            fs::write(&path, vec![0x5a; FLASH]).unwrap();
            let report = check(&name, &path, &writes(), &options(baud));
            assert_eq!(report.baud, baud);
            let statistics = report.statistics;
            assert_eq!((statistics.sectors_total, statistics.sectors_written), (42, 42), "{name}");
            println!("{name} at {baud}: {statistics:?}");
        }
    }
}

#[test]
fn works_on_other_chips() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    for name in OTHERS {
        let chip = ChipDb::embedded().find(name).unwrap();
        let rom = mask_rom::path_of(name);
        for baud in [115_200, 921_600, 2_000_000, 3_000_000] {
            let time = if baud == 115_200 { "none" } else { "virtual" };
            let port =
                format!("sim:{name},flash={},time={time},rom={}", path.display(), rom.display());
            let options = options_for(chip, baud);
            fs::write(&path, vec![0x5a; FLASH]).unwrap();
            let report = check(&port, &path, &writes(), &options);
            println!("{name} at {baud}: {:?}", report.statistics);
            let again = check(&port, &path, &writes(), &options).statistics;
            assert_eq!(again.sectors_written, 0, "{port}: {again:?}");
            let held = fs::read(&path).unwrap();
            let mut read = Vec::new();
            with_board(&mut SimPort::open(&port).unwrap(), &options, &mut |_| {}, |session, _| {
                session.read_flash(FlashOffset(0), 0x4_0000, &mut |bytes| {
                    read.extend_from_slice(bytes);
                    Ok(())
                })
            })
            .unwrap_or_else(|error| panic!("{port}: {error}"));
            assert!(read == held[..0x4_0000], "{port}");
        }
    }
}

#[test]
fn writes_over_usb() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    for name in boards(&path, "virtual") {
        fs::write(&path, vec![0x5a; FLASH]).unwrap();
        let mut options = options(115_200);
        options.connect.strategies = Strategy::parse("usb-serial-jtag").unwrap();
        let report = check(&format!("{name},line=usb"), &path, &writes(), &options);
        println!("{name} over USB: {:?}", report.statistics);
    }
}

/// Sectors that the flash already holds are skipped, and a changed byte costs one sector.
#[test]
fn writes_only_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    for name in boards(&path, "virtual") {
        fs::write(&path, vec![0xff; FLASH]).unwrap();
        check(&name, &path, &writes(), &options(921_600));
        let again = check(&name, &path, &writes(), &options(921_600)).statistics;
        assert_eq!(again.sectors_written, 0, "{name}: {again:?}");
        println!("{name} unchanged: {again:?}");
        let mut changed = writes();
        changed[2].data[0x1_2345] ^= 1;
        changed[2].data[0x2_0000] ^= 1;
        let edited = check(&name, &path, &changed, &options(921_600)).statistics;
        assert_eq!(edited.sectors_written, 2, "{name}: {edited:?}");
        println!("{name} two sectors: {edited:?}");
        // A bootloader goes from its first sector to the last that differs.
        changed[0].data[0x2345] ^= 1;
        let bootloader = check(&name, &path, &changed, &options(921_600)).statistics;
        assert_eq!(bootloader.sectors_written, 3, "{name}: {bootloader:?}");
    }
}

/// Blocks of 64 KiB are erased to their end only within the app's partition.
#[test]
fn erases_no_more_than_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let name = &boards(&path, "virtual")[1];
    let table = |app_len: u32| {
        let options = CsvOptions::new(FlashOffset(0x8000));
        let csv = format!("nvs,data,nvs,0x9000,0x6000\napp,app,factory,0x10000,{app_len:#x}\n");
        PartitionTable::from_csv(&csv, &options).unwrap()
    };
    for (app_len, kept_from) in [(0x2_0000, 0x3_0000), (0x1_8000, 0x2_8000), (0x10_0000, 0x3_0000)]
    {
        let table = table(app_len);
        assert!(table.partitions.iter().any(Partition::is_app));
        let data = code(0x1_7345, 5);
        let app = write("app", WriteKind::App, 0x1_0000, data.clone());
        let rows = table.to_bytes().unwrap();
        let rows = write("partition table", WriteKind::PartitionTable, 0x8000, rows);
        let other = write("data", WriteKind::Data, 0x20_0000, code(0x1_3000, 6));
        let before: Vec<u8> = (0..FLASH as u32).map(|n| (n ^ n >> 8 | 1) as u8).collect();
        fs::write(&path, &before).unwrap();
        check(name, &path, &[rows, app, other], &options(921_600));
        let after = fs::read(&path).unwrap();
        let end = 0x1_0000 + data.len().next_multiple_of(0x1000);
        for (at, (new, old)) in after.iter().zip(&before).enumerate() {
            let written = (0x8000..0x9000).contains(&at)
                || (0x1_0000..end).contains(&at)
                || (0x20_0000..0x21_3000).contains(&at);
            let harmless = (end..kept_from).contains(&at);
            assert!(written || harmless || new == old, "{app_len:#x}: {at:#x} was changed");
        }
        // The block's rest within the partition went with it.
        assert!(after[end..kept_from].iter().all(|byte| *byte == 0xff), "{app_len:#x}");
    }
}

/// Lost and damaged blocks are sent again, and nothing else.
#[test]
fn a_noisy_line_costs_only_the_damaged_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let name = &boards(&path, "virtual")[1];
    let app = [write("app", WriteKind::App, 0x1_0000, code(0x4_0000, 9))];
    fs::write(&path, vec![0x5a; FLASH]).unwrap();
    let clean = check(name, &path, &app, &options(921_600)).statistics;
    fs::write(&path, vec![0x5a; FLASH]).unwrap();
    let mut port = Broken::new(SimPort::open(name).unwrap(), &[]);
    port.spoil = Some((Opcode::StreamData, 7));
    let (result, events) = run(&mut port, &app, &options(921_600));
    let noisy = result.unwrap_or_else(|error| panic!("{error}\n{events:#?}")).statistics;
    assert!(!events.iter().any(|event| matches!(event, FlashEvent::Warning { .. })), "{events:#?}");
    check_flash(&path, &app, "noisy");
    let (sent, frames) = (noisy.bytes_sent - clean.bytes_sent, noisy.frames - clean.frames);
    println!("{frames} blocks more, {sent} bytes, {:?} instead of {:?}", noisy.time, clean.time);
    assert!(frames <= clean.frames / 4, "{frames} of {}", clean.frames);
}

fn with_own<T>(
    name: &str,
    work: impl FnOnce(&mut Session<'_, SimPort>) -> Result<T, FlashError>,
) -> T {
    let mut port = SimPort::open(name).unwrap();
    with_board(&mut port, &options(921_600), &mut |_| {}, |session, _| work(session)).unwrap()
}

#[test]
fn reads_what_the_flash_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let mut before = vec![0xff; FLASH];
    before[0x1_0000..0x5_1234].copy_from_slice(&code(0x4_1234, 3));
    before[0x10_0000..0x10_8000].fill(0);
    for (place, byte) in before[0x20_0000..0x21_0000].iter_mut().enumerate() {
        *byte = ((place * place) >> 7) as u8;
    }
    for name in boards(&path, "virtual") {
        fs::write(&path, &before).unwrap();
        for (from, len) in
            [(0_u32, FLASH as u32), (0x1_0123, 0x1_8765), (0x5_0000, 3), (0x3f_fffd, 3)]
        {
            let mut read = Vec::new();
            let took = with_own(&name, |session| {
                let began = session.port().now();
                session.read_flash(FlashOffset(from), len, &mut |bytes| {
                    read.extend_from_slice(bytes);
                    Ok(())
                })?;
                Ok(session.port().now().since(began))
            });
            assert!(read == before[from as usize..(from + len) as usize], "{name}: {from:#x}");
            println!("{name}: {len} bytes in {took:?}");
        }
    }
}

/// Lost and damaged frames of the stream are read again.
#[test]
fn reads_over_a_noisy_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let name = &boards(&path, "virtual")[1];
    let mut before = vec![0xff; FLASH];
    before[0x1_0000..0x3_0000].copy_from_slice(&code(0x2_0000, 3));
    fs::write(&path, &before).unwrap();
    let mut port = Broken::new(SimPort::open(name).unwrap(), &[]);
    port.spoil = Some((Opcode::StreamRead, 5));
    let mut read = Vec::new();
    with_board(&mut port, &options(921_600), &mut |_| {}, |session, _| {
        session.read_flash(FlashOffset(0x8000), 0x4_0000, &mut |bytes| {
            read.extend_from_slice(bytes);
            Ok(())
        })
    })
    .unwrap();
    assert!(read == before[0x8000..0x4_8000]);
}

#[test]
fn erases() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let times = [&boards(&path, "virtual")[..], &boards(&path, "none")[..]].concat();
    for name in times {
        let mut expected = code(FLASH, 4);
        fs::write(&path, &expected).unwrap();
        with_own(&name, |session| session.erase_region(FlashOffset(0xf000), 0x2_2000));
        expected[0xf000..0x3_1000].fill(0xff);
        assert!(fs::read(&path).unwrap() == expected, "{name}: erased otherwise");
        if name.contains("time=none") {
            with_own(&name, |session| session.erase_flash(FLASH as u32));
            assert!(fs::read(&path).unwrap().iter().all(|byte| *byte == 0xff), "{name}");
        }
    }
}

/// Left alone, the stub starts the program in flash.
#[test]
fn an_idle_stub_resets_the_board() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    for name in boards(&path, "virtual") {
        let mut port = SimPort::open(&name).unwrap();
        with_board(&mut port, &options(921_600), &mut |_| {}, |session, _| {
            let idle = Request::Own { opcode: Opcode::IdleTimeout, data: words(&[700]) };
            session.command(&idle, Duration::from_secs(1))
        })
        .unwrap();
        port.set_lines(false, false).unwrap();
        port.set_baud(115_200).unwrap();
        let deadline = port.now() + Duration::from_secs(2);
        let mut heard = Vec::new();
        let mut buf = [0; 256];
        while !String::from_utf8_lossy(&heard).contains("SPI_FAST_FLASH_BOOT") {
            let count = port.read(&mut buf, deadline).unwrap();
            assert!(count > 0, "{name}: {}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&buf[..count]);
        }
    }
}

/// A stub that is damaged on its way, or not for this board, is replaced by the ROM loader, with
/// one warning.
#[test]
fn a_stub_that_does_not_start_is_replaced_by_the_rom_loader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let mut stub = Stub::own(chip()).unwrap();
    // Jumps to itself.
    stub.text.bytes[..2].copy_from_slice(&0xa001_u16.to_le_bytes());
    let options = options(921_600).stub(StubSource::only(stub));
    for name in boards(&path, "virtual") {
        fs::write(&path, vec![0x5a; FLASH]).unwrap();
        let mut port = SimPort::open(&name).unwrap();
        let (result, events) = run(&mut port, &writes(), &options);
        result.unwrap_or_else(|error| panic!("{name}: {error}\n{events:#?}"));
        check_flash(&path, &writes(), &name);
        let warnings = events.iter().filter(|event| matches!(event, FlashEvent::Warning { .. }));
        assert_eq!(warnings.count(), 1, "{name}: {events:#?}");
        assert!(events.contains(&FlashEvent::Loader(LoaderUse::Rom)), "{name}: {events:#?}");
    }
}

/// Returns the reason for which the stub refuses a request.
fn reason(session: &mut Session<'_, SimPort>, request: &Request) -> u8 {
    match session.command(request, Duration::from_secs(1)) {
        Err(FlashError::Refused { reason, .. }) => reason,
        other => panic!("{request:?}: {other:?}"),
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Requests outside the flash, the announced ranges or the RAM for programs change nothing.
#[test]
fn what_was_not_announced_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let name = &boards(&path, "virtual")[1];
    let before = vec![0x5a; FLASH];
    fs::write(&path, &before).unwrap();
    let own = |opcode, data| Request::Own { opcode, data };
    with_own(name, |session| {
        // The parts that write are there.
        session.erase_region(FlashOffset(0), 0)?;
        let outside = wire::reason::RANGE;
        let begin = |ranges: &[[u32; 4]]| {
            let mut data = words(&[wire::RAW, 0, 64, ranges.len() as u32]);
            for range in ranges {
                data.extend(words(range));
                data.extend([0; 32]);
            }
            data.extend(esplice_stub::crc::crc32(&data).to_le_bytes());
            own(Opcode::StreamBegin, data)
        };
        for (range, expected) in [
            ([0x40_0000, 64, 0x40_1000, 0], outside),
            ([0x3f_f000, 0x1004, 0x40_1000, 0], outside),
            ([0xffff_f000, 0x2000, 0x1000, 0], outside),
            ([0x1000, 64, 0x50_0000, 0], outside),
            ([0x1000, 64, 0x1000, 0], wire::reason::PARAMETER),
            ([0x1004, 64, 0x2000, 0], wire::reason::PARAMETER),
            ([0x1000, 64, 0x1040, 0], wire::reason::PARAMETER),
            ([0x1000, 2, 0x2000, wire::HEAD_LAST], wire::reason::PARAMETER),
        ] {
            assert_eq!(reason(session, &begin(&[range])), expected, "{range:x?}");
        }
        let erase = |offset, len| Request::EraseRegion { offset, len };
        assert_eq!(reason(session, &erase(0x3f_f000, 0x2000)), outside);
        assert_eq!(reason(session, &erase(0x100, 0x1000)), wire::reason::PARAMETER);
        assert_eq!(reason(session, &own(Opcode::HashSectors, words(&[0x40_0000, 1]))), outside);
        let mem = |addr, len| Request::MemBegin { len, blocks: 1, block_len: len, addr };
        for addr in [0x3fc8_0000, 0x3fcb_0000, 0x3fcd_f000, 0x6000_0000, 0xffff_fff0] {
            assert_eq!(reason(session, &mem(addr, 64)), outside, "{addr:#x}");
        }
        let jump = Request::MemEnd { stay: false, entry: 0x4038_0000 };
        assert_eq!(reason(session, &jump), outside);
        let finish = own(Opcode::StreamFinish, Vec::new());
        assert_eq!(reason(session, &finish), wire::reason::NO_WRITE);
        Ok(())
    });
    assert!(fs::read(&path).unwrap() == before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever arrives, flash outside the announced ranges keeps its contents, and the stub
    /// still answers.
    #[test]
    fn random_frames_change_nothing_else(
        frames in proptest::collection::vec((0..9_u8, any::<u16>(), proptest::collection::vec(any::<u8>(), 0..80)), 1..40),
        flips in any::<u64>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("board.flash");
        let name = &boards(&path, "none")[1];
        let before = vec![0x5a; FLASH];
        fs::write(&path, &before).unwrap();
        with_own(name, |session| {
            session.erase_region(FlashOffset(0x10_0000), 0x1000)?;
            // One sector may be written.
            let mut data = words(&[wire::RAW, 0, 0x1000, 1, 0x10_0000, 0x1000, 0x10_1000, 0]);
            data.extend([0; 32]);
            data.extend(esplice_stub::crc::crc32(&data).to_le_bytes());
            let begin = Request::Own { opcode: Opcode::StreamBegin, data };
            session.command(&begin, Duration::from_secs(1))?;
            for (kind, number, bytes) in &frames {
                let mut frame = vec![0, 0xe0 + kind, bytes.len() as u8, 0, 0, 0, 0, 0];
                if *kind == 2 || *kind == 8 || flips >> (number % 64) & 1 != 0 {
                    frame[2] ^= *number as u8;
                }
                frame.extend(bytes);
                let encoded = esplice_protocol::slip::encode(&frame);
                session.port().write(&encoded).unwrap();
            }
            let end = session.port().now() + Duration::from_millis(400);
            session.port().wait_until(end).unwrap();
            Ok(())
        });
        let after = fs::read(&path).unwrap();
        for (at, (new, old)) in after.iter().zip(&before).enumerate() {
            let open = (0x10_0000..0x10_1000).contains(&at);
            prop_assert!(open || new == old, "{at:#x} was changed");
        }
    }
}
