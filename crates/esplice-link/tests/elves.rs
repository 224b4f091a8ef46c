//! Tests maps, differences and defects with generated ELFs that contain only what each test needs.

use crate::support::Elf;
use esplice_chip::ChipDb;
use esplice_layout::{Layout, Spec};
use esplice_link::{
    LinkError, MemoryMap, SizeBy, check, compare_sizes, diff, map, sizes, to_html, to_svg,
};
use proptest::prelude::*;

const FILE: &str = "[layout.heap]\nsize = \"96K\"\nsymbols = \"_heap\"\n\n[[layout.arena]]\nname = \"dma\"\n\
                    size = \"16K\"\nalign = 64\n\n[layout.stack]\nmain = \"16K\"\n";

fn layout(text: &str) -> Layout {
    let spec = Spec::parse("esplice.toml", text).unwrap().unwrap();
    spec.settle(ChipDb::embedded().find("esp32c3").unwrap()).unwrap()
}

/// Returns an ELF that satisfies the layout FILE.
fn good() -> Elf {
    let mut elf = Elf::default();
    elf.section(".rwtext", 0x4038_0000, 0x600, true);
    elf.section(".rwdata_dummy", 0x3fc8_0000, 0x600, false);
    elf.section(".data", 0x3fc8_0600, 0x400, true);
    elf.section(".esplice.arena.dma", 0x3fc8_1000, 0x4000, false);
    elf.section(".esplice.heap", 0x3fc8_5000, 0x1_8000, false);
    elf.section(".stack", 0x3fc9_d000, 0x3_1400, false);
    elf.section(".text", 0x4200_0020, 0x8000, true);
    elf.block("__esplice_arena_dma", 0x3fc8_1000, 0x4000);
    elf.block("__esplice_heap", 0x3fc8_5000, 0x1_8000);
    elf.block("_heap", 0x3fc8_5000, 0x1_8000);
    elf.symbol("__go_heap_start", 0x3fc8_5000, 0);
    elf.symbol("__go_heap_end", 0x3fc9_d000, 0);
    elf.symbol("_stack_end", 0x3fc9_d000, 0);
    elf.symbol("_stack_start", 0x3fcc_e400, 0);
    elf
}

fn map_of(elf: &Elf) -> MemoryMap {
    map(&elf.to_bytes(), ChipDb::embedded().find("esp32c3").unwrap()).unwrap()
}

#[track_caller]
fn defects(elf: &Elf, file: &str, expected: &[&str]) {
    let defects = check(&elf.to_bytes(), &layout(file)).unwrap();
    let said: Vec<String> = defects.iter().map(ToString::to_string).collect();
    assert_eq!(said, expected);
    assert!(defects.iter().all(|defect| defect.hint().is_some()));
}

#[test]
fn a_layout_that_became_true_has_no_defects() {
    defects(&good(), FILE, &[]);
}

