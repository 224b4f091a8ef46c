//! Decodes a core dump with its header: as bytes, and as lines of base64 among other lines.
#![no_main]

use esplice_monitor::{CoreDump, MonitorEvent, Watch, Watcher};
use esplice_protocol::Moment;

libfuzzer_sys::fuzz_target!(|input: (&[u8], Vec<&str>)| {
    let (bytes, lines) = input;
    if let Ok(dump) = CoreDump::from_bytes(bytes) {
        for task in &dump.tasks {
            dump.frames(task, None);
        }
    }
    let mut watcher = Watcher::new(&Watch::default(), Moment::START);
    let mut tell = |event: MonitorEvent<'_>| {
        if let MonitorEvent::CoreDump(dump) = event {
            dump.tasks.iter().for_each(|task| drop(dump.frames(task, None)));
        }
    };
    watcher.push(
        b"================= CORE DUMP START =================\n",
        Moment::START,
        &mut tell,
    );
    for line in lines {
        watcher.push(line.as_bytes(), Moment::START, &mut tell);
        watcher.push(b"\n", Moment::START, &mut tell);
    }
    watcher.push(b"================= CORE DUMP END =================\n", Moment::START, &mut tell);
});
