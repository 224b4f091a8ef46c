//! Tests layout-stable links of small objects, with the tests' own linker.

use std::convert::Infallible;

use crate::objects::{
    ALLOC, MERGE, Placed, Section, anonymous, archive, function, link, object, strings, variable,
};
use esplice_link::stable::{
    Attempt, Basis, Finished, InputFile, Job, Link, Linker, Outcome, Record, Replacement, RunError,
    Settings, split_object,
};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

const SCRIPT: &str = "\
SECTIONS {
.text : {
KEEP(*(.init))
*(.text .text.*)
}
.rodata : {
*(.rodata .rodata.*)
_end = .;
}
.bss : {
*(.bss .bss.*)
}
}
";

pub(crate) fn job(inputs: Vec<(&str, Vec<u8>)>) -> Job {
    let input =
        |(name, bytes): (&str, Vec<u8>)| InputFile { name: name.to_owned(), bytes, whole: false };
    Job {
        inputs: inputs.into_iter().map(input).collect(),
        script: SCRIPT.into(),
        settings: Settings { own: vec!["app".into()], ..Settings::default() },
        ..Job::default()
    }
}

/// Result of a whole link.
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) placed: Vec<Placed>,
    pub(crate) basis: Basis,
    links: u32,
}

/// The tests' linker, which opens archives before it links.
struct TestLinker<'a> {
    names: Vec<String>,
    shrink: &'a dyn Fn(&str, u32) -> u32,
    files: Vec<(String, Vec<u8>)>,
    placed: Vec<Placed>,
}

impl Linker for TestLinker<'_> {
    type Error = Infallible;

    fn replace(&mut self, files: Vec<Replacement>) -> Result<(), Infallible> {
        self.files.clear();
        for replacement in files {
            let name = &self.names[replacement.input];
            if replacement.before {
                let read = object::read::archive::ArchiveFile::parse(&*replacement.bytes).unwrap();
                for member in read.members() {
                    let member = member.unwrap();
                    let member_name = std::str::from_utf8(member.name()).unwrap();
                    let data = member.data(&*replacement.bytes).unwrap().to_vec();
                    self.files.push((format!("{name}({member_name})"), data));
                }
            } else {
                self.files.push((name.clone(), replacement.bytes));
            }
        }
        Ok(())
    }

    fn link(&mut self, script: &str) -> Result<Attempt, Infallible> {
        // What relaxation does to a section must not depend on the name it is given for the link.
        let by_len = |_: &str, len: u32| (self.shrink)("", len);
        Ok(match link(&self.files, script, &by_len) {
            Ok((placed, map)) => {
                self.placed = placed;
                Attempt::Linked { map }
            }
            Err(message) => Attempt::Refused { message },
        })
    }

    fn input_of(&self, path: &str) -> Option<usize> {
        self.names.iter().position(|name| name == path)
    }
}

/// Carries out a link with the tests' linker.
pub(crate) fn carry_out(
    job: Job,
    record: Option<&Record>,
    shrink: &dyn Fn(&str, u32) -> u32,
) -> Done {
    let names = job.inputs.iter().map(|input| input.name.clone()).collect();
    let mut link_of = Link::new(job, record, &mut |_| None).unwrap();
    let mut linker = TestLinker { names, shrink, files: Vec::new(), placed: Vec::new() };
    let Finished { outcome, attempts, .. } = link_of.run(&mut linker).unwrap();
    Done { outcome, placed: linker.placed, basis: link_of.basis().clone(), links: attempts }
}

/// A linker that refuses with the same message each time.
struct Refusing<'a>(&'a str);

impl Linker for Refusing<'_> {
    type Error = Infallible;

    fn replace(&mut self, _: Vec<Replacement>) -> Result<(), Infallible> {
        Ok(())
    }

    fn link(&mut self, _: &str) -> Result<Attempt, Infallible> {
        Ok(Attempt::Refused { message: self.0.to_owned() })
    }

    fn input_of(&self, _: &str) -> Option<usize> {
        None
    }
}

fn same(_: &str, len: u32) -> u32 {
    len
}

