//! Tests of `watch` on a port with a simulated clock: the time of events and the end of the watch.

use std::{collections::VecDeque, time::Duration};

#[cfg(target_os = "linux")]
use esplice_monitor::{ExpectPanicError, Symbols, expect_panic};
use esplice_monitor::{Expectation, MonitorError, MonitorEvent, Outcome, Watch, watch};
use esplice_protocol::{Caps, Moment, Port, PortError};

/// A port with scripted input: bytes that arrive at given milliseconds, then silence or an error.
struct Script {
    now: Duration,
    arrivals: VecDeque<(Duration, Vec<u8>)>,
    end: Option<PortError>,
    reads: usize,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn script(arrivals: &[(u64, &str)]) -> Script {
    let arrivals = arrivals.iter().map(|(at, text)| (ms(*at), text.as_bytes().to_vec())).collect();
    Script { now: Duration::ZERO, arrivals, end: None, reads: 0 }
}

impl Port for Script {
    fn name(&self) -> &str {
        "script"
    }
    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        self.reads += 1;
        assert!(self.reads < 100_000, "the watch does not end");
        let Some((at, bytes)) = self.arrivals.front_mut() else {
            if let Some(error) = self.end.take() {
                return Err(error);
            }
            self.now = self.now.max(deadline.since_start());
            return Ok(0);
        };
        if *at > deadline.since_start().max(self.now) {
            self.now = self.now.max(deadline.since_start());
            return Ok(0);
        }
        self.now = self.now.max(*at);
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        bytes.drain(..len);
        if bytes.is_empty() {
            self.arrivals.pop_front();
        }
        Ok(len)
    }
    fn write(&mut self, _: &[u8]) -> Result<(), PortError> {
        panic!("a watch must not write")
    }
    fn drain(&mut self) -> Result<(), PortError> {
        panic!("a watch must not write")
    }
    fn clear_input(&mut self) -> Result<(), PortError> {
        panic!("a watch must not discard input")
    }
    fn set_baud(&mut self, _: u32) -> Result<(), PortError> {
        panic!("a watch must not change settings")
    }
    fn set_lines(&mut self, _: bool, _: bool) -> Result<(), PortError> {
        panic!("a watch must not change control lines")
    }
    fn now(&self) -> Moment {
        Moment::at(self.now)
    }
    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        self.now = self.now.max(moment.since_start());
        Ok(())
    }
    fn reopen(&mut self) -> Result<(), PortError> {
        panic!("a watch must not reopen the port")
    }
    fn caps(&self) -> Caps {
        Caps { lines: false, baud: false, latency: Duration::ZERO }
    }
}

fn asking(expect: &[&str], timeout: Option<u64>) -> Watch {
    let expect = expect.iter().map(|text| Expectation::parse(text).unwrap()).collect();
    Watch::default().expect(expect).timeout(timeout.map(ms))
}

fn run(mut port: Script, watch_for: &Watch) -> (Result<Outcome, MonitorError>, String, u64) {
    let mut output = vec![];
    let outcome = watch(&mut port, watch_for, &mut |event| {
        if let MonitorEvent::Output(bytes) = event {
            output.extend_from_slice(bytes);
        }
    });
    let end = port.now.as_millis().try_into().unwrap();
    (outcome, String::from_utf8(output).unwrap(), end)
}

#[test]
fn a_match_ends_it_at_its_own_time() {
    let port = script(&[(10, "boot\r\nHel"), (400, "lo\r\nmore"), (500, "later")]);
    let (outcome, output, end) = run(port, &asking(&["Hello\\r\\n"], Some(1000)));
    assert_eq!(outcome.unwrap(), Outcome::Matched { at: Moment::at(ms(400)), offset: 6 });
    assert_eq!((output.as_str(), end), ("boot\r\nHello\r\nmore", 400));
}

#[test]
fn time_is_the_ports_and_counts_from_the_call() {
    let mut port = script(&[(600, "one\r\n"), (2600, "two\r\n")]);
    port.now = ms(500);
    let (outcome, output, end) = run(port, &asking(&["two"], Some(2000)));
    let Outcome::TimedOut { missing, seen, last_lines } = outcome.unwrap() else { panic!() };
    assert_eq!((missing.as_str(), seen, last_lines), ("two", 5, vec!["one".to_owned()]));
    assert_eq!((output.as_str(), end), ("one\r\n", 2500));
}

#[test]
fn or_from_the_moment_given() {
    let mut port = script(&[(600, "one\r\n")]);
    port.now = ms(500);
    let asked = asking(&["two"], Some(2000)).since(Some(Moment::at(ms(100))));
    let (outcome, _, end) = run(port, &asked);
    assert!(matches!(outcome.unwrap(), Outcome::TimedOut { .. }));
    assert_eq!(end, 2100);
}

#[test]
fn what_arrived_before_the_deadline_counts() {
    let mut port = script(&[(1900, "Hello\r\n")]);
    port.now = ms(5000);
    let asked = asking(&["Hello"], Some(2000)).since(Some(Moment::START));
    assert!(matches!(run(port, &asked).0.unwrap(), Outcome::Matched { .. }));
}

