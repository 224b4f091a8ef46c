use crate::{
    args::{CargoArgs, FlashArgs, GoArgs, ImageArgs, PortArgs, SourceArgs, TargetArgs},
    exit::Failure,
    flashing,
    interrupt::Interrupt,
    load::Job,
    ports,
    project::{Flags, Project},
    shell::Shell,
    source::Source,
    watching,
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
        ..Flags::default()
    };
    let project = Project::settle(&Source::directory(&args.source), flags)?;
    let mut opened = None;
    let job =
        Job::prepare(&args.source, args.flash.offset, &project, &mut opened, shell, interrupt)?;

    let mut board = match opened {
        Some(board) => board,
        None => ports::open(&project, job.target, shell, interrupt)?,
    };
    board.in_numbers(shell, |board, shell| {
        let report = flashing::write(board, job, &project, shell, interrupt)?;
        let since = flashing::start(board, report.chip.chip, None, shell)?;
        let port = board.port.as_mut();
        if port.caps().lines || (since.is_some() && watching::boots(port, since, shell)?) {
            shell.status("The board runs");
        }
        Ok(())
    })
}
