//! Tests of parts on the board: esp-hal's drivers in `examples/drivers-rust` against them.

use std::{sync::Arc, time::Duration};

use crate::{compile::compiled_for, mask_rom};
use esplice_chip::{Chip, ChipDb};
use esplice_image::{
    FlashMode, FlashParams, ImageOptions, PartitionTable, build_image, second_stage,
};
use esplice_protocol::PortError;
use esplice_sim::{
    Board, SimError, SimPort, TimeMode, millis,
    nor::Nor,
    parts::{Circuit, I2cPart, PartsError},
    secs,
};

const PARTS: &str = "
[[part]]
type = \"24c32\"
name = \"memory\"

[[part]]
type = \"tmp102\"
name = \"sensor\"
temperature = 21.5
";

fn chip(name: &str) -> &'static Arc<Chip> {
    ChipDb::embedded().find(name).unwrap()
}

/// Returns a board that runs the example. A chip whose ROM is not modelled executes it.
fn board(name: &str) -> Board {
    let chip = chip(name);
    let sim = chip.sim.as_ref().unwrap();
    let elf = std::fs::read(compiled_for(name, "examples/drivers-rust", "drivers-rust")).unwrap();
    let app = build_image(&elf, chip, &ImageOptions::for_chip(chip)).unwrap().bytes;
    let freq = chip.image.default_flash_freq.clone();
    let params = FlashParams { mode: FlashMode::Dio, freq, size: 4 << 20 };
    let bootloader = second_stage(chip, &params).unwrap().bytes;
    let table = PartitionTable::esp_idf_default().to_bytes().unwrap();
    let nor = Nor::in_memory(sim.flash.size(), &sim.flash);
    let mut board = Board::with_flash(chip, nor, TimeMode::Virtual).unwrap();
    if esplice_sim::spec::needs_rom(chip) {
        board = board.with_rom(&mask_rom::image_of(name));
    }
    for (offset, bytes) in [(0, bootloader.as_slice()), (0x8000, &table), (0x1_0000, &app)] {
        board.load_flash_at(offset, bytes).unwrap();
    }
    board
}

#[track_caller]
fn prints(board: &mut Board, text: &str) {
    if let Err(error) = board.run_until(text.as_bytes(), secs(2)) {
        panic!("{error}");
    }
}

/// Returns the next voltage that the example prints, in mV, after one that may be an earlier one.
fn input(board: &mut Board) -> u32 {
    prints(board, "input ");
    prints(board, "\r\n");
    prints(board, "input ");
    let found = board.run_until(b"\r\n", secs(2)).unwrap();
    String::from_utf8_lossy(&found).trim().parse().unwrap()
}

/// The outputs of the example's LEDC and RMT, as edges.
///
/// esp-hal 1.2.2 calculates LEDC's divider for the APB clock of 40 and 96 MHz, but selects the PLL's
/// 80 MHz on the ESP32-C6 and the crystal's 32 MHz on the ESP32-H2. As on silicon (its pull request
/// 5941), the frequency is then twice and one third of the requested 5 kHz.
fn check_outputs(board: &mut Board, name: &str) {
    board.record_pin(8);
    board.record_pin(10);
    board.run_for(millis(300)).unwrap();
    let edges = board.take_edges();
    let period = match name {
        "esp32c6" => 100,
        "esp32h2" => 600,
        _ => 200,
    };
    // Within a count of 8 bits.
    let near = |found: Duration, micros: u64| {
        let micros = Duration::from_micros(micros);
        found.abs_diff(micros) < Duration::from_nanos(2500)
    };
    let widths = |pin: u32, level: bool| -> Vec<Duration> {
        let of_pin: Vec<_> = edges.iter().filter(|edge| edge.pin == pin).collect();
        let pulses = of_pin.windows(2).filter(|pair| pair[0].level == level);
        pulses.map(|pair| pair[1].at - pair[0].at).collect()
    };
    let (high, low) = (widths(10, true), widths(10, false));
    let periods = 300_000 / period as usize;
    assert!(high.len().abs_diff(periods) < 3, "{name}: {}", high.len());
    assert!(high.iter().all(|width| near(*width, period / 4)), "{name}: {:?}", &high[..3]);
    assert!(low.iter().all(|width| near(*width, period / 4 * 3)), "{name}: {:?}", &low[..3]);
    let sent = widths(8, true);
    assert!(sent.len() >= 6 && sent.len().is_multiple_of(3), "{name}: {sent:?}");
    let expected = [10, 20, 30].map(Duration::from_micros);
    assert!(sent.chunks(3).all(|code| code == expected), "{name}: {sent:?}");
    assert!(board.take_edges().is_empty());
}

