use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use esplice_chip::{ChipDb, Target};
use esplice_sim::spec::needs_rom;
use esplice_template::{Project, ProjectFile, Template, TemplateError, render};
use serde_json::json;

use crate::{
    cli::{args::TargetArgs, complete},
    files::output_place::cannot_write,
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory to create; its last part is the project's name
    #[arg(value_name = "NAME")]
    path: PathBuf,
    /// Template: hello, async, tests, arenas or go [default: hello, or asked on a terminal]
    #[arg(long, value_name = "TEMPLATE", add = complete::words(&["hello", "async", "tests", "arenas", "go"]))]
    template: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
    /// Version control: git, or none [default: git where it is installed, unless the directory is
    /// in a repository]
    #[arg(long, value_name = "VCS", hide_possible_values = true)]
    vcs: Option<Vcs>,
}

/// Version control of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Vcs {
    Git,
    None,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let path = args.path.as_path();
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Failure::usage(format!("{} has no name for a project", path.display()))
            .hint("give the directory to create, such as blink")
    })?;
    check_free(path)?;
    let chips = super::chips::known(args.target.target_file.as_deref())?;
    let template = match &args.template {
        Some(name) => Template::find(name).map_err(refused)?,
        None => ask_template(shell)?,
    };
    let target = match &args.target.target {
        Some(name) => chips.find_target(name)?,
        None => ask_target(template, &chips, shell)?,
    };
    let mut project = Project::new(name, template, &target).map_err(refused)?;
    project.has_virtual_board = has_virtual_board(&target);
    let files = render(&project).map_err(refused)?;
    write(path, &files)?;
    let has_git = match args.vcs {
        Some(Vcs::None) => false,
        Some(Vcs::Git) => init_git(path)?,
        None => !is_in_repository(path) && init_git(path).unwrap_or(false),
    };
    let command = next_command(&project);
    let shown = path.display();
    let text = format!(
        "{shown}: {} files for {}\n\n    cd {shown}\n    {command}\n",
        files.len(),
        target.name()
    );
    let value = json!({
        "path": path,
        "name": name,
        "template": template.name(),
        "target": target.name(),
        "files": files.iter().map(|file| &file.path).collect::<Vec<_>>(),
        "git": has_git,
        "command": command,
    });
    shell.result("new", &text, value);
    Ok(())
}

fn refused(error: TemplateError) -> Failure {
    Failure { hint: error.hint(), ..Failure::usage(error.to_string()) }
}

fn has_virtual_board(target: &Target) -> bool {
    let chip = target.chip();
    chip.sim.is_some() && !needs_rom(chip)
}

/// Returns the command that shows the project at work.
fn next_command(project: &Project<'_>) -> String {
    let target = project.target.name();
    match (project.template.prints(), project.has_virtual_board) {
        (Some(_), true) => format!("esplice run --port sim:{target}"),
        (Some(_), false) => "esplice run".to_owned(),
        (None, true) => format!("ESPLICE_PROJECT_PORT=sim:{target} cargo test --release"),
        (None, false) => "cargo test --release".to_owned(),
    }
}

/// Refuses a path where there is already something.
fn check_free(path: &Path) -> Result<(), Failure> {
    let is_empty = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_empty {
        return Ok(());
    }
    let message = format!("{} exists and is not an empty directory", path.display());
    Err(Failure::usage(message).hint("give another name; esplice does not replace files"))
}

fn ask_template(shell: &mut Shell) -> Result<Template, Failure> {
    if !shell.may_ask() {
        return Ok(Template::Hello);
    }
    let mut text = String::from("Template?");
    for (number, template) in (1..).zip(Template::ALL) {
        text.push_str(&format!("\n  {number}  {:7} {}", template.name(), template.description()));
    }
    let names = Template::ALL.map(Template::name);
    let name = answer(shell, &text, &names, Some(Template::Hello.name()))?;
    Template::find(&name).map_err(refused)
}

fn ask_target(template: Template, chips: &ChipDb, shell: &mut Shell) -> Result<Target, Failure> {
    if !shell.may_ask() {
        return Err(Failure::usage("no chip or board was given")
            .hint("pass --target, such as --target esp32c3; `esplice boards` lists the boards"));
    }
    let fits = |target: &Target| Project::new("a", template, target).is_ok();
    let boards = chips.boards().cloned().map(Target::Board);
    let targets: Vec<Target> =
        boards.chain(chips.chips().cloned().map(Target::Chip)).filter(fits).collect();
    let names: Vec<&str> = targets.iter().map(Target::name).collect();
    let mut text = String::from("Board or chip?");
    for (number, target) in (1..).zip(&targets) {
        let shown = match target {
            Target::Board(board) => format!("{} ({})", board.display_name, board.chip.display_name),
            Target::Chip(chip) => format!("{}, on another board", chip.display_name),
        };
        text.push_str(&format!("\n {number:2}  {:27} {shown}", target.name()));
    }
    let name = answer(shell, &text, &names, None)?;
    Ok(chips.find_target(&name)?)
}

/// Asks a question and returns the answer: a name, or one of `names` by its number, from 1.
fn answer(
    shell: &mut Shell,
    question: &str,
    names: &[&str],
    default: Option<&str>,
) -> Result<String, Failure> {
    let shown = default.map_or_else(String::new, |default| format!(" [default: {default}]"));
    shell.ask(&format!("{question}\nNumber or name{shown}:"));
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    if shell.is_interrupted() {
        return Err(Failure::interrupted());
    }
    let line = line.trim();
    if !matches!(read, Ok(1..)) || (line.is_empty() && default.is_none()) {
        return Err(Failure::usage("the question was not answered")
            .hint("pass --template and --target to be asked nothing"));
    }
    let numbered = line.parse::<usize>().ok().and_then(|number| names.get(number.checked_sub(1)?));
    Ok(match (numbered, default) {
        (Some(name), _) => (*name).to_owned(),
        (None, Some(default)) if line.is_empty() => default.to_owned(),
        _ => line.to_owned(),
    })
}

/// Writes the files into a new directory next to the final one, so that a failure leaves nothing.
fn write(path: &Path, files: &[ProjectFile]) -> Result<(), Failure> {
    let cannot = |error: io::Error| cannot_write(path, &error);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(cannot)?;
    let made =
        tempfile::Builder::new().prefix(".esplice-new-").tempdir_in(parent).map_err(cannot)?;
    // A temporary directory is only for its owner; the project has the usual permissions.
    let inside = made.path().join("project");
    for file in files {
        let place = inside.join(&file.path);
        let directory = place.parent().unwrap_or(&inside);
        fs::create_dir_all(directory).map_err(cannot)?;
        fs::write(&place, &file.text).map_err(cannot)?;
    }
    // An empty directory may be there.
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    fs::rename(&inside, path).map_err(cannot)
}

/// Returns whether the new directory is inside a git repository.
fn is_in_repository(path: &Path) -> bool {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.ancestors().skip(1).any(|directory| directory.join(".git").exists())
}

/// Makes the directory a git repository. Returns whether git is installed.
fn init_git(path: &Path) -> Result<bool, Failure> {
    let mut git = Command::new("git");
    git.args(["init", "--quiet"]).arg(path).stdin(Stdio::null()).stdout(Stdio::null());
    match git.stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(true),
        Ok(status) => Err(Failure::usage(format!("git init ended with {status}"))),
        Err(error) => Err(Failure::usage(format!("git can't be started: {error}"))
            .hint("install git, or pass --vcs none")),
    }
}
