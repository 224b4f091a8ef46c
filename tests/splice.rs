//! Runs the example that passes lines through three tasks. This test compiles firmware, into a
//! directory that is kept between runs.

use std::fs;

use crate::support::{self, finish, repository, toolchain::firmware_target};

#[test]
fn lines_pass_through_three_tasks_uncopied() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("lines.script");
    let steps = r#"
        expect "ready"
        send "hello\nworld\n"
        expect "hello: sum 532, not copied, "
        expect "world: sum 552, not copied, "
        send "\n"
        expect ": sum 0, not copied, "
    "#;
    fs::write(&script, steps).unwrap();
    let mut command = support::esplice(&repository());
    command.env("CARGO_TARGET_DIR", firmware_target());
    command.args(["run", "examples/splice-rust", "--port=sim:esp32c3", "--timeout=5s"]);
    finish(command.arg("--script").arg(&script)).check(0, &[]);
}
