//! Tests that the flasher stubs in `targets/stubs` are those of the source, and that esptool can drive
//! them.

use std::{fs, path::Path, process::Command};

use esplice_chip::ChipDb;
use esplice_flash::Stub;

use crate::{
    mask_rom,
    support::served::{Board, FLASH_LEN, esptool, image, written},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// Rebuilds all stubs with `scripts/build-stubs`. With the compiler that built those in the
/// repository, the result is the same to the byte. Another compiler's must at least have all parts.
#[test]
fn stubs_are_built_from_their_source() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(root().join("scripts/build-stubs")).arg(directory.path()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let version = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let compiler = String::from_utf8_lossy(&version).replace('\n', ";");
    let mut count = 0;
    for chip in ChipDb::embedded().chips().filter(|chip| chip.stub.is_some()) {
        let name = format!("{}.json", chip.name);
        let built = fs::read(directory.path().join(&name)).unwrap();
        let kept = fs::read(root().join("targets/stubs").join(&name)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&kept).unwrap();
        if json["compiler"] == compiler.as_str() {
            assert!(built == kept, "{name} is not what scripts/build-stubs makes");
        }
        for file in [&built, &kept] {
            let stub = Stub::parse(file).unwrap_or_else(|error| panic!("{name}: {error}"));
            stub.check(chip).unwrap_or_else(|error| panic!("{name}: {error}"));
            // Only core and data are uploaded through the ROM loader.
            let json: serde_json::Value = serde_json::from_slice(file).unwrap();
            let core = json["core"].as_u64().unwrap();
            let data = stub.data.as_ref().map_or(0, |data| data.bytes.len());
            assert!(core + data as u64 <= 7 * 1024, "{name}: {core} + {data}");
        }
        count += 1;
    }
    assert!(count > 0);
}

/// esptool with esplice's stub in place of its own: its folder of stubs is another one.
fn esptool_with_our_stub(stubs: &Path) -> Command {
    let program = esptool().get_program().to_owned();
    let mut command = Command::new(Path::new(&program).with_file_name("python"));
    let script = "import sys, esptool
from esptool.loader import StubFlasher
StubFlasher.STUB_DIR = sys.argv.pop(1)
esptool._main()";
    command.args(["-c", script]).arg(stubs);
    command
}

#[test]
fn esptool_drives_our_stub() {
    let stubs = tempfile::tempdir().unwrap();
    let folder = stubs.path().join("2");
    fs::create_dir(&folder).unwrap();
    let name = "esp32c3.json";
    fs::copy(root().join("targets/stubs").join(name), folder.join(name)).unwrap();
    let rom = mask_rom::path().display().to_string();
    let tcp = ["--tcp", "127.0.0.1:0", "--time", "none", "--download"];
    for board in [Board::new(&tcp), Board::new(&[&tcp[..], &["--rom", &rom]].concat())] {
        let run = |words: &str, told: &[&str]| {
            let mut command = esptool_with_our_stub(stubs.path());
            command.args(["--chip", "esp32c3", "--port", &board.port]);
            board.run(command.args(words.split_whitespace()), told);
        };
        let image = image(&board.path("image.bin"));
        let erased = vec![0xff; FLASH_LEN];
        run("chip-id", &["Stub flasher running", "MAC:"]);
        run("flash-id", &["Manufacturer: ef", "Device: 4016", "Detected flash size: 4MB"]);
        run("write-flash 0x10000 image.bin", &["Hash of data verified"]);
        assert!(board.flash() == written(&image), "the flash differs");
        run("verify-flash 0x10000 image.bin", &["Verification successful"]);
        run("read-flash 0x10000 90001 back.bin", &["Read 90001 bytes"]);
        assert!(fs::read(board.path("back.bin")).unwrap() == image, "what was read differs");
        run("erase-region 0x10000 0x16000", &["erased successfully"]);
        assert!(board.flash() == erased, "the flash is not erased");
        run("write-flash --no-compress 0x10000 image.bin", &["Hash of data verified"]);
        assert!(board.flash() == written(&image), "the flash differs");
        run("erase-flash", &["erased successfully"]);
        assert!(board.flash() == erased, "the flash is not erased");
    }
}
