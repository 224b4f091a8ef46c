//! What the commands say, word for word: a case is a file in `tests/cmd`. After a wanted change,
//! `TRYCMD=overwrite cargo test -p esplice --test cli` writes the files anew.

#[test]
fn commands_say_what_is_written() {
    trycmd::TestCases::new().env("NO_COLOR", "1").case("../../tests/cmd/*.trycmd").run();
}
