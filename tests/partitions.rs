//! Tests partition tables in files, on virtual boards in every state, and with firmware that is too
//! large for the default one. Flash that must not be overwritten is compared byte by byte.

use std::{fs, path::Path};

use crate::support::{Said, built_hello, elf, result, run};
use esplice_chip::FlashOffset;
use esplice_image::{Partition, PartitionTable, sha256};
use serde_json::Value;

const FLASH_LEN: usize = 4 << 20;
const TABLE: usize = 0x8000;
const PORT: &str = "--port sim:esp32c3,flash=board.flash,time=none --stub none";

/// Output of `hello`.
const SAYS: &str = "Hello, World!\r\n";
const EXPECT: &str = r"--expect World!\r\n --timeout 5s";

fn row(name: &str, kind: u8, subtype: u8, offset: u32, len: u32) -> Partition {
    Partition { name: name.into(), kind, subtype, offset: FlashOffset(offset), len, flags: 0 }
}

fn table(partitions: &[Partition]) -> PartitionTable {
    PartitionTable { partitions: partitions.to_vec() }
}

/// Creates a board with these bytes in its flash and nothing else.
fn board(at: &Path, parts: &[(usize, &[u8])]) {
    let mut flash = vec![0xff; FLASH_LEN];
    for (offset, bytes) in parts {
        flash[*offset..*offset + bytes.len()].copy_from_slice(bytes);
    }
    fs::write(at.join("board.flash"), flash).unwrap();
}

fn flash_of(at: &Path) -> Vec<u8> {
    fs::read(at.join("board.flash")).unwrap()
}

fn at_board(at: &Path, words: &str) -> Said {
    run(at, &format!("{words} {PORT}"))
}

/// Returns the bootloader that `build` puts into the merged flash.
fn bootloader(at: &Path) -> Vec<u8> {
    let plan: Value =
        serde_json::from_slice(&fs::read(at.join("hello.plan.json")).unwrap()).unwrap();
    let len = plan["writes"][0]["len"].as_u64().unwrap() as usize;
    assert_eq!(plan["writes"][0]["kind"], "bootloader");
    fs::read(at.join("hello.merged.bin")).unwrap()[..len].to_vec()
}

/// Adds a RAM segment of `len` bytes to a bootloader: it is longer, and still a bootloader.
fn longer(bootloader: &[u8], len: usize) -> Vec<u8> {
    let word = |at: usize| u32::from_le_bytes(bootloader[at..at + 4].try_into().unwrap()) as usize;
    let mut end = 24;
    let mut checksum = 0xef;
    for _ in 0..bootloader[1] {
        let segment = &bootloader[end + 8..][..word(end + 4)];
        checksum = segment.iter().fold(checksum, |sum, byte| sum ^ byte);
        end += 8 + segment.len();
    }
    let mut bytes = bootloader[..end].to_vec();
    bytes[1] += 1;
    bytes.extend(0x3fca_0000_u32.to_le_bytes());
    bytes.extend((len as u32).to_le_bytes());
    bytes.extend(vec![0x5a; len]);
    bytes.resize(bytes.len() | 0xf, 0);
    // An even number of equal bytes does not change the checksum.
    bytes.push(checksum);
    let hash = sha256(&bytes);
    bytes.extend(hash);
    bytes
}

/// Makes a program that the ROM loads completely into RAM, `filling` bytes larger, and its image.
fn rom_program(at: &Path, name: &str, text: &str, filling: usize) {
    let mut program = elf::long_hello(text);
    let mut data = program.sections[0].data[256..].to_vec();
    data.resize(data.len().next_multiple_of(4) + filling, 0x5a);
    (program.sections[0].name, program.sections[0].addr) = (".data", 0x3fc8_0000);
    program.sections[0].data = data;
    (program.sections[1].addr, program.entry) = (0x4039_0000, 0x4039_0000);
    // The text's address, in the two instructions that load it.
    let code = &mut program.sections[1].data;
    code[4..8].copy_from_slice(&0x3fc8_05b7_u32.to_le_bytes()); // lui x11, 0x3fc80
    code[8..12].copy_from_slice(&0x0005_8593_u32.to_le_bytes()); // addi x11, x11, 0
    fs::write(at.join(format!("{name}.elf")), program.to_bytes()).unwrap();
    run(at, &format!("build --target esp32c3 --boot rom --elf {name}.elf --output {name}.bin"))
        .check(0, &[]);
}

