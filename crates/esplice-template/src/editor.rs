//! Settings of Visual Studio Code.

use crate::{Project, ProjectFile, Template, notes::virtual_port};

/// Returns the files in `.vscode`.
pub(crate) fn editor_files(project: &Project<'_>) -> Vec<ProjectFile> {
    let mut files = vec![
        ProjectFile::new(".vscode/extensions.json", extensions(project)),
        ProjectFile::new(".vscode/tasks.json", tasks(project)),
    ];
    if project.template.is_rust() {
        files.push(ProjectFile::new(".vscode/settings.json", settings(project)));
    }
    files
}

fn extensions(project: &Project<'_>) -> String {
    let language =
        if project.template.is_rust() { "rust-lang.rust-analyzer" } else { "tinygo.vscode-tinygo" };
    format!("{{\n  \"recommendations\": [\n    \"{language}\"\n  ]\n}}\n")
}

fn settings(project: &Project<'_>) -> String {
    let target = &project.target.chip().toolchain.rust_target;
    // Rust's test harness does not exist without the standard library.
    format!(
        "{{\n  \"rust-analyzer.cargo.target\": \"{target}\",\n  \
         \"rust-analyzer.cargo.allTargets\": {}\n}}\n",
        project.template == Template::Tests
    )
}

/// Returns the tasks: label, command and more fields.
fn tasks(project: &Project<'_>) -> String {
    let port = virtual_port(project);
    let mut tasks = Vec::new();
    let mut add = |label: &str, command: &str, more: &str| {
        tasks.push(format!(
            "    {{\n      \"label\": \"{label}\",\n      \"type\": \"shell\",\n      \
             \"command\": \"{command}\",\n      \"problemMatcher\": []{more}\n    }}"
        ));
    };
    let group =
        |kind: &str| format!(",\n      \"group\": {{ \"kind\": \"{kind}\", \"isDefault\": true }}");
    if project.template == Template::Tests {
        add("build", "cargo test --release --no-run", &group("build"));
        add("test on a board", "cargo test --release", &group("test"));
        if project.has_virtual_board {
            let options = format!(
                ",\n      \"options\": {{ \"env\": {{ \"ESPLICE_PROJECT_PORT\": \"{port}\" }} }}"
            );
            add("test on a virtual board", "cargo test --release", &options);
        }
    } else {
        add("build", "esplice build", &group("build"));
        add("run on a board", "esplice run", "");
        if project.has_virtual_board {
            add("run on a virtual board", &format!("esplice run --port {port}"), "");
        }
    }
    format!("{{\n  \"version\": \"2.0.0\",\n  \"tasks\": [\n{}\n  ]\n}}\n", tasks.join(",\n"))
}
