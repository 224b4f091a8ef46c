mod inspect;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::mpsc,
};

use esplice_chip::ChipDb;
use esplice_sim::{
    Board, Bridge, Cable, RomImage, SimError, Status, TimeMode,
    efuse::Burn,
    fault_plan::FaultPlan,
    nor::Nor,
    parts::{Circuit, Voltages},
    serve::{Server, ServerEvent, Wire},
    spec::{cable_of, needs_rom},
    uart_tcp::{PeerAddr, PeerError},
};

use crate::{
    cli::complete,
    commands::sim::inspect::{Enter, InspectArgs, Inspector},
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Chip, such as esp32c3, or board, which defines its own flash size
    #[arg(long, value_name = "CHIP", visible_alias = "target", add = complete::targets())]
    chip: String,
    /// Number of boards; each adds its number, from 0, to the names of flash file and link and to
    /// the port numbers
    #[arg(long, value_name = "BOARDS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    count: u16,
    /// File with the raw flash content; created, erased, if it does not exist
    #[arg(long, value_name = "FILE")]
    flash: Option<PathBuf>,
    /// Serve the serial line over raw TCP; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT")]
    tcp: Option<SocketAddr>,
    /// Serve it over RFC 2217, with baud rate, DTR and RTS
    #[arg(long, value_name = "ADDR:PORT")]
    rfc2217: Option<SocketAddr>,
    /// Serve it as a local serial port: a pty with the symbolic link LINK to it
    #[cfg(unix)]
    #[arg(long, value_name = "LINK")]
    pty: Option<PathBuf>,
    /// Non-loopback address that may be listened on
    #[arg(long, value_name = "ADDR")]
    listen: Option<std::net::IpAddr>,
    /// ELF of the chip's mask ROM to execute; without it, the board implements the ROM functions
    /// itself
    #[arg(long, value_name = "FILE")]
    rom: Option<PathBuf>,
    /// Burn an eFuse field, such as enable-security-download:1; may be repeated
    #[arg(long, value_name = "FIELD:VALUE")]
    efuse: Vec<String>,
    /// File of faults and when they occur
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Where the client's cable is plugged in: uart, or usb for the chip's own USB-Serial-JTAG
    /// [default: the board's socket, or the UART for a bare chip]
    #[arg(long, value_name = "PLACE", value_parser = place)]
    line: Option<Cable>,
    /// File with the parts on the I2C bus: EEPROMs, thermometers
    #[arg(long, value_name = "FILE")]
    i2c: Option<PathBuf>,
    /// File with the voltages at the analog inputs
    #[arg(long, value_name = "FILE")]
    adc: Option<PathBuf>,
    /// Program that listens, to which the second UART connects; bytes are carried both ways at the
    /// UART's rate
    #[arg(long, value_name = "tcp:HOST:PORT", value_parser = peer)]
    uart1: Option<PeerAddr>,
    /// Timing model: real, virtual or none
    #[arg(long, value_name = "MODE", default_value = "virtual", value_parser = time)]
    time: TimeMode,
    /// USB bridge at the serial line: none, usb or ftdi
    #[arg(long, value_name = "BRIDGE", default_value = "none", value_parser = bridge)]
    bridge: Bridge,
    /// Use the longest times of the flash chip's data sheet instead of the typical ones
    #[arg(long)]
    worst_flash: bool,
    #[command(flatten)]
    inspect: InspectArgs,
    /// Hold the boot pin low, so that each reset enters download mode
    #[arg(long)]
    download: bool,
}

fn bridge(text: &str) -> Result<Bridge, String> {
    Bridge::parse(text).ok_or_else(|| format!("{text:?} is not one of none, usb or ftdi"))
}

fn time(text: &str) -> Result<TimeMode, String> {
    TimeMode::parse(text).map_err(|_| format!("{text:?} is not one of real, virtual or none"))
}

fn peer(text: &str) -> Result<PeerAddr, String> {
    PeerAddr::parse(text).ok_or_else(|| format!("{text:?} is not tcp:HOST:PORT"))
}

fn place(text: &str) -> Result<Cable, String> {
    Cable::parse(text).map_err(|_| format!("{text:?} is neither uart nor usb"))
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let addrs = [args.tcp, args.rfc2217];
    if addrs.iter().all(Option::is_none) && pty(args).is_none() {
        return Err(
            Failure::usage("no connection to the board was given").hint("add --tcp 127.0.0.1:0")
        );
    }
    for at in addrs.into_iter().flatten() {
        check_listen_address(at, args, shell)?;
    }
    let enter = Enter::listen();
    let mut served = Vec::new();
    for number in 0..args.count {
        let number = (args.count > 1).then_some(number);
        let mut board = board(args, number)?;
        let inspector = Inspector::new(&args.inspect, &enter, &mut board)?;
        let mut server = Server::new(board, args.time);
        if let Some(addr) = &args.uart1 {
            server.connect_uart1(addr).map_err(|error| no_peer(&error))?;
        }
        offer(&mut server, number, args, shell)?;
        served.push((server, inspector, number));
    }
    let (told, talk) = mpsc::channel();
    let stopped: Vec<Failure> = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (server, inspector, number) in served {
            let told = told.clone();
            let say = move |said: BoardMessage| {
                // At the end nobody receives messages any more, and none are needed.
                let _ = told.send(match number {
                    Some(number) => said.of_board(number),
                    None => said,
                });
            };
            let served = move || serve(server, inspector, args.time, interrupt, &say);
            threads.push(scope.spawn(served));
        }
        drop(told);
        for said in talk {
            match said {
                BoardMessage::Status(text) => shell.status(&text),
                BoardMessage::Warning(text) => shell.warning(&text),
            }
        }
        let ends = threads.into_iter().map(|thread| match thread.join() {
            Ok(end) => end,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ends.flatten().collect()
    });
    // Ctrl-C is the normal way to end the command.
    stopped.into_iter().next().map_or(Ok(()), Err)
}

