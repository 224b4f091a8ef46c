//! Prepares a layout-stable link from objects, archives, a script and the linker's output, and then
//! the next link from its record.
#![no_main]

use esplice_link::stable::{InputFile, Job, Link, Settings, split_object};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, &str, &str)| {
    let (bytes, script, said) = input;
    if let Ok(split) = split_object(&bytes) {
        let _ = split_object(&split);
    }
    let script = format!("{script} SECTIONS {{ .all : {{ *(.text*) *(.rodata*) }} }}");
    let inputs = vec![InputFile { name: "input".into(), bytes, whole: false }];
    let settings = Settings { own: vec!["app".into()], ..Settings::default() };
    let asked = vec!["main".into()];
    let job = Job { inputs, script, asked, settings, ..Job::default() };
    let Ok(mut link) = Link::new(job.clone(), None, &mut |_| None) else { return };
    let _ = link.replacements();
    link.script();
    // The link chooses the names of pinned sections; here each line is one of them.
    let mut map = String::from("40 40 1000 4 .all\n");
    for (number, line) in said.lines().take(64).enumerate() {
        map.push_str(&format!("{line}        input:(.~esplice.{number})\n"));
    }
    let Ok(Some(outcome)) = link.linked(&map, &|_| Some(0)) else { return };
    let Ok(mut next) = Link::new(job, Some(&outcome.record), &mut |_| None) else { return };
    let _ = next.replacements();
    next.script();
    next.failed(said);
    next.script();
    let _ = next.linked(&map, &|_| Some(0));
});
