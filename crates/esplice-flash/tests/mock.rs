//! Tests write, skip and verify with an independent loader: `esp32-mock-bootloader` of PyPI, over
//! TCP.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
};

use esplice_chip::{ChipDb, FlashOffset};
use esplice_flash::{FlashEvent, FlashOptions, Statistics, flash, open_tcp};
use esplice_image::{ResolvedPlan, Write, WriteKind};

struct Mock {
    process: Child,
    /// Kept open because the process keeps printing and would stop if nobody read.
    _output: BufReader<ChildStdout>,
    port: String,
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the program, which `scripts/setup --tests` installs next to esptool.
fn program() -> PathBuf {
    if let Some(program) = env::var_os("ESPLICE_MOCK_BOOTLOADER") {
        return program.into();
    }
    let esptool = env::var_os("ESPLICE_ESPTOOL").map(PathBuf::from);
    let folder = esptool.as_ref().and_then(|program| program.parent());
    folder.map_or_else(|| "esp32-mock-bootloader".into(), |f| f.join("esp32-mock-bootloader"))
}

fn mock() -> Mock {
    let program = program();
    // A port that was free just now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut process = Command::new(&program)
        .args(["run", "--chip", "esp32c3", "--port", &free.to_string()])
        .env("PYTHONUNBUFFERED", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error} (scripts/setup --tests)", program.display()));
    let mut line = String::new();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert!(line.contains("listening"), "{line}");
    Mock { process, _output: output, port: format!("tcp://127.0.0.1:{free}") }
}

fn writes(len: usize) -> Vec<Write> {
    let data = (0..len as u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let offset = FlashOffset(0x1_0000);
    vec![Write { name: "app".into(), kind: WriteKind::App, offset, data }]
}

fn run(mock: &Mock, writes: &[Write]) -> (Statistics, usize) {
    let mut port = open_tcp(&mock.port, Arc::new(AtomicBool::new(false))).unwrap();
    let mut options =
        FlashOptions::default().target(ChipDb::embedded().find("esp32c3").ok().cloned());
    options.connect.strategies.clear();
    let mut events = Vec::new();
    let plan = |_: &_| Ok(ResolvedPlan::from(writes.to_vec()));
    let result = flash(&mut port, &options, plan, &mut |event| events.push(event));
    let report = result.unwrap_or_else(|error| panic!("{error}: {events:#?}"));
    let verified = events.iter().filter(|e| matches!(e, FlashEvent::Verified { .. })).count();
    (report.statistics, verified)
}

#[test]
fn writes_skips_and_verifies() {
    let mock = mock();
    let mut app = writes(0x5432);
    let (first, verified) = run(&mock, &app);
    assert_eq!((first.sectors_written, verified), (6, 1));
    let (again, verified) = run(&mock, &app);
    assert_eq!((again.sectors_written, verified), (0, 1));
    app[0].data[0x3010] ^= 1;
    let (one, verified) = run(&mock, &app);
    assert_eq!((one.sectors_written, verified), (1, 1));
}
