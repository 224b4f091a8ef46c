//! Tests statics in each kind of arena. On the virtual board they are where the layout places them,
//! the image contains none of them, and kept ones survive a reset. Initial values that nothing
//! would load are refused, by `esplice build` and by a plain `cargo build`. These tests compile
//! firmware, into a directory that is kept between runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{self, Said, finish, repository, toolchain::firmware_target};
use esplice_chip::ChipDb;
use esplice_toolchain::{Machine, find_rust};
use object::{Object as _, ObjectSection as _};

const LAYOUT: &str = r#"[project]
target = "esp32c3"

[layout.heap]
size = "32K"

[[layout.arena]]
name = "plain"
size = "1K"

[[layout.arena]]
name = "dma"
size = "16K"
align = 64

[[layout.arena]]
name = "frames"
region = "dram2"
size = "8K"

[[layout.arena]]
name = "log"
region = "rtc-fast"
size = "1K"
keep = true

[[layout.arena]]
name = "table"
size = "256"
fill = 0xa5
"#;

const MAIN: &str = r#"#![no_std]
#![no_main]

use core::{mem::MaybeUninit, ptr};
use esp_backtrace as _;
use esp_hal::main;
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[unsafe(link_section = ".esplice.arena.plain")]
static mut PLAIN: MaybeUninit<[u8; 64]> = MaybeUninit::uninit();
#[unsafe(link_section = ".esplice.arena.dma")]
static mut DMA: MaybeUninit<[u8; 1024]> = MaybeUninit::uninit();
#[unsafe(link_section = ".esplice.arena.frames")]
static mut FRAMES: [MaybeUninit<u32>; 256] = [const { MaybeUninit::uninit() }; 256];
#[unsafe(link_section = ".esplice.arena.log")]
static mut BOOTS: MaybeUninit<[u32; 2]> = MaybeUninit::uninit();
#[unsafe(link_section = ".esplice.arena.table")]
static mut TABLE: [u8; 4] = [1, 2, 3, 4];
// MORE

const MAGIC: u32 = 0x6b65_7074;

fn exercise<T>(name: &str, place: *mut T) {
    let bytes = place.cast::<u8>();
    // SAFETY: nobody else uses these statics.
    let held = (0..size_of::<T>()).all(|at| unsafe {
        ptr::write_volatile(bytes.add(at), at as u8);
        ptr::read_volatile(bytes.add(at)) == at as u8
    });
    print!("{name} at {place:p} {}\r\n", if held { "holds" } else { "does not hold" });
}

#[main]
fn main() -> ! {
    let _peripherals = esp_hal::init(esp_hal::Config::default());
    // SAFETY: as above.
    let boots = unsafe {
        let state = (&raw mut BOOTS).cast::<u32>();
        if ptr::read_volatile(state) != MAGIC {
            ptr::write_volatile(state, MAGIC);
            ptr::write_volatile(state.add(1), 0);
        }
        let boots = ptr::read_volatile(state.add(1)) + 1;
        ptr::write_volatile(state.add(1), boots);
        boots
    };
    print!("boot {boots}\r\n");
    exercise("plain", &raw mut PLAIN);
    exercise("dma", &raw mut DMA);
    exercise("frames", &raw mut FRAMES);
    // SAFETY: as above.
    let table = unsafe { ptr::read_volatile(&raw const TABLE) };
    print!("table {table:?}\r\n");
    if boots < 3 {
        // What is still in the UART's FIFO would be lost.
        esp_hal::delay::Delay::new().delay_millis(50);
        esp_hal::system::software_reset();
    }
    print!("all is said\r\n");
    loop {}
}
"#;

struct Project {
    directory: tempfile::TempDir,
}

