mod client;
mod loader;

use std::{
    cell::RefCell,
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use esplice_gdb::{Debugger, Loader, Server, ServerEvent};
use esplice_image::{PartBody, inspect};
use esplice_monitor::{Backspace, Sanitiser};
use esplice_port::PortKind;
use esplice_sim::{SharedBoard, TimeMode, port::host_clock, spec::Spec};

use self::{client::Client, loader::FlashLoader};
use crate::{
    cli::args::{FirmwareArgs, FlashArgs, PortArgs},
    config::project::{Flags, Project},
    device::{flashing, load::Job, ports},
    firmware::firmware_elf::FirmwareElf,
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

/// Symbols at which a program is halted, the first that it has: ESP-IDF's, Go's and that of other
/// languages.
const MAIN: [&str; 3] = ["app_main", "main.main", "main"];

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    firmware: FirmwareArgs,
    #[command(flatten)]
    port: PortArgs,
    #[command(flatten)]
    flash: FlashArgs,
    #[command(flatten)]
    debug: DebugArgs,
}

/// Options of debugging.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Debugging")]
struct DebugArgs {
    /// TCP port for the debugger; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 3333)]
    gdb_port: u16,
    /// Address of this machine that debuggers may connect to [default: only this machine]
    #[arg(long, value_name = "ADDR")]
    listen: Option<IpAddr>,
    /// Start a gdb that knows the chip, and end with it
    #[arg(long)]
    launch: bool,
    /// Debug what the flash holds, which must be made from the ELF, instead of writing it
    #[arg(long)]
    attach: bool,
}

/// Adds the command to the arguments of a debug server without one, as in
/// `esplice --port PORT --gdb-port 3333`.
pub fn with_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let text = |arg: &OsString| arg.to_string_lossy().into_owned();
    let begins_with_option = args.get(1).is_some_and(|first| text(first).starts_with('-'));
    let serves = |arg: &OsString| {
        let arg = text(arg);
        arg == "--gdb-port" || arg.starts_with("--gdb-port=")
    };
    if begins_with_option && args.iter().any(serves) && !args.iter().any(|arg| arg == "gdb") {
        args.insert(1, "gdb".into());
    }
    args
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let mut project = args.firmware.settle(Flags {
        port: args.port.clone(),
        flash: args.flash.clone(),
        ..Flags::default()
    })?;
    project.flash.fits_later = true;
    let source = &args.firmware.source;
    let named = source.path.as_ref().or(source.main.as_ref()).or(source.elf.as_ref());
    if args.debug.attach && named.is_none() {
        return Err(Failure::usage("--attach needs the ELF that the flash was written from"));
    }
    if let Some(port) = project.port.as_ref().map(|port| &port.value) {
        check_port(port)?;
    }
    shell.reserve_stdout_for_board();
    let mut opened = None;
    let job = named
        .map(|_| {
            let offset = args.flash.offset;
            Job::prepare(source, offset, &project, &mut opened, shell, interrupt)
        })
        .transpose()?;
    let target = job.as_ref().and_then(|job| job.target.clone()).or(project.chip().cloned());
    let mut board = match opened {
        Some(board) => board,
        None => ports::open(&project, target.as_deref(), shell, interrupt)?,
    };
    // A port that was chosen among several is known only now.
    check_port(board.port.name())?;
    let Some(shared) = board.shared.clone() else {
        return Err(no_agent(board.port.name()));
    };
    if shared.has_peer() {
        let message = format!("{}: uart1= is not possible while debugging", board.port.name());
        return Err(Failure::usage(message)
            .hint("what another program sends can't be sent again when the board runs backwards"));
    }
    let real_time = is_real_time(board.port.name(), &project);
    // An address that is in use must not end the command after the board was written.
    let listen = args.debug.listen.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let mut server =
        Server::listen(SocketAddr::new(listen, args.debug.gdb_port)).map_err(|error| Failure {
            exit: Exit::Port,
            message: error.to_string(),
            hint: error.hint(),
        })?;
    if !listen.is_loopback() {
        shell.warning(&format!(
            "{} is open to other machines, without authentication",
            server.addr()
        ));
    }
    let client = args.debug.launch.then(client::find).transpose()?;
    board.in_numbers(shell, |board, shell| {
        let mut elf = None;
        if let Some(mut job) = job {
            elf = job.elf.take();
            match args.debug.attach {
                true => check_flash(&shared, elf.as_ref(), &project)?,
                false => {
                    flashing::write(board, job, &project, shell, interrupt)?;
                }
            }
        }
        let sanitiser = RefCell::new(Sanitiser::new(Backspace::Pictured));
        let said = Talk { shell: RefCell::new(shell), sanitiser };
        let mut loader = FlashLoader::new(board, &project, &said, interrupt);
        let loader: &mut dyn Loader = &mut loader;
        let mut debugger = Debugger::new(shared.clone(), Some(loader));
        halt(&mut debugger, elf.as_ref(), &said)?;
        if real_time {
            debugger = debugger.with_clock(host_clock());
        }
        let path = elf.as_ref().and_then(FirmwareElf::path);
        serve(&mut server, &mut debugger, client, path, &said, interrupt)
    })
}

