//! Compares the documentation with the program's own output, and checks simple rules for all files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use esplice_chip::ChipDb;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    let path = root().join("docs/src").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn esplice(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_esplice"))
        .args(args)
        .env_remove("ESPLICE_PROJECT_TARGET")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the cells of a page's table rows, without headings.
fn rows(page: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let lines: Vec<&str> = page.lines().collect();
    let heading = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|--"));
    let row = |at: usize| lines[at].starts_with('|') && !lines[at].starts_with("|--");
    (0..lines.len()).filter(|at| row(*at) && !heading(*at)).map(|at| cells(lines[at])).collect()
}

/// Returns the command names listed in the help.
fn commands() -> Vec<String> {
    let help = esplice(&["--help"]);
    let (_, after) = help.split_once("Commands:\n").unwrap();
    after
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn exit_codes_are_those_of_the_program() {
    let help = esplice(&["--help"]);
    let (_, table) = help.split_once("Exit codes:\n").unwrap();
    let told: Vec<Vec<String>> = table
        .lines()
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(code, meaning)| vec![code.to_owned(), meaning.to_owned()])
        .collect();
    assert!(told.len() > 10, "{table}");
    assert_eq!(rows(&page("reference/exit-codes.md")), told);
}

/// The page's table of settings is written from the program's: `ESPLICE_BLESS=1` writes it again.
#[test]
fn settings_are_those_of_the_program() {
    // `config` answers with one event, followed by the summary.
    let answer = esplice(&["config", "--format", "json"]);
    let event: Value = serde_json::from_str(answer.lines().next().unwrap()).unwrap();
    let settings = find_array(&event).expect("a list of settings");
    assert!(settings.len() > 10, "{answer}");
    let mut table = String::from(
        "| key | flag | variables | kind | default | meaning |\n\
         |-----|------|-----------|------|---------|---------|\n",
    );
    for setting in settings {
        let text = |key: &str| setting[key].as_str().unwrap_or("–").to_owned();
        let variables = setting["variables"].as_array().unwrap().iter();
        let variables: Vec<_> = variables.map(|v| format!("`{}`", v.as_str().unwrap())).collect();
        table.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} |\n",
            text("key"),
            setting["flag"].as_str().map_or("–".into(), |flag| format!("`{flag}`")),
            variables.join(", "),
            text("kind"),
            text("default"),
            text("meaning")
        ));
    }
    let text = page("reference/settings.md");
    let (before, rest) = text.split_once("<!-- table of settings -->\n").expect("a mark");
    let (_, after) = rest.split_once("<!-- end of the table -->\n").expect("an end mark");
    let expected =
        format!("{before}<!-- table of settings -->\n{table}<!-- end of the table -->\n{after}");
    if std::env::var_os("ESPLICE_BLESS").is_some() {
        fs::write(root().join("docs/src/reference/settings.md"), &expected).unwrap();
    } else {
        assert!(text == expected, "run this test with ESPLICE_BLESS=1, and look at the difference");
    }
}

/// The README of a library crate is its documentation: `ESPLICE_BLESS=1` writes it again.
#[test]
fn the_readmes_of_crates_are_their_documentation() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let directory = entry.unwrap().path();
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        // The program's README is the repository's.
        if name == "esplice" {
            continue;
        }
        let source = fs::read_to_string(directory.join("src/lib.rs")).unwrap();
        let readme = directory.join("README.md");
        let expected = readme_of(&name, &source);
        if std::env::var_os("ESPLICE_BLESS").is_some() {
            fs::write(&readme, &expected).unwrap();
        }
        let text = fs::read_to_string(&readme).unwrap_or_default();
        assert!(text == expected, "{name}: run this test with ESPLICE_BLESS=1");
        count += 1;
    }
    assert!(count > 8);
}

/// Returns a README with the crate documentation in `source`, without rustdoc's links.
fn readme_of(name: &str, source: &str) -> String {
    let mut text = format!("# {name}\n\n");
    let mut in_code = false;
    let docs = source.lines().take_while(|line| line.starts_with("//!"));
    for line in docs.map(|line| line.trim_start_matches("//!").strip_prefix(' ').unwrap_or("")) {
        if let Some(language) = line.strip_prefix("```") {
            in_code = !in_code;
            let is_rust = in_code && matches!(language, "" | "no_run" | "ignore");
            text.push_str(if is_rust { "```rust" } else { line });
        } else if in_code {
            if line == "#" || line.starts_with("# ") {
                continue;
            }
            text.push_str(line);
        } else {
            // A crate's headings are one level below its name.
            text.push_str(if line.starts_with("# ") { "#" } else { "" });
            text.push_str(&without_links(line));
        }
        text.push('\n');
    }
    text + "\nPart of esplice, which takes ESP32 firmware from source to a running, verified board. \
        MIT OR Apache-2.0.\n"
}

