//! Prepares a layout-stable link from objects, archives, a script and the linker's output, and then
//! the next link from its record.
#![no_main]

use esplice_link::stable::{
    Attempt, InputFile, Job, Link, Linker, Replacement, Settings, split_object,
};
use libfuzzer_sys::fuzz_target;

/// A linker with these results, the last one first.
struct Scripted(Vec<Attempt>);

impl Linker for Scripted {
    type Error = ();

    fn replace(&mut self, _: Vec<Replacement>) -> Result<(), ()> {
        Ok(())
    }

    fn link(&mut self, _: &str) -> Result<Attempt, ()> {
        self.0.pop().ok_or(())
    }

    fn input_of(&self, _: &str) -> Option<usize> {
        Some(0)
    }
}

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
    // The link chooses the names of pinned sections; here each line is one of them.
    let mut map = String::from("40 40 1000 4 .all\n");
    for (number, line) in said.lines().take(64).enumerate() {
        map.push_str(&format!("{line}        input:(.~esplice.{number})\n"));
    }
    let linked = Attempt::Linked { map };
    let mut linker = Scripted(vec![linked.clone(), linked.clone()]);
    let Ok(finished) = link.run(&mut linker) else { return };
    let record = Some(&finished.outcome.record);
    let Ok(mut next) = Link::new(job, record, &mut |_| None) else { return };
    let refused = Attempt::Refused { message: said.to_owned() };
    let _ = next.run(&mut Scripted(vec![linked.clone(), linked, refused]));
});
