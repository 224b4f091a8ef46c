//! Compares the output of commands word for word; each case is a file in `tests/cmd`. After an
//! intended change, `TRYCMD=overwrite cargo test --workspace --test workspace cli::` rewrites the files.

#[test]
fn commands_say_what_is_written() {
    trycmd::TestCases::new().env("NO_COLOR", "1").case("../../tests/cmd/*.trycmd").run();
}