/// Returns the address of the section with these contents.
fn addr_of(placed: &[Placed], data: &[u8]) -> u32 {
    let mut found = placed.iter().filter(|placed| placed.data == data);
    let first = found.next().expect("placed").addr;
    assert_eq!(found.next(), None);
    first
}

#[test]
fn strings_are_split_and_keep_what_their_symbols_say() {
    let texts = [(".Lone", "first"), (".Ltwo", ""), (".Lthree", "third"), (".Lagain", "first")];
    let texts = texts.map(|(symbol, text)| (symbol.to_owned(), text.to_owned()));
    let mut section = strings(&texts);
    section.symbols.push(("public".into(), 8, true));
    let main = function("main", 16, 2, &[".Lone", ".Ltwo", ".Lthree", ".Lagain"]);
    let bytes = object(&[main, section]);
    let split = split_object(&bytes).unwrap();
    let read = object::File::parse(&*split).unwrap();
    let main = read.section_by_name(".text.main").unwrap();
    let said: Vec<String> = main
        .relocations()
        .map(|(_, relocation)| {
            let object::RelocationTarget::Symbol(symbol) = relocation.target() else { panic!() };
            let symbol = read.symbol_by_index(symbol).unwrap();
            let section = read.section_by_index(symbol.section_index().unwrap()).unwrap();
            assert!(section.name().unwrap().starts_with(".rodata.str1.1.p"));
            // Linkers omit these symbols from merged sections, so they have no names.
            assert_eq!(symbol.name(), Ok(""));
            let data = &section.data().unwrap()[symbol.address() as usize..];
            assert_eq!(data.last(), Some(&0));
            String::from_utf8(data[..data.len() - 1].to_vec()).unwrap()
        })
        .collect();
    assert_eq!(said, ["first", "", "third", "first"]);
    let public = read.symbols().find(|symbol| symbol.name() == Ok("public")).unwrap();
    assert_eq!(public.address(), 1);
    assert_eq!(read.section_by_name(".rodata.str1.1").unwrap().size(), 0);
    assert!(split_object(&split).is_ok_and(|again| *again == *split));
}

#[test]
fn constants_that_are_used_as_a_whole_stay_whole() {
    // Not a whole number of entries.
    let section = Section {
        name: ".rodata.cst4".into(),
        kind: 1,
        flags: ALLOC | MERGE,
        align: 4,
        entry: 4,
        data: vec![7; 6],
        symbols: vec![(".LC".into(), 4, false)],
        ..Section::default()
    };
    let bytes = object(&[section]);
    let split = split_object(&bytes).unwrap();
    let read = object::File::parse(&*split).unwrap();
    let section = read.section_by_name(".rodata.cst4").unwrap();
    assert_eq!(section.data(), Ok(&[7_u8; 6][..]));
    let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else { panic!() };
    assert_eq!(sh_flags.0 & u64::from(MERGE), 0);
}

/// Returns a program of one object and an archive, of which one member is needed.
fn program(first: u32, text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let texts = [(".La".to_owned(), text.to_owned()), (".Lb".to_owned(), "stays".to_owned())];
    let own = object(&[
        function("_3app4main", first, 2, &[".La", ".Lb", "helper"]),
        function("_3app5other", 40, 2, &[]),
        strings(&texts),
        variable("_3app5count", 4),
    ]);
    let needed = object(&[function("helper", 24, 2, &[]), variable("state", 8)]);
    let other = object(&[function("nobody", 100, 2, &[])]);
    vec![("main.o", own), ("libx.a", archive(&[("other.o", other), ("needed.o", needed)]))]
}

#[test]
fn what_is_unchanged_stays_and_the_same_again_is_the_same() {
    let first = carry_out(job(program(100, "hello")), None, &same);
    assert_eq!(first.basis, Basis::Fresh);
    assert!(first.placed.iter().any(|placed| placed.file == "libx.a(needed.o)"));
    let record = Record::from_bytes(&first.outcome.record.to_bytes()).unwrap();
    assert_eq!(record, first.outcome.record);
    let again = carry_out(job(program(100, "hello")), Some(&record), &same);
    assert_eq!(again.basis, Basis::Record);
    assert_eq!((again.outcome.new, again.outcome.gone), (0, 0));
    assert_eq!(again.outcome.moved, []);
    assert_eq!(again.outcome.kept, record.len());
    assert_eq!(again.outcome.record, record);
    // A little more, within the slack, and another string.
    let edited = carry_out(job(program(120, "hello, hello, hello, hello")), Some(&record), &same);
    assert_eq!((edited.outcome.evicted, edited.outcome.moved.len()), (0, 0));
    let helper = |done: &Done| done.placed.iter().find(|p| p.size == 24).unwrap().addr;
    assert_eq!(helper(&first), helper(&edited));
    assert_eq!(addr_of(&first.placed, b"stays\0"), addr_of(&edited.placed, b"stays\0"));
}