#[test]
fn each_way_in_which_it_did_not() {
    let mut elf = good();
    elf.remove("__esplice_heap_end");
    defects(&elf, FILE, &["esplice.toml:1: the ELF has no __esplice_heap_end"]);

    let mut elf = good();
    elf.remove("_heap_size");
    defects(&elf, FILE, &["esplice.toml:1: the ELF has no _heap_size"]);

    let mut elf = good();
    elf.block("__esplice_arena_dma", 0x3fc8_1010, 0x3ff0);
    let text = "esplice.toml:5: arena dma at 0x3fc81010 is not aligned to 64";
    let size = "esplice.toml:5: arena dma has 16368 bytes, 16K (16384 bytes) were requested";
    defects(&elf, FILE, &[text, size]);

    let mut elf = good();
    elf.block("__esplice_arena_dma", 0x3fcc_e400, 0x4000);
    let text =
        "esplice.toml:5: arena dma is at 0x3fcce400, outside of dram (0x3fc80000 to 0x3fcce400)";
    defects(&elf, FILE, &[text]);

    let mut elf = good();
    elf.section(".esplice.arena.dma", 0x3fc8_1000, 0x4000, true);
    elf.symbol("TABLE", 0x3fc8_1040, 12);
    elf.symbol("ELSEWHERE", 0x3fc8_0700, 12);
    let text = "esplice.toml:5: arena dma is no-load and has initialised data: TABLE of 12 bytes";
    defects(&elf, FILE, &[text]);

    let mut elf = good();
    elf.symbol("_stack_end", 0x3fcc_c400, 0);
    let text =
        "esplice.toml:11: 8192 bytes are left for the main stack, 16K (16384 bytes) were requested";
    defects(&elf, FILE, &[text]);

    let rest = FILE.replace("\"96K\"", "\"rest\"\nlimit = \"112K\"");
    let text =
        "esplice.toml:3: limit of 112K (114688 bytes) is more than the heap, which has 98304 bytes";
    defects(&good(), &rest, &[text]);

    let reserve = "[[layout.reserve]]\nname = \"crash\"\nstart = 0x3fcd_e000\nsize = 0x710\n";
    let mut elf = good();
    elf.section(".big", 0x3fcc_e400, 0xfd00, true);
    let text = "esplice.toml:1: .big (0x3fcce400 to 0x3fcde100) lies in reserved range crash";
    let over =
        ".big is loaded to 0x3fcce400 in dram2, where the second-stage bootloader is running";
    defects(&elf, reserve, &[text, over]);
}

#[test]
fn a_map_tells_what_lies_where_and_what_is_free() {
    let map = map_of(&good());
    assert_eq!(
        map.to_text(),
        "dram       0x3fc80000    320512 bytes, 318976 used (99 %), 1536 free\n\
         \x20 shadow   0x3fc80000      1536  .rwdata_dummy\n\
         \x20 section  0x3fc80600      1024  .data                        loaded\n\
         \x20 arena    0x3fc81000     16384  dma\n\
         \x20 heap     0x3fc85000     98304  heap\n\
         \x20 stack    0x3fc9d000    201728  .stack\n\
         iram       0x40380000    304128 bytes, 1536 used (0 %), 302592 free\n\
         \x20 section  0x40380000      1536  .rwtext                      loaded\n\
         irom       0x42000000   8388608 bytes, 32768 used (0 %), 8355840 free\n\
         \x20 section  0x42000020     32768  .text                        loaded\n"
    );
    assert_eq!(map.region("dram").unwrap().free_ranges(), [(0x3fc8_0a00, 0x600)]);
}

#[test]
fn without_sections_symbols_tell() {
    let mut elf = Elf::default();
    elf.block("__esplice_arena_dma", 0x3fcd_a700, 0x4000);
    elf.block("__esplice_heap", 0x3fc8_5000, 0x1_8000);
    let map = map_of(&elf);
    let text = map.to_text();
    assert!(text.contains("  arena    0x3fcda700     16384  dma\n"), "{text}");
    assert!(text.contains("  heap     0x3fc85000     98304  heap\n"), "{text}");
}

#[test]
fn a_difference_tells_what_is_new_gone_moved_and_grown() {
    let mut new = good();
    new.section(".data", 0x3fc8_0600, 0x500, true);
    new.section(".esplice.heap", 0x3fc8_5040, 0x1_8000, false);
    new.block("__esplice_heap", 0x3fc8_5040, 0x1_8000);
    new.section(".extra", 0x5000_0000, 0x40, true);
    new.section(".rwtext", 0x4038_0000, 0, true);
    let (old, new) = (map_of(&good()), map_of(&new));
    assert_eq!(
        diff(&old, &new).to_text(),
        "dram       318976 -> 319168 bytes used (+192)\n\
         iram       1536 -> 0 bytes used (-1536)\n\
         rtc-fast   0 -> 64 bytes used (+64)\n\
         \x20 dram       section  .data                        at 0x3fc80600, 1024 -> 1280 bytes (+256)\n\
         \x20 dram       heap     heap                         0x3fc85000 -> 0x3fc85040, 98304 -> 98304 bytes (+0)\n\
         \x20 iram       section  .rwtext                      gone from 0x40380000, 1536 bytes\n\
         \x20 rtc-fast   section  .extra                       new at 0x50000000, 64 bytes\n"
    );
    assert!(diff(&old, &old).is_empty());
}

