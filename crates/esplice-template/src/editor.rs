//! Settings of Visual Studio Code: tasks, and a debugger that talks to `esplice gdb`.

use crate::{Project, ProjectFile, Template, notes::virtual_port};

/// Port of the debugger's server, the default of `esplice gdb`.
const GDB_PORT: u16 = 3333;

/// Returns the files in `.vscode`.
pub(crate) fn editor_files(project: &Project<'_>) -> Vec<ProjectFile> {
    let mut files = vec![
        ProjectFile::new(".vscode/extensions.json", extensions(project)),
        ProjectFile::new(".vscode/tasks.json", tasks(project)),
    ];
    if project.template.is_rust() {
        files.push(ProjectFile::new(".vscode/settings.json", settings(project)));
    }
    if project.has_virtual_board && project.template != Template::Tests {
        files.push(ProjectFile::new(".vscode/launch.json", launch(project)));
    }
    files
}

fn extensions(project: &Project<'_>) -> String {
    let language =
        if project.template.is_rust() { "rust-lang.rust-analyzer" } else { "tinygo.vscode-tinygo" };
    format!(
        "{{\n  \"recommendations\": [\n    \"{language}\",\n    \"ms-vscode.cpptools\"\n  ]\n}}\n"
    )
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
            let background = ",\n      \"isBackground\": true";
            let command = format!("esplice gdb --port {port} --gdb-port {GDB_PORT}");
            add("debug on a virtual board", &command, background);
        }
    }
    format!("{{\n  \"version\": \"2.0.0\",\n  \"tasks\": [\n{}\n  ]\n}}\n", tasks.join(",\n"))
}

/// Returns the debugger's settings. It connects to the server that the task starts.
fn launch(project: &Project<'_>) -> String {
    let toolchain = &project.target.chip().toolchain;
    let compiler = &toolchain.c_compiler;
    let debugger = compiler.strip_suffix("gcc").map_or("gdb".into(), |head| format!("{head}gdb"));
    let name = &project.name;
    let program = if project.template.is_rust() {
        format!("${{workspaceFolder}}/target/{}/release/{name}", toolchain.rust_target)
    } else {
        format!("${{workspaceFolder}}/{name}.elf")
    };
    format!(
        "{{\n  \"version\": \"0.2.0\",\n  \"configurations\": [\n    {{\n      \
         \"name\": \"Debug (start the task `debug on a virtual board` first)\",\n      \
         \"type\": \"cppdbg\",\n      \"request\": \"launch\",\n      \"MIMode\": \"gdb\",\n      \
         \"miDebuggerPath\": \"{debugger}\",\n      \
         \"miDebuggerServerAddress\": \"localhost:{GDB_PORT}\",\n      \
         \"program\": \"{program}\",\n      \"cwd\": \"${{workspaceFolder}}\"\n    }}\n  ]\n}}\n"
    )
}