/// Hint for a board that called a ROM function that is not modelled.
const WITH_ROM: &str =
    "--rom FILE makes it execute the chip's own mask ROM, which has every function";

/// A message from a board's thread.
enum BoardMessage {
    Status(String),
    Warning(String),
}

impl BoardMessage {
    /// Adds the board's number to the message, if there are several boards.
    fn of_board(self, number: u16) -> BoardMessage {
        match self {
            BoardMessage::Status(text) => BoardMessage::Status(format!("board {number}: {text}")),
            BoardMessage::Warning(text) => BoardMessage::Warning(format!("board {number}: {text}")),
        }
    }
}

/// Serves one board until Ctrl-C. Returns why the board stopped, if it needed something that is not
/// modelled.
fn serve(
    mut server: Server,
    mut inspector: Inspector,
    time: TimeMode,
    interrupt: &Interrupt,
    say: &dyn Fn(BoardMessage),
) -> Option<Failure> {
    let mut stopped = None;
    while !interrupt.is_asked() {
        server.turn(&mut |happened| {
            say(match happened {
                ServerEvent::Joined => BoardMessage::Status("a client connected".into()),
                ServerEvent::Left => BoardMessage::Status("a client disconnected".into()),
                ServerEvent::Stopped(error) if error.is_not_modelled() => {
                    let text = format!("the board stopped: {error}; {WITH_ROM}");
                    stopped = Some(Failure::from(error).hint(WITH_ROM));
                    BoardMessage::Warning(text)
                }
                ServerEvent::Stopped(error) => {
                    BoardMessage::Warning(format!("the board stopped: {error}"))
                }
                ServerEvent::Flooded => BoardMessage::Warning(
                    "clients send faster than the line's rate: bytes are lost".into(),
                ),
                ServerEvent::Uart1(event) => BoardMessage::Warning(format!("UART 1: {event}")),
                ServerEvent::Fault(struck) => BoardMessage::Warning(struck.to_string()),
                ServerEvent::Behind(by) => BoardMessage::Warning(format!(
                    "this machine is too slow: the board's clock lags by {} ms",
                    by.as_millis()
                )),
                _ => return,
            });
        });
        inspector.look(server.board(), &mut |text| say(BoardMessage::Status(text)));
    }
    if time == TimeMode::Real {
        let lag = server.lag();
        let (most, over) = (lag.most.as_secs_f64() * 1e3, lag.over.as_secs_f64());
        say(BoardMessage::Status(format!(
            "in {over:.1} s of real time, the board lagged by at most {most:.1} ms"
        )));
    }
    inspector.end(server.board(), &mut |text| say(BoardMessage::Status(text)));
    stopped.filter(|_| server.board().status() == Status::Failed)
}

/// Opens a board's connections and prints how to reach it. `number` is set if there are several
/// boards.
fn offer(
    server: &mut Server,
    number: Option<u16>,
    args: &Args,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let wires = [(Wire::Tcp, args.tcp), (Wire::Rfc2217, args.rfc2217)];
    for (wire, at) in wires.into_iter().filter_map(|(wire, at)| Some((wire, at?))) {
        let at = numbered_port(at, number)?;
        let at = server
            .listen(wire, at)
            .map_err(|error| Failure::new(Exit::Port, format!("cannot listen on {at}: {error}")))?;
        let scheme = match wire {
            Wire::Tcp => "socket",
            Wire::Rfc2217 => "rfc2217",
        };
        print_how_to_connect(&format!("{scheme}://{at}"), wire == Wire::Rfc2217, args, shell);
    }
    #[cfg(unix)]
    if let Some(link) = pty(args) {
        let link = numbered(link, number);
        server.pty(&link).map_err(|error| no_pty(&link, &error))?;
        print_how_to_connect(&link.display().to_string(), false, args, shell);
    }
    Ok(())
}

fn pty(args: &Args) -> Option<&Path> {
    #[cfg(unix)]
    let pty = args.pty.as_deref();
    #[cfg(not(unix))]
    let pty = {
        let _ = args;
        None
    };
    pty
}

