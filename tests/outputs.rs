//! No command replaces something other than a regular file at its output's path by a file.
#![cfg(unix)]

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{FileTypeExt as _, symlink},
    path::Path,
};

use crate::support::{self, built_hello, elf, esplice, files, finish, run};

/// Commands that write, with `{}` for the output.
const WRITERS: &[&str] = &[
    "build --target esp32c3 --elf hello.elf --image-only -o {}",
    "build --target esp32c3 --elf hello.elf -o {}",
    "read --port sim:esp32c3 0 0x100 {}",
    "image merge --target esp32c3 0x0 hello.bin -o {}",
    "layout show --target esp32c3 hello.elf --svg {}",
    "layout show --target esp32c3 hello.elf --html {}",
    "run --port sim:esp32c3 hello.bin --expect Hello --junit {}",
    "run --port sim:esp32c3 hello.bin --expect Hello --report {}",
    "run --port sim:esp32c3 hello.bin --expect Hello --log {}",
];

/// A virtual board's flash must be a regular file or not exist.
const FLASH: &str = "flash --port sim:esp32c3,flash={} hello.bin";

fn to(at: &Path, command: &str, output: &str) -> support::Said {
    run(at, &command.replace("{}", output))
}

#[test]
fn devices_are_written_to_and_stay() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let before = files(at);
    for command in WRITERS {
        to(at, command, "/dev/null").check(0, &[]);
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device(), "{command}");
        // A device that rejects writes simulates a full disk.
        to(at, command, "/dev/full").check(1, &["/dev/full"]);
        assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device(), "{command}");
        assert_eq!(files(at), before, "{command}");
    }
    to(at, FLASH, "/dev/null").check(2, &["/dev/null", "is not a regular file"]);
    assert!(!Path::new("/dev/null.merged.bin").exists());
}

#[test]
fn sockets_and_pipes_without_a_reader_are_refused_at_once() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let _socket = std::os::unix::net::UnixListener::bind(at.join("socket")).unwrap();
    nix::unistd::mkfifo(&at.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let before = files(at);
    for command in WRITERS {
        to(at, command, "socket").check(2, &["cannot write socket: it is a socket"]);
        to(at, command, "pipe").check(2, &["cannot write pipe: it is a pipe that nothing reads"]);
        assert_eq!(files(at), before, "{command}");
    }
    to(at, FLASH, "pipe").check(2, &["pipe", "is not a regular file"]);
    to(at, FLASH, "socket").check(10, &["socket"]);
    assert!(fs::metadata(at.join("pipe")).unwrap().file_type().is_fifo());
    assert!(fs::metadata(at.join("socket")).unwrap().file_type().is_socket());
}

#[test]
fn a_pipe_with_a_reader_gets_all_of_it() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let pipe = at.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // More than a pipe can buffer.
    let words = "image merge --target esp32c3 0x0 hello.bin --pad-to-size 1MB -o";
    run(at, &format!("{words} file")).check(0, &[]);
    for command in [words, "read --port sim:esp32c3 0 0x20000"] {
        // Opened for both directions, so that it exists before the program starts.
        let mut reader = File::options().read(true).write(true).open(&pipe).unwrap();
        let len = if command == words { 1 << 20 } else { 0x2_0000 };
        let reading = std::thread::spawn(move || {
            let mut read = vec![0; len];
            reader.read_exact(&mut read).map(|()| read)
        });
        run(at, &format!("{command} pipe")).check(0, &[]);
        let read = reading.join().unwrap().unwrap();
        if command == words {
            assert!(read == fs::read(at.join("file")).unwrap());
        } else {
            assert!(read.iter().all(|byte| *byte == 0xff));
        }
    }
}

#[test]
fn links_are_followed() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    fs::create_dir(at.join("elsewhere")).unwrap();
    for (number, command) in WRITERS.iter().enumerate() {
        for target in [format!("elsewhere/new{number}"), format!("elsewhere/old{number}")] {
            let link = target.replace("elsewhere/", "link");
            symlink(&target, at.join(&link)).unwrap();
            if target.contains("old") {
                fs::write(at.join(&target), "old").unwrap();
            }
            to(at, command, &link).check(0, &[]);
            assert!(fs::symlink_metadata(at.join(&link)).unwrap().is_symlink(), "{command}");
            let written = fs::read(at.join(&target)).unwrap();
            assert!(written.len() > 3 && written != b"old", "{command}");
        }
    }
    symlink("elsewhere/board.flash", at.join("board.flash")).unwrap();
    fs::write(at.join("elsewhere/board.flash"), vec![0xff; 4 << 20]).unwrap();
    to(at, FLASH, "board.flash").check(0, &[]);
    assert!(fs::symlink_metadata(at.join("board.flash")).unwrap().is_symlink());
    // An image reached through a link belongs to the plan next to the link.
    let link = "build --target esp32c3 --elf hello.elf -o link.bin";
    symlink("elsewhere/image", at.join("link.bin")).unwrap();
    run(at, link).check(0, &[]);
    run(at, "flash --port sim:esp32c3 link.bin").check(0, &[]);
}

