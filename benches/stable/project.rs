//! A copy of a firmware that is edited and built, normally and layout-stable, with its linker timed.

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

/// The name by which this program is the linker that is timed.
const TIMED: &str = "timed-lld";
/// Variables that tell it which linker to call, and where to write how long that took.
const CALLED: &str = "ESPLICE_BENCH_LINKER";
const TIMES: &str = "ESPLICE_BENCH_TIMES";

/// A copy of a firmware, and where it is built.
pub struct Project {
    /// Of the original, from the workspace on.
    original: &'static str,
    bin: &'static str,
    directory: PathBuf,
}

/// What a build gave.
pub struct Built {
    /// The image of the app, its path, and the merged one's.
    pub image: Vec<u8>,
    pub path: PathBuf,
    /// Bytes of RAM before the stack.
    pub ram: u32,
    /// Seconds that the linker alone took, each time it ran.
    pub linker: Vec<f64>,
    /// What the layout-stable link told; null after a normal one.
    pub report: serde_json::Value,
}

impl Built {
    /// Seconds of the layout-stable link, its linker's included.
    pub fn seconds(&self) -> f64 {
        self.report["seconds"].as_f64().unwrap_or(f64::NAN)
    }

    /// Sections that lie elsewhere than before.
    pub fn moved(&self) -> usize {
        self.report["moved"].as_array().map_or(0, Vec::len)
    }
}

impl Project {
    /// A fresh copy; what was compiled for it before stays.
    pub fn new(original: &'static str, bin: &'static str) -> Project {
        let root = firmware_target().join("bench-stable");
        let project = Project { original, bin, directory: root.join(bin) };
        let _ = fs::remove_dir_all(&project.directory);
        project.restore();
        let toml = "[project]\ntarget = \"esp32c3\"\n[layout]\nstable-record = \"kept.stable\"\n";
        fs::write(project.path().join("esplice.toml"), toml).expect("there is room");
        project
    }

    pub fn path(&self) -> PathBuf {
        self.directory.join("project")
    }

    /// Where its builds are written.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes what a layout-stable link reported next to the image of the name.
    pub fn keep(&self, name: &str, report: &serde_json::Value) {
        let path = self.directory.join(format!("{name}.stable.json"));
        fs::write(path, report.to_string()).expect("there is room");
    }

    /// The record of the last link.
    pub fn record(&self) -> PathBuf {
        self.path().join("kept.stable")
    }

    /// The sources as they are in the repository.
    pub fn restore(&self) {
        copy(&workspace().join(self.original), &self.path());
    }

    pub fn change(&self, (file, from, to): &Change) {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).expect("it is text");
        assert!(text.contains(from), "{from:?} is in {file}");
        fs::write(path, text.replacen(from, to, 1)).expect("there is room");
    }

    /// Builds it as NAME.bin.
    pub fn build(&self, name: &str, stable: bool) -> Built {
        let root = self.directory.parent().expect("it lies in one");
        let path = self.directory.join(name).with_extension("bin");
        let times = self.directory.join("times");
        let _ = fs::remove_file(&times);
        let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
        command.args(["build", "--quiet", "--output"]).arg(&path).arg(self.path());
        command.args(stable.then_some("--stable")).stdout(Stdio::null());
        let target = root.join("target");
        // How this program was built says nothing of the firmware.
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
    fs::create_dir_all(to).expect("there is room");
    for entry in fs::read_dir(from).expect("it is there").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy(&from, &to);
            continue;
        }
        let bytes = fs::read(&from).expect("it is there");
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        fs::write(to, bytes).expect("there is room");
    }
}

/// Where the stack ends tells how much of the RAM lies before it.
fn ram(elf: &[u8]) -> u32 {
    let file = object::File::parse(elf).expect("an ELF");
    let stack = file.section_by_name(".stack").expect("esp-hal's stack");
    u32::try_from(stack.address()).expect("32 bits")
}

/// A copy of this program under the name by which it is the linker. cargo compiles anew where the
/// linker has another path, so that stays the same.
fn timed_linker(root: &Path) -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        fs::create_dir_all(root).expect("there is room");
        let path = root.join(format!("{TIMED}{}", std::env::consts::EXE_SUFFIX));
        let _ = fs::remove_file(&path);
        fs::copy(std::env::current_exe().expect("it runs"), &path).expect("there is room");
        path
    };
    MADE.get_or_init(make).clone()
}

/// lld: that of `ESPLICE_LINKER`, else the newest of those that the system has.
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

/// Links, where this program was started as the linker.
pub fn link_timed() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let name = words.next()?;
    (Path::new(&name).file_stem()? == TIMED).then_some(())?;
    let mut command = Command::new(std::env::var_os(CALLED).expect("the linker is told"));
    let words: Vec<OsString> = words.collect();
    let links = !words.iter().any(|word| word == "--version");
    let started = Instant::now();
    let status = command.args(&words).status().expect("the linker starts");
    let seconds = started.elapsed().as_secs_f64();
    if let Some(path) = std::env::var_os(TIMES).filter(|_| links) {
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, format!("{before}{seconds}\n")).expect("there is room");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Some(code.unwrap_or(1).into())
}