/// Everything that the example does, on one chip.
fn check(name: &str) {
    // Without parts nobody answers, and the drivers say so.
    let mut bare = board(name);
    prints(&mut bare, "no EEPROM: AcknowledgeCheckFailed(");
    prints(&mut bare, "no sensor: AcknowledgeCheckFailed(");

    let mut board = board(name);
    board.attach_circuit(&Circuit::parse(PARTS).unwrap()).unwrap();
    assert!(board.attach_uart(1));
    board.set_voltage(2, 1234.0).unwrap();
    let said = board.run_until(b"temperature 2150\r\n", secs(2)).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("start 0\r\n"), "{said}");
    // 5 ms are some 35 tries with a delay of 100 µs and a byte of 25 µs.
    let tries = said.split_once("written after ").unwrap().1.split_once(' ').unwrap().0;
    let tries: u32 = tries.parse().unwrap();
    assert!((20..50).contains(&tries), "{tries}");
    assert_eq!(board.part_contents("memory").unwrap()[0xffd..], [0xff, 0, 0]);
    assert!(board.set_part("sensor", "temperature", -10.25));
    prints(&mut board, "temperature -1025\r\n");
    assert!(!board.set_part("sensor", "pressure", 1.0) && !board.set_part("x", "temperature", 1.0));

    // The calibrated converter reads what is set, to the step of its codes.
    for millivolts in [1234, 0, 1, 500, 2000, 2400] {
        board.set_voltage(2, f64::from(millivolts)).unwrap();
        let found = input(&mut board);
        assert!(found.abs_diff(millivolts) <= 2, "{name}: {found} instead of {millivolts} mV");
    }
    board.set_voltage(2, 3600.0).unwrap();
    let full = input(&mut board);
    assert!((2400..4000).contains(&full), "{name}: {full}");
    board.set_voltage(2, 1000.0).unwrap();
    board.set_voltage_noise(5.0, 1);
    let noisy: Vec<u32> = (0..20).map(|_| input(&mut board)).collect();
    let mean = noisy.iter().sum::<u32>() / 20;
    assert!(mean.abs_diff(1000) < 6, "{name}: {noisy:?}");
    assert!(noisy.iter().any(|found| found.abs_diff(1000) > 4), "{name}: {noisy:?}");
    board.set_voltage_noise(0.0, 0);

    check_outputs(&mut board, name);

    // A press of the button, with bounces.
    for level in [false, true, false] {
        board.set_pin(3, level);
        board.run_for(millis(1)).unwrap();
    }
    board.release_pin(3);
    prints(&mut board, "pressed 2\r\n");

    board.uart_send(1, b"hello over the second wire\n");
    board.run_for(millis(20)).unwrap();
    let answer: Vec<u8> = board.uart_take(1).iter().map(|sent| sent.byte).collect();
    assert_eq!(String::from_utf8_lossy(&answer), "hello over the second wire has 26 bytes\r\n");

    // The wires: held low, the transfer ends in a timeout; released, the sensor answers again.
    board.set_pin(5, false);
    prints(&mut board, "no sensor: Timeout\r\n");
    board.release_pin(5);
    prints(&mut board, "temperature -1025\r\n");

    // The EEPROM keeps its contents over a reset, and so does a copy of the board for itself.
    board.press_reset();
    prints(&mut board, "start 1\r\n");
    let mut copy = board.clone();
    copy.press_reset();
    prints(&mut copy, "start 2\r\n");
    assert_eq!(board.part_contents("memory").unwrap()[0xffe..], [0, 1]);
}

#[test]
fn esp_hals_drivers_run_against_parts() {
    check("esp32c3");
}

