use esplice_flash::reset_to_run;
use esplice_protocol::{Moment, Port};

use crate::{
    cli::{
        args::{DecodeArgs, PortArgs, TargetArgs, WatchArgs},
        complete,
    },
    config::project::{Flags, Project},
    device::{ports, ports::Board},
    firmware::firmware_elf::FirmwareElf,
    monitor::{Watched, Watching},
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    ports: MonitorPortArgs,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    decode: DecodeArgs,
    /// Leave the board running without touching its reset lines
    #[arg(long)]
    no_reset: bool,
}

/// The boards to watch.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Port")]
struct MonitorPortArgs {
    /// Serial port, pty, rfc2217://HOST:PORT, tcp://HOST:PORT or sim:CHIP[,flash=FILE]; several are
    /// shown together [default: the only likely USB port]
    #[arg(long, value_name = "PORT", add = complete::ports())]
    port: Vec<String>,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let project = settle(args, args.ports.port.first())?;
    let watching =
        Watching::new(&project, &args.watch)?.with_elf(FirmwareElf::from_args(&args.decode)?);
    shell.reserve_stdout_for_board();

    let target = project.chip().map(|chip| &**chip);
    let baud = project.monitor.baud.unwrap_or(ports::FIRST_BAUD);
    let open = if args.no_reset { ports::open_untouched } else { ports::open };
    let mut board = open(&project, target, shell, interrupt)?;
    // Expectations apply to the first board, so the others must be open before it.
    let mut others = vec![];
    for name in args.ports.port.iter().skip(1) {
        others.push(open(&settle(args, Some(name))?, target, shell, interrupt)?);
    }
    board.in_numbers(shell, |board, shell| {
        let mut boards = vec![];
        for board in std::iter::once(board).chain(&mut others) {
            boards.push(watched(board, args.no_reset, baud, shell)?);
        }
        watching.run(boards, shell, interrupt)
    })
}

/// Resolves the project's settings with one of the ports.
fn settle(args: &Args, port: Option<&String>) -> Result<Project, Failure> {
    let flags = Flags {
        target: args.target.clone(),
        port: PortArgs { port: port.cloned(), reset: None },
        watch: args.watch.clone(),
        ..Flags::default()
    };
    Project::settle(".".as_ref(), flags)
}

/// Wraps a board so that it is reset, unless it is to keep running.
fn watched<'a>(
    board: &'a mut Board,
    no_reset: bool,
    baud: u32,
    shell: &mut Shell,
) -> Result<Watched<'a>, Failure> {
    let port = board.port.as_mut();
    let since = if no_reset {
        port.set_baud(baud)?;
        None
    } else {
        start(port, baud, shell)?
    };
    Ok(Watched { port, strategies: &board.strategies, since, baud })
}

fn start(port: &mut dyn Port, baud: u32, shell: &mut Shell) -> Result<Option<Moment>, Failure> {
    let since = reset_to_run(port, baud)?;
    if since.is_none() {
        port.set_baud(baud)?;
        shell.status(&format!("{} has no reset line: the board keeps running", port.name()));
    }
    Ok(since)
}
