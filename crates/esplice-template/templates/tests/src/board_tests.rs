//! Runs tests and prints their results in the lines that `esplice run` reads.

use esp_println::print;

/// Reason why a test failed, from `Err("text".into())`, or by `?` from an error that is a string.
pub struct Failure(pub &'static str);

impl From<&'static str> for Failure {
    fn from(text: &'static str) -> Failure {
        Failure(text)
    }
}

/// A test: its name and its function.
pub type Test = (&'static str, fn() -> Result<(), Failure>);

/// Runs `tests` one after another. A panic in one ends them all; `esplice run` then reports which
/// one.
pub fn run(tests: &[Test]) -> ! {
    print!("esplice-test: begin {}\r\n", tests.len());
    // As all names are known, `cargo test NAME` ends after the last test that it selects.
    for (name, _) in tests {
        print!("esplice-test: test {name}\r\n");
    }
    for (name, test) in tests {
        print!("esplice-test: run {name}\r\n");
        match test() {
            Ok(()) => print!("esplice-test: ok {name}\r\n"),
            Err(Failure(reason)) => print!("esplice-test: failed {name}: {reason}\r\n"),
        }
    }
    print!("esplice-test: done\r\n");
    loop {}
}

/// Runs the listed tests ([`run`]), each under the name of its function.
#[macro_export]
macro_rules! board_tests {
    ($($test:ident),* $(,)?) => {
        $crate::board_tests::run(&[$((stringify!($test), $test as fn() -> _)),*])
    };
}

/// Ends the test with a failure unless `condition` holds.
#[macro_export]
macro_rules! check {
    ($condition:expr) => {
        if !$condition {
            return Err($crate::board_tests::Failure(concat!("check failed: ", stringify!($condition))));
        }
    };
}
