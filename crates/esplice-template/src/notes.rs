//! README, CI job and list of ignored files of a new project.

use crate::{Project, Template, render::is_xtensa};

/// Where esplice comes from.
const REPOSITORY: &str = "https://github.com/esplice/esplice";

/// Returns the port of the virtual board, in commands of the project's directory.
pub(crate) fn virtual_port(project: &Project<'_>) -> String {
    format!("sim:{}", project.target.name())
}

/// Returns the README.
pub(crate) fn readme(project: &Project<'_>) -> String {
    let (name, chip) = (&project.name, &project.target.chip().display_name);
    let on = match project.target.board() {
        Some(board) => format!("the {} ({chip})", board.display_name),
        None => format!("the {chip}"),
    };
    let mut text = format!("# {name}\n\nFirmware for {on}, made by `esplice new`.\n\n");
    let mut row = |does: &str, command: &str| text.push_str(&format!("| {does} | `{command}` |\n"));
    row("", "command");
    row("---", "---");
    let port = virtual_port(project);
    if project.template == Template::Tests {
        if project.has_virtual_board {
            row(
                "test on a virtual board",
                &format!("ESPLICE_PROJECT_PORT={port} cargo test --release"),
            );
        }
        row("test on a board", "cargo test --release");
    } else {
        row("build", "esplice build");
        if project.has_virtual_board {
            row("run on a virtual board", &format!("esplice run --port {port}"));
        }
        row("run on a board", "esplice run");
    }
    row("which ports have a board", "esplice ports");
    text.replace("|  | `command` |\n| --- | `---` |\n", "| | command |\n|-|---------|\n")
}

/// Returns the workflow for GitHub Actions.
pub(crate) fn ci(project: &Project<'_>) -> String {
    let mut steps = vec!["      - uses: actions/checkout@v4".to_owned()];
    let target = &project.target.chip().toolchain.rust_target;
    if project.template == Template::Go {
        steps.push("      - uses: acifani/setup-tinygo@v2".to_owned());
    } else if is_xtensa(project) {
        steps.push("      - uses: esp-rs/xtensa-toolchain@v1.6".to_owned());
    } else {
        steps.push(format!("      - run: rustup target add {target}"));
    }
    steps.push(format!("      - run: cargo +stable install --locked --git {REPOSITORY} esplice"));
    let port = virtual_port(project);
    match (project.has_virtual_board, project.template.prints()) {
        (true, Some(text)) => {
            steps.push(format!(
                "      - run: esplice run --port {port} --expect '{text}' --timeout 20s"
            ));
        }
        (true, None) => {
            steps.push("      - run: cargo test --release".to_owned());
            steps.push(format!("        env:\n          ESPLICE_PROJECT_PORT: {port}"));
        }
        (false, Some(_)) => steps.push("      - run: esplice build".to_owned()),
        (false, None) => steps.push("      - run: cargo test --release --no-run".to_owned()),
    }
    format!(
        "name: firmware\non: [push, pull_request]\n\njobs:\n  firmware:\n    runs-on: ubuntu-latest\n    \
         steps:\n{}\n",
        steps.join("\n")
    )
}

/// Returns the files that are not part of the source.
pub(crate) fn ignored(project: &Project<'_>) -> String {
    let built = format!("/{0}.bin\n/{0}.elf\n/{0}.merged.bin\n/{0}.plan.json\n", project.name);
    if project.template.is_rust() { format!("/target\n{built}") } else { built }
}
