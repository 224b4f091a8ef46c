//! Tests `flash` and `run` with build folders of ESP-IDF. Their plans are recorded ones; the images
//! are those of a small program.

use std::{fs, path::Path};

use crate::support::{Said, built_hello, repository, run};

const PORT: &str = "--port sim:esp32c3,flash=board.flash,time=none";

/// Creates the project `idf` with a finished build of version 4.4.
fn project() -> tempfile::TempDir {
    let directory = built_hello("Hello, World!\n");
    let at = directory.path();
    let recorded = repository().join("crates/esplice-image/tests/idf/v4.4-ota");
    let build = at.join("idf/build");
    fs::create_dir_all(build.join("bootloader")).unwrap();
    fs::create_dir_all(build.join("partition_table")).unwrap();
    for file in ["flasher_args.json", "project_description.json"] {
        fs::copy(recorded.join(file), build.join(file)).unwrap();
    }
    let cmake = "cmake_minimum_required(VERSION 3.16)\n\
                 include($ENV{IDF_PATH}/tools/cmake/project.cmake)\nproject(hello)\n";
    fs::write(at.join("idf/CMakeLists.txt"), cmake).unwrap();
    let merged = fs::read(at.join("hello.merged.bin")).unwrap();
    let bootloader = merged[..0x8000].iter().rposition(|byte| *byte != 0xff).unwrap() + 1;
    fs::write(build.join("bootloader/bootloader.bin"), &merged[..bootloader]).unwrap();
    let table = "nvs,data,nvs,0x9000,0x4000,\notadata,data,ota,0xd000,0x2000,\n\
                 phy_init,data,phy,0xf000,0x1000,\nota_0,app,ota_0,0x10000,1M,\nota_1,app,ota_1,,1M,\n";
    fs::write(at.join("table.csv"), table).unwrap();
    run(at, "partition convert table.csv -o idf/build/partition_table/partition-table.bin")
        .check(0, &[]);
    fs::write(build.join("ota_data_initial.bin"), vec![0xff; 0x2000]).unwrap();
    for file in ["hello.bin", "hello.elf"] {
        fs::copy(at.join(file), build.join(file)).unwrap();
    }
    directory
}

/// Runs a command without idf.py on the path.
fn at_work(at: &Path, words: &str) -> Said {
    let mut command = crate::support::esplice(at);
    command.env("PATH", at).args(words.split_whitespace());
    crate::support::finish(&mut command)
}

#[test]
fn a_finished_build_is_written_by_its_plan() {
    let directory = project();
    let at = directory.path();
    let said = at_work(at, &format!("run idf {PORT} --expect World! --timeout 5s"));
    assert_eq!(said.exit, 0, "{said:#?}");
    assert!(said.err.contains("idf.py is not on PATH: idf/build is used as it is"), "{said:#?}");
    let flash = fs::read(at.join("board.flash")).unwrap();
    let app = fs::read(at.join("hello.bin")).unwrap();
    assert!(flash[0x1_0000..].starts_with(&app));
    let said = run(at, "partition show board.flash").check(0, &[]);
    assert!(said.out.contains("ota_1"), "{said:#?}");
    // The build folder alone, without its project: nothing is left to write.
    at_work(at, &format!("flash idf/build {PORT}")).check(0, &[]);
    // The bootloader has written otadata meanwhile, which the plan sets back.
    let again = fs::read(at.join("board.flash")).unwrap();
    assert!(again[..0xd000] == flash[..0xd000] && again[0xf000..] == flash[0xf000..]);
    assert!(again[0xd000..0xf000].iter().all(|byte| *byte == 0xff));
}

/// The stand-in for idf.py checks its arguments and finishes the build.
#[cfg(unix)]
#[test]
fn a_project_is_built_by_idf_py() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = project();
    let at = directory.path();
    let app = at.join("idf/build/hello.bin");
    fs::rename(&app, at.join("made.bin")).unwrap();
    let script = "#!/bin/sh\n[ \"$*\" = \"-C idf build\" ] || exit 9\n/bin/cp made.bin idf/build/hello.bin\n\
                  echo built\n";
    fs::write(at.join("idf.py"), script).unwrap();
    fs::set_permissions(at.join("idf.py"), fs::Permissions::from_mode(0o755)).unwrap();
    let said = at_work(at, &format!("run idf {PORT} --expect World! --timeout 5s"));
    assert_eq!(said.exit, 0, "{said:#?}");
    assert!(said.err.contains("built\n") && !said.out.contains("built\n"), "{said:#?}");
    fs::write(at.join("idf.py"), "#!/bin/sh\nexit 2\n").unwrap();
    at_work(at, &format!("flash idf {PORT}")).check(5, &["idf.py could not build idf"]);
    fs::remove_file(at.join("idf.py")).unwrap();
    fs::remove_dir_all(at.join("idf/build")).unwrap();
    at_work(at, &format!("flash idf {PORT}")).check(4, &["cannot start idf.py", "export.sh"]);
}

#[test]
fn mistakes() {
    let directory = project();
    let at = directory.path();
    let plan = at.join("idf/build/flasher_args.json");
    let text = fs::read_to_string(&plan).unwrap();
    let wrong = |old: &str, new: &str, exit: i32, told: &[&str]| {
        assert!(text.contains(old), "{old}");
        fs::write(&plan, text.replace(old, new)).unwrap();
        at_work(at, &format!("flash idf/build {PORT}")).check(exit, told);
    };
    wrong(
        "\"flash_files\" : {",
        "\"flash_files\" : [",
        3,
        &["flasher_args.json:10:", "idf.py build"],
    );
    wrong("\"0xd000\" : ", "\"d000\" : ", 3, &["the offset \"d000\" of ota_data_initial.bin"]);
    wrong("\"hello.bin\"", "\"gone.bin\"", 3, &["cannot read idf/build/gone.bin"]);
    wrong("\"hello.bin\"", "\"../../hello.bin\"", 3, &["leaves the project"]);
    wrong("\"hello.bin\"", "\"/etc/passwd\"", 3, &["leaves the project"]);
    wrong("\"esp32c3\"", "\"esp32c6\"", 12, &["the image is for ESP32-C3, the target is ESP32-C6"]);
    wrong("\"esp32c3\"", "\"esp32x\"", 2, &["unknown chip"]);
    wrong(
        "\"hello.bin\", \"encrypted\" : \"false\"",
        "\"hello.bin\", \"encrypted\" : \"true\"",
        13,
        &["hello.bin is to be encrypted by the chip"],
    );
    fs::write(&plan, &text).unwrap();
    at_work(at, &format!("flash idf/build --target esp32c6 {PORT}")).check(12, &["ESP32-C6"]);
    at_work(at, &format!("flash idf/build --features a {PORT}"))
        .check(2, &["--features is not for an ESP-IDF project"]);
    at_work(at, &format!("flash idf/build --offset 0x10000 {PORT}"))
        .check(2, &["the build of ESP-IDF has its own offsets"]);
    assert!(!at.join("board.flash").exists());
}
