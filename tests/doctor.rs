//! Tests `esplice doctor` on this machine and with a virtual board. The findings themselves are
//! tested with recorded machines, in `crates/esplice-doctor/tests`.

use std::fs;

use crate::support::{result, run};

#[test]
fn a_board_that_answers_is_sound() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let said = run(at, "doctor --port sim:esp32c3 --format json");
    let value = &result(&said)["value"];
    let sound = value["sound"].as_array().unwrap();
    let board = "board at sim:esp32c3: ESP32-C3 (revision v0.4)";
    assert!(sound.contains(&board.into()), "{said:#?}");
    assert!(said.exit == 0 || said.exit == 7, "{said:#?}");
    let findings = value["findings"].as_array().unwrap();
    let problems = findings.iter().filter(|finding| finding["problem"] == true).count();
    assert_eq!(value["left"], problems);
    assert_eq!(said.exit == 7, problems > 0);
}

#[test]
fn what_is_left_ends_it_with_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let said = run(at, "doctor --port /dev/esplice-has-no-such-port").check(7, &["left"]);
    assert!(
        said.out.contains("problem: no port /dev/esplice-has-no-such-port\n   - check the cable"),
        "{said:#?}"
    );
    // A project that is in Go needs TinyGo.
    fs::write(at.join("go.mod"), "module a\n").unwrap();
    let mut command = crate::support::esplice(at);
    command.args(["doctor"]).env("PATH", at);
    let said = crate::support::finish(&mut command).check(7, &[]);
    assert!(said.out.contains("problem: ") && said.out.contains("TinyGo"), "{said:#?}");
}

#[test]
fn the_rule_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let said = run(directory.path(), "doctor --rule").check(0, &[]);
    let line = "SUBSYSTEMS==\"usb\", ATTRS{idVendor}==\"303a\", TAG+=\"uaccess\"";
    assert!(said.out.contains(line), "{said:#?}");
    run(directory.path(), "doctor --rule --fix").check(2, &["cannot be used with"]);
}
