use std::{io, path::PathBuf};

use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use serde_json::json;

use crate::{
    files::outputs::Outputs,
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

/// Section of the manual for programs.
const SECTION: &str = "1";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory to write a page for each command to, such as /usr/local/share/man/man1; without
    /// it, the main page goes to stdout
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// Writes the manual pages of `command`, the model of the whole command line.
pub fn run(args: &Args, command: clap::Command, shell: &mut Shell) -> Result<(), Failure> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let version = command.get_version().unwrap_or_default().to_owned();
    let Some(directory) = &args.directory else {
        let page = page(&command, &version).map_err(failed)?;
        shell.result("man", &page, json!({ "page": page }));
        return Ok(());
    };
    let mut outputs = Outputs::default();
    let mut paths = Vec::new();
    for command in commands(&command) {
        let path = directory.join(format!("{}.{SECTION}", name(command)));
        outputs.add(&path, page(command, &version).map_err(failed)?.as_bytes())?;
        paths.push(path);
    }
    outputs.commit(shell)?;
    let text: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    shell.result("man", &text, json!({ "files": paths }));
    Ok(())
}

/// Returns the command and all commands below it that the help lists.
fn commands(command: &clap::Command) -> Vec<&clap::Command> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    std::iter::once(command).chain(below.flat_map(commands)).collect()
}

/// Returns the name of a command's page, such as `esplice-image-info`.
fn name(command: &clap::Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// Returns the page of a command as roff.
fn page(command: &clap::Command, version: &str) -> io::Result<String> {
    let is_main = !name(command).contains('-');
    let man = Man::new(command.clone())
        .section(SECTION)
        .source(format!("esplice {version}"))
        .manual("esplice");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    if is_main {
        // The help has them as a table of plain text, which roff would fill into a paragraph.
        roff.control("SH", ["EXIT STATUS"]);
        for exit in Exit::ALL {
            roff.control("TP", []);
            roff.text([bold(exit.number().to_string())]);
            roff.text([roman(exit.meaning())]);
        }
    } else {
        roff.control("SH", ["EXIT STATUS"]);
        roff.text([roman("See "), bold("esplice"), roman("(1).")]);
    }
    roff.to_writer(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn failed(error: io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("cannot render a manual page: {error}"))
}