/// The shell, which the server's events and the loader share.
struct Talk<'a> {
    shell: RefCell<&'a mut Shell>,
    sanitiser: RefCell<Sanitiser>,
}

impl Talk<'_> {
    fn with<R>(&self, action: impl FnOnce(&mut Shell) -> R) -> R {
        action(&mut self.shell.borrow_mut())
    }

    /// Prints the board's output, without control characters that would reach the terminal.
    fn board_output(&self, bytes: &[u8]) {
        let text = self.sanitiser.borrow_mut().push(bytes);
        self.with(|shell| shell.board_output(text.as_bytes()));
    }
}

/// Returns whether the board follows the host's clock.
fn is_real_time(name: &str, project: &Project) -> bool {
    Spec::parse(name, &project.chips).is_ok_and(|spec| spec.time == TimeMode::Real)
}

/// Refuses ports at which there is no board that can be debugged.
fn check_port(name: &str) -> Result<(), Failure> {
    // Anything that is no scheme may still turn out to be the name of one of several ports.
    let is_board = PortKind::of(name) == PortKind::Virtual;
    let is_name = !name.contains("://") && !name.contains('/') && !name.contains('\\');
    if is_board || is_name { Ok(()) } else { Err(no_agent(name)) }
}

fn no_agent(port: &str) -> Failure {
    Failure::new(
        Exit::NoAgent,
        format!("{port}: debugging over a serial line needs a debug agent in the firmware"),
    )
    .hint(
        "esplice has none yet; debug on a virtual board: --port sim:CHIP, \
         or over JTAG with probe-rs or OpenOCD",
    )
}

/// Refuses an ELF that the flash was not written from.
fn check_flash(
    board: &SharedBoard,
    elf: Option<&FirmwareElf>,
    project: &Project,
) -> Result<(), Failure> {
    let flash = board.with(|board| board.flash().bytes().to_vec());
    let report = inspect(&flash, &project.chips);
    let hashes: Vec<String> = report
        .parts
        .iter()
        .filter_map(|part| match &part.body {
            PartBody::Image(info) => info.descriptor.as_ref(),
            _ => None,
        })
        .map(|descriptor| hex::encode(descriptor.elf_sha256))
        .collect();
    let wanted = elf.map(FirmwareElf::hash).unwrap_or_default();
    if hashes.contains(&wanted) {
        return Ok(());
    }
    let message = match hashes.as_slice() {
        [] => "the flash holds no app with a descriptor".to_owned(),
        [first, ..] => format!(
            "the app in the flash was made from another ELF (SHA-256 {first}, this one has {wanted})"
        ),
    };
    Err(Failure::new(Exit::Verify, message).hint("leave out --attach to write the ELF"))
}

