use crate::{
    args::{CargoArgs, FlashArgs, GoArgs, ImageArgs, PortArgs, SourceArgs, TargetArgs, WatchArgs},
    exit::Failure,
    flashing,
    interrupt::Interrupt,
    load::Job,
    ports,
    project::{Flags, Project},
    shell::Shell,
    source::Source,
    watching::Watching,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    port: PortArgs,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    flash: FlashArgs,
    #[command(flatten)]
    cargo: CargoArgs,
    #[command(flatten)]
    go: GoArgs,
    #[command(flatten)]
    image: ImageArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let flags = Flags {
        target: args.target.clone(),
        port: args.port.clone(),
        flash: args.flash.clone(),
        cargo: args.cargo.clone(),
        go: args.go.clone(),
        image: args.image.clone(),
        watch: args.watch.clone(),
        ..Flags::default()
    };
    let project = Project::settle(&Source::directory(&args.source), flags)?;
    let watching = Watching::new(&project, &args.watch)?;
    shell.give_stdout_to_board();
    let mut opened = None;
    let mut job =
        Job::prepare(&args.source, args.flash.offset, &project, &mut opened, shell, interrupt)?;

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
