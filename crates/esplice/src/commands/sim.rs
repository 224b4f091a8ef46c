use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use esplice_sim::{
    Board, Bridge, Cable, RomImage, SimError, TimeMode,
    efuse::Burn,
    fault_plan::FaultPlan,
    nor::Nor,
    serve::{Happened, Server, Wire},
};

use crate::{
    exit::{Exit, Failure},
    inspect::{InspectArgs, Inspector},
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
    /// Offer it as a serial port of this system, a pty that the symbolic link LINK leads to
    #[cfg(unix)]
    #[arg(long, value_name = "LINK")]
    pty: Option<PathBuf>,
    /// Address other than this machine's own that may be listened on
    #[arg(long, value_name = "ADDR")]
    listen: Option<std::net::IpAddr>,
    /// ELF file of the chip's mask ROM, to be executed; without it the board carries out the ROM's
    /// functions itself
    #[arg(long, value_name = "FILE")]
    rom: Option<PathBuf>,
    /// Burn an eFuse field, such as enable-security-download:1; may be repeated
    #[arg(long, value_name = "FIELD:VALUE")]
    efuse: Vec<String>,
    /// File with what goes wrong and when
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Where the clients' cable is plugged in: uart, or usb for the chip's own USB-Serial-JTAG
    #[arg(long, value_name = "PLACE", default_value = "uart", value_parser = place)]
    line: Cable,
    /// What takes time: real, virtual or none
    #[arg(long, value_name = "MODE", default_value = "virtual", value_parser = time)]
    time: TimeMode,
    /// USB bridge at the serial line: none, usb or ftdi
    #[arg(long, value_name = "BRIDGE", default_value = "none", value_parser = bridge)]
    bridge: Bridge,
    /// Let the flash chip take the longest times of its data sheet, not the typical ones
    #[arg(long)]
    worst_flash: bool,
    #[command(flatten)]
    inspect: InspectArgs,
    /// Hold the boot pin low, so that each reset leads into download mode
    #[arg(long)]
    download: bool,
}

fn bridge(text: &str) -> Result<Bridge, String> {
    Bridge::parse(text).ok_or_else(|| format!("{text:?} is none of none, usb and ftdi"))
}

fn time(text: &str) -> Result<TimeMode, String> {
    TimeMode::parse(text).map_err(|_| format!("{text:?} is none of real, virtual and none"))
}

fn place(text: &str) -> Result<Cable, String> {
    Cable::parse(text).map_err(|_| format!("{text:?} is neither uart nor usb"))
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let wires: Vec<(Wire, SocketAddr)> = [(Wire::Tcp, args.tcp), (Wire::Rfc2217, args.rfc2217)]
        .into_iter()
        .filter_map(|(wire, at)| Some((wire, at?)))
        .collect();
    #[cfg(unix)]
    let pty = args.pty.as_deref();
    #[cfg(not(unix))]
    let pty: Option<&Path> = None;
    if wires.is_empty() && pty.is_none() {
        return Err(Failure::usage("no way to the board is given").hint("add --tcp 127.0.0.1:0"));
    }
    for (_, at) in &wires {
        consent(*at, args, shell)?;
    }
    let mut board = board(args)?;
    let mut inspector = Inspector::new(&args.inspect, &mut board)?;
    let mut server = Server::new(board, args.time);
    for (wire, at) in wires {
        let at = server
            .listen(wire, at)
            .map_err(|error| Failure::new(Exit::Port, format!("cannot listen on {at}: {error}")))?;
        let scheme = match wire {
            Wire::Tcp => "socket",
            Wire::Rfc2217 => "rfc2217",
        };
        reached(&format!("{scheme}://{at}"), wire == Wire::Rfc2217, args, shell);
    }
    #[cfg(unix)]
    if let Some(link) = pty {
        server.pty(link).map_err(|error| no_pty(link, &error))?;
        reached(&link.display().to_string(), false, args, shell);
    }
    while !interrupt.is_asked() {
        server.turn(&mut |happened| match happened {
            Happened::Joined => shell.status("a client came"),
            Happened::Left => shell.status("a client went"),
            Happened::Stopped(error) => shell.warning(&format!("the board stopped: {error}")),
            Happened::Fault(struck) => shell.warning(&struck.to_string()),
            Happened::Behind(by) => shell.warning(&format!(
                "this machine is too slow for real time: the board is {} ms behind",
                by.as_millis()
            )),
        });
        inspector.look(server.board(), shell);
    }
    if args.time == TimeMode::Real {
        let lag = server.lag();
        let (most, over) = (lag.most.as_secs_f64() * 1e3, lag.over.as_secs_f64());
        shell.status(&format!(
            "in {over:.1} s of real time the board was {most:.1} ms behind at most"
        ));
    }
    inspector.end(server.board(), shell);
    Err(Failure::interrupted())
}

/// Says how the board is reached: `port` is what esptool calls it.
fn reached(port: &str, has_lines: bool, args: &Args, shell: &mut Shell) {
    // A board is its chip to esptool.
    let chip = esplice_chip::find_target(&args.chip).map_or(args.chip.as_str(), |t| &t.chip().name);
    let esptool = format!("esptool --chip {chip} --port {port}");
    let command = match (has_lines, args.download) {
        (true, _) => Some(format!("{esptool} flash-id")),
        (false, true) => Some(format!("{esptool} --before no-reset --after no-reset flash-id")),
        // A program with a terminal, for what the firmware says: esplice has no such port yet.
        (false, false) if port.contains("://") => None,
        (false, false) => Some(format!("esplice monitor --port {port}")),
    };
    shell.result("sim", &format!("{port}\n"), serde_json::json!({ "url": port, "try": command }));
    match command {
        Some(command) => shell.status(&format!("try it: {command}")),
        None => shell.status("the board runs its firmware: --download makes it wait for esptool"),
    }
    if !has_lines {
        shell.status(&format!("{port} has no DTR and RTS: nothing resets the board through it"));
    }
}

#[cfg(unix)]
fn no_pty(link: &Path, error: &std::io::Error) -> Failure {
    let failure =
        Failure::new(Exit::Port, format!("cannot make the pty {}: {error}", link.display()));
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            failure.hint("something else is there: name another link, or remove it")
        }
        std::io::ErrorKind::NotFound => failure.hint("the link's directory has to be there"),
        _ => failure,
    }
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
    let chip = esplice_chip::find_target(&args.chip).map_err(Failure::from)?.chip();
    let Some(sim) = &chip.sim else {
        return Err(Failure::usage(format!("there is no virtual {}", chip.display_name)));
    };
    let timing = if args.worst_flash { sim.flash.at_worst() } else { sim.flash.clone() };
    let nor = match &args.flash {
        None => Nor::in_memory(timing.size(), &timing),
        Some(path) => Nor::open(path, timing.size(), &timing).map_err(Failure::from)?,
    };
    let mut board = Board::with_flash(chip, nor, args.time).map_err(Failure::from)?;
    if let Some(path) = &args.rom {
        board = board.with_rom(&RomImage::open(path, chip).map_err(Failure::from)?);
    }
    for text in &args.efuse {
        let burn = Burn::parse(chip, text).map_err(|error| {
            let failure = Failure::usage(error.to_string());
            match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        board.burn(&burn);
    }
    if let Some(path) = &args.faults {
        let plan = FaultPlan::open(path).map_err(SimError::from)?;
        board.set_faults(&plan).map_err(SimError::from)?;
    }
    board.set_bridge(args.bridge);
    board.hold_boot_pin(args.download);
    board.plug(args.line);
    Ok(board)
}
