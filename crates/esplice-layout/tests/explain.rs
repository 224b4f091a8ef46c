//! Traces linker output back to lines of the layout. The outputs are those of lld 19, of rust-lld
//! 22 and of GNU ld 2.40, as seen with esp-hal 1.2.2.

use esplice_chip::ChipDb;
use esplice_layout::{Layout, Spec, explain, missing_script};

const FILE: &str = "[layout.heap]\nsize = \"96K\"\n\n[[layout.arena]]\nname = \"dma\"\nsize = \"16K\"\n\n\
                    [layout.stack]\nmain = \"16K\"\n";

fn layout(text: &str) -> Layout {
    let spec = Spec::parse("esplice.toml", text).unwrap().unwrap();
    spec.settle(ChipDb::embedded().find("esp32c3").unwrap()).unwrap()
}

#[track_caller]
fn check(output: &str, expected: &[&str]) {
    let errors = explain(&layout(FILE), output);
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(said, expected);
    assert!(errors.iter().all(|error| error.hint().is_some()));
}

#[test]
fn our_own_assertions_come_back_as_what_they_are() {
    check(
        "rust-lld: error: esplice.toml:1: the heap of 96K (98304 bytes) does not fit in dram next to the \
         program\nrust-lld: error: Main stack is smaller than 8192 bytes.\n",
        &["esplice.toml:1: the heap of 96K (98304 bytes) does not fit in dram next to the program"],
    );
    check(
        "riscv64-unknown-elf-ld: esplice.toml:4: the statics placed in arena dma exceed its 16K \
         (16384 bytes)\n",
        &["esplice.toml:4: the statics placed in arena dma exceed its 16K (16384 bytes)"],
    );
}

#[test]
fn the_linkers_own_errors_are_traced_too() {
    check(
        "ld.lld-19: error: section '.esplice.heap' will not fit in region 'DRAM': overflowed by 355392 \
         bytes\n",
        &["esplice.toml:1: the heap of 96K (98304 bytes) does not fit in dram next to the program"],
    );
    check(
        "riscv64-unknown-elf-ld: o1 section `.esplice.arena.dma' will not fit in region `DRAM'\n",
        &[
            "esplice.toml:4: arena dma of 16K (16384 bytes) does not fit in dram next to the program",
        ],
    );
    check(
        "ld.lld-19: error: stack.x:13: unable to move location counter (0x3fd25040) backward to \
         0x3fcce400 for section '.stack'\n",
        &["esplice.toml:9: less than 16K (16384 bytes) are left for the main stack in dram"],
    );
    check(
        "rust-lld: error: Main stack is smaller than 8192 bytes.\n",
        &["esplice.toml:9: less than 16K (16384 bytes) are left for the main stack in dram"],
    );
}

#[test]
fn a_base_that_is_not_there_or_is_there_twice() {
    check(
        "ld.lld-19: error: unable to insert .esplice.heap after .noinit\n",
        &["esplice.toml:1: the program is not linked with linkall.x, which the layout extends"],
    );
    check(
        "ld.lld: error: memory.x:18: region 'ICACHE' already defined\n",
        &["esplice.toml:1: the linker reads linkall.x twice"],
    );
    check(
        "riscv64-unknown-elf-ld: .noinit not found for insert\n",
        &["esplice.toml:1: GNU ld does not get linkall.x after the layout's script"],
    );
    check(
        "riscv64-unknown-elf-ld:linkall.x:3: error: redefinition of memory region alias `ROTEXT'\n",
        &["esplice.toml:1: the linker reads linkall.x twice"],
    );
}

#[test]
fn what_is_not_the_layouts_stays_the_compilers() {
    check("error[E0308]: mismatched types\n", &[]);
    check("rust-lld: error: undefined symbol: missing\n", &[]);
    check(
        "rust-lld: error: section '.text' will not fit in region 'IROM': overflowed by 4 bytes\n",
        &[],
    );
}

/// Output of lld and GNU ld for a program on esp-hal without its script, cut to one symbol.
#[test]
fn a_missing_script_is_known_by_its_symbols() {
    let lld = "error: linking with `rust-lld` failed: exit status: 1\n  = note: rust-lld: error: undefined symbol: \
               _rtc_fast_bss_start\n          >>> referenced by app.rcgu.o:(.init+0x0)\n";
    let gnu =
        "app.o: in function `_start':\n(.init+0x0): undefined reference to `_rtc_fast_bss_start'\n";
    for output in [lld, gnu] {
        assert_eq!(missing_script(output), Some("linkall.x"));
    }
    let other =
        "rust-lld: error: undefined symbol: helper\n>>> referenced by _rtc_fast_bss_start\n";
    assert_eq!(missing_script(other), None);
}