/// Returns a program of the project's functions, which refer to nothing, and a library's function.
fn functions(own: &[(&str, u32)]) -> Job {
    let mut sections: Vec<Section> =
        own.iter().map(|(name, len)| function(name, *len, 2, &[])).collect();
    sections.push(function("_3app5calls", 40, 2, &["helper"]));
    let helper = object(&[function("helper", 2000, 2, &[])]);
    job(vec![("main.o", object(&sections)), ("libx.a", archive(&[("helper.o", helper)]))])
}

fn moved(done: &Done) -> Vec<&str> {
    done.outcome.moved.iter().map(|moved| moved.0.as_str()).collect()
}

#[test]
fn what_outgrew_its_place_moves_alone() {
    let first = carry_out(functions(&[("_3app4main", 100), ("_3app4long", 300)]), None, &same);
    let edited = functions(&[("_3app4main", 200), ("_3app4long", 300)]);
    let edited = carry_out(edited, Some(&first.outcome.record), &same);
    assert_eq!(moved(&edited), [".text._3app4main"]);
}

#[test]
fn what_is_shorter_makes_way_for_what_grows() {
    let first = functions(&[("_3app4long", 1000), ("_3app5short", 60), ("_3app4more", 700)]);
    let first = carry_out(first, None, &same);
    let edited = functions(&[("_3app4long", 1100), ("_3app5short", 60), ("_3app4more", 700)]);
    let edited = carry_out(edited, Some(&first.outcome.record), &same);
    assert_eq!(moved(&edited), [".text._3app5short"]);
    let again = functions(&[("_3app4long", 1100), ("_3app5short", 60), ("_3app4more", 700)]);
    let again = carry_out(again, Some(&edited.outcome.record), &same);
    assert_eq!(again.outcome.record.to_bytes(), edited.outcome.record.to_bytes());

    // The section that follows is too long to make way.
    let edited = functions(&[("_3app4long", 1400), ("_3app5short", 60), ("_3app4more", 700)]);
    let edited = carry_out(edited, Some(&first.outcome.record), &same);
    assert_eq!(moved(&edited), [".text._3app4long"]);
}

#[test]
fn generic_functions_made_for_the_project_have_room_too() {
    // As in the legacy mangling: the names do not show the type.
    let poll = "_ZN8executor4Task$LT$F$GT$4poll17h0123456789abcdefE";
    let scan = "_ZN8executor4Task$LT$F$GT$4poll17h123456789abcdef0E";
    let other = "_ZN8executor4Task$LT$F$GT$4turn17h0123456789abcdefE";
    let read = "_ZN3app4read17h0123456789abcdefE";
    let program = |len: u32| {
        let main = object(&[
            function(poll, len, 2, &[read, scan, other]),
            function(scan, len + 100, 2, &["helper"]),
            function(other, 104, 2, &["helper"]),
            function("_ZN8executor3run17h0123456789abcdefE", 108, 2, &[other]),
            function(read, 60, 2, &[]),
            // Jump tables refer to their function but are not callers.
            Section { name: ".rodata".into(), ..anonymous(0, vec![0; 4], &[scan]) },
        ]);
        let helper = object(&[function("helper", 2000, 2, &[])]);
        job(vec![("main.o", main), ("libx.a", archive(&[("helper.o", helper)]))])
    };
    let first = carry_out(program(100), None, &same);
    let edited = carry_out(program(130), Some(&first.outcome.record), &same);
    assert_eq!(moved(&edited), Vec::<&str>::new());
    let of_len = |len: u32| first.placed.iter().find(|placed| placed.size == len).unwrap().addr;
    assert!(of_len(60) < of_len(104), "a function not made for it comes after the project's");
}

