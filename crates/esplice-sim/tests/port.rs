//! Tests of the port of a virtual board: its name, its time, its errors, and faults on it.

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use crate::{
    board::{self, line::LoaderBoard},
    firmware::Code,
};
use esplice_chip::ChipDb;
use esplice_protocol::{Moment, Port, PortError, slip};
use esplice_sim::{
    SimPort, TimeMode,
    faults::{Fault, FaultyPort},
    nor::Nor,
    port::HostClock,
    spec::Spec,
};

const SYNC_LEN: u64 = 14;

fn port(timed: bool) -> SimPort {
    let time = if timed { TimeMode::Virtual } else { TimeMode::None };
    SimPort::from_board("sim:test", Box::new(LoaderBoard::new(timed)), time)
}

/// Sends a request and reads for 100 ms of the port's time.
fn ask(port: &mut dyn Port, request: &[u8]) -> Result<Vec<u8>, PortError> {
    port.write(&slip::encode(request))?;
    let deadline = port.now() + Duration::from_millis(100);
    let mut got = Vec::new();
    let mut buf = [0; 64];
    loop {
        let len = port.read(&mut buf, deadline)?;
        if len == 0 {
            return Ok(got);
        }
        got.extend_from_slice(&buf[..len]);
    }
}

fn sync(port: &mut dyn Port) -> Result<Vec<u8>, PortError> {
    ask(port, &[0, 8, 4, 0, 0, 0, 0, 0, 7, 7, 0x12, 0x20])
}

/// Expects `Ok` with chip, flash file and time mode, or `Err` with the whole message.
#[track_caller]
fn check_name(name: &str, expected: Result<(&str, Option<&str>, TimeMode), &str>) {
    match expected {
        Ok((chip, flash, time)) => {
            let spec = Spec::parse(name, ChipDb::embedded()).unwrap();
            assert_eq!((spec.chip.name.as_str(), spec.time), (chip, time));
            assert_eq!(spec.flash.as_deref(), flash.map(Path::new));
        }
        Err(message) => {
            let error = SimPort::open(name).map(|_| ()).unwrap_err();
            assert!(matches!(error, PortError::Name { .. }), "{error:?}");
            assert_eq!(error.to_string(), format!("port {name:?}: {message}"));
        }
    }
}

#[test]
fn names() {
    use TimeMode::{None as Nought, Real, Virtual};
    check_name("sim:esp32c3", Ok(("esp32c3", None, Virtual)));
    check_name("sim:ESP32-C3,time=none", Ok(("esp32c3", None, Nought)));
    check_name("sim:esp32c3,time=virtual", Ok(("esp32c3", None, Virtual)));
    check_name("sim:esp32c3,flash=a b/c=d,time=real", Ok(("esp32c3", Some("a b/c=d"), Real)));
    let usage = "a virtual board is named like sim:esp32c3 or sim:esp32c3,flash=FILE,time=real";
    check_name("esp32c3", Err(&format!("does not start with \"sim:\"; {usage}")));
    check_name(
        "sim:esp32cc3",
        Err("unknown chip or board \"esp32cc3\"; did you mean \"esp32c3\"?"),
    );
    let known: Vec<&str> = ChipDb::embedded().chips().map(|chip| chip.name.as_str()).collect();
    let known = known.join(", ");
    check_name("sim:", Err(&format!("unknown chip or board \"\"; known chips: {known}")));
    check_name("sim:esp32c3,", Err(&format!("\"\" is not KEY=VALUE; {usage}")));
    check_name("sim:esp32c3,flash", Err(&format!("\"flash\" is not KEY=VALUE; {usage}")));
    check_name("sim:esp32c3,flash=", Err(&format!("\"flash=\" is not KEY=VALUE; {usage}")));
    check_name("sim:esp32c3,flsh=x", Err("unknown key \"flsh\"; did you mean \"flash\"?"));
    check_name(
        "sim:esp32c3,baud=9600",
        Err("unknown key \"baud\"; known are adc, bridge, efuse, faults, flash, flash-time, i2c, \
             line, rom, time, uart1"),
    );
    check_name("sim:esp32c3,line=usb", Ok(("esp32c3", None, Virtual)));
    check_name("sim:esp32c3,line=ubs", Err("unknown line \"ubs\"; did you mean \"usb\"?"));
    check_name(
        "sim:esp32c3,time=vrtual",
        Err("unknown time mode \"vrtual\"; did you mean \"virtual\"?"),
    );
    check_name("sim:esp32c3,efuse=secure-boot-en:1", Ok(("esp32c3", None, Virtual)));
    for (efuse, message) in [
        (
            "secure-bot-en:1",
            "has no eFuse field \"secure-bot-en\"; did you mean \"secure-boot-en\"?",
        ),
        ("secure-boot-en:2", "2 does not fit into the 1 bits of eFuse field \"secure-boot-en\""),
        ("secure-boot-en", "is not FIELD:VALUE; for example enable-security-download:1"),
    ] {
        let told =
            Spec::parse(&format!("sim:esp32c3,efuse={efuse}"), ChipDb::embedded()).unwrap_err();
        let told = [told.to_string(), told.hint().unwrap_or_default()].join("; ");
        assert!(told.contains(message), "{told}");
    }
    check_name("sim:esp32c3,time=none,time=real", Err("time= is given twice"));
    check_name("sim:esp32c3,flash=a,flash=a", Err("flash= is given twice"));
    check_name("sim:esp32c3,rom=a,rom=a", Err("rom= is given twice"));
    check_name("sim:esp32c3,faults=x", Ok(("esp32c3", None, Virtual)));
}

