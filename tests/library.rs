//! The program of docs/src/guide/library.md, which includes the code between the anchors.

// ANCHOR: uses
use std::{error::Error, time::Duration};

use esplice_chip::ChipDb;
use esplice_flash::{ConnectOptions, FlashEvent, FlashOptions, flash_plan, reset_to_run};
use esplice_image::{
    BootLayout, FlashParams, FlashPlan, ImageOptions, PlanParts, ResolveOptions, build_image,
    make_plan, second_stage,
};
use esplice_monitor::{Expectation, Frame, MonitorEvent, Outcome, Symbols, Watch, decode, watch};
use esplice_port::{OpenPort, Options, ROM_BAUD, open};
use esplice_protocol::Moment;
// ANCHOR_END: uses

// ANCHOR: plan
fn plan(elf: &[u8]) -> Result<FlashPlan, Box<dyn Error>> {
    let chip = ChipDb::embedded().find("esp32c3")?;
    let image = build_image(elf, chip, &ImageOptions::for_chip(chip))?;
    let bootloader = second_stage(chip, &FlashParams::for_chip(chip))?;
    let parts = PlanParts {
        bootloader: Some(&bootloader.bytes),
        elf_sha256: Some(image.elf_sha256),
        ..PlanParts::new(BootLayout::Idf, &image.bytes)
    };
    Ok(make_plan(chip, &parts)?)
}
// ANCHOR_END: plan

// ANCHOR: flash
fn flash(board: &mut OpenPort, plan: &FlashPlan) -> Result<Option<Moment>, Box<dyn Error>> {
    let chip = &plan.chip;
    let connect = ConnectOptions::default().strategies(board.strategies(Some(chip))?);
    let target = Some(chip.clone());
    let options = FlashOptions::default().target(target).baud(Some(921_600)).connect(connect);
    let mut print_event = |event| {
        if let FlashEvent::Chip(info) = event {
            eprintln!("found {}", info.chip.display_name);
        }
    };
    let port = board.port.as_mut();
    let report = flash_plan(port, plan, &ResolveOptions::default(), &options, &mut print_event)?;
    for write in &report.writes {
        eprintln!("{} at {} is verified", write.name, write.offset);
    }
    Ok(reset_to_run(port, ROM_BAUD)?)
}
// ANCHOR_END: flash

// ANCHOR: watch
fn observe(board: &mut OpenPort, since: Option<Moment>) -> Result<Outcome, Box<dyn Error>> {
    let options = Watch::default()
        .expect(vec![Expectation::parse("/measured [0-9]+/")?])
        .timeout(Some(Duration::from_secs(5)))
        .since(since);
    let outcome = watch(board.port.as_mut(), &options, &mut |event| {
        if let MonitorEvent::Text(text) = event {
            eprint!("{}", String::from_utf8_lossy(text));
        }
    })?;
    Ok(outcome)
}
// ANCHOR_END: watch

// ANCHOR: decode
fn frames(outcome: &Outcome, symbols: &Symbols) -> Vec<Frame> {
    match outcome {
        Outcome::Panic(report) => decode(report, Some(symbols)),
        _ => Vec::new(),
    }
}
// ANCHOR_END: decode

// ANCHOR: memory
fn variable(board: &OpenPort, symbols: &Symbols, name: &str) -> Option<Vec<u8>> {
    let symbol = symbols.symbol(name)?;
    let (addr, size) = (symbol.addr.try_into().ok()?, symbol.size.try_into().ok()?);
    board.board.as_ref()?.with(|board| board.read_memory(addr, size))
}
// ANCHOR_END: memory

// ANCHOR: chips
fn open_own_board(file: &str, text: &str) -> Result<OpenPort, Box<dyn Error>> {
    let mut chips = ChipDb::default();
    let target = chips.add(file, text)?;
    let name = format!("sim:{}", target.name());
    Ok(open(&name, &Options::default().chips(chips))?)
}
// ANCHOR_END: chips

/// In a project's own program this function reads the compiler's output.
fn firmware() -> Vec<u8> {
    use crate::support::elf::{Symbol, long_hello};

    let text = "hello\r\n\r\n====================== PANIC ======================\r\n\
                panicked at src/main.rs:7:5:\r\nthe sensor is missing\r\n\r\n\
                Backtrace:\r\n\r\n0x42010404\r\n";
    let mut elf = long_hello(text);
    let (rodata, code) = (&elf.sections[0], &elf.sections[1]);
    // The text follows the app descriptor of 256 bytes.
    let text = Symbol { name: "TEXT", addr: rodata.addr + 256, size: 5, section: 0 };
    let size = code.data.len() as u32;
    let name = "_ZN6sensor4main17h0123456789abcdefE";
    let main = Symbol { name, addr: code.addr, size, section: 1 };
    elf.symbols = vec![text, main];
    elf.to_bytes()
}

#[test]
fn from_an_elf_to_decoded_frames() -> Result<(), Box<dyn Error>> {
    let elf = firmware();
    // ANCHOR: main
    let plan = plan(&elf)?;
    let mut board = open("sim:esp32c3", &Options::default())?;
    let since = flash(&mut board, &plan)?;
    let outcome = observe(&mut board, since)?;

    let symbols = Symbols::from_elf(&elf)?;
    let frames = frames(&outcome, &symbols);
    for frame in &frames {
        let name = frame.symbol.as_ref().and_then(|symbol| symbol.function.as_deref());
        eprintln!("{:#x} {}", frame.addr, name.unwrap_or("?"));
    }
    // ANCHOR_END: main
    let Outcome::Panic(report) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(report.message, "the sensor is missing");
    let names = frames.iter().map(|frame| frame.symbol.as_ref()?.function.as_deref());
    assert_eq!(names.collect::<Vec<_>>(), [Some("sensor::main")]);
    assert_eq!(variable(&board, &symbols, "TEXT").as_deref(), Some(&b"hello"[..]));
    Ok(())
}

#[test]
fn a_test_expects_the_panic() -> Result<(), Box<dyn Error>> {
    let elf = firmware();
    let plan = plan(&elf)?;
    let mut board = open("sim:esp32c3", &Options::default())?;
    flash(&mut board, &plan)?;
    // ANCHOR: expect
    let panic = esplice_monitor::expect_panic(board.port.as_mut(), &elf, Duration::from_secs(5))?;
    assert_eq!(panic.report.message, "the sensor is missing");
    assert_eq!(panic.functions().next(), Some("sensor::main"));
    // ANCHOR_END: expect
    Ok(())
}

/// A custom board is known to the port that was opened with it, and to no other.
#[test]
fn a_custom_board_is_opened() -> Result<(), Box<dyn Error>> {
    let text = include_str!("../targets/boards/xiao-esp32c3.toml").replace("xiao-esp32c3", "mine");
    assert!(open("sim:mine", &Options::default()).is_err());
    let board = open_own_board("mine.toml", &text)?;
    assert!(board.board.is_some());
    assert!(open("sim:mine", &Options::default()).is_err());
    Ok(())
}