#[test]
fn a_panic_gets_time_to_be_told() {
    let port = script(&[
        (10, "panicked at src/main.rs:3:5:\r\n"),
        (200, "oh no\r\n\r\nBacktrace:\r\n\r\n"),
        (400, "0x42000010\r\n0x420000"),
        (600, "20"),
    ]);
    let (outcome, _, end) = run(port, &asking(&["Hello"], Some(10_000)));
    let Outcome::Panic(panic) = outcome.unwrap() else { panic!() };
    assert_eq!(panic.message, "oh no");
    let addresses: Vec<u32> = panic.addresses.iter().map(|address| address.addr).collect();
    assert_eq!(addresses, [0x4200_0010, 0x4200_0020]);
    assert_eq!(panic.at, Moment::at(ms(10)));
    assert_eq!(end, 900);
}

#[test]
fn but_not_for_ever() {
    let arrivals: Vec<(u64, String)> =
        (0..100).map(|n| (10 + n * 100, format!("panic: number {n}\r\n"))).collect();
    let arrivals: Vec<(u64, &str)> = arrivals.iter().map(|(at, s)| (*at, s.as_str())).collect();
    let (outcome, _, end) = run(script(&arrivals), &asking(&["Hello"], None));
    assert!(matches!(outcome.unwrap(), Outcome::Panic(_)));
    assert_eq!(end, 2010);
}

#[test]
fn the_timeout_cuts_a_panic_short() {
    let port = script(&[(90, "panic: oh no\r\n")]);
    let (outcome, _, end) = run(port, &asking(&["Hello"], Some(100)));
    assert!(matches!(outcome.unwrap(), Outcome::Panic(_)));
    assert_eq!(end, 100);
}

#[test]
fn without_expectations_it_ends_by_time_or_interruption() {
    let port = script(&[(10, "panic: oh no\r\n"), (700, "more\r\n")]);
    let (outcome, output, end) = run(port, &asking(&[], Some(3000)));
    assert_eq!(outcome.unwrap(), Outcome::Ended { seen: 20 });
    assert_eq!((output.as_str(), end), ("panic: oh no\r\nmore\r\n", 3000));

    let mut port = script(&[(10, "text\r\n")]);
    port.end = Some(PortError::Interrupted);
    let (outcome, output, _) = run(port, &asking(&[], None));
    assert!(matches!(outcome, Err(MonitorError::Port(PortError::Interrupted))));
    assert_eq!(output, "text\r\n");
}

#[test]
fn a_port_that_goes_away_is_lost() {
    let mut port = script(&[(10, "text\r\n")]);
    port.end = Some(PortError::Gone { port: "script".into() });
    let (outcome, ..) = run(port, &asking(&["Hello"], Some(1000)));
    let error = outcome.unwrap_err();
    assert!(matches!(error, MonitorError::Lost { seen: 6, .. }));
    assert!(error.hint().is_some());
}

/// If the port is the chip's native USB, it disappears when a panic resets the chip.
#[test]
fn a_panic_before_the_port_goes_away_is_told() {
    let panic = "Guru Meditation Error: Core  0 panic'ed\r\nMEPC : 0x42000010  RA : 0x42000020\r\n";
    let mut port = script(&[(10, panic), (20, "Core  0 regi")]);
    port.end = Some(PortError::Gone { port: "script".into() });
    let (outcome, ..) = run(port, &asking(&["Hello"], Some(1000)));
    let Ok(Outcome::Panic(report)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(report.addresses.len(), 2);
    assert_eq!(report.lines.last().map(String::as_str), Some("Core  0 regi"));
}

#[cfg(target_os = "linux")]
#[inline(never)]
fn named_in_the_panic() -> u32 {
    std::hint::black_box(1)
}

#[cfg(target_os = "linux")]
static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(7);

/// The ELF is this test.
#[cfg(target_os = "linux")]
#[test]
fn a_panic_is_expected_and_decoded() {
    assert_eq!(named_in_the_panic(), 1);
    let elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let function =
        Symbols::from_elf(&elf).unwrap().symbol("monitor::port::named_in_the_panic").unwrap();
    assert!(function.size > 0);
    let trace = format!("\r\nBacktrace:\r\n\r\n{:#x}\r\n", function.addr);
    let arrivals = [(10, "panicked at src/main.rs:3:5:\r\noh no\r\n"), (20, trace.as_str())];

    let panic = expect_panic(&mut script(&arrivals), &elf, ms(5000)).unwrap();
    assert_eq!(panic.report.message, "oh no");
    assert_eq!(panic.functions().collect::<Vec<_>>(), ["monitor::port::named_in_the_panic"]);
    // The port is lost before the panic is complete.
    let mut lost = script(&arrivals);
    lost.end = Some(PortError::Gone { port: "script".into() });
    assert!(expect_panic(&mut lost, &elf, ms(5000)).is_ok());

    let mut calm = script(&[(10, "one\r\n"), (20, "all is well\r\n")]);
    let error = expect_panic(&mut calm, &elf, ms(100)).unwrap_err();
    assert!(matches!(&error, ExpectPanicError::NoPanic { seen: 18, .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the firmware did not panic within 100 ms; it printed 18 bytes, \
         at the end \"one\\nall is well\""
    );
}

/// The ELF is this test.
#[cfg(target_os = "linux")]
#[test]
fn symbols_are_found_by_name() {
    assert_eq!(COUNTER.load(std::sync::atomic::Ordering::Relaxed), 7);
    let elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let symbols = Symbols::from_elf(&elf).unwrap();
    let counter = symbols.symbol("monitor::port::COUNTER").unwrap();
    assert_eq!((counter.name.as_str(), counter.size), ("monitor::port::COUNTER", 4));
    let main = symbols.symbol("main").unwrap();
    assert_eq!(main.name, "main");
    assert_eq!(symbols.symbol("monitor::port::COUNTERS"), None);
}