#[test]
fn flash_files_are_named_in_errors() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("board.flash");
    let name = format!("sim:esp32c3,flash={}", file.display());
    let mut held = SimPort::open(&name).unwrap();
    let busy = SimPort::open(&name).map(|_| ()).unwrap_err();
    assert!(matches!(busy, PortError::Busy { .. }), "{busy:?}");
    assert!(busy.to_string().contains(&format!("flash file {}", file.display())), "{busy}");
    held.reopen().expect("reopening the same port does not count as a second opener");
    drop(held);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 4 << 20);
    std::fs::write(&file, b"short").unwrap();
    let told = SimPort::open(&name).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("has 5 bytes") && told.contains("4194304 bytes"), "{told}");
}

/// Ten bits per byte in both directions at the current rate, or no time at all in time mode none.
#[test]
fn the_wire_takes_its_time() {
    for (baud, timed) in [(115_200, true), (460_800, true), (115_200, false)] {
        let mut port = port(timed);
        port.set_baud(baud).unwrap();
        port.write(&slip::encode(&[0, 8, 4, 0, 0, 0, 0, 0, 7, 7, 0x12, 0x20])).unwrap();
        assert_eq!(port.now(), Moment::START, "a write does not wait");
        port.drain().unwrap();
        let byte = Duration::from_secs(10) / baud;
        let sent = if timed { byte * 14 } else { Duration::ZERO };
        let slack = Duration::from_millis(2);
        assert!(port.now().since_start() >= sent && port.now().since_start() <= sent + slack);
        let mut got = [0; 112];
        let mut len = 0;
        while len < got.len() {
            let deadline = port.now() + Duration::from_secs(1);
            len += port.read(&mut got[len..], deadline).unwrap();
        }
        let all = if timed { byte * (14 + 112) + Duration::from_millis(1) } else { Duration::ZERO };
        assert!(port.now().since_start() >= all && port.now().since_start() <= all + slack);
    }
}

/// A clock that moves only by waiting or when a test sets it.
#[derive(Clone, Default)]
struct Hand(Arc<Mutex<Duration>>);

impl Hand {
    fn set(&self, time: Duration) {
        *self.0.lock().unwrap() = time;
    }
}

