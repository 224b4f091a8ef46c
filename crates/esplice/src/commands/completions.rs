use serde_json::json;

use crate::{
    cli::complete::CompletingShell,
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Shell that the script is for: bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL", value_enum, hide_possible_values = true)]
    shell: CompletingShell,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let script = args.shell.script()?;
    shell.result("completions", &script, json!({ "shell": args.shell.name(), "script": script }));
    Ok(())
}
