//! Tests of the symbols of a real program with debug information: this test itself.
#![cfg(target_os = "linux")]

use std::{fs, hint::black_box, sync::OnceLock};

use esplice_monitor::{Symbols, SymbolsError};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use proptest::prelude::*;

fn elf() -> &'static [u8] {
    static ELF: OnceLock<Vec<u8>> = OnceLock::new();
    ELF.get_or_init(|| fs::read(std::env::current_exe().unwrap()).unwrap())
}

#[inline(never)]
fn called_by_the_test(value: u32) -> u32 {
    black_box(value) + put_into_another(value)
}

#[inline(always)]
fn put_into_another(value: u32) -> u32 {
    black_box(black_box(value).rotate_left(3))
}

const LINE_OF_CALL: u32 = 17;
const LINE_OF_INLINED: u32 = 22;

/// Returns the addresses of a function's bytes.
fn function(name: &str) -> std::ops::Range<u64> {
    let file = object::File::parse(elf()).unwrap();
    let symbol = file.symbols().find(|symbol| symbol.name().unwrap().contains(name)).unwrap();
    symbol.address()..symbol.address() + symbol.size()
}

#[test]
fn functions_and_lines_are_told_with_what_is_inlined() {
    assert_eq!(called_by_the_test(black_box(0)), 0);
    let symbols = Symbols::from_elf(elf()).unwrap();
    let mut inlined = 0;
    for addr in function("called_by_the_test") {
        let frames = symbols.frames(addr);
        let outermost = frames.last().unwrap();
        assert_eq!(
            outermost.function.as_deref(),
            Some(concat!(module_path!(), "::called_by_the_test"))
        );
        assert!(!outermost.inlined);
        let file = outermost.file.as_deref().unwrap();
        assert!(file.ends_with("tests/symbols.rs"), "{file}");
        let place = frames.iter().position(|frame| {
            frame.function.as_deref().is_some_and(|name| name.ends_with("put_into_another"))
        });
        if let Some(place) = place {
            assert!(frames[place].inlined);
            assert_eq!(frames[place].line, Some(LINE_OF_INLINED));
            assert_eq!(frames[place + 1].line, Some(LINE_OF_CALL));
            inlined += 1;
        }
    }
    assert!(inlined > 0);
}

#[test]
fn only_code_has_names() {
    let symbols = Symbols::from_elf(elf()).unwrap();
    let file = object::File::parse(elf()).unwrap();
    let data = file.symbols().find(|s| s.kind() == object::SymbolKind::Data && s.size() > 0);
    for addr in [0, data.unwrap().address(), u64::MAX] {
        assert!(!symbols.contains(addr));
        assert_eq!(symbols.frames(addr), []);
    }
}

#[test]
fn what_is_no_elf_is_refused() {
    assert!(matches!(Symbols::from_elf(b"no ELF"), Err(SymbolsError::Elf(_))));
    assert!(matches!(Symbols::from_elf(&[]), Err(SymbolsError::Elf(_))));
    assert!(Symbols::from_elf(&elf()[..0x80]).is_err());
}

/// Returns the positions of the debug sections in the file.
fn debug_sections() -> Vec<std::ops::Range<usize>> {
    let file = object::File::parse(elf()).unwrap();
    let sections = file
        .sections()
        .filter(|section| section.name().is_ok_and(|name| name.starts_with(".debug")));
    let ranges = sections.filter_map(|section| section.file_range());
    ranges.map(|(at, len)| at as usize..(at + len) as usize).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn broken_debug_information_makes_nothing_panic(
        changes in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<u8>()), 1..2000)
    ) {
        static CODE: OnceLock<std::ops::Range<u64>> = OnceLock::new();
        let code = CODE.get_or_init(|| function("called_by_the_test"));
        let mut bytes = elf().to_vec();
        let sections = debug_sections();
        for (section, at, byte) in changes {
            let section = sections[section % sections.len()].clone();
            if !section.is_empty() {
                bytes[section.start + at % section.len()] = byte;
            }
        }
        let symbols = Symbols::from_elf(&bytes).unwrap();
        for addr in code.clone() {
            let frames = symbols.frames(addr);
            prop_assert!(!frames.is_empty(), "the symbol table is intact, so a frame must exist");
        }
    }
}
