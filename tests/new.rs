//! Tests `esplice new`: projects from templates are built and run on the virtual board.

use std::{fs, path::Path};

use crate::support::{self, Said, files, finish, repository, result, run};

/// Adds the versions of an example's dependencies, so that the project is built from those that are
/// there.
fn lock(project: &Path, example: &str) {
    let name = project.file_name().unwrap().to_str().unwrap();
    let lock = fs::read_to_string(repository().join("examples").join(example).join("Cargo.lock"));
    let old = format!("name = \"{example}\"\n");
    fs::write(
        project.join("Cargo.lock"),
        lock.unwrap().replace(&old, &format!("name = \"{name}\"\n")),
    )
    .unwrap();
}

fn at_work(project: &Path, words: &str) -> Said {
    let mut command = support::esplice(project);
    command.env("CARGO_TARGET_DIR", support::toolchain::firmware_target());
    finish(command.args(words.split(' ')))
}

#[test]
fn hello_runs_on_the_virtual_board() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let said = run(at, "new blink --target esp32c3 --template hello").check(0, &[]);
    assert!(said.out.starts_with("blink: 11 files for esp32c3\n"), "{said:#?}");
    let command = said.out.lines().last().unwrap().trim().strip_prefix("esplice ").unwrap();
    assert_eq!(command, "run --port sim:esp32c3");
    let project = at.join("blink");
    lock(&project, "hello-rust");
    // The command of CI.
    let ci = fs::read_to_string(project.join(".github/workflows/ci.yml")).unwrap();
    let step = "run: esplice run --port sim:esp32c3 --expect 'Hello, World!' --timeout 20s";
    assert!(ci.contains(step), "{ci}");
    let said = at_work(&project, &format!("{command} --expect World! --timeout 20s --offline"));
    assert_eq!(said.exit, 0, "{said:#?}");
    assert!(said.out.contains("Hello, World!"), "{said:#?}");
}

#[test]
fn async_tasks_run_on_the_virtual_board() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    run(at, "new tasks --target esp32c3 --template async --vcs none").check(0, &[]);
    let project = at.join("tasks");
    lock(&project, "async-rust");
    let said = at_work(
        &project,
        "run --port sim:esp32c3 --expect /[12]9\\srounds/ --timeout 20s --offline",
    );
    assert_eq!(said.exit, 0, "{said:#?}");
}

#[test]
fn arenas_run_on_the_virtual_board() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    run(at, "new places --target esp32c3 --template arenas --vcs none").check(0, &[]);
    let project = at.join("places");
    lock(&project, "arenas-rust");
    // The crate of this version instead of the published one.
    let manifest = fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let crates = repository().join("crates/esplice-build");
    let patch = format!("\n[patch.crates-io]\nesplice-build.path = {crates:?}\n");
    fs::write(project.join("Cargo.toml"), manifest + &patch).unwrap();
    let said =
        at_work(&project, "run --port sim:esp32c3 --expect /should\\sbe/ --timeout 20s --offline");
    assert_eq!(said.exit, 0, "{said:#?}");
}

/// The chip's own USB is the console of this board.
#[test]
fn a_board_with_usb_prints_there() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    run(at, "new usb --target xiao-esp32c3 --vcs none").check(0, &[]);
    let project = at.join("usb");
    lock(&project, "hello-rust");
    let said =
        at_work(&project, "run --port sim:xiao-esp32c3 --expect World! --timeout 20s --offline");
    assert_eq!(said.exit, 0, "{said:#?}");
}

#[test]
fn files_and_their_events() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let said =
        run(at, "new deep/er/app --chip esp32c6 --template tests --format json").check(0, &[]);
    let value = &result(&said)["value"];
    assert_eq!((&value["name"], &value["template"]), (&"app".into(), &"tests".into()));
    let project = at.join("deep/er/app");
    for file in value["files"].as_array().unwrap() {
        assert!(project.join(file.as_str().unwrap()).is_file(), "{file}");
    }
    assert_eq!(value["git"], project.join(".git").is_dir());
    assert_eq!(files(&at.join("deep/er")), ["app"]);
    // Inside a repository no other is made, unless it is asked for.
    fs::create_dir(at.join(".git")).unwrap();
    let said = run(at, "new inner --chip esp32c6 --format json").check(0, &[]);
    assert_eq!(result(&said)["value"]["git"], false);
    // An empty directory is used.
    fs::create_dir(at.join("empty")).unwrap();
    run(at, "new empty --chip esp32c3 --template go --vcs none").check(0, &[]);
    assert!(at.join("empty/main.go").is_file());
}

#[test]
fn mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    run(at, "new app").check(2, &["no chip or board was given", "hint: pass --target"]);
    run(at, "new app --target esp32c33").check(2, &["unknown chip or board", "did you mean"]);
    run(at, "new app --target esp32c3 --template helo")
        .check(2, &["unknown template \"helo\"", "did you mean \"hello\"?"]);
    run(at, "new 1app --target esp32c3").check(2, &["\"1app\" is no name for a project"]);
    run(at, "new .. --target esp32c3").check(2, &["has no name for a project"]);
    run(at, "new app --target esp32c2 --template go").check(2, &["is not for the ESP32-C2"]);
    assert_eq!(files(at), [""; 0]);
    fs::create_dir(at.join("full")).unwrap();
    fs::write(at.join("full/main.rs"), "").unwrap();
    run(at, "new full --target esp32c3").check(2, &["full exists and is not an empty directory"]);
    fs::write(at.join("file"), "").unwrap();
    run(at, "new file --target esp32c3").check(2, &["file exists and is not an empty directory"]);
}

/// Every command of esplice in a project's files exists.
#[test]
fn commands_in_the_files_exist() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let help = run(at, "--help").check(0, &[]).out;
    for template in ["hello", "tests", "go"] {
        run(at, &format!("new {template} --target esp32c3 --template {template}")).check(0, &[]);
        let project = at.join(template);
        for file in ["README.md", ".vscode/tasks.json", ".github/workflows/ci.yml"] {
            let text = fs::read_to_string(project.join(file)).unwrap();
            for (_, rest) in text.match_indices("esplice ").map(|(at, _)| text.split_at(at + 8)) {
                let word: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
                // `cargo install … esplice`.
                if word == "esplice" || word.is_empty() {
                    continue;
                }
                assert!(help.contains(&format!("\n  {word} ")), "{file} of {template}: {word}");
            }
        }
    }
}
