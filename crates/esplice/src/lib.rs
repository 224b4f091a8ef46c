//! The front end of esplice: one tool from source to a running, verified ESP32 board.
//!
//! This crate resolves settings, opens files and ports and calls the libraries. Nothing else in the workspace
//! prints or chooses exit codes. The rooms, each of which uses only those before it:
//!
//! - `ui`: results, events, errors, exit codes, Ctrl-C and the terminal
//! - `files`: reads input files and replaces output files
//! - `diagnostics`: what `-v` and `--log-file` show
//! - `cli`: arguments, and the words of other tools
//! - `config`: flags, environment and `esplice.toml`, resolved once
//! - `linker`: esplice as the linker of a stable link
//! - `firmware`: from source to image and flash plan, without a board
//! - `device`: opens a port, chooses one, flashes
//! - `monitor`: watches what boards print
//! - `commands`: one thin file for each command
//!
//! Programs of their own use the libraries (`esplice-image`, `esplice-flash`, `esplice-sim` and the
//! others); this crate has one entry point, [`run`].

mod cli;
mod commands;
mod config;
mod device;
mod diagnostics;
mod files;
mod firmware;
mod linker;
mod monitor;
mod ui;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    sync::Mutex,
};

use clap::{CommandFactory as _, Parser};

use crate::{
    commands::Command,
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        printable::{printable, printable_colored, without_false_heads},
        shell::{Format, Shell, may_color},
    },
};

/// ESP32 firmware from source to a running, verified board
#[derive(Debug, Parser)]
#[command(name = "esplice", version, after_long_help = exit_codes())]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Output format: text, or json with one event per line on stdout
    #[arg(
        long,
        global = true,
        value_enum,
        hide_possible_values = true,
        default_value = "text",
        value_name = "FORMAT"
    )]
    format: Format,
    /// Print only results, warnings and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Print diagnostics on stderr; twice: also the frames exchanged with the board
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Write all diagnostics to FILE, to attach to a bug report
    #[arg(long, global = true, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

/// Runs the program with these arguments, the program's own name first, and returns its exit code.
///
/// The codes are listed by `esplice --help` and in the reference.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let args = commands::gdb::with_command(args);
    if linker::is_asked(&args) {
        diagnostics::join();
        return linker::run(args.into_iter().skip(1).collect());
    }
    if let Some(answer) = cli::complete::answer(&args, Cli::command()) {
        return match answer {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                let mut shell = Shell::new(Format::Text, false);
                shell.error(&failure);
                ExitCode::from(shell.finish(failure.exit).number())
            }
        };
    }
    let rewritten = match cli::compat::rewritten(args.clone(), &command_names()) {
        Ok(rewritten) => rewritten,
        Err(failure) => {
            let format = if asks_for_json(&args) { Format::Json } else { Format::Text };
            let mut shell = Shell::new(format, false);
            shell.error(&failure);
            return ExitCode::from(shell.finish(failure.exit).number());
        }
    };
    let words = cli::harness::rewritten(rewritten.words, &Cli::command());
    let exit = match Cli::try_parse_from(words) {
        Ok(cli) => {
            let mut shell = Shell::new(cli.format, cli.quiet);
            if cli.verbose > 0 {
                shell.without_bars();
            }
            let interrupt = Interrupt::listen();
            shell.listen_to(&interrupt);
            for note in rewritten.notes {
                shell.status(note);
            }
            let result = guarded(|| {
                diagnostics::start(cli.verbose, cli.log_file.as_deref())?;
                config::environment::check()?;
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

/// Returns the names of all commands, including hidden ones and aliases.
fn command_names() -> Vec<String> {
    let cli = Cli::command();
    let names = |command: &clap::Command| {
        let aliases = command.get_all_aliases().map(str::to_owned);
        std::iter::once(command.get_name().to_owned()).chain(aliases).collect::<Vec<_>>()
    };
    cli.get_subcommands().flat_map(names).chain(["help".to_owned()]).collect()
}

/// Returns whether the arguments request JSON, before they have been parsed.
fn asks_for_json(args: &[OsString]) -> bool {
    args.iter().any(|arg| arg == "--format=json")
        || args.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json")
}

/// Prints clap's output: the help, the version, or an error in the arguments.
fn misused(error: &clap::Error, json: bool) -> Exit {
    // The text contains what the user has typed.
    let text = |colors: bool| {
        let rendered = error.render();
        if colors {
            without_false_heads(&printable_colored(&rendered.ansi().to_string(), true))
        } else {
            without_false_heads(&printable(&rendered.to_string()))
        }
    };
    if !error.use_stderr() {
        // A closed pipe is not an error.
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

/// Runs the command, and turns a panic of esplice itself into a short message.
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
        Err(Failure::new(Exit::Internal, format!("internal error in esplice: {fault}"))
            .hint("please report it together with the command line"))
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
    fn every_settings_flag_exists() {
        fn longs(command: &clap::Command) -> Vec<String> {
            let own = command.get_arguments().filter_map(|arg| arg.get_long());
            let own = own.map(|long| format!("--{long}"));
            own.chain(command.get_subcommands().flat_map(longs)).collect()
        }
        let flags = longs(&Cli::command());
        for key in config::keys::KEYS.iter().filter(|key| !key.flag.is_empty()) {
            assert!(flags.iter().any(|flag| flag == key.flag), "{}", key.flag);
        }
    }

    #[test]
    fn a_panic_becomes_an_internal_error() {
        let failure = guarded(|| panic!("odd {}", 1)).unwrap_err();
        assert_eq!(failure.exit, Exit::Internal);
        assert!(failure.message.starts_with("internal error in esplice: odd 1 ("), "{failure}");
    }
}