/// Halts the board at the start of its program, or at its first instruction.
fn halt(
    debugger: &mut Debugger<'_>,
    elf: Option<&FirmwareElf>,
    said: &Talk<'_>,
) -> Result<(), Failure> {
    let symbols = elf.and_then(FirmwareElf::symbols);
    let main = symbols.and_then(|symbols| {
        let found = MAIN.into_iter().find_map(|name| symbols.symbol(name));
        found.and_then(|symbol| Some((symbol.name, u32::try_from(symbol.addr).ok()?)))
    });
    let Some((name, addr)) = main else {
        debugger.reset()?;
        let output = debugger.take_output();
        said.board_output(&output);
        said.with(|shell| shell.status("The board is halted at its first instruction"));
        return Ok(());
    };
    let reached = debugger.reset_to(addr)?;
    let output = debugger.take_output();
    said.board_output(&output);
    said.with(|shell| match reached {
        true => shell.status(&format!("The board is halted at {name} ({addr:#010x})")),
        false => shell.warning(&format!("the board did not get to {name} within 10 s")),
    });
    Ok(())
}

/// Serves debuggers until Ctrl-C, or until the started one ends.
fn serve(
    server: &mut Server,
    debugger: &mut Debugger<'_>,
    client: Option<Client>,
    elf: Option<PathBuf>,
    said: &Talk<'_>,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let addr = server.addr();
    let remote = match addr.ip().is_unspecified() {
        true => format!(":{}", addr.port()),
        false => addr.to_string(),
    };
    let mut words = vec!["gdb-multiarch".to_owned()];
    words.extend(elf.as_ref().map(|elf| elf.display().to_string()));
    words.push(format!("-ex 'target remote {remote}'"));
    let command = words.join(" ");
    said.with(|shell| {
        shell.result(
            "gdb",
            &format!("{addr}\n"),
            serde_json::json!({
                "addr": addr.to_string(),
                "elf": elf.as_ref().map(|elf| elf.display().to_string()),
                "try": command,
            }),
        );
        if client.is_none() {
            shell.status(&format!("try it: {command}"));
        }
    });
    let stop = interrupt.flag();
    let client =
        client.map(|client| client.start(elf.as_deref(), &remote, interrupt, Arc::clone(&stop)));
    let client = client.transpose()?;
    let served = server.serve(debugger, &stop, &mut |event| match event {
        ServerEvent::Output(bytes) => said.board_output(&bytes),
        event => said.with(|shell| print_event(event, shell)),
    });
    if let Some(client) = client {
        client.end();
    }
    // Ctrl-C is the normal way to end the command.
    served.map_err(|error| Failure {
        exit: Exit::Internal,
        message: error.to_string(),
        hint: error.hint(),
    })
}

fn print_event(event: ServerEvent, shell: &mut Shell) {
    match event {
        ServerEvent::Attached(peer) => {
            shell.status(&format!("{peer} is debugging; the board is halted"));
        }
        ServerEvent::Detached => shell.status("The debugger has left; the board runs on"),
        ServerEvent::Lost(why) => {
            shell.status(&format!("The session is over: {why}; the board is halted"));
        }
        ServerEvent::Refused(peer) => {
            shell.warning(&format!("{peer} was refused: another debugger is connected"));
        }
        ServerEvent::Note(text) => shell.warning(&text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_server_needs_no_command() {
        let check = |line: &str, expected: &str| {
            let args = line.split(' ').map(OsString::from).collect();
            let words = with_command(args);
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            assert_eq!(words.join(" "), expected);
        };
        check("esplice --port P --gdb-port 1", "esplice gdb --port P --gdb-port 1");
        check("esplice --gdb-port=1 a.elf", "esplice gdb --gdb-port=1 a.elf");
        check("esplice --quiet gdb --gdb-port 1", "esplice --quiet gdb --gdb-port 1");
        check("esplice monitor --gdb-port 1", "esplice monitor --gdb-port 1");
        check("esplice --port P", "esplice --port P");
    }
}
