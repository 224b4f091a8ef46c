use std::path::Path;

use crate::{
    args::{FirmwareArgs, FlashArgs, PortArgs, WatchArgs},
    exit::Failure,
    flashing,
    interrupt::Interrupt,
    load::{Job, Load},
    ports,
    project::Flags,
    shell::Shell,
    watching::{Watched, Watching},
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
    project.fits_later = true;
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

    // What the board says is taken for what was written.
    if let Load::Plan { options, .. } = &mut job.load {
        options.must_boot = true;
    }

    let source = &args.firmware.source;
    let file = source.elf.as_ref().or(source.path.as_ref());
    let is_test = file.is_some_and(|path| is_cargo_test(path));
    let watching = watching.with_elf(job.elf.take()).of_cargo_test(is_test);

    let mut board = match opened {
        Some(board) => board,
        None => ports::open(&project, job.target, shell, interrupt)?,
    };
    board.in_numbers(shell, |board, shell| {
        let report = flashing::write(board, job, &project, shell, interrupt)?;
        let chip = report.chip.chip;
        let since = flashing::start(board, chip, project.monitor_baud, shell)?;
        let baud = project.monitor_baud.unwrap_or(chip.loader.initial_baud);
        let (port, strategies) = (board.port.as_mut(), board.strategies.as_slice());
        let watching = watching.that_boots(flashing::boot_check(&report));
        watching.run(vec![Watched { port, strategies, since, baud }], shell, interrupt)
    })
}

/// Whether `path` is an ELF that cargo has linked as a test: those stand in `deps`, with a hash of 16
/// digits behind their name, and what `cargo run` starts does not.
fn is_cargo_test(path: &Path) -> bool {
    let directory = path.parent().and_then(Path::file_name);
    let name = path.file_stem().and_then(|stem| stem.to_str());
    let hash = name.and_then(|name| name.rsplit_once('-')).map(|(_, hash)| hash);
    let is_hash =
        |hash: &str| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    directory.is_some_and(|name| name == "deps") && hash.is_some_and(is_hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_cargo_are_known_by_their_place() {
        let is = |path: &str| is_cargo_test(Path::new(path));
        assert!(is("target/riscv32imc-unknown-none-elf/release/deps/math-0123456789abcdef"));
        assert!(is("/a/deps/board_tests-00000000aaaaaaaa"));
        for path in
            ["target/release/math", "deps/math", "release/math-0123456789abcdef", "deps/a-b"]
        {
            assert!(!is(path), "{path}");
        }
    }
}
