//! Processes a board's output, and the text that a user expects in it.
#![no_main]

use std::time::Duration;

use esplice_monitor::{Addresses, Expectation, Filter, Tests, Watch, Watcher, sanitise, unescape};
use esplice_protocol::Moment;

libfuzzer_sys::fuzz_target!(|input: (&str, Vec<&[u8]>)| {
    let (expected, chunks) = input;
    let _ = unescape(expected);
    let filter: Result<Filter, _> = expected.parse();
    let expect = Expectation::parse(expected).into_iter().collect();
    let tests = Tests::Required { within: Duration::from_secs(1) };
    let watch = Watch::default().expect(expect).tests(tests).addresses(Addresses::All);
    let mut watcher = Watcher::new(&watch, Moment::START);
    let mut now = Moment::START;
    for chunk in chunks {
        let text = sanitise(chunk);
        assert!(!text.contains('\x1b'), "an escape sequence gets through: {text:?}");
        let _ = filter.as_ref().is_ok_and(|filter| filter.shows(&text));
        now = now + Duration::from_millis(10);
        if watcher.push(chunk, now, &mut |_| {}).is_some() {
            break;
        }
        watcher.tick(now, &mut |_| {});
    }
});