#[test]
fn names_that_no_file_can_have_are_wrong_use() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let long = "n".repeat(300);
    for command in WRITERS.iter().chain([&FLASH]) {
        to(at, command, &long).check(2, &["name"]);
    }
    run(at, &format!("image info {long}")).check(2, &["cannot read"]);
    fs::write(at.join("esplice.toml"), "[build]\noutput = \"a\\u0000b\"\n").unwrap();
    run(at, "build --target esp32c3 --elf hello.elf").check(2, &["cannot write a"]);
}

/// All commands have the same exit code for a full disk, and leave no files.
#[test]
fn a_full_disk_is_one_fault() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let before = files(at);
    let program = assert_cmd::cargo::cargo_bin!("esplice");
    for command in WRITERS.iter().chain([&FLASH]) {
        if command.contains("--log") || command.contains("--junit") || command.contains("--report")
        {
            // These write less than the smallest limit; /dev/full above covers them.
            continue;
        }
        let command = command.replace("{}", "new.bin").replace(" 0 0x100 ", " 0 0x4000 ");
        let script = format!("trap '' XFSZ; ulimit -f 1; exec '{}' {command}", program.display());
        let said = finish(
            assert_cmd::Command::new("sh")
                .current_dir(at)
                .env("NO_COLOR", "1")
                .args(["-c", &script]),
        );
        said.check(1, &["new.bin", "File too large"]);
        assert_eq!(files(at), before, "{command}");
    }
}

/// Parallel builds of two programs into one place: the final plan matches all files.
#[test]
fn parallel_builds_do_not_mix() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for name in ["one", "two"] {
        fs::write(at.join(format!("{name}.elf")), elf::hello(name).to_bytes()).unwrap();
    }
    for _ in 0..12 {
        let builds: Vec<_> = ["one", "two", "one", "two"]
            .into_iter()
            .map(|name| {
                let mut command = esplice(at);
                let words = format!("build --target esp32c3 --elf {name}.elf -o out.bin");
                command.args(words.split_whitespace());
                std::thread::spawn(move || finish(&mut command))
            })
            .collect();
        for build in builds {
            let said = build.join().unwrap();
            // A build that finds files of the other one reports it.
            assert!(
                said.exit == 0 || said.err.contains("was replaced in the meantime"),
                "{said:#?}"
            );
        }
        run(at, "flash --port sim:esp32c3 out.bin").check(0, &["Transfer at"]);
    }
}

#[test]
fn memory_that_cannot_be_had_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    // Sparse files, which take no disk space.
    let sparse = |name: &str, start: &[u8]| {
        fs::write(at.join(name), start).unwrap();
        File::options().write(true).open(at.join(name)).unwrap().set_len(900 << 20).unwrap();
    };
    sparse("large.bin", b"\xe9");
    sparse("large.elf", &elf::hello("Hello").to_bytes());
    let program = assert_cmd::cargo::cargo_bin!("esplice");
    for words in ["image info large.bin", "build --target esp32c3 --elf large.elf -o out.bin"] {
        let script = format!("ulimit -v 400000; exec '{}' {words}", program.display());
        let said = finish(assert_cmd::Command::new("sh").current_dir(at).args(["-c", &script]));
        said.check(1, &["error: cannot read large.", "hint: "]);
    }
    // Flash content is limited to the size of flash chips.
    for words in [
        "partition convert large.bin -o out.csv",
        "build --target esp32c3 --elf large.elf --partition-table large.bin -o out.bin",
        "build --target esp32c3 --elf large.elf --bootloader large.bin -o out.bin",
    ] {
        run(at, words)
            .check(3, &["error: cannot read large.bin: it has more than 268435456 bytes"]);
    }
}

#[test]
fn paths_of_a_project_stay_inside_it() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("secret"), "secret").unwrap();
    symlink(elsewhere.path(), at.join("out")).unwrap();
    symlink(elsewhere.path().join("none"), at.join("dangling")).unwrap();
    fs::create_dir(at.join("inside")).unwrap();
    symlink("inside", at.join("within")).unwrap();
    for (line, exit) in [
        ("[build]\noutput = \"out/new.bin\"", 2),
        ("[build]\noutput = \"out/new/new.bin\"", 2),
        ("[build]\noutput = \"dangling\"", 2),
        ("[project]\ntarget-file = \"out/secret\"", 2),
        ("[monitor]\nrom = \"out/secret\"", 2),
        ("[flash]\nstub = \"out/secret\"", 2),
        ("[project]\nport = \"sim:esp32c3,flash=out/board.flash\"", 2),
        ("[build]\noutput = \"within/new.bin\"", 0),
        ("[build]\noutput = \"new/new.bin\"", 0),
    ] {
        fs::write(at.join("esplice.toml"), line).unwrap();
        let said = run(at, "build --target esp32c3 --elf hello.elf");
        let words: &[&str] =
            if exit == 0 { &[] } else { &["leaves the project through a symlink"] };
        said.check(exit, words);
        assert_eq!(files(elsewhere.path()), ["secret"], "{line}");
    }
    fs::write(at.join("esplice.toml"), "#".repeat(2 << 20)).unwrap();
    run(at, "config").check(3, &["esplice.toml", "more than 1048576 bytes"]);
}
