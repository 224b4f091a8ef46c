//! Wine, with serial ports that lead to virtual boards.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use crate::support::repository;

/// A serial port of a USB bridge, which the system knows by [`USB`].
pub const USB_PORT: &str = "COM31";
/// A serial port that is not at USB.
pub const PORT: &str = "COM32";

/// What Windows' driver of a CP2102N leaves in the registry for [`USB_PORT`].
const USB: &str = r#"
[HKEY_LOCAL_MACHINE\System\CurrentControlSet\Enum\USB\VID_10C4&PID_EA60\SIM0001]
"ClassGUID"="{4d36e978-e325-11ce-bfc1-08002be10318}"
"Class"="Ports"
"Mfg"="Silicon Labs"
"FriendlyName"="Silicon Labs CP210x USB to UART Bridge (COM31)"

[HKEY_LOCAL_MACHINE\System\CurrentControlSet\Enum\USB\VID_10C4&PID_EA60\SIM0001\Device Parameters]
"PortName"="COM31"
"#;

const RANDOM: &str = include_str!("bcryptprimitives.c");

/// The variable that names the program for Windows.
const PROGRAM: &str = "ESPLICE_TEST_WINDOWS_EXE";

/// A running Wine. It ends with the tests.
struct Wine {
    program: PathBuf,
    prefix: PathBuf,
    /// Ends when its standard input is closed. While it runs, Wine's own services do, too.
    _shell: Child,
}

static WINE: LazyLock<Wine> = LazyLock::new(Wine::start);

/// Returns a command that runs the program for Windows in `directory`.
pub fn esplice(directory: &Path) -> assert_cmd::Command {
    let mut command = command("wine", &WINE.prefix);
    command.arg(&WINE.program).current_dir(directory).env("NO_COLOR", "1");
    let mut command = assert_cmd::Command::from_std(command);
    command.timeout(Duration::from_secs(120));
    command
}

/// Returns the path where Wine expects the device of `port`: a link that `esplice sim --pty` makes.
pub fn link(port: &str) -> String {
    link_in(&WINE.prefix, port).to_string_lossy().into_owned()
}

fn link_in(prefix: &Path, port: &str) -> PathBuf {
    prefix.join("boards").join(port)
}

/// A command of Wine's, without a display and without what the tests' own environment would settle.
fn command(name: &str, prefix: &Path) -> Command {
    let mut command = Command::new(name);
    for (name, _) in std::env::vars_os() {
        if ["ESPLICE", "WINE"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    // The user's own directories and menus stay as they are, and nothing asks for .NET and a browser.
    let left_out = "winemenubuilder.exe,mscoree,mshtml=";
    command.env("WINEPREFIX", prefix).env("WINEDEBUG", "-all").env("WINEDLLOVERRIDES", left_out);
    command.env("HOME", prefix).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    command
}

impl Wine {
    fn start() -> Wine {
        let program = std::env::var_os(PROGRAM)
            .unwrap_or_else(|| panic!("{PROGRAM} names no program: run scripts/test-windows"));
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wine");
        set_up(&prefix);
        // A board that was killed leaves its link, and another's device may have its number by now.
        let boards = prefix.join("boards");
        let _ = fs::remove_dir_all(&boards);
        fs::create_dir(&boards).expect("there is room");
        // Started by a command whose output is read, the services would hold that output open.
        let mut shell = command("wine", &prefix)
            .arg("cmd")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Wine can be started");
        let stdin = shell.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"echo ready\r\n").expect("the shell reads");
        let lines = BufReader::new(shell.stdout.take().expect("it is piped")).lines();
        // The prompt comes first.
        let ready = lines.map_while(Result::ok).any(|line| line.ends_with(">ready"));
        assert!(ready, "Wine's shell does not run in {}", prefix.display());
        Wine { program: program.into(), prefix, _shell: shell }
    }
}

/// Makes Wine's directory, which is kept between runs: Windows' own files, a registry with the ports and
/// what the program needs and Wine lacks.
fn set_up(prefix: &Path) {
    let registry = registry(prefix);
    let version = run(command("wine", prefix).arg("--version"));
    let made_of = format!("{version}{registry}{RANDOM}");
    let stamp = prefix.join("made-of");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == made_of) {
        return;
    }
    if prefix.exists() {
        // What still runs there, if anything does, writes its registry at its end.
        let _ = command("wineserver", prefix).arg("--kill").status();
        run(command("wineserver", prefix).arg("--wait"));
        fs::remove_dir_all(prefix).expect("the old directory can be removed");
    }
    fs::create_dir_all(prefix).expect("there is room");
    run(command("wine", prefix).args(["wineboot", "--init"]));
    let library = prefix.join("drive_c/windows/system32/bcryptprimitives.dll");
    if !library.exists() {
        let source = repository().join("tests/windows/bcryptprimitives.c");
        let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
        compiler.args(["-shared", "-O1", "-s", "-o"]).arg(library).arg(source);
        run(compiler.arg("-ladvapi32"));
    }
    fs::write(prefix.join("ports.reg"), registry).expect("there is room");
    run(command("wine", prefix).args(["regedit", "/S", "ports.reg"]).current_dir(prefix));
    // Wine makes its serial ports when it starts.
    run(command("wineserver", prefix).arg("--kill"));
    run(command("wineserver", prefix).arg("--wait"));
    fs::write(stamp, made_of).expect("there is room");
}

/// A registry file of the ports.
fn registry(prefix: &Path) -> String {
    let mut text = format!("REGEDIT4\n{USB}\n[HKEY_LOCAL_MACHINE\\Software\\Wine\\Ports]\n");
    for port in [USB_PORT, PORT] {
        text += &format!("\"{port}\"=\"{}\"\n", link_in(prefix, port).display());
    }
    text
}

/// Runs a command to its end and returns what it prints. It prints into a file: what it starts would hold
/// a pipe open.
#[track_caller]
fn run(command: &mut Command) -> String {
    let mut printed = tempfile::tempfile().expect("there is room");
    let out = || Stdio::from(printed.try_clone().expect("a file can be shared"));
    let status = command.stdin(Stdio::null()).stdout(out()).stderr(out()).status();
    let mut text = Vec::new();
    printed.rewind().and_then(|()| printed.read_to_end(&mut text)).expect("the file can be read");
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        status.as_ref().is_ok_and(|status| status.success()),
        "{command:?}: {status:?}: {text}\nscripts/setup --tests installs Wine and MinGW",
    );
    text
}