impl Project {
    /// Creates a project called `name`: cargo distinguishes packages in one target directory by
    /// name.
    fn new(name: &str) -> Project {
        let directory = tempfile::tempdir().unwrap();
        let example = repository().join("examples/arenas-rust");
        let crates = repository().join("crates");
        for file in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "build.rs"] {
            let text = fs::read_to_string(example.join(file)).unwrap();
            let text = text.replace("../../crates", &crates.to_string_lossy());
            let to = directory.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, text.replace("arenas-rust", name)).unwrap();
        }
        let project = Project { directory };
        project.write("esplice.toml", LAYOUT);
        project.write("src/main.rs", MAIN);
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn esplice(&self, words: &str) -> Said {
        let mut command = support::esplice(self.directory.path());
        command.env("CARGO_TARGET_DIR", firmware_target());
        finish(command.args(words.split_whitespace()))
    }

    /// Runs a user's plain `cargo build --release`, with the compiler found here.
    fn cargo(&self) -> Said {
        let chip = ChipDb::embedded().find("esp32c3").unwrap();
        let toolchain =
            find_rust(chip, ChipDb::embedded(), &Machine::in_directory(self.directory.path()))
                .unwrap();
        let mut cargo = Command::new(&toolchain.cargo);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CARGO_") && name != "CARGO_HOME"
                || name.starts_with("ESPLICE")
                || name == "RUSTUP_TOOLCHAIN"
            {
                cargo.env_remove(name);
            }
        }
        cargo
            .current_dir(self.directory.path())
            .args(["build", "--release", "--quiet"])
            .args(toolchain.arguments())
            .envs(toolchain.variables())
            .env("CARGO_TARGET_DIR", firmware_target())
            // As esplice sets it: else esp-bootloader-esp-idf would be compiled again each time.
            .env("SOURCE_DATE_EPOCH", esplice_toolchain::SOURCE_DATE_EPOCH);
        finish(&mut assert_cmd::Command::from_std(cargo))
    }
}

/// Returns each arena's section, and whether it is in the file.
fn loaded(elf: &Path) -> Vec<(String, bool)> {
    let bytes = fs::read(elf).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let arena = |section: object::Section<'_, '_>| {
        let name = section.name().ok()?.strip_prefix(".esplice.arena.")?.to_owned();
        Some((name, section.file_range().is_some()))
    };
    file.sections().filter_map(arena).collect()
}

fn check_on_board(project: &Project, elf: &str) {
    let mut loaded = loaded(&project.path(elf));
    loaded.sort();
    let expected = ["dma", "frames", "log", "plain"].map(|name| (name.to_owned(), false));
    let mut expected = expected.to_vec();
    expected.push(("table".to_owned(), true));
    assert_eq!(loaded, expected);

    let said = project
        .esplice(&format!("run --elf {elf} --port sim:esp32c3 --expect said\\r\\n --timeout 10s"));
    let said = said.check(0, &[]);
    for words in ["boot 1\r\n", "boot 2\r\n", "boot 3\r\n", "table [1, 2, 3, 4]\r\n"] {
        assert_eq!(said.out.matches(words).count(), if words.starts_with("boot") { 1 } else { 3 });
    }
    // targets/esp32c3.toml: dram2.
    for words in ["plain at 0x3fc", "dma at 0x3fc", "frames at 0x3fcce400", " holds\r\n"] {
        assert!(said.out.contains(words), "no {words:?} in {said:#?}");
    }
    assert!(!said.out.contains("does not hold"), "{said:#?}");
}

#[test]
fn statics_in_each_kind_of_arena_work_in_both_ways_of_building() {
    let project = Project::new("statics-rust");
    project.esplice("build --output out.bin .").check(0, &[]);
    check_on_board(&project, "out.elf");
    let image = fs::metadata(project.path("out.bin")).unwrap().len();

    project.cargo().check(0, &[]);
    let elf = firmware_target().join("riscv32imc-unknown-none-elf/release/statics-rust");
    check_on_board(&project, &elf.to_string_lossy());

    // Arenas take no space in flash: without them, the image has the same length except for the
    // table.
    let source = MAIN.replace(".esplice.arena.dma", ".noinit.dma");
    project.write("src/main.rs", &source);
    project.esplice("build --output less.bin .").check(0, &[]);
    let less = fs::metadata(project.path("less.bin")).unwrap().len();
    assert!(image.abs_diff(less) < 256, "{image} and {less} bytes");
}

