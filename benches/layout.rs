//! What `esplice build` adds to cargo on a project that has not changed.
//!
//! The processes that it starts are cargo and the compiler that is asked its version: they are run in
//! turn with it, by a stand-in on the path that notes how long each took.

// Benchmarks are the one place that measures the host's time.
#![allow(clippy::disallowed_methods)]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::{Timings, workspace};

const RUNS: usize = 15;

fn main() {
    let scratch = tempfile::tempdir().expect("there is room");
    let esplice = Path::new(env!("CARGO_BIN_EXE_esplice"));
    let output = scratch.path().join("arenas.bin");
    let log = scratch.path().join("log");
    // cargo of the path, timed. Debian's stands behind it, where rustup's lacks the target.
    let target = workspace().join("target/firmware/bench");
    let build = |path: Option<&str>| {
        let mut command = Command::new(esplice);
        command
            .args(["build", "--quiet", "--target=esp32c3", "--output"])
            .arg(&output)
            .arg(workspace().join("examples/arenas-rust"))
            .env("CARGO_TARGET_DIR", &target)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let start = Instant::now();
        assert!(command.status().is_ok_and(|status| status.success()));
        start.elapsed()
    };
    build(None);

    let real = |name: &str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
        String::from_utf8(found.expect("sh is there").stdout).unwrap_or_default().trim().to_owned()
    };
    let stand_ins = scratch.path().join("bin");
    fs::create_dir(&stand_ins).expect("there is room");
    for name in ["cargo", "rustc"] {
        let script = format!(
            "#!/bin/bash\nstart=$(date +%s%N)\n{} \"$@\"\ncode=$?\necho $(( $(date +%s%N) - start )) >> {}\nexit $code\n",
            real(name),
            log.display()
        );
        let path = stand_ins.join(name);
        fs::write(&path, script).expect("there is room");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let path = format!("{}:{}", stand_ins.display(), std::env::var("PATH").unwrap_or_default());

    let (mut whole, mut added) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        whole.push(build(None));
        let _ = fs::remove_file(&log);
        let with_stand_ins = build(Some(&path));
        let text = fs::read_to_string(&log).unwrap_or_default();
        let inside: u64 = text.lines().filter_map(|line| line.parse::<u64>().ok()).sum();
        added.push(with_stand_ins.saturating_sub(Duration::from_nanos(inside)));
    }
    for (name, runs) in [("esplice build, unchanged", whole), ("beside the processes", added)] {
        let timings = Timings::new(name, runs);
        println!("{name:28} {:8.1} ms (fastest {:.1})", timings.median_ms(), timings.min_ms());
    }
}