#[test]
#[ignore = "takes a minute: compiles the example for one more chip"]
fn esp_hals_drivers_run_on_the_esp32c6() {
    check("esp32c6");
}

#[test]
#[ignore = "takes a minute: compiles the example for one more chip"]
fn esp_hals_drivers_run_on_the_esp32h2() {
    check("esp32h2");
}

/// A part of a library user's own: counts its transfers.
#[derive(Clone, Default)]
struct Counter(u8);

impl I2cPart for Counter {
    fn start(&mut self, _read: bool, _now: Duration) -> bool {
        self.0 += 1;
        true
    }

    fn write(&mut self, _byte: u8, _now: Duration) -> bool {
        true
    }

    fn read(&mut self, _now: Duration) -> u8 {
        self.0
    }

    fn boxed_clone(&self) -> Box<dyn I2cPart> {
        Box::new(self.clone())
    }
}

#[test]
fn a_part_can_be_a_users_own() {
    let mut board = board("esp32c3");
    board.attach_i2c(0, 0x48, "counter", Counter::default()).unwrap();
    // Each read is a transfer with two start conditions; both bytes are the count.
    prints(&mut board, "temperature 3212\r\n");
    prints(&mut board, "temperature 6425\r\n");
    let refused = board.attach_i2c(1, 0x48, "counter", Counter::default()).unwrap_err();
    assert!(matches!(refused, PartsError::NotOnChip { .. }), "{refused}");
    assert_eq!(refused.to_string(), "part \"counter\": the chip has no I2C bus 1");
    let hint = SimError::from(refused).hint();
    assert_eq!(hint.as_deref(), Some("its only one is bus 0"));
}

#[test]
fn voltages_are_for_analog_inputs() {
    let mut board = Board::new("esp32c3").unwrap();
    let refused = board.set_voltage(7, 100.0).unwrap_err();
    assert_eq!(refused.to_string(), "pin 7 is not an analog input");
    assert_eq!(refused.hint().as_deref(), Some("analog inputs are pins 0, 1, 2, 3, 4, 5"));
}

/// The files are read when a port is opened, and mistakes in them are errors of the port.
#[test]
fn files_are_parts_of_a_ports_name() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(at("i2c.toml"), PARTS).unwrap();
    std::fs::write(at("adc.toml"), "[[input]]\npin = 2\nmillivolts = 700\n").unwrap();
    let name = format!("sim:esp32c3,i2c={},adc={}", at("i2c.toml"), at("adc.toml"));
    let port = SimPort::open(&name).unwrap();
    let board = port.board().unwrap();
    assert!(board.with(|board| board.set_part("sensor", "temperature", 1.0)));
    std::fs::write(at("adc.toml"), "[[input]]\npin = 9\nmillivolts = 700\n").unwrap();
    let error = SimPort::open(&name).err().unwrap();
    assert!(matches!(&error, PortError::Name { .. }), "{error}");
    assert!(error.to_string().contains("analog inputs are pins 0, 1"), "{error}");
    std::fs::write(at("i2c.toml"), "[[part]]\ntype = \"24c2\"\n").unwrap();
    let error = SimPort::open(&name).err().unwrap().to_string();
    assert!(error.contains("i2c.toml:2:8: unknown type \"24c2\"; did you mean"), "{error}");
}

/// A part whose file can't be written stops the board, as a flash file does.
#[test]
fn a_file_that_cannot_be_written_stops_the_board() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("i2c.toml");
    std::fs::write(&file, "[[part]]\ntype = \"24c32\"\ncontents = \"memory.bin\"\n").unwrap();
    let mut board = board("esp32c3");
    board.attach_circuit(&Circuit::open(&file).unwrap()).unwrap();
    assert_eq!(std::fs::read(directory.path().join("memory.bin")).unwrap(), [0xff; 4096]);
    directory.close().unwrap();
    let error = board.run_until(b"start 0", secs(2)).unwrap_err();
    let SimError::Stopped { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, SimError::PartFailed(_)), "{error}");
    assert!(
        source.to_string().starts_with("a part of the board failed: part \"24c32\": "),
        "{error}"
    );
}
