//! Missing directories are created wherever a command writes a file.

use crate::support::{built_hello, run};

#[test]
fn logs_reports_and_flash_files_get_their_directories() {
    let hello = built_hello("hello\r\n");
    let at = hello.path();
    let said = run(
        at,
        "run hello.bin --port sim:esp32c3,flash=boards/one/b.flash --expect hello --timeout 5s \
         --log logs/a/board.log --report reports/board.json --junit reports/xml/board.xml",
    );
    said.check(
        0,
        &["Created the directory logs/a", "Created the directory reports", "reports/xml"],
    );
    for file in
        ["boards/one/b.flash", "logs/a/board.log", "reports/board.json", "reports/xml/board.xml"]
    {
        assert!(at.join(file).is_file(), "{file}");
    }
    let said = run(at, "monitor --port sim:esp32c3 --timeout 1s --expect x --log hello.bin/a.log");
    said.check(2, &["cannot write hello.bin/a.log"]);
}