#[test]
fn a_table_elsewhere_is_found_and_nothing_else_is_touched() {
    let directory = built_hello(SAYS);
    let at = directory.path();
    let long = longer(&bootloader(at), 0x4000);
    assert!(long.len() > TABLE);
    let own = table(&[row("nvs", 1, 2, 0xb000, 0x5000), row("main", 0, 0, 0x2_0000, 0x10_0000)]);
    let bytes = own.to_bytes().unwrap();
    let app = fs::read(at.join("hello.bin")).unwrap();
    board(at, &[(0, &long), (0xa000, &bytes), (0x2_0000, &[0xe9; 64])]);
    at_board(at, "flash hello.bin --format json");
    let flash = flash_of(at);
    assert!(flash[..long.len()] == long, "the bootloader was overwritten");
    assert!(flash[0xa000..][..bytes.len()] == bytes, "the table was overwritten");
    assert!(flash[0x2_0000..][..app.len()] == app, "the app is at another offset");
    assert!(flash[long.len()..0xa000].iter().all(|byte| *byte == 0xff));
    assert!(flash[0x1_0000..0x2_0000].iter().all(|byte| *byte == 0xff));
    // The offset can be given explicitly, and a wrong one is refused.
    let said = at_board(at, "partition show --partition-table-offset 0xa000").check(0, &[]);
    assert!(said.out.contains("main"), "{said:#?}");
    at_board(at, "flash hello.bin --partition-table-offset 0xb000")
        .check(6, &["no partition table at 0xb000", "bootloader that ends at 0x"]);
    at_board(at, "flash hello.bin --partition-table-offset 0x8000")
        .check(6, &["in the bootloader"]);
    assert!(flash_of(at) == flash);
}

