//! Tests a board of another process over RFC 2217: the number of round trips on a slow line, and
//! flash that others changed between two runs.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        mpsc::{self, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    installed,
    support::{Said, built_hello, run, served::Board},
};

/// Delay of a byte in each direction, for a round trip of 100 ms.
const ONE_WAY: Duration = Duration::from_millis(50);

/// Number of times that the client on the slow line waited for the board's output before it sent
/// more. A client that does not wait continues before a round trip is over.
#[derive(Debug, Default)]
struct Turns {
    board_spoke: bool,
    client_spoke: Option<Instant>,
    count: u32,
}

impl Turns {
    fn client_speaks(&mut self, now: Instant) {
        let waited = self.client_spoke.is_none_or(|before| now - before >= 2 * ONE_WAY);
        self.count += u32::from(waited && self.board_spoke);
        self.client_spoke = Some(now);
        self.board_spoke = false;
    }
}

/// Starts a line that delays each byte, and returns its address.
fn far_line(to: SocketAddr, turns: &Arc<Mutex<Turns>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let turns = Arc::clone(turns);
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let board = TcpStream::connect(to).unwrap();
            for stream in [&client, &board] {
                stream.set_nodelay(true).unwrap();
            }
            // Connecting is a round trip.
            turns.lock().unwrap().count += 1;
            let (back, forth) = (client.try_clone().unwrap(), board.try_clone().unwrap());
            let (one, other) = (Arc::clone(&turns), Arc::clone(&turns));
            carry(client, forth, move |now| one.lock().unwrap().client_speaks(now));
            carry(board, back, move |_| other.lock().unwrap().board_spoke = true);
        }
    });
    at
}

/// Carries bytes in one direction with a delay; calls `tell` with the time of arrival and the time
/// due.
fn carry(mut from: TcpStream, to: TcpStream, tell: impl Fn(Instant) + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || deliver(&receiver, to, tell));
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            send(&sender, piece[..count].to_vec());
        }
        send(&sender, Vec::new());
    });
}

#[allow(clippy::disallowed_methods)] // The line uses the host's clock.
fn send(sender: &Sender<(Instant, Vec<u8>)>, bytes: Vec<u8>) {
    sender.send((Instant::now() + ONE_WAY, bytes)).ok();
}

#[allow(clippy::disallowed_methods)] // As above.
fn deliver(
    receiver: &mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: TcpStream,
    tell: impl Fn(Instant),
) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        tell(due);
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            to.shutdown(Shutdown::Both).ok();
            return;
        }
    }
}

fn address(board: &Board) -> SocketAddr {
    board.port.strip_prefix("rfc2217://").unwrap().parse().unwrap()
}

/// Returns the stub of the installed esptool, as a file.
fn stub() -> PathBuf {
    installed::files(2).into_iter().find(|file| file.ends_with("esp32c3.json")).unwrap()
}

/// Makes firmware of about 80 KB that compresses to half its size.
fn firmware(seed: u32) -> tempfile::TempDir {
    let mut state = seed;
    let text: String = (0..80_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'A' + (state >> 28) as u8)
        })
        .collect();
    built_hello(&text)
}

fn summary(said: &Said) -> serde_json::Value {
    serde_json::from_str(said.out.lines().last().unwrap()).unwrap()
}

/// The loaders that do the work: esptool's stub, and the ROM loader.
fn loaders() -> [String; 2] {
    [stub().to_string_lossy().into_owned(), "none".into()]
}

#[test]
fn a_far_board_is_flashed_in_few_round_trips() {
    let built = firmware(1);
    let board = Board::new(&["--rfc2217", "127.0.0.1:0"]);
    let turns = Arc::new(Mutex::new(Turns::default()));
    let at = far_line(address(&board), &turns);
    let words = format!("flash hello.bin --port rfc2217://{at} --stub {}", stub().display());
    let said = run(built.path(), &format!("{words} --format json")).check(0, &[]);
    let count = turns.lock().unwrap().count;
    let told = summary(&said);
    println!("{count} round trips: {told}");
    let image = fs::read(built.path().join("hello.bin")).unwrap();
    assert!(board.flash()[0x1_0000..].starts_with(&image));
    // Facts and hashes are requested twice, because replies carry no checksum.
    assert!(count <= 48, "{count} round trips");
}

/// Writes exactly the sectors that differ, whatever happened to the flash since the last run.
#[test]
fn flash_that_others_altered_is_put_in_order() {
    for loader in loaders() {
        let built = firmware(2);
        let at = built.path();
        let serve = |flash| Board::with_flash(&["--rfc2217", "127.0.0.1:0"], flash);
        let flash = |board: &Board| {
            let words = format!("flash hello.bin --port {} --stub {loader}", board.port);
            let said = run(at, &format!("{words} --format json")).check(0, &[]);
            summary(&said)["sectors_written"].as_u64().unwrap()
        };
        let board = serve(None);
        flash(&board);
        let mut expected = board.flash();
        assert_eq!(flash(&board), 0, "{loader}");
        drop(board);

        // A bit in the middle of the app, its last sector erased, and a byte outside of everything.
        let len = fs::metadata(at.join("hello.bin")).unwrap().len() as usize;
        let last = 0x1_0000 + (len - 1) / 0x1000 * 0x1000;
        let mut altered = expected.clone();
        altered[0x1_5678] ^= 0x10;
        altered[last..last + 0x1000].fill(0xff);
        for flash in [&mut altered, &mut expected] {
            flash[0x30_0000] = 0;
        }
        let board = serve(Some(&altered));
        assert_eq!(flash(&board), 2, "{loader}");
        assert!(board.flash() == expected, "{loader}");

        // By another program, with a command name of esptool: 64 KiB of the app are erased.
        let erase = format!("erase-region 0x10000 0x10000 --port {} --stub none", board.port);
        run(at, &erase).check(0, &[]);
        assert!(flash(&board) >= 16, "{loader}");
        assert!(board.flash() == expected, "{loader}");
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // The programs use the host's clock.
fn a_board_whose_server_ends_is_lost() {
    let built = firmware(3);
    let board = Board::new(&["--rfc2217", "127.0.0.1:0"]);
    let turns = Arc::new(Mutex::new(Turns::default()));
    let line = far_line(address(&board), &turns);
    let (port, at) = (board.port.clone(), built.path());
    thread::scope(|scope| {
        let words = format!("monitor --port rfc2217://{line} --expect never --timeout 60s");
        let monitor = scope.spawn(move || run(at, &words));
        // By then, RFC 2217 has been negotiated.
        while turns.lock().unwrap().count < 2 {
            thread::sleep(ONE_WAY);
        }
        drop(board);
        monitor.join().unwrap().check(24, &["is gone"]);
    });
    run(at, &format!("flash hello.bin --port {port}")).check(10, &["cannot connect"]);
}
