//! A copy of a firmware that is edited and built, normally and layout-stable, with its linker
//! timed.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::OnceLock,
    time::Instant,
};

use object::{Object as _, ObjectSection as _};

use super::{edits::Change, support::workspace, toolchain::firmware_target};

/// Name under which this program acts as the timed linker.
const TIMED: &str = "timed-lld";
/// Variables with the linker to call, and the file for its duration.
const CALLED: &str = "ESPLICE_BENCH_LINKER";
const TIMES: &str = "ESPLICE_BENCH_TIMES";

/// A copy of a firmware, and where it is built.
pub struct Project {
    /// Path of the original, relative to the workspace.
    original: &'static str,
    bin: &'static str,
    directory: PathBuf,
}

/// Results of a build.
pub struct Built {
    /// The app image, its path, and the path of the merged image.
    pub image: Vec<u8>,
    pub path: PathBuf,
    /// Bytes of RAM before the stack.
    pub ram: u32,
    /// Seconds of each run of the linker itself.
    pub linker: Vec<f64>,
    /// Report of the layout-stable link; null after a normal one.
    pub report: serde_json::Value,
}

impl Built {
    /// Returns the seconds of the layout-stable link, including its linker.
    pub fn seconds(&self) -> f64 {
        self.report["seconds"].as_f64().unwrap_or(f64::NAN)
    }

    /// Returns the number of sections that moved.
    pub fn moved(&self) -> usize {
        self.report["moved"].as_array().map_or(0, Vec::len)
    }
}

impl Project {
    /// Makes a fresh copy; earlier build outputs stay.
    pub fn new(original: &'static str, bin: &'static str) -> Project {
        let root = firmware_target().join("bench-stable");
        let project = Project { original, bin, directory: root.join(bin) };
        let _ = fs::remove_dir_all(&project.directory);
        project.restore();
        let toml = "[project]\ntarget = \"esp32c3\"\n[layout]\nstable-record = \"kept.stable\"\n";
        fs::write(project.path().join("esplice.toml"), toml).expect("the disk has space");
        project
    }

    pub fn path(&self) -> PathBuf {
        self.directory.join("project")
    }

    /// Returns the directory for build outputs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes the report of a layout-stable link next to the image of that name.
    pub fn keep(&self, name: &str, report: &serde_json::Value) {
        let path = self.directory.join(format!("{name}.stable.json"));
        fs::write(path, report.to_string()).expect("the disk has space");
    }

    /// Returns the path of the last link's record.
    pub fn record(&self) -> PathBuf {
        self.path().join("kept.stable")
    }

    /// Restores the sources from the repository.
    pub fn restore(&self) {
        copy(&workspace().join(self.original), &self.path());
    }

    pub fn change(&self, (file, from, to): &Change) {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).expect("the file is UTF-8");
        assert!(text.contains(from), "{from:?} is in {file}");
        fs::write(path, text.replacen(from, to, 1)).expect("the disk has space");
    }

    /// Builds the firmware as NAME.bin.
    pub fn build(&self, name: &str, stable: bool) -> Built {
        let root = self.directory.parent().expect("the directory has a parent");
        let path = self.directory.join(name).with_extension("bin");
        let times = self.directory.join("times");
        let _ = fs::remove_file(&times);
        let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
        command.args(["build", "--quiet", "--output"]).arg(&path).arg(self.path());
        command.args(stable.then_some("--stable")).stdout(Stdio::null());
        let target = root.join("target");
        // The profile of this program must not affect the firmware.
        let profile = |name: &OsString| name.to_string_lossy().starts_with("CARGO_PROFILE_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| profile(name)) {
            command.env_remove(name);
        }
        command.env("CARGO_TARGET_DIR", &target);
        command.env("CARGO_TARGET_RISCV32IMC_UNKNOWN_NONE_ELF_LINKER", timed_linker(root));
        command.env(CALLED, linker()).env(TIMES, &times);
        if let Some(lto) = std::env::var_os("ESPLICE_BENCH_LTO") {
            command.env("CARGO_PROFILE_RELEASE_LTO", lto);
        }
        let done = command.output().expect("esplice starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let elf = fs::read(path.with_extension("elf")).expect("an ELF was written");
        let name = format!("{}.stable.json", self.bin.replace('-', "_"));
        let report = target.join("riscv32imc-unknown-none-elf/release").join(name);
        let report = fs::read(report).ok().filter(|_| stable);
        let times = fs::read_to_string(times).unwrap_or_default();
        Built {
            image: fs::read(&path).expect("an image was written"),
            path,
            ram: ram(&elf),
            linker: times.lines().map(|line| line.parse().expect("seconds")).collect(),
            report: serde_json::from_slice(&report.unwrap_or_default()).unwrap_or_default(),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the disk has space");
    for entry in fs::read_dir(from).expect("the file exists").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy(&from, &to);
            continue;
        }
        let bytes = fs::read(&from).expect("the file exists");
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        fs::write(to, bytes).expect("the disk has space");
    }
}

/// Returns the RAM used before the stack, derived from the stack's end.
fn ram(elf: &[u8]) -> u32 {
    let file = object::File::parse(elf).expect("an ELF");
    let stack = file.section_by_name(".stack").expect("esp-hal's stack");
    u32::try_from(stack.address()).expect("32 bits")
}

/// Returns a copy of this program under the linker's name. cargo recompiles if the linker's path
/// changes, so the path stays the same.
fn timed_linker(root: &Path) -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        fs::create_dir_all(root).expect("the disk has space");
        let path = root.join(format!("{TIMED}{}", std::env::consts::EXE_SUFFIX));
        let _ = fs::remove_file(&path);
        fs::copy(std::env::current_exe().expect("the program is running"), &path)
            .expect("the disk has space");
        path
    };
    MADE.get_or_init(make).clone()
}

/// Returns lld: that of `ESPLICE_LINKER`, else the newest one on the system.
fn linker() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let names = || (10..40).rev().map(|version| format!("ld.lld-{version}").into());
    let find = || {
        let mut all = std::env::var_os("ESPLICE_LINKER").into_iter();
        let all = all.by_ref().chain(["ld.lld".into()]).chain(names());
        let answers = |name: &OsString| {
            let mut command = Command::new(name);
            command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        all.into_iter().find(answers).expect("no ld.lld here: set ESPLICE_LINKER").into()
    };
    FOUND.get_or_init(find)
}

/// Links, if this program was started as the linker.
pub fn link_timed() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let name = words.next()?;
    (Path::new(&name).file_stem()? == TIMED).then_some(())?;
    let mut command = Command::new(std::env::var_os(CALLED).expect("the linker is set"));
    let words: Vec<OsString> = words.collect();
    let links = !words.iter().any(|word| word == "--version");
    let started = Instant::now();
    let status = command.args(&words).status().expect("the linker starts");
    let seconds = started.elapsed().as_secs_f64();
    if let Some(path) = std::env::var_os(TIMES).filter(|_| links) {
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, format!("{before}{seconds}\n")).expect("the disk has space");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Some(code.unwrap_or(1).into())
}
