//! `esplice`: one tool from source to a running, verified ESP32 board.
//!
//! This is the front end and nothing else: it settles the settings, opens files and ports, calls
//! the libraries, and alone prints and chooses exit codes.

mod applicable;
mod args;
mod at_board;
mod backtrace;
mod choice;
mod commands;
mod elf_file;
mod environment;
mod event;
mod exit;
mod firmware;
mod flash_file;
mod flashing;
mod habits;
mod harness;
mod header;
mod inspect;
mod interrupt;
mod layout;
mod linking;
mod load;
mod no_source;
mod output_place;
mod outputs;
mod places;
mod port_trouble;
mod ports;
mod printable;
mod project;
mod remembered;
mod sectors;
mod settings;
mod settler;
mod shell;
mod source;
mod stubs;
mod table_file;
mod value;
mod watching;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::Mutex,
};

use clap::{CommandFactory as _, Parser};

use crate::{
    commands::Command,
    exit::{Exit, Failure},
    interrupt::Interrupt,
    printable::{printable, printable_colored, without_false_heads},
    shell::{Format, Shell, may_color},
};

/// ESP32 firmware from source to a running, verified board
#[derive(Debug, Parser)]
#[command(name = "esplice", version, after_long_help = exit_codes())]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How the command answers: text, or json with one event a line on stdout
    #[arg(
        long,
        global = true,
        value_enum,
        hide_possible_values = true,
        default_value = "text",
        value_name = "FORMAT"
    )]
    format: Format,
    /// Say only results, warnings and errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if linking::is_asked(&args) {
        return linking::run(args.into_iter().skip(1).collect());
    }
    let rewritten = match habits::rewritten(args.clone(), &command_names()) {
        Ok(rewritten) => rewritten,
        Err(failure) => {
            let format = if asks_for_json(&args) { Format::Json } else { Format::Text };
            let mut shell = Shell::new(format, false);
            shell.error(&failure);
            return ExitCode::from(shell.finish(failure.exit).number());
        }
    };
    let words = harness::rewritten(rewritten.words, &Cli::command());
    let exit = match Cli::try_parse_from(words) {
        Ok(cli) => {
            let mut shell = Shell::new(cli.format, cli.quiet);
            let interrupt = Interrupt::listen();
            shell.listen_to(&interrupt);
            for note in rewritten.notes {
                shell.status(note);
            }
            let result = guarded(|| {
                environment::check()?;
                cli.command.run(&mut shell, &interrupt)
            });
            let exit = match result {
                Ok(()) => Exit::Done,
                Err(failure) => {
                    shell.error(&failure);
                    failure.exit
                }
            };
            shell.finish(exit)
        }
        Err(error) => misused(&error, asks_for_json(&args)),
    };
    ExitCode::from(exit.number())
}

/// The names of all commands, hidden ones and aliases among them.
fn command_names() -> Vec<String> {
    let cli = Cli::command();
    let names = |command: &clap::Command| {
        let aliases = command.get_all_aliases().map(str::to_owned);
        std::iter::once(command.get_name().to_owned()).chain(aliases).collect::<Vec<_>>()
    };
    cli.get_subcommands().flat_map(names).chain(["help".to_owned()]).collect()
}

/// Whether the arguments ask for JSON, before anybody has parsed them.
fn asks_for_json(args: &[OsString]) -> bool {
    args.iter().any(|arg| arg == "--format=json")
        || args.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json")
}

/// What clap has to say: the help, the version, or what is wrong with the arguments.
fn misused(error: &clap::Error, json: bool) -> Exit {
    // What the user has typed is in it.
    let text = |colors: bool| {
        let rendered = error.render();
        if colors {
            without_false_heads(&printable_colored(&rendered.ansi().to_string(), true))
        } else {
            without_false_heads(&printable(&rendered.to_string()))
        }
    };
    if !error.use_stderr() {
        // A closed pipe is no error.
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(text(may_color(&stdout)).as_bytes());
        return Exit::Done;
    }
    if json {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let mut shell = Shell::new(Format::Json, false);
        shell.error(&Failure::usage(first.trim_start_matches("error: ")));
        return shell.finish(Exit::Usage);
    }
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text(may_color(&stderr)).as_bytes());
    Exit::Usage
}

/// Runs the command; a fault of our own becomes a short message.
fn guarded(command: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    static FAULT: Mutex<Option<String>> = Mutex::new(None);
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!(" ({at})"));
        let message = info.payload_as_str().unwrap_or("without a message");
        if let Ok(mut fault) = FAULT.lock() {
            fault.get_or_insert(format!("{message}{place}"));
        }
    }));
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| {
        let fault = FAULT.lock().ok().and_then(|mut fault| fault.take()).unwrap_or_default();
        Err(Failure::new(Exit::Internal, format!("a fault in esplice itself: {fault}"))
            .hint("please report it with the command you gave"))
    })
}

fn exit_codes() -> String {
    format!("Exit codes:\n{}", Exit::table())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_panic_becomes_an_internal_error() {
        let failure = guarded(|| panic!("odd {}", 1)).unwrap_err();
        assert_eq!(failure.exit, Exit::Internal);
        assert!(failure.message.starts_with("a fault in esplice itself: odd 1 ("), "{failure}");
    }
}
