//! A board's output, and the text that a user expects in it.
#![no_main]

use std::time::Duration;

use esplice_monitor::{Expectation, Watch, Watcher, sanitise, unescape};
use esplice_protocol::Moment;

libfuzzer_sys::fuzz_target!(|input: (&str, Vec<&[u8]>)| {
    let (expected, chunks) = input;
    let _ = unescape(expected);
    let expect = Expectation::parse(expected).into_iter().collect();
    let mut watcher = Watcher::new(&Watch { expect, ..Watch::default() }, Moment::START);
    let mut now = Moment::START;
    for chunk in chunks {
        let text = sanitise(chunk);
        assert!(!text.contains('\x1b'), "an escape sequence gets through: {text:?}");
        now = now + Duration::from_millis(10);
        if watcher.push(chunk, now, &mut |_| {}).is_some() {
            break;
        }
        watcher.tick(now, &mut |_| {});
    }
});
