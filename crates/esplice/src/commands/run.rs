use crate::{
    cli::{
        args::{FirmwareArgs, FlashArgs, PortArgs, WatchArgs},
        harness::cargo_test,
    },
    config::project::Flags,
    device::{
        flashing,
        load::{Job, Load},
        ports,
    },
    monitor::{Watched, Watching},
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
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
    let mut project = args.firmware.settle(Flags {
        port: args.port.clone(),
        flash: args.flash.clone(),
        watch: args.watch.clone(),
        ..Flags::default()
    })?;
    project.flash.fits_later = true;
    let watching = Watching::new(&project, &args.watch)?;
    shell.reserve_stdout_for_board();
    let mut opened = None;
    let mut job = Job::prepare(
        &args.firmware.source,
        args.flash.offset,
        &project,
        &mut opened,
        shell,
        interrupt,
    )?;

    // The board's output must come from the firmware that was just written.
    if let Load::Plan { options, .. } = &mut job.load {
        options.must_boot = true;
    }

    let source = &args.firmware.source;
    let file = source.elf.as_ref().or(source.path.as_ref());
    let test = file.and_then(|path| cargo_test(path));
    let watching = watching.with_elf(job.elf.take()).of_cargo_test(test)?;

    let mut board = match opened {
        Some(board) => board,
        None => ports::open(&project, job.target.as_deref(), shell, interrupt)?,
    };
    let monitor_baud = project.monitor.baud.or(job.monitor_baud);
    board.in_numbers(shell, |board, shell| {
        let report = flashing::write(board, job, &project, shell, interrupt)?;
        let chip = &report.chip.chip;
        let since = flashing::start(board, chip, monitor_baud, shell)?;
        let baud = monitor_baud.unwrap_or(chip.loader.initial_baud);
        let (port, strategies) = (board.port.as_mut(), board.strategies.as_slice());
        let watching = watching.that_boots(flashing::boot_check(&report));
        watching.run(vec![Watched { port, strategies, since, baud }], shell, interrupt)
    })
}