/// Tables and their offsets on a device, and the expected error.
type Case<'a> = (&'a [(usize, &'a [u8])], &'a str);

#[test]
fn a_table_that_is_not_certain_is_not_guessed() {
    let directory = built_hello(SAYS);
    let at = directory.path();
    let long = longer(&bootloader(at), 0x4000);
    let one = table(&[row("nvs", 1, 2, 0xd000, 0x3000), row("a", 0, 0, 0x2_0000, 0x10_0000)]);
    let bytes = one.to_bytes().unwrap();
    let mut broken = bytes.clone();
    broken[40] ^= 1;
    let unsound = table(&[row("a", 0, 0, 0x2_1000, 0x10_0000)]).to_bytes().unwrap();
    let cases: [Case<'_>; 4] = [
        // No table at all, with an unknown bootloader.
        (&[], "no partition table from 0xa000 to 0x100000"),
        (&[(0xa000, &bytes), (0xc000, &bytes)], "2 partition tables, at 0xa000 and 0xc000"),
        (&[(0xa000, &broken)], "partition table at 0xa000: MD5 of the partition table is"),
        (&[(0xa000, &unsound)], "partition a at 0x21000 of 0x100000 bytes is not aligned"),
    ];
    for (tables, words) in cases {
        let mut parts: Vec<(usize, &[u8])> = vec![(0, &long)];
        parts.extend(tables);
        board(at, &parts);
        let before = flash_of(at);
        for command in ["flash hello.bin", "write --partition a hello.bin", "read --partition a o"]
        {
            let said = at_board(at, command).check(6, &[words, "hint: "]);
            assert!(!said.err.contains("The board runs"), "{said:#?}");
        }
        assert!(flash_of(at) == before, "{words}");
    }
    // An explicit offset overrides this.
    board(at, &[(0, &long), (0xa000, &bytes), (0xc000, &bytes)]);
    at_board(at, "erase --partition nvs --partition-table-offset 0xc000").check(0, &[]);
}

#[test]
fn a_program_of_the_rom_and_a_bootloader_take_each_others_place() {
    let directory = built_hello(SAYS);
    let at = directory.path();
    let old = "Hello, World! from the old program\r\n";
    rom_program(at, "small", old, 0);
    rom_program(at, "large", old, 0x9000);
    for name in ["small", "large"] {
        board(at, &[]);
        at_board(at, &format!("flash {name}.bin --boot rom")).check(0, &["The board runs"]);
        run(at, "monitor --port sim:esp32c3,flash=board.flash --expect program --timeout 5s")
            .check(0, &[]);
        let said = at_board(at, &format!("run hello.bin {EXPECT}"));
        let said = said.check(0, &["a program that the ROM loads is at 0x0"]);
        assert!(!said.out.contains("old program"), "{said:#?}");
        assert!(flash_of(at)[..16] != [0xff; 16]);
        // And back: the bootloader is replaced, and the message names it.
        let said = at_board(at, &format!("run {name}.bin --boot rom --expect program"));
        said.check(0, &["second-stage bootloader at 0x0 is replaced"]);
        at_board(at, &format!("run hello.bin {EXPECT}")).check(0, &[]);
    }
}

#[test]
fn only_what_was_written_is_taken_for_running() {
    let directory = built_hello(SAYS);
    let at = directory.path();
    let tables = table(&[
        row("otadata", 1, 0, 0x9000, 0x2000),
        row("one", 0, 0x10, 0x1_0000, 0x10_0000),
        row("two", 0, 0x11, 0x11_0000, 0x10_0000),
    ]);
    let app = fs::read(at.join("hello.bin")).unwrap();
    let bytes = tables.to_bytes().unwrap();
    board(at, &[(0, &bootloader(at)), (TABLE, &bytes), (0x1_0000, &app)]);
    // The old app would print the same.
    at_board(at, &format!("run hello.bin --partition two {EXPECT}"))
        .check(6, &["the board boots one, not two"]);
    assert!(flash_of(at)[0x11_0000] == 0xff);
    at_board(at, "flash hello.bin --partition two")
        .check(0, &["warning: the board boots one, not two"]);
    at_board(at, &format!("run hello.bin --partition one {EXPECT}")).check(0, &[]);
    at_board(at, &format!("run hello.bin --offset 0x110000 {EXPECT}")).check(15, &["0x10000"]);
}

#[test]
fn tables_that_cannot_boot_are_refused() {
    let directory = built_hello(SAYS);
    let at = directory.path();
    let nvs = || row("nvs", 1, 2, 0x9000, 0x6000);
    let factory = |offset, len| row("factory", 0, 0, offset, len);
    let flipped = {
        let mut bytes = table(&[nvs(), factory(0x1_0000, 0x10_0000)]).to_bytes().unwrap();
        bytes[5] ^= 1;
        bytes
    };
    let many: Vec<Partition> =
        (0..95).map(|n| row(&format!("d{n}"), 1, 6, 0x10_0000 + n * 0x1000, 0x1000)).collect();
    let mut no_end = table(&many).to_bytes_without_md5().unwrap();
    no_end.copy_within(0..32, 95 * 32);
    let sound = |rows: &[Partition]| table(rows).to_bytes().unwrap();
    let cases = [
        (sound(&[nvs(), factory(0x1_1000, 0x10_0000)]), "is not aligned to 0x10000"),
        (
            sound(&[factory(0x1_0000, 0x10_0000), row("f2", 0, 0, 0x11_0000, 0x10_0000)]),
            "partitions factory and f2 are both app factory",
        ),
        (sound(&[factory(0, 0x10_0000)]), "begins before the partition table's end"),
        (
            sound(&[factory(0x1_0000, 0x10_0000), row("d", 1, 6, 0x2_0000, 0x1000)]),
            "partitions factory and d overlap",
        ),
        (sound(&[factory(0x1_0000, 0x80_0000)]), "ends at 0x810000, the flash at 0x400000"),
        (flipped, "MD5 of the partition table is"),
        (no_end, "the partition table has no end marker in its 96 rows"),
    ];
    let bootloader = bootloader(at);
    for (bytes, words) in cases {
        for parts in [&[(0, bootloader.as_slice()), (TABLE, &bytes)][..], &[(TABLE, &bytes)]] {
            board(at, parts);
            let before = flash_of(at);
            at_board(at, "flash hello.bin").check(6, &["partition table at 0x8000: ", words]);
            at_board(at, "erase --partition factory").check(6, &[words]);
            at_board(at, "partition check").check(6, &[words]);
            assert!(flash_of(at) == before, "{words}");
        }
        fs::write(at.join("table.bin"), &bytes).unwrap();
        run(at, "partition check table.bin --flash-size 4MB").check(6, &[words]);
        // With the flag that replaces it, it boots.
        at_board(at, &format!("run hello.bin --with-bootloader {EXPECT}")).check(0, &[]);
    }
}

#[test]
fn firmware_over_a_mebibyte_is_built_and_flashed() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut big = elf::hello(SAYS);
    big.sections[0].data.resize(1_200_000, 0x5a);
    // Code where no page of the data is mapped.
    (big.sections[1].addr, big.entry) = (0x4220_0400, 0x4220_0400);
    fs::write(at.join("big.elf"), big.to_bytes()).unwrap();
    run(at, "build --target esp32c3 --elf big.elf --output big.bin").check(0, &[]);
    board(at, &[]);
    at_board(at, &format!("run big.bin {EXPECT}")).check(0, &[]);
    let said = at_board(at, "partition show --format json").check(0, &[]);
    let factory = &result(&said)["value"]["partitions"][2];
    assert_eq!((&factory["name"], &factory["len"]), (&"factory".into(), &0x3f_0000.into()));
    // The user's table decides, regardless of the built-in one.
    let roomy = table(&[
        row("otadata", 1, 0, 0x9000, 0x2000),
        row("one", 0, 0x10, 0x1_0000, 0x18_0000),
        row("two", 0, 0x11, 0x19_0000, 0x18_0000),
    ]);
    let merged = fs::read(at.join("big.merged.bin")).unwrap();
    board(at, &[(0, &merged[..0x8000]), (TABLE, &roomy.to_bytes().unwrap())]);
    at_board(at, &format!("run --target esp32c3 --elf big.elf {EXPECT}")).check(0, &[]);
    // If the board's table has no room, the error names that table.
    let usual = PartitionTable::esp_idf_default().to_bytes().unwrap();
    board(at, &[(0, &merged[..0x8000]), (TABLE, &usual)]);
    at_board(at, "flash big.bin").check(6, &["too large for partition factory (1048576 bytes)"]);
    at_board(at, "flash --target esp32c3 --elf big.elf --offset 0x100000").check(0, &[]);

    // More than the default flash size: only commands that do not depend on it continue.
    big.sections[0].data.resize(5_000_000, 0x5a);
    (big.sections[1].addr, big.entry) = (0x4260_0400, 0x4260_0400);
    fs::write(at.join("huge.elf"), big.to_bytes()).unwrap();
    let build = "build --target esp32c3 --elf huge.elf --output huge.bin";
    run(at, build).check(6, &["too large for partition factory (4128768 bytes)"]);
    run(at, &format!("{build} --image-only")).check(0, &[]);
    run(at, &format!("{build} --flash-size 16MB")).check(0, &[]);
    at_board(at, "flash huge.bin").check(6, &["bytes too large"]);
    // A board with a larger flash.
    fs::write(at.join("board.flash"), vec![0xff; 16 << 20]).unwrap();
    at_board(at, &format!("run huge.bin {EXPECT}")).check(0, &[]);
}