impl HostClock for Hand {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn wait(&mut self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

/// In real time the host waits as long as the board takes, and a board that was not run catches up.
#[test]
fn real_time_is_the_hosts() {
    const MS: Duration = Duration::from_millis(1);
    let hand = Hand::default();
    let board = Box::new(LoaderBoard::new(true));
    let mut port = SimPort::with_clock("sim:test", board, Some(Box::new(hand.clone())));
    assert_eq!(port.time(), TimeMode::Real);
    port.wait_until(Moment::at(100 * MS)).unwrap();
    assert_eq!((hand.now(), port.now()), (100 * MS, Moment::at(100 * MS)));
    // 14 bytes at 115200 baud.
    port.write(&slip::encode(&[0, 8, 4, 0, 0, 0, 0, 0, 7, 7, 0x12, 0x20])).unwrap();
    port.drain().unwrap();
    assert_eq!(hand.now(), port.now().since_start());
    assert!((101 * MS..103 * MS).contains(&hand.now()), "{:?}", hand.now());
    // The board has answered while the host was busy.
    hand.set(500 * MS);
    let mut buf = [0; 200];
    let deadline = port.now();
    assert_eq!(port.read(&mut buf, deadline).unwrap(), 112);
    assert_eq!((hand.now(), port.now()), (500 * MS, Moment::at(500 * MS)));
    // A port in virtual time does not wait.
    let mut port = self::port(true);
    port.wait_until(Moment::at(Duration::from_secs(1000))).unwrap();
    assert_eq!(port.now(), Moment::at(Duration::from_secs(1000)));
}

#[test]
fn a_read_without_an_answer_ends_at_its_deadline() {
    let mut port = port(true);
    let deadline = Moment::at(Duration::from_secs(3));
    assert_eq!(port.read(&mut [0; 8], deadline).unwrap(), 0);
    assert_eq!(port.now(), deadline);
    port.wait_until(Moment::at(Duration::from_secs(60))).unwrap();
    assert_eq!(port.now().since_start(), Duration::from_secs(60));
}

#[test]
fn a_wrong_baud_rate_is_garbage() {
    let mut port = port(true);
    assert_eq!(sync(&mut port).unwrap().len(), 112);
    port.set_baud(116_000).unwrap();
    assert_eq!(sync(&mut port).unwrap().len(), 112, "within 3 %");
    port.set_baud(57_600).unwrap();
    assert_eq!(sync(&mut port).unwrap(), b"");
    assert!(port.set_baud(0).is_err());
}

#[test]
fn lines_restart_the_board_and_opening_again_loses_nothing() {
    let mut port = port(false);
    sync(&mut port).unwrap();
    port.set_baud(921_600).unwrap();
    assert_eq!(sync(&mut port).unwrap(), b"", "the loader stays at its rate");
    port.set_lines(false, true).unwrap();
    port.set_lines(false, false).unwrap();
    port.write(&slip::encode(&[0, 8, 4, 0, 0, 0, 0, 0, 7, 7, 0x12, 0x20])).unwrap();
    port.reopen().unwrap();
    port.wait_until(port.now() + Duration::from_millis(10)).unwrap();
    port.reopen().unwrap();
    let mut buf = [0; 200];
    assert_eq!(port.read(&mut buf, port.now()).unwrap(), 112);
    sync(&mut port).unwrap();
    port.write(&slip::encode(&[0, 10, 0, 0])).unwrap();
    port.wait_until(port.now() + Duration::from_millis(10)).unwrap();
    port.clear_input().unwrap();
    assert_eq!(port.read(&mut buf, port.now()).unwrap(), 0);
}

#[test]
fn an_interrupt_ends_waiting() {
    let mut port = port(true);
    let interrupt = Arc::new(AtomicBool::new(true));
    port.set_interrupt(interrupt.clone());
    let far = Moment::at(Duration::from_secs(1_000_000));
    assert!(matches!(port.read(&mut [0; 8], far), Err(PortError::Interrupted)));
    assert!(matches!(port.wait_until(far), Err(PortError::Interrupted)));
    interrupt.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(sync(&mut port).unwrap().len(), 112);
}

#[test]
fn a_power_cut_takes_the_port_away() {
    let mut nor = Nor::in_memory(4 << 20, &board::chip().sim.as_ref().unwrap().flash);
    nor.cut_power_after(Some(0));
    let board = LoaderBoard::new(false).with_flash(nor);
    let mut port = SimPort::from_board("sim:test", Box::new(board), TimeMode::None);
    sync(&mut port).unwrap();
    assert_eq!(ask(&mut port, &request(0x0d, 0, &[0; 8])).unwrap()[9], 0);
    let mut begin = vec![0, 2, 20, 0, 0, 0, 0, 0];
    begin.extend([4096_u32, 4, 1024, 0, 0].map(u32::to_le_bytes).concat());
    assert!(matches!(ask(&mut port, &begin), Err(PortError::Gone { .. })));
    assert!(matches!(sync(&mut port), Err(PortError::Gone { .. })));
    assert!(matches!(port.reopen(), Err(PortError::Gone { .. })));
}

/// Sends two SYNCs over a line with faults. Expects the number of received bytes of each answer, or
/// `None` if the port has gone.
#[track_caller]
fn check_faults(faults: &[Fault], expected: [Option<usize>; 2]) -> FaultyPort<SimPort> {
    let mut port = FaultyPort::new(port(false), faults.iter().cloned());
    let got = [sync(&mut port), sync(&mut port)].map(|got| match got {
        Ok(bytes) => Some(bytes.len()),
        Err(PortError::Gone { .. }) => None,
        Err(error) => panic!("{error}"),
    });
    assert_eq!(got, expected, "{faults:?}");
    assert_eq!(port.waiting(), [], "{faults:?}");
    assert_eq!(port.log().len(), faults.len());
    port
}

#[test]
fn faults() {
    check_faults(&[], [Some(112), Some(112)]);
    // A lost END, opcode or data byte towards the board; the ROM completes short frames.
    check_faults(&[Fault::DropTx(0)], [Some(0), Some(112)]);
    check_faults(&[Fault::DropTx(2)], [Some(0), Some(112)]);
    check_faults(&[Fault::DropTx(SYNC_LEN)], [Some(112), Some(0)]);
    check_faults(&[Fault::FlipTx(2, 0)], [Some(0), Some(112)]);
    check_faults(&[Fault::FlipTx(SYNC_LEN + 2, 7)], [Some(112), Some(14)]);
    check_faults(&[Fault::DropRx(5)], [Some(111), Some(112)]);
    check_faults(&[Fault::DropRx(5), Fault::DropRx(112)], [Some(111), Some(111)]);
    check_faults(&[Fault::DoubleRx(111)], [Some(113), Some(112)]);
    check_faults(&[Fault::NoiseBeforeReply(vec![1, 2, 0xc0])], [Some(115), Some(112)]);
    check_faults(&[Fault::SilentAfterRx(100)], [Some(100), Some(0)]);
    check_faults(&[Fault::SilentAfterRx(112)], [Some(112), Some(0)]);
    check_faults(&[Fault::GoneAfterRx(112)], [None, None]);
    check_faults(&[Fault::GoneAfterRx(130)], [Some(112), None]);
    check_faults(&[Fault::GoneAfterTx(3)], [None, None]);
    let mut port = check_faults(&[Fault::GoneAfterTx(20)], [Some(112), None]);
    port.reopen().unwrap();
    assert_eq!(port.counts().0, 20);
    let mut port = FaultyPort::new(self::port(false), [Fault::FlipRx(1, 0)]);
    assert_eq!(sync(&mut port).unwrap()[..3], [0xc0, 0x00, 0x08]);
}

fn request(opcode: u8, sum: u8, data: &[u8]) -> Vec<u8> {
    [&[0, opcode, data.len() as u8, 0, sum, 0, 0, 0], data].concat()
}

/// Resets the board into download mode.
fn into_download(port: &mut SimPort) {
    for (dtr, rts, millis) in [(false, true, 100), (true, false, 50), (false, false, 50)] {
        port.set_lines(dtr, rts).unwrap();
        port.wait_until(port.now() + Duration::from_millis(millis)).unwrap();
    }
}

/// A whole write to the board with its CPU: reset into download mode, SYNC, a higher baud rate, a
/// write, and a check of the flash file.
#[test]
fn the_board_behind_a_name_takes_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("board.flash");
    for time in ["none", "virtual"] {
        let name = format!("sim:esp32c3,flash={},time={time}", file.display());
        let mut port = SimPort::open(&name).unwrap();
        into_download(&mut port);
        let banner = ask(&mut port, &[]).unwrap();
        assert!(String::from_utf8_lossy(&banner).contains("waiting for download"));
        assert_eq!(sync(&mut port).unwrap().len(), 112);
        let baud = [921_600_u32, 0].map(u32::to_le_bytes).concat();
        assert_eq!(ask(&mut port, &request(15, 0, &baud)).unwrap()[..3], [0xc0, 1, 15]);
        port.set_baud(921_600).unwrap();
        assert_eq!(ask(&mut port, &request(0x0d, 0, &[0; 8])).unwrap()[9], 0);
        let begin = [8_u32, 1, 1024, 0x3000, 0].map(u32::to_le_bytes).concat();
        assert_eq!(ask(&mut port, &request(2, 0, &begin)).unwrap()[9], 0);
        let mut block = [8_u32, 0, 0, 0].map(u32::to_le_bytes).concat();
        block.extend([1, 2, 3, 4, 5, 6, 7, time.len() as u8]);
        let sum = block[16..].iter().fold(0xef, |sum, byte| sum ^ byte);
        assert_eq!(ask(&mut port, &request(3, sum, &block)).unwrap()[9], 0);
        let flash = std::fs::read(&file).unwrap();
        assert_eq!(flash[0x3000..0x3008], [1, 2, 3, 4, 5, 6, 7, time.len() as u8]);
        assert!(flash[0x3008..].iter().all(|byte| *byte == 0xff));
    }
}

/// Code loaded into RAM prints and then calls a ROM function that is not modelled. The output is
/// read first, then the error; there is no silence and the port is not lost.
#[test]
fn a_program_in_ram_that_needs_more_of_the_rom_is_told_so() {
    let mut port = SimPort::open("sim:esp32c3").unwrap();
    into_download(&mut port);
    port.clear_input().unwrap();
    assert_eq!(sync(&mut port).unwrap().len(), 112);
    let code = Code::new().writes(&[(0x6000_0000, 0x48), (0x6000_0000, 0x69)]).call(0x4000_00d0);
    let image = code.bytes();
    let len = image.len() as u32;
    let begin = [len, 1, len, 0x4038_0000].map(u32::to_le_bytes).concat();
    assert_eq!(ask(&mut port, &request(5, 0, &begin)).unwrap()[9], 0);
    let block = [[len, 0, 0, 0].map(u32::to_le_bytes).concat(), image].concat();
    let sum = block[16..].iter().fold(0xef, |sum, byte| sum ^ byte);
    assert_eq!(ask(&mut port, &request(7, sum, &block)).unwrap()[9], 0);
    let end = [0, 0x4038_0000_u32].map(u32::to_le_bytes).concat();
    port.write(&slip::encode(&request(6, 0, &end))).unwrap();
    let (mut text, mut buf) = (Vec::new(), [0; 64]);
    let error = loop {
        match port.read(&mut buf, Moment::at(Duration::from_secs(2))) {
            Ok(0) => panic!("silence after {text:x?}"),
            Ok(len) => text.extend_from_slice(&buf[..len]),
            Err(error) => break error,
        }
    };
    assert!(text.ends_with(b"\xc0Hi"), "{text:x?}");
    let told = error.to_string();
    let expected = "port sim:esp32c3: ROM function tdefl_compress_buffer at 0x400000d0 \
     is not modelled (called from 0x40380034)";
    assert_eq!(told, expected);
    assert!(matches!(error, PortError::NotModelled { .. }), "{error:?}");
    assert!(error.hint().unwrap().ends_with("--port sim:esp32c3,rom=FILE"), "{:?}", error.hint());
    assert_eq!(port.wait_until(port.now() + Duration::from_secs(1)).unwrap_err().to_string(), told);
    // A reset helps.
    into_download(&mut port);
    port.clear_input().unwrap();
    assert_eq!(sync(&mut port).unwrap().len(), 112);
}

#[test]
fn a_power_cut_on_the_board_behind_a_name() {
    let cut = |nor: &mut Nor| nor.cut_power_after(Some(0));
    let mut port = SimPort::open_with("sim:esp32c3,time=none", cut).unwrap();
    into_download(&mut port);
    port.clear_input().unwrap();
    assert_eq!(sync(&mut port).unwrap().len(), 112);
    let attach = [&[0, 0x0d, 8, 0][..], &[0; 12]].concat();
    assert_eq!(ask(&mut port, &attach).unwrap().len(), 14);
    let mut begin = vec![0, 2, 20, 0, 0, 0, 0, 0];
    begin.extend([8_u32, 1, 1024, 0, 0].map(u32::to_le_bytes).concat());
    let gone = ask(&mut port, &begin).unwrap_err();
    assert!(matches!(gone, PortError::Gone { .. }), "{gone:?}");
}

/// Returns the time from the end of a request on the wire to the first and to the last byte of its
/// answer, in microseconds.
fn check_bridge(bridge: &str) -> [u128; 2] {
    let mut port = SimPort::open(&format!("sim:esp32c3,bridge={bridge}")).unwrap();
    for (dtr, rts) in [(false, true), (true, false), (false, false)] {
        port.set_lines(dtr, rts).unwrap();
        let until = port.now() + Duration::from_millis(50);
        port.wait_until(until).unwrap();
    }
    port.clear_input().unwrap();
    port.write(b"\xc0\x00\x08\x04\x00\x00\x00\x00\x00\x07\x07\x12\x20\xc0").unwrap();
    port.drain().unwrap();
    let start = port.now().since_start();
    let (mut heard, mut times) = (0, Vec::new());
    let deadline = port.now() + Duration::from_millis(200);
    while heard < 8 * 14 {
        let mut buf = [0; 200];
        heard += port.read(&mut buf, deadline).unwrap();
        times.push((port.now().since_start() - start).as_micros());
    }
    [times[0], *times.last().unwrap()]
}

/// Eight answers of 14 bytes, 86.8 us per byte: no delay, a frame of 1 ms, or 62 bytes and then 16
/// ms.
#[test]
fn a_bridge_gathers_bytes() {
    let [none, usb, ftdi] = ["none", "usb", "ftdi"].map(check_bridge);
    let byte = 87;
    assert_eq!(usb[0], none[0] + 1000);
    assert!((none[1] + 1..=none[1] + 1000).contains(&usb[1]), "{none:?} {usb:?}");
    assert!(ftdi[0].abs_diff(none[0] + 61 * byte) < 100, "{none:?} {ftdi:?}");
    // A partial packet waits from its first byte on.
    assert!(ftdi[1].abs_diff(none[0] + 62 * byte + 16_000) < 1100, "{none:?} {ftdi:?}");
}

/// The board of a port that is in use: pins, memory, and an observer after each slice.
#[test]
fn a_board_is_reached_at_its_port() {
    let mut port = SimPort::open("sim:esp32c3").unwrap();
    let board = port.board().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&seen);
    board.observe(move |board| times.lock().unwrap().push((board.now(), board.pin(4))));
    board.with(|board| board.set_pin(4, true));
    let ms = Duration::from_millis;
    port.wait_until(Moment::at(ms(25))).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(ms(10), true), (ms(20), true), (ms(25), true)]);
    assert_eq!(board.with(|board| board.now()), ms(25));
    assert!(self::port(true).board().is_none(), "this port has another kind of board");
}
