//! Shell completion and manual pages know the same commands and flags as the help.

use std::{collections::BTreeSet, fs, path::Path};

use crate::support::{self, Said, finish};

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

fn esplice(words: &str) -> String {
    support::run(Path::new("."), words).check(0, &[]).out
}

/// A command of the help: its words after `esplice`, and its flags.
struct Listed {
    words: Vec<String>,
    flags: BTreeSet<String>,
}

/// Returns all commands that the help lists, including those below others.
fn listed() -> Vec<Listed> {
    let mut found = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(words) = open.pop() {
        let help = esplice(&format!("{} --help", words.join(" ")));
        if let Some((_, after)) = help.split_once("Commands:\n") {
            let lines = after.lines().take_while(|line| !line.is_empty());
            let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
            for name in names.filter(|name| !name.is_empty() && *name != "help") {
                open.push([words.clone(), vec![name.to_owned()]].concat());
            }
        }
        let flags = help.lines().filter_map(flag_of_help).collect();
        found.push(Listed { words, flags });
    }
    assert!(found.len() > 30, "{} commands", found.len());
    found
}

/// Returns the long flag that a line of the help describes.
fn flag_of_help(line: &str) -> Option<String> {
    let line = line.trim_start();
    let line = match line.split_once(", ") {
        Some((short, long)) if short.len() == 2 => long,
        _ => line,
    };
    let end = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    line.starts_with("--").then(|| line.split(end).next().unwrap_or_default().to_owned())
}

/// Returns the candidates for the last of `words`, as fish gets them, without descriptions.
fn candidates(words: &[&str]) -> BTreeSet<String> {
    let mut command = support::esplice(Path::new("."));
    let command = command.env("ESPLICE_COMPLETE", "fish").args(["--", "esplice"]).args(words);
    let said = finish(command).check(0, &[]);
    let values = said.out.lines().filter_map(|line| line.split('\t').next());
    values.map(str::to_owned).collect()
}

#[test]
fn every_command_and_flag_is_completed() {
    for Listed { words, flags } in listed() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let found = candidates(&[&words[..], &["--"]].concat());
        assert!(flags.is_subset(&found), "{words:?}: {:?}", flags.difference(&found));
        if let Some((name, above)) = words.split_last() {
            let found = candidates(&[above, &[name]].concat());
            assert!(found.contains(*name), "{words:?}: {found:?}");
        }
    }
}

#[test]
fn values_come_from_the_chips_and_ports_that_there_are() {
    let found = candidates(&["build", "--target", ""]);
    assert!(found.contains("esp32c3") && found.contains("xiao-esp32c3"), "{found:?}");
    let found = candidates(&["sim", "--chip", "xiao-esp32c"]);
    assert!(!found.is_empty() && found.iter().all(|name| name.starts_with("xiao-esp32c")));
    for command in ["run", "flash", "monitor", "detect"] {
        let found = candidates(&[command, "--port", "sim:"]);
        assert!(found.contains("sim:esp32c3"), "{command}: {found:?}");
    }
    let found = candidates(&["build", "--boot", ""]);
    assert_eq!(found, ["direct", "idf", "rom"].map(str::to_owned).into());
    // Chips only: `esplice chips` refuses a board.
    assert!(!candidates(&["chips", ""]).contains("xiao-esp32c3"));
}

#[test]
fn files_are_completed_where_a_path_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("firmware.elf"), "").unwrap();
    let mut command = support::esplice(directory.path());
    command.env("ESPLICE_COMPLETE", "fish").args(["--", "esplice", "build", "--elf", "firm"]);
    assert_eq!(finish(&mut command).check(0, &[]).out.trim_end(), "firmware.elf");
}

#[test]
fn words_of_a_script_are_answered_and_nothing_else() {
    let with = |shell: &str, words: &[&str]| -> Said {
        let mut command = support::esplice(Path::new("."));
        finish(command.env("ESPLICE_COMPLETE", shell).args(words))
    };
    with("tcsh", &["--", "esplice", "b"]).check(2, &["tcsh", "bash, elvish, fish"]);
    // A variable that was exported by mistake does not change what commands do.
    let said = with("bash", &["chips", "esp32c3"]).check(0, &[]);
    assert!(said.out.starts_with("chip        ESP32-C3"), "{said:#?}");
}

