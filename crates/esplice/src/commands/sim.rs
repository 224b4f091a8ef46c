use std::{net::SocketAddr, path::PathBuf};

use esplice_sim::{
    Board, RomImage, TimeMode,
    nor::Nor,
    serve::{Happened, Server, Wire},
};

use crate::{
    exit::{Exit, Failure},
    interrupt::Interrupt,
    shell::Shell,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Chip of the board, such as esp32c3
    #[arg(long, value_name = "CHIP", visible_alias = "target")]
    chip: String,
    /// File with the flash's raw contents; a missing one is created, erased
    #[arg(long, value_name = "FILE")]
    flash: Option<PathBuf>,
    /// Offer the board's serial line by raw TCP; port 0 is a free one
    #[arg(long, value_name = "ADDR:PORT")]
    tcp: Option<SocketAddr>,
    /// Offer it by RFC 2217, with baud rate, DTR and RTS
    #[arg(long, value_name = "ADDR:PORT")]
    rfc2217: Option<SocketAddr>,
    /// Address other than this machine's own that may be listened on
    #[arg(long, value_name = "ADDR")]
    listen: Option<std::net::IpAddr>,
    /// ELF file of the chip's mask ROM, to be executed; without it the board carries out the ROM's
    /// functions itself
    #[arg(long, value_name = "FILE")]
    rom: Option<PathBuf>,
    /// What takes time: real, virtual or none
    #[arg(long, value_name = "MODE", default_value = "virtual", value_parser = time)]
    time: TimeMode,
    /// Hold the boot pin low, so that each reset leads into download mode
    #[arg(long)]
    download: bool,
}

fn time(text: &str) -> Result<TimeMode, String> {
    TimeMode::parse(text).map_err(|_| format!("{text:?} is none of real, virtual and none"))
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let wires: Vec<(Wire, SocketAddr)> = [(Wire::Tcp, args.tcp), (Wire::Rfc2217, args.rfc2217)]
        .into_iter()
        .filter_map(|(wire, at)| Some((wire, at?)))
        .collect();
    if wires.is_empty() {
        return Err(Failure::usage("no way to the board is given").hint("add --tcp 127.0.0.1:0"));
    }
    for (_, at) in &wires {
        consent(*at, args, shell)?;
    }
    let mut server = Server::new(board(args)?, args.time);
    for (wire, at) in wires {
        let at = server
            .listen(wire, at)
            .map_err(|error| Failure::new(Exit::Port, format!("cannot listen on {at}: {error}")))?;
        let scheme = match wire {
            Wire::Tcp => "socket",
            Wire::Rfc2217 => "rfc2217",
        };
        let url = format!("{scheme}://{at}");
        shell.result("sim", &format!("{url}\n"), serde_json::json!({ "url": url }));
    }
    while !interrupt.is_asked() {
        server.turn(&mut |happened| match happened {
            Happened::Joined => shell.status("a client came"),
            Happened::Left => shell.status("a client went"),
            Happened::Stopped(error) => shell.warning(&format!("the board stopped: {error}")),
            Happened::Behind(by) => shell.warning(&format!(
                "this machine is too slow for real time: the board is {} ms behind",
                by.as_millis()
            )),
        });
    }
    Err(Failure::interrupted())
}

/// Only this machine may reach the board, unless another address is named.
fn consent(at: SocketAddr, args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    if at.ip().is_loopback() {
        return Ok(());
    }
    if args.listen != Some(at.ip()) {
        return Err(Failure::usage(format!("{at} is open to other machines"))
            .hint(format!("say --listen {} if that is meant", at.ip())));
    }
    shell.warning(&format!("{at} is open to other machines, and nothing is asked of them"));
    Ok(())
}

fn board(args: &Args) -> Result<Board, Failure> {
    let chip = esplice_chip::find(&args.chip).map_err(Failure::from)?;
    let Some(sim) = &chip.sim else {
        return Err(Failure::usage(format!("there is no virtual {}", chip.display_name)));
    };
    let nor = match &args.flash {
        None => Nor::in_memory(sim.flash.size(), &sim.flash),
        Some(path) => Nor::open(path, sim.flash.size(), &sim.flash).map_err(Failure::from)?,
    };
    let mut board = Board::with_flash(chip, nor, args.time).map_err(Failure::from)?;
    if let Some(path) = &args.rom {
        board = board.with_rom(&RomImage::open(path, chip).map_err(Failure::from)?);
    }
    board.hold_boot_pin(args.download);
    Ok(board)
}
