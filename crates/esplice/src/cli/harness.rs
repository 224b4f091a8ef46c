//! Translates arguments of Rust's test harness, which `cargo test` passes to its runner after the
//! ELF.

use std::{ffi::OsString, path::Path};

/// Flags of the harness without effect on board tests: there is one thread, and the firmware
/// decides which tests it ignores.
const SWITCHES: &[&str] = &[
    "--bench",
    "--ensure-time",
    "--exclude-should-panic",
    "--force-run-in-process",
    "--ignored",
    "--include-ignored",
    "--report-time",
    "--shuffle",
    "--test",
];

/// Flags with a value, also without effect.
const VALUES: &[&str] = &["--color", "--logfile", "--shuffle-seed", "--test-threads", "-Z"];

/// Returns the name of the test binary at `path`, if cargo linked it as a test: those are in
/// `deps`, with a hash of 16 digits after the name. `cargo run` never starts a binary from there.
pub fn cargo_test(path: &Path) -> Option<&str> {
    let directory = path.parent().and_then(Path::file_name);
    let (name, hash) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    let is_hash = hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash && directory.is_some_and(|name| name == "deps")).then_some(name)
}

/// Returns `words` with the harness's arguments translated; these follow the ELF of a test.
/// `program` knows which of esplice's flags take a value.
pub fn rewritten(words: Vec<OsString>, program: &clap::Command) -> Vec<OsString> {
    let is_run = words.get(1).is_some_and(|command| command == "run");
    let elf = words.iter().position(|word| cargo_test(Path::new(word)).is_some());
    let (true, Some(elf)) = (is_run, elf) else { return words };
    let (before, rest) = words.split_at((elf + 1).min(words.len()));
    let mut given = before.to_vec();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        let (flag, value) = match text.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => {
                (flag.to_owned(), Some(value.to_owned()))
            }
            _ => (text.clone().into_owned(), None),
        };
        let mut next = || value.clone().map(OsString::from).or_else(|| rest.next().cloned());
        match flag.as_str() {
            "--" => {}
            "--exact" => given.push("--test-exact".into()),
            "--list" => given.push("--test-list".into()),
            "--show-output" => given.push("--nocapture".into()),
            "--skip" => given.extend(next().map(|value| argument("--test-skip=", value))),
            // Of the harness's formats, esplice only has `json`, in its own form.
            "--format" => match next() {
                Some(value) if value == "json" => given.push("--format=json".into()),
                _ => {}
            },
            flag if SWITCHES.contains(&flag) => {}
            flag if VALUES.contains(&flag) => {
                next();
            }
            flag if flag.starts_with('-') => {
                given.push(word.clone());
                if value.is_none() && takes_value(program, flag) {
                    given.extend(rest.next().cloned());
                }
            }
            _ => given.push(argument("--test-filter=", word.clone())),
        }
    }
    given
}

fn argument(flag: &str, value: OsString) -> OsString {
    let mut argument = OsString::from(flag);
    argument.push(value);
    argument
}

/// Returns whether a flag of `esplice run` is followed by its value.
fn takes_value(program: &clap::Command, flag: &str) -> bool {
    let run = program.find_subcommand("run");
    let own = run.into_iter().flat_map(clap::Command::get_arguments);
    let mut all = own.chain(program.get_arguments());
    let is = |arg: &clap::Arg| match flag.strip_prefix("--") {
        Some(long) => {
            let aliases = arg.get_all_aliases().unwrap_or_default();
            arg.get_long() == Some(long) || aliases.contains(&long)
        }
        None => flag.len() == 2 && arg.get_short() == flag.chars().nth(1),
    };
    all.find(|arg| is(arg)).is_some_and(|arg| arg.get_action().takes_values())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_cargo_are_known_by_their_place() {
        let is = |path: &str| cargo_test(Path::new(path)).map(str::to_owned);
        let path = "target/riscv32imc-unknown-none-elf/release/deps/math-0123456789abcdef";
        assert_eq!(is(path).as_deref(), Some("math"));
        assert_eq!(is("/a/deps/board_tests-00000000aaaaaaaa").as_deref(), Some("board_tests"));
        for path in
            ["target/release/math", "deps/math", "release/math-0123456789abcdef", "deps/a-b"]
        {
            assert_eq!(is(path), None, "{path}");
        }
    }

    #[track_caller]
    fn check(words: &str, expected: &str) {
        use clap::CommandFactory as _;
        let split = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let program = crate::Cli::command();
        assert_eq!(rewritten(split(words), &program), split(expected), "{words}");
        assert_eq!(rewritten(split(expected), &program), split(expected), "{words}");
    }

    const ELF: &str = "t/deps/math-0123456789abcdef";

    #[test]
    fn the_harnesss_arguments_become_esplices() {
        let check = |rest: &str, expected: &str| {
            let expected = format!("esplice run {ELF} {expected}");
            check(&format!("esplice run {ELF} {rest}"), expected.trim_end());
        };
        check("adds", "--test-filter=adds");
        check("adds --exact mod::b", "--test-filter=adds --test-exact --test-filter=mod::b");
        check("--test-threads 1 --color=always --nocapture -q", "--nocapture -q");
        check("--test-threads=4 adds", "--test-filter=adds");
        check("--list --format terse", "--test-list");
        check("--format json", "--format=json");
        check("--skip slow --skip=net a", "--test-skip=slow --test-skip=net --test-filter=a");
        check("--ignored --include-ignored --show-output", "--nocapture");
        check("-Z unstable-options --report-time --shuffle-seed 3", "");
        // Esplice's own arguments stay.
        check(
            "--port sim:esp32c3 adds --timeout=5s",
            "--port sim:esp32c3 --test-filter=adds --timeout=5s",
        );
        check("--chip esp32c3 -F a --raw", "--chip esp32c3 -F a --raw");
    }

    #[test]
    fn other_commands_stay() {
        check("esplice run . adds", "esplice run . adds");
        check(
            "esplice flash t/deps/math-0123456789abcdef x",
            "esplice flash t/deps/math-0123456789abcdef x",
        );
        check("esplice", "esplice");
    }
}