/// Returns a line with rustdoc's links to items replaced by the items' names.
fn without_links(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("[`") {
        text.push_str(before);
        let Some((name, after)) = after.split_once("`]") else {
            text.push_str("[`");
            rest = after;
            continue;
        };
        text.push_str(&format!("`{name}`"));
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    text + rest
}

/// The page's figures of the virtual board's flash chip equal the chip's data.
#[test]
fn the_flash_chips_times_are_those_it_runs_with() {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let flash = &chip.sim.as_ref().unwrap().flash;
    let us = |us: u32| if us < 1000 { format!("{us} µs") } else { format!("{} ms", us / 1000) };
    let expected = [
        ("erase of 4 KiB", us(flash.erase_4k_us)),
        ("erase of 32 KiB", us(flash.erase_32k_us)),
        ("erase of 64 KiB", us(flash.erase_64k_us)),
        ("erase of the chip", format!("{} s", f64::from(flash.erase_chip_ms) / 1e3)),
        ("program, first byte", format!("{} µs", f64::from(flash.program_first_byte_ns) / 1e3)),
        (
            "program, each further byte",
            format!("{} µs", f64::from(flash.program_next_byte_ns) / 1e3),
        ),
    ];
    let rows = rows(&page("virtual-board.md"));
    for (what, figure) in expected {
        let row = rows.iter().find(|row| row[0] == what).unwrap_or_else(|| panic!("{what}"));
        assert_eq!(row[1], figure, "{what}");
    }
}

fn find_array(value: &Value) -> Option<&Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        Value::Object(fields) => fields.values().find_map(find_array),
        _ => None,
    }
}

/// Each command has a heading in the reference, and its flags are listed there or in the linked
/// groups of shared flags.
#[test]
fn commands_and_flags_are_those_of_the_program() {
    let reference = page("reference/commands.md");
    let (own, shared) = reference.split_once("\n## Shared flags\n").unwrap();
    let sections: Vec<&str> = own.split("\n## ").skip(1).collect();
    let written: BTreeSet<&str> = sections
        .iter()
        .filter_map(|section| section.strip_prefix("esplice ")?.split_whitespace().next())
        .collect();
    let commands = commands();
    assert_eq!(written, commands.iter().map(String::as_str).collect::<BTreeSet<_>>());

    for section in sections {
        // Lower-case words are commands; the rest are arguments.
        let words = section.lines().next().unwrap().split(' ').skip(1);
        let mut args: Vec<&str> =
            words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect();
        let command = args.join(" ");
        args.push("--help");
        let help = esplice(&args);
        let mut text = section.to_owned();
        for group in shared.split("\n### ").skip(1) {
            let name = group.lines().next().unwrap().to_lowercase();
            if section.contains(&format!("(#{name})")) {
                text.push_str(group);
            }
        }
        // Every command has these flags.
        let common = |flag: &String| {
            ["--help", "--format", "--quiet", "--verbose", "--log-file"].contains(&flag.as_str())
        };
        let has: BTreeSet<String> = flags(&help).into_iter().filter(|f| !common(f)).collect();
        let told: BTreeSet<String> = flags(&text).into_iter().filter(|f| !common(f)).collect();
        assert_eq!(told, has, "of {command}");
    }
}

/// Returns the long flags in `text`.
fn flags(text: &str) -> BTreeSet<String> {
    let name = |word: &str| {
        let end = word.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(word.len());
        format!("--{}", &word[..end])
    };
    text.split([' ', '`', '\n', '[', '('])
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(name)
        .collect()
}

#[test]
fn all_pages_are_in_the_summary_and_all_links_lead_somewhere() {
    let src = root().join("docs/src");
    let mut pages = BTreeSet::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.insert(path);
            }
        }
    }
    let summary = src.join("SUMMARY.md");
    let listed = links(&summary);
    for page in &pages {
        assert!(*page == summary || listed.contains(page), "{} is not listed", page.display());
        for link in links(page) {
            assert!(link.exists(), "{} links to {}", page.display(), link.display());
        }
    }
    for link in links(&root().join("README.md")) {
        assert!(link.exists(), "README.md links to {}", link.display());
    }
}

/// Returns the files that a page links to.
fn links(page: &Path) -> BTreeSet<PathBuf> {
    let text = fs::read_to_string(page).unwrap();
    let folder = page.parent().unwrap();
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link.split('#').next().unwrap())
        .filter(|link| !link.is_empty() && !link.contains("://"))
        .map(|link| folder.join(link))
        .collect()
}

/// No file contains a registry's host name or a path of the machine on which it was written.
#[test]
fn no_file_names_hosts_of_registries_or_paths_of_a_machine() {
    // Assembled here, so that this file does not contain them.
    let forbidden: Vec<String> = [
        ("crates", ".io"),
        ("pypi", ".org"),
        ("pythonhosted", ".org"),
        ("/work", "/"),
        ("/root", "/"),
    ]
    .iter()
    .map(|(a, b)| format!("{a}{b}"))
    .collect();
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    // A source archive has no list of files; its origin was checked.
    let Some(output) = output.ok().filter(|output| output.status.success()) else { return };
    let files = String::from_utf8(output.stdout).unwrap();
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        // Lock files are written by cargo, and name the registry.
        if file.ends_with("Cargo.lock") {
            continue;
        }
        let Ok(bytes) = fs::read(root().join(file)) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for (line, words) in text.lines().enumerate() {
            let found = forbidden.iter().find(|word| words.contains(word.as_str()));
            assert_eq!(found, None, "{file}:{}", line + 1);
        }
    }
}
