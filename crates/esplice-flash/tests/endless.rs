//! Tests far ends that never pause: every operation must end all the same.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use esplice_flash::{
    ErrorClass, FlashOptions, detect, flash, open_rfc2217, open_tcp, reset_to_run,
};
use esplice_image::ResolvedPlan;
use esplice_protocol::{
    Port,
    rfc2217::{COM_PORT_OPTION, Item, Side, Verb, encode},
};

/// Longer than the operations take on the busiest machine, but not for ever.
const LIMIT: Duration = Duration::from_secs(900);

fn never() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

#[allow(clippy::disallowed_methods)] // The far ends use the host's time.
fn now() -> Instant {
    Instant::now()
}

/// Starts a far end that sends each client `first` and then `noise` repeatedly, as fast as it is
/// taken.
fn far_end(first: Vec<u8>, noise: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, first) = (stream.unwrap(), first.clone());
            let _ = stream.write_all(&first);
            // Until the other end hangs up.
            while stream.write_all(noise).is_ok() {}
        }
    });
    at
}

/// Noise of each kind: no frames at all, empty frames, and the beginning of a board's messages.
const NOISES: [&[u8]; 3] = [&[0; 4096], &[0xc0; 4096], b"ESP-ROM:esp32c3-api1-20210207\r\nBuild:"];

fn check(port: &mut dyn Port) {
    let began = now();
    let error = detect(port, &FlashOptions::default(), &mut |_| {}).unwrap_err();
    assert_eq!(error.class(), ErrorClass::NoAnswer, "{error}");
    let options = FlashOptions::default();
    let nothing = ResolvedPlan::default();
    let error = flash(port, &options, |_| Ok(nothing), &mut |_| {}).unwrap_err();
    assert_eq!(error.class(), ErrorClass::NoAnswer, "{error}");
    assert!(reset_to_run(port, 115_200).is_ok());
    port.clear_input().unwrap();
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}

#[test]
fn a_sender_that_never_pauses_holds_nobody_over_tcp() {
    for noise in NOISES {
        let at = far_end(Vec::new(), noise);
        check(&mut open_tcp(&format!("tcp://{at}"), never()).unwrap());
    }
    let at = far_end(Vec::new(), NOISES[0]);
    check(&mut open_tcp(&format!("socket://{at}"), never()).unwrap());
}

#[test]
fn a_sender_that_never_pauses_holds_nobody_over_rfc2217() {
    let mut agreement = Vec::new();
    encode(&Item::Option(Verb::Do, COM_PORT_OPTION), Side::Server, &mut agreement);
    for noise in NOISES {
        let at = far_end(agreement.clone(), noise);
        check(&mut open_rfc2217(&format!("rfc2217://{at}"), 115_200, never()).unwrap());
    }
}

/// An interrupt still ends the operation.
#[test]
fn an_interrupt_is_obeyed_meanwhile() {
    let at = far_end(Vec::new(), NOISES[0]);
    let interrupt = never();
    let mut port = open_tcp(&format!("tcp://{at}"), Arc::clone(&interrupt)).unwrap();
    let asked = Arc::clone(&interrupt);
    thread::spawn(move || {
        thread::park_timeout(Duration::from_millis(300));
        asked.store(true, Ordering::Relaxed);
    });
    let error = detect(&mut port, &FlashOptions::default(), &mut |_| {}).unwrap_err();
    assert!(matches!(error.class(), ErrorClass::Interrupted | ErrorClass::NoAnswer), "{error}");
}
