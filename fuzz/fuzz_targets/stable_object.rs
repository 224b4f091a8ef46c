//! Objects, archives and a script of a layout-stable link.
#![no_main]

use esplice_link::stable::{InputFile, Job, Link, split_object};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, &str)| {
    let (bytes, script) = input;
    if let Ok(split) = split_object(&bytes) {
        let _ = split_object(&split);
    }
    let script = format!("{script} SECTIONS {{ .all : {{ *(.text*) *(.rodata*) }} }}");
    let inputs = vec![InputFile { name: "input".into(), bytes, whole: false }];
    let job = Job { inputs, script, asked: vec!["main".into()], ..Job::default() };
    if let Ok(mut link) = Link::new(job, None, &mut |_| None) {
        let _ = link.replacements();
        link.script();
    }
});
