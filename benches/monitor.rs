//! Measures how many bytes `esplice monitor` loses and how late lines appear. A writer that never
//! waits sends 10 MB at 200 kB/s over a pty, and counts the bytes that the pty rejected because
//! they were not read in time.

// Benchmarks are the one place that measures the host's time.
#![allow(clippy::disallowed_methods)]

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    paced::main()
}

#[cfg(not(unix))]
fn main() {
    eprintln!("this benchmark needs a pty");
}

#[cfg(unix)]
mod paced {
    use std::{
        fs::{self, File},
        io::{self, BufRead as _, BufReader, Write as _},
        os::fd::OwnedFd,
        process::{Command, ExitCode, Stdio},
        thread,
        time::{Duration, Instant},
    };

    use nix::{
        fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
        pty::openpty,
        sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
        unistd::ttyname,
    };

    /// Bytes of all lines, and of the shorter runs with more work per line.
    const ALL: usize = 10_000_000;
    const SHORT: usize = 2_000_000;

    /// Bytes per second.
    const RATE: usize = 200_000;

    /// Interval between pieces, as with USB bridges.
    const TICK: Duration = Duration::from_millis(1);

    /// Goal for the added delay.
    const MOST_ADDED: Duration = Duration::from_millis(2);

    pub fn main() -> ExitCode {
        let mut good = true;
        println!("| run | bytes | dropped | changed | added to a line: median | 99 % | most |");
        println!("|---|---|---|---|---|---|---|");
        for (name, words, bytes) in [
            ("`--log`", &[][..], ALL),
            ("`--log --timestamps --filter info`", &["--timestamps", "--filter=info"][..], SHORT),
            (
                "`--log --expect '/never [0-9]+/'`",
                &["--expect=/never [0-9]+/", "--timeout=600s"][..],
                SHORT,
            ),
        ] {
            let run = run(words, bytes);
            let at = |part: f64| run.added[((run.added.len() - 1) as f64 * part) as usize];
            let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
            let (median, most) = (at(0.5), at(1.0));
            println!(
                "| {name} | {bytes} | {} | {} | {} | {} | {} |",
                run.dropped,
                if run.changed { "yes" } else { "nothing" },
                ms(median),
                ms(at(0.99)),
                ms(most)
            );
            good &= run.dropped == 0 && !run.changed && median <= MOST_ADDED;
        }
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    struct Run {
        dropped: usize,
        changed: bool,
        /// Times from a line's last byte to its display, ascending.
        added: Vec<Duration>,
    }

    /// Makes numbered lines as in a firmware's log.
    fn lines(bytes: usize) -> Vec<Vec<u8>> {
        let mut seed = 1_u32;
        let mut lines = vec![];
        let mut len = 0;
        while len < bytes {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let text = "x".repeat((seed >> 27) as usize);
            let line = format!("I ({}) app: {:08} {seed:08x} {text}\r\n", len / 200, lines.len());
            len += line.len();
            lines.push(line.into_bytes());
        }
        lines
    }

    fn run(words: &[&str], bytes: usize) -> Run {
        let scratch = tempfile::tempdir().expect("the disk has space");
        let log = scratch.path().join("all.log");
        let pty = openpty(None, None).expect("a pty can be opened");
        let mut mode = tcgetattr(&pty.slave).expect("the pty has a mode");
        cfmakeraw(&mut mode);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &mode).expect("the pty has a mode");
        let name = ttyname(&pty.slave).expect("the pty has a name");
        keep(&pty.master);
        keep(&pty.slave);
        fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("the descriptor is valid");
        let mut child = Command::new(env!("CARGO_BIN_EXE_esplice"))
            .args(["monitor", "--port"])
            .arg(&name)
            .arg("--log")
            .arg(&log)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut err = BufReader::new(child.stderr.take().expect("the stream is piped"));
        let mut said = String::new();
        while !said.contains("the board keeps running") {
            let count = err.read_line(&mut said).expect("the program prints the line");
            assert_ne!(count, 0, "{said}");
        }
        let out = BufReader::new(child.stdout.take().expect("the stream is piped"));
        let count = lines(bytes).len();
        let seen = thread::spawn(move || {
            let mut seen = Vec::with_capacity(count);
            for _ in out.split(b'\n').map_while(Result::ok).take(count) {
                seen.push(Instant::now());
            }
            seen
        });
        let lines = lines(bytes);
        let (sent, dropped) =
            send(File::from(pty.master.try_clone().expect("the descriptor is valid")), &lines);
        let seen = seen.join().expect("the reader thread does not panic");
        let nothing_lost = dropped == 0;
        let changed = nothing_lost && fs::read(&log).expect("the file exists") != lines.concat();
        child.kill().expect("the program is running");
        child.wait().expect("the program ends");
        let mut added: Vec<Duration> = if nothing_lost {
            sent.iter()
                .zip(&seen)
                .map(|(sent, seen)| seen.saturating_duration_since(*sent))
                .collect()
        } else {
            vec![Duration::MAX]
        };
        added.sort();
        Run { dropped, changed, added }
    }

    fn keep(end: &OwnedFd) {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("the descriptor is valid");
    }

    /// Sends at the rate without waiting. Returns when each line was sent, and the number of
    /// rejected bytes.
    fn send(mut to: File, lines: &[Vec<u8>]) -> (Vec<Instant>, usize) {
        let began = Instant::now();
        let (mut sent, mut dropped) = (Vec::with_capacity(lines.len()), 0);
        let (mut due, mut line_ends) = (0, 0);
        let all: Vec<u8> = lines.concat();
        let mut rest = all.as_slice();
        let mut left = lines.iter();
        let mut position = 0;
        while !rest.is_empty() {
            thread::sleep(TICK);
            due = (began.elapsed().as_secs_f64() * RATE as f64).max(due as f64) as usize;
            let count = due.saturating_sub(position).min(rest.len());
            let (piece, behind) = rest.split_at(count);
            rest = behind;
            position += count;
            let taken = match to.write(piece) {
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => panic!("the pty is gone: {error}"),
            };
            dropped += piece.len() - taken;
            let now = Instant::now();
            while line_ends <= position {
                // The end of the next line.
                match left.as_slice().first() {
                    Some(line) if line_ends + line.len() <= position => {
                        line_ends += line.len();
                        sent.push(now);
                        left.next();
                    }
                    _ => break,
                }
            }
        }
        (sent, dropped)
    }
}