#[test]
fn pictures_hold_everything_and_no_markup_of_others() {
    let mut elf = good();
    elf.section(".<script>alert(1)</script>&\"", 0x5000_0000, 0x40, true);
    let map = map_of(&elf);
    for picture in [to_svg(&map), to_html(&map)] {
        assert!(!picture.contains("<script>"));
        assert!(picture.contains(".&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;"));
        for item in map.regions.iter().flat_map(|region| &region.items) {
            assert!(picture.contains(&format!("{:#010x}", item.addr)));
        }
        // Self-contained: the only URL is that of the SVG namespace.
        assert_eq!(picture.matches("http").count(), 1);
    }
}

#[test]
fn what_is_no_elf_of_the_chip_is_refused() {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    assert!(matches!(map(b"no ELF", chip), Err(LinkError::BadElf { .. })));
    let xtensa = ChipDb::embedded().find("esp32s3").unwrap();
    let error = map(&good().to_bytes(), xtensa).unwrap_err();
    assert_eq!(error.to_string(), "the ELF is for machine 243, ESP32-S3 is machine 94");
}

proptest! {
    /// A broken ELF is refused or described, and never causes a panic.
    #[test]
    fn broken_elves_never_panic(at in 0_usize..2000, bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
        let mut elf = good().to_bytes();
        let at = at % elf.len();
        for (old, new) in elf[at..].iter_mut().zip(&bytes) {
            *old = *new;
        }
        let chip = ChipDb::embedded().find("esp32c3").unwrap();
        if let Ok(map) = map(&elf, chip) {
            for region in &map.regions {
                prop_assert!(region.used() + region.free() == region.len);
            }
            let _ = (map.to_text(), to_html(&map), diff(&map, &map_of(&good())).to_text());
        }
        let _ = check(&elf, &layout(FILE));
        let _ = map(&elf[..at], chip);
    }
}

#[test]
fn sizes_count_each_byte_once_and_leave_out_what_is_reserved() {
    let mut elf = good();
    elf.section(".bss", 0x3fc8_0a00, 0x100, false);
    elf.symbol("BUFFER", 0x3fc8_0a00, 0x80);
    elf.symbol("ALIAS", 0x3fc8_0a00, 0x40);
    elf.symbol("ACROSS", 0x3fc8_0a70, 0x1000);
    let bytes = elf.to_bytes();
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let of = |by| sizes(&bytes, chip, by, &str::to_owned).unwrap();
    // Heap, arena, stack and the shadow of code are not counted.
    let by_section = of(SizeBy::Section);
    assert_eq!((by_section.total.flash, by_section.total.ram), (0x8a00, 0xb00));
    let names: Vec<&str> = by_section.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, [".text", ".rwtext", ".data", ".bss"]);
    let by_symbol = of(SizeBy::Symbol);
    assert_eq!(by_symbol.total, by_section.total);
    assert_eq!(of(SizeBy::Crate).total, by_section.total);
    let row = |name: &str| by_symbol.rows.iter().find(|row| row.name == name);
    assert_eq!(row("BUFFER").unwrap().usage.ram, 0x80);
    assert_eq!(row("ACROSS").unwrap().usage.ram, 0x80);
    assert_eq!(row("ALIAS"), None);
    assert!(compare_sizes(&by_symbol, &by_symbol).is_empty());
    assert!(sizes(b"no ELF", chip, SizeBy::Symbol, &str::to_owned).is_err());
}