#[test]
fn what_is_new_lies_next_to_what_is_edited() {
    let texts = |count: u32| {
        let text = |n: u32| anonymous(n, format!("text {n}").into_bytes(), &[]);
        let made = (0..count).map(|n| Section { align: 1, ..text(n) });
        let names: Vec<String> = (0..count).map(|n| format!(".Lanon.0123.{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut sections: Vec<Section> = made.collect();
        sections.push(function("_3app4main", 100, 2, &names));
        sections.push(function("_3app5calls", 40, 2, &["helper"]));
        sections.extend((1..count).map(|n| function(&format!("_3app{n}"), 50, 2, &[])));
        let constant = Section { name: ".rodata.table".into(), ..anonymous(0, vec![9; 900], &[]) };
        let helper = object(&[function("helper", 2000, 2, &[]), constant]);
        job(vec![("main.o", object(&sections)), ("libx.a", archive(&[("helper.o", helper)]))])
    };
    let first = carry_out(texts(1), None, &same);
    let edited = carry_out(texts(2), Some(&first.outcome.record), &same);
    assert_eq!((moved(&edited), edited.outcome.new), (vec![], 2));
    let of_len = |len: u32| edited.placed.iter().find(|placed| placed.size == len).unwrap().addr;
    assert!(of_len(50) < of_len(2000), "the function lies before the library's");
    assert!(
        addr_of(&edited.placed, b"text 1") < of_len(900),
        "the string lies before the library's, too"
    );
}

#[test]
fn constants_that_are_numbered_anew_are_known_by_what_they_refer_to() {
    let name = |n: u32| format!("_ZN3app3fmt17h{n:016x}E");
    // Tables that are equal except for the function in them, and source locations whose lines
    // change.
    let program = |from: u32, line: u8| {
        let mut sections: Vec<Section> = (0..from)
            .map(|n| anonymous(n, b"new".to_vec(), &[]))
            .chain((0..4).map(|n| anonymous(from + n, vec![0; 16], &[&name(n)])))
            .chain((0..4).map(|n| {
                anonymous(from + 4 + n, vec![0, 0, 0, 0, line + 3 * n as u8, 0, 0, 0], &["file"])
            }))
            .collect();
        for n in 0..4 {
            sections.push(function(&name(n), 60, 2, &[]));
            let uses =
                [format!(".Lanon.0123.{}", from + n), format!(".Lanon.0123.{}", from + 4 + n)];
            sections.push(function(&format!("_3app5user{n}"), 40, 2, &[&uses[0], &uses[1]]));
        }
        let news: Vec<String> = (0..from).map(|n| format!(".Lanon.0123.{n}")).collect();
        let news: Vec<&str> = news.iter().map(String::as_str).collect();
        sections.push(function("_3app4main", 100, 2, &news));
        sections.push(Section {
            name: ".rodata.file".into(),
            ..strings(&[("file".into(), "f".into())])
        });
        job(vec![("main.o", object(&sections))])
    };
    let first = carry_out(program(0, 10), None, &same);
    let edited = carry_out(program(1, 11), Some(&first.outcome.record), &same);
    let table = |done: &Done, n: u32| {
        done.placed.iter().find(|placed| placed.refers == [name(n)]).unwrap().addr
    };
    let line = |done: &Done, line: u8| {
        let of = |placed: &&Placed| placed.size == 8 && placed.data[4] == line;
        done.placed.iter().find(of).unwrap().addr
    };
    for n in 0..4 {
        assert_eq!(table(&first, n), table(&edited, n), "table {n}");
        let lines = (10 + 3 * n as u8, 11 + 3 * n as u8);
        assert_eq!(line(&first, lines.0), line(&edited, lines.1), "place {n}");
    }
}

/// Returns a library of many functions, of which the program calls those in `uses`, in this order.
fn library(uses: &[usize]) -> Job {
    let name = |n: usize| format!("lib{n}");
    let names: Vec<String> = uses.iter().map(|n| name(*n)).collect();
    let uses: Vec<&str> = names.iter().map(String::as_str).collect();
    let main = object(&[function("_3app4main", 200, 2, &uses)]);
    let functions: Vec<Section> =
        (0..40).map(|n| function(&name(n), 40 + 2 * n as u32, 2, &[])).collect();
    let members: Vec<(String, Vec<u8>)> = functions
        .iter()
        .enumerate()
        .map(|(n, function)| (format!("{n}.o"), object(std::slice::from_ref(function))))
        .collect();
    let members: Vec<(&str, Vec<u8>)> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    job(vec![("main.o", main), ("liby.a", archive(&members))])
}

#[test]
fn what_the_linker_puts_side_by_side_is_pinned_together() {
    let all: Vec<usize> = (0..40).collect();
    let first = carry_out(library(&all), None, &same);
    let record = first.outcome.record;
    let mut again = Link::new(library(&all), Some(&record), &mut |_| None).unwrap();
    let pins = |script: &str| script.matches("*(.~esplice.").count();
    assert_eq!(pins(&again.script()), 2, "the program's function and the library's");

    // One in the middle is no longer linked: the others stay, once that is known.
    let without: Vec<usize> = all.iter().copied().filter(|n| *n != 20).collect();
    let next = carry_out(library(&without), Some(&record), &same);
    assert_eq!((next.outcome.moved.as_slice(), next.outcome.kept), (&[][..], 40));
    assert_eq!(next.outcome.gone, 1);
    // It is linked again, at the end or in its gap.
    let back = carry_out(library(&all), Some(&next.outcome.record), &same);
    assert_eq!((back.outcome.moved.as_slice(), back.outcome.kept), (&[][..], 40));
    assert_eq!((back.outcome.new, back.links), (1, 1));
}

#[test]
fn sections_that_the_linker_takes_in_another_order_stay() {
    let all: Vec<usize> = (0..40).collect();
    let first = carry_out(library(&all), None, &same);
    // The linker takes the members of the archive in another order.
    let mut job = library(&all);
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    let read = object::read::archive::ArchiveFile::parse(&*job.inputs[1].bytes).unwrap();
    for member in read.members() {
        let member = member.unwrap();
        let name = String::from_utf8(member.name().to_vec()).unwrap();
        members.insert(0, (name, member.data(&*job.inputs[1].bytes).unwrap().to_vec()));
    }
    let members: Vec<(&str, Vec<u8>)> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    job.inputs[1].bytes = archive(&members);
    let main = function("_3app4main", 200, 2, &["lib39", "lib1"]);
    job.inputs[0].bytes = object(&[main, function("_3app4more", 200, 2, &[])]);
    let next = carry_out(job, Some(&first.outcome.record), &same);
    assert_eq!(next.outcome.moved, []);
    assert!(next.outcome.kept >= 3, "{:?}", next.outcome);
}

#[test]
fn a_section_without_room_at_its_end_gets_some_again() {
    let program = |more: &[(&str, u32)]| {
        let mut sections = vec![function("_3app4main", 100, 2, &[]), variable("_3app5count", 4)];
        sections.extend(more.iter().map(|(name, len)| function(name, *len, 2, &[])));
        job(vec![("main.o", object(&sections))])
    };
    let end = |done: &Done| {
        let text = done.placed.iter().filter(|placed| placed.output == ".text");
        text.map(|placed| placed.offset + placed.size).max().unwrap()
    };
    // The variable follows the code.
    let behind = |done: &Done| {
        done.placed.iter().find(|placed| placed.output == ".bss").map(|placed| placed.addr)
    };
    let first = carry_out(program(&[]), None, &same);
    // As long as the tail, and a little more.
    let long = carry_out(program(&[("_3app4long", 600)]), Some(&first.outcome.record), &same);
    assert!(end(&long) > 600, "{}", end(&long));
    let both = [("_3app4long", 600), ("_3app4more", 300)];
    let more = carry_out(program(&both), Some(&long.outcome.record), &same);
    assert_eq!(more.outcome.moved, []);
    // Both links end at the same place: the second one used the room that the first had made.
    let last = carry_out(program(&both), Some(&more.outcome.record), &same);
    assert_eq!(last.outcome.record.to_bytes(), more.outcome.record.to_bytes());
    assert_eq!(behind(&long), behind(&more));
    assert!(behind(&first) < behind(&long));
}

#[test]
fn records_of_other_circumstances_are_not_followed() {
    let mut first = job(program(100, "hello"));
    first.contexts = vec![("compiler".into(), "one".into())];
    let record = carry_out(first.clone(), None, &same).outcome.record;
    let mut other = first.clone();
    other.contexts = vec![("compiler".into(), "two".into())];
    assert_eq!(carry_out(other, Some(&record), &same).basis, Basis::Stale(vec!["compiler".into()]));
    let mut other = first.clone();
    other.script.push_str("PROVIDE(x = 1);\n");
    let link = Link::new(other, Some(&record), &mut |_| None).unwrap();
    assert_eq!(*link.basis(), Basis::Stale(vec!["linker script".into()]));
    let mut other = first;
    other.settings.texts = (17, 25);
    assert_eq!(carry_out(other, Some(&record), &same).basis, Basis::Stale(vec!["settings".into()]));
}

#[test]
fn too_many_gaps_lead_to_a_new_layout() {
    let made = |step: usize| {
        let names: Vec<String> = (0..40).step_by(step).map(|n| format!("_3app{n}")).collect();
        let functions: Vec<Section> =
            names.iter().map(|name| function(name, 1000, 2, &[])).collect();
        job(vec![("main.o", object(&functions))])
    };
    let whole = carry_out(made(1), None, &same);
    let half = carry_out(made(2), Some(&whole.outcome.record), &same);
    assert_eq!((half.basis, half.outcome.kept, half.outcome.gone), (Basis::Record, 20, 20));
    let next = carry_out(made(2), Some(&half.outcome.record), &same);
    assert_eq!(next.basis, Basis::Fragmented(4));
    let last = carry_out(made(2), Some(&next.outcome.record), &same);
    assert_eq!((last.basis, last.outcome.kept), (Basis::Record, 20));
}

#[test]
fn a_damaged_record_is_refused() {
    let bytes = carry_out(job(program(100, "hello")), None, &same).outcome.record.to_bytes();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(Record::from_bytes(&damaged).is_err(), "byte {at}");
        assert!(Record::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(Record::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
}

#[test]
fn scripts_beyond_understanding_are_refused() {
    for (script, message) in [
        ("SECTIONS { .a : { *(.a) } .a : { *(.b) } }", "output section .a twice"),
        ("SECTIONS { .a : { *(.a) ", "an output section without end"),
        ("SECTIONS { OVERLAY : { .a { *(.a) } } }", "OVERLAY"),
        ("SECTIONS { .a : { INPUT_SECTION_FLAGS(SHF_WRITE) *(.a) } }", "INPUT_SECTION_FLAGS"),
        ("SECTIONS { .a : SUBALIGN(8) { *(.a) } }", "SUBALIGN"),
        ("/* never", "a comment without end"),
    ] {
        let job = Job { script: script.into(), ..job(program(100, "hello")) };
        let error = Link::new(job, None, &mut |_| None).unwrap_err();
        let text = format!("the linker script has {message}, which is not supported");
        assert_eq!(error.to_string(), text, "{script}");
    }
    for (script, message) in [
        (
            "SECTIONS { INCLUDE other.x }",
            "the linker script includes other.x, which does not exist",
        ),
        ("ENTRY(start)", "the linker script has no patterns for input sections"),
        (
            "SECTIONS { .a : { KEEP(*(.a)) } }",
            "the linker script has no patterns for input sections",
        ),
    ] {
        let job = Job { script: script.into(), ..job(program(100, "hello")) };
        assert_eq!(Link::new(job, None, &mut |_| None).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_fault_of_the_program_is_not_ours() {
    let first = carry_out(job(program(100, "hello")), None, &same);
    for message in [
        "ld.lld: error: undefined symbol: nowhere",
        "ld.lld: error: link.x:1: unable to move location counter backward for: .text",
    ] {
        let record = Some(&first.outcome.record);
        let mut link = Link::new(job(program(100, "hello")), record, &mut |_| None).unwrap();
        let refused = RunError::Refused { message: message.to_owned() };
        assert_eq!(link.run(&mut Refusing(message)).unwrap_err(), refused);
    }
}
