use crate::{
    cli::args::{FirmwareArgs, FlashArgs, PortArgs},
    config::project::Flags,
    device::{flashing, load::Job, ports},
    monitor,
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    firmware: FirmwareArgs,
    #[command(flatten)]
    port: PortArgs,
    #[command(flatten)]
    flash: FlashArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let mut project = args.firmware.settle(Flags {
        port: args.port.clone(),
        flash: args.flash.clone(),
        ..Flags::default()
    })?;
    project.flash.fits_later = true;
    let mut opened = None;
    let job = Job::prepare(
        &args.firmware.source,
        args.flash.offset,
        &project,
        &mut opened,
        shell,
        interrupt,
    )?;

    let mut board = match opened {
        Some(board) => board,
        None => ports::open(&project, job.target.as_deref(), shell, interrupt)?,
    };
    board.in_numbers(shell, |board, shell| {
        let report = flashing::write(board, job, &project, shell, interrupt)?;
        let since = flashing::start(board, &report.chip.chip, None, shell)?;
        let port = board.port.as_mut();
        let check = flashing::boot_check(&report);
        if since.is_some() && monitor::boots(port, since, check, shell)? {
            shell.status("The board runs");
        }
        Ok(())
    })
}
