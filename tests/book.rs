//! Runs the commands that README and the guide show, as a reader would, on the virtual board. The
//! exit code and the lines shown on the page must match.
//!
//! A code block is an example of commands if it is indented and starts with a program's name, or if
//! it is fenced and has lines that start with `$ `; the lines after such a line are its output. The
//! commands of a page run in one directory, in order. A comment before a block describes special
//! conditions, separated by `;`:
//!
//! | comment | meaning |
//! |---|---|
//! | `<!-- run: not REASON -->` | the block cannot run here |
//! | `<!-- run: exit CODE -->` | the command ends with this code instead of 0 |
//! | `<!-- run: in PATH -->` | the command runs in this directory |
//! | `<!-- run: project TEXT -->` | the command runs in a new project whose firmware prints this |
//! | `<!-- run: file NAME -->` | the block is the content of this file |
//! | `<!-- run: replace NAME A B -->` | A is replaced by B in this file first |

#![allow(clippy::disallowed_methods, reason = "the host's time, for processes that hang")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{bare, elf, repository, toolchain::firmware_target};

/// Longer than any command of the book takes, including compiling firmware on a busy machine.
const LIMIT: Duration = Duration::from_secs(900);

/// Programs that an indented example starts with.
const PROGRAMS: &[&str] =
    &["cargo", "espflash", "esplice", "esptool", "mdbook", "printf", "rustup", "scripts/", "sudo"];

/// A block of a page.
#[derive(Debug, Default)]
struct Block {
    line: usize,
    marks: Vec<String>,
    text: Vec<String>,
}

impl Block {
    fn mark(&self, name: &str) -> Option<&str> {
        self.marks.iter().find_map(|mark| mark.strip_prefix(name)?.strip_prefix(' '))
    }

    /// Returns the commands, each with its output lines; empty if the block is not an example.
    fn commands(&self) -> Vec<(String, Vec<String>)> {
        let session = self.text.iter().any(|line| line.starts_with("$ "));
        let first = self.text.first().map(String::as_str).unwrap_or_default();
        let is_indented = self.text.iter().all(|line| !line.starts_with("```"));
        let is_list = is_indented && PROGRAMS.iter().any(|program| first.starts_with(program));
        if !session && !is_list {
            return Vec::new();
        }
        let mut commands: Vec<(String, Vec<String>)> = Vec::new();
        let mut goes_on = false;
        for line in self.text.iter().filter(|line| !line.starts_with("```")) {
            let command = if session { line.strip_prefix("$ ") } else { Some(line.as_str()) };
            let whole = command.unwrap_or(line).trim_end_matches('\\');
            match (commands.last_mut(), command) {
                (Some((last, _)), _) if goes_on => last.push_str(whole.trim_start()),
                (_, Some(_)) => commands.push((whole.to_owned(), Vec::new())),
                (Some((_, lines)), None) => lines.push(line.clone()),
                (None, None) => {}
            }
            goes_on = line.ends_with('\\');
        }
        commands.retain(|(command, _)| !command.trim().is_empty());
        commands
    }
}

/// Returns the code blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut marks = Vec::new();
    let mut fence: Option<usize> = None;
    let mut open: Option<Block> = None;
    for (at, line) in page.lines().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(mark) = line.strip_prefix("<!-- run: ") {
            let words = mark.strip_suffix(" -->").unwrap_or_else(|| panic!("line {}", at + 1));
            marks = words.split("; ").map(str::to_owned).collect();
            continue;
        }
        let starts = || Block { line: at + 1, ..Block::default() };
        if let Some(depth) = fence {
            let block = open.get_or_insert_with(starts);
            block.text.push(line.get(depth.min(indent)..).unwrap_or_default().to_owned());
            if trimmed.starts_with("```") {
                fence = None;
                blocks.extend(open.take());
            }
            continue;
        }
        if trimmed.starts_with("```") {
            fence = Some(indent);
            blocks.extend(open.take());
            let text = vec![trimmed.to_owned()];
            open = Some(Block { marks: std::mem::take(&mut marks), text, ..starts() });
        } else if indent >= 4 {
            let new = || Block { marks: std::mem::take(&mut marks), ..starts() };
            open.get_or_insert_with(new).text.push(line[4..].to_owned());
        } else if trimmed.is_empty() {
            // An indented block may contain blank lines.
            open.iter_mut().for_each(|block| block.text.push(String::new()));
        } else {
            blocks.extend(open.take());
        }
    }
    blocks.extend(open);
    for block in &mut blocks {
        while block.text.last().is_some_and(String::is_empty) {
            block.text.pop();
        }
    }
    assert!(marks.is_empty(), "a mark without a block: {marks:?}");
    blocks
}