#[test]
fn a_table_of_ones_own_is_built_in_and_replaces_another() {
    let directory = built_hello(SAYS);
    let at = directory.path();
    let csv = "nvs,data,nvs,,0x6000,\notadata,data,ota,,0x2000,\nslot0,app,ota_0,,1M,\n\
               slot1,app,ota_1,,1M,\n";
    fs::write(at.join("table.csv"), csv).unwrap();
    let flags = "--partition-table table.csv";
    run(at, &format!("build --target esp32c3 --elf hello.elf --output own.bin {flags}"))
        .check(0, &[]);
    let merged = fs::read(at.join("own.merged.bin")).unwrap();
    run(at, "partition convert table.csv -o table.bin").check(0, &[]);
    let bytes = fs::read(at.join("table.bin")).unwrap();
    assert!(merged[TABLE..][..bytes.len()] == bytes);
    // On a board with another table, and an otadata that would select the other slot.
    let mut otadata = vec![0xff; 0x20];
    otadata[..4].copy_from_slice(&2_u32.to_le_bytes());
    otadata[28..].copy_from_slice(&0x55f6_3774_u32.to_le_bytes());
    let usual = PartitionTable::esp_idf_default().to_bytes().unwrap();
    board(at, &[(0, &bootloader(at)), (TABLE, &usual), (0xf000, &otadata)]);
    let said = at_board(at, &format!("run own.bin {EXPECT}"));
    said.check(0, &["partition table at 0x8000 is a different one: it is replaced"]);
    assert!(flash_of(at)[TABLE..][..bytes.len()] == bytes);
    // The same command again changes nothing, and keeps the slot that otadata selects.
    let said = at_board(at, &format!("run own.bin {EXPECT}")).check(0, &[]);
    assert!(!said.err.contains("is another one"), "{said:#?}");
    // By a setting in a project.
    fs::write(at.join("esplice.toml"), "[image]\npartition-table = \"table.csv\"\n").unwrap();
    run(at, "build --target esp32c3 --elf hello.elf --output set.bin").check(0, &[]);
    assert!(fs::read(at.join("set.merged.bin")).unwrap() == merged);
    fs::write(at.join("table.csv"), "nvs,data,nvs,,24kB\n").unwrap();
    run(at, "build --target esp32c3 --elf hello.elf --output set.bin")
        .check(3, &["table.csv:1:15: size \"24kB\" is not a number"]);
}

