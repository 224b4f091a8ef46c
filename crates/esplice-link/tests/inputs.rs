//! Tests the search for initial values among a link's inputs, with generated objects and archives.

use crate::objects::{ALLOC, Section, WRITE, archive, object};
use esplice_link::{Initialised, Unloaded, initialised};
use proptest::prelude::*;

/// Returns a static `name` in `section` with these bytes.
fn variable(section: &str, name: &str, data: &[u8]) -> Section {
    Section {
        name: section.into(),
        kind: 1,
        flags: ALLOC | WRITE,
        align: 4,
        data: data.to_vec(),
        symbols: vec![(name.into(), 0, true)],
        ..Section::default()
    }
}

fn unloaded() -> [Unloaded; 3] {
    [Unloaded::arena("dma"), Unloaded::arena("log"), Unloaded::section("late", ".late[0-9].*")]
}

fn found(file: &[u8]) -> Vec<(String, usize)> {
    let short = |one: Initialised| (one.what, one.statics.len());
    initialised(file, &unloaded()).into_iter().map(short).collect()
}

#[test]
fn bytes_that_are_not_zero_are_found_and_named() {
    let zero = variable(".esplice.arena.dma", "ZERO", &[0; 64]);
    let list = variable(".esplice.arena.dma", "LIST", &[0, 0, 0, 1]);
    let part = variable(".esplice.arena.log.part", "PART", &[9; 8]);
    let other = variable(".esplice.arena.dma2", "OTHER", &[9; 8]);
    let data = variable(".data", "DATA", &[9; 8]);
    assert_eq!(found(&object(&[zero.clone(), other.clone(), data])), []);
    let both = object(&[zero, list, part, other]);
    let all = initialised(&both, &unloaded());
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[0].what, "arena dma");
    assert!(!all[0].statics.is_empty(), "{all:?}");
    assert_eq!(all[1].what, "arena log");
    let archive = archive(&[("a.o", object(&[])), ("b.o", both.clone()), ("c.o", both)]);
    assert_eq!(found(&archive).len(), 2);
}

#[test]
fn a_pointer_is_an_initial_value() {
    let mut pointer = variable(".esplice.arena.log", "POINTER", &[0; 8]);
    pointer.refers = vec!["elsewhere".into()];
    assert_eq!(found(&object(&[pointer])), [("arena log".to_owned(), 1)]);
}

#[test]
fn sections_are_matched_as_a_linker_script_does() {
    let lost = variable(".late1.table", "TABLE", &[1; 4]);
    let kept = variable(".late.table", "TABLE", &[1; 4]);
    let zero = variable(".late2.buffer", "BUFFER", &[0; 4]);
    assert_eq!(found(&object(&[kept, zero])), []);
    assert_eq!(found(&object(&[lost])), [("section late".to_owned(), 1)]);
}

#[test]
fn other_files_have_nothing() {
    for file in [&b""[..], b"!<arch>\n", b"!<arch>\nbroken", b"\x7fELF", b"INSERT AFTER .bss;"] {
        assert_eq!(found(file), []);
    }
}

proptest! {
    #[test]
    fn broken_files_never_panic(at in 0_usize..2000, bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
        let list = variable(".esplice.arena.dma", "LIST", &[0, 0, 0, 1]);
        for mut file in [object(std::slice::from_ref(&list)), archive(&[("a.o", object(&[list]))])] {
            let at = at % file.len();
            for (old, new) in file[at..].iter_mut().zip(&bytes) {
                *old = *new;
            }
            let _ = found(&file);
            let _ = found(&file[..at]);
        }
    }
}