#[test]
fn each_shell_has_its_script() {
    for shell in SHELLS {
        let script = esplice(&format!("completions {shell}"));
        assert!(script.contains("ESPLICE_COMPLETE") && script.contains("esplice"), "{script}");
        let said = support::run(Path::new("."), &format!("completions {shell} --format json"));
        assert_eq!(support::result(&said)["value"]["script"], script);
    }
}

/// Runs bash with the script, and asks for completions in the way that its readline does.
#[cfg(unix)]
#[test]
fn bash_completes_with_the_script() {
    let script = esplice("completions bash");
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("esplice.bash"), script).unwrap();
    let bash = |words: &[&str]| {
        let program = assert_cmd::cargo::cargo_bin!("esplice");
        let path = std::env::var("PATH").unwrap();
        let mut command = assert_cmd::Command::new("bash");
        command.current_dir(directory.path()).args(words);
        command.env("PATH", format!("{}:{path}", program.parent().unwrap().display()));
        finish(&mut command).check(0, &[])
    };
    bash(&["-n", "esplice.bash"]);
    let line = "source ./esplice.bash; COMP_WORDS=(esplice layout e); COMP_CWORD=2; COMP_TYPE=9; \
                _clap_complete_esplice esplice e layout; printf '%s' \"${COMPREPLY[*]}\"";
    assert_eq!(bash(&["-c", line]).out, "emit");
    let line = line.replace("layout e", "build --target esp32c6").replace("CWORD=2", "CWORD=3");
    let line = line.replace("esplice e layout", "esplice esp32c6 --target");
    assert_eq!(bash(&["-c", &line]).out, "esp32c6 esp32c61");
}

/// Writes the pages of all commands.
fn manual() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let said = support::run(directory.path(), "man pages").check(0, &[]);
    let written = support::files(&directory.path().join("pages"));
    assert_eq!(said.out.lines().count(), written.len(), "{said:#?}");
    directory
}

#[test]
fn each_command_has_a_page_with_its_flags() {
    let directory = manual();
    let pages = directory.path().join("pages");
    let listed = listed();
    assert_eq!(support::files(&pages).len(), listed.len());
    for Listed { words, flags } in listed {
        let name = [vec!["esplice".to_owned()], words].concat().join("-");
        let page = fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        let plain = page.replace("\\-", "-");
        let words: BTreeSet<&str> =
            plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
        // `\fB` switches to bold.
        let has = |flag: &str| words.contains(flag) || words.contains(&*format!("fB{flag}"));
        flags.iter().for_each(|flag| assert!(has(flag), "{name} has no {flag}"));
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS"] {
            let quoted = format!("\n.SH \"{section}\"\n");
            let heading = page.contains(&format!("\n.SH {section}\n")) || page.contains(&quoted);
            assert!(heading, "{name} has no {section}");
        }
        let roff = |line: &str| {
            ["TH", "SH", "TP", "RS", "RE", "IP", "PP", "br", "ie", "el", "ds"]
                .iter()
                .any(|control| line.get(1..).is_some_and(|rest| rest.starts_with(control)))
        };
        let controls = page.lines().filter(|line| line.starts_with(['.', '\'']));
        controls.for_each(|line| assert!(roff(line), "{name}: {line}"));
    }
    let main = esplice("man");
    assert_eq!(main, fs::read_to_string(pages.join("esplice.1")).unwrap());
    assert!(main.contains("the firmware panicked"), "{main}");
}

/// groff warns about unknown macros and escapes.
#[cfg(target_os = "linux")]
#[test]
fn groff_has_nothing_to_say_about_the_pages() {
    let directory = manual();
    let pages = directory.path().join("pages");
    for page in support::files(&pages) {
        let mut groff = assert_cmd::Command::new("groff");
        groff.current_dir(&pages).args(["-man", "-Tutf8", "-ww", &page]);
        let said = finish(&mut groff);
        assert!(said.exit == 0 && said.err.is_empty(), "{page}: {said:#?}");
    }
}
