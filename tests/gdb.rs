//! Tests `esplice gdb` with Debian's gdb-multiarch as the client. The firmware is
//! `tests/firmware/boots`, binary `debugged`. Each dialogue is a script for gdb, and the expected lines
//! appear in its output in this order.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use crate::support::{self, repository, toolchain::firmware_target};

/// Time within which a program of this machine must do its part, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns the compiled firmware.
fn firmware() -> PathBuf {
    static ELF: LazyLock<PathBuf> = LazyLock::new(|| {
        let at = tempfile::tempdir().unwrap();
        let output = at.path().join("debugged.bin");
        let mut command = support::esplice(&repository());
        command.env("CARGO_TARGET_DIR", firmware_target());
        command.args(["build", "--target=esp32c3", "--bin=debugged", "--locked", "--output"]);
        support::finish(command.arg(&output).arg("tests/firmware/boots")).check(0, &[]);
        // Outlives the directory, and differs between toolchains.
        let elf = firmware_target().join("debugged.elf");
        fs::copy(at.path().join("debugged.elf"), &elf).unwrap();
        elf
    });
    ELF.clone()
}

/// A running debug server.
struct Served {
    child: Child,
    addr: SocketAddr,
    events: Receiver<serde_json::Value>,
}

impl Served {
    /// Starts `esplice gdb` with these arguments, and waits until it listens.
    fn start(arguments: &[&str]) -> Served {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("esplice"));
        command.args(["gdb", "--gdb-port=0", "--format=json"]).args(arguments);
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, events) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let event: serde_json::Value = serde_json::from_str(&line).expect(&line);
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let mut served = Served { child, addr: SocketAddr::from(([0; 4], 0)), events };
        let result = served.wait_for(|event| event["event"] == "result");
        assert_eq!(result["name"], "gdb");
        served.addr = result["value"]["addr"].as_str().unwrap().parse().unwrap();
        served
    }

    /// Serves the firmware, halted at `main`.
    fn firmware() -> Served {
        Served::start(&["--port=sim:esp32c3", firmware().to_str().unwrap()])
    }

    fn wait_for(&mut self, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) if wanted(&event) => return event,
                Ok(_) => {}
                Err(error) => {
                    let _ = self.child.kill();
                    let mut said = String::new();
                    let _ = self.child.stderr.take().unwrap().read_to_string(&mut said);
                    panic!("{error}: {said}");
                }
            }
        }
    }

    /// Waits until the board has printed a line that contains `text`.
    fn wait_for_output(&mut self, text: &str) {
        self.wait_for(|event| {
            event["event"] == "output" && event["text"].as_str().is_some_and(|s| s.contains(text))
        });
    }

    /// Runs gdb with these commands, one per line, and returns its output.
    fn gdb(&self, commands: &str) -> String {
        let mut gdb = self.start_gdb(commands);
        let mut said = String::new();
        gdb.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(gdb.wait().unwrap().success(), "{said}");
        said
    }

    fn start_gdb(&self, commands: &str) -> Child {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script.gdb");
        let text = format!(
            "set pagination off\nset confirm off\nset width 0\nset remotetimeout 120\n\
             file {}\ntarget remote {}\n{commands}\n",
            firmware().display(),
            self.addr
        );
        fs::write(&script, text).unwrap();
        let mut command = Command::new("gdb-multiarch");
        command.args(["-nx", "-batch", "-x"]).arg(&script).stdin(Stdio::null());
        // Messages and results in the order in which they come.
        let (reader, writer) = std::io::pipe().unwrap();
        command.stderr(writer.try_clone().unwrap()).stdout(writer);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("gdb-multiarch: {error}; scripts/setup --tests installs it")
        });
        drop(command);
        let mut buffered = BufReader::new(reader);
        // gdb has read the script once it is connected; keep the directory until then.
        let mut first = String::new();
        buffered.read_line(&mut first).unwrap();
        let (relay, mut to) = std::io::pipe().unwrap();
        std::thread::spawn(move || {
            let _ = to.write_all(first.as_bytes());
            let _ = std::io::copy(&mut buffered, &mut to);
            drop(directory);
        });
        child.stdout = Some(into_stdout(relay));
        child
    }

    /// Runs a dialogue and checks that its output has these parts in this order.
    #[track_caller]
    fn check(&self, commands: &str, expected: &[&str]) -> String {
        let said = self.gdb(commands);
        let mut rest = said.as_str();
        for part in expected {
            let Some(at) = rest.find(part) else { panic!("no {part:?} in the rest of {said}") };
            rest = &rest[at + part.len()..];
        }
        said
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn into_stdout(pipe: std::io::PipeReader) -> std::process::ChildStdout {
    std::os::fd::OwnedFd::from(pipe).into()
}

#[test]
fn breakpoints_in_flash_and_ram() {
    let served = Served::firmware();
    served.check(
        "break add_up\nbreak in_ram\ncontinue\nbacktrace\ncontinue\ninfo args\nfinish",
        &[
            "Breakpoint 2, ",
            "in_ram (value=1)",
            "in debugged::play_round ()",
            "Breakpoint 1, debugged::add_up (last=1, start=3)",
            "last = 1\nstart = 3",
            "Value returned is $1 = 3",
        ],
    );
}

/// More breakpoints than any chip has triggers, and the code has no trace of them.
#[test]
fn there_may_be_any_number_of_breakpoints() {
    let served = Served::firmware();
    let many: String =
        (0..40).map(|n| format!("break *(&add_up as *const u8 as usize + 2 * {n})\n")).collect();
    let many = many.replace("&add_up as *const u8 as usize", "(long)&add_up");
    served.check(
        &format!(
            "set language c\nx/2wx &add_up\n{many}break wait\ncontinue\nx/2wx &add_up\n\
             compare-sections .text\ncompare-sections .rwtext"
        ),
        &[
            "Breakpoint 41 at",
            "Breakpoint 1,",
            ".text, range",
            "matched",
            ".rwtext, range",
            "matched",
        ],
    );
}

#[test]
fn steps_pass_calls_interrupts_and_waits() {
    let served = Served::firmware();
    // Through the wait for an interrupt, whose handler runs in between.
    let waits = "x/i $pc\nprint *(int*)&TICKS\nstepi\nx/i $pc\nprint *(int*)&TICKS\n";
    served.check(
        &format!(
            "set language c\nbreak play_round\ncontinue\nnext\nnext\nbreak *(long)&wait + 28\n\
             continue\n{waits}"
        ),
        &["Breakpoint 1, ", "Breakpoint 2, ", "wfi", "= 0", "<debugged::wait+32>", "= 1"],
    );
}

#[test]
fn variables_are_watched_and_changed() {
    let served = Served::firmware();
    served.check(
        "watch debugged::RESULT.v.value\ncontinue\ncontinue\ndelete\n\
         rwatch debugged::SPIN.v.value\ncontinue\nbacktrace\ndelete\n\
         awatch debugged::TICKS.v.value\ncontinue\ncontinue\ndelete\n\
         set var debugged::ROUNDS.v.value = 1000\nbreak add_up\ncontinue",
        &[
            "Old value = 0\nNew value = 3\n",
            "Old value = 3\nNew value = 7\n",
            "Value = 0\n",
            "play_round ()",
            "Value = ",
            "Old value = ",
            "New value = ",
            "add_up (last=1001, start=3003)",
        ],
    );
}

#[test]
fn calls_are_shown_through_an_interrupt() {
    let served = Served::firmware();
    served.check(
        "break count_tick\ncontinue\nbacktrace\nprint $mcause\nprint $priv\nfinish",
        &[
            "debugged::count_tick ()",
            "debugged::__esp_hal_internal_on_tick ()",
            "handle_interrupts",
            "debugged::wait ()",
            "debugged::play_round ()",
            "= -2147483",
            "= 3",
        ],
    );
}

#[test]
fn a_busy_loop_is_interrupted() {
    let mut served = Served::firmware();
    // The board spins after round 1 and prints nothing, so gdb interrupts it by itself.
    let mut gdb = served.start_gdb(
        "set var debugged::SPIN.v.value = 1\n\
         python import threading, os, signal\n\
         python threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n\
         continue\nbacktrace\nset var debugged::SPIN.v.value = 0\n\
         break add_up if last == 100\ncontinue\nprint last\ndetach",
    );
    let mut said = String::new();
    gdb.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    for part in ["received signal SIGINT", "spin", "last=100", "= 100", "detached"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    gdb.wait().unwrap();
    // Detached, the board runs on.
    served.wait_for_output("round 300");
}

#[test]
fn a_killed_client_leaves_the_board_halted() {
    let mut served = Served::firmware();
    let mut gdb = served.start_gdb("break add_up\ncontinue\ndelete\ncontinue");
    served.wait_for_output("round 100");
    gdb.kill().unwrap();
    gdb.wait().unwrap();
    // The next one finds it halted, without the first one's breakpoints, and leaves it running.
    let again = "x/i $pc\nbreak add_up\ncontinue\ninfo breakpoints\ndetach";
    served.check(again, &["=> 0x4", "Breakpoint 1, ", "add_up", "1       breakpoint", "detached"]);
    served.wait_for_output("round 500");
}

#[test]
fn a_second_client_is_refused() {
    let served = Served::firmware();
    let first = TcpStream::connect(served.addr).unwrap();
    let mut second = TcpStream::connect(served.addr).unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(second.read(&mut [0; 1]).unwrap_or(0), 0);
    drop(first);
    served.check("print $pc", &["= "]);
}

#[test]
fn loaded_firmware_runs_again() {
    let mut served = Served::start(&["--port=sim:esp32c3"]);
    // An erased flash: the chip's ROM has nothing to start.
    served.check(
        "load\nx/i $pc\nbreak add_up\ncontinue\nload\nprint debugged::ROUNDS.v.value\ncontinue\n\
         compare-sections\ndelete\ndetach",
        &[
            "Start address ",
            "<_start>",
            "Breakpoint 1, debugged::add_up (last=1,",
            "Start address ",
            "= 0",
            "Breakpoint 1, debugged::add_up (last=1,",
            ".text, range",
            "matched",
            "detached",
        ],
    );
    served.wait_for_output("round 100");
}

#[test]
fn time_runs_backwards() {
    let served = Served::firmware();
    served.check(
        "break add_up if last == 20\ncontinue\ndelete\n\
         watch debugged::RESULT.v.value\nreverse-continue\nprint debugged::ROUNDS.v.value\n\
         reverse-continue\nprint debugged::ROUNDS.v.value\nprint debugged::RESULT.v.value\ncontinue\n\
         continue\nprint debugged::ROUNDS.v.value\ndelete\n\
         break add_up\ncontinue\nreverse-finish\nreverse-stepi\nstepi\nx/i $pc\ndelete\n\
         break main\nreverse-continue\nprint debugged::ROUNDS.v.value\nreverse-continue\n\
         print debugged::ROUNDS.v.value",
        &[
            "add_up (last=20, start=60)",
            "New value = ",
            "= 19",
            "New value = ",
            "= 18",
            "New value = ",
            "New value = ",
            "add_up (last=",
            "play_round",
            "Breakpoint ",
            "= 0",
            "No more reverse-execution history",
            "= 0",
        ],
    );
}

/// A step back and a step forwards lead to the same place, at interrupts too.
#[test]
fn a_step_back_undoes_a_step() {
    let served = Served::firmware();
    let there_and_back = "stepi\nprint/x $pc\nreverse-stepi\nprint/x $pc\nmonitor time\n";
    let said = served.check(
        &format!(
            "set language c\nbreak *(long)&wait + 28\ncontinue\ncontinue\nmonitor time\n\
             {there_and_back}{there_and_back}"
        ),
        &["Breakpoint 1, ", "Breakpoint 1, "],
    );
    let values = |start: &str| -> Vec<String> {
        let lines = said.lines().filter(|line| line.contains(start));
        lines.map(|line| line.rsplit(" = ").next().unwrap().to_owned()).collect()
    };
    let pcs: Vec<String> = values("= 0x");
    assert_eq!(pcs.len(), 4, "{said}");
    assert_eq!((&pcs[0], &pcs[1]), (&pcs[2], &pcs[3]), "{said}");
    assert_ne!(pcs[0], pcs[1], "{said}");
    let times = values(" s since power-on");
    assert_eq!((&times[0], &times[0]), (&times[1], &times[2]), "{said}");
}

#[test]
fn monitor_commands() {
    let mut served = Served::firmware();
    served.check(
        "monitor help\nmonitor flash\nmonitor time\nmonitor uart\nmonitor trace 3\nmonitor halt\n\
         monitor odd\nmonitor reset\nmaintenance flush register-cache\nx/i $pc\n\
         break main\ncontinue\nmonitor uart send x\ndelete\ndetach",
        &[
            "monitor trace [N]",
            "4096 KB",
            " s since power-on; ",
            "terminal",
            "0x4",
            "the board is halted at 0x4",
            "unknown command \"odd\"",
            "the board was reset; it is halted at 0x4",
            "=> 0x4",
            "Breakpoint 1, ",
        ],
    );
    served.wait_for_output("round 100");
}

#[test]
fn devices_and_registers() {
    let served = Served::firmware();
    served.check(
        // UART0's clock divider and a CSR (ESP32-C3 TRM, "UART Controller").
        "x/wx 0x60000014\nset var $mscratch = 0x1234\nprint/x $mscratch\nset var $s11 = 77\n\
         print $s11\ninfo mem",
        &["0x60000014:\t0x00", "= 0x1234", "= 77", "0x42000000", "flash blocksize 0x1000"],
    );
}

#[test]
fn errors_have_their_codes() {
    let directory = tempfile::tempdir().unwrap();
    let run = |words: &str| support::run(directory.path(), words);
    run("gdb --port /dev/ttyUSB99").check(28, &["needs a debug agent", "--port sim:CHIP"]);
    run("--port rfc2217://h:1 --gdb-port 3333").check(28, &["needs a debug agent"]);
    run("gdb --port sim:esp32c3 --attach").check(2, &["--attach needs the ELF"]);
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    run(&format!("gdb --port sim:esp32c3 --gdb-port {port}"))
        .check(10, &["cannot listen on 127.0.0.1:", "another debug server"]);

    let elf = support::elf::hello("Hello\n").to_bytes();
    fs::write(directory.path().join("hello.elf"), elf).unwrap();
    let flash = "sim:esp32c3,flash=board.flash";
    run(&format!("gdb --port {flash} --attach hello.elf --target esp32c3"))
        .check(15, &["the flash holds no app", "leave out --attach"]);
    run(&format!("flash --port {flash} hello.elf --target esp32c3")).check(0, &[]);
    let other = support::elf::hello("Other\n").to_bytes();
    fs::write(directory.path().join("other.elf"), other).unwrap();
    run(&format!("gdb --port {flash} --attach other.elf --target esp32c3"))
        .check(15, &["was made from another ELF"]);
}

#[test]
fn gdb_is_launched_and_ends_the_command() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = support::esplice(directory.path());
    command.args(["gdb", "--port=sim:esp32c3", "--gdb-port=0", "--launch"]);
    command.arg(firmware()).write_stdin("backtrace 1\nkill\nquit\n");
    let said = support::finish(&mut command).check(0, &[]);
    assert!(said.out.contains("#0 "), "{said:#?}");
}

/// Bytes that are no packets end the session, and nothing else.
#[test]
fn garbage_ends_the_session_only() {
    let served = Served::firmware();
    for garbage in
        [&b"$\x03\xff\xff#00"[..], b"$vFlashWrite:zz#11", b"GET / HTTP/1.1\r\n\r\n", &[0xff; 9000]]
    {
        let mut client = TcpStream::connect(served.addr).unwrap();
        client.write_all(garbage).unwrap();
        drop(client);
    }
    served.check("print $pc", &["= "]);
}