#[test]
fn a_bootloader_of_ones_own_is_checked() {
    let directory = built_hello(SAYS);
    let at = directory.path();
    let own = longer(&bootloader(at), 0x100);
    fs::write(at.join("own-bl.bin"), &own).unwrap();
    let build = "build --target esp32c3 --elf hello.elf --output own.bin";
    run(at, &format!("{build} --bootloader own-bl.bin --flash-size 8MB")).check(0, &[]);
    let merged = fs::read(at.join("own.merged.bin")).unwrap();
    // The flash size in its header is set, and its hash updated.
    assert_eq!(merged[3] >> 4, 3);
    let hashed = own.len() - 32;
    assert!(merged[hashed..own.len()] == sha256(&merged[..hashed]));
    run(at, &format!("{build} --bootloader hello.bin"))
        .check(6, &["hello.bin is not a second-stage bootloader for ESP32-C3"]);
    run(at, &format!("{build} --bootloader hello.elf")).check(6, &["hello.elf"]);
    fs::write(at.join("long.bin"), longer(&bootloader(at), 0x4000)).unwrap();
    run(at, &format!("{build} --bootloader long.bin")).check(6, &["ends at 0x", "0x8000"]);
    // The image fits with the table at a higher offset; the built-in bootloader does not look
    // there.
    let offset = "--partition-table-offset 0x10000";
    run(at, &format!("{build} --bootloader long.bin {offset}")).check(0, &[]);
    let merged = fs::read(at.join("own.merged.bin")).unwrap();
    assert!(PartitionTable::looks_like(&merged[0x1_0000..]));
    let plan = fs::read_to_string(at.join("own.plan.json")).unwrap();
    assert!(plan.contains("\"partition_table_offset\": 65536"), "{plan}");
    run(at, &format!("{build} {offset}"))
        .check(6, &["the built-in bootloader looks for the partition table at 0x8000"]);
    let mut other = own;
    other[12] = 13;
    fs::write(at.join("c6.bin"), other).unwrap();
    run(at, &format!("{build} --bootloader c6.bin")).check(12, &["c6.bin"]);
    // It replaces the board's bootloader.
    board(at, &[]);
    at_board(at, "flash hello.bin").check(0, &[]);
    at_board(at, &format!("run hello.bin --bootloader own-bl.bin {EXPECT}")).check(0, &[]);
    assert_eq!(flash_of(at)[1], 4);
}

