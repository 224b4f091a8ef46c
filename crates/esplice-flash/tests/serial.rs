//! Tests serial ports as far as ptys allow, without a board.
#![cfg(unix)]

use std::{
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::rom::Rom;
use esplice_chip::FlashOffset;
use esplice_flash::{FlashOptions, flash, open_serial};
use esplice_image::{ResolvedPlan, Write, WriteKind};
use esplice_protocol::{Moment, Port, PortError};
use serialport::{SerialPort as _, TTYPort};

fn never() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

/// Opens a pty: the master, and the slave that keeps it alive, with its name.
fn pty() -> (TTYPort, TTYPort, String) {
    let (master, slave) = TTYPort::pair().unwrap();
    let name = slave.name().unwrap();
    (master, slave, name)
}

/// Carries bytes between a port and the master of a pty until `stop` is set.
fn pump<P: Port + Send>(port: &mut P, master: &mut TTYPort, stop: &AtomicBool) {
    master.set_timeout(Duration::from_millis(1)).unwrap();
    let mut buf = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        if let Ok(count) = master.read(&mut buf) {
            port.write(&buf[..count]).unwrap();
        }
        let now = port.now();
        let count = port.read(&mut buf, now).unwrap();
        master.write_all(&buf[..count]).unwrap();
    }
}

#[test]
fn flashes_over_a_pty() {
    let (mut master, _slave, name) = pty();
    let stop = never();
    let data: Vec<u8> = (0..20_000_u32).map(|n| ((n * n) >> 7) as u8).collect();
    let rom = std::thread::scope(|scope| {
        let pumping = Arc::clone(&stop);
        let board = scope.spawn(move || {
            let mut rom = Rom::in_download_mode();
            rom.any_baud = true;
            pump(&mut rom, &mut master, &pumping);
            rom
        });
        let mut port = open_serial(&name, 115_200, never()).unwrap();
        assert!(!port.caps().lines);
        assert_eq!(port.usb_id(), None);
        let options = FlashOptions::default().baud(Some(921_600));
        let write = Write {
            name: "app".into(),
            kind: WriteKind::App,
            offset: FlashOffset(0x1_0000),
            data: data.clone(),
        };
        let plan = |_: &_| Ok(ResolvedPlan::from(vec![write]));
        let result = flash(&mut port, &options, plan, &mut |_| {});
        stop.store(true, Ordering::Relaxed);
        let report = result.unwrap();
        assert_eq!(report.chip.flash_size, 4 << 20);
        board.join().unwrap()
    });
    assert_eq!(rom.flash[0x1_0000..][..data.len()], data);
}

#[test]
fn a_port_is_held_by_one() {
    let (_master, _slave, name) = pty();
    let first = open_serial(&name, 115_200, never()).unwrap();
    let second = open_serial(&name, 115_200, never());
    assert!(matches!(second, Err(PortError::Busy { port }) if port == name));
    drop(first);
    open_serial(&name, 115_200, never()).unwrap();
}

#[test]
fn what_is_no_port_is_named() {
    let missing = open_serial("/dev/no-such-port", 115_200, never());
    assert!(matches!(missing, Err(PortError::NotFound { .. })));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let file = open_serial(file, 115_200, never());
    assert!(matches!(file, Err(PortError::NotSerial { .. })));
    let null = open_serial("/dev/null", 115_200, never());
    assert!(matches!(null, Err(PortError::NotSerial { .. })));
}

#[test]
fn an_interrupt_ends_a_read() {
    let (_master, _slave, name) = pty();
    let interrupt = never();
    let mut port = open_serial(&name, 115_200, Arc::clone(&interrupt)).unwrap();
    assert_eq!(port.read(&mut [0; 8], Moment::START).unwrap(), 0);
    let far = port.now() + Duration::from_secs(3600);
    std::thread::scope(|scope| {
        scope.spawn(|| interrupt.store(true, Ordering::Relaxed));
        assert!(matches!(port.read(&mut [0; 8], far), Err(PortError::Interrupted)));
    });
    assert!(matches!(port.wait_until(far), Err(PortError::Interrupted)));
    assert!(matches!(port.write(b"x"), Err(PortError::Interrupted)));
}

#[test]
fn a_port_that_vanishes_is_gone() {
    let (master, slave, name) = pty();
    let mut port = open_serial(&name, 115_200, never()).unwrap();
    drop((master, slave));
    let far = port.now() + Duration::from_secs(3600);
    assert!(matches!(port.read(&mut [0; 8], far), Err(PortError::Gone { .. })));
    assert!(matches!(port.write(b"x"), Err(PortError::Gone { .. })));
}