/// Returns the path with the board's number appended, before its extension.
fn numbered(path: &Path, number: Option<u16>) -> PathBuf {
    let (Some(number), Some(stem)) = (number, path.file_stem()) else { return path.to_owned() };
    let mut name = stem.to_owned();
    name.push(number.to_string());
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Returns the port for the board of that number: consecutive ports, or a free one each.
fn numbered_port(at: SocketAddr, number: Option<u16>) -> Result<SocketAddr, Failure> {
    let Some(number) = number.filter(|_| at.port() != 0) else { return Ok(at) };
    let port = at.port().checked_add(number);
    let port = port.ok_or_else(|| {
        Failure::usage(format!("no port is left for board {number} after {at}"))
            .hint("name a lower port, or 0 for free ones")
    })?;
    Ok(SocketAddr::new(at.ip(), port))
}

/// Prints how to reach a board. `port` is its name for esptool.
fn print_how_to_connect(port: &str, has_lines: bool, args: &Args, shell: &mut Shell) {
    // esptool takes a chip, not a board.
    let target = ChipDb::embedded().find_target(&args.chip);
    let chip = target.as_ref().map_or(args.chip.as_str(), |target| &target.chip().name);
    let esptool = format!("esptool --chip {chip} --port {port}");
    let is_tty = !port.contains("://");
    let command = match (has_lines, args.download) {
        (true, _) => format!("{esptool} flash-id"),
        (false, true) => format!("{esptool} --before no-reset --after no-reset flash-id"),
        (false, false) => format!("esplice monitor --port {port}"),
    };
    // espflash opens only serial ports of the system, and of these only those in /sys/class/tty.
    let espflash = (is_tty && args.download && cfg!(target_os = "linux")).then(|| {
        format!(
            "scripts/as-tty {port} espflash board-info --chip {chip} --port /dev/ttyUSB0 \
             --before no-reset --after no-reset"
        )
    });
    shell.result(
        "sim",
        &format!("{port}\n"),
        serde_json::json!({ "url": port, "try": command, "espflash": espflash }),
    );
    if !has_lines && !is_tty && !args.download {
        shell.status("the board runs its firmware: --download makes it wait for esptool");
    }
    for command in std::iter::once(command).chain(espflash) {
        shell.status(&format!("try it: {command}"));
    }
    if !has_lines {
        shell.status(&format!("{port} has no DTR and RTS: it cannot reset the board"));
    }
}

fn no_peer(error: &PeerError) -> Failure {
    let failure = Failure::new(Exit::Port, error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
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
        std::io::ErrorKind::NotFound => failure.hint("the link's directory must exist"),
        _ => failure,
    }
}

/// Allows only this machine to reach the board, unless another address is named.
fn check_listen_address(at: SocketAddr, args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    if at.ip().is_loopback() {
        return Ok(());
    }
    if args.listen != Some(at.ip()) {
        return Err(Failure::usage(format!("{at} is open to other machines"))
            .hint(format!("add --listen {} if this is intended", at.ip())));
    }
    shell.warning(&format!("{at} is open to other machines, without authentication"));
    Ok(())
}

fn board(args: &Args, number: Option<u16>) -> Result<Board, Failure> {
    let target = ChipDb::embedded().find_target(&args.chip).map_err(Failure::from)?;
    let chip = target.chip();
    let Some(sim) = &chip.sim else {
        return Err(SimError::NoBoard { chip: chip.display_name.clone() }.into());
    };
    if args.rom.is_none() && needs_rom(chip) {
        return Err(SimError::NeedsRom { chip: chip.display_name.clone() }.into());
    }
    let timing = if args.worst_flash { sim.flash.at_worst() } else { sim.flash.clone() };
    let size = target.flash_size().unwrap_or_else(|| timing.size());
    let nor = match &args.flash {
        None => Nor::in_memory(size, &timing),
        Some(path) => Nor::open(&numbered(path, number), size, &timing)?,
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
    if let Some(path) = &args.i2c {
        let circuit = Circuit::open(path).map_err(SimError::from)?;
        board.attach_circuit(&circuit).map_err(SimError::from)?;
    }
    if let Some(path) = &args.adc {
        let voltages = Voltages::open(path).map_err(SimError::from)?;
        board.attach_voltages(&voltages).map_err(SimError::from)?;
    }
    board.set_bridge(args.bridge);
    board.hold_boot_pin(args.download);
    board.plug(args.line.unwrap_or_else(|| cable_of(&target)));
    Ok(board)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_among_several_has_its_number_in_names_and_ports() {
        for (path, expected) in
            [("board.flash", "board2.flash"), ("/tmp/board", "/tmp/board2"), ("a.b.c", "a.b2.c")]
        {
            assert_eq!(numbered(Path::new(path), Some(2)), Path::new(expected));
            assert_eq!(numbered(Path::new(path), None), Path::new(path));
        }
        let port = |port: u16| {
            let at = SocketAddr::from(([127, 0, 0, 1], port));
            numbered_port(at, Some(2)).ok().map(|at| at.port())
        };
        assert_eq!([port(0), port(5000), port(65534)], [Some(0), Some(5002), None]);
    }
}