#[test]
fn partitions_are_worked_with_by_name_on_boards_and_in_files() {
    let directory = built_hello(SAYS);
    let at = directory.path();
    board(at, &[]);
    at_board(at, "flash hello.bin").check(0, &[]);
    fs::copy(at.join("board.flash"), at.join("copy.flash")).unwrap();
    fs::write(at.join("data"), [7; 0x1234]).unwrap();
    fs::write(at.join("more"), [7; 0x7000]).unwrap();
    for target in [PORT, "--image copy.flash"] {
        let on = |words: &str| run(at, &format!("{words} {target}"));
        on("partition write nvs data").check(0, &[]);
        on("partition read nvs out").check(0, &[]);
        let out = fs::read(at.join("out")).unwrap();
        assert!(
            out.len() == 0x6000 && out[..0x1234] == [7; 0x1234] && out[0x1234..] == [0xff; 0x4dcc]
        );
        on("partition write nvs more").check(6, &["28672 bytes is 4096 bytes too large"]);
        on("partition write nosuch data")
            .check(6, &["no partition is called", "hint: partitions: nvs, phy_init, factory"]);
        on("partition erase nvs phy_init").check(0, &[]);
        on("partition read nvs out").check(0, &[]);
        assert!(fs::read(at.join("out")).unwrap().iter().all(|byte| *byte == 0xff));
        // The table itself, in both forms.
        on("partition read partition-table table.csv").check(0, &[]);
        let csv = fs::read_to_string(at.join("table.csv")).unwrap();
        assert!(csv.contains("factory,app,factory,0x10000,4032K,"), "{csv}");
        fs::write(at.join("table.csv"), csv.replace("4032K", "2M")).unwrap();
        on("partition write partition-table table.csv").check(0, &[]);
        on("partition read partition-table table.bin").check(0, &[]);
    }
    assert!(fs::read(at.join("board.flash")).unwrap() == fs::read(at.join("copy.flash")).unwrap());
    let said = at_board(at, "partition show").check(0, &[]);
    let shown = "\
partition table at 0x8000
name      type  subtype    offset       end   size  flags
nvs       data  nvs        0x9000    0xf000    24K
phy_init  data  phy        0xf000   0x10000     4K
factory   app   factory   0x10000  0x210000     2M
(free)                   0x210000  0x400000  1984K
";
    assert!(said.out.ends_with(shown), "{said:#?}");
    let said = run(at, "partition show copy.flash").check(0, &[]);
    assert!(said.out.contains("factory   app   factory"), "{said:#?}");
    let said = run(at, "partition convert table.bin").check(0, &[]);
    assert!(said.out.starts_with("# ESP-IDF Partition Table\n"), "{said:#?}");
    run(at, "partition check table.bin").check(0, &[]);
    run(at, "partition check table.bin --flash-size 1MB").check(6, &["ends at 0x210000"]);
    run(at, "partition check hello.elf").check(6, &["contains no partition table"]);
    run(at, "partition check nowhere").check(3, &["nowhere"]);
    at_board(at, "write --partition nosuch data").check(6, &["partitions: nvs, phy_init, factory"]);
    at_board(at, "flash hello.bin --partition nvs").check(6, &["partition nvs is of type data"]);
    at_board(at, "flash hello.bin --partition qqqq").check(6, &["hint: app partitions: factory"]);
}

#[test]
fn a_table_is_changed_in_place_and_compared() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let text = "# Name, Type, SubType, Offset, Size\nnvs,  data, nvs,   , 24K\n# The app.\napp,  app,  factory, , 1M\n";
    fs::write(at.join("partitions.csv"), text).unwrap();
    fs::write(at.join("old.csv"), text).unwrap();
    let said = run(at, "partition set app size=1536K").check(0, &[]);
    assert_eq!(said.out, "partitions.csv: size=1536K\n");
    let edited = fs::read_to_string(at.join("partitions.csv")).unwrap();
    assert_eq!(edited, text.replace("1M", "1536K"));
    let said = run(at, "partition diff old.csv partitions.csv").check(0, &[]);
    assert_eq!(said.out, "~ app: size 0x100000 → 0x180000\n");
    run(at, "partition set nvs offset=0x11000 name=store").check(0, &[]);
    let said = run(at, "partition diff old.csv partitions.csv").check(0, &[]);
    assert_eq!(
        said.out,
        "- nvs: data nvs, 0x6000 bytes at 0x9000\n\
         ~ app: offset 0x10000 → 0x20000, size 0x100000 → 0x180000; its content does not move along\n\
         + store: data nvs, 0x6000 bytes at 0x11000\n"
    );
    let value = &result(&run(at, "partition diff old.csv old.csv --format json"))["value"];
    assert_eq!(value["changes"], serde_json::json!([]));

    let before = fs::read(at.join("partitions.csv")).unwrap();
    for (words, exit, told) in [
        (
            "appp size=1M",
            3,
            &["partitions.csv:no partition is called \"appp\"", "did you mean \"app\"?"][..],
        ),
        ("app size", 2, &["\"size\" is not COLUMN=VALUE"]),
        ("app sise=1M", 2, &["no column \"sise\"", "did you mean \"size\"?"]),
        ("app size=big", 3, &["partitions.csv:4:"]),
        ("app size=1M --file gone.csv", 3, &["cannot read gone.csv"]),
        ("app offset=0x10001", 3, &["partitions.csv:4:"]),
        ("app offset=0x20100", 6, &["is not aligned"]),
    ] {
        run(at, &format!("partition set {words}")).check(exit, told);
        assert_eq!(fs::read(at.join("partitions.csv")).unwrap(), before, "{words}");
    }
}
