use crate::{
    args::{FirmwareArgs, FlashArgs, PortArgs, WatchArgs},
    exit::Failure,
    flashing,
    interrupt::Interrupt,
    load::Job,
    ports,
    project::Flags,
    shell::Shell,
    watching::Watching,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    firmware: FirmwareArgs,
    #[command(flatten)]
    port: PortArgs,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    flash: FlashArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let project = args.firmware.settle(Flags {
        port: args.port.clone(),
        flash: args.flash.clone(),
        watch: args.watch.clone(),
        ..Flags::default()
    })?;
    let watching = Watching::new(&project, &args.watch)?;
    shell.give_stdout_to_board();
    let mut opened = None;
    let mut job = Job::prepare(
        &args.firmware.source,
        args.flash.offset,
        &project,
        &mut opened,
        shell,
        interrupt,
    )?;

    let watching = watching.with_elf(job.elf.take());

    let mut board = match opened {
        Some(board) => board,
        None => ports::open(&project, job.target, shell, interrupt)?,
    };
    board.in_numbers(shell, |board, shell| {
        let report = flashing::write(board, job, &project, shell, interrupt)?;
        let chip = report.chip.chip;
        let since = flashing::start(board, chip, project.monitor_baud, shell)?;
        watching.run(board.port.as_mut(), since, shell, interrupt)
    })
}
