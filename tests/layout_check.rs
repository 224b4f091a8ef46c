//! Tests `esplice layout check` with files that are nearly empty, invalid, or far too large.

use std::{fs, time::Duration};

use crate::support::{Said, esplice, finish};

/// Checks a directory whose esplice.toml is `file`.
fn check(file: &str) -> Said {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("esplice.toml"), file).unwrap();
    let mut command = esplice(directory.path());
    // Far above what any of these takes, and far below the time of the last ones without a limit.
    command.args(["layout", "check", "--target", "esp32c3"]).timeout(Duration::from_secs(30));
    finish(&mut command)
}

#[test]
fn a_layout_about_stable_links_alone_is_one() {
    for file in [
        "[layout]\nstable = true\n",
        "[layout]\nstable-record = \"release.stable\"\n",
        "[layout.stable-room]\ncode = 64\n",
        "[layout.stable-tails]\n\".text\" = \"4K\"\n",
    ] {
        let said = check(file).check(0, &[]);
        for words in ["dram       0x3fc80000", "  stack  ", "8K (8192 bytes)"] {
            assert!(said.out.contains(words), "no {words:?} in {said:#?}");
        }
    }
    check("[project]\ntarget = \"esp32c3\"\n").check(2, &["has no [layout] in esplice.toml"]);
}

#[test]
fn what_is_written_wrongly_is_wrong_use_as_in_other_sections() {
    for (file, words) in [
        ("[layout]\nstabel = true\n", "esplice.toml:2: unknown key of [layout] \"stabel\""),
        ("[layout.heap]\nsise = \"4K\"\n", "unknown key of [layout.heap] \"sise\""),
        ("[layout.heap]\nsize = true\n", "size must be"),
        ("[layout.heap]\nsize = \"4 apples\"\n", "is not a size"),
        ("[layout.heap]\nregion = \"dram\"\n", "[layout.heap] has no size"),
        ("[layout]\nbase = \"esphal\"\n", "unknown base"),
        ("[[layout.arena]]\nname = \"a\"\nsize = \"1K\"\nregion = \"dramm\"\n", "unknown region"),
    ] {
        check(file).check(2, &[words]);
    }
    // Valid, but too large for the chip.
    check("[layout.heap]\nsize = \"400K\"\n").check(6, &["does not fit in dram"]);
    check("[layout.heap]\nsize = \"4K\"\nalign = 48\n").check(6, &["is not a power of two"]);
}

/// All entries are compared pairwise, so their number is limited.
#[test]
fn thousands_of_arenas_are_settled_or_refused_at_once() {
    let arenas = |count: u32| -> String {
        let arena = |n| format!("[[layout.arena]]\nname=\"a{n}\"\nsize=16\n");
        (0..count).map(arena).collect()
    };
    check(&arenas(1024)).check(0, &[]);
    let words = "esplice.toml:1: [layout.arena] occurs 20000 times, a layout can have 1024";
    check(&arenas(20_000)).check(2, &[words]);
    let reserves: String = (0..20_000)
        .map(|n| format!("[[layout.reserve]]\nname=\"r{n}\"\nstart=1\nsize=4\n"))
        .collect();
    check(&reserves).check(2, &["[layout.reserve] occurs 20000 times"]);
    let names: Vec<String> = (0..20_000).map(|n| format!("\"_h{n}\"")).collect();
    let heap = format!("[layout.heap]\nsize = \"4K\"\nsymbols = [{}]\n", names.join(", "));
    check(&heap).check(2, &["[layout.heap.symbols] occurs 20000 times"]);
}