/// Removes times from a line, because they differ between runs.
fn timeless(line: &str) -> String {
    let word = |word: &str| {
        let number = word.strip_suffix('s').filter(|number| number.parse::<f64>().is_ok());
        number.map_or_else(|| word.to_owned(), |_| "(time)".to_owned())
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

struct Ran {
    code: i32,
    said: String,
}

/// Runs a line in the shell, and ends it after [`LIMIT`].
fn run(line: &str, directory: &Path) -> Ran {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(directory);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        if text.starts_with("ESPLICE") || text.starts_with("CARGO_") && text != "CARGO_HOME" {
            shell.env_remove(name);
        }
    }
    let program = PathBuf::from(assert_cmd::cargo::cargo_bin!("esplice"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        program.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
    shell
        .env("PATH", std::env::join_paths(folders).unwrap())
        .env("CARGO_TARGET_DIR", firmware_target())
        .env("CARGO_TERM_PROGRESS_WHEN", "never")
        .env("NO_COLOR", "1")
        .env_remove("RUSTUP_TOOLCHAIN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    let child = shell.spawn().unwrap();
    let group = child.id();
    let waits = thread::spawn(move || child.wait_with_output().unwrap());
    let started = Instant::now();
    while !waits.is_finished() {
        if started.elapsed() > LIMIT {
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status();
            panic!("{line} did not end within {} s", LIMIT.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = waits.join().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Ran {
        code: output.status.code().unwrap_or(-1),
        said: String::from_utf8_lossy(&said).replace('\r', ""),
    }
}

/// Makes a directory that looks like the repository to commands, with some firmware of other
/// compilers.
fn scratch() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    #[cfg(unix)]
    std::os::unix::fs::symlink(repository().join("examples"), at("examples")).unwrap();
    fs::write(at("app.elf"), elf::hello("Hello, World!\r\n").to_bytes()).unwrap();
    directory
}

/// Runs the examples of a page. Returns the number of commands run, and the reasons of those
/// skipped.
fn check(name: &str) -> (usize, Vec<String>) {
    let page = fs::read_to_string(repository().join(name)).unwrap();
    let directory = scratch();
    let (mut ran, mut reasons) = (0, Vec::new());
    for (number, block) in blocks(&page).into_iter().enumerate() {
        let place = format!("{name}:{}", block.line);
        if let Some(file) = block.mark("file") {
            let content = &block.text[1..block.text.len() - 1];
            fs::write(directory.path().join(file), content.join("\n") + "\n").unwrap();
            continue;
        }
        let commands = block.commands();
        if let Some(reason) = block.mark("not") {
            assert!(!commands.is_empty(), "{place}: no command would run here");
            assert!(reason.len() > 5, "{place}: why can it not run?");
            reasons.push(format!("{place}: {reason}"));
            continue;
        }
        assert!(block.marks.is_empty() || !commands.is_empty(), "{place}: marks without a command");
        let mut place_to_run = directory.path().join(block.mark("in").unwrap_or_default());
        if let Some(text) = block.mark("project") {
            place_to_run = directory.path().join(format!("project-{number}"));
            bare::package(&place_to_run, "book-firmware", text, "[workspace]\n");
            let chip = "[project]\ntarget = \"esp32c3\"\n";
            fs::write(place_to_run.join("esplice.toml"), chip).unwrap();
        }
        if let Some(words) = block.mark("replace") {
            let [file, from, to] = words.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{place}: replace NAME A B");
            };
            let path = directory.path().join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{place}: {file} has no {from}");
            fs::write(path, text.replace(from, to)).unwrap();
        }
        let code = block.mark("exit").map_or(0, |code| code.parse().unwrap());
        for (command, shown) in commands {
            let said = run(&command, &place_to_run);
            assert_eq!(said.code, code, "{place}: {command}\n{}", said.said);
            let lines: Vec<String> = said.said.lines().map(timeless).collect();
            let mut rest = lines.iter();
            for line in shown.iter().map(|line| timeless(line)).filter(|line| !line.is_empty()) {
                let there = rest.any(|other| *other == line);
                assert!(
                    there,
                    "{place}: {command}\ndoes not print, or not in this order: {line}\n{}",
                    said.said
                );
            }
            ran += 1;
        }
    }
    (ran, reasons)
}

/// Returns README, the introduction, and each page of the guide.
fn pages() -> Vec<String> {
    let guide = repository().join("docs/src/guide");
    let entries = fs::read_dir(guide).unwrap().map(|entry| entry.unwrap().file_name());
    let mut pages: Vec<String> =
        entries.map(|name| format!("docs/src/guide/{}", name.to_string_lossy())).collect();
    pages.extend(["README.md".to_owned(), "docs/src/introduction.md".to_owned()]);
    pages.sort();
    pages
}

#[test]
fn the_commands_of_the_book_do_what_it_says() {
    let mut ran = BTreeMap::new();
    let mut reasons = Vec::new();
    // While writing a page: `BOOK_PAGE=guide/nvs` runs only the pages with this in their path.
    let only = std::env::var("BOOK_PAGE").unwrap_or_default();
    for page in pages().into_iter().filter(|page| page.contains(&only)) {
        let (count, not) = check(&page);
        ran.insert(page, count);
        reasons.extend(not);
    }
    let total: usize = ran.values().sum();
    println!("{total} commands ran: {ran:#?}\nnot run:\n{}", reasons.join("\n"));
    assert!(total >= 12 || !only.is_empty(), "{ran:#?}");
}

#[test]
fn blocks_and_commands_are_told_from_text() {
    let page = "Text\n\n    esplice a \\\n        b\n\n    esplice c\n\nMore\n\n<!-- run: exit 6; in x -->\n```text\n\
                $ esplice d\nerror: no\n$ esplice e\n```\n\n    a table of ours\n\n  ```toml\n  a = 1\n  ```\n";
    let blocks = blocks(page);
    let commands: Vec<Vec<(String, Vec<String>)>> = blocks.iter().map(Block::commands).collect();
    let plain = |words: &str| (words.to_owned(), Vec::new());
    assert_eq!(commands[0], [plain("esplice a b"), plain("esplice c")]);
    assert_eq!(commands[1], [("esplice d".into(), vec!["error: no".into()]), plain("esplice e")]);
    assert_eq!((blocks[1].mark("exit"), blocks[1].mark("in")), (Some("6"), Some("x")));
    assert!(commands[2].is_empty() && commands[3].is_empty());
    assert_eq!(blocks[3].text[1], "a = 1");
    assert_eq!(timeless("ok; finished in 0.01s"), timeless("ok;  finished in 12.5s"));
}
