use esplice_flash::reset_to_run;

use crate::{
    args::{DecodeArgs, PortArgs, TargetArgs, WatchArgs},
    backtrace::FirmwareElf,
    exit::Failure,
    interrupt::Interrupt,
    ports,
    project::{Flags, Project},
    shell::Shell,
    watching::Watching,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    port: PortArgs,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    decode: DecodeArgs,
    /// Leave the board running as it is
    #[arg(long)]
    no_reset: bool,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let flags = Flags {
        target: args.target.clone(),
        port: args.port.clone(),
        watch: args.watch.clone(),
        ..Flags::default()
    };
    let project = Project::settle(".".as_ref(), flags)?;
    let watching =
        Watching::new(&project, &args.watch)?.with_elf(FirmwareElf::from_args(&args.decode)?);
    shell.give_stdout_to_board();

    let target = project.target.as_ref().map(|target| target.value);
    let mut board = ports::open(&project, target, shell, interrupt)?;
    board.in_numbers(shell, |board, shell| {
        let port = board.port.as_mut();
        let baud = project.monitor_baud.unwrap_or(ports::FIRST_BAUD);
        let mut since = None;
        if args.no_reset {
            port.set_baud(baud)?;
        } else {
            since = reset_to_run(port, baud)?;
            if since.is_none() {
                port.set_baud(baud)?;
                shell.status(&format!("{} has no reset line: the board runs on", port.name()));
            }
        }
        watching.run(port, since, shell, interrupt)
    })
}