/// Values that are refused, and the static that the error names.
const INITIALISED: &[(&str, &str)] = &[
    ("dma\")] #[used]\nstatic LIST: [u8; 4] = [1, 2, 3, 4];", "LIST"),
    (
        "log\")]\nstatic mut COUNT: u32 = 7;\n#[used] static C: Share = Share(&raw mut COUNT);",
        "COUNT",
    ),
    ("frames\")] #[used]\nstatic A: AtomicU32 = AtomicU32::new(5);", "A"),
];

#[test]
fn initial_values_that_nothing_loads_are_refused_in_both_ways_of_building() {
    let project = Project::new("initialised-rust");
    let with = |more: &str| {
        let more = format!(
            "use core::sync::atomic::AtomicU32;\n#[allow(dead_code)] struct Share(*mut u32);\n\
             // SAFETY: for the test alone.\nunsafe impl Sync for Share {{}}\n\
             #[used] static UNUSED: AtomicU32 = AtomicU32::new(0);\n{more}"
        );
        project.write("src/main.rs", &MAIN.replace("// MORE", &more));
    };
    for (item, name) in INITIALISED {
        with(&format!("#[unsafe(link_section = \".esplice.arena.{item}"));
        let (arena, _) = item.split_once('"').unwrap();
        let words = format!("arena {arena} is no-load and has initialised data: ");
        // Twice, because a failed link must not be taken for a finished one.
        for _ in 0..2 {
            let said = project.esplice("build --output bad.bin .").check(6, &[&words]);
            assert!(said.err.contains(name), "{said:#?}");
            assert!(said.err.contains("error: esplice.toml:"), "{said:#?}");
        }
        assert!(!project.path("bad.bin").exists());
        let said = project.cargo();
        assert_ne!(said.exit, 0, "{said:#?}");
        let words = format!("{name} is initialised data in arena {arena}, which is no-load");
        assert!(said.err.contains(&words), "{said:#?}");
        assert!(said.err.contains("src/main.rs:"), "{said:#?}");
    }

    // A value that the sources do not show is found in the objects.
    with(
        "#[used] #[unsafe(link_section = \".esplice.arena.dma\")]\nstatic P: fn(&str, *mut u8) = exercise::<u8>;",
    );
    let words = "arena dma is no-load and has initialised data: ";
    project.esplice("build --output bad.bin .").check(6, &[words]);
    // Zeros are not initial values, whether or not they are undefined.
    with(
        "#[used] #[unsafe(link_section = \".esplice.arena.dma\")]\nstatic Z: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];",
    );
    project.esplice("build --output good.bin .").check(0, &[]);
    project.cargo().check(0, &[]);

    // Sections of the layout are treated the same way.
    let settings = fs::read_to_string(project.path("esplice.toml")).unwrap();
    let section = "[[layout.section]]\nname = \"late\"\npattern = \".late.*\"\nregion = \"dram\"\n";
    project.write("esplice.toml", &format!("{settings}\n{section}no-load = true\n"));
    let late = |value: &str| {
        with(&format!(
            "#[used] #[unsafe(link_section = \".late.list\")]\nstatic LATE: [u8; 4] = [{value}; 4];"
        ));
    };
    late("7");
    let words = "section late is no-load and has initialised data: ";
    let said = project.esplice("build --output late.bin .").check(6, &[words]);
    assert!(said.err.contains("initialised_rust::LATE of 4 bytes"), "{said:#?}");
    late("0");
    project.esplice("build --output late.bin .").check(0, &[]);
}
