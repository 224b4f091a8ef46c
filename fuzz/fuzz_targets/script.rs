//! Runs a script of expectations on a board's output.
#![no_main]

use std::time::Duration;

use esplice_monitor::{Script, Watch, Watcher};
use esplice_protocol::Moment;

libfuzzer_sys::fuzz_target!(|input: (&str, Vec<&[u8]>)| {
    let (text, chunks) = input;
    let Ok(script) = Script::parse(text) else { return };
    let script = script.steps.into_iter().map(|(_, step)| step).collect();
    let watch = Watch::default().script(script).timeout(Some(Duration::from_secs(60)));
    let mut watcher = Watcher::new(&watch, Moment::START);
    let mut now = Moment::START;
    for chunk in chunks {
        while watcher.action().is_some() {
            if watcher.done(now).is_some() {
                return;
            }
        }
        if watcher.push(chunk, now, &mut |_| {}).is_some() {
            return;
        }
        now = now + Duration::from_millis(10);
        if watcher.tick(now, &mut |_| {}).is_some() {
            return;
        }
    }
});
